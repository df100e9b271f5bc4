"""Looking through a journal from any process, without being one of its readers: nothing waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sinks.journal.control import CONTROL_FILE, ControlState
from sinks.journal.entries import Entry
from sinks.journal.errors import JournalNotFound
from sinks.journal.segments import SegmentCursor, list_segments

_READ_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """What its control state says of a journal.

    Attributes
    ----------
    id : 32 hex digits
    positions : of each reader, the offset of the next entry it will read
    snapshot : what was kept under the asked name, with the offset up to which it holds; None when nothing was
    """

    id: str
    positions: dict[str, int]
    snapshot: tuple[int, bytes] | None


def journal_facts(path: Path, snapshot: str) -> JournalFacts:
    """Read the control state of the journal in `path`.

    Raises
    ------
    JournalNotFound : there is no journal in `path`
    ControlStateError : it cannot be read now
    """
    if not (path / CONTROL_FILE).exists():
        raise JournalNotFound(path)
    control = ControlState(path)
    try:
        return JournalFacts(control.journal_id(), control.positions(), control.get_snapshot(snapshot))
    finally:
        control.close()


def kept_segments(path: Path, since_s: float) -> tuple[list[tuple[int, Path]], bool]:
    """The segments that were written to after unix second `since_s`, and whether they begin where it does.

    They do not when what was written since then may have been trimmed.
    """
    segments = list_segments(path)
    kept = [segment for segment in segments if _written_s(segment[1]) >= since_s]
    return kept, len(kept) < len(segments) or not segments or segments[0][0] == 0


def _written_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # trimmed since we listed
        return 0.0


def entries_of(segments: list[tuple[int, Path]]) -> Iterator[Entry]:
    """Every whole entry of `segments`, ascending, as far as they are written now."""
    for index, (first_offset, path) in enumerate(segments):
        try:
            cursor = SegmentCursor(path, first_offset)
        except FileNotFoundError:  # trimmed since we listed
            continue
        sealed_before = segments[index + 1][0] if index + 1 < len(segments) else None
        try:
            while entries := cursor.read(_READ_BYTES, sealed_before):
                yield from entries
        finally:
            cursor.close()
