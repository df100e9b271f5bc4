"""Segment files: their names, their headers, and reading one from front to back.

A segment is named after the offset of its first entry, and begins with a header that says whose it
is. It is only ever appended to; when the next segment exists it is sealed.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from sinks.journal.entries import HEADER_AND_NAMES_BYTES_MAX, MAGIC, Entry, Trouble, era_of, parse

SEGMENT_BYTES = 64 << 20

_HEADER = struct.Struct("<8s16sQQ")
_CRC = struct.Struct("<I")
_HEADER_MAGIC = b"tTseg\0\0\x01"
SEGMENT_HEADER_BYTES = _HEADER.size + _CRC.size

_NAME = re.compile(r"(\d{20})\.seg")
_SEARCH_BYTES = 4 << 20
"""How much is looked through at a time for the next entry behind a damaged part."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Whose a segment is, and what came before it."""

    journal_id: str
    first_offset: int
    rows_before: int

    def encode(self) -> bytes:
        head = _HEADER.pack(_HEADER_MAGIC, bytes.fromhex(self.journal_id), self.first_offset, self.rows_before)
        return head + _CRC.pack(google_crc32c.value(head))

    @classmethod
    def decode(cls, head: bytes) -> SegmentHeader | None:
        """None when the header is damaged; the entries behind it may still be whole."""
        if (
            len(head) < SEGMENT_HEADER_BYTES
            or google_crc32c.value(head[: _HEADER.size]) != _CRC.unpack_from(head, _HEADER.size)[0]
        ):
            return None
        magic, journal_id, first_offset, rows_before = _HEADER.unpack_from(head)
        return cls(journal_id.hex(), first_offset, rows_before) if magic == _HEADER_MAGIC else None


@dataclass(frozen=True, slots=True)
class DamagedPart:
    """Bytes start_byte ≤ byte < end_byte of a segment that hold no whole entry.

    `offsets` are lost with them; empty when no entry was lost, or when nothing tells how many were.
    """

    segment: Path
    start_byte: int
    end_byte: int
    offsets: range

    @property
    def set_aside(self) -> Path:
        """Where a copy of the damaged bytes is kept."""
        return self.segment.with_name(f"{self.segment.name}.damaged-{self.start_byte}")


def segment_path(folder: Path, first_offset: int) -> Path:
    return folder / f"{first_offset:020}.seg"


def list_segments(folder: Path) -> list[tuple[int, Path]]:
    """(first offset, path) of each segment in `folder`, ascending."""
    found = [match for match in map(_NAME.fullmatch, os.listdir(folder)) if match]
    return sorted((int(match[1]), folder / match[0]) for match in found)


def read_segment_header(path: Path) -> SegmentHeader | None:
    with open(path, "rb") as file:
        return SegmentHeader.decode(file.read(SEGMENT_HEADER_BYTES))


