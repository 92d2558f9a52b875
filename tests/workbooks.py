"""Workbooks made by hand, cell by cell, for tests."""

import io
import zipfile
from xml.sax.saxutils import escape

Cell = str | int | float | tuple[float, int | str] | None
"""Text (an error where it begins with `#`, a formula whose result was not saved with `=`), a number, or a number and how
it is shown: the place of a style, or a number format."""
_NAMESPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
ZEROS, DAY, MOMENT = 1, 2, 3


def workbook(
    sheets: dict[str, list[list[Cell]]], *, hidden: tuple[str, ...] = (), epoch_1904: bool = False
) -> bytes:
    names = list(sheets)
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r" Type="{_LINKS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {_NAMESPACE} xmlns:r="{_LINKS}"><workbookPr date1904="{int(epoch_1904)}"/><sheets>'
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="s{n}" state="{"hidden" if name in hidden else "visible"}"/>'
            for n, name in enumerate(names, 1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        + "".join(
            f'<Relationship Id="s{n}" Type="{_LINKS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(names) + 1)
        )
        + f'<Relationship Id="st" Type="{_LINKS}/styles" Target="styles.xml"/></Relationships>',
    }
    formats: list[str] = ["00000", "yyyy-mm-dd hh:mm"]
    for n, rows in enumerate(sheets.values(), 1):
        body = "".join(
            f'<row r="{r}">{"".join(_cell(r, c, v, formats) for c, v in enumerate(row))}</row>'
            for r, row in enumerate(rows, 1)
        )
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f"<worksheet {_NAMESPACE}><sheetData>{body}</sheetData></worksheet>"
        )
    parts["xl/styles.xml"] = _styles(formats)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + content)
    return packed.getvalue()


def _styles(formats: list[str]) -> str:
    numbers = "".join(
        f'<numFmt numFmtId="{n}" formatCode="{escape(code, {chr(34): "&quot;"})}"/>'
        for n, code in enumerate(formats, 164)
    )
    further = "".join(f'<xf numFmtId="{n}"/>' for n in range(166, 164 + len(formats)))
    return (
        f'<styleSheet {_NAMESPACE}><numFmts count="{len(formats)}">{numbers}</numFmts><cellXfs>'
        f'<xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="14"/><xf numFmtId="165"/>{further}</cellXfs></styleSheet>'
    )


def _cell(row: int, column: int, value: Cell, formats: list[str]) -> str:
    place = f"{chr(ord('A') + column)}{row}"
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith("#"):
        return f'<c r="{place}" t="e"><v>{value}</v></c>'
    if isinstance(value, str) and value.startswith("="):
        return f'<c r="{place}"><f>{escape(value[1:])}</f><v/></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    number, style = value if isinstance(value, tuple) else (value, 0)
    if isinstance(style, str):
        if style not in formats:
            formats.append(style)
        number_format = formats.index(style)
        style = (ZEROS, MOMENT)[number_format] if number_format < 2 else number_format + 2
    return f'<c r="{place}" s="{style}"><v>{number}</v></c>'
