"""Which rows a table holds already: asked for blocks whose token alone cannot say so.

A block that somebody may have inserted before us under another token, in parts, or longer ago than
the table remembers tokens; and records of a worker that did not know what another one had sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.tables import STORED_COLUMNS, Column, EnumKind, Kind, Table
from sinks.clickhouse import ClickHouse
from sinks.ddl import qualified, quoted
from sinks.record_log import Place

KEYS_ASKED_MAX = 5_000
"""Keys that one query names: of 20 digits each, within the 256 KiB that a statement may have."""

_DAYS = (Kind.DATE, Kind.EARLY_DATE)
_TIMES = {Kind.TIME_US: "Micro", Kind.TIME_NS: "Nano"}
_WORDS = (Kind.WORD, Kind.TEXT)
_LISTED = (Kind.INT64, Kind.UINT64)
"""Numbers without an order that would bound them: a range of sequences may hold a whole day."""


def stored_rows(clickhouse: ClickHouse, table: Table, batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """(rows,) whether the table, or an earlier row of `batch`, holds a row with the key of this one.

    Raises
    ------
    ClickHouseError
    """
    columns = _key_columns(table)
    keys = pa.table({column.name: _plain(batch.column(column.name), column) for column in columns})
    order = keys.sort_by([(name, "ascending") for name in _sorted_names(table, columns)])
    found = [clickhouse.arrow(query) for query in _queries(clickhouse.database, table, columns, order)]
    rows = pa.array(np.arange(batch.num_rows))
    held = pa.concat_tables([each.cast(keys.schema) for each in found]).append_column(
        "row", pa.array(np.full(sum(each.num_rows for each in found), -1))
    )
    all_keys = pa.concat_tables([held, keys.append_column("row", rows)])
    first = all_keys.group_by(keys.column_names).aggregate([("row", "min")]).column("row_min").to_numpy()
    stored = np.ones(batch.num_rows, bool)
    stored[first[first >= 0]] = False
    return stored


def stored_until(clickhouse: ClickHouse, tables: Mapping[Place, str]) -> dict[Place, int]:
    """The greatest offset of each place that its table holds, -1 where it holds rows of other places only.

    Places whose table is empty are left out: there is nothing that a row could repeat.

    Raises
    ------
    ClickHouseError
    """
    held: dict[Place, int] = {}
    filled: set[str] = set()
    for name in sorted(set(tables.values())):
        topics = sorted({topic for (topic, _), table in tables.items() if table == name})
        query = (
            "SELECT toString(_topic) AS topic, _partition AS partition, max(_offset) AS last "
            f"FROM {qualified(clickhouse.database, name)} WHERE _topic IN ({_list(topics)}) GROUP BY topic, partition"
        )
        held |= {(row["topic"], row["partition"]): row["last"] for row in clickhouse.rows(query)}
        if clickhouse.rows(f"SELECT 1 FROM {qualified(clickhouse.database, name)} LIMIT 1"):
            filled.add(name)
    return {place: held.get(place, -1) for place, name in tables.items() if name in filled}


def _key_columns(table: Table) -> list[Column]:
    """What tells two rows apart: the key, and which version of it where the newest one wins."""
    declared = {column.name: column for column in (*table.columns, *STORED_COLUMNS)}
    names = [*table.key, *((table.newest_by,) if table.newest_by else ())]
    return [declared[name] for name in names]


def _sorted_names(table: Table, columns: Sequence[Column]) -> list[str]:
    """The key's columns in the table's own order, so that each query reads few of its granules."""
    names = {column.name for column in columns}
    first = [name for name in table.order_by if name in names]
    return [*first, *sorted(names.difference(first))]


def _queries(database: str, table: Table, columns: Sequence[Column], keys: pa.Table) -> Iterator[str]:
    """Queries that together find every row with one of `keys`, and not many others."""
    selected = ", ".join(f"{_selected(column)} AS {column.name}" for column in columns)
    for begin in range(0, keys.num_rows, KEYS_ASKED_MAX):
        part = keys.slice(begin, KEYS_ASKED_MAX)
        bounds = [bound for column in columns if (bound := _bound(column, part.column(column.name)))]
        yield f"SELECT {selected} FROM {qualified(database, table.name)} AS held WHERE {' AND '.join(bounds)}"


def _selected(column: Column) -> str:
    """`column` as an integer or a text."""
    name = f"held.{column.name}"
    if isinstance(column.kind, EnumKind) or column.kind in _WORDS:
        return f"toString({name})"
    if column.kind in _TIMES:
        return f"toUnixTimestamp64{_TIMES[column.kind]}({name})"
    return f"toInt32({name})" if column.kind in _DAYS else name


def _plain(values: Any, column: Column) -> Any:
    """`values` as `_selected` gives them."""
    if isinstance(column.kind, EnumKind) or column.kind in _WORDS:
        return values.cast(pa.utf8())
    if column.kind in _TIMES:
        return values.view(pa.int64())
    return values.view(pa.int32()) if column.kind in _DAYS else values


def _bound(column: Column, values: pa.ChunkedArray[Any]) -> str | None:
    """What `column` must be to equal one of `values`; None where asking would bound nothing."""
    name, kind = f"held.{column.name}", column.kind
    if isinstance(kind, EnumKind):
        return None
    distinct: list[Any] = values.unique().to_pylist()
    if kind in _WORDS:
        return f"{name} IN ({_list(distinct)})"
    if kind in _LISTED:
        return f"{name} IN ({', '.join(map(str, distinct))})"
    low, high = min(distinct), max(distinct)
    if kind in _TIMES:
        function = f"fromUnixTimestamp64{_TIMES[kind]}"
        return f"{name} BETWEEN {function}(toInt64({low}), 'UTC') AND {function}(toInt64({high}), 'UTC')"
    if kind in _DAYS:
        return f"toInt32({name}) BETWEEN {low} AND {high}"
    return f"{name} BETWEEN {low} AND {high}"


def _list(texts: Sequence[str]) -> str:
    return ", ".join(map(quoted, texts))