class SegmentCursor:
    """Reads one segment forward, however it is damaged, while it may be growing.

    Attributes
    ----------
    position : index of the next unread byte of the file; entries lie whole on one side of it
    next_offset : the offset expected there
    rows_total : of the last entry read; the segment's `rows_before` at its start
    damaged : the parts skipped so far, in order
    """

    def __init__(self, path: Path, first_offset: int) -> None:
        """Raises FileNotFoundError when the segment was trimmed away."""
        self.path = path
        self.first_offset = self.next_offset = first_offset
        self.damaged: list[DamagedPart] = []
        self._fd = os.open(path, os.O_RDONLY)
        self.header = SegmentHeader.decode(os.pread(self._fd, SEGMENT_HEADER_BYTES, 0))
        self.rows_total = self.header.rows_before if self.header else 0
        self.position = SEGMENT_HEADER_BYTES
        if self.header is None:
            self.damaged.append(DamagedPart(path, 0, SEGMENT_HEADER_BYTES, range(0)))
        self._stopped_at: tuple[int, int] | None = None
        self._readable_before: int | None = None
        self._is_bounded = False
        self._buffer = bytearray()

    def close(self) -> None:
        os.close(self._fd)

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    @property
    def is_bounded(self) -> bool:
        """Whether the last `read` stopped because what follows may not be read yet."""
        return self._is_bounded

    @property
    def removed(self) -> bool:
        """Whether the file is gone from its folder: trimmed, or replaced by a segment of the same name."""
        return os.fstat(self._fd).st_nlink == 0

    def read(self, bytes_max: int, sealed_before: int | None, readable_before: int | None = None) -> list[Entry]:
        """Entries from `position` on, about `bytes_max` of them; [] when there are no more for now.

        `sealed_before` is the first offset of the next segment, or None while there is none. In a
        sealed segment what lies at or past it belongs to an append that failed, and whatever does
        not verify is damaged. In the one being written, what does not verify and has nothing whole
        behind it is its torn tail, and an append that is not whole yet is left for later, as is what
        does not lie before `readable_before`.
        """
        state = os.fstat(self._fd)
        size, version = state.st_size, (state.st_size, state.st_mtime_ns)
        entries: list[Entry] = []
        if sealed_before is None and version == self._stopped_at:
            return entries
        self._readable_before, self._is_bounded = readable_before, False
        while self.position < size and not entries:
            if not self._read_chunk(entries, min(bytes_max, size - self.position), size, sealed_before):
                self._stopped_at = None if self._is_bounded else version
                break
        if not entries and not self._is_bounded and sealed_before is not None and self._lacks(sealed_before):
            self._pass_damage(max(size, self.position), sealed_before)  # the file was cut between two entries
        return entries

    def _lacks(self, sealed_before: int) -> bool:
        """Whether entries are missing at the end of a sealed segment. What the next era skips never was."""
        return self.next_offset < sealed_before and era_of(self.next_offset) == era_of(sealed_before)

    def _read_chunk(self, entries: list[Entry], chunk_bytes: int, size: int, sealed_before: int | None) -> bool:
        """Read on by one chunk; False when there is nothing more to be had from a file of `size` bytes."""
        base, index = self.position, 0
        chunk = self._load(chunk_bytes, base)
        while index < len(chunk):
            found = parse(chunk, index)
            end_byte = base + found.end
            if found.trouble is Trouble.SHORT and end_byte <= size:
                if index:
                    return True  # the next chunk begins with this entry
                chunk = self._load(found.end, base)
                if len(chunk) < found.end:
                    return False  # cut while we read
                continue
            if found.offset < self.next_offset:  # its header is damaged, or a stray from elsewhere
                return self._skip_damage(size, sealed_before)
            if self._readable_before is not None and found.offset >= self._readable_before:
                self._is_bounded = True
                return False
            if sealed_before is None:
                if end_byte + found.append_left_bytes > size:
                    return False
            elif found.offset >= sealed_before:
                return False
            elif end_byte > size:
                self._pass_damage(size, sealed_before)
                return False
            if found.entry is None:
                self._pass_damage(end_byte, found.offset + 1)
            else:
                entries.append(found.entry)
                self.rows_total = found.entry.rows_total
                self.next_offset, self.position = found.offset + 1, end_byte
            index = end_byte - base
        return True

    def _load(self, size: int, start: int) -> memoryview:
        """Up to `size` bytes of the file from `start` on, valid until the next call.

        One buffer is used again and again: fresh memory for each chunk would cost more than reading it.
        """
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        loaded = os.preadv(self._fd, [memoryview(self._buffer)[:size]], start)
        return memoryview(self._buffer)[:loaded]

    def _skip_damage(self, size: int, sealed_before: int | None) -> bool:
        """Move to the next whole header; False when there is none and what is here is a torn tail."""
        start = self.position + 1
        while start < size:
            window = os.pread(self._fd, _SEARCH_BYTES, start)
            at = window.find(MAGIC)
            if at < 0:
                start += max(len(window) - len(MAGIC) + 1, 1)
                continue
            found = parse(memoryview(os.pread(self._fd, HEADER_AND_NAMES_BYTES_MAX, start + at)), 0)
            if found.offset >= self.next_offset and (sealed_before is None or found.offset < sealed_before):
                self._pass_damage(start + at, found.offset)
                return True
            start += at + 1
        if sealed_before is None:
            return False
        self._pass_damage(size, sealed_before)
        return True

    def _pass_damage(self, end_byte: int, next_offset: int) -> None:
        is_counted = era_of(self.next_offset) == era_of(next_offset)
        lost = range(self.next_offset, next_offset) if is_counted else range(0)
        self.damaged.append(DamagedPart(self.path, self.position, end_byte, lost))
        self.next_offset, self.position = next_offset, end_byte
