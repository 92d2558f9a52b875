"""What all tests share: where the real test files are."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine is slow at times: how long one example takes says nothing.
settings.register_profile("medalliond", deadline=None)
settings.load_profile("medalliond")

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def pytest_configure() -> None:
    """In CI the absence of ../shared is a failure, not a reason to skip."""
    if os.environ.get("TESTS_REQUIRE_SHARED") and not CORPUS.is_dir():
        raise pytest.UsageError(f"{CORPUS} is missing, and this run may not skip what needs it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs ../shared/corpus where it is absent."""
    if CORPUS.is_dir():
        return
    absent = pytest.mark.skip(reason="needs ../shared/corpus, which is not beside this checkout")
    for item in items:
        if item.get_closest_marker("corpus"):
            item.add_marker(absent)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real files; only for tests marked `corpus`."""
    return CORPUS
