"""What was seen before a restart: snapshots of the windows, and records replayed onto them.

At start the last snapshot is restored and every record appended after it is marked again, so that
a pull or a poll right after a restart finds its repeats.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.columns import DIRECTION, PRICE, SEQUENCE, SYMBOL_ID, TS_EVENT_US, VOLUME, TickBuffer
from codec.flow_columns import FLOW_BLOCK_ROWS, FlowBuffer
from codec.markets import parse_symbol
from codec.records import Record
from codec.row_diff import RowDiff
from codec.tables import CAPITAL_FLOW, PERIOD, TABLE_BY_NAME, TICKS, Kind
from codec.tables import DIRECTION as DIRECTION_KIND
from ingest.lane import Lane

_TICKS, _FLOWS, _ROWS = "ticks", "flows", "rows"


def export_seen(lanes: Mapping[str, Lane], diffs: Mapping[str, RowDiff]) -> bytes:
    """One snapshot of the windows and diffs of all sources, and of the tables with one row a poll."""
    parts = {f"{_ROWS}/{table}": diff.export() for table, diff in diffs.items()}
    for source, lane in lanes.items():
        parts[f"{_TICKS}/{source}"] = lane.window.export()
        parts[f"{_FLOWS}/{source}"] = lane.flow_diff.export()
    sink = io.BytesIO()
    np.savez(sink, **cast(Any, {name: np.frombuffer(part, np.uint8) for name, part in parts.items()}))
    return sink.getvalue()


def restore_seen(snapshot: bytes, lanes: Mapping[str, Lane], diffs: Mapping[str, RowDiff]) -> None:
    """Restore what `export_seen` gave; sources without a lane any more are left out."""
    with np.load(io.BytesIO(snapshot), allow_pickle=False) as parts:
        for name in parts.files:
            kind, _, of = name.partition("/")
            part = parts[name].tobytes()
            if kind == _ROWS and of in diffs:
                diffs[of].restore(part)
            elif kind == _TICKS and of in lanes:
                lanes[of].window.restore(part)
            elif kind == _FLOWS and of in lanes:
                lanes[of].flow_diff.restore(part)


def replay_record(record: Record, lanes: Mapping[str, Lane], diffs: Mapping[str, RowDiff]) -> None:
    """Mark the rows of a journaled record as seen."""
    if record.table not in (TICKS.name, CAPITAL_FLOW.name, *diffs):
        return
    batch = pa.ipc.open_stream(record.value).read_all().combine_chunks().to_batches()[0]
    if record.table in diffs:
        diffs[record.table].mark(_rows(batch, record.table))
        return
    source = batch.column("source")[0].as_py()
    if source in lanes:
        (_replay_ticks if record.table == TICKS.name else _replay_flows)(batch, lanes[source])


def _replay_ticks(batch: pa.RecordBatch, lane: Lane) -> None:
    ticks = TickBuffer(batch.num_rows)
    ticks.rows = batch.num_rows
    ticks.narrow[SYMBOL_ID] = _symbol_ids(batch, lane)
    ticks.wide[SEQUENCE] = batch.column("sequence").to_numpy()
    ticks.wide[TS_EVENT_US] = batch.column("ts_event").view(pa.int64()).to_numpy()
    ticks.real[PRICE] = batch.column("price").to_numpy()
    ticks.real[VOLUME] = batch.column("volume").to_numpy()
    words, numbers = _words(batch, "direction")
    ticks.small[DIRECTION] = np.array([DIRECTION_KIND.code(word) for word in words], np.uint8)[numbers]
    lane.window.mark_journaled(ticks, batch.column("ordinal").to_numpy())
    lane.journaled(ticks.narrow[SYMBOL_ID], ticks.wide[TS_EVENT_US])


def _replay_flows(batch: pa.RecordBatch, lane: Lane) -> None:
    flows = FlowBuffer(batch.num_rows)
    flows.rows = batch.num_rows
    for name, (block, row) in FLOW_BLOCK_ROWS.items():
        kind = CAPITAL_FLOW[name].kind
        if name == "symbol":
            values: NDArray[Any] = _symbol_ids(batch, lane)
        elif name == "period":
            words, numbers = _words(batch, name)
            values = np.array([PERIOD.code(word) for word in words], np.uint8)[numbers]
        elif name == "gateway":
            continue  # not compared
        elif kind is Kind.FLOAT64:
            values = batch.column(name).to_numpy(zero_copy_only=False)
        else:
            assert isinstance(kind, Kind)
            values = batch.column(name).view(_INTEGERS[kind]).to_numpy()
        getattr(flows, block)[row] = values
    lane.flow_diff.mark_journaled(flows)


_INTEGERS = {Kind.DATE: pa.int32(), Kind.TIME_US: pa.int64(), Kind.TIME_NS: pa.int64()}


def _rows(batch: pa.RecordBatch, table: str) -> list[dict[str, object]]:
    """The rows of a small table as `encode_rows` takes them: times as integers of their unit."""
    columns = [
        batch.column(column.name).view(_INTEGERS[column.kind])
        if column.kind in _INTEGERS
        else batch.column(column.name)
        for column in TABLE_BY_NAME[table]
    ]
    names = [column.name for column in TABLE_BY_NAME[table]]
    return [dict(zip(names, row, strict=True)) for row in zip(*(c.to_pylist() for c in columns), strict=True)]


def _symbol_ids(batch: pa.RecordBatch, lane: Lane) -> NDArray[np.int32]:
    names, numbers = _words(batch, "symbol")
    ids: NDArray[np.int32] = np.array([lane.symbols.id_of(*parse_symbol(name)) for name in names], np.int32)[numbers]
    return ids


def _words(batch: pa.RecordBatch, name: str) -> tuple[list[str], NDArray[np.integer[Any]]]:
    """A dictionary column as its words and each row's number among them."""
    column = batch.column(name)
    assert isinstance(column, pa.DictionaryArray)
    return [str(word) for word in column.dictionary.to_pylist()], column.indices.to_numpy()
