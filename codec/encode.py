"""Batches to records: fresh rows, split by partition, as Arrow IPC streams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import arrow_type, batch_of_rows, ipc_stream, text_array
from codec.arrow_arrays import constant_word, enum_array, nullable_array, plain_array, word_array
from codec.columns import BLOCK_ROWS, DELIVERY_CODE, NULL_TIME, SYMBOL_ID, TickBuffer
from codec.conditions import CONDITION_CHARACTERS, ConditionTable
from codec.grouping import Grouper
from codec.partition import partition_of
from codec.records import Record, RecordKind
from codec.symbols import SymbolTable
from codec.tables import DELIVERY, TICKS, EnumKind, Kind, Table

_PULL = DELIVERY.code("pull")
_NO_GAPS: Mapping[int, tuple[str, ...]] = MappingProxyType({})


def _condition_words(conditions: ConditionTable | None) -> pa.StringArray:
    """The word of each condition id."""
    longer = conditions.names() if conditions is not None else []
    return text_array(["", *map(chr, range(1, CONDITION_CHARACTERS)), *longer])


class TickEncoder:
    """Encodes the ticks of one source.

    `gateways` are the names that the buffer's gateway ids stand for; it may grow at its end.
    `conditions` keeps the words of condition ids that are no character, where the source has such.
    """

    def __init__(
        self, source: str, symbols: SymbolTable, gateways: Sequence[str], conditions: ConditionTable | None = None
    ) -> None:
        self._source = text_array([source])
        self._gateways = gateways
        self._gateway_words = text_array(gateways)
        self._grouper = Grouper(symbols)
        self._conditions = conditions
        self._condition_words = _condition_words(conditions)

    def encode(
        self,
        ticks: TickBuffer,
        fresh: NDArray[np.bool_],
        ordinals: NDArray[np.uint32],
        fresh_rows: int,
        gap_ids: Mapping[int, tuple[str, ...]] = _NO_GAPS,
    ) -> list[Record]:
        """Records of the fresh rows of `ticks`, one for each partition and kind that has any.

        Parameters
        ----------
        fresh, ordinals : (ticks.rows,) as a Verdict gives them
        fresh_rows : how many of `fresh` are True
        gap_ids : by symbol id, what the first record with ticks of the symbol must name
        """
        if fresh_rows == 0:
            return []
        groups = self._grouper.group(ticks.narrow[SYMBOL_ID], ticks.small[DELIVERY_CODE], _PULL, fresh, fresh_rows)
        columns = {
            name: groups.ordered(ordinals if name == "ordinal" else getattr(ticks, block)[row])
            for name, (block, row) in BLOCK_ROWS.items()
            if name != "symbol"
        }
        arrays = {name: self._array(name, values) for name, values in columns.items()}
        arrays["source"] = constant_word(self._source, fresh_rows)
        return self._grouper.records(TICKS, groups, arrays, columns["ts_event"], columns["ts_recv"], gap_ids)

    def _array(self, name: str, values: NDArray[Any]) -> pa.Array[Any]:
        """The Arrow array of one ordered column, without copying where the layouts agree."""
        if name in _ENUMS:
            return enum_array(_ENUMS[name], values)
        if name == "condition":
            return self._condition_array(values)
        if name == "gateway":
            if len(self._gateways) > len(self._gateway_words):
                self._gateway_words = text_array(self._gateways)
            return word_array(self._gateway_words, values.astype(np.int32))
        if name in _NULLABLE:
            return nullable_array(_ARROW_TYPES[name], values, values != NULL_TIME)
        return plain_array(_ARROW_TYPES[name], values)

    def _condition_array(self, values: NDArray[np.int32]) -> pa.Array[Any]:
        """The words of condition ids, the dictionary no larger than what occurs."""
        if not values.any():
            return word_array(_NO_CONDITION, values)
        counts = np.bincount(values)
        present = np.flatnonzero(counts)
        numbers = np.zeros(len(counts), np.int32)
        numbers[present] = np.arange(len(present))
        if len(counts) > len(self._condition_words):
            self._condition_words = _condition_words(self._conditions)
        return word_array(self._condition_words.take(plain_array(pa.int64(), present)), numbers.take(values))


_NO_CONDITION = text_array([""])

# Looked up once: a column's kind is a value, whose hash costs more than its array.
_ARROW_TYPES = {column.name: arrow_type(column.kind) for column in TICKS}
_ENUMS = {column.name: column.kind for column in TICKS if isinstance(column.kind, EnumKind)}
_NULLABLE = {column.name for column in TICKS if column.nullable}


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
