"""Rows in the order of their records, and the records made of them.

A record holds rows of one partition and one kind, and its dictionary of symbols only those that
occur in it. Nothing here is done row by row in Python: kernels order the rows and number the
symbols; the Arrow arrays of a record are then slices of the ordered columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import google_crc32c
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import StreamEncoder, arrow_schema, text_array
from codec.arrow_arrays import plain_array, word_array
from codec.kernel import kernel
from codec.records import GAP_IDS_MAX, Record, RecordKind
from codec.symbols import SYMBOLS_MAX, SymbolTable
from codec.tables import Table

_T = TypeVar("_T", bound=np.generic)

KINDS = 2
"""Live and backfill rows never share a record."""

assert (RecordKind.LIVE, RecordKind.BACKFILL) == (0, 1)

_NO_GAPS: Mapping[int, tuple[str, ...]] = MappingProxyType({})


@kernel
def _order_rows(
    ids: NDArray[np.int32],
    codes: NDArray[np.uint8],
    backfill_code: int,
    fresh: NDArray[np.bool_],
    partitions: NDArray[np.int32],
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
) -> int:
    """A stable counting sort of the fresh rows by group = partition * 2 + kind; returns the groups that have any.

    `starts` is (groups + 1,) zeros and becomes the first place of each group in `order`.
    """
    rows = len(fresh)
    for i in range(rows):
        if fresh[i]:
            group = partitions[ids[i]] * KINDS + (codes[i] == backfill_code)
            starts[group + 1] += 1
    occupied = 0
    for group in range(1, len(starts)):
        occupied += starts[group] > 0
        starts[group] += starts[group - 1]
    for i in range(rows):
        if fresh[i]:
            group = partitions[ids[i]] * KINDS + (codes[i] == backfill_code)
            order[starts[group]] = i
            starts[group] += 1
    for group in range(len(starts) - 1, 0, -1):
        starts[group] = starts[group - 1]
    starts[0] = 0
    return occupied


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


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Fresh rows in the order of their records.

    Attributes
    ----------
    order : (n,) int64, the row of the buffer at each place; None where every row is at its own already
    starts : (groups + 1,) int64, first place of each group
    symbol_codes : (n,) int32, number of each place's symbol within its group
    used, used_starts : the symbol ids of group g are used[used_starts[g] : used_starts[g + 1]]
    """

    order: NDArray[np.int64] | None
    starts: NDArray[np.int64]
    symbol_codes: NDArray[np.int32]
    used: NDArray[np.int32]
    used_starts: NDArray[np.int64]

    def ordered(self, column: NDArray[_T]) -> NDArray[_T]:
        """The fresh rows of `column`, (>= rows,), in the order of their records: maybe a view of it."""
        return column[: len(self.symbol_codes)] if self.order is None else column.take(self.order)


class Grouper:
    """Groups the rows of one source's buffers. Not thread-safe."""

    def __init__(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._names = text_array([])
        self._streams = StreamEncoder()
        self._numbers: NDArray[np.int32] = np.full(SYMBOLS_MAX, -1, np.int32)

    def group(
        self,
        ids: NDArray[np.int32],
        codes: NDArray[np.uint8],
        backfill_code: int,
        fresh: NDArray[np.bool_],
        fresh_rows: int,
    ) -> RowGroups:
        """Order the fresh rows by partition and kind.

        Parameters
        ----------
        ids : (>= rows,) int32, symbol ids
        codes, backfill_code : a row is backfill where codes[i] == backfill_code; (>= rows,) uint8
        fresh : (rows,) bool, of which `fresh_rows` are True
        """
        groups = self._symbols.partition_count * KINDS
        starts, order = np.zeros(groups + 1, np.int64), np.empty(fresh_rows, np.int64)
        occupied = _order_rows(ids, codes, backfill_code, fresh, self._symbols.partitions, starts, order)
        symbol_codes, used = np.empty(fresh_rows, np.int32), np.empty(fresh_rows, np.int32)
        used_starts = np.zeros(groups + 1, np.int64)
        _number_symbols(ids.take(order), starts, self._numbers, symbol_codes, used, used_starts)
        in_place = occupied == 1 and fresh_rows == len(fresh)
        return RowGroups(None if in_place else order, starts, symbol_codes, used, used_starts)

    def records(
        self,
        table: Table,
        groups: RowGroups,
        arrays: Mapping[str, pa.Array[Any]],
        event_us: NDArray[np.int64],
        recv_ns: NDArray[np.int64],
        gap_ids: Mapping[int, tuple[str, ...]] = _NO_GAPS,
    ) -> list[Record]:
        """One record for each group that has rows, in the order of the groups.

        Parameters
        ----------
        arrays : each column of `table` but `symbol`, ordered as `groups.order`
        event_us, recv_ns : (n,) the same order: ts_event and ts_recv
        gap_ids : by symbol id, what the first record with rows of the symbol must name
        """
        unnamed = dict(gap_ids)
        if len(self._names) < len(self._symbols.names):
            self._names = text_array(self._symbols.names)
        starts, schema = groups.starts, arrow_schema(table)
        occupied = np.flatnonzero(starts[1:] > starts[:-1])
        begins = starts[occupied]
        first_us = np.minimum.reduceat(event_us, begins)
        last_us = np.maximum.reduceat(event_us, begins)
        newest_ns = np.maximum.reduceat(recv_ns, begins)
        records = []
        for place, group in enumerate(occupied.tolist()):
            begin, end = int(starts[group]), int(starts[group + 1])
            used = groups.used[groups.used_starts[group] : groups.used_starts[group + 1]]
            symbol = word_array(self._names.take(plain_array(pa.int32(), used)), groups.symbol_codes[begin:end])
            columns = [symbol if column.name == "symbol" else arrays[column.name] for column in table]
            if len(occupied) > 1:
                columns = [each if each is symbol else each.slice(begin, end - begin) for each in columns]
            value = self._streams.encode(pa.RecordBatch.from_arrays(columns, schema=schema))
            records.append(
                Record(
                    table=table.name,
                    kind=RecordKind(group % KINDS),
                    partition=group // KINDS,
                    rows=end - begin,
                    first_ts_ns=int(first_us[place]) * 1000,
                    last_ts_ns=int(last_us[place]) * 1000,
                    recv_ns=int(newest_ns[place]),
                    crc32c=google_crc32c.value(value),
                    value=value,
                    gap_ids=_take_gaps(unnamed, groups.used[groups.used_starts[group] : groups.used_starts[group + 1]]),
                )
            )
        return records


def _take_gaps(unnamed: dict[int, tuple[str, ...]], symbol_ids: NDArray[np.int32]) -> tuple[str, ...]:
    """Take out the gaps of these symbols, as many as one record may name."""
    taken: list[str] = []
    if unnamed:
        for id_ in symbol_ids.tolist():
            gaps, room = unnamed.pop(id_, ()), GAP_IDS_MAX - len(taken)
            taken.extend(gaps[:room])
            if gaps[room:]:
                unnamed[id_] = gaps[room:]
    return tuple(taken)
