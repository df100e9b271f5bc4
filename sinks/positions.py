"""How far a place is stored, and which blocks come next: what a log keeps beside a position, as text.

Whoever takes a place over reads from it which blocks may be half inserted, and inserts those very
blocks again under their tokens. Anything else that could be cut from the same records would be
another block to ClickHouse, and its rows would be there twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from codec.records import RecordKind

NOTE_BYTES_MAX = 4096
"""Kafka's `offset.metadata.max.bytes`, unless somebody changed it."""
ORIGINS_MAX = 8
ORIGIN_REMEMBERED_S = 24 * 3600
"""How long live rows of one origin may still repeat those of another that went silent."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class BlockName:
    """What tells a block from any other of its place.

    Attributes
    ----------
    first, last : offsets of its first and last record
    rows : in its records
    crc32c : of the checksums of its records
    """

    first: int
    last: int
    rows: int
    crc32c: int

    def token(self, topic: str, partition: int) -> str:
        """topic/partition/first-last/rows/crc: the same records have the same token, others another."""
        return f"{topic}/{partition}/{self.first}-{self.last}/{self.rows}/{self.crc32c:08x}"


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """The last record that is stored: a log that has another one at this offset is another log."""

    offset: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class Origin:
    """A journal of a worker that wrote into a place: only within one are repeats dropped before Kafka.

    Attributes
    ----------
    name : `origin_name` of worker and journal
    first_s, last_s : when its first and its newest record were received, unix s
    """

    name: str
    first_s: int
    last_s: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a place is stored.

    Attributes
    ----------
    next_offset : everything before it is stored
    last : the last stored record; None when there is none
    origins : that wrote what is stored, oldest first
    intents : blocks from `next_offset` on whose insert may have begun, in order
    doubtful_before : rows of records before this offset may be stored, though no position says so
    """

    next_offset: int
    last: StoredRecord | None = None
    origins: tuple[Origin, ...] = ()
    intents: tuple[BlockName, ...] = ()
    doubtful_before: int = 0

    def note(self) -> str:
        """Everything but `next_offset`, as text."""
        note: dict[str, object] = {"v": _VERSION}
        if self.last is not None:
            note["last"] = [self.last.offset, self.last.crc32c]
        if self.origins:
            note["origins"] = [[origin.name, origin.first_s, origin.last_s] for origin in self.origins]
        if self.intents:
            note["intents"] = [[name.first, name.last, name.rows, name.crc32c] for name in self.intents]
        if self.doubtful_before:
            note["doubtful"] = self.doubtful_before
        text = json.dumps(note, separators=(",", ":"))
        assert len(text) <= NOTE_BYTES_MAX
        return text


def position_of(next_offset: int, note: str) -> Position | None:
    """The position that `note` is kept with; None when the note is none of ours: somebody set the position."""
    try:
        values = json.loads(note)
        if values["v"] != _VERSION:
            return None
        last = values.get("last")
        return Position(
            next_offset,
            StoredRecord(*last) if last is not None else None,
            tuple(Origin(*origin) for origin in values.get("origins", ())),
            tuple(BlockName(*name) for name in values.get("intents", ())),
            values.get("doubtful", 0),
        )
    except (ValueError, TypeError, KeyError):
        return None


def origin_name(worker: str, journal_id: str) -> str:
    """A short name for a journal of a worker."""
    return hashlib.blake2b(f"{worker}/{journal_id}".encode(), digest_size=8).hexdigest()


def with_origins(origins: Sequence[Origin], seen: Sequence[tuple[str, int]]) -> tuple[Origin, ...]:
    """`origins` after records of these (name, unix s of receipt)."""
    known = {origin.name: origin for origin in origins}
    for name, received_s in seen:
        before = known.get(name) or Origin(name, received_s, received_s)
        known[name] = Origin(name, before.first_s, max(before.last_s, received_s))
    newest = sorted(known.values(), key=lambda origin: origin.last_s)[-ORIGINS_MAX:]
    return tuple(sorted(newest, key=lambda origin: (origin.first_s, origin.name)))


def may_repeat(origins: Sequence[Origin], name: str, kind: RecordKind, received_s: int) -> bool:
    """Whether a record's rows may be stored already, under the name of another origin.

    A second worker that takes symbols over pulls what the first one has already sent. Pulled rows
    may repeat anything; live ones what the other sent at the same time.
    """
    others = [origin for origin in origins if origin.name != name]
    if not others:
        return False
    if kind is not RecordKind.LIVE:
        return True
    began_s = next((origin.first_s for origin in origins if origin.name == name), received_s)
    both_s = max(began_s, *(origin.last_s for origin in others))
    return received_s < both_s + ORIGIN_REMEMBERED_S
