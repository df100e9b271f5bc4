"""Rows of any table, made from a seed: for tests that store and read them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from codec.arrow import arrow_field, arrow_schema, enum_words, ipc_stream
from codec.records import Record
from codec.tables import Column, EnumKind, Kind, Table
from tests.support.records import make_record

_START_US = 1_760_000_000_000_000
_START_DAY = 20_370
_FIRST_DAY, _LAST_DAY = -25_567, 120_529
"""1900-01-01 and 2299-12-31: all that Date32 holds."""
_RANGES: dict[Kind, tuple[int, int, type[np.generic]]] = {
    Kind.UINT8: (0, 2**8, np.uint8),
    Kind.UINT16: (0, 2**16, np.uint16),
    Kind.UINT32: (0, 2**32, np.uint32),
    Kind.UINT64: (0, 2**63, np.uint64),
    Kind.INT32: (-(2**31), 2**31, np.int32),
    Kind.INT64: (-(2**63), 2**63 - 1, np.int64),
}
_TEXTS = ("", "HK.00700", "naïve 東京", "quote ' and \\ back", "US.BRK.B")


def make_batch(table: Table, rows: int, seed: int, *, first: int = 0) -> pa.RecordBatch:
    """`rows` rows of `table` with every kind of value that its columns can hold, and nulls where allowed.

    No two rows that differ in `first` + index share a key.
    """
    rng = np.random.default_rng(seed)
    arrays = [_values(table, column, rows, first, rng) for column in table]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table))


def make_table_record(table: Table, rows: int, seed: int, *, partition: int = 0, first: int = 0) -> Record:
    """One record around `make_batch`."""
    value = ipc_stream(make_batch(table, rows, seed, first=first))
    return make_record(value, table=table.name, rows=rows, partition=partition)


def _values(table: Table, column: Column, rows: int, first: int, rng: np.random.Generator) -> Any:
    mask = rng.random(rows) < 0.3 if column.nullable else np.zeros(rows, bool)
    numbers = np.arange(first, first + rows)
    kind, kind_type = column.kind, arrow_field(column).type
    if isinstance(kind, EnumKind):
        codes = rng.integers(0, len(kind.members), rows).astype(np.int8)
        return pa.DictionaryArray.from_arrays(codes, enum_words(kind))
    if kind is Kind.WORD:
        # Each batch has a dictionary of its own, in an order of its own.
        words = rng.permutation(_TEXTS)
        return pa.DictionaryArray.from_arrays(rng.integers(0, len(words), rows).astype(np.int32), pa.array(words))
    if kind is Kind.TEXT:
        return pa.array([f"{_TEXTS[n % len(_TEXTS)]} {n}" for n in numbers], pa.utf8())
    if kind is Kind.BYTES:
        return pa.array([rng.bytes(int(rng.integers(0, 20))) for _ in numbers], pa.binary())
    if kind is Kind.DATE:
        return pa.array((_START_DAY + rng.integers(0, 5, rows)).astype(np.int32), mask=mask).cast(kind_type)
    if kind is Kind.EARLY_DATE:
        days = rng.integers(_FIRST_DAY, _LAST_DAY, rows).astype(np.int32)
        days[:2] = (_FIRST_DAY, _LAST_DAY)[:rows]
        return pa.array(days, mask=mask).cast(kind_type)
    if kind is Kind.TIME_US:
        return pa.array(_START_US + numbers * 1001, mask=mask).cast(kind_type)
    if kind is Kind.TIME_NS:
        return pa.array(_START_US * 1000 + numbers * 1_000_001, mask=mask).cast(kind_type)
    if kind is Kind.FLOAT64:
        special = np.array([0.1, -0.0, 1e300, 5e-324, 388.2, -1234567.891])
        return pa.array(rng.choice(special, rows), mask=mask)
    if column.name in table.key:
        return pa.array(numbers, kind_type)
    low, high, dtype = _RANGES[kind]
    return pa.array(
        rng.integers(low, high, rows, dtype=np.uint64 if kind is Kind.UINT64 else np.int64).astype(dtype), mask=mask
    )
