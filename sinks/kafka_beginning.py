"""Where reading of a Kafka partition begins, from what is committed and what is there.

Pure: whoever asked the broker gives its answers, and gets the decision.
"""

from __future__ import annotations

from dataclasses import dataclass

from sinks.positions import Position, StoredRecord, position_of
from sinks.record_log import Place, RecordLogMismatch


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """What the broker says of a partition.

    Attributes
    ----------
    first, end : offset of its oldest record, and of the record that will come next
    committed : offset and metadata of the group's commit; None where there is none
    """

    first: int
    end: int
    committed: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """How to go on in a partition.

    Attributes
    ----------
    read_from : the offset to ask for first
    expected : the record that must come first, and is not handed on; None where nobody can know
    lost_from : what lies between it and the first record was removed before it was read; None when nothing was
    """

    beginning: Position
    read_from: int
    expected: StoredRecord | None = None
    lost_from: int | None = None


def plan(place: Place, facts: PartitionFacts, stored_until: int | None) -> ReadingPlan:
    """Where to begin in `place`; `stored_until` is what `StoredUntil` says of it, None when nothing.

    The greatest offset never says where to begin: a topic that was made anew has other records at the
    same offsets, and of an insert over two months one part may lack. It says what cannot be.

    Raises
    ------
    RecordLogMismatch
        The partition ends below what was stored: its records are not those that were read.
    """
    if facts.committed is None:
        if stored_until is not None and stored_until >= facts.end:
            raise made_anew(place, facts.end, stored_until + 1)
        stored_end = 0 if stored_until is None else stored_until + 1
        begin = Position(min(stored_end, facts.first), doubtful_before=0 if stored_until is None else facts.end)
        return ReadingPlan(begin, facts.first, lost_from=stored_end if facts.first > stored_end else None)
    offset, note = facts.committed
    position = position_of(offset, note)
    if position is None:  # somebody set it by hand: what was stored behind it we cannot know
        position = Position(offset, doubtful_before=facts.end)
    last = position.last
    needed = max(offset, *(name.last + 1 for name in position.intents), last.offset + 1 if last else 0)
    if facts.end < needed:
        raise made_anew(place, facts.end, needed)
    lost_from = offset if facts.first > offset else None
    expected = last if last is not None and last.offset >= facts.first else None
    read_from = expected.offset if expected is not None else max(offset, facts.first)
    return ReadingPlan(position, read_from, expected, lost_from)


def passed_over(unread: ReadingPlan | None, position: int, first: int) -> ReadingPlan:
    """How to go on at `first`, as retention has removed what lies between it and `position`.

    `unread` is the plan of a partition of which nothing was read yet: what it says is lost was not told
    to anybody, and what lies before its beginning is stored.
    """
    lost_from = position
    if unread is not None:
        lost_from = max(position, unread.beginning.next_offset) if unread.lost_from is None else unread.lost_from
    return ReadingPlan(Position(first), first, lost_from=lost_from if first > lost_from else None)


def made_anew(place: Place, end: int, stored: int) -> RecordLogMismatch:
    """What to say of a partition that ends at `end`, when everything before `stored` was stored."""
    topic, partition = place
    return RecordLogMismatch(
        f"topic {topic} partition {partition} ends at offset {end}, but everything before {stored} was stored: it was "
        f"made anew, or lost its newest records. {_REMEDY.format(topic=topic)}"
    )


def holds_others(place: Place, expected: StoredRecord) -> RecordLogMismatch:
    """What to say of a partition that has another record where the last stored one was."""
    topic, partition = place
    return RecordLogMismatch(
        f"topic {topic} partition {partition} has another record at offset {expected.offset} than the one that was "
        f"stored: it was made anew. {_REMEDY.format(topic=topic)}"
    )


_REMEDY = (
    "To read it from its beginning, without storing a row twice: kafka-consumer-groups --bootstrap-server … "
    "--group … --topic {topic} --reset-offsets --to-earliest --execute"
)
