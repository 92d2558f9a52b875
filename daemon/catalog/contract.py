"""What a table promises at each layer: the models of `catalog/contracts/<domain>/<table>.yaml`.

Each layer has its own section, and a section has only the keys its layer may use: there is nowhere to write a
filter in bronze. `Contract()` is the behaviour of a table without a contract. Read from files by
contract_file.py; used by pipeline, landing and scheduling. Frozen and picklable; never imports polars.
"""

from collections import Counter
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal, Self

from pydantic import Field, PrivateAttr, StrictBool, StrictFloat, StrictInt, model_validator

from daemon.catalog.contract_cast import CastRule, ShortCastRule
from daemon.catalog.contract_delivery import BatchLimits, LandingRules, ReaderOptions
from daemon.catalog.contract_model import ModelRules
from daemon.catalog.contract_values import (
    ColumnName,
    Count,
    Duration,
    FileGlob,
    Flag,
    Rules,
    Size,
    Sql,
    Text,
    TransformName,
)

__all__ = [
    "NO_CONTRACT",
    "BatchLimits",
    "BronzeRules",
    "CastRule",
    "CheckRule",
    "CleanRules",
    "Contract",
    "DedupRules",
    "DriftRules",
    "GoldRules",
    "LandingRules",
    "ModelRules",
    "ReaderOptions",
    "SilverRules",
]

NO_CONTRACT: Final = "none"
"""The `version` of `Contract()`, of a table that has no file."""

# bronze: names and types, nothing else


class DriftRules(Rules):
    """What to do when a delivery has other columns than the table. Names that differ in case alone are the same."""

    new_columns: Literal["add", "rescue", "ignore", "fail"] = Field(
        default="add",
        description="a column the table did not have: add it, keep its values as JSON in `_rescued`, leave it out, or "
        "set the file aside",
    )
    missing_columns: Literal["null", "fail"] = Field(
        default="null",
        description="a column the file does not have: its values are null, or the file is set aside",
    )


class BronzeRules(Rules):
    """Renames and casts. A value that does not cast is quarantined with its record, never nulled silently."""

    drift: DriftRules = Field(default_factory=DriftRules, description="columns that come and go")
    aliases: dict[ColumnName, tuple[Text, ...]] = Field(
        default_factory=dict,
        description="a column's name: other names under which it was or will be delivered",
    )
    unnest: dict[ColumnName, tuple[Text, ...]] = Field(
        default_factory=dict,
        description="a column of JSON objects: the keys that become columns of their own, named `<column>_<key>`",
    )
    learn: Flag = Field(
        default=False,
        description="learn the types of columns that `cast` does not name; without a contract they always are",
    )
    rename: dict[Text, ColumnName] = Field(default_factory=dict, description="original column name: new name")
    null_values: tuple[str, ...] = Field(
        default=(),
        description="texts that mean 'no value' where a column is cast from text",
    )
    cast: dict[ColumnName, ShortCastRule] = Field(
        default_factory=dict,
        description="column (after the rename) or glob such as '20*': its type, alone or with options",
    )

    @model_validator(mode="after")
    def _names_are_clear(self) -> Self:
        taken: dict[str, str] = {}
        for old, new in self.rename.items():
            if new in taken:
                raise ValueError(f"'{taken[new]}' and '{old}' cannot both be renamed to '{new}'")
            taken[new] = old
        for column in self.cast:
            if column in self.rename and column not in taken:
                raise ValueError(
                    f"cast knows columns by their new names: write '{self.rename[column]}', not '{column}'"
                )
        return self

    def cast_for(self, column: str) -> CastRule | None:
        """Return the rule for `column` (as renamed): by its exact name, else by the first glob that fits."""
        if column in self.cast:
            return self.cast[column]
        return next((rule for glob, rule in self.cast.items() if fnmatchcase(column, glob)), None)


# silver: clean, transform, check, deduplicate


class CleanRules(Rules):
    """Small repairs of values, done in the order of these keys."""

    strip: Flag = Field(default=True, description="take blanks off both ends of text")
    collapse_blanks: tuple[ColumnName, ...] = Field(
        default=(), description="columns whose runs of blanks become one"
    )
    lower: tuple[ColumnName, ...] = Field(default=(), description="columns put in lower case")
    upper: tuple[ColumnName, ...] = Field(default=(), description="columns put in upper case")
    empty_as_null: Flag = Field(default=True, description="make empty text null")
    fill_null: dict[ColumnName, StrictBool | StrictInt | StrictFloat | str] = Field(
        default_factory=dict, description="column: the value that stands for null"
    )


