"""The journal's one appender.

Rule 1: what `append` returned from survives the loss of this process (with durability "power": of
the machine's power). Rule 2: an append is kept whole or not at all. Rule 3: no offset that anybody
may have read is ever given to another entry, even if the disk lost the end of the journal since:
after each start of the machine offsets go on in a new era, 2^32 further.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

from codec.records import Record
from sinks.journal.control import sync_path
from sinks.journal.entries import encode_append, era_of
from sinks.journal.errors import JournalFull, JournalUnreadable, JournalWriteFailed
from sinks.journal.guards import FolderLock, boot_id, refuse_network_file_system
from sinks.journal.recovery import OpenReport, Recovered, id_of_segments, open_control, recover
from sinks.journal.segments import SEGMENT_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, list_segments, segment_path
from sinks.journal.synced import SyncedMark

Durability = Literal["process", "power"]

_SEGMENTS_MIN = 4
"""A full journal holds at least so many segments, so that what was read can be trimmed before all of it was."""
_PARTS_MAX = os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 1024


class Journal:
    """Appends records to segment files. Blocking; one thread at a time does the work, any may call.

    Attributes
    ----------
    path : the folder
    id : 32 hex digits, made with the journal
    worker : the worker's name: as configured, or made once and kept
    next_offset : of the next entry; entries are numbered densely from 0 until the machine is started anew
    rows_total : rows appended since the journal was made
    size_bytes : of all segments
    report : what opening found amiss
    control : positions and snapshots
    appended : called after each append, from the appending thread
    """

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int,
        free_bytes_min: int,
        durability: Durability,
        worker: str,
        readers: Sequence[str],
    ) -> None:
        self.path = path
        self.report = OpenReport()
        self.appended: list[Callable[[], None]] = []
        self._bytes_max, self._free_bytes_min = bytes_max, free_bytes_min
        self._segment_bytes = min(SEGMENT_BYTES, bytes_max // _SEGMENTS_MIN)
        self._durable = durability == "power"
        self._mutex = threading.Lock()
        self._fd: int | None = None
        try:
            made = [each for each in (path, *path.parents) if not each.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for each in made:
                sync_path(each.parent)
            refuse_network_file_system(path)
            self._folder_lock = FolderLock(path)
        except OSError as error:
            raise JournalWriteFailed(path, error) from error
        try:
            self._recover(worker, readers)
        except OSError as error:
            self._folder_lock.release()
            raise JournalUnreadable(path, str(error)) from error
        except BaseException:
            self._folder_lock.release()
            raise

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        bytes_max: int = 20 << 30,
        free_bytes_min: int = 2 << 30,
        durability: Durability = "process",
        worker: str = "",
        readers: Sequence[str] = (),
    ) -> Self:
        """Open the journal in folder `path`, making it when there is none.

        `readers` are those that trimming waits for from the start. One that is registered but not
        named here counts again as soon as it registers or commits: a reader that was configured
        away pins nothing, one that lives loses nothing.

        Raises
        ------
        JournalLocked, JournalOnNetworkFileSystem, JournalUnreadable, JournalWriteFailed
        """
        return cls(
            path,
            bytes_max=bytes_max,
            free_bytes_min=free_bytes_min,
            durability=durability,
            worker=worker,
            readers=readers,
        )

    def _recover(self, worker: str, readers: Sequence[str]) -> None:
        known_id = id_of_segments(self.path)
        self.control = open_control(self.path, self.report)
        try:
            self.id = self.control.journal_id(known_id)
            if known_id not in (None, self.id):
                raise JournalUnreadable(
                    self.path, f"its control state is of journal {self.id}, its segments of {known_id}"
                )
            self.worker = worker or self.control.worker()
            found = list_segments(self.path)
            oldest = next((first_offset for first_offset, _ in found), 0)
            self.control.begin_era(boot_id(), era_of(found[-1][0]) if found else None)
            self.control.pin_only(tuple(readers))
            for name in readers:
                self.control.register(name, oldest)
            # Before anything can be read: what goes to others names the worker, the journal, and its offsets.
            self.control.sync()
            self._resume(recover(self.path, min(self.control.positions().values(), default=oldest), self.report))
        except BaseException:
            self.control.close()
            raise

    def _resume(self, state: Recovered) -> None:
        """Go on behind the last entry, and behind whatever a reader saw that the disk has lost since."""
        self.next_offset = max(state.next_offset, self.control.next_offset_min())
        self.rows_total = state.rows_total
        self._segments = state.segments
        self.size_bytes = sum(size for _, size in self._segments)
        if state.appendable and self.next_offset == state.next_offset:
            self._fd = os.open(segment_path(self.path, self._segments[-1][0]), os.O_WRONLY | os.O_APPEND)
        self._synced = SyncedMark(self.path, wanted=self._durable)
        if self._durable:
            for first_offset, _ in self._segments:  # whoever wrote them may have left that to the system
                sync_path(segment_path(self.path, first_offset))
            sync_path(self.path)
            self._synced.move(self.next_offset)

    def close(self) -> None:
        """Give the folder up. What was appended stays."""
        with self._mutex:
            self._close_segment()
            self._synced.close()
            self.control.close()
            self._folder_lock.release()

    def append(self, records: Sequence[Record]) -> range:
        """Keep `records`, all or none; their offsets.

        Raises
        ------
        JournalFull, JournalWriteFailed : nothing was kept; the same records may be appended again
        ValueError : a record breaks the format's limits
        """
        with self._mutex:
            parts, total_bytes = encode_append(records, self.next_offset, self.rows_total)
            self._make_room(total_bytes)
            if self._fd is None or self._segments[-1][1] + total_bytes > self._segment_bytes:
                self._roll()
            self._write(parts, total_bytes)
            offsets = range(self.next_offset, self.next_offset + len(records))
            self.next_offset = offsets.stop
            if self._durable:
                self._synced.move(offsets.stop)
            self.rows_total += sum(record.rows for record in records)
        for wake in self.appended:
            wake()
        return offsets

    def trim(self) -> None:
        """Remove whole segments that every reader has passed. Without readers nothing is removed."""
        with self._mutex:
            self._trim()

    def _trim(self) -> None:
        passed = min(self.control.positions().values(), default=0)
        if len(self._segments) > 1 and self._segments[1][0] <= passed:
            self.control.sync()  # or a power cut could take positions back to before what is removed
        while len(self._segments) > 1 and self._segments[1][0] <= passed:
            first_offset, size = self._segments[0]
            segment_path(self.path, first_offset).unlink(missing_ok=True)
            del self._segments[0]
            self.size_bytes -= size

    def _make_room(self, total_bytes: int) -> None:
        if self._why_full(total_bytes) is None:
            return
        self._trim()
        if reason := self._why_full(total_bytes):
            raise JournalFull(self.path, reason)

    def _why_full(self, total_bytes: int) -> str | None:
        if self.size_bytes + total_bytes > self._bytes_max:
            return f"{self.size_bytes + total_bytes} B would exceed journal.max_bytes = {self._bytes_max} B"
        disk = os.statvfs(self.path)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes - total_bytes < self._free_bytes_min:
            return f"the disk has {free_bytes} B left, journal.min_free_bytes = {self._free_bytes_min} B"
        return None

    def _close_segment(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _roll(self) -> None:
        """Begin a new segment; it appears under its name only with its header."""
        self._close_segment()
        self._drop_empty_segment()
        path = segment_path(self.path, self.next_offset)
        unfinished = path.with_suffix(".new")
        try:
            fd = os.open(unfinished, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                header = SegmentHeader(self.id, self.next_offset, self.rows_total).encode()
                if os.write(fd, header) != len(header):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if self._durable:
                    os.fsync(fd)
                os.rename(unfinished, path)
                if self._durable:
                    sync_path(self.path)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            raise self._failure(error) from error
        self._fd = fd
        self._segments.append((self.next_offset, SEGMENT_HEADER_BYTES))
        self.size_bytes += SEGMENT_HEADER_BYTES
        self._trim()

    def _drop_empty_segment(self) -> None:
        """A last segment without an entry would share its name with the next one: that one replaces it."""
        if self._segments and self._segments[-1][0] == self.next_offset:
            self.size_bytes -= self._segments.pop()[1]

    def _write(self, parts: list[bytes], total_bytes: int) -> None:
        """Write one append to the last segment; on any failure cut it back to where it was."""
        assert self._fd is not None
        first_offset, size = self._segments[-1]
        try:
            _write_parts(self._fd, parts)
            if self._durable:
                os.fdatasync(self._fd)
        except OSError as error:
            self._undo(size)
            raise self._failure(error) from error
        self._segments[-1] = (first_offset, size + total_bytes)
        self.size_bytes += total_bytes

    def _undo(self, size: int) -> None:
        """Cut off what a failed append left; if even that fails, seal the segment where readers stop before it."""
        assert self._fd is not None
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            self._close_segment()

    def _failure(self, error: OSError) -> JournalFull | JournalWriteFailed:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return JournalFull(self.path, os.strerror(error.errno))
        return JournalWriteFailed(self.path, error)


def _write_parts(fd: int, parts: list[bytes]) -> None:
    """Write all of `parts`; one system call unless there are very many, or the disk takes only some."""
    for i in range(0, len(parts), _PARTS_MAX):
        group = parts[i : i + _PARTS_MAX]
        written = os.writev(fd, group)
        if written < sum(map(len, group)):
            rest = memoryview(b"".join(group))[written:]
            while rest:  # the next write says what stopped the first
                rest = rest[os.write(fd, rest) :]
