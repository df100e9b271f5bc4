"""A block as what ClickHouse gets: one Arrow IPC stream.

Rule 1: what a block holds is a function of its records alone, so that its token names its rows.
Rule 2: no Python step per row. A record costs a few byte comparisons; columns are built at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import arrow_field, arrow_schema
from codec.errors import TicktapeError
from codec.records import Record
from codec.tables import STORED_COLUMNS, TABLE_BY_NAME, Kind, Table
from sinks.blocks import END_OF_STREAM, Block, schema_message
from sinks.record_log import Place, UnreadableRecord

_DAMAGE = (pa.ArrowException, OSError)
"""What pyarrow raises for a stream that it cannot read."""
_ORIGIN_SCHEMA = pa.schema([arrow_field(column) for column in STORED_COLUMNS])


class RecordSchemaUnknown(TicktapeError):
    """Records hold columns that this version does not know: a newer one wrote them."""


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
    schema = schema_message(records[0])
    if schema is None:
        raise pa.ArrowInvalid("not an Arrow stream with a schema and an end mark")
    parts: list[bytes | memoryview] = [schema]
    parts += [memoryview(record.value)[len(schema) : -len(END_OF_STREAM)] for record in records]
    joined = pa.ipc.open_stream(b"".join((*parts, END_OF_STREAM))).read_all()
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
