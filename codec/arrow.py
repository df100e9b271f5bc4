"""Arrow: the schema of each table, and record batches as IPC streams."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from codec.records import RECORD_BYTES_MAX
from codec.tables import Column, EnumKind, Kind, Table

WORD_TYPE = pa.dictionary(pa.int32(), pa.utf8())
ENUM_TYPE = pa.dictionary(pa.int8(), pa.utf8())

_TYPES: dict[Kind, pa.DataType] = {
    Kind.WORD: WORD_TYPE,
    Kind.TEXT: pa.utf8(),
    Kind.BYTES: pa.binary(),
    Kind.DATE: pa.date32(),
    Kind.EARLY_DATE: pa.date32(),
    Kind.TIME_US: pa.timestamp("us", tz="UTC"),
    Kind.TIME_NS: pa.timestamp("ns", tz="UTC"),
    Kind.UINT8: pa.uint8(),
    Kind.UINT16: pa.uint16(),
    Kind.UINT32: pa.uint32(),
    Kind.UINT64: pa.uint64(),
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.FLOAT64: pa.float64(),
}


def arrow_type(kind: Kind | EnumKind) -> pa.DataType:
    """The Arrow type that holds values of `kind` (contract.md, Tables)."""
    return ENUM_TYPE if isinstance(kind, EnumKind) else _TYPES[kind]


def arrow_field(column: Column) -> pa.Field[Any]:
    """The Arrow field of one column."""
    return pa.field(column.name, arrow_type(column.kind), nullable=column.nullable)


@functools.cache
def arrow_schema(table: Table) -> pa.Schema:
    """The schema of every record of `table`, columns in the table's order."""
    return pa.schema([arrow_field(column) for column in table])


def text_array(texts: Sequence[str]) -> pa.StringArray:
    """An array of texts. `pa.array` imports pandas for it: a second and a half at a start that has none else."""
    encoded = [text.encode() for text in texts]
    offsets: Any = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


@functools.cache
def enum_words(kind: EnumKind) -> pa.StringArray:
    """The dictionary of an enum column: its words in the order of declaration."""
    return text_array([word for word, _ in kind.members])


_IPC_OPTIONS = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=False)


def ipc_stream(batch: pa.RecordBatch) -> bytes:
    """One IPC stream: the schema and `batch`, not compressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_IPC_OPTIONS) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


class StreamEncoder:
    """`ipc_stream` through one piece of memory that is used again. Not thread-safe.

    A stream of a thousand ticks takes 30 µs so, and 70 when its memory is got and given back each time.
    """

    def __init__(self) -> None:
        self._scratch = bytearray(1 << 16)

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The same bytes as `ipc_stream`."""
        while True:
            sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._scratch))
            try:
                with pa.ipc.new_stream(sink, batch.schema, options=_IPC_OPTIONS) as writer:
                    writer.write_batch(batch)
                return bytes(memoryview(self._scratch)[: sink.tell()])
            except OSError:  # the memory is full
                self._scratch = bytearray(2 * len(self._scratch))
                assert len(self._scratch) <= 2 * RECORD_BYTES_MAX, "a batch that is a record has an end"


def batch_of_rows(table: Table, rows: Iterable[Mapping[str, object]]) -> pa.RecordBatch:
    """A record batch from rows as mappings: for small tables such as the loss ledger, not for ticks.

    Times are integers in the unit of their column; absent keys are null.

    Raises
    ------
    pyarrow.ArrowInvalid
        A value does not fit its column.
    """
    kept = list(rows)
    schema = arrow_schema(table)
    arrays = [pa.array([row.get(field.name) for row in kept], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


_INTEGERS: dict[Kind, pa.DataType] = {
    Kind.DATE: pa.int32(),
    Kind.EARLY_DATE: pa.int32(),
    Kind.TIME_US: pa.int64(),
    Kind.TIME_NS: pa.int64(),
}


def rows_of_batch(table: Table, batch: pa.RecordBatch) -> list[dict[str, object]]:
    """The rows of a record batch as `batch_of_rows` takes them: times and dates are integers."""
    columns = {}
    for column in table:
        values = batch.column(column.name)
        if isinstance(column.kind, Kind) and column.kind in _INTEGERS:
            values = values.view(_INTEGERS[column.kind])
        columns[column.name] = values.to_pylist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
