"""What is kept with a position, what follows from it, and the blocks that are cut again as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.records import RecordKind
from codec.tables import TICKS
from sinks.blocks import Block, PlaceQueue
from sinks.kafka_beginning import PartitionFacts, passed_over, plan
from sinks.positions import (
    NOTE_BYTES_MAX,
    ORIGIN_REMEMBERED_S,
    ORIGINS_MAX,
    BlockName,
    Origin,
    Position,
    StoredRecord,
    may_repeat,
    position_of,
    with_origins,
)
from sinks.record_log import LoggedRecord, RecordLogMismatch
from tests.support.batches import make_table_record

PLACE = ("ticktape.ticks", 3)
offsets = st.integers(0, 2**63 - 1)
names = st.builds(BlockName, offsets, offsets, st.integers(0, 500_000), st.integers(0, 2**32 - 1))
origins = st.builds(Origin, st.text("0123456789abcdef", min_size=16, max_size=16), offsets, offsets)
some_positions = st.builds(
    Position,
    offsets,
    st.none() | st.builds(StoredRecord, offsets, st.integers(0, 2**32 - 1)),
    st.lists(origins, max_size=ORIGINS_MAX).map(tuple),
    st.lists(names, max_size=4).map(tuple),
    offsets,
)


@given(some_positions)
def test_a_position_comes_back_from_its_note(position: Position) -> None:
    assert position_of(position.next_offset, position.note()) == position
    assert len(position.note()) <= NOTE_BYTES_MAX


@pytest.mark.parametrize("note", ["", "something else", "{}", "[]", "1", '{"v":2}', '{"v":1,"last":[1]}'])
def test_a_note_of_somebody_else_is_none(note: str) -> None:
    assert position_of(5, note) is None


def test_what_was_committed_is_where_reading_begins() -> None:
    last = StoredRecord(8, 77)
    begun = plan(PLACE, PartitionFacts(0, 100, (10, Position(10, last).note())), None)
    assert (begun.read_from, begun.expected, begun.lost_from) == (8, last, None)
    assert begun.beginning == Position(10, last)


def test_without_a_position_everything_is_read_and_looked_up_unless_the_table_is_empty() -> None:
    assert plan(PLACE, PartitionFacts(0, 100, None), None).beginning == Position(0)
    facts = PartitionFacts(5, 100, None)
    for stored_until in (4, 50, 99):
        begun = plan(PLACE, facts, stored_until)
        assert (begun.read_from, begun.beginning, begun.lost_from) == (5, Position(5, doubtful_before=100), None)
    with pytest.raises(RecordLogMismatch, match="ends at offset 100"):
        plan(PLACE, facts, 100)


def test_a_position_that_somebody_set_is_taken_and_doubted() -> None:
    begun = plan(PLACE, PartitionFacts(0, 100, (20, "")), None)
    assert (begun.read_from, begun.beginning.doubtful_before) == (20, 100)


def test_what_retention_removed_is_named() -> None:
    note = Position(10, StoredRecord(8, 77)).note()
    begun = plan(PLACE, PartitionFacts(30, 100, (10, note)), None)
    assert (begun.read_from, begun.expected, begun.lost_from) == (30, None, 10)


@pytest.mark.parametrize(("stored_until", "lost_from"), [(None, 0), (-1, 0), (3, 4)])
def test_what_retention_removed_before_anything_was_committed_is_named(stored_until: int, lost_from: int) -> None:
    """Also by whoever goes on when the first one ended between its first block's name and its insert."""
    begun = plan(PLACE, PartitionFacts(30, 100, None), stored_until)
    assert (begun.read_from, begun.lost_from, begun.beginning.next_offset) == (30, lost_from, lost_from)
    again = plan(PLACE, PartitionFacts(30, 100, (lost_from, begun.beginning.note())), stored_until)
    assert again == begun


def test_retention_that_goes_on_before_anything_was_read_loses_from_where_it_began() -> None:
    late = plan(PLACE, PartitionFacts(30, 100, None), None)
    again = passed_over(late, late.read_from, 50)
    assert (again.read_from, again.lost_from) == (50, 0)
    assert passed_over(again, again.read_from, 60).lost_from == 0
    assert passed_over(None, 30, 50).lost_from == 30, "everything before it was handed on"


@pytest.mark.parametrize(("first", "lost_from"), [(9, None), (10, None), (11, 10)])
def test_the_last_stored_record_is_not_lost_when_it_is_removed(first: int, lost_from: int | None) -> None:
    """It would only have been looked at once more."""
    begun = plan(PLACE, PartitionFacts(0, 100, (10, Position(10, StoredRecord(8, 77)).note())), None)
    assert begun.read_from == 8
    again = passed_over(begun, begun.read_from, first)
    assert (again.read_from, again.expected, again.lost_from) == (first, None, lost_from)


@pytest.mark.parametrize(
    "position", [Position(101), Position(10, intents=(BlockName(10, 100, 5, 1),)), Position(10, StoredRecord(100, 1))]
)
def test_a_partition_that_ends_below_what_was_stored_or_begun_is_refused(position: Position) -> None:
    with pytest.raises(RecordLogMismatch, match="was made anew"):
        plan(PLACE, PartitionFacts(0, 100, (position.next_offset, position.note())), None)


