"""Applying what people wrote (transforms, SQL) to a batch, and holding it to the rules: rows may go, none may be made.

Used by silver and gold. `blaming` decides whose fault an error is: what fails on no rows at all is the
contract's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException

from daemon.errors import (
    ContractError,
    MedalliondError,
    RejectDataError,
    RetryLaterError,
    is_machine_fault_above_staged,
)
from daemon.pipeline.provenance import PROVENANCE, SOURCE_FILE, SOURCE_ROW
from daemon.pipeline.transforms import Transform, where

Refine = Callable[[pl.LazyFrame], pl.LazyFrame]


def apply_all(lf: pl.LazyFrame, transforms: Sequence[Transform], origin: str) -> pl.LazyFrame:
    """Apply transforms in order. Raises ContractError when one gives no LazyFrame or loses the provenance."""
    for transform in transforms:
        lf = transform.apply(lf)
        if not isinstance(lf, pl.LazyFrame):
            raise ContractError(
                f"{origin}: transform '{transform.name}' must return a LazyFrame, not {type(lf).__name__}"
            )
        lost = [name for name in PROVENANCE if name not in lf.collect_schema().names()]
        if lost:
            raise ContractError(
                f"{origin}: transform '{transform.name}' lost the columns {', '.join(lost)}: keep them, "
                "so that every row can be traced"
            )
    return lf


@contextmanager
def blaming(source: pl.LazyFrame, refine: Refine, what: str, folder: Path) -> Iterator[None]:
    """Run the block; an error in it is the machine's (RetryLaterError), the contract's (ContractError), or the data's.

    `refine` is what the block did to `source`; `what` names the contract's part; `folder` holds the
    transforms. Raises RejectDataError, kind `transform_failed`, for the data's fault.
    """
    try:
        yield
    except MedalliondError:
        raise
    except (Exception, PanicException) as error:
        if is_machine_fault_above_staged(error):
            raise RetryLaterError(f"{what}: {error}") from error
        message = f"{what}: {where(error, folder)}"
        if _fails_on_nothing(source, refine):
            raise ContractError(message) from error
        raise RejectDataError(message, kind="transform_failed") from error


def _fails_on_nothing(source: pl.LazyFrame, refine: Refine) -> bool:
    try:
        refine(pl.LazyFrame(schema=source.collect_schema())).collect()
    except (Exception, PanicException):  # noqa: BLE001 - any failure is the answer
        return True
    return False


def refuse_made_rows(source: pl.LazyFrame, written: pl.LazyFrame, rows: int, rows_in: int, what: str) -> None:
    """Raise ContractError if what was `written` has rows that were not in the source, or a source row twice."""
    if rows == 0:
        return
    distinct = rows
    if rows <= rows_in:
        row_ids = written.select(pl.struct(SOURCE_FILE, SOURCE_ROW).n_unique())
        distinct = int(row_ids.collect().item())
    if rows > rows_in or distinct < rows:
        raise ContractError(
            f"{what} makes rows: {rows_in} in, {rows} out, {distinct} of them distinct. A batch may lose rows, never gain "
            "them; join and unnest in a gold model instead"
        )
    ids = [SOURCE_FILE, SOURCE_ROW]
    strange = written.select(ids).join(source.select(ids), on=ids, how="anti", nulls_equal=True)
    if strange.select(pl.len()).collect().item():
        raise ContractError(
            f"{what} changes {SOURCE_FILE} or {SOURCE_ROW}: leave them as they are, they tell where a row is from"
        )
