"""What is known of a table's columns."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout
from daemon.lake.tables import TableMetadata, read_table, table_path, write_table

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def orders() -> TableMetadata:
    new = TableMetadata(domain="sales", table="orders", updated_at=NOW)
    return new.with_columns(Layer.GOLD, {"id": "Int64", "day": "Date"}, NOW)


def test_metadata_comes_back_as_it_was_written(layout: Layout, key: TableKey, orders: TableMetadata) -> None:
    assert write_table(layout, orders)
    assert read_table(layout, key) == orders
    assert layout.relative(table_path(layout, key)) == "catalog/tables/sales.orders.json"


def test_metadata_that_says_the_same_is_not_written_again(
    layout: Layout, key: TableKey, orders: TableMetadata
) -> None:
    write_table(layout, orders)
    later = orders.model_copy(update={"updated_at": NOW + timedelta(hours=1)})
    assert not write_table(layout, later)
    assert read_table(layout, key) == orders


def test_a_table_nobody_described_is_not_known(layout: Layout, key: TableKey) -> None:
    assert read_table(layout, key) is None


def test_a_damaged_file_is_written_anew(layout: Layout, key: TableKey, orders: TableMetadata) -> None:
    write_table(layout, orders)
    table_path(layout, key).write_text("{")
    assert read_table(layout, key) is None
    assert write_table(layout, orders)
    assert read_table(layout, key) == orders


def test_new_columns_follow_the_known_ones_and_a_changed_type_is_taken(orders: TableMetadata) -> None:
    wider = orders.with_columns(Layer.GOLD, {"note": "String", "id": "String"}, NOW)
    assert list(wider.columns[Layer.GOLD].items()) == [("id", "String"), ("day", "Date"), ("note", "String")]


def test_every_spelling_of_a_header_is_kept_once(orders: TableMetadata) -> None:
    told = orders.with_headers({"id": " ID", "day": "day"}, NOW).with_headers({"id": "Id "}, NOW)
    told = told.with_headers({"id": " ID"}, NOW)
    assert told.original_headers == {"id": (" ID", "Id ")}