def logged(count: int, first: int = 0, origin: str = "") -> list[LoggedRecord]:
    return [
        LoggedRecord(*PLACE, 2 * n, 2 * n + 2, make_table_record(TICKS, 10, seed=n), origin=origin)
        for n in range(first, first + count)
    ]


def cut(records: list[LoggedRecord], beginning: Position | None = None) -> list[Block]:
    queue = PlaceQueue(PLACE, beginning)
    for record in records:
        queue.append(record, 0)
    blocks = []
    while queue.due_ns(0) is not None:
        blocks.append(queue.cut())
    return blocks


def test_named_blocks_are_cut_as_they_were_and_the_rest_as_usual() -> None:
    [first] = cut(logged(3))
    [second] = cut(logged(2, first=3))
    beginning = Position(0, intents=(first.name, second.name))
    blocks = cut(logged(9), beginning)
    assert [block.token for block in blocks[:2]] == [first.token, second.token]
    assert [block.rows for block in blocks] == [30, 20, 40]
    assert [block.is_doubtful for block in blocks] == [True, True, False]
    assert blocks[0].position == Position(6, StoredRecord(4, first.records[-1].crc32c))


def test_a_named_block_waits_for_its_last_record_whatever_the_flush_interval() -> None:
    [name] = [block.name for block in cut(logged(3))]
    queue = PlaceQueue(PLACE, Position(0, intents=(name,)))
    records = logged(4)
    for record in records[:2]:
        queue.append(record, 100)
    assert queue.due_ns(0) is None
    for record in records[2:]:
        queue.append(record, 200)
    assert queue.due_ns(10**12) == 100
    assert [list(queue.named), queue.cut().name, list(queue.named)] == [[name], name, []]


def test_other_records_than_a_block_was_named_after_stop_the_writer() -> None:
    [block] = cut(logged(3))
    other = BlockName(block.name.first, block.name.last, block.name.rows, block.name.crc32c ^ 1)
    with pytest.raises(RecordLogMismatch, match="made anew"):
        cut(logged(3), Position(0, intents=(other,)))


def test_what_is_left_of_named_blocks_after_retention_is_looked_up() -> None:
    gone, cut_short = (cut(part)[0].name for part in (logged(2), logged(3, first=2)))
    blocks = cut(logged(6, first=4), Position(0, intents=(gone, cut_short)))
    assert [(block.name.first, block.name.last, block.is_doubtful) for block in blocks] == [
        (8, 8, True),
        (10, 18, False),
    ]


def test_rows_below_the_doubtful_offset_are_looked_up() -> None:
    assert [block.is_doubtful for block in cut(logged(3), Position(0, doubtful_before=1))] == [True]
    assert [block.is_doubtful for block in cut(logged(3), Position(0))] == [False]


def test_whoever_goes_on_below_the_doubtful_offset_still_looks_up() -> None:
    [begun] = cut(logged(3), Position(0, doubtful_before=9))
    kept = position_of(6, begun.position.note())
    assert kept is not None
    assert [block.is_doubtful for block in cut(logged(3, first=3), kept)] == [True]


DAY_S = 1_760_000_000


def seen(*pairs: tuple[str, int]) -> tuple[Origin, ...]:
    return with_origins((), pairs)


def test_one_origin_alone_repeats_nothing() -> None:
    assert not may_repeat(seen(("a", DAY_S)), "a", RecordKind.BACKFILL, DAY_S)


def test_pulled_rows_may_repeat_whatever_another_origin_ever_wrote() -> None:
    late_s = DAY_S + 30 * ORIGIN_REMEMBERED_S
    assert may_repeat(seen(("a", DAY_S), ("b", DAY_S)), "b", RecordKind.BACKFILL, late_s)


def test_live_rows_may_repeat_another_origin_until_a_day_after_both_were_there() -> None:
    both = seen(("a", DAY_S), ("b", DAY_S + 100), ("a", DAY_S + 500))
    assert may_repeat(both, "b", RecordKind.LIVE, DAY_S + 500 + ORIGIN_REMEMBERED_S - 1)
    assert not may_repeat(both, "b", RecordKind.LIVE, DAY_S + 500 + ORIGIN_REMEMBERED_S)
    assert may_repeat(seen(("a", DAY_S)), "b", RecordKind.LIVE, DAY_S + 10 * ORIGIN_REMEMBERED_S)


def test_the_newest_origins_are_remembered() -> None:
    many = seen(*((f"{n:02}", DAY_S + n) for n in range(3 * ORIGINS_MAX)))
    assert [origin.name for origin in many] == [f"{n:02}" for n in range(2 * ORIGINS_MAX, 3 * ORIGINS_MAX)]


def test_a_second_origin_makes_its_blocks_doubtful() -> None:
    blocks = cut([*logged(3, origin="a"), *logged(3, first=3, origin="b")])
    assert [block.is_doubtful for block in blocks] == [True]
    assert [origin.name for origin in blocks[0].origins] == ["a", "b"]
    assert [block.is_doubtful for block in cut(logged(3, origin="a"))] == [False]
