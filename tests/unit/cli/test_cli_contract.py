"""`medalliond contract`: mistakes with their line, transforms that do not load, and what is in force."""

import json
from pathlib import Path

import yaml
from cli_world import Root, Run


def write(root: Root, name: str, text: str) -> Path:
    path = root.layout.contracts / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_good_contracts_have_nothing_wrong(root: Root, run: Run) -> None:
    write(root, "sales/orders.yaml", "bronze: {cast: {order_id: int64}}\n")
    found = run("contract", "check", root)
    assert (found.exit_code, found.stdout) == (0, "1 contract: nothing wrong\n")


def test_a_mistake_is_named_with_file_line_and_the_nearest_key(root: Root, run: Run) -> None:
    write(root, "sales/orders.yaml", "description: x\nbronze:\n  renam: {a: b}\n")
    found = run("contract", "check", root)
    assert found.exit_code == 1
    assert "catalog/contracts/sales/orders.yaml:3: unknown key 'renam'" in found.stdout
    assert "rename" in found.stdout


def test_one_file_can_be_checked(root: Root, run: Run) -> None:
    write(root, "sales/bad.yaml", "nonsense: 1\n")
    good = write(root, "sales/good.yaml", "description: x\n")
    assert run("contract", "check", str(good), root).exit_code == 0
    assert run("contract", "check", root).exit_code == 1


def test_a_draft_outside_the_root_can_be_checked(root: Root, run: Run, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text("bronz: {}\n")
    found = json.loads(run("contract", "check", str(draft), "--json", root).stdout)
    assert found["checked"] == 1
    assert found["broken"][0]["path"] == str(draft)
    assert "did you mean 'bronze'" in found["broken"][0]["mistakes"][0]


def test_a_file_that_is_not_there_is_a_mistake(root: Root, run: Run) -> None:
    found = run("contract", "check", "nowhere.yaml", root)
    assert found.exit_code == 1
    assert "nowhere.yaml: cannot be read" in found.stdout


def test_a_transform_that_does_not_load_is_a_mistake(root: Root, run: Run) -> None:
    write(root, "sales/orders.yaml", 'silver: {transforms: ["shop:add_vat"]}\n')
    assert "shop.py" in run("contract", "check", root).stdout
    (root.layout.transforms / "shop.py").write_text("def add_vat(lf):\n    return lf\n")
    assert run("contract", "check", root).exit_code == 0
    (root.layout.transforms / "shop.py").write_text("import nowhere_at_all\n")
    found = run("contract", "check", root)
    assert found.exit_code == 1
    assert "shop.py:1" in found.stdout


def test_a_contract_is_shown_with_its_defaults(root: Root, run: Run) -> None:
    write(root, "sales/orders.yaml", "bronze: {cast: {order_id: int64}}\n")
    text = run("contract", "show", "orders", root).stdout
    assert text.startswith("# sales.orders: catalog/contracts/sales/orders.yaml, version ")
    shown = yaml.safe_load(text)
    assert shown["bronze"]["cast"] == {"order_id": "int64"}
    assert shown["silver"]["clean"]["strip"] is True


def test_what_is_shown_is_a_contract_that_can_be_saved(root: Root, run: Run) -> None:
    write(
        root,
        "sales/orders.yaml",
        "bronze: {cast: {n: {type: decimal, scale: 2}}}\nsilver: {dedup: {keys: [n]}}\n",
    )
    before = json.loads(run("contract", "show", "orders", "--json", root).stdout)["contract"]
    write(root, "sales/orders.yaml", run("contract", "show", "orders", root).stdout)
    assert run("contract", "check", root).exit_code == 0
    assert json.loads(run("contract", "show", "orders", "--json", root).stdout)["contract"] == before


def test_a_model_is_shown_without_the_layers_it_does_not_have(root: Root, run: Run) -> None:
    write(root, "sales/model.yaml", "model: {sql: SELECT * FROM gold.sales.orders}\n")
    shown = json.loads(run("contract", "show", "sales.model", "--json", root).stdout)
    assert set(shown["contract"]) == {"description", "model"}


def test_a_table_without_a_contract_shows_what_holds_for_it(orders: Root, run: Run) -> None:
    shown = json.loads(run("contract", "show", "sales.orders", "--json", orders).stdout)
    assert (shown["origin"], shown["version"]) == (None, "none")


def test_a_broken_contract_is_not_shown_but_explained(root: Root, run: Run) -> None:
    write(root, "sales/orders.yaml", "bronz: {}\n")
    found = run("contract", "show", "sales.orders", root)
    assert found.exit_code == 1
    assert "orders.yaml:1" in found.stderr


def test_a_check_that_is_no_sql_is_found(root: Root, run: Run) -> None:
    folder = root.layout.contracts / "sales"
    folder.mkdir(parents=True)
    (folder / "orders.yaml").write_text('silver: {checks: [{name: positive, sql: "amount >>> 3 FROM"}]}\n')
    told = run("contract", "check", root)
    assert told.exit_code == 1
    assert "check 'positive': 'amount >>> 3 FROM' is no SQL" in told.output


def test_sql_that_is_none_is_found_in_gold_and_in_models(root: Root, run: Run) -> None:
    write(root, "sales/orders.yaml", "gold: {sql: 'SELEC * FROM silver'}\n")
    write(root, "sales/turnover.yaml", "model: {sql: 'SELECT sum(x FROM gold.sales.orders'}\n")
    told = run("contract", "check", root)
    assert told.exit_code == 1
    assert "catalog/contracts/sales/orders.yaml: gold.sql is no SQL" in told.output
    assert "catalog/contracts/sales/turnover.yaml: model.sql is no SQL" in told.output


def test_a_transform_that_leaves_the_program_is_a_mistake(root: Root, run: Run) -> None:
    write(root, "sales/orders.yaml", "silver: {transforms: ['leaves:clean']}\n")
    (root.layout.transforms / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    told = run("contract", "check", root)
    assert told.exit_code == 1
    assert "leaves.py:2: SystemExit: 3" in told.output
