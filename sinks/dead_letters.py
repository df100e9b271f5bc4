"""Rows of the table `dead_letters` that are born in the writer: what ClickHouse will not take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from codec.arrow import batch_of_rows
from codec.tables import DEAD_LETTERS, Table
from sinks.block_encoding import origin_columns, received_column, stream_of, with_origin
from sinks.record_log import Place, UnreadableRecord

PAYLOAD_BYTES_MAX = 4 << 10
REFUSED = "refused_by_clickhouse"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One row or record that cannot be stored, with the coordinates it had.

    Attributes
    ----------
    offset, row : of the record, and of the row within it
    gateway : that it came from, empty where unknown
    feed : the table it was for
    reason : a short stable word
    detail : what exactly is wrong
    payload : the row as JSON, or the record as received
    recv_ns : when we received it, unix ns
    """

    offset: int
    row: int
    gateway: str
    feed: str
    reason: str
    detail: str
    payload: bytes
    recv_ns: int


def of_record(offset: int, record: UnreadableRecord) -> DeadLetter:
    """The dead letter of a record that cannot be read."""
    return DeadLetter(offset, 0, "", record.table, record.reason, record.detail, record.value, record.recv_ns)


def of_row(table: Table, row: pa.RecordBatch, detail: str) -> DeadLetter:
    """The dead letter of the only row of `row`, as it would have been stored."""
    values = {name: _plain(column) for name, column in zip(row.schema.names, row.columns, strict=True)}
    offset, index = values.pop("_offset"), values.pop("_row")
    recv_ns = row.column(received_column(table)).view(pa.int64())[0].as_py() or 0
    payload = json.dumps(values, ensure_ascii=False).encode()
    return DeadLetter(offset, index, values.get("gateway") or "", table.name, REFUSED, detail, payload, recv_ns)


def stream(place: Place, letters: Sequence[DeadLetter]) -> pa.Buffer:
    """An Arrow IPC stream of `letters`, for the table `dead_letters`."""
    rows = [
        {
            "gateway": letter.gateway,
            "feed": letter.feed,
            "reason": letter.reason,
            "detail": letter.detail,
            "payload": letter.payload[:PAYLOAD_BYTES_MAX],
            "payload_bytes": len(letter.payload),
            "ts_recv": letter.recv_ns,
        }
        for letter in letters
    ]
    batch = batch_of_rows(DEAD_LETTERS, rows)
    offsets = np.array([letter.offset for letter in letters], np.uint64)
    rows_within = np.array([letter.row for letter in letters], np.uint32)
    origin = origin_columns(place, offsets, rows_within)
    return stream_of(pa.RecordBatch.from_arrays([*batch.columns, *origin], schema=with_origin(batch.schema)))


def _plain(column: pa.Array[Any]) -> Any:
    """The only value of `column` as JSON can say it."""
    if pa.types.is_temporal(column.type):
        # As text, because Python's datetime has no nanoseconds.
        return column.cast(pa.utf8())[0].as_py()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        # What Arrow calls text need not be UTF-8: nobody checked.
        column = column.cast(pa.binary())
    value = column[0].as_py()
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