class DedupRules(Rules):
    """One row per key. Rows that lose are counted as deduplicated."""

    keys: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="the columns that make a row unique"
    )
    keep: Literal["first", "last"] = Field(
        default="first", description="which row of a key stays, in the order of `order_by`"
    )
    order_by: tuple[Text, ...] = Field(
        default=(),
        description="columns, ascending, that order the rows of a key; absent: the order of arrival",
    )
    across_batches: Flag = Field(
        default=True, description="whether a key is unique in the whole table, or only within each batch"
    )


class CheckRule(Rules):
    """A condition that every row must meet; null counts as met, as in SQL CHECK."""

    name: Text = Field(description="what the check is called in logs and in quarantine")
    sql: Sql = Field(description="an SQL expression over the row's columns, true for a good row")
    on_failure: Literal["quarantine", "drop", "warn", "fail"] = Field(
        default="quarantine",
        description="set the row aside, drop (count it as filtered), only warn, or fail (refuse the file)",
    )


class SilverRules(Rules):
    """Clean, transform, check, deduplicate; in this order, so that only good rows compete for a key."""

    clean: CleanRules = Field(default_factory=CleanRules, description="small repairs of values")
    transforms: tuple[TransformName, ...] = Field(
        default=(), description="`module:function` in catalog/transforms/, LazyFrame to LazyFrame, in order"
    )
    checks: tuple[CheckRule, ...] = Field(default=(), description="conditions that every row must meet")
    dedup: DedupRules | None = Field(default=None, description="one row per key; absent: every row stays")

    @model_validator(mode="after")
    def _check_names_are_unique(self) -> Self:
        for name, count in Counter(check.name for check in self.checks).items():
            if count > 1:
                raise ValueError(f"two checks are called '{name}'; the name tells them apart in quarantine")
        return self


# gold: derive per batch


class GoldRules(Rules):
    """Derived columns, batch by batch: SQL or transforms; neither: gold equals silver."""

    sql: Sql | None = Field(
        default=None,
        description="a SELECT over the table `silver` (this batch); provenance columns are carried through",
    )
    transforms: tuple[TransformName, ...] = Field(
        default=(), description="`module:function` in catalog/transforms/, LazyFrame to LazyFrame, in order"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.sql is not None and self.transforms:
            raise ValueError("write either 'sql' or 'transforms' in gold, not both")
        return self


# the whole


class CompactionRules(Rules):
    """When small files of a layer are merged into larger ones. An absent key is the daemon's setting."""

    min_files: Count | None = Field(
        default=None, description="how many small files side by side are merged; 0: none ever are"
    )
    max_bytes: Size | None = Field(default=None, description="a file of this size is left alone, e.g. 32MB")
    min_age: Duration | None = Field(
        default=None, description="how long ago a batch must have been done before its files are merged"
    )


class Contract(Rules):
    """What a table promises at each layer; or, with `model`, how a gold table is computed from others."""

    description: str = Field(default="", description="what the table is, for people")
    match: tuple[FileGlob, ...] = Field(
        default=(),
        description="globs on the names of files put straight into landing/ that belong to this table",
    )
    landing: LandingRules = Field(default_factory=LandingRules, description="how dropped files are taken")
    reader: ReaderOptions = Field(default_factory=ReaderOptions, description="what the files look like")
    bronze: BronzeRules = Field(default_factory=BronzeRules, description="names and types")
    silver: SilverRules = Field(default_factory=SilverRules, description="clean, deduplicate, check")
    gold: GoldRules = Field(default_factory=GoldRules, description="derive, batch by batch")
    compaction: CompactionRules = Field(
        default_factory=CompactionRules, description="when small files are merged"
    )
    model: ModelRules | None = Field(
        default=None, description="compute a gold table over whole tables instead"
    )

    _version: str = PrivateAttr(default=NO_CONTRACT)
    _origin: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _a_model_has_no_layers(self) -> Self:
        layers = sorted(self.model_fields_set - {"description", "model"})
        if self.model is not None and layers:
            raise ValueError(f"a contract with 'model' takes no files of its own: remove '{layers[0]}'")
        return self

    @property
    def learns(self) -> bool:
        """Whether types are learned from what arrives."""
        return not self._origin or self.bronze.learn

    @property
    def version(self) -> str:
        """The first 12 hex digits of the SHA-256 of the file's bytes; `none` where there is no file."""
        return self._version

    @property
    def origin(self) -> str:
        """The file it came from, relative to the root: `catalog/contracts/d/t.yaml`; empty without a file."""
        return self._origin

    def stamped(self, *, version: str, origin: str) -> "Contract":
        """Return the same contract, saying which bytes of which file it came from."""
        copy = self.model_copy()
        copy._version, copy._origin = version, origin  # noqa: SLF001 - our own private attributes
        return copy
