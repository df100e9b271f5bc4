"""ClickHouse DDL of every table and view, derived from `codec/tables.py`.

Pure functions of (database, declarations): the same program always writes the same statements, so
what is in a server can be compared with them (`sinks/schema.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from codec.tables import (
    STORED_COLUMNS,
    TABLES,
    VIEWS,
    Column,
    DifferencesView,
    EnumKind,
    Kind,
    LatestView,
    Table,
    Trend,
)

REMEMBERED_S = 6 * 3600
"""How long ClickHouse must recognise an insert that it is given again: the longest outage of ours
after which a block may be inserted a second time."""

_TYPES: dict[Kind, str] = {
    Kind.WORD: "LowCardinality(String)",
    Kind.TEXT: "String",
    Kind.BYTES: "String",
    Kind.DATE: "Date",
    Kind.EARLY_DATE: "Date32",
    Kind.TIME_US: "DateTime64(6, 'UTC')",
    Kind.TIME_NS: "DateTime64(9, 'UTC')",
    Kind.UINT8: "UInt8",
    Kind.UINT16: "UInt16",
    Kind.UINT32: "UInt32",
    Kind.UINT64: "UInt64",
    Kind.INT32: "Int32",
    Kind.INT64: "Int64",
    Kind.FLOAT64: "Float64",
}

# Measured on a million ticks of 200 symbols, bytes a row in all: LZ4 39.2; ZSTD everywhere 26.4;
# Delta before it for steady columns 21.8, where DoubleDelta takes 24.5 (jitter dominates the steps).
# Prices on a tick size repeat exactly, which ZSTD sees and Gorilla (+2.2) and FPC (+2.5) hide.
_CODECS: dict[Trend, str] = {
    Trend.ANY: "CODEC(ZSTD(1))",
    Trend.STEADY: "CODEC(Delta, ZSTD(1))",
    Trend.DRIFTING: "CODEC(ZSTD(1))",
}


def quoted(text: str) -> str:
    """`text` as a ClickHouse string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def qualified(database: str, name: str) -> str:
    """The full name of a table or view, quoted."""
    return f"`{database}`.`{name}`"


def column_type(column: Column) -> str:
    """The ClickHouse type of `column`, spelled as system.columns spells it."""
    if isinstance(column.kind, EnumKind):
        members = ", ".join(f"{quoted(word)} = {code}" for word, code in column.kind.members)
        spelled = f"Enum8({members})"
    else:
        spelled = _TYPES[column.kind]
    return f"Nullable({spelled})" if column.nullable else spelled


def column_definition(column: Column) -> str:
    """`column` as CREATE TABLE and ADD COLUMN take it."""
    codec = _CODECS[column.trend]
    return f"`{column.name}` {column_type(column)} COMMENT {quoted(column.meaning)} {codec}"


def partition_key(table: Table) -> str:
    """The expression whose value names a row's table partition."""
    return f"toYYYYMM({table.month_of})"


def all_columns(table: Table) -> tuple[Column, ...]:
    """Every column of `table` in ClickHouse: its own and where the row came from."""
    return (*table.columns, *STORED_COLUMNS)


def create_database(database: str) -> str:
    return f"CREATE DATABASE IF NOT EXISTS `{database}`"


def deduplication_window_blocks(partitions: int, flush_interval_s: float) -> int:
    """How many of its last inserts a table must remember by token to cover `REMEMBERED_S`.

    Each Kafka partition makes an insert every flush interval: 12 of them at 0.5 s make 518,400 in
    6 hours. Not rounded up generously, for each one remembered costs ClickHouse about 0.5 KiB.
    """
    return math.ceil(REMEMBERED_S * partitions / flush_interval_s)


SYNCED = ("fsync_after_insert", "fsync_part_directory")
"""With these set to 1 an insert is answered only when a power cut cannot take it back any more."""


