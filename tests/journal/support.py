"""Small steps that the journal's tests share."""

from __future__ import annotations

from pathlib import Path

from codec.records import Record
from sinks.journal import Entry, Journal, JournalReader

PINNED = ("reader",)


def open_small(folder: Path, *, segment_bytes: int = 4096, segments_max: int = 1000) -> Journal:
    """A journal of small segments, whose disk is never too full."""
    journal = Journal.open(folder, bytes_max=segment_bytes * segments_max, free_bytes_min=0, readers=PINNED)
    journal._segment_bytes = segment_bytes
    return journal


def write_journal(folder: Path, appends: list[list[Record]], *, segment_bytes: int = 4096) -> None:
    journal = open_small(folder, segment_bytes=segment_bytes)
    for records in appends:
        journal.append(records)
    journal.close()


def read_all(folder: Path, bytes_max: int = 1 << 20) -> tuple[list[Entry], list[range]]:
    """Every entry that a new pass of `reader` sees, and the offsets it had to pass over."""
    reader = JournalReader(folder, PINNED[0])
    entries: list[Entry] = []
    while more := reader.read(bytes_max):
        entries += more
    missing = reader.take_missing()
    reader.close()
    return entries, missing


def segment_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.seg"))


def cut_into_appends(records: list[Record], size: int = 3) -> list[list[Record]]:
    return [records[i : i + size] for i in range(0, len(records), size)]
