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
from codec.tables import CAPITAL_FLOW, PERIOD, TICKS
from codec.tables import DIRECTION as DIRECTION_KIND
from ingest.lane import Lane
from ingest.published_rows import POLLED_TABLES, PublishedRows

_PUBLISHED = "published"
_TICKS, _FLOWS = "ticks", "flows"


def export_seen(lanes: Mapping[str, Lane], published: PublishedRows) -> bytes:
    """One snapshot of the windows of all sources and of the last polled rows."""
    parts = {_PUBLISHED: published.export()}
    for source, lane in lanes.items():
        parts[f"{_TICKS}/{source}"] = lane.window.export()
        parts[f"{_FLOWS}/{source}"] = lane.flow_window.export()
    sink = io.BytesIO()
    np.savez(sink, **cast(Any, {name: np.frombuffer(part, np.uint8) for name, part in parts.items()}))
    return sink.getvalue()


def restore_seen(snapshot: bytes, lanes: Mapping[str, Lane], published: PublishedRows) -> None:
    """Restore what `export_seen` gave; sources without a lane any more are left out."""
    with np.load(io.BytesIO(snapshot), allow_pickle=False) as parts:
        for name in parts.files:
            kind, _, source = name.partition("/")
            part = parts[name].tobytes()
            if kind == _PUBLISHED:
                published.restore(part)
            elif source in lanes:
                lane = lanes[source]
                (lane.window if kind == _TICKS else lane.flow_window).restore(part)


def replay_record(record: Record, lanes: Mapping[str, Lane], published: PublishedRows) -> None:
    """Mark the rows of a journaled record as seen."""
    if record.table not in (TICKS.name, CAPITAL_FLOW.name, *POLLED_TABLES):
        return
    batch = pa.ipc.open_stream(record.value).read_all().combine_chunks().to_batches()[0]
    if record.table in POLLED_TABLES:
        published.mark((record.table, row) for row in _rows_as_encoded(batch))
        return
    source = batch.column("source")[0].as_py()
    if source not in lanes:
        return
    if record.table == TICKS.name:
        _replay_ticks(batch, lanes[source])
    else:
        _replay_flows(batch, lanes[source])


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
