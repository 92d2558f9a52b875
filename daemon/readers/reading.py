"""`read_delivery`: each source to the reader of its kind; clean delimited files together to the fast path.

Called by the staged layer in a worker. See daemon/readers/__init__.py for what it takes and gives.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import polars as pl

from daemon.catalog.contract import ReaderOptions
from daemon.readers.careful import read_carefully
from daemon.readers.columnar import COLUMNAR, read_columnar
from daemon.readers.compressed import bare_name, members, unpack
from daemon.readers.delivery import Delivery, Reading, Refusal, Source
from daemon.readers.excel import read_excel
from daemon.readers.fast import FastScans
from daemon.readers.formats import COMPRESSED, HEAD, Kind, kind_of, misnamed
from daemon.readers.jsonfiles import read_json
from daemon.readers.layout import Layout
from daemon.readers.locating import find_layout
from daemon.readers.sniff import UnknownLayoutError
from daemon.readers.text import Text, begins_as_utf8, code_page, translate, wide_encoding

_MOST_LAYERS = 3
_FORMATS = {
    "csv": Kind.TEXT,
    "tsv": Kind.TEXT,
    "json": Kind.JSON,
    "ndjson": Kind.JSON,
    "parquet": Kind.PARQUET,
    "excel": Kind.EXCEL,
}

_MARKUP = re.compile(
    rb"<(\?xml|!doctype|!--|(html|head|body|table|meta|style|script)[\s/>])|\{\\rtf", re.IGNORECASE
)
"""How web pages, XML and rich text begin, which many programs export under the name of a workbook. Not every "<" is one:
there are exports with columns such as `<DATE>`."""
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""What may stand before the first letter: marks of the encoding, and the zero bytes of UTF-16 and UTF-32."""


def read_delivery(
    sources: Sequence[Source], options: ReaderOptions, scratch: Path, careful: frozenset[str] = frozenset()
) -> Delivery:
    """Read `sources` as `options` say; intermediate files go to `scratch`, made if need be, which the caller removes.

    Sources named in `careful`, and the members of archives named there, are read record by record. Bad data is never
    raised: it is in `damaged` and `refused`. Raises OSError (or polars' error that `is_machine_fault` knows) for the
    machine's faults alone.
    """
    return _DeliveryReader(options, scratch, careful).read(sources)


