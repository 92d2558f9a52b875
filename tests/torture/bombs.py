"""What a sender may put into landing besides damaged files: bombs, links, pipes, and names that nobody foresaw.

Used by the campaign `hostile`.
"""

import gzip
import io
import os
import socket
import stat
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from torture.seeds import Table, xlsx_parts, zipped

SECRET = "KFEEDFACE00"  # noqa: S105 - a token as every record has one
"""The token of records outside landing: seen anywhere in the root, a link was followed."""


def bombs(*, large: bool) -> dict[str, Callable[[], bytes]]:
    """Small files that become large, by name; those that take minutes only when `large`."""
    small: dict[str, Callable[[], bytes]] = {
        "one_line.csv.gz": lambda: _gzipped(b"xyz " * 250_000, 150),
        "deep.json": lambda: b"[" * 200_000 + b"]" * 200_000,
        "deep_within.json": lambda: b'[{"a":' + b"[" * 900 + b"1" + b"]" * 900 + b"}]",
        "deep_objects.ndjson": lambda: (b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n") * 2,
        "nested.zip": lambda: _nested(12),
        "many.zip": lambda: zipped({f"{number}.csv": b"a,b\n1,2\n" for number in range(10_001)}),
        "columns.csv": lambda: b"\n".join(b",".join([value] * 1_000_000) for value in (b"name", b"1")),
        "quotes.csv": lambda: b"a,b\n" + b'"' * 500_001,
        "unfolds.parquet": lambda: _unfolding(1_000),
        "laughs.xlsx": _entities,
    }
    return (
        small
        if not large
        else {
            **small,
            "commas.csv": lambda: b"a,b\n1,2\n" + b"," * 3_000_000,
            "zeros.zip": lambda: _zeros(30, 50_000_000),
            "cell.csv": lambda: b"a,b\n1," + b"x" * 100_000_000 + b"\n2,y\n3,z\n",
            "bomb.csv.gz": lambda: _gzipped(b"1,2,3,4\n" * 130_000, 1_100),
            "rows.parquet": lambda: _constant_rows(60_000_000),
            "sheet.xlsx": _wide_sheet,
            "columns.json": lambda: (
                b"[{" + b",".join(b'"c%d":1' % number for number in range(300_000)) + b"}]"
            ),
        }
    )


def _gzipped(chunk: bytes, times: int) -> bytes:
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6, mtime=0) as packed:
        for _ in range(times):
            packed.write(chunk)
    return target.getvalue()


def _zeros(members: int, size: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            archive.writestr(f"{number}.csv", b"\0" * size)
    return target.getvalue()


def _nested(depth: int) -> bytes:
    content = b"a,b\n1,2\n"
    for level in range(depth):
        content = zipped({f"{level}-{copy}.zip" if level else f"{copy}.csv": content for copy in range(3)})
    return content


def _unfolding(rows: int) -> bytes:
    """One text of a megabyte, once in the file and once in every row: kilobytes that stand for a gigabyte."""
    target = io.BytesIO()
    frame = pl.select(key=pl.lit("x" * 1_000_000).repeat_by(rows).explode())
    frame.write_parquet(target, compression="zstd")
    return target.getvalue()


def _constant_rows(rows: int) -> bytes:
    target = io.BytesIO()
    pl.select(a=pl.repeat(1, rows, dtype=pl.Int64), b=pl.repeat(2, rows, dtype=pl.Int64)).write_parquet(
        target
    )
    return target.getvalue()


def _wide_sheet() -> bytes:
    """A workbook whose one sheet says that its last cell is the last there can be."""
    parts = xlsx_parts(Table(("key", "note"), (("1", "x"),)), shared=False)
    sheet = parts["xl/worksheets/sheet1.xml"]
    far = b'<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>far</t></is></c></row></sheetData>'
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b"</sheetData>", far)
    return zipped(parts)


def _entities() -> bytes:
    """A workbook whose styles are a billion laughs."""
    parts = xlsx_parts(Table(("key", "note"), (("1", "x"), ("2", "y"))), shared=False)
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    styles = f'<!DOCTYPE s [<!ENTITY l0 "ha">{levels}]><styleSheet>&l9;</styleSheet>'
    return zipped({**parts, "xl/styles.xml": styles.encode()})


