"""The journal as a record log: what the writer reads when no Kafka is configured."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from sinks.journal import ControlStateError, Entry, JournalNotFound, JournalReader
from sinks.positions import Position, position_of
from sinks.record_log import (
    FETCH_BYTES_MAX,
    LoggedRecord,
    Place,
    RecordLogUnavailable,
    Revoked,
    StoredUntil,
)
from sinks.threads import Threads

WRITER_READER_NAME = "writer"
"""The writer's name among the journal's readers."""
_LOCK_NAME = "writer.lock"
_POLL_S = 0.02

log = structlog.get_logger(__name__)


class JournalRecordLog:
    """One reader of a journal. Each table is a topic `journal-<journal id>/<table>` with partition 0.

    The journal numbers the entries of all tables together and keeps one position a reader: the
    first entry that is not yet stored. The positions of the tables are kept with it, in one change.
    Nobody else may read it as the writer while this one does: a lock sees to it. So there is one
    epoch, 0, which is never over.

    Attributes
    ----------
    committed_rows_total : rows of the journal, since it was made, that are stored
    missing_records : entries that could not be read any more
    """

    def __init__(self, path: Path) -> None:
        self.committed_rows_total = 0
        self.missing_records = 0
        self._path = path
        self._reader: JournalReader | None = None
        self._threads: Threads | None = None
        self._fetched: deque[_Fetched] = deque()
        self._positions: dict[str, Position] = {}
        self._begun: dict[str, Position] = {}
        self._doubtful_before = 0
        self._committed = 0
        self._lock: int | None = None

    async def start(self, revoked: Revoked, stored_until: StoredUntil) -> None:
        self._lock = _lock(self._path)
        self._threads = Threads(1, "journal-reader")
        try:
            self._reader = await self._threads.run(JournalReader, self._path, WRITER_READER_NAME)
            self._begun, self._doubtful_before = await self._threads.run(_beginnings, self._reader)
        except (JournalNotFound, ControlStateError, OSError) as error:
            self._threads.close()
            self._unlock()
            raise RecordLogUnavailable(str(error)) from error
        self._fetched.clear()
        self._positions = dict(self._begun)
        self._committed = self._reader.position
        self.committed_rows_total = await self._threads.run(_rows_before, self._reader)

    async def stop(self) -> None:
        if self._reader is None or self._threads is None:
            return
        reader, self._reader = self._reader, None
        await self._threads.run(reader.close)
        self._threads.close()
        self._unlock()

    async def fetch(self, timeout_s: float) -> list[LoggedRecord]:
        reader, threads = self._open()
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                entries = await threads.run(reader.read, FETCH_BYTES_MAX)
            except OSError as error:
                raise RecordLogUnavailable(f"cannot read the journal {self._path}: {error}") from error
            for missing in reader.take_missing():
                self.missing_records += len(missing)
                log.error("journal entries are missing", first=missing.start, next=missing.stop)
            left_s = deadline_s - time.monotonic()
            if entries or left_s <= 0:
                logged = [self._logged(entry) for entry in entries]
                return [each for each in logged if each.offset >= self.beginning(each.place).next_offset]
            await asyncio.sleep(min(_POLL_S, left_s))

    async def measure_lag(self) -> None:
        """Do nothing: who writes the journal knows what is in it."""

    def beginning(self, place: Place) -> Position:
        return self._begun.get(place[0], Position(0, doubtful_before=self._doubtful_before))

    async def commit(self, positions: Mapping[Place, Position], epoch: int) -> None:
        reader, threads = self._open()
        self._positions |= {topic: position for (topic, _), position in positions.items()}
        while self._fetched and self._fetched[0].offset < self._next_offset(self._fetched[0].topic):
            done = self._fetched.popleft()
            self._committed, self.committed_rows_total = done.offset + 1, done.rows_total
        kept = {topic: [position.next_offset, position.note()] for topic, position in self._positions.items()}
        data = json.dumps(kept).encode()
        try:
            await threads.run(reader.control.put_snapshot, WRITER_READER_NAME, self._committed, data)
        except ControlStateError as error:
            raise RecordLogUnavailable(str(error)) from error

    def require(self, epoch: int) -> None:
        """Return: as long as this process lives the journal is locked."""

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _next_offset(self, topic: str) -> int:
        position = self._positions.get(topic)
        return position.next_offset if position is not None else 0

    def _open(self) -> tuple[JournalReader, Threads]:
        assert self._reader is not None, "not started"
        assert self._threads is not None
        return self._reader, self._threads

    def _logged(self, entry: Entry) -> LoggedRecord:
        topic = f"journal-{self._open()[0].journal_id}/{entry.record.table}"
        self._fetched.append(_Fetched(entry.offset, topic, entry.rows_total))
        return LoggedRecord(topic, 0, entry.offset, entry.offset + 1, entry.record)


class _Fetched(NamedTuple):
    offset: int
    topic: str
    rows_total: int


def _lock(path: Path) -> int:
    """Be the only writer that reads the journal; the system frees the lock when the process ends.

    Raises
    ------
    RecordLogUnavailable
    """
    try:
        descriptor = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RecordLogUnavailable(f"no journal in {path} yet: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RecordLogUnavailable(f"another process stores what is in the journal {path}: it is waited for") from error
    return descriptor


def _beginnings(reader: JournalReader) -> tuple[dict[str, Position], int]:
    """The position of each table, and before which entry rows of the others may be stored without one."""
    kept = reader.control.get_snapshot(WRITER_READER_NAME)
    if kept is not None:
        positions = {topic: position_of(*position) for topic, position in json.loads(kept[1]).items()}
        known = {topic: position for topic, position in positions.items() if position is not None}
        return known, max((position.doubtful_before for position in known.values()), default=0)
    # A new journal, in which there is nothing yet, or one whose control state was lost.
    begin = reader.position
    while reader.read(FETCH_BYTES_MAX):
        pass
    end = reader.position
    reader.seek(begin)
    reader.take_missing()
    return {}, end


def _rows_before(reader: JournalReader) -> int:
    """Rows of the entries before the reader's position; 0 when the last of them cannot be read any more."""
    position = reader.position
    if position == 0:
        return 0
    reader.seek(position - 1)
    last = next((entry for entry in reader.read(1) if entry.offset == position - 1), None)
    reader.seek(position)
    reader.take_missing()
    return last.rows_total if last is not None else 0
