"""What was seen before a restart: snapshots of the windows, and records replayed onto them.

At start the last snapshot is restored and every record appended after it is marked again, so that
a pull or a poll right after a restart finds its repeats.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import rows_of_batch
from codec.columns import (
    CONDITION_ID,
    DELIVERY_CODE,
    DIRECTION,
    PRICE,
    SEQUENCE,
    SESSION_CODE,
    SYMBOL_ID,
    TRADE_DATE,
    TS_EVENT_US,
    TS_RECV_NS,
    TURNOVER,
    VOLUME,
    TickBuffer,
)
from codec.conditions import ConditionTable
from codec.day_counts import DayCounts
from codec.encode_flows import flows_of_batch
from codec.markets import parse_symbol
from codec.records import Record
from codec.row_diff import RowDiff
from codec.symbols import SymbolTable
from codec.tables import CAPITAL_FLOW, COVERAGE, DELIVERY, GAPS, SESSION, TABLE_BY_NAME, TICKS
from codec.tables import DIRECTION as DIRECTION_KIND
from ingest import book_restart
from ingest.coverage import CoverageKeeper
from ingest.lane import Lane
from ingest.ledger import FEED_TICKS, Gap

_ENUM_ROWS = (
    ("direction", DIRECTION_KIND, DIRECTION),
    ("session", SESSION, SESSION_CODE),
    ("delivery", DELIVERY, DELIVERY_CODE),
)
_TICKS, _DAYS, _FLOWS, _ROWS, _LEDGER, _ACCOUNT = "ticks", "days", "flows", "rows", "ledger", "account"


def export_seen(lanes: Mapping[str, Lane], diffs: Mapping[str, RowDiff], coverage: CoverageKeeper) -> bytes:
    """One snapshot of the windows, counts and diffs of all sources, of the tables with one row a poll, and of
    what the days' verdicts need of the ledger."""
    parts = {f"{_ROWS}/{table}": diff.export() for table, diff in diffs.items()}
    for source, lane in lanes.items():
        parts[f"{_TICKS}/{source}"] = lane.window.export()
        parts[f"{_DAYS}/{source}"] = lane.days.export()
        parts[f"{_FLOWS}/{source}"] = lane.flow_diff.export()
        parts[f"{_ACCOUNT}/{source}"] = book_restart.export(lane.book)
    parts[_LEDGER] = orjson.dumps(coverage.export())
    sink = io.BytesIO()
    np.savez(sink, **cast(Any, {name: np.frombuffer(part, np.uint8) for name, part in parts.items()}))
    return sink.getvalue()


def restore_seen(
    snapshot: bytes, lanes: Mapping[str, Lane], diffs: Mapping[str, RowDiff], coverage: CoverageKeeper
) -> None:
    """Restore what `export_seen` gave; sources without a lane any more are left out."""
    with np.load(io.BytesIO(snapshot), allow_pickle=False) as parts:
        for name in parts.files:
            kind, _, of = name.partition("/")
            part = parts[name].tobytes()
            if kind == _ROWS and of in diffs:
                diffs[of].restore(part)
            elif kind == _TICKS and of in lanes:
                lanes[of].window.restore(part)
            elif kind == _DAYS and of in lanes:
                lanes[of].days.restore(part)
            elif kind == _FLOWS and of in lanes:
                lanes[of].flow_diff.restore(part)
            elif kind == _ACCOUNT and of in lanes:
                book_restart.restore(lanes[of].book, part)
            elif kind == _LEDGER:
                coverage.restore(orjson.loads(part))


def replay_record(
    record: Record, lanes: Mapping[str, Lane], diffs: Mapping[str, RowDiff], coverage: CoverageKeeper
) -> None:
    """Mark the rows of a journaled record as seen."""
    if record.table not in (TICKS.name, CAPITAL_FLOW.name, GAPS.name, COVERAGE.name, *diffs):
        return
    batch = _batch_of(record)
    if record.table in (GAPS.name, COVERAGE.name):
        rows = rows_of_batch(TABLE_BY_NAME[record.table], batch)
        coverage.journaled({record.table: rows})
        if record.table == GAPS.name:
            _replay_gaps(rows, lanes)
        return
    if record.table in diffs:
        diffs[record.table].mark(rows_of_batch(TABLE_BY_NAME[record.table], batch))
        return
    lane = lanes.get(batch.column("source")[0].as_py())
    if lane is None:
        return
    if record.table == TICKS.name:
        _replay_ticks(batch, record.gap_ids, lane)
    else:
        lane.flow_diff.mark_journaled(flows_of_batch(batch, lane.symbols))


