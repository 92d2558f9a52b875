"""How a table's files are taken and read: the sections `landing` and `reader` of its contract. Part of contract.py."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from daemon.catalog.contract_values import (
    Count,
    Duration,
    Encoding,
    Flag,
    OneCharacter,
    PositiveCount,
    Rules,
    Size,
    Text,
)

Archive = Literal["move", "keep", "delete"]


class BatchLimits(Rules):
    """How much one batch may take. An absent key is the daemon's setting."""

    max_files: PositiveCount | None = Field(default=None, description="files in one batch at most")
    max_bytes: Size | None = Field(
        default=None, description="bytes in one batch at most, e.g. 256MB; a larger file is a batch by itself"
    )


class LandingRules(Rules):
    """How files dropped for this table are taken, and what becomes of them."""

    settle: Duration | None = Field(
        default=None, description="seconds a file written in place must have been quiet, e.g. 1s or 5m"
    )
    done_marker: Flag = Field(default=False, description="wait for `<file>.done` before a file is taken")
    archive: Archive | None = Field(
        default=None, description="what becomes of a source whose rows are in gold"
    )
    receipts: StrictBool | None = Field(
        default=None,
        description="whether `.receipts/<file>.json` beside a dropped file tells what became of it",
    )
    revisions: Literal["append", "replace", "reject"] = Field(
        default="append",
        description="a file whose name was taken before, with other content: append its rows, let them replace "
        "those of the earlier file, or reject it",
    )
    batch: BatchLimits = Field(default_factory=BatchLimits, description="how much one batch may take")


class ReaderOptions(Rules):
    """What the sender's files look like, where it is not to be found out from the file itself."""

    format: Literal["csv", "tsv", "ndjson", "json", "parquet", "excel"] | None = Field(
        default=None, description="the files' format; absent: found out"
    )
    delimiter: OneCharacter | None = Field(default=None, description="between two fields; absent: found out")
    quote: Annotated[str, Field(max_length=1)] | None = Field(
        default=None, description="around fields; empty text: quotes mean nothing; absent: found out"
    )
    encoding: Encoding | None = Field(default=None, description="e.g. utf-8, windows-1252; absent: found out")
    header: Flag = Field(default=True, description="whether the first record names the columns")
    skip_lines: Count = Field(default=0, description="lines before the header that are not part of the table")
    begins_at: Text | None = Field(
        default=None,
        description="how the first line of the table begins, e.g. its header: where a file holds several tables",
    )
    comment: Text | None = Field(default=None, description="lines that begin with this text are not records")
    most_damaged: Annotated[StrictInt | StrictFloat, Field(ge=0, le=1)] = Field(
        default=0.2,
        description="the share of damaged records above which the whole file is set aside; nine are always borne",
    )
    sheet: Text | None = Field(default=None, description="the workbook's sheet; absent: the first with data")
    records_at: Text | None = Field(
        default=None, description="the JSON object's key under which the records are"
    )
