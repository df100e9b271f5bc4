"""Blocks: whole consecutive records of one place, which one insert stores under one token.

Rule 1: what a block stores is a function of its records alone, so that its token names its rows.
Rule 2: no Python step per row. A record costs a few byte comparisons; columns are built at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import arrow_field, arrow_schema
from codec.errors import TicktapeError
from codec.records import Record
from codec.tables import STORED_COLUMNS, TABLE_BY_NAME, Kind, Table
from sinks.record_log import LoggedRecord, Place, UnreadableRecord

BLOCK_ROWS_MAX = 500_000
BLOCK_BYTES_MAX = 64 << 20
BLOCK_ROWS_GOOD = 100_000
BLOCK_BYTES_GOOD = 16 << 20
"""So much waits for no flush interval: larger inserts store no more rows a second (measured: 20,000
rows an insert 0.6 M/s, 50,000 1.2 M/s, 100,000 and 500,000 1.9 M/s). A slower store lets blocks grow."""
assert BLOCK_ROWS_GOOD < BLOCK_ROWS_MAX
assert BLOCK_BYTES_GOOD < BLOCK_BYTES_MAX

_CONTINUATION = b"\xff\xff\xff\xff"
_END_OF_STREAM = _CONTINUATION + b"\0\0\0\0"
_DAMAGE = (pa.ArrowException, OSError)
"""What pyarrow raises for a stream that it cannot read."""
_ORIGIN_SCHEMA = pa.schema([arrow_field(column) for column in STORED_COLUMNS])


class RecordSchemaUnknown(TicktapeError):
    """Records hold columns that this version does not know: a newer one wrote them."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records of one place, either all readable and of one schema, or a single unreadable one."""

    place: Place
    records: tuple[LoggedRecord, ...]
    rows: int
    size_bytes: int

    @property
    def next_offset(self) -> int:
        return self.records[-1].next_offset

    @property
    def token(self) -> str:
        """topic/partition/first-last/rows/crc: the same records have the same token, others another."""
        topic, partition = self.place
        crcs = b"".join(_crc32c(logged.record).to_bytes(4, "big") for logged in self.records)
        offsets = f"{self.records[0].offset}-{self.records[-1].offset}"
        return f"{topic}/{partition}/{offsets}/{self.rows}/{google_crc32c.value(crcs):08x}"


class PlaceQueue:
    """Records of one place that were fetched and not yet stored, in order; blocks are cut off its front."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.rows = 0
        self.size_bytes = 0
        self._waiting: deque[_Waiting] = deque()

    def append(self, logged: LoggedRecord, now_ns: int) -> None:
        """Take the next record of the place, fetched at monotonic `now_ns`."""
        assert logged.place == self.place
        assert not self._waiting or self._waiting[-1].logged.next_offset <= logged.offset
        self._waiting.append(_Waiting(logged, now_ns, _schema_message(logged.record)))
        self.rows += logged.rows
        self.size_bytes += len(logged.record.value)

    def due_ns(self, flush_interval_ns: int) -> int | None:
        """The monotonic time from which a block should be cut; None when nothing waits."""
        if not self._waiting:
            return None
        enough = self.rows >= BLOCK_ROWS_GOOD or self.size_bytes >= BLOCK_BYTES_GOOD
        return self._waiting[0].fetched_ns + (0 if enough else flush_interval_ns)

    def oldest_recv_ns(self) -> int | None:
        """When the socket received the oldest waiting record, unix ns; None when nothing waits."""
        return self._waiting[0].logged.record.recv_ns if self._waiting else None

    def cut(self) -> Block:
        """Take the longest block off the front that the limits allow, at least one record.

        A single record larger than a limit is a block of its own.
        """
        schema = self._waiting[0].schema
        records: list[LoggedRecord] = []
        rows = size_bytes = 0
        while self._waiting:
            logged = self._waiting[0].logged
            more_rows, more_bytes = logged.rows, len(logged.record.value)
            full = rows + more_rows > BLOCK_ROWS_MAX or size_bytes + more_bytes > BLOCK_BYTES_MAX
            if records and (full or schema is None or self._waiting[0].schema != schema):
                break
            self._waiting.popleft()
            records.append(logged)
            rows, size_bytes = rows + more_rows, size_bytes + more_bytes
        self.rows -= rows
        self.size_bytes -= size_bytes
        return Block(self.place, tuple(records), rows, size_bytes)

    def clear(self) -> None:
        """Forget what waits: another reader takes the place over."""
        self._waiting.clear()
        self.rows = self.size_bytes = 0


class EncodedBlock:
    """A block as an Arrow IPC stream of one record batch, with the columns that say where rows came from.

    Attributes
    ----------
    table : where the rows belong
    stream : what ClickHouse gets; without rows when no record of the block can be read
    unreadable : the records that are not in `stream`
    """

    def __init__(self, block: Block) -> None:
        """Join the records of `block`.

        Raises
        ------
        RecordSchemaUnknown
            The records are of a table or have columns that this version does not know.
        """
        self.table = _known_table(block.records[0].record.table)
        self.block = block
        readable: list[tuple[int, Record]] = []
        self.unreadable: list[tuple[int, UnreadableRecord]] = []
        for logged in block.records:
            if isinstance(logged.record, Record):
                readable.append((logged.offset, logged.record))
            else:
                self.unreadable.append((logged.offset, logged.record))
        try:
            joined = _joined([record for _, record in readable])
        except _DAMAGE:
            readable, damaged = _sound_and_damaged(readable)
            self.unreadable += damaged
            joined = _joined([record for _, record in readable])
        self.rows = sum(record.rows for _, record in readable)
        self.stream = (
            _with_origin(self.table, block.place, readable, joined) if joined is not None else pa.py_buffer(b"")
        )

    def batch(self) -> pa.RecordBatch:
        """The rows of `stream`, which must have some, without a copy."""
        return pa.ipc.open_stream(self.stream).read_next_batch()

    def received_ns(self) -> NDArray[np.int64]:
        """(rows,) when each row came to us, unix ns."""
        if self.rows == 0:
            return np.empty(0, np.int64)
        received: NDArray[np.int64] = self.batch().column(received_column(self.table)).view(pa.int64()).to_numpy()
        return received


def received_column(table: Table) -> str:
    """The column with our own time of a row: ts_recv, or that of the last change in tables we write ourselves."""
    return [column.name for column in table if column.kind is Kind.TIME_NS][-1]


def stream_of(batch: pa.RecordBatch) -> pa.Buffer:
    """`batch` as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def origin_columns(
    place: Place, offsets: NDArray[np.uint64], rows_within: NDArray[np.uint32]
) -> list[pa.Array[pa.Scalar[pa.DataType]]]:
    """The stored columns of rows with these (rows,) offsets and indexes within their records."""
    topic, partition = place
    rows = len(offsets)
    arrays = (
        pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([topic])),
        pa.array(np.full(rows, partition, np.uint16)),
        pa.array(offsets),
        pa.array(rows_within),
    )
    return list(arrays)