def create_table(database: str, table: Table, window_blocks: int, *, synced: bool = False) -> str:
    """CREATE TABLE of `table`; harmless where it exists."""
    more = "".join(f", {name} = 1" for name in SYNCED) if synced else ""
    columns = ",\n    ".join(column_definition(column) for column in all_columns(table))
    newest = f"({table.newest_by})" if table.newest_by else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {qualified(database, table.name)}\n(\n    {columns}\n)\n"
        f"ENGINE = ReplacingMergeTree{newest}\n"
        f"PARTITION BY {partition_key(table)}\n"
        f"ORDER BY ({', '.join(table.order_by)})\n"
        f"SETTINGS non_replicated_deduplication_window = {window_blocks}{more}\n"
        f"COMMENT {quoted(table.meaning)}"
    )


def create_view(database: str, view: LatestView | DifferencesView) -> str:
    """CREATE OR REPLACE VIEW: a view holds nothing, so the newest definition always wins."""
    query = _latest_query(database, view) if isinstance(view, LatestView) else _differences_query(database, view)
    return f"CREATE OR REPLACE VIEW {qualified(database, view.name)} AS\n{query}"


def view_columns(view: LatestView | DifferencesView) -> tuple[str, ...]:
    """The names of the columns that `view` gives, in order."""
    if isinstance(view, LatestView):
        return tuple(column.name for column in all_columns(view.table))
    return (*view.within, view.along, *view.differences)


def _latest_query(database: str, view: LatestView) -> str:
    # Descending throughout: the table is then read backwards in its own order, without a sort.
    order = ", ".join(f"{name} DESC" for name in view.table.order_by)
    return (
        f"SELECT {', '.join(view_columns(view))}\n"
        f"FROM {qualified(database, view.table.name)}\n"
        f"ORDER BY {order}\n"
        f"LIMIT 1 BY {', '.join(view.line_key)}"
    )


def _differences_query(database: str, view: DifferencesView) -> str:
    column, word = view.only
    # The first line of a day differs from nothing yet flowed: 0.
    differences = ",\n    ".join(
        f"{name} - lagInFrame({name}, 1, 0) OVER lines AS {name}_difference" for name in view.differences
    )
    renamed = ", ".join(f"{name}_difference AS {name}" for name in view.differences)
    return (
        f"SELECT {', '.join((*view.within, view.along))}, {renamed}\nFROM\n(\n"
        f"SELECT {', '.join((*view.within, view.along))},\n    {differences}\n"
        f"FROM {qualified(database, view.latest.name)}\n"
        f"WHERE {column} = {quoted(word)}\n"
        f"WINDOW lines AS (PARTITION BY {', '.join(view.within)} ORDER BY {view.along} "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)\n)"
    )


def add_column(database: str, table: Table, column: Column) -> str:
    """ALTER that adds a column that later versions of a table have."""
    return f"ALTER TABLE {qualified(database, table.name)} ADD COLUMN IF NOT EXISTS {column_definition(column)}"


def modify_column(database: str, table: Table, column: Column) -> str:
    """ALTER that gives a column its declared type."""
    return f"ALTER TABLE {qualified(database, table.name)} MODIFY COLUMN {column_definition(column)}"


def modify_window(database: str, table: Table, window_blocks: int) -> str:
    """ALTER that sets the deduplication window."""
    return (
        f"ALTER TABLE {qualified(database, table.name)} "
        f"MODIFY SETTING non_replicated_deduplication_window = {window_blocks}"
    )


def modify_synced(database: str, table: Table) -> str:
    """ALTER that makes a table's inserts survive a power cut."""
    return f"ALTER TABLE {qualified(database, table.name)} MODIFY SETTING " + ", ".join(f"{n} = 1" for n in SYNCED)


def set_aside(database: str, table: Table, window_blocks: int, *, synced: bool = False) -> str:
    """Statements for a table that no ALTER can mend: keep it under another name, create it anew."""
    before = qualified(database, f"{table.name}_before")
    return (
        f"RENAME TABLE {qualified(database, table.name)} TO {before};\n"
        f"{create_table(database, table, window_blocks, synced=synced)}"
    )


def statements(
    database: str,
    window_blocks: int,
    tables: Sequence[Table] = TABLES,
    views: Sequence[LatestView | DifferencesView] = VIEWS,
) -> Iterator[str]:
    """Everything that ticktape needs in ClickHouse, in an order that works, without semicolons."""
    yield create_database(database)
    for table in tables:
        yield create_table(database, table, window_blocks)
    for view in views:
        yield create_view(database, view)
