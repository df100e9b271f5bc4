"""Blocks: whole consecutive records of one place, which one insert stores under one token."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import google_crc32c

from codec.records import Record
from sinks.positions import BlockName, Origin, Position, StoredRecord, may_repeat, with_origins
from sinks.record_log import LoggedRecord, Place, RecordLogMismatch, UnreadableRecord

BLOCK_ROWS_MAX = 500_000
BLOCK_BYTES_MAX = 64 << 20
BLOCK_ROWS_GOOD = 100_000
BLOCK_BYTES_GOOD = 16 << 20
"""So much waits for no flush interval: larger inserts store no more rows a second (measured: 20,000
rows an insert 0.6 M/s, 50,000 1.2 M/s, 100,000 and 500,000 1.9 M/s). A slower store lets blocks grow."""
assert BLOCK_ROWS_GOOD < BLOCK_ROWS_MAX
assert BLOCK_BYTES_GOOD < BLOCK_BYTES_MAX

_NS = 1_000_000_000
CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + b"\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records of one place, either all readable and of one schema, or a single unreadable one.

    Attributes
    ----------
    origins : that wrote the place up to the end of this block
    is_doubtful : some of its rows may be stored already, and not under its token
    doubtful_before : the same of any row of its place before this offset
    """

    place: Place
    records: tuple[LoggedRecord, ...]
    rows: int
    size_bytes: int
    name: BlockName
    origins: tuple[Origin, ...] = ()
    is_doubtful: bool = False
    doubtful_before: int = 0

    @property
    def next_offset(self) -> int:
        return self.records[-1].next_offset

    @property
    def token(self) -> str:
        return self.name.token(*self.place)

    @property
    def position(self) -> Position:
        """That of its place once it is stored."""
        last = self.records[-1]
        stored = StoredRecord(last.offset, last.crc32c)
        return Position(last.next_offset, stored, self.origins, doubtful_before=self.doubtful_before)


class PlaceQueue:
    """Records of one place that were fetched and not yet stored, in order; blocks are cut off its front.

    The first blocks are those that the beginning names, whatever the limits are by now.
    """

    def __init__(self, place: Place, beginning: Position | None = None) -> None:
        beginning = beginning or Position(0)
        self.place = place
        self.rows = 0
        self.size_bytes = 0
        self._waiting: deque[_Waiting] = deque()
        self._named = deque(beginning.intents)
        self._origins = beginning.origins
        self._doubtful_before = beginning.doubtful_before

    @property
    def named(self) -> tuple[BlockName, ...]:
        """The blocks that must be cut next, as they were before."""
        return tuple(self._named)

    def append(self, logged: LoggedRecord, now_ns: int) -> None:
        """Take the next record of the place, fetched at monotonic `now_ns`."""
        assert logged.place == self.place
        assert not self._waiting or self._waiting[-1].logged.next_offset <= logged.offset
        self._waiting.append(_Waiting(logged, now_ns, schema_message(logged.record)))
        self.rows += logged.rows
        self.size_bytes += len(logged.record.value)
        self._forget_removed()

    def due_ns(self, flush_interval_ns: int) -> int | None:
        """The monotonic time from which a block should be cut; None when there is none to cut."""
        if not self._waiting:
            return None
        fetched_ns = self._waiting[0].fetched_ns
        if self._named:
            return fetched_ns if self._waiting[-1].logged.offset >= self._named[0].last else None
        enough = self.rows >= BLOCK_ROWS_GOOD or self.size_bytes >= BLOCK_BYTES_GOOD
        return fetched_ns + (0 if enough else flush_interval_ns)

    def oldest_recv_ns(self) -> int | None:
        """When the socket received the oldest waiting record, unix ns; None when nothing waits."""
        return self._waiting[0].logged.record.recv_ns if self._waiting else None

    def cut(self) -> Block:
        """Take the next block off the front: the one that is named, or the longest that the limits allow.

        A single record larger than a limit is a block of its own.

        Raises
        ------
        RecordLogMismatch
            The named block's records are not those that it was named after.
        """
        if not self._named:
            return self._take(self._count_within_limits(), None)
        name = self._named.popleft()
        block = self._take(sum(waiting.logged.offset <= name.last for waiting in self._waiting), name)
        self._forget_removed()
        return block

    def _forget_removed(self) -> None:
        """Drop names of which no record is left: the log has said so, and what became of them nobody can know."""
        while self._named and self._waiting and self._waiting[0].logged.offset > self._named[0].last:
            self._named.popleft()

    def _count_within_limits(self) -> int:
        schema = self._waiting[0].schema
        count = rows = size_bytes = 0
        for waiting in self._waiting:
            rows, size_bytes = rows + waiting.logged.rows, size_bytes + len(waiting.logged.record.value)
            full = rows > BLOCK_ROWS_MAX or size_bytes > BLOCK_BYTES_MAX
            if count and (full or schema is None or waiting.schema != schema):
                break
            count += 1
        return count

    def _take(self, count: int, named: BlockName | None) -> Block:
        records = tuple(self._waiting.popleft().logged for _ in range(count))
        rows, size_bytes = sum(each.rows for each in records), sum(len(each.record.value) for each in records)
        self.rows -= rows
        self.size_bytes -= size_bytes
        name = _name_of(records, rows)
        if named is not None and name != named and name.first == named.first:
            raise RecordLogMismatch(
                f"{'/'.join(map(str, self.place))} holds other records at offsets {name.first}-{name.last} than were "
                "read there before: it was made anew"
            )
        self._note_origins(records)
        doubtful = named is not None or records[0].offset < self._doubtful_before or self._may_repeat(records)
        before = self._doubtful_before
        return Block(self.place, records, rows, size_bytes, name, self._origins, doubtful, before)

    def _note_origins(self, records: Sequence[LoggedRecord]) -> None:
        newest = {each.origin: each.record.recv_ns for each in records if each.origin}
        oldest = {each.origin: each.record.recv_ns for each in reversed(records) if each.origin}
        seen = [(name, recv_ns // _NS) for name, recv_ns in (*oldest.items(), *newest.items())]
        self._origins = with_origins(self._origins, seen)

    def _may_repeat(self, records: Sequence[LoggedRecord]) -> bool:
        return len(self._origins) > 1 and any(
            may_repeat(self._origins, each.origin, each.record.kind, each.record.recv_ns // _NS)
            for each in records
            if isinstance(each.record, Record)
        )

    def clear(self) -> None:
        """Forget what waits: another reader takes the place over."""
        self._waiting.clear()
        self.rows = self.size_bytes = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    logged: LoggedRecord
    fetched_ns: int
    schema: bytes | None


def _name_of(records: Sequence[LoggedRecord], rows: int) -> BlockName:
    crcs = b"".join(logged.crc32c.to_bytes(4, "big") for logged in records)
    return BlockName(records[0].offset, records[-1].offset, rows, int(google_crc32c.value(crcs)))


def schema_message(record: Record | UnreadableRecord) -> bytes | None:
    """The bytes that begin the record's Arrow stream up to its first batch; None when it is not one."""
    value = record.value
    if not isinstance(record, Record) or not value.startswith(CONTINUATION) or not value.endswith(END_OF_STREAM):
        return None
    return value[: 8 + int.from_bytes(value[4:8], "little")]
