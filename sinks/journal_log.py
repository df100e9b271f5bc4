"""The journal as a record log: what the writer reads when no Kafka is configured."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from sinks.journal import ControlStateError, Entry, JournalNotFound, JournalReader
from sinks.record_log import FETCH_BYTES_MAX, LoggedRecord, Place, RecordLogUnavailable, Revoked
from sinks.threads import Threads

WRITER_READER_NAME = "writer"
"""The writer's name among the journal's readers."""
_POLL_S = 0.02

log = structlog.get_logger(__name__)


class JournalRecordLog:
    """One reader of a journal. Each table is a topic `journal-<journal id>/<table>` with partition 0.

    The journal numbers the entries of all tables together and keeps one position a reader: the
    first entry that is not yet stored, whatever came after it.

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
        self._next: dict[str, int] = {}
        self._committed = 0

    async def start(self, revoked: Revoked) -> None:
        self._threads = Threads(1, "journal-reader")
        try:
            self._reader = await self._threads.run(JournalReader, self._path, WRITER_READER_NAME)
        except (JournalNotFound, ControlStateError, OSError) as error:
            self._threads.close()
            raise RecordLogUnavailable(str(error)) from error
        self._fetched.clear()
        self._next.clear()
        self._committed = self._reader.position
        self.committed_rows_total = await self._threads.run(_rows_before, self._reader)

    async def stop(self) -> None:
        if self._reader is None or self._threads is None:
            return
        reader, self._reader = self._reader, None
        await self._threads.run(reader.close)
        self._threads.close()

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
                return [self._logged(entry) for entry in entries]
            await asyncio.sleep(min(_POLL_S, left_s))

    async def commit(self, positions: Mapping[Place, int]) -> None:
        reader, threads = self._open()
        self._next |= {topic: position for (topic, _), position in positions.items()}
        while self._fetched and self._fetched[0].offset < self._next.get(self._fetched[0].topic, 0):
            done = self._fetched.popleft()
            self._committed, self.committed_rows_total = done.offset + 1, done.rows_total
        try:
            await threads.run(reader.commit, self._committed)
        except ControlStateError as error:
            raise RecordLogUnavailable(str(error)) from error

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
