"""Blocks: what is cut, how it is named, and what it holds, against a slow twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.arrow import ipc_stream
from codec.records import Record
from codec.tables import CAPITAL_FLOW, TABLES, TICKS, Table
from sinks import blocks
from sinks.block_encoding import EncodedBlock, RecordSchemaUnknown
from sinks.blocks import Block, PlaceQueue
from sinks.positions import BlockName
from sinks.record_log import LoggedRecord, UnreadableRecord
from tests.support.batches import make_batch, make_table_record
from tests.support.records import make_record

PLACE = ("ticktape.ticks", 3)


def logged(record: Record | UnreadableRecord, offset: int, next_offset: int | None = None) -> LoggedRecord:
    return LoggedRecord(*PLACE, offset, next_offset or offset + 1, record)


def queue_of(records: Sequence[LoggedRecord]) -> PlaceQueue:
    queue = PlaceQueue(PLACE)
    for record in records:
        queue.append(record, 0)
    return queue


def cut_all(queue: PlaceQueue) -> list[Block]:
    cut = []
    while queue.due_ns(0) is not None:
        cut.append(queue.cut())
    return cut


def block_of(records: Sequence[LoggedRecord]) -> Block:
    """A block of all `records`, even of such as would never be cut together."""
    rows, size_bytes = sum(each.rows for each in records), sum(len(each.record.value) for each in records)
    return Block(PLACE, tuple(records), rows, size_bytes, BlockName(records[0].offset, records[-1].offset, rows, 0))


UNREADABLE = UnreadableRecord("ticks", "bad_crc32c", "no match", b"junk", 1)
STREAMS = tuple(ipc_stream(make_batch(table, 1, 0)) for table in (TICKS, CAPITAL_FLOW))
some_records = st.lists(
    st.one_of(
        st.builds(
            lambda rows, value: make_record(value, rows=rows), st.integers(1, 40), st.sampled_from((*STREAMS, b"junk"))
        ),
        st.just(UNREADABLE),
    ),
    min_size=1,
    max_size=30,
)


@given(some_records, st.integers(1, 60), st.integers(1, 20_000))
def test_blocks_are_the_records_in_order_within_the_limits(
    records: list[Record | UnreadableRecord], rows_max: int, bytes_max: int
) -> None:
    sent = [logged(record, 3 * index, 3 * index + 3) for index, record in enumerate(records)]
    queue = queue_of(sent)
    assert queue.rows == sum(record.rows for record in sent)
    with mock.patch.multiple(blocks, BLOCK_ROWS_MAX=rows_max, BLOCK_BYTES_MAX=bytes_max):
        cut = cut_all(queue)
    assert [record for block in cut for record in block.records] == sent
    assert (queue.rows, queue.size_bytes) == (0, 0)
    for block in cut:
        assert block.rows == sum(record.rows for record in block.records)
        assert block.size_bytes == sum(len(record.record.value) for record in block.records)
        assert block.next_offset == block.records[-1].next_offset
        if len(block.records) > 1:
            assert block.rows <= rows_max
            assert block.size_bytes <= bytes_max
            schemas = {blocks.schema_message(record.record) for record in block.records}
            assert len(schemas) == 1
            assert None not in schemas


def test_a_block_is_due_when_it_is_old_or_worth_an_insert() -> None:
    queue = PlaceQueue(PLACE)
    assert queue.due_ns(500) is None
    queue.append(logged(make_record(STREAMS[0], rows=blocks.BLOCK_ROWS_GOOD - 1), 0), now_ns=1000)
    assert queue.due_ns(500) == 1500
    queue.append(logged(make_record(STREAMS[0], rows=1), 1), now_ns=1100)
    assert queue.due_ns(500) == 1000
    queue.clear()
    assert queue.due_ns(500) is None


def test_a_token_names_place_range_rows_and_content() -> None:
    records = [logged(make_table_record(TICKS, 10, seed), 5 + 2 * seed, 7 + 2 * seed) for seed in range(3)]
    [block] = cut_all(queue_of(records))
    assert block.token == cut_all(queue_of(records))[0].token
    assert block.token.startswith("ticktape.ticks/3/5-9/30/")
    other = [*records[:2], logged(make_table_record(TICKS, 10, seed=99), 9, 11)]
    assert cut_all(queue_of(other))[0].token != block.token


def slow_rows(records: Sequence[LoggedRecord]) -> list[dict[str, Any]]:
    """The rows that a block must hold, one by one."""
    rows = []
    for record in records:
        batch = pa.ipc.open_stream(record.record.value).read_next_batch()
        for index in range(batch.num_rows):
            values = {name: batch.column(name)[index].cast(pa.utf8()).as_py() for name in plain_names(batch)}
            origin = {"_topic": record.topic, "_partition": record.partition, "_offset": record.offset, "_row": index}
            rows.append(values | {name: str(value) for name, value in origin.items()})
    return rows


def plain_names(batch: pa.RecordBatch) -> list[str]:
    return [field.name for field in batch.schema if not pa.types.is_binary(field.type)]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_encoded_block_equals_its_rows_one_by_one(table: Table) -> None:
    rows = [7, 1, 30, 2]
    records = [logged(make_table_record(table, n, seed=n), 10 * n, 10 * n + 5) for n in rows]
    encoded = EncodedBlock(block_of(records))
    assert (encoded.table, encoded.rows, encoded.unreadable) == (table, sum(rows), [])
    batch = encoded.batch()
    columns = {name: batch.column(name).cast(pa.utf8()).to_pylist() for name in plain_names(batch)}
    assert [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] == slow_rows(records)
    assert encoded.received_ns().shape == (sum(rows),)


@pytest.mark.parametrize("damage", ["cut", "junk", "rows", "two batches"])
def test_a_damaged_record_is_left_out_and_its_neighbours_are_kept(damage: str) -> None:
    records = [make_table_record(TICKS, 10, seed) for seed in range(3)]
    value = records[1].value
    bad = {
        "cut": dataclasses.replace(records[1], value=value[: len(value) // 2 // 8 * 8] + value[-8:]),
        "junk": dataclasses.replace(records[1], value=b"junk"),
        "rows": dataclasses.replace(records[1], rows=11),
        "two batches": dataclasses.replace(records[1], value=two_batches()),
    }[damage]
    sent = [logged(record, index) for index, record in enumerate((records[0], bad, records[2]))]
    encoded = EncodedBlock(block_of(sent))
    assert encoded.rows == 20
    [(offset, unreadable)] = encoded.unreadable
    assert (offset, unreadable.reason, unreadable.value) == (1, "undecodable", bad.value)
    assert encoded.batch().column("_offset").to_pylist() == [0] * 10 + [2] * 10


def two_batches() -> bytes:
    batch = make_batch(TICKS, 5, seed=1)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def test_a_block_may_hold_nothing_that_can_be_read() -> None:
    encoded = EncodedBlock(block_of([logged(UNREADABLE, 4)]))
    assert encoded.rows == 0
    assert encoded.unreadable == [(4, UNREADABLE)]
    assert len(encoded.received_ns()) == 0


def records_with(batch: pa.RecordBatch) -> Block:
    record = make_record(ipc_stream(batch), rows=batch.num_rows)
    return block_of([logged(record, 0)])


def test_earlier_records_may_lack_a_nullable_column() -> None:
    batch = make_batch(TICKS, 5, 1)
    older = batch.drop_columns(["ts_gateway"])
    assert EncodedBlock(records_with(older)).batch().schema.names[: older.num_columns] == older.schema.names


@pytest.mark.parametrize("change", ["unknown column", "missing column", "other type"])
def test_records_of_another_version_stop_the_writer(change: str) -> None:
    """ClickHouse would drop an unknown column and fill a missing one without a word."""
    batch = make_batch(TICKS, 5, 1)
    other = {
        "unknown column": batch.append_column("yield", batch.column("price")),
        "missing column": batch.drop_columns(["price"]),
        "other type": batch.set_column(6, "price", batch.column("price").cast(pa.float32())),
    }[change]
    with pytest.raises(RecordSchemaUnknown):
        EncodedBlock(records_with(other))


def test_records_of_an_unknown_table_stop_the_writer() -> None:
    record = make_record(STREAMS[0], table="order_book")
    with pytest.raises(RecordSchemaUnknown, match="order_book"):
        EncodedBlock(block_of([logged(record, 0)]))
