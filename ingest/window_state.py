"""The windows of all sources as one snapshot, and records replayed onto them.

At start the last snapshot is restored and every tick record appended after it is marked again, so
that a pull right after a restart finds its repeats.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.columns import DIRECTION, PRICE, SEQUENCE, SYMBOL_ID, TS_EVENT_US, VOLUME, TickBuffer
from codec.markets import parse_symbol
from codec.records import Record
from codec.tables import DIRECTION as DIRECTION_KIND
from codec.window import SequenceWindow

if TYPE_CHECKING:
    from ingest.pipeline import Lane


def export_windows(windows: Mapping[str, SequenceWindow]) -> bytes:
    """One snapshot of the windows of all sources."""
    sink = io.BytesIO()
    parts = {source: np.frombuffer(window.export(), np.uint8) for source, window in windows.items()}
    np.savez(sink, **cast(Any, parts))
    return sink.getvalue()


def restore_windows(snapshot: bytes, windows: Mapping[str, SequenceWindow]) -> None:
    """Restore what `export_windows` gave; sources without a window any more are left out."""
    with np.load(io.BytesIO(snapshot), allow_pickle=False) as parts:
        for source in parts.files:
            if source in windows:
                windows[source].restore(parts[source].tobytes())


def replay_record(record: Record, lanes: Mapping[str, Lane]) -> None:
    """Mark the ticks of a journaled record as seen."""
    table = pa.ipc.open_stream(record.value).read_all()
    batch = table.combine_chunks().to_batches()[0]
    source = batch.column("source")[0].as_py()
    if source not in lanes:
        return
    lane, rows = lanes[source], batch.num_rows
    ticks = TickBuffer(rows)
    ticks.rows = rows
    names, numbers = _words(batch, "symbol")
    ids = np.array([lane.symbols.id_of(*parse_symbol(name)) for name in names], np.int32)
    ticks.narrow[SYMBOL_ID] = ids[numbers]
    ticks.wide[SEQUENCE] = batch.column("sequence").to_numpy()
    ticks.wide[TS_EVENT_US] = batch.column("ts_event").view(pa.int64()).to_numpy()
    ticks.real[PRICE] = batch.column("price").to_numpy()
    ticks.real[VOLUME] = batch.column("volume").to_numpy()
    words, numbers = _words(batch, "direction")
    ticks.small[DIRECTION] = np.array([DIRECTION_KIND.code(word) for word in words], np.uint8)[numbers]
    lane.window.mark_journaled(ticks, batch.column("ordinal").to_numpy())
    lane.journaled(ticks.narrow[SYMBOL_ID], ticks.wide[TS_EVENT_US])


def _words(batch: pa.RecordBatch, name: str) -> tuple[list[str], NDArray[np.integer[Any]]]:
    """A dictionary column as its words and each row's number among them."""
    column = batch.column(name)
    assert isinstance(column, pa.DictionaryArray)
    return [str(word) for word in column.dictionary.to_pylist()], column.indices.to_numpy()
