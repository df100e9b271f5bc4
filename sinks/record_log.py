"""What the writer reads: Kafka or the journal, behind one contract (`tests/writer/test_record_log.py`).

A *place* is one (topic, partition). Records of a place come in the order of their offsets, which
grow but may leave holes: only `next_offset` says where to go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import google_crc32c

from codec.errors import TicktapeError
from codec.records import Record
from sinks.positions import Position

Place = tuple[str, int]
"""(topic, partition)."""

Revoked = Callable[[Collection[Place]], Awaitable[None]]
"""Called before places go to another reader: finish or forget what was fetched of them."""

StoredUntil = Callable[[Mapping[Place, str]], Awaitable[Mapping[Place, int]]]
"""Of places without a position, with the names of their tables: the greatest offset that ClickHouse holds,
-1 where its table holds rows of other places only; no entry where the table is empty."""

FETCH_BYTES_MAX = 16 << 20
"""One fetch returns about this much at most."""


class RecordLogUnavailable(TicktapeError):
    """The log cannot be read or committed to just now."""

    retriable = True


class EpochOver(RecordLogUnavailable):
    """The places may be another reader's by now: nothing of them may be inserted or committed."""


class RecordLogBroken(TicktapeError):
    """Nothing of the log goes on by itself any more: it must be opened anew."""


class RecordLogMismatch(TicktapeError):
    """The log is not the one that was read before, or not laid out as configured."""


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """What came in place of a record: its own check failed, or it is not of ours.

    Attributes
    ----------
    table : the table that its topic is for
    reason : a short stable word
    detail : what exactly is wrong
    value : as received
    recv_ns : when the log took it in, unix ns
    """

    table: str
    reason: str
    detail: str
    value: bytes
    recv_ns: int


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """A record and where it was.

    Attributes
    ----------
    next_offset : what to commit once it is stored
    epoch : of the assignment under which it was read
    origin : `origin_name` of the journal that it came from; empty where only one can be
    lost_from : the records from this offset up to `offset` were removed before anybody read them
    """

    topic: str
    partition: int
    offset: int
    next_offset: int
    record: Record | UnreadableRecord
    epoch: int = 0
    origin: str = ""
    lost_from: int | None = None

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    @property
    def rows(self) -> int:
        """Rows in it; none in what cannot be read."""
        return self.record.rows if isinstance(self.record, Record) else 0

    @property
    def crc32c(self) -> int:
        """CRC-32C of its value as it was received."""
        return self.record.crc32c if isinstance(self.record, Record) else int(google_crc32c.value(self.record.value))


class RecordLog(Protocol):
    """A durable sequence of records for each place, and the position up to which they are stored.

    Who may store what is said by epochs: each assignment of places to this reader has one of its own,
    and the log refuses to take a position, or to allow an insert, under one that is over.
    """

    async def start(self, revoked: Revoked, stored_until: StoredUntil) -> None:
        """Begin at the committed positions; where there is none, at the beginning.

        Raises
        ------
        RecordLogUnavailable
            Nothing was started: it may be tried again.
        RecordLogMismatch
        """

    async def stop(self) -> None:
        """Let go of everything; what was not committed is read again by the next start."""

    async def fetch(self, timeout_s: float) -> list[LoggedRecord]:
        """Records that follow the last ones, in order within a place; none when `timeout_s` is over.

        Raises
        ------
        RecordLogUnavailable
        RecordLogBroken
        RecordLogMismatch
        """

    async def measure_lag(self) -> None:
        """Learn how much waits, as `fetch` does: for when nothing may be fetched. Changes nothing when it cannot.

        Raises
        ------
        RecordLogBroken
        """

    def beginning(self, place: Place) -> Position:
        """Where reading of `place` began under the epoch that holds; known once a record of it was fetched."""

    async def commit(self, positions: Mapping[Place, Position], epoch: int) -> None:
        """Keep the positions, with which the next reader begins: all of them or none.

        Raises
        ------
        EpochOver
            Nothing was kept.
        RecordLogUnavailable
            Perhaps kept, perhaps not; it may be tried again.
        """

    def require(self, epoch: int) -> None:
        """Return when the places of `epoch` are surely ours at this moment; any thread may ask.

        Raises
        ------
        EpochOver
            They are not, or not surely: the log has not been heard of for too long.
        """
