"""Opening a journal that a crash, a power cut or a bad disk may have left behind."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from sinks.journal.control import CONTROL_FILE, ControlState
from sinks.journal.entries import Entry, Trouble, era_of, parse
from sinks.journal.errors import ControlStateError, JournalUnreadable
from sinks.journal.segments import (
    SEGMENT_HEADER_BYTES,
    DamagedPart,
    SegmentCursor,
    list_segments,
    read_segment_header,
)

_COPY_BYTES = 4 << 20
_READ_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class LostEntries:
    """Entries that were in the journal and can be read no more.

    Attributes
    ----------
    offsets : theirs
    from_ns, to_ns : event time of the last row before them and of the first behind them, unix ns; None at an end
    """

    offsets: range
    from_ns: int | None
    to_ns: int | None


@dataclass(slots=True)
class OpenReport:
    """What opening a journal found amiss: for the log, and for the loss ledger.

    Attributes
    ----------
    torn_bytes : of an append that a crash cut short, removed from the end; it was never acknowledged
    damaged : parts newly found damaged, each copied to its `set_aside`; with the offsets lost in it
    lost : all that is lost of what some reader has yet to read, found now or by an earlier start
    control_set_aside : where the unreadable control state was moved; all readers start over then
    """

    torn_bytes: int = 0
    damaged: list[DamagedPart] = field(default_factory=list)
    lost: list[LostEntries] = field(default_factory=list)
    control_set_aside: Path | None = None

    @property
    def clean(self) -> bool:
        return not (self.torn_bytes or self.damaged or self.control_set_aside)


@dataclass(slots=True)
class Recovered:
    """Where a journal stands.

    `segments` holds (first offset, size in bytes), ascending; `appendable` says whether the last
    one may be appended to, or a new one must begin.
    """

    next_offset: int = 0
    rows_total: int = 0
    segments: list[tuple[int, int]] = field(default_factory=list)
    appendable: bool = False


def open_control(folder: Path, report: OpenReport) -> ControlState:
    """The control state; an unreadable one is set aside and begun anew."""
    try:
        return ControlState(folder)
    except ControlStateError as error:
        if isinstance(error.__cause__, sqlite3.OperationalError):  # busy or no room: nothing is damaged
            raise
    path = folder / CONTROL_FILE
    report.control_set_aside = _unused(folder / f"{CONTROL_FILE}.damaged")
    path.rename(report.control_set_aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return ControlState(folder)


def _unused(path: Path) -> Path:
    number = 0
    while (candidate := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return candidate


def id_of_segments(folder: Path) -> str | None:
    """The journal id that the segments carry, or None when there is none to be read.

    Raises
    ------
    JournalUnreadable : they are of more than one journal
    """
    headers = [read_segment_header(path) for _, path in list_segments(folder)]
    ids = sorted({header.journal_id for header in headers if header})
    if len(ids) > 1:
        raise JournalUnreadable(folder, f"it holds segments of several journals ({', '.join(ids)})")
    return ids[0] if ids else None


def recover(folder: Path, oldest_needed: int, report: OpenReport) -> Recovered:
    """Verify every entry that some reader has yet to read, and cut off a torn tail.

    Costs about one second a GiB of such entries. What all readers have passed is not looked at.

    Raises
    ------
    JournalUnreadable : not one entry and not one segment header verifies; nothing was changed
    """
    found = list_segments(folder)
    needed = [i for i in range(len(found)) if i + 1 == len(found) or found[i + 1][0] > oldest_needed]
    state = Recovered()
    cursors: list[SegmentCursor] = []
    last: Entry | None = None
    next_offset = found[needed[0]][0] if needed else 0
    readable = not any(path.stat().st_size for _, path in found)
    try:
        for i in needed:
            sealed_before = found[i + 1][0] if i + 1 < len(found) else None
            cursor = SegmentCursor(found[i][1], found[i][0])
            cursors.append(cursor)
            while entries := cursor.read(_READ_BYTES, sealed_before):
                readable = True
                next_offset = _note_lost(entries, next_offset, last, report)
                last = entries[-1]
            readable = readable or cursor.header is not None
            state.rows_total = max(state.rows_total, cursor.rows_total)
        if not readable:
            raise JournalUnreadable(folder, "neither a segment's header nor an entry in it verifies")
        for cursor in cursors:
            _set_aside_damage(cursor.damaged, report)
        if cursors:
            state.next_offset = cursors[-1].next_offset
            if state.next_offset > next_offset and era_of(state.next_offset) == era_of(next_offset):
                report.lost.append(LostEntries(range(next_offset, state.next_offset), _last_ts_ns(last), None))
            state.appendable = _mend_tail(cursors[-1], report)
    finally:
        for cursor in cursors:
            cursor.close()
    state.segments = [(first_offset, path.stat().st_size) for first_offset, path in list_segments(folder)]
    return state


def _note_lost(entries: list[Entry], next_offset: int, last: Entry | None, report: OpenReport) -> int:
    """Note what is missing before each of `entries`, of which `next_offset` should be the first; what should follow."""
    for entry in entries:
        if entry.offset > next_offset and era_of(entry.offset) == era_of(next_offset):
            lost = range(next_offset, entry.offset)
            report.lost.append(LostEntries(lost, _last_ts_ns(last), entry.record.first_ts_ns))
        next_offset, last = entry.offset + 1, entry
    return next_offset


def _last_ts_ns(entry: Entry | None) -> int | None:
    return entry.record.last_ts_ns if entry is not None else None


def _mend_tail(last: SegmentCursor, report: OpenReport) -> bool:
    """Cut off what follows the last whole append; False when there was anything.

    A segment that holds nothing then is removed: its successor will bear its name.
    """
    size = last.size_bytes
    if size == last.position:
        return True
    if size > last.position:
        with open(last.path, "rb") as file:
            file.seek(last.position)
            found = parse(memoryview(file.read(_READ_BYTES)), 0)
        if found.trouble is Trouble.DAMAGED_HEADER:  # no append that was cut short begins like this
            _set_aside_damage([DamagedPart(last.path, last.position, size, range(0))], report)
        else:
            report.torn_bytes += size - last.position
    if last.next_offset == last.first_offset:
        last.path.unlink()
    else:
        os.truncate(last.path, last.position)
    return False


def _set_aside_damage(parts: list[DamagedPart], report: OpenReport) -> None:
    """Copy damaged bytes beside their segment, which will be trimmed one day; report each part once."""
    for part in parts:
        if part.set_aside.exists():
            continue
        unfinished = part.set_aside.with_name(f"{part.set_aside.name}.new")
        with open(part.segment, "rb") as source, open(unfinished, "wb") as copy:
            source.seek(part.start_byte)
            left_bytes = part.end_byte - part.start_byte
            while left_bytes and (data := source.read(min(left_bytes, _COPY_BYTES))):
                left_bytes -= copy.write(data)
        unfinished.rename(part.set_aside)
        report.damaged.append(part)


assert SEGMENT_HEADER_BYTES < _READ_BYTES
