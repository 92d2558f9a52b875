"""The generated pages, and that what they show works."""

import tomllib
from pathlib import Path

import pytest
import yaml

from daemon.catalog.contract_file import parse_contract
from daemon.reference import EXAMPLE_CONTRACT, EXAMPLE_MODEL, EXAMPLE_SETTINGS, documents, write_documents
from daemon.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", documents())
def test_the_committed_page_says_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == documents()[name], "run: python -m daemon.reference"


def test_the_pages_are_written_where_one_asks_for_them(tmp_path: Path) -> None:
    write_documents(tmp_path)

    assert {file.name for file in tmp_path.iterdir()} == set(documents())


@pytest.mark.parametrize("text", [EXAMPLE_CONTRACT, EXAMPLE_MODEL])
def test_the_contracts_shown_are_good(text: str) -> None:
    parse_contract(text.encode(), "catalog/contracts/main/example.yaml")
    assert yaml.safe_load(text)["description"]


def test_the_settings_shown_are_good() -> None:
    settings = Settings.model_validate({"root": ".", **tomllib.loads(EXAMPLE_SETTINGS)})

    assert settings.batch.max_files == 500


def test_every_key_of_settings_and_contracts_is_explained() -> None:
    for line in documents()["configuration.md"].splitlines():
        if line.startswith("| `"):
            assert not line.endswith("| None |"), line
