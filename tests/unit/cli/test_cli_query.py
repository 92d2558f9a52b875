"""`medalliond query` and the sandbox that its SQL runs in."""

import csv
import io
import json
import os
import signal

import duckdb
import polars as pl
import pytest
from cli_world import Root, Run

from daemon.catalog.promotion import TableKey
from daemon.cli.lake_sql import interruptible

FRAME = pl.DataFrame({"code": ["00010", "00020"], "n": [1, 2]})


def test_a_table_answers_to_its_full_name_in_every_layer(orders: Root, run: Run) -> None:
    for layer, rows in (("staged", 3), ("bronze", 2), ("silver", 2), ("gold", 2)):
        found = run("query", f"FROM {layer}.sales.orders SELECT count(*) AS n", "--json", orders)
        assert json.loads(found.stdout) == [{"n": rows}]


def test_a_clear_table_needs_no_domain(orders: Root, run: Run) -> None:
    assert run("query", "FROM gold.orders SELECT max(order_id)", orders).stdout == "max(order_id)\n2\n"


def test_a_table_of_the_main_domain_needs_no_domain(root: Root, run: Run) -> None:
    root.fill(TableKey("main", "codes"), ["codes.csv"], FRAME)
    for name in ("gold.codes", "gold.main.codes"):
        assert run("query", f"FROM {name} SELECT sum(n) AS n", root).stdout == "n\n3\n"


def test_an_unclear_table_is_refused_with_the_names_it_may_mean(root: Root, run: Run) -> None:
    root.fill(TableKey("a", "codes"), ["a.csv"], FRAME)
    root.fill(TableKey("b", "codes"), ["b.csv"], FRAME)
    found = run("query", "FROM gold.codes", root)
    assert found.exit_code == 1
    assert found.stderr == "medalliond: 'gold.codes' may be gold.a.codes or gold.b.codes; say which.\n"


def test_a_mistyped_table_is_answered_with_the_nearest(orders: Root, run: Run) -> None:
    found = run("query", "FROM gold.sales.oders", orders)
    assert found.exit_code == 1
    assert found.stdout == ""
    assert (
        found.stderr == "medalliond: there is no table 'gold.sales.oders'. Did you mean gold.sales.orders?\n"
    )


@pytest.mark.parametrize("name", ["gold.sales.new", "gold.new"])
def test_a_table_whose_first_rows_are_on_their_way_is_said_to_have_none(
    root: Root, run: Run, name: str
) -> None:
    link = root.path / "data/gold/sales/new"
    (link.parent / ".new/0").mkdir(parents=True)
    link.symlink_to(".new/0")
    found = run("query", f"FROM {name}", root)
    assert found.exit_code == 1
    assert (
        found.stderr == f"medalliond: '{name}' has no rows yet; ask again once a delivery has come through.\n"
    )


def test_layers_can_be_joined(orders: Root, run: Run) -> None:
    sql = "SELECT count(*) AS n FROM staged.sales.orders s ANTI JOIN gold.orders g USING (order_id)"
    assert run("query", sql, orders).stdout == "n\n1\n"


def test_the_batches_of_a_table_may_have_different_columns(root: Root, run: Run) -> None:
    key = TableKey("sales", "orders")
    root.fill(key, ["a.csv"], pl.DataFrame({"x": [1]}))
    root.fill(key, ["b.csv"], pl.DataFrame({"x": [2], "new": ["?"]}))
    found = run("query", "SELECT x, new FROM gold.orders ORDER BY x", "--json", root)
    assert json.loads(found.stdout) == [{"x": 1, "new": None}, {"x": 2, "new": "?"}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.10::DECIMAL(10, 2)", "1.10"),
        ("12345678901234567890::HUGEINT", 12345678901234567890),
        ("1.5::DOUBLE", 1.5),
        ("'nan'::DOUBLE", None),
        ("NULL", None),
        ("true", True),
        ("false", False),
        ("DATE '2026-01-02'", "2026-01-02"),
        ("TIMESTAMPTZ '2026-01-02 03:04:05+02:00'", "2026-01-02 01:04:05+00"),
        ("[1, NULL]", [1, None]),
        ("{'a': 'x'}", {"a": "x"}),
        ("''", ""),
        ("'00010'", "00010"),
    ],
)
def test_json_keeps_values_as_they_are(root: Root, run: Run, value: str, expected: object) -> None:
    assert json.loads(run("query", f"SELECT {value} AS v", "--json", root).stdout) == [{"v": expected}]


