"""Batches to records: fresh rows, split by partition, as Arrow IPC streams.

Nothing here is done row by row in Python: a kernel orders the rows by (partition, kind) and numbers
each record's symbols; Arrow arrays are then slices of the ordered columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import arrow_schema, arrow_type, batch_of_rows, enum_words, ipc_stream
from codec.columns import BLOCK_ROWS, DELIVERY_CODE, NULL_TIME, SYMBOL_ID, TickBuffer
from codec.conditions import CONDITION_CHARACTERS, ConditionTable
from codec.kernel import kernel
from codec.partition import partition_of
from codec.records import Record, RecordKind
from codec.symbols import SYMBOLS_MAX, SymbolTable
from codec.tables import DELIVERY, TICKS, EnumKind, Kind, Table

_PULL = DELIVERY.code("pull")
_KINDS = 2  # live and backfill rows never share a record

assert (RecordKind.LIVE, RecordKind.BACKFILL) == (0, 1)


@kernel
def _order_rows(
    narrow: NDArray[np.int32],
    small: NDArray[np.uint8],
    fresh: NDArray[np.bool_],
    rows: int,
    partitions: NDArray[np.int32],
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
) -> None:
    """A stable counting sort of the fresh rows by group = partition * 2 + kind.

    `starts` is (groups + 1,) zeros and becomes the first place of each group in `order`.
    """
    for i in range(rows):
        if fresh[i]:
            group = partitions[narrow[SYMBOL_ID, i]] * _KINDS + (small[DELIVERY_CODE, i] == _PULL)
            starts[group + 1] += 1
    for group in range(1, len(starts)):
        starts[group] += starts[group - 1]
    for i in range(rows):
        if fresh[i]:
            group = partitions[narrow[SYMBOL_ID, i]] * _KINDS + (small[DELIVERY_CODE, i] == _PULL)
            order[starts[group]] = i
            starts[group] += 1
    for group in range(len(starts) - 1, 0, -1):
        starts[group] = starts[group - 1]
    starts[0] = 0


@kernel
def _number_symbols(
    ids: NDArray[np.int32],
    starts: NDArray[np.int64],
    numbers: NDArray[np.int32],
    codes: NDArray[np.int32],
    used: NDArray[np.int32],
    used_starts: NDArray[np.int64],
) -> None:
    """Number the symbols of each group from 0 in order of appearance.

    `numbers` is (symbols,) scratch, all -1, and is left so. Writes each row's number to `codes`,
    and each group's ids to used[used_starts[group] : used_starts[group + 1]].
    """
    at = np.int64(0)
    for group in range(len(starts) - 1):
        used_starts[group] = at
        for i in range(starts[group], starts[group + 1]):
            if numbers[ids[i]] < 0:
                numbers[ids[i]] = at - used_starts[group]
                used[at] = ids[i]
                at += 1
            codes[i] = numbers[ids[i]]
        for i in range(used_starts[group], at):
            numbers[used[i]] = -1
    used_starts[len(starts) - 1] = at


def _enum_positions(kind: EnumKind) -> NDArray[np.int8]:
    """(256,) int8: the place of each code's word in the column's dictionary."""
    positions = np.zeros(256, np.int8)
    for place, (_, code) in enumerate(kind.members):
        positions[code] = place
    return positions


def _condition_words(conditions: ConditionTable | None) -> pa.StringArray:
    """The word of each condition id."""
    longer = conditions.names() if conditions is not None else []
    return pa.array(["", *map(chr, range(1, CONDITION_CHARACTERS)), *longer], pa.utf8())


class TickEncoder:
    """Encodes the ticks of one source.

    `gateways` are the names that the buffer's gateway ids stand for; it may grow at its end.
    `conditions` keeps the words of condition ids that are no character, where the source has such.
    """

    def __init__(
        self, source: str, symbols: SymbolTable, gateways: Sequence[str], conditions: ConditionTable | None = None
    ) -> None:
        self._source = pa.array([source], pa.utf8())
        self._symbols = symbols
        self._gateways = gateways
        self._names = pa.array([], pa.utf8())
        self._numbers: NDArray[np.int32] = np.full(SYMBOLS_MAX, -1, np.int32)
        self._conditions = conditions
        self._condition_words = _condition_words(conditions)
        self._positions = {c.name: _enum_positions(c.kind) for c in TICKS if isinstance(c.kind, EnumKind)}

    def encode(
        self, ticks: TickBuffer, fresh: NDArray[np.bool_], ordinals: NDArray[np.uint32], fresh_rows: int
    ) -> list[Record]:
        """Records of the fresh rows of `ticks`, one for each partition and kind that has any.

        Parameters
        ----------
        fresh, ordinals : (ticks.rows,) as a Verdict gives them
        fresh_rows : how many of `fresh` are True
        """
        if fresh_rows == 0:
            return []
        groups = self._symbols.partition_count * _KINDS
        starts, order = np.zeros(groups + 1, np.int64), np.empty(fresh_rows, np.int64)
        _order_rows(ticks.narrow, ticks.small, fresh, ticks.rows, self._symbols.partitions, starts, order)
        ids = ticks.narrow[SYMBOL_ID].take(order)
        codes, used = np.empty(fresh_rows, np.int32), np.empty(fresh_rows, np.int32)
        used_starts = np.zeros(groups + 1, np.int64)
        _number_symbols(ids, starts, self._numbers, codes, used, used_starts)
        if len(self._names) < len(self._symbols.names):
            self._names = pa.array(self._symbols.names, pa.utf8())

        columns = {
            name: ordinals.take(order) if name == "ordinal" else getattr(ticks, block)[row].take(order)
            for name, (block, row) in BLOCK_ROWS.items()
        }
        fixed = {name: self._array(name, values) for name, values in columns.items() if name != "symbol"}
        fixed["source"] = pa.DictionaryArray.from_arrays(np.zeros(fresh_rows, np.int32), self._source)

        occupied = np.flatnonzero(starts[1:] > starts[:-1])
        begins = starts[occupied]
        first_us = np.minimum.reduceat(columns["ts_event"], begins)
        last_us = np.maximum.reduceat(columns["ts_event"], begins)
        recv_ns = np.maximum.reduceat(columns["ts_recv"], begins)
        records = []
        for place, group in enumerate(occupied.tolist()):
            begin, end = int(starts[group]), int(starts[group + 1])
            words = self._names.take(used[used_starts[group] : used_starts[group + 1]])
            symbol = pa.DictionaryArray.from_arrays(codes[begin:end], words)
            batch = pa.RecordBatch.from_arrays(
                [
                    symbol if column.name == "symbol" else fixed[column.name].slice(begin, end - begin)
                    for column in TICKS
                ],
                schema=arrow_schema(TICKS),
            )
            value = ipc_stream(batch)
            records.append(
                Record(
                    table=TICKS.name,
                    kind=RecordKind(group % _KINDS),
                    partition=group // _KINDS,
                    rows=end - begin,
                    first_ts_ns=int(first_us[place]) * 1000,
                    last_ts_ns=int(last_us[place]) * 1000,
                    recv_ns=int(recv_ns[place]),
                    crc32c=google_crc32c.value(value),
                    value=value,
                )
            )
        return records

    def _array(self, name: str, values: NDArray[Any]) -> pa.Array[Any]:
        """The Arrow array of one ordered column, without copying where the layouts agree."""
        kind = TICKS[name].kind
        if isinstance(kind, EnumKind):
            return pa.DictionaryArray.from_arrays(self._positions[name][values], enum_words(kind))
        if name == "condition":
            counts = np.bincount(values)
            present = np.flatnonzero(counts)
            numbers = np.zeros(len(counts), np.int32)
            numbers[present] = np.arange(len(present))
            if len(counts) > len(self._condition_words):
                self._condition_words = _condition_words(self._conditions)
            words = self._condition_words.take(present)
            return pa.DictionaryArray.from_arrays(numbers[values], words)
        if name == "gateway":
            words = pa.array(list(self._gateways), pa.utf8())
            return pa.DictionaryArray.from_arrays(values.astype(np.int32), words)
        if TICKS[name].nullable:
            return pa.array(values, arrow_type(kind), mask=values == NULL_TIME)
        plain: pa.Array[Any] = pa.array(values)
        if kind in (Kind.TIME_US, Kind.TIME_NS, Kind.DATE):
            return plain.view(arrow_type(kind))
        return plain


def encode_rows(
    table: Table, rows: Iterable[Mapping[str, object]], partition_count: int, kind: RecordKind = RecordKind.LIVE
) -> list[Record]:
    """Records of rows given as mappings, for tables of few rows (gaps, dead_letters).

    Times are integers, in the unit of their column. Rows go to their symbol's partition, or to 0.
    """
    by_partition: dict[int, list[Mapping[str, object]]] = defaultdict(list)
    for row in rows:
        by_partition[partition_of(str(row["symbol"]), partition_count) if "symbol" in row else 0].append(row)
    records = []
    for partition, members in sorted(by_partition.items()):
        event_ns = [_event_ns(table, row) for row in members]
        value = ipc_stream(batch_of_rows(table, members))
        records.append(
            Record(
                table=table.name,
                kind=kind,
                partition=partition,
                rows=len(members),
                first_ts_ns=min(event_ns),
                last_ts_ns=max(event_ns),
                recv_ns=max(_recv_ns(row) for row in members),
                crc32c=google_crc32c.value(value),
                value=value,
            )
        )
    return records


def _recv_ns(row: Mapping[str, object]) -> int:
    for name in ("ts_recv", "updated_at", "audited_at"):
        if isinstance(instant := row.get(name), int):
            return instant
    raise ValueError(f"a row without a time of ours: {sorted(row)}")


def _event_ns(table: Table, row: Mapping[str, object]) -> int:
    instant = row.get("ts_event")
    if instant is None:
        return _recv_ns(row)
    assert isinstance(instant, int)
    assert table["ts_event"].kind is Kind.TIME_US
    return instant * 1000
