"""Reading a journal from any process, in order, while it is being written and trimmed."""

from __future__ import annotations

import time
from pathlib import Path

from sinks.journal.control import CONTROL_FILE, ControlState
from sinks.journal.entries import Entry, era_of
from sinks.journal.errors import JournalNotFound
from sinks.journal.segments import SegmentCursor, list_segments, segment_path
from sinks.journal.synced import ReadableEnd

_LIST_EVERY_S = 1.0
"""The next segment is looked for by its expected name at each poll, and by listing the folder this
often: its name is another one only when the appender had to skip offsets."""


class JournalReader:
    """One named reader. It verifies what it hands out, and never writes segments. For one thread at a time.

    Attributes
    ----------
    position : the offset of the next entry to read; starts at what was committed
    control : the journal's control state
    """

    def __init__(self, path: Path, name: str) -> None:
        """Register reader `name`: from now on trimming waits for it.

        Raises
        ------
        JournalNotFound : there is no journal in `path` yet
        """
        if not (path / CONTROL_FILE).exists():
            raise JournalNotFound(path)
        self.path, self.name = path, name
        self.control = ControlState(path)
        oldest = next((first_offset for first_offset, _ in list_segments(path)), 0)
        self.position = self.control.register(name, oldest)
        self.journal_id = self.control.journal_id()
        self._readable = ReadableEnd(path)
        self._cursor: SegmentCursor | None = None
        self._sealed_before: int | None = None
        self._floor = 0
        self._listed_s = 0.0
        self._missing: list[range] = []

    def close(self) -> None:
        self._close_cursor()
        self._readable.close()
        self.control.close()

    def commit(self, position: int) -> None:
        """Say that all entries before `position` are done with; durable in the control state."""
        self.control.commit(self.name, position)

    def seek(self, position: int) -> None:
        """Go on at `position`: back to read again, or forward."""
        self._close_cursor()
        self.position, self._floor = position, 0

    def fits(self, offset: int, crc32c: int | None) -> bool:
        """Whether the journal may go on at `offset`, behind an entry whose value has the checksum `crc32c`.

        False when that entry is another one, or when the journal ends before it.
        """
        if offset == 0:
            return True
        self.seek(offset - 1)
        entries = self.read(1)
        self.take_missing()
        self.seek(offset)
        if not entries:
            return self.control.next_offset_min() >= offset
        return entries[0].offset >= offset or crc32c in (None, entries[0].record.crc32c)

    def take_missing(self) -> list[range]:
        """Ranges of offsets that `read` had to pass over since the last call: damaged, or trimmed before we came."""
        missing, self._missing = self._missing, []
        return missing

    def read(self, bytes_max: int = 16 << 20) -> list[Entry]:
        """The next entries, about `bytes_max` of them and at least one; [] at the end. Cheap to poll there."""
        readable_before = self._readable.offset()
        while True:
            if self._cursor is None and not self._open_cursor():
                return []
            assert self._cursor is not None
            if entries := self._cursor.read(bytes_max, self._sealed_before, readable_before):
                if kept := self._from_position(entries):
                    return kept
            elif self._cursor.is_bounded:
                return []
            elif self._sealed_before is not None:
                self._floor = self._sealed_before
                self._close_cursor()
            elif self._cursor.removed:
                self._close_cursor()
            else:
                self._sealed_before = self._successor(self._cursor)
                if self._sealed_before is None:
                    return []

    def _from_position(self, entries: list[Entry]) -> list[Entry]:
        """Leave out what lies before `position`; note what is missing before and between the rest."""
        kept = [entry for entry in entries if entry.offset >= self.position]
        for entry in kept:
            if entry.offset > self.position and era_of(entry.offset) == era_of(self.position):
                self._missing.append(range(self.position, entry.offset))
            self.position = entry.offset + 1
        return kept

    def _open_cursor(self) -> bool:
        """Open the segment that holds `position`, or the first one behind it; False when there is none."""
        offset = max(self.position, self._floor)
        while segments := list_segments(self.path):
            index = max(sum(first_offset <= offset for first_offset, _ in segments) - 1, 0)
            first_offset, path = segments[index]
            try:
                self._cursor = SegmentCursor(path, first_offset)
            except FileNotFoundError:  # trimmed since we listed
                continue
            self._sealed_before = segments[index + 1][0] if index + 1 < len(segments) else None
            return True
        return False

    def _close_cursor(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._cursor, self._sealed_before = None, None

    def _successor(self, cursor: SegmentCursor) -> int | None:
        """First offset of the segment after the cursor's, or None while there is none."""
        expected = cursor.next_offset
        if expected > cursor.first_offset and segment_path(self.path, expected).exists():
            return expected
        now_s = time.monotonic()
        if now_s < self._listed_s + _LIST_EVERY_S:
            return None
        self._listed_s = now_s
        later = [first_offset for first_offset, _ in list_segments(self.path) if first_offset > cursor.first_offset]
        return later[0] if later else None