def test_csv_quotes_what_must_be_quoted(root: Root, run: Run) -> None:
    found = run("query", """SELECT 'a,"b"' AS x, NULL AS y""", "--csv", root)
    assert list(csv.reader(io.StringIO(found.stdout))) == [["x", "y"], ['a,"b"', ""]]


def test_two_columns_may_have_one_name(root: Root, run: Run) -> None:
    assert run("query", "SELECT 1 AS a, 2 AS a", "--csv", root).stdout == "a,a\n1,2\n"


def test_a_control_character_in_a_value_does_not_break_the_line(root: Root, run: Run) -> None:
    assert run("query", "SELECT 'a' || chr(10) || chr(27) || 'b' AS v", root).stdout == "v\na\\n\\x1bb\n"


def test_the_number_of_rows_can_be_limited(root: Root, run: Run) -> None:
    found = run("query", "FROM range(1000) AS t(i)", "--limit", "2", "--csv", root)
    assert found.stdout == "i\n0\n1\n"


def test_a_statement_may_end_in_a_semicolon_or_a_comment(root: Root, run: Run) -> None:
    assert run("query", "SELECT 1 AS a;", root).stdout == "a\n1\n"
    assert run("query", "SELECT 1 AS a -- one", root).stdout == "a\n1\n"


def test_pivot_and_describe_work(orders: Root, run: Run) -> None:
    assert run("query", "PIVOT gold.orders ON order_id USING count(*)", orders).exit_code == 0
    assert "amount\tVARCHAR" in run("query", "DESCRIBE gold.sales.orders", orders).stdout


def test_all_tables_can_be_listed(orders: Root, run: Run) -> None:
    assert "gold\tsales\torders" in run("query", "SHOW ALL TABLES", orders).stdout


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{data}/x.csv'",
        "COPY (PIVOT gold.orders ON order_id) TO '{data}/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x.csv'",
        "ATTACH '{data}/x.csv'",
        "CREATE TABLE gold.x AS SELECT 1",
        "/* SELECT */ COPY (SELECT 1) TO '{data}/x.csv'",
        "SELECT 1; SELECT 2",
        "SET threads = 1",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{data}/x.csv''')",
        "FROM enable_logging(storage = 'file', storage_path = '{data}/x.csv')",
        "",
        "SELEC 1",
    ],
)
def test_only_reading_statements_are_taken(orders: Root, run: Run, sql: str) -> None:
    found = run("query", sql.format(data=orders.layout.data), orders)
    assert found.exit_code == 1
    assert found.stderr.startswith("medalliond: ")
    assert not (orders.layout.data / "x.csv").exists()


@pytest.mark.parametrize(
    "source", ["read_text('{file}')", "'{file}'", "read_csv('{data}/../secret.csv')", "glob('/*')"]
)
def test_nothing_outside_data_can_be_read(orders: Root, run: Run, source: str) -> None:
    secret = orders.path / "secret.csv"
    secret.write_text("a\nsecret\n")
    found = run("query", "FROM " + source.format(file=secret, data=orders.layout.data), orders)
    assert found.exit_code == 1
    assert "secret\n" not in found.stdout


def test_the_generation_that_the_link_shows_is_read(orders: Root, run: Run) -> None:
    generations = orders.path / "data/.generations/gold/sales/orders"
    (generations / "2").mkdir()
    FRAME.write_parquet(generations / "2" / "b.g2.parquet")
    assert run("query", "SELECT count(*) AS n FROM gold.orders", orders).stdout == "n\n2\n"
    link = orders.path / "data/gold/sales/orders"
    link.unlink()
    link.symlink_to("../../.generations/gold/sales/orders/2")
    assert run("query", "SELECT sum(n) AS n FROM gold.orders", orders).stdout == "n\n3\n"


def test_a_table_without_files_yet_is_said_not_to_be_there(orders: Root, run: Run) -> None:
    (orders.path / "data/gold/sales/empty").symlink_to("../../.generations/gold/sales/empty/1")
    assert run("query", "FROM gold.sales.empty", orders).exit_code == 1


def test_ctrl_c_ends_what_duckdb_works_on() -> None:
    endless = "SELECT count(*) FROM range(10000000) x, range(10000000) y WHERE x.range * y.range % 7 = 3"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.siginterrupt(signal.SIGINT, False)  # as Polars leaves it, where it is loaded later  # noqa: FBT003
    try:
        with duckdb.connect() as connection:

            def work() -> None:
                os.kill(os.getpid(), signal.SIGINT)
                connection.execute(endless)

            with pytest.raises(KeyboardInterrupt):
                interruptible(connection, work)
    finally:
        signal.signal(signal.SIGINT, before)
