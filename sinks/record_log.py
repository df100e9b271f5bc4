"""What the writer reads: Kafka or the journal, behind one contract (`tests/writer/test_record_log.py`).

A *place* is one (topic, partition). Records of a place come in the order of their offsets, which
grow but may leave holes: only `next_offset` says where to go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from codec.errors import TicktapeError
from codec.records import Record

Place = tuple[str, int]
"""(topic, partition)."""

Revoked = Callable[[Collection[Place]], Awaitable[None]]
"""Called before places go to another reader: finish or forget what was fetched of them."""

FETCH_BYTES_MAX = 16 << 20
"""One fetch returns about this much at most."""


class RecordLogUnavailable(TicktapeError):
    """The log cannot be read or committed to just now."""

    retriable = True


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
    """A record and where it was; `next_offset` is what to commit once it is stored."""

    topic: str
    partition: int
    offset: int
    next_offset: int
    record: Record | UnreadableRecord

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    @property
    def rows(self) -> int:
        """Rows in it; none in what cannot be read."""
        return self.record.rows if isinstance(self.record, Record) else 0


class RecordLog(Protocol):
    """A durable sequence of records for each place, and the position up to which they are stored."""

    async def start(self, revoked: Revoked) -> None:
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
        RecordLogMismatch
        """

    async def commit(self, positions: Mapping[Place, int]) -> None:
        """Say of each place which record to read next: everything before it is stored.

        Raises
        ------
        RecordLogUnavailable
            Perhaps committed, perhaps not; it may be tried again.
        """