class _DeliveryReader:
    """One call of `read_delivery`: the options and what was learned from the files so far."""

    def __init__(self, options: ReaderOptions, scratch: Path, careful: frozenset[str]) -> None:
        self._options = options
        self._folder = scratch
        self._careful = careful
        self._fast = FastScans()
        self._layouts: dict[bytes, Layout] = {}

    @cached_property
    def _scratch(self) -> Path:
        """The folder for intermediate files: most files need none."""
        self._folder.mkdir(0o700, exist_ok=True)
        return self._folder

    def read(self, sources: Sequence[Source]) -> Delivery:
        readings: dict[str, Reading] = {}
        for place, source in enumerate(sources):
            readings.update(self._one(source, f"source-{place}"))
        others = _together(readings)
        return Delivery(
            frames=(*self._fast.frames(), *others),
            damaged=tuple(record for reading in readings.values() for record in reading.damaged),
            refused=tuple(reading.refused for reading in readings.values() if reading.refused is not None),
            notes={name: reading.note for name, reading in readings.items() if reading.note},
            headers={
                name: reading.header for name, reading in readings.items() if reading.header is not None
            },
            proofs=self._fast.proofs,
            parts={name: reading.parts for name, reading in readings.items() if reading.parts},
            size=None if others else self._fast.size,
        )

    def _one(self, source: Source, stem: str, depth: int = 0) -> dict[str, Reading]:
        """The readings of a file: one, or one per member of an archive."""
        packed, name = source, source.name
        head, kind = self._looked_at(source, name)
        doubts = [misnamed(name, kind)]
        for layer in range(_MOST_LAYERS):
            if kind not in COMPRESSED:
                break
            unpacked = unpack(source, kind, self._scratch / f"{stem}-unpacked-{layer}")
            if isinstance(unpacked, Refusal):
                return {source.name: Reading(refused=unpacked)}
            source, name = unpacked, bare_name(packed.name, kind)
            head, kind = self._looked_at(source, name)
            doubts.append(misnamed(name, kind))
        if kind is Kind.ZIP and depth < _MOST_LAYERS:
            return self._members(source, stem, depth)
        reading = self._of_kind(kind, source, head, stem)
        note = "; ".join(filter(None, [*doubts, reading.note]))
        return {source.name: replace(reading, note=note)}

    def _is_careful(self, source: Source) -> bool:
        """Whether the source, or an archive that it is in, is to be read record by record."""
        parts = source.name.split("!")
        return any("!".join(parts[:place]) in self._careful for place in range(1, len(parts) + 1))

    def _members(self, source: Source, stem: str, depth: int) -> dict[str, Reading]:
        inside = members(source, self._scratch, stem)
        if isinstance(inside, Refusal):
            return {source.name: Reading(refused=inside)}
        readings: dict[str, Reading] = {}
        for place, member in enumerate(inside):
            readings.update(self._one(member, f"{stem}-{place}", depth + 1))
        return readings

    def _looked_at(self, source: Source, name: str) -> tuple[bytes, Kind]:
        with source.path.open("rb") as file:
            head = file.read(HEAD)
        return head, kind_of(source.path, head, name)

    def _no_table(self, kind: Kind, source: Source, head: bytes) -> Refusal | None:
        """Why nothing can be a table in a file that begins like this; None when something may be."""
        if kind is Kind.EMPTY:
            return Refusal(source.name, "empty", "the file is empty")
        if not head.strip(b"\0"):
            reason = "it begins with nothing but zero bytes: room that was reserved and never written"
            return Refusal(source.name, "unreadable", reason)
        if self._options.format is None and _MARKUP.match(head.lstrip(_BLANK)[:64].replace(b"\0", b"")):
            reason = "it is a web page, XML or rich text, not a table. Export it as CSV or as a workbook"
            return Refusal(source.name, "not_a_table", reason)
        return None

    def _of_kind(self, kind: Kind, source: Source, head: bytes, stem: str) -> Reading:
        refusal = self._no_table(kind, source, head)
        if refusal is not None:
            return Reading(refused=refusal)
        if self._options.format is not None:
            kind = _FORMATS[self._options.format]
        if kind in COLUMNAR:
            return read_columnar(source, kind, careful=self._is_careful(source))
        if kind is Kind.EXCEL:
            return read_excel(source, self._options, self._scratch, stem)
        if kind is Kind.JSON:
            return self._json(source, head, stem)
        if kind is Kind.TEXT:
            return self._delimited(source, head, stem)
        reason = "this is no text and no format that is known here (delimited text, JSON, Excel, Parquet, Arrow, Avro)"
        return Reading(refused=Refusal(source.name, "unknown_format", reason))

    def _json(self, source: Source, head: bytes, stem: str) -> Reading:
        encoding = self._options.encoding or wide_encoding(head) or "utf-8"
        try:
            text = self._as_utf8(source, encoding, stem)
        except UnicodeDecodeError as error:
            return Reading(refused=_not_as_it_seems(source, error))
        return read_json(Source(source.name, text.path), self._options, self._scratch, stem)

    def _delimited(self, source: Source, head: bytes, stem: str) -> Reading:
        """A delimited file: on the fast path if its bytes can be proved, else record by record."""
        encoding = self._options.encoding or wide_encoding(head)
        careful = self._is_careful(source)
        try:
            if not encoding and not careful and begins_as_utf8(head):
                reading = self._fast_utf8(source, head)
                if reading is not None:
                    return reading
            text = self._as_utf8(source, encoding or code_page(source.path), stem)
            layout = find_layout(text.path, self._options)
            if text.note:
                layout = replace(layout, notes=(text.note, *layout.notes))
            utf8 = Source(source.name, text.path)
            reading = None if careful or not text.note else self._fast_reading(utf8, layout)
            return reading or read_carefully(utf8, layout, text.encoding, self._scratch, stem)
        except UnknownLayoutError as error:
            return Reading(refused=Refusal(source.name, error.kind, str(error)))
        except UnicodeDecodeError as error:
            return Reading(refused=_not_as_it_seems(source, error))

    def _fast_utf8(self, source: Source, head: bytes) -> Reading | None:
        """The reading of a file that can be proved as it is; its layout is remembered for files that begin alike."""
        first_line = head.partition(b"\n")[0] if b"\n" in head else b""
        known = self._layouts.get(first_line)
        if known is not None:
            reading = self._fast_reading(source, known)
            if reading is not None:
                return replace(reading, note=f"{reading.note}; as another file that begins alike")
        layout = find_layout(source.path, self._options)
        reading = None if layout == known else self._fast_reading(source, layout)
        if reading is not None and first_line and layout.header and layout.skip == 1:
            self._layouts[first_line] = (
                layout  # of other files the first line does not tell where the table begins
            )
        return reading

    def _fast_reading(self, source: Source, layout: Layout) -> Reading | None:
        if not self._fast.offer(source, layout, source.path.stat().st_size):
            return None
        return Reading(note=layout.note, header=layout.original_header)

    def _as_utf8(self, source: Source, encoding: str, stem: str) -> Text:
        encoding = codecs.lookup(encoding).name
        if encoding == "utf-8":
            return Text(source.path, encoding)
        return translate(source.path, encoding, self._scratch / f"{stem}-utf8")


def _not_as_it_seems(source: Source, error: UnicodeDecodeError) -> Refusal:
    return Refusal(source.name, "unreadable", f"this text is not the {error.encoding} it seems")


def _together(readings: dict[str, Reading]) -> list[pl.LazyFrame]:
    """The frames of the readings in their order."""
    return [frame for reading in readings.values() for frame in reading.frames]
