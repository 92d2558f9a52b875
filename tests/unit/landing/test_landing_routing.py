import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.catalog.names import slug
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError
from daemon.landing.routing import route_path, source_name

names = st.binary(min_size=1, max_size=255).filter(lambda raw: not {0, ord("/")} & set(raw)).map(os.fsdecode)


def nobody(_: str) -> TableKey | None:
    return None


@pytest.mark.parametrize(
    ("relative", "domain", "table"),
    [
        ("sales/orders/a.csv", "sales", "orders"),
        ("orders/a.csv", "main", "orders"),
        ("a.csv", "main", "a"),
        ("sales/orders/2024/05/a.csv", "sales", "orders"),
        ("a.csv.gz", "main", "a"),
        ("A.CSV.GZ", "main", "a"),
        ("a.ndjson.zst", "main", "a"),
        ("a.gz", "main", "a"),
        ("orders-2024.05.csv", "main", "orders_2024_05"),
        ("README", "main", "readme"),
        ("Ventes 2024/Été (final)/a.csv", "ventes_2024", "été_final"),
    ],
)
def test_the_folders_of_a_file_name_its_table(relative: str, domain: str, table: str) -> None:
    assert route_path(relative, nobody) == TableKey(domain, table)


def test_a_contract_decides_on_a_file_straight_in_landing_by_its_whole_name() -> None:
    asked = []

    def by_name(name: str) -> TableKey:
        asked.append(name)
        return TableKey("noc", "dim_noc")

    assert route_path("noc_2021.csv.gz", by_name) == TableKey("noc", "dim_noc")
    assert asked == ["noc_2021.csv.gz"]


def test_a_contract_is_not_asked_about_a_file_in_a_folder() -> None:
    assert route_path("orders/noc.csv", lambda _: TableKey("noc", "noc")) == TableKey("main", "orders")


def test_a_contract_that_cannot_answer_makes_the_file_wait() -> None:
    def broken(_: str) -> TableKey:
        raise ContractError("catalog/contracts/a/b.yaml: mend me")

    with pytest.raises(ContractError):
        route_path("a.csv", broken)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("..", "unnamed"),
        (".claimed", "claimed"),
        ("!!!", "unnamed"),
        ("", "unnamed"),
        ("a/../b", "a_b"),
        ("caf\udce9", "caf"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}B", "ab"),
        ("cafe\u0301", "café"),
        ("Straße", "strasse"),
        ("a__b", "a__b"),
        ("हिन्दी", "हिन्दी"),
        ("a\nb\0c", "a_b_c"),
        ("'; DROP TABLE x; --", "drop_table_x"),
    ],
)
def test_hostile_and_foreign_names_become_names_of_tables(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_long_names_stay_different_when_they_are_cut() -> None:
    one, other = slug("x" * 300 + "1"), slug("x" * 300 + "2")
    assert one != other
    assert len(one.encode()) == len(other.encode()) == 100


def test_a_name_of_a_hundred_bytes_is_not_cut() -> None:
    assert slug("x" * 100) == "x" * 100


@given(names)
def test_every_name_makes_a_safe_folder(name: str) -> None:
    made = slug(name)
    assert made
    assert not made.startswith(".")
    assert "/" not in made
    assert "\0" not in made
    assert len(made.encode()) <= 100


@given(names)
def test_the_name_of_a_table_names_itself(name: str) -> None:
    assert slug(slug(name)) == slug(name)


def test_a_source_is_named_by_its_path_below_landing() -> None:
    assert source_name("sales/orders/Été 1.csv") == "sales/orders/Été 1.csv"


@given(names)
def test_every_source_has_a_name_that_is_text(name: str) -> None:
    assert source_name(f"t/{name}").encode("utf-8").startswith(b"t")


def test_a_source_whose_name_is_no_text_shows_its_bytes() -> None:
    assert source_name(os.fsdecode(b"caf\xe9.csv")) == "caf\\xe9.csv"