def day_counts(snapshot: bytes | None, records: Iterable[Record]) -> dict[str, DayCounts]:
    """The hop counts of each source: those of a snapshot, and of the records that were journaled after it."""
    counts: dict[str, DayCounts] = {}
    tables: dict[str, SymbolTable] = {}

    def of(source: str) -> DayCounts:
        tables.setdefault(source, SymbolTable(partition_count=1))
        return counts.setdefault(source, DayCounts(tables[source]))

    if snapshot is not None:
        with np.load(io.BytesIO(snapshot), allow_pickle=False) as parts:
            for name in parts.files:
                kind, _, source = name.partition("/")
                if kind == _DAYS:
                    of(source).restore(parts[name].tobytes())
    for record in records:
        if record.table == TICKS.name:
            batch = _batch_of(record)
            counted = of(batch.column("source")[0].as_py())
            ticks, ordinals = _ticks_of(batch, tables[batch.column("source")[0].as_py()], ConditionTable())
            counted.add(ticks, np.ones(ticks.rows, np.bool_), ordinals)
    return counts


def _batch_of(record: Record) -> pa.RecordBatch:
    return pa.ipc.open_stream(record.value).read_all().combine_chunks().to_batches()[0]


def _replay_gaps(rows: Iterable[Mapping[str, object]], lanes: Mapping[str, Lane]) -> None:
    by_source: dict[str, list[tuple[int | None, Gap]]] = {}
    for row in rows:
        gap = Gap.of_row(row)
        if gap.source in lanes and gap.feed == FEED_TICKS:
            id_ = lanes[gap.source].symbols.id_of(*parse_symbol(gap.symbol)) if gap.symbol else None
            by_source.setdefault(gap.source, []).append((id_, gap))
    for source, versions in by_source.items():
        book_restart.replay_gaps(lanes[source].book, versions)


def _replay_ticks(batch: pa.RecordBatch, gap_ids: Sequence[str], lane: Lane) -> None:
    ticks, ordinals = _ticks_of(batch, lane.symbols, lane.conditions)
    lane.window.mark_journaled(ticks, ordinals)
    lane.days.add(ticks, np.ones(ticks.rows, np.bool_), ordinals)
    book_restart.replay_ticks(lane.book, ticks, gap_ids)


def _ticks_of(
    batch: pa.RecordBatch, symbols: SymbolTable, conditions: ConditionTable
) -> tuple[TickBuffer, NDArray[np.uint32]]:
    """What the window and the counts need of journaled rows, and their (rows,) ordinals."""
    ticks = TickBuffer(batch.num_rows)
    ticks.rows = batch.num_rows
    ticks.narrow[SYMBOL_ID] = _symbol_ids(batch, symbols)
    ticks.wide[SEQUENCE] = batch.column("sequence").to_numpy()
    ticks.wide[TS_EVENT_US] = batch.column("ts_event").view(pa.int64()).to_numpy()
    ticks.narrow[TRADE_DATE] = batch.column("trade_date").view(pa.int32()).to_numpy()
    ticks.real[PRICE] = batch.column("price").to_numpy()
    ticks.real[VOLUME] = batch.column("volume").to_numpy()
    ticks.real[TURNOVER] = batch.column("turnover").to_numpy()
    ticks.wide[TS_RECV_NS] = batch.column("ts_recv").view(pa.int64()).to_numpy()
    words, numbers = _words(batch, "condition")
    ticks.narrow[CONDITION_ID] = np.array([conditions.id_of(word) for word in words], np.int32)[numbers]
    for name, kind, row in _ENUM_ROWS:
        words, numbers = _words(batch, name)
        ticks.small[row] = np.array([kind.code(word) for word in words], np.uint8)[numbers]
    return ticks, batch.column("ordinal").to_numpy().copy()  # writable, as kernels are compiled for


def _symbol_ids(batch: pa.RecordBatch, symbols: SymbolTable) -> NDArray[np.int32]:
    names, numbers = _words(batch, "symbol")
    ids: NDArray[np.int32] = np.array([symbols.id_of(*parse_symbol(name)) for name in names], np.int32)[numbers]
    return ids


def _words(batch: pa.RecordBatch, name: str) -> tuple[list[str], NDArray[np.integer[Any]]]:
    """A dictionary column as its words and each row's number among them."""
    column = batch.column(name)
    assert isinstance(column, pa.DictionaryArray)
    return [str(word) for word in column.dictionary.to_pylist()], column.indices.to_numpy()