EARLY, LATE = "EARLY", "LATE"


@dataclass
class Oddities:
    """What was put into landing: tokens of regular files, and entries that must stay where they are.

    `kept` are files outside it that must be there ever after.
    """

    tokens: list[str] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    irregular: dict[Path, int] = field(default_factory=dict)
    sockets: list[socket.socket] = field(default_factory=list)

    def moved(self) -> list[str]:
        """The entries that are not there any more as they were."""
        return [
            str(path)
            for path, mode in self.irregular.items()
            if not os.path.lexists(path) or stat.S_IFMT(os.lstat(path).st_mode) != mode
        ]


_NAMES = (
    b"new\nline.csv",
    b"..csv",
    b"...csv.csv",
    b"..\\..\\up.csv",
    b"%2e%2e%2fup.csv",
    b"-rf.csv",
    b"a b\tc.csv",
    b"*?[x]{y}.csv",
    b"not-\xff\xfe-utf8.csv",
    b"caf\xe9.csv",
    b"x" * 251 + b".csv",
    b"\xf0\x9f\x8d\x92.csv",
    b"quote'\"`$(touch pwned).csv",
    b"!bang!.csv",
    b"csv",
    b"\x01\x7f.csv",
)


def put_oddities(odd: Oddities, landing: Path, outside: Path, when: str) -> None:
    """Put links, pipes, a socket, devices and regular files of odd names into `landing`; `outside` holds secrets.

    `when`: EARLY ones are for a daemon's sweep to find, LATE ones are told of by events.
    """
    outside.mkdir(exist_ok=True)
    (outside / "secret.csv").write_text(f"key,note\n{SECRET},of the secret\n{SECRET},again\n")
    folder = landing / when.lower()
    folder.mkdir(parents=True)
    for number, name in enumerate(_NAMES):
        for here in (
            (folder, landing) if when == EARLY else (folder,)
        ):  # in the folder of a table, and as one of its own
            token = f"K{number:05X}{'0DD0' if here == folder else '0DDB'}{when[0]}"
            (outside / "arriving").write_text(f"key,note\n{token},of {number}\n{token[:-1]}C,also\n")
            path = here / os.fsdecode(name)
            (outside / "arriving").rename(path)
            if name.startswith(b"."):
                odd.irregular[path] = stat.S_IFREG  # hidden names are never taken
            else:
                odd.tokens.append(token)
    linked = outside / f"hard-{when}.csv"
    tokens = [f"KAAAA0000{when[0]}{number}" for number in "12"]
    linked.write_text(f"key,note\n{tokens[0]},hard\n{tokens[1]},link\n")
    os.link(linked, folder / "hard.csv")
    odd.tokens += tokens
    odd.kept += [linked, outside / "secret.csv"]
    for link, target in {
        "link.csv": outside / "secret.csv",
        "relative.csv": Path("../../../outside/secret.csv"),
        "folder": outside,
        "loop.csv": Path("loop.csv"),
        "nowhere.csv": outside / "nothing",
        "device.csv": Path("/dev/zero"),
    }.items():
        for here in (folder, landing) if when == EARLY else (folder,):
            (here / link).symlink_to(target)
            odd.irregular[here / link] = stat.S_IFLNK
    os.mkfifo(folder / "pipe.csv")
    odd.irregular[folder / "pipe.csv"] = stat.S_IFIFO
    listening = socket.socket(socket.AF_UNIX)
    before = Path.cwd()
    os.chdir(folder)  # the path of a socket may have 107 bytes
    try:
        listening.bind("socket.csv")
    finally:
        os.chdir(before)
    odd.sockets.append(listening)
    odd.irregular[folder / "socket.csv"] = stat.S_IFSOCK
    with suppress(PermissionError):
        os.mknod(folder / "zero.csv", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        odd.irregular[folder / "zero.csv"] = stat.S_IFCHR
