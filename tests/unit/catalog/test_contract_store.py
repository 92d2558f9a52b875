"""The contracts in force: reloading, broken edits, routing, clashes and the order of models."""

import os
from pathlib import Path

import pytest

from daemon.catalog.contract import Contract
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError

SALES = TableKey("shop", "sales")
RETURNS = TableKey("shop", "returns")
SALES_FILE = "catalog/contracts/shop/sales.yaml"
RETURNS_FILE = "catalog/contracts/shop/returns.yaml"


class Root:
    """A root in which a person edits contracts, and the store that follows."""

    def __init__(self, path: Path) -> None:
        self.contracts = path / "catalog" / "contracts"
        self.store = ContractStore(self.contracts)
        self._edits = 0

    def write(self, name: str, text: str) -> None:
        file = self.contracts / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self._edits += 1
        os.utime(file, (self._edits, self._edits))  # however fast the test runs, the file looks edited

    def delete(self, name: str) -> None:
        (self.contracts / name).unlink()

    def model(self, name: str, *tables: str) -> None:
        joined = " CROSS JOIN ".join(tables)
        self.write(f"{name}.yaml", f"model: {{sql: SELECT 1 FROM {joined}}}")  # noqa: S608 - never run


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_nothing_is_known_before_the_first_reload(root: Root) -> None:
    with pytest.raises(ContractError, match="not been read yet"):
        root.store.get(SALES)
    with pytest.raises(ContractError, match="not been read yet"):
        root.store.route("a.csv")


def test_a_table_without_a_file_has_the_contract_that_asks_for_nothing(root: Root) -> None:
    assert root.store.reload().changed == ()

    assert root.store.get(SALES) == Contract()
    assert root.store.route("a.csv") is None
    assert root.store.models() == {}


def test_a_new_contract_is_in_force_after_the_reload(root: Root) -> None:
    root.store.reload()
    root.write("shop/sales.yaml", "description: sales")

    reload = root.store.reload()

    assert (reload.changed, reload.broken) == ((SALES,), {})
    contract = root.store.get(SALES)
    assert (contract.description, contract.origin) == ("sales", SALES_FILE)


def test_a_reload_finds_nothing_when_nothing_changed(root: Root) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.write("shop/returns.yaml", "descripton: returns")
    root.store.reload()

    reload = root.store.reload()

    assert (reload.changed, reload.broken) == ((), {})


