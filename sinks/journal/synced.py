"""How much of a journal will survive a power cut: what readers may hand out when that is promised.

Without it a reader could pass an entry on between its write and its fsync. A power cut then takes
it from the journal while others have it, and its offset would be given again.

A file of eight bytes beside the segments, written after each fsync and read at each poll. After a
power cut it may hold anything: the appender writes it anew when it opens the journal.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_FILE = "synced"
_OFFSET = struct.Struct("<Q")
_EVERYTHING = (1 << 64) - 1


class SyncedMark:
    """The appender's side."""

    def __init__(self, folder: Path, *, wanted: bool) -> None:
        """Without being `wanted` nothing is made; what is there no longer holds anybody back."""
        path = folder / _FILE
        self._fd: int | None = None
        if wanted or path.exists():
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            self.move(0 if wanted else _EVERYTHING)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def move(self, next_offset: int) -> None:
        """All entries before `next_offset` are durable."""
        assert self._fd is not None, "wanted by whoever moves it"
        os.pwrite(self._fd, _OFFSET.pack(next_offset), 0)


class ReadableEnd:
    """A reader's side."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._fd: int | None = None

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def offset(self) -> int | None:
        """Entries from here on are not to be read yet; None when all may be."""
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError:  # a journal that promises nothing of power cuts
                return None
        data = os.pread(self._fd, _OFFSET.size, 0)
        offset: int = _OFFSET.unpack(data)[0] if len(data) == _OFFSET.size else 0
        return None if offset == _EVERYTHING else offset
