"""Where the pipeline's windows of seen keys survive a restart: beside the journal, in step with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import structlog

from codec.records import Record
from sinks.journal import ControlStateError, Journal, JournalReader

WINDOWS_READER_NAME = "windows"
"""Its name among the journal's readers: what the snapshot does not know yet is not trimmed."""

log = structlog.get_logger(__name__)


class JournalWindowStore:
    """`ingest.pipeline.WindowStore` over a journal that this process appends to."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def load(self) -> tuple[bytes | None, Iterable[Record]]:
        """The last snapshot, and every record that was appended after it."""
        kept = self._journal.control.get_snapshot(WINDOWS_READER_NAME)
        return (kept[1] if kept else None), self._records_since()

    def save(self, snapshot: bytes) -> None:
        """Keep `snapshot`, which knows every record appended so far."""
        try:
            self._journal.control.put_snapshot(WINDOWS_READER_NAME, self._journal.next_offset, snapshot)
        except ControlStateError as error:
            # The last one still stands, with the records since: the next start reads more, no less.
            log.warning("the window of seen ticks was not saved; trying again later", error=str(error))

    def _records_since(self) -> Iterator[Record]:
        reader = JournalReader(self._journal.path, WINDOWS_READER_NAME)
        try:
            while entries := reader.read():
                for entry in entries:
                    yield entry.record
        finally:
            reader.close()
