"""Secrets: who may read what was delivered, and what of it a log line or `status` says."""

import os
import stat
import subprocess
from pathlib import Path

import polars as pl
from daemon_process import command, environment, run

SECRET = "s3cr3t-4711-hunter2"  # noqa: S105 - what no log line may say
CONTRACT = """
bronze:
  cast: {amount: {type: decimal, precision: 12, scale: 2}, day: date}
silver:
  dedup: {keys: [id], keep: last}
  checks:
    - {name: positive, sql: "amount > 0", on_failure: quarantine}
"""
TRANSFORM = """
import polars as pl

def to_number(lf):
    return lf.with_columns(pl.col("secret").cast(pl.Int64))
"""


def contract(root: Path, table: str, text: str) -> None:
    folder = root / "catalog/contracts/main"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table}.yaml").write_text(text)


def land(root: Path, name: str, content: bytes | str) -> None:
    path = root / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_what_stands_in_a_cell_is_said_by_no_log_line_and_not_by_status(tmp_path: Path) -> None:
    contract(tmp_path, "orders", CONTRACT)
    contract(tmp_path, "numbers", 'silver: {transforms: ["numbers:to_number"]}')
    (tmp_path / "catalog/transforms").mkdir()
    (tmp_path / "catalog/transforms/numbers.py").write_text(TRANSFORM)
    contract(
        tmp_path, "strict", "silver: {checks: [{name: short, sql: 'length(note) < 3', on_failure: fail}]}"
    )
    header = "id,amount,day,note\n"
    land(tmp_path, "orders/casts.csv", header + f"1,{SECRET},2024-01-01,a\n2,2.00,{SECRET},b\n")
    land(tmp_path, "orders/checks.csv", header + f"3,-1.00,2024-01-01,{SECRET}\n")
    land(tmp_path, "orders/dedup.csv", header + f"{SECRET},1.00,2024-01-01,x\n{SECRET},2.00,2024-01-01,y\n")
    land(
        tmp_path,
        "orders/ragged.csv",
        header + f"4,4.00,2024-01-01,d,{SECRET},{SECRET}\n5,5.00,2024-01-01,e\n",
    )
    land(tmp_path, "orders/quote.csv", header + f'6,6.00,2024-01-01,"{SECRET}\n')
    land(tmp_path, "numbers/transform.csv", f"id,secret\n1,{SECRET}\n")
    land(tmp_path, "strict/refused.csv", f"id,note\n1,{SECRET}\n")
    land(tmp_path, "broken/unreadable.parquet", b"PAR1" + SECRET.encode() * 20 + b"PAR1")
    land(tmp_path, "broken/unreadable.json", f'[{{"a": "{SECRET}"}}, {{"a": {SECRET}}}]')
    land(tmp_path, "broken/unreadable.ndjson", f'{{"a": "{SECRET}"}}\n{{"a": {SECRET}\n')
    land(tmp_path, "broken/unreadable.xlsx", b"PK\3\4" + SECRET.encode() * 20)

    asked = (["drain"], ["status"], ["status", "--json"])
    said = [(words, run(tmp_path, *words, log_level="info").output) for words in asked]

    found = [f"{words}: {line}" for words, text in said for line in text.splitlines() if SECRET in line]
    assert not found, "\n".join(found)
    quarantined = list((tmp_path / "data/quarantine/main/orders").rglob("*.parquet"))
    raws = [raw for path in quarantined for raw in pl.read_parquet(path)["raw"].to_list()]
    assert sum(SECRET in raw for raw in raws) >= 4  # the faults did fire: casts, a check, damaged records
    for name in ("main/numbers", "main/strict", "main/broken"):  # transform, check, unreadable files
        assert list((tmp_path / "data/quarantine" / name).glob("*.reason.json")), name


def installed(root: Path, *words: str) -> None:
    """Run a command as it is installed, which inherits what a process inherits."""
    subprocess.run(command(root, *words), env=environment(), capture_output=True, check=True, timeout=60)


def test_archive_and_quarantine_are_closed_to_others_and_nothing_is_world_writable(tmp_path: Path) -> None:
    before = os.umask(0)  # the worst that an administrator may have set
    try:
        installed(tmp_path, "init")
        assert not [path for path in tmp_path.rglob("*") if path.stat().st_mode & stat.S_IWOTH]
        contract(tmp_path, "orders", CONTRACT)
        land(tmp_path, "orders/good.csv", "id,amount,day,note\n1,1.00,2024-01-01,a\n2,x,2024-01-01,b\n")
        land(tmp_path, "orders/bad.parquet", b"PAR1 no parquet PAR1")
        installed(tmp_path, "drain")
    finally:
        os.umask(before)

    def loose(folder: Path, bits: int) -> list[str]:
        paths = [path for path in folder.rglob("*") if not path.is_symlink()]
        assert paths, folder
        return [
            f"{stat.filemode(path.stat().st_mode)} {path}" for path in paths if path.stat().st_mode & bits
        ]

    for name in ("archive", "quarantine"):
        assert not loose(tmp_path / "data" / name, stat.S_IRWXO)
    assert not loose(tmp_path / "data", stat.S_IWOTH)
    assert not [path for path in loose(tmp_path / "catalog", stat.S_IWOTH) if "contracts" not in path]


def test_a_hostile_name_of_a_table_stays_within_data(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = outside / "root"
    names = [
        "..%2f..%2fevil",
        "~",
        "...",
        ". .",
        "\\..\\..\\evil",
        "a\nb",
        "-rf",
        "$(touch evil)",
        "con:",
        "*",
    ]
    for number, name in enumerate(names):
        land(root, f"{name}/x{number}.csv", f"id\n{number}\n")
        land(root, f"{name}/{name}/y{number}.csv", f"id\n{number + 100}\n")
    land(root, os.fsdecode(b"\xff\xfe..") + "/z.csv", "id\n200\n")

    run(root, "drain")

    assert sorted(path.name for path in outside.iterdir()) == ["root"]
    assert {path.name for path in root.iterdir()} <= {"landing", "data", "catalog"}
    gold = list((root / "data/.generations/gold").rglob("*.parquet"))
    ids = {value for path in gold for value in pl.read_parquet(path)["id"].to_list()}
    hidden = [name for name in names if name.startswith(".")]  # such folders are not looked into
    assert len(ids) == 2 * (len(names) - len(hidden)) + 1
    for layer in (root / "data").iterdir():
        for path in layer.rglob("*"):
            assert path.resolve().is_relative_to(root / "data")
