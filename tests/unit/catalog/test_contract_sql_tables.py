"""The tables that an SQL statement reads, found without an SQL engine."""

import pytest

from daemon.catalog.sql_tables import TableReference, tables_in


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT * FROM gold.noc.dim_noc", ["gold.noc.dim_noc"]),
        ("FROM gold.noc.dim_noc SELECT code, gold.wages", ["gold.noc.dim_noc"]),
        ("select * from GOLD.Noc.DIM_NOC", ["gold.noc.dim_noc"]),
        ('SELECT * FROM "gold"."noc"."2021 codes"', ["gold.noc.2021 codes"]),
        ("SELECT * FROM gold . noc\n. dim_noc", ["gold.noc.dim_noc"]),
        ("SELECT * FROM gold.a.b LEFT JOIN silver.c.d ON gold.x = silver.y", ["gold.a.b", "silver.c.d"]),
        ("SELECT gold.x, f(a, gold.y) FROM gold.a.b, gold.c t, silver.d", ["gold.a.b", "gold.c", "silver.d"]),
        ("WITH x AS (SELECT * FROM gold.a.b) SELECT * FROM x, gold.c.d", ["gold.a.b", "gold.c.d"]),
        ("FROM (gold.a JOIN gold.b USING (k)), LATERAL (FROM gold.c)", ["gold.a", "gold.b", "gold.c"]),
        ("FROM gold.a.b WHERE k IN (FROM silver.c.d) ORDER BY gold.e", ["gold.a.b", "silver.c.d"]),
        ("SELECT * FROM gold.a.b UNION ALL SELECT * FROM gold.c.d", ["gold.a.b", "gold.c.d"]),
        ("SELECT * FROM gold.a.b -- FROM gold.c\n/* FROM gold.d */ WHERE x = 'FROM gold.e'", ["gold.a.b"]),
        ("SELECT $$ FROM gold.a $$, 'it''s FROM gold.b', \"FROM gold.c\" FROM gold.d", ["gold.d"]),
        ("SELECT * FROM gold.a.b t1 JOIN gold.a.b t2 USING (k)", ["gold.a.b"]),
        ("SELECT * FROM staged.a.b, bronze.c.d", ["staged.a.b", "bronze.c.d"]),
        ("PIVOT gold.a.b ON year USING sum(n)", ["gold.a.b"]),
        ("SELECT * FROM golden.a.b, read_csv('gold.csv'), gold", []),
        ("SELECT 1", []),
        ("", []),
    ],
)  # fmt: skip
def test_the_tables_after_from_and_join_are_found(sql: str, tables: list[str]) -> None:
    assert [str(table) for table in tables_in(sql)] == tables


@pytest.mark.parametrize(
    "sql", ["SELECT 'FROM", "/* FROM gold.a", ") FROM gold.a.b", 'FROM "gold', "((((", "$$"]
)
def test_broken_sql_is_somebody_elses_error(sql: str) -> None:
    tables_in(sql)


def test_a_name_without_its_domain_may_mean_the_table_of_any_domain() -> None:
    short, full = TableReference("gold", None, "sales"), TableReference("gold", "shop", "sales")

    assert short.means("gold", "shop", "sales")
    assert full.means("gold", "shop", "sales")
    assert short.means("gold", "web", "sales")
    assert not full.means("gold", "web", "sales")
    assert not short.means("silver", "shop", "sales")