def test_a_reload_opens_no_file_that_looks_as_before(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.write("shop/returns.yaml", "broken: true")
    root.store.reload()
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was opened"))

    root.store.reload()


def test_a_touched_file_with_the_same_content_changes_nothing(root: Root) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.store.reload()
    root.write("shop/sales.yaml", "description: sales")

    assert root.store.reload().changed == ()


def test_a_broken_edit_leaves_the_last_good_contract_in_force_and_says_so(root: Root) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.store.reload()
    root.write("shop/sales.yaml", "descripton: sales")

    reload = root.store.reload()

    assert reload.changed == ()
    assert reload.broken == {
        SALES_FILE: f"{SALES_FILE}:1: unknown key 'descripton'; did you mean 'description'?"
    }
    assert root.store.broken == reload.broken
    assert root.store.get(SALES).description == "sales"


def test_a_mended_edit_is_in_force_and_no_longer_broken(root: Root) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.store.reload()
    root.write("shop/sales.yaml", "descripton: sales")
    root.store.reload()
    root.write("shop/sales.yaml", "description: all sales")

    reload = root.store.reload()

    assert (reload.changed, reload.broken, dict(root.store.broken)) == ((SALES,), {}, {})
    assert root.store.get(SALES).description == "all sales"


def test_a_table_whose_contract_never_was_good_is_not_taken_for_one_without_a_contract(root: Root) -> None:
    root.write("shop/sales.yaml", "descripton: sales")

    reload = root.store.reload()

    assert (reload.changed, reload.parked) == ((SALES,), frozenset({SALES}))
    with pytest.raises(ContractError, match=r"sales\.yaml:1: unknown key 'descripton'"):
        root.store.get(SALES)


def test_deleting_a_contract_takes_the_table_back_to_none(root: Root) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.store.reload()
    root.delete("shop/sales.yaml")

    assert root.store.reload().changed == (SALES,)
    assert root.store.get(SALES) == Contract()


def test_deleting_a_contract_that_never_was_good_frees_its_table(root: Root) -> None:
    root.write("shop/sales.yaml", "descripton: sales")
    root.store.reload()
    root.delete("shop/sales.yaml")

    assert root.store.reload().changed == (SALES,)
    assert root.store.get(SALES) == Contract()


def test_an_emptied_file_is_broken_and_not_a_contract_that_asks_for_nothing(root: Root) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.store.reload()
    root.write("shop/sales.yaml", "")

    assert "is empty" in root.store.reload().broken[SALES_FILE]
    assert root.store.get(SALES).description == "sales"


def test_a_file_that_cannot_be_read_leaves_the_last_good_contract_in_force(root: Root) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.store.reload()
    root.delete("shop/sales.yaml")
    (root.contracts / "shop" / "sales.yaml").symlink_to("nowhere")

    assert "not a file that can be read" in root.store.reload().broken[SALES_FILE]
    assert root.store.get(SALES).description == "sales"


def test_a_folder_that_cannot_be_listed_leaves_all_contracts_as_they_were(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.write("shop/sales.yaml", "description: sales")
    root.store.reload()

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", _refuse)
        reload = root.store.reload()

    assert (reload.changed, list(reload.broken)) == ((), [str(root.contracts)])
    assert root.store.get(SALES).description == "sales"
    assert root.store.reload().broken == {}
    assert root.store.broken == {}


def test_contracts_that_could_never_be_listed_are_not_taken_for_none(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "scandir", _refuse)

    root.store.reload()

    with pytest.raises(ContractError, match="cannot be listed: Input/output error"):
        root.store.get(SALES)


def _refuse(folder: str) -> None:
    raise OSError(5, "Input/output error", str(folder))


@pytest.mark.parametrize(
    ("name", "key", "reason"),
    [
        ("sales.yaml", TableKey("main", "sales"), "belongs at catalog/contracts/main/sales.yaml"),
        ("shop/sales.yml", SALES, "belongs at catalog/contracts/shop/sales.yaml"),
        ("eu/shop/sales.yaml", SALES, "belongs at catalog/contracts/shop/sales.yaml"),
        ("shop/Sales.yaml", TableKey("shop", "Sales"), "no table is called 'Sales'"),
        ("shop/my sales.yaml", TableKey("shop", "my sales"), "no table is called 'my sales'"),
    ],
)
def test_a_contract_in_a_wrong_place_is_told_of_and_its_table_waits(
    root: Root, name: str, key: TableKey, reason: str
) -> None:
    root.write(name, "description: sales")

    assert reason in root.store.reload().broken[f"catalog/contracts/{name}"]
    with pytest.raises(ContractError, match=reason):
        root.store.get(key)


@pytest.mark.parametrize(
    "name", [".sales.yaml.swp", ".sales.yaml", "sales.yaml~", "#sales.yaml#", "README.md"]
)
def test_what_editors_leave_beside_a_contract_is_no_contract(root: Root, name: str) -> None:
    root.write(f"shop/{name}", "descripton: sales")

    assert root.store.reload().broken == {}


def test_a_file_put_straight_into_landing_goes_to_the_table_whose_match_fits(root: Root) -> None:
    root.write("shop/sales.yaml", "match: ['sales_*.csv', 'verkauf_*.csv']")
    root.write("shop/returns.yaml", "match: ['returns_*.csv']")
    root.store.reload()

    names = ["sales_1.csv", "verkauf_1.csv", "returns_1.csv", "SALES_1.csv", "other.csv"]

    assert [root.store.route(name) for name in names] == [SALES, SALES, RETURNS, None, None]


def test_two_contracts_that_want_the_same_file_are_both_broken(root: Root) -> None:
    root.write("shop/sales.yaml", "match: ['*.csv']")
    root.write("shop/returns.yaml", "description: x\nmatch:\n  - '*.json'\n  - 'returns_*'")

    broken = root.store.reload().broken

    assert broken[RETURNS_FILE].startswith(
        f"{RETURNS_FILE}:4: match 'returns_*' and '*.csv' of {SALES_FILE} can both"
    )
    assert broken[SALES_FILE].startswith(
        f"{SALES_FILE}:1: match '*.csv' and 'returns_*' of {RETURNS_FILE} can both"
    )
    for key in (SALES, RETURNS):
        with pytest.raises(ContractError, match="can both fit a file"):
            root.store.get(key)
    with pytest.raises(ContractError, match="can both fit a file"):
        root.store.route("returns_1.csv")
    assert root.store.route("a.parquet") is None


def test_an_edit_that_wants_anothers_files_is_refused_and_the_other_contract_stays(root: Root) -> None:
    root.write("shop/sales.yaml", "match: ['sales_*']")
    root.write("shop/returns.yaml", "match: ['returns_*']")
    root.store.reload()
    root.write("shop/returns.yaml", "match: ['*_2024.csv']")

    reload = root.store.reload()

    assert (reload.changed, list(reload.broken)) == ((), [RETURNS_FILE])
    assert root.store.route("sales_2024.csv") == SALES
    assert root.store.route("returns_1") == RETURNS


def test_two_contracts_may_trade_their_files_in_one_reload(root: Root) -> None:
    root.write("shop/sales.yaml", "match: ['a*']")
    root.write("shop/returns.yaml", "match: ['b*']")
    root.store.reload()
    root.write("shop/sales.yaml", "match: ['b*']")
    root.write("shop/returns.yaml", "match: ['a*']")

    assert root.store.reload().broken == {}
    assert (root.store.route("a"), root.store.route("b")) == (RETURNS, SALES)


def test_half_of_a_trade_waits_for_the_other_half(root: Root) -> None:
    root.write("shop/sales.yaml", "match: ['a*']")
    root.write("shop/returns.yaml", "match: ['b*']")
    root.store.reload()
    root.write("shop/sales.yaml", "match: ['b*']")
    root.write("shop/returns.yaml", "match: [a*")

    assert set(root.store.reload().broken) == {SALES_FILE, RETURNS_FILE}
    assert (root.store.route("a"), root.store.route("b")) == (SALES, RETURNS)

    root.write("shop/returns.yaml", "match: ['a*']")
    assert root.store.reload().changed == (RETURNS, SALES)
    assert (root.store.route("a"), root.store.route("b")) == (RETURNS, SALES)


def test_a_file_waits_when_a_broken_contract_asks_for_it(root: Root) -> None:
    root.write("shop/sales.yaml", "match: ['sales_*']\nbronze: {cast: {a: int46}}")
    root.store.reload()

    with pytest.raises(ContractError, match="did you mean 'int64'"):
        root.store.route("sales_1.csv")
    assert root.store.route("returns_1.csv") is None


@pytest.mark.parametrize("text", ["match: [sales_*", "mach: ['sales_*']", "match: 5", "- sales"])
def test_every_file_nobody_matches_waits_when_a_broken_contract_may_have_asked_for_it(
    root: Root, text: str
) -> None:
    root.write("shop/sales.yaml", text)
    root.write("shop/returns.yaml", "match: ['returns_*']")
    root.store.reload()

    with pytest.raises(ContractError, match=SALES_FILE):
        root.store.route("anything.csv")
    assert root.store.route("returns_1.csv") == RETURNS


def test_models_come_after_the_models_they_read(root: Root) -> None:
    root.model("a/top", "gold.b.middle", "gold.shop.sales")
    root.model("b/middle", "gold.bottom")
    root.model("c/bottom", "silver.shop.sales")
    root.store.reload()

    assert list(root.store.models()) == [("c", "bottom"), ("b", "middle"), ("a", "top")]


def test_models_that_need_each_other_are_refused_with_the_way_round(root: Root) -> None:
    root.model("a/one", "gold.a.two")
    root.model("a/two", "gold.a.three", "silver.shop.sales")
    root.model("a/three", "gold.a.one")
    root.model("a/four", "gold.shop.sales")

    broken = root.store.reload().broken

    assert sorted(broken) == [f"catalog/contracts/a/{name}.yaml" for name in ("one", "three", "two")]
    for message in broken.values():
        assert "models need each other: gold.a." in message
        assert message.count("->") == 3
    assert list(root.store.models()) == [("a", "four")]
    with pytest.raises(ContractError, match="models need each other"):
        root.store.get(TableKey("a", "one"))


def test_a_model_that_reads_itself_is_refused(root: Root) -> None:
    root.model("a/one", "gold.one")

    assert "gold.a.one -> gold.a.one" in root.store.reload().broken["catalog/contracts/a/one.yaml"]


def test_an_edit_that_closes_a_circle_is_refused_and_the_models_stay(root: Root) -> None:
    root.model("a/one", "gold.a.two")
    root.model("a/two", "gold.shop.sales")
    root.store.reload()
    root.model("a/two", "gold.a.one")

    reload = root.store.reload()

    assert (reload.changed, list(reload.broken)) == ((), ["catalog/contracts/a/two.yaml"])
    assert list(root.store.models()) == [("a", "two"), ("a", "one")]


def test_a_model_takes_no_files(root: Root) -> None:
    root.model("a/one", "gold.a.two")
    root.store.reload()

    assert root.store.route("one.csv") is None
