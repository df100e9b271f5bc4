"""Every form derived from `codec/tables.py` names the same columns, in the same order, with types of one meaning."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from codec.arrow import arrow_schema
from codec.columns import BLOCK_ROWS, TickBuffer
from codec.tables import (
    STORED_COLUMNS,
    TABLES,
    TICKS,
    VIEWS,
    Column,
    DifferencesView,
    EnumKind,
    Kind,
    LatestView,
    Table,
)
from sinks.ddl import column_type, create_table, create_view, view_columns

by_name = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)

# The contract's spelling of each Arrow type, by the ClickHouse type of the same value.
_ARROW_OF_CLICKHOUSE = {
    "LowCardinality(String)": pa.dictionary(pa.int32(), pa.utf8()),
    "DateTime64(6, 'UTC')": pa.timestamp("us", tz="UTC"),
    "DateTime64(9, 'UTC')": pa.timestamp("ns", tz="UTC"),
    "Date": pa.date32(),
    "Date32": pa.date32(),
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "Float64": pa.float64(),
}


@by_name
def test_arrow_and_ddl_name_the_same_columns(table: Table) -> None:
    declared = [column.name for column in table]
    assert arrow_schema(table).names == declared
    in_ddl = re.findall(r"^    `(\w+)` ", create_table("ticktape", table, window_blocks=1), flags=re.MULTILINE)
    assert in_ddl == declared + [column.name for column in STORED_COLUMNS]


@by_name
def test_arrow_and_clickhouse_types_mean_the_same(table: Table) -> None:
    for field, column in zip(arrow_schema(table), table, strict=True):
        spelled = column_type(column)
        assert field.nullable == column.nullable == spelled.startswith("Nullable(")
        assert field.type in arrow_types_of(spelled.removeprefix("Nullable(").removesuffix(")" * column.nullable)), (
            column
        )


@by_name
def test_clickhouse_sorts_by_and_replaces_on_declared_columns(table: Table) -> None:
    statement = create_table("ticktape", table, window_blocks=1)
    assert f"ORDER BY ({', '.join(table.order_by)})" in statement
    assert f"PARTITION BY toYYYYMM({table.month_of})" in statement
    assert (f"ReplacingMergeTree({table.newest_by})" in statement) == (table.newest_by is not None)


@by_name
def test_rows_of_one_key_share_a_partition(table: Table) -> None:
    """ReplacingMergeTree replaces within a partition only, so a key must settle its month.

    It does when it holds the month's column, or a time that the trading day follows from.
    """
    settled_by = {"trade_date": {"trade_date", "ts_event", "sequence"}, "opened_at": {"gap_id"}}
    assert set(table.key) & settled_by.get(table.month_of, {table.month_of})


@by_name
def test_the_contract_on_spelling_of_times(table: Table) -> None:
    """Ours (…_at, ts_recv) to the nanosecond, the exchange's to the microsecond."""
    for column in table:
        if column.name == "ts_recv" or column.name.endswith("_at"):
            assert column.kind is Kind.TIME_NS, column
        elif column.kind in (Kind.TIME_US, Kind.TIME_NS):
            assert column.kind is Kind.TIME_US, column


@by_name
def test_what_sorts_a_table_is_never_null(table: Table) -> None:
    nullable = {column.name for column in table if column.nullable}
    assert not nullable & {*table.order_by, table.month_of}


def test_an_enum_says_its_words_with_its_numbers() -> None:
    kinds = {column.kind for table in TABLES for column in table if isinstance(column.kind, EnumKind)}
    assert kinds
    for kind in kinds:
        words, codes = zip(*kind.members, strict=True)
        assert len(set(words)) == len(set(codes)) == len(words)
        assert all(0 <= code < 128 for code in codes), "Enum8 and int8 dictionaries hold no more"
        assert column_type(Column("x", kind, "")).count(" = ") == len(words)


def test_the_buffer_of_ticks_has_a_row_for_each_column_that_kernels_fill() -> None:
    buffer = TickBuffer(capacity=4)
    for block in ("wide", "real", "narrow", "small"):
        rows = sorted(row for name, row in BLOCK_ROWS.values() if name == block)
        assert rows == list(range(getattr(buffer, block).shape[0]))
    assert set(BLOCK_ROWS) < {column.name for column in TICKS}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_selects_what_it_says(view: LatestView | DifferencesView) -> None:
    statement = create_view("ticktape", view)
    outer = statement.split("SELECT ", 1)[1].split("\nFROM", 1)[0]
    selected = tuple(item.split(" AS ")[-1] for item in outer.split(", "))
    assert selected == view_columns(view)


def arrow_types_of(clickhouse: str) -> tuple[pa.DataType, ...]:
    """The Arrow types that hold values of a ClickHouse type; a String is text or bytes."""
    if clickhouse == "String":
        return pa.utf8(), pa.binary()
    if clickhouse.startswith("Enum8("):
        return (pa.dictionary(pa.int8(), pa.utf8()),)
    return (_ARROW_OF_CLICKHOUSE[clickhouse],)
