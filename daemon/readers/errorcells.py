"""Cells of an xlsx file that show an error (`#DIV/0!`): calamine gives nothing where they are. Used by excel.py."""

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

from daemon.readers.zeropadding import sheet_part

_SHOWN = 3
_CELL = re.compile(
    rb"<c\b(?=[^>]*\bt=\"e\")[^>]*\br=\"([A-Z]+\d+)\"[^>]*>(?:(?!</c>).)*?<v>([^<]*)</v>", re.DOTALL
)


def error_cells(path: Path, sheet: int) -> str | None:
    """A note that names the first error cells of the `sheet`-th sheet; None if there are none, or it is not an xlsx."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(sheet_part(archive, sheet))
    except (zipfile.BadZipFile, KeyError, IndexError, StopIteration, ET.ParseError):
        return None
    if b't="e"' not in content:
        return None
    found = [(place.decode(), text.decode("utf-8", "replace")) for place, text in _CELL.findall(content)]
    if not found:
        return None
    named = ", ".join(f"{place} ({text})" for place, text in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"warning: {len(found)} cells show an error and are null: {named}{more}"