def with_origin(schema: pa.Schema) -> pa.Schema:
    """`schema` followed by the stored columns."""
    return pa.schema([*schema, *_ORIGIN_SCHEMA])


@dataclass(frozen=True, slots=True)
class _Waiting:
    logged: LoggedRecord
    fetched_ns: int
    schema: bytes | None


def _crc32c(record: Record | UnreadableRecord) -> int:
    return record.crc32c if isinstance(record, Record) else int(google_crc32c.value(record.value))


def _schema_message(record: Record | UnreadableRecord) -> bytes | None:
    """The bytes that begin the record's Arrow stream up to its first batch; None when it is not one."""
    value = record.value
    if not isinstance(record, Record) or not value.startswith(_CONTINUATION) or not value.endswith(_END_OF_STREAM):
        return None
    return value[: 8 + int.from_bytes(value[4:8], "little")]


def _joined(records: Sequence[Record]) -> pa.Table | None:
    """The records' batches as one table, a chunk each; None for no records.

    Streams with the same schema are joined as bytes: the schema once, everything between it and the
    end mark of each, one end mark. One call then reads them all; opening each would cost more than
    reading it. Dictionaries that differ are what the format calls replacement.

    Raises
    ------
    pyarrow.ArrowException, OSError
        A record is not what it should be; `_sound_and_damaged` says which.
    """
    if not records:
        return None
    schema = _schema_message(records[0])
    if schema is None:
        raise pa.ArrowInvalid("not an Arrow stream with a schema and an end mark")
    parts: list[bytes | memoryview] = [schema]
    parts += [memoryview(record.value)[len(schema) : -len(_END_OF_STREAM)] for record in records]
    joined = pa.ipc.open_stream(b"".join((*parts, _END_OF_STREAM))).read_all()
    if [batch.num_rows for batch in joined.to_batches()] != [record.rows for record in records]:
        raise pa.ArrowInvalid("a record does not hold one batch of as many rows as it says")
    return joined


def _sound_and_damaged(
    records: Sequence[tuple[int, Record]],
) -> tuple[list[tuple[int, Record]], list[tuple[int, UnreadableRecord]]]:
    """Tell apart the records, with their offsets, that can be read from those that cannot."""
    sound: list[tuple[int, Record]] = []
    damaged: list[tuple[int, UnreadableRecord]] = []
    for offset, record in records:
        try:
            _joined([record])
        except _DAMAGE as error:
            unreadable = UnreadableRecord(record.table, "undecodable", str(error), record.value, record.recv_ns)
            damaged.append((offset, unreadable))
        else:
            sound.append((offset, record))
    return sound, damaged


def _with_origin(table: Table, place: Place, readable: Sequence[tuple[int, Record]], joined: pa.Table) -> pa.Buffer:
    """The rows of `joined`, which come from `readable`, as one batch with their origin, encoded."""
    _check_schema(table, joined.schema)
    counts = np.array([record.rows for _, record in readable])
    first_rows = np.cumsum(counts) - counts
    rows_within = (np.arange(counts.sum()) - np.repeat(first_rows, counts)).astype(np.uint32)
    offsets = np.repeat(np.array([offset for offset, _ in readable], np.uint64), counts)
    [whole] = joined.combine_chunks().to_batches()  # which also makes one dictionary of all
    columns = [*whole.columns, *origin_columns(place, offsets, rows_within)]
    return stream_of(pa.RecordBatch.from_arrays(columns, schema=with_origin(joined.schema)))


def _known_table(name: str) -> Table:
    table = TABLE_BY_NAME.get(name)
    if table is None:
        raise RecordSchemaUnknown(f"records of the table {name}, which this version does not know: run a newer one")
    return table


def _check_schema(table: Table, schema: pa.Schema) -> None:
    """Earlier records may lack nullable columns; nothing else may differ.

    ClickHouse would drop an unknown column without a word, and fill a missing one.
    """
    declared = arrow_schema(table)
    if schema.equals(declared):
        return
    unknown = [field.name for field in schema if field.name not in declared.names]
    other = [field.name for field in schema if field.name in declared.names and field != declared.field(field.name)]
    missing = [column.name for column in table if column.name not in schema.names and not column.nullable]
    if unknown or other or missing:
        raise RecordSchemaUnknown(
            f"records of {table.schema_name} do not fit this version: unknown columns {unknown}, "
            f"of another type {other}, missing {missing}; run the version that wrote them, or a newer one"
        )
