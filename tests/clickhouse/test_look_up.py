"""Which rows a table holds already, asked by key, on both kinds of ClickHouse."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from codec.tables import STORED_COLUMNS, TABLES, TICKS, Table
from sinks import look_up
from sinks.block_encoding import origin_columns, stream_of, with_origin
from sinks.clickhouse import ClickHouse
from tests.support.batches import make_batch


def stored_batch(table: Table, rows: int, seed: int = 1) -> pa.RecordBatch:
    batch = make_batch(table, rows, seed)
    origin = origin_columns((f"t.{table.name}", 3), np.arange(rows).astype(np.uint64), np.zeros(rows, np.uint32))
    return pa.RecordBatch.from_arrays([*batch.columns, *origin], schema=with_origin(batch.schema))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_of_every_table_are_found_again_and_others_are_not(clickhouse: ClickHouse, table: Table) -> None:
    batch = stored_batch(table, 60)
    assert not look_up.stored_rows(clickhouse, table, batch).any()
    clickhouse.insert(table.name, stream_of(batch.slice(20, 30)), "some")
    stored = look_up.stored_rows(clickhouse, table, batch)
    assert stored.tolist() == [20 <= row < 50 for row in range(60)]


def test_a_row_that_repeats_an_earlier_one_of_its_block_counts_as_held(clickhouse: ClickHouse) -> None:
    batch = stored_batch(TICKS, 10)
    twice = pa.Table.from_batches([batch, batch.slice(4, 3), batch]).combine_chunks().to_batches()[0]
    assert look_up.stored_rows(clickhouse, TICKS, twice).tolist() == [False] * 10 + [True] * 13


def test_many_keys_are_asked_for_in_parts(clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_up, "KEYS_ASKED_MAX", 7)
    batch = stored_batch(TICKS, 100)
    odd = batch.filter(pa.array(np.arange(100) % 2 == 1))
    clickhouse.insert("ticks", stream_of(odd), "odd")
    assert look_up.stored_rows(clickhouse, TICKS, batch).tolist() == [False, True] * 50


def test_the_greatest_offset_of_each_place_is_known(clickhouse: ClickHouse) -> None:
    batch = stored_batch(TICKS, 10)
    places = {("t.ticks", 3): "ticks", ("t.ticks", 4): "ticks", ("t.gaps", 0): "gaps"}
    assert look_up.stored_until(clickhouse, places) == {}
    clickhouse.insert("ticks", stream_of(batch), "ten")
    assert look_up.stored_until(clickhouse, places) == {("t.ticks", 3): 9, ("t.ticks", 4): -1}


def test_the_stored_columns_are_those_that_a_batch_gets() -> None:
    assert stored_batch(TICKS, 1).schema.names[-len(STORED_COLUMNS) :] == [each.name for each in STORED_COLUMNS]
