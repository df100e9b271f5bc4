"""What we say that no table can hold, against what ClickHouse itself says of the same row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from codec.arrow import arrow_field
from codec.tables import TABLES, Column, EnumKind, Kind, Table
from sinks import schema
from sinks.block_encoding import origin_columns, stream_of, with_origin
from sinks.clickhouse import ClickHouse
from sinks.clickhouse_errors import ClickHouseRefusedData
from sinks.misfits import misfits
from tests.support.batches import make_batch

_DAYS: dict[object, tuple[int, ...]] = {
    Kind.DATE: (-(2**31), -1, 0, 2**16 - 1, 2**16, 2**31 - 1),
    Kind.EARLY_DATE: (-(2**31), -719_529, -719_528, -25_568, 120_530, 2_932_896, 2_932_897, 2**31 - 1),
}


def odd_values(column: Column) -> Iterator[Any]:
    """One-value arrays at and beyond the edges of what the column holds."""
    of = arrow_field(column).type
    yield pa.nulls(1, of)
    if pa.types.is_dictionary(of):
        yield pa.DictionaryArray.from_arrays(pa.array([1], of.index_type), pa.array(["null by its word", None]))
    if isinstance(column.kind, EnumKind):
        words = [word for word, _ in column.kind.members]
        for word in (words[0], words[-1], words[0].upper(), "", "martian"):
            yield pa.DictionaryArray.from_arrays(pa.array([1], of.index_type), pa.array(["never used", word]))
    for day in _DAYS.get(column.kind, ()):
        yield pa.array([day], pa.int32()).view(pa.date32())


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_row_is_a_misfit_when_clickhouse_refuses_it(embedded: ClickHouse, table: Table) -> None:
    schema.prepare(embedded)
    good = make_batch(table, 1, seed=3)
    origin = origin_columns(("t", 0), np.zeros(1, np.uint64), np.zeros(1, np.uint32))
    tried = 0
    for place, column in enumerate(table):
        for value in odd_values(column):
            odd = good.set_column(place, good.schema.field(place), value)
            whole = pa.RecordBatch.from_arrays([*odd.columns, *origin], schema=with_origin(odd.schema))
            tried += 1
            said = misfits(table, whole)
            is_refused = False
            try:
                embedded.insert(table.name, stream_of(whole), f"{tried}")
            except ClickHouseRefusedData:
                is_refused = True
            assert (list(said) == [0]) is is_refused, (column.name, value.to_pylist(), said)
    assert tried >= len(list(table))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_misfits_are_found_where_they_are_and_nowhere_else(table: Table) -> None:
    """Also in a batch that is a part of another, whose columns begin in the middle of their buffers."""
    for place, column in enumerate(table):
        good = make_batch(table, 9, seed=4)
        if not column.nullable:
            values = pa.concat_arrays(
                [good.column(place)[:5], pa.nulls(1, arrow_field(column).type), good.column(place)[6:]]
            )
            odd = good.set_column(place, good.schema.field(place), values)
            assert misfits(table, odd.slice(2)) == {3: f"{column.name}: is null, and must not be"}
        assert misfits(table, good.slice(2)) == {}
