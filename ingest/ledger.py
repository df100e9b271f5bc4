"""The loss ledger: holes in what we received, from the moment one may be there to its end.

A symbol has one hole at a time; what else goes wrong while it is open belongs to it. Most ends of
connections miss nothing, and a ledger full of those would hide the others: a quiet hole (`QUIET`) is
written only when a tick behind it goes into the journal while nobody knows yet what is missing, or
when it ends with something to say. Any other hole is written when it opens.

Pure: rows come out, time goes in.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from codec.counter import TickAt
from ingest.missing import MissingRange, ticks_in, without

CAUSE_RECONNECT = "reconnect"
CAUSE_DOWN = "down"
CAUSE_LATE_START = "late_start"
CAUSE_SEQUENCE_STEP = "sequence_step"
CAUSE_BY_DISCONNECT = "by_disconnect_capped"
CAUSE_BACKFILL = "backfill_capped"
CAUSE_SILENCE = "silence"
CAUSE_DECODE_ERROR = "decode_error"
CAUSE_JOURNAL_FULL = "journal_full"
CAUSE_NOT_LOGGED_IN = "not_logged_in"
CAUSE_GATEWAY_LOST_BACKEND = "gateway_lost_backend"
CAUSE_GATEWAY_RESTART = "gateway_restart"
CAUSE_QUOTE_RIGHT_LOST = "quote_right_lost"
CAUSE_REFUSED = "refused"
QUIET = frozenset((CAUSE_RECONNECT, CAUSE_DOWN, CAUSE_LATE_START, CAUSE_BACKFILL, CAUSE_SILENCE))
COUNTED = frozenset((CAUSE_SEQUENCE_STEP, CAUSE_BY_DISCONNECT))
"""Holes found by the counter while the link stood: they end when it is whole."""
FEED_TICKS = "ticks"

LOSSES_MAX = 8
"""Of one symbol: pulls that bring back older ones are not to be expected."""

OPEN, FILLED, LOST = GAP_STATES = ("open", "filled", "lost")
CERTAIN, SUSPECTED = "certain", "suspected"


@dataclass(frozen=True, slots=True)
class Gap:
    """One version of a hole of one symbol. Times of the exchange in unix µs, ours in unix ns (codec.tables.GAPS)."""

    source: str
    symbol: str
    gateway: str
    cause: str
    from_ts: int | None
    from_sequence: int | None
    opened_at: int
    updated_at: int
    to_ts: int | None = None
    to_sequence: int | None = None
    filled: int = 0
    missing: int | None = None
    certainty: str = SUSPECTED
    state: str = OPEN
    feed: str = FEED_TICKS
    gap_id: str = ""
    """Made of where and when the hole opened: every version has the same."""

    def __post_init__(self) -> None:
        if not self.gap_id:
            text = f"{self.source}|{self.symbol}|{self.feed}|{self.cause}|{self.from_sequence}|{self.opened_at}"
            object.__setattr__(self, "gap_id", hashlib.blake2s(text.encode(), digest_size=12).hexdigest())

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Gap:
        """The version that `row` gave."""
        return cls(**{name: row[name] for name in _COLUMNS})

    def row(self) -> dict[str, object]:
        """This version as a row of `gaps`."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @property
    def from_tick(self) -> TickAt | None:
        """The last tick before the hole."""
        return None if self.from_sequence is None else TickAt(self.from_sequence, self.from_ts or 0)

    @property
    def to_tick(self) -> TickAt | None:
        """The first tick after it."""
        return None if self.to_sequence is None else TickAt(self.to_sequence, self.to_ts or 0)


_COLUMNS = tuple(each.name for each in fields(Gap))


@dataclass(slots=True)
class Hole:
    """A hole that is open.

    Attributes
    ----------
    gap : as it would be written now, but for what is missing
    rows_before, supplied_before : the symbol's rows, and supplied rows, when it opened
    rows_failed : its rows when the link failed us last
    filled : rows that pulls have added
    written : whether the journal knows of it
    doubt : the newest tick when the link first failed us in it: what came of that day behind it, only a
        reply that reaches back can say
    pulls : how many were answered and left something to ask for
    waits : pulls have told nothing of it; the next tick will
    """

    symbol_id: int
    gap: Gap
    rows_before: int
    supplied_before: int
    rows_failed: int
    filled: int = 0
    written: bool = False
    doubt: TickAt | None = None
    pulls: int = 0
    waits: bool = False


@dataclass(slots=True)
class Loss:
    """A hole that ended as lost, the counted ticks that it stands for, and how many came since it was written."""

    gap: Gap
    ranges: list[MissingRange]
    came: int = 0


@dataclass(slots=True)
class LossLedger:
    """The open holes of one source, and how many there were.

    Attributes
    ----------
    holes : the open hole of each symbol that has one
    losses : of each symbol its last holes that ended as lost and counted, oldest first
    counts : of the holes that were written, how many are open, filled, lost
    unnamed : of each symbol the gaps that no record of ticks has named yet
    rows : versions to be written, since `take_rows`
    """

    holes: dict[int, Hole] = field(default_factory=dict)
    losses: dict[int, list[Loss]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    unnamed: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: list[dict[str, object]] = field(default_factory=list)

    def write(self, hole: Hole, gap: Gap) -> None:
        """Write `gap` as the newest version of `hole`, the first or a later one; it ends when it is not open."""
        if not hole.written:
            self.unnamed[hole.symbol_id].append(gap.gap_id)
        else:
            self.counts[OPEN] -= 1
        self.counts[gap.state] += 1
        hole.gap, hole.written = gap, True
        self.rows.append(gap.row())
        if gap.state != OPEN:
            del self.holes[hole.symbol_id]

    def lose(self, hole: Hole, gap: Gap, ranges: Sequence[MissingRange]) -> None:
        """Write the end of a hole whose ticks in `ranges` nobody has any more."""
        self.write(hole, gap)
        if ranges and gap.missing is not None:
            self.remember(hole.symbol_id, Loss(gap, list(ranges)))

    def has_lost(self, symbol_id: int, gap_id: str) -> bool:
        """Whether this is one of the losses that are remembered."""
        return any(loss.gap.gap_id == gap_id for loss in self.losses.get(symbol_id, ()))

    def remember(self, symbol_id: int, loss: Loss) -> None:
        """Ticks of this loss that come after all are to be taken off it."""
        self.losses[symbol_id] = [*self.losses.get(symbol_id, ()), loss][-LOSSES_MAX:]

    def came(self, symbol_id: int, first: TickAt, last: TickAt) -> int:
        """The consecutive ticks `first` to `last` have come; how many of them were said to be lost."""
        total = 0
        for loss in self.losses.get(symbol_id, ()):
            left = without(loss.ranges, first, last)
            came = ticks_in(loss.ranges) - ticks_in(left)
            loss.ranges, loss.came, total = left, loss.came + came, total + came
        return total

    def correct(self, symbol_id: int, now_ns: int) -> None:
        """Write anew what is lost of a symbol, where ticks of it have come."""
        kept = []
        for loss in self.losses.get(symbol_id, ()):
            missing = (loss.gap.missing or 0) - loss.came
            if loss.came:
                self.counts[loss.gap.state] -= 1
                loss.gap = replace(
                    loss.gap,
                    state=LOST if missing else FILLED,
                    missing=missing,
                    filled=loss.gap.filled + loss.came,
                    updated_at=max(now_ns, loss.gap.updated_at + 1),
                )
                loss.came = 0
                self.counts[loss.gap.state] += 1
                self.rows.append(loss.gap.row())
            if missing:
                kept.append(loss)
        self.losses[symbol_id] = kept

    def forget(self, hole: Hole) -> None:
        """It has missed nothing, and nothing was written of it."""
        assert not hole.written
        del self.holes[hole.symbol_id]

    def take_rows(self) -> list[dict[str, object]]:
        """The versions to write, oldest first."""
        rows, self.rows = self.rows, []
        return rows

    def open_by_gateway(self) -> Counter[str]:
        """How many written holes are open, by the gateway that they opened at."""
        return Counter(hole.gap.gateway for hole in self.holes.values() if hole.written)

    def named(self, gap_ids: Iterable[str]) -> None:
        """A record of ticks names these."""
        gone = set(gap_ids)
        for symbol_id in list(self.unnamed):
            self.unnamed[symbol_id] = [each for each in self.unnamed[symbol_id] if each not in gone]
            if not self.unnamed[symbol_id]:
                del self.unnamed[symbol_id]

    def replay(self, symbol_id: int | None, gap: Gap) -> None:
        """A version that the journal holds, in order; `symbol_id` None for a hole of a whole source."""
        self.counts[gap.state] += 1
        if symbol_id is None:
            return
        hole, losses = self.holes.get(symbol_id), self.losses.get(symbol_id, [])
        loss = next((each for each in losses if each.gap.gap_id == gap.gap_id), None)
        if loss is not None:
            self.counts[LOST] -= 1
            loss.gap, loss.came = gap, 0
            if gap.state != LOST:
                losses.remove(loss)
        elif hole is not None and hole.gap.gap_id == gap.gap_id:
            self.counts[OPEN] -= 1
            if gap.state != OPEN:
                del self.holes[symbol_id]
        else:
            self.unnamed[symbol_id].append(gap.gap_id)
            if gap.state == OPEN:
                self.holes[symbol_id] = Hole(symbol_id, gap, 0, 0, 0, filled=gap.filled, written=True)


def ended(
    gap: Gap, now_ns: int, *, state: str, filled: int, missing: int | None, certainty: str, to: TickAt | None
) -> Gap:
    """The last version of a hole."""
    return replace(
        gap,
        state=state,
        filled=filled,
        missing=missing,
        certainty=certainty,
        to_sequence=to.sequence if to else None,
        to_ts=to.ts_us if to else None,
        updated_at=max(now_ns, gap.updated_at + 1),
    )


def lost_in_journal(source: str, hole: str, from_us: int | None, to_us: int | None, now_ns: int) -> Gap:
    """What a source sent and the journal could not keep, of whatever symbols; `hole` names it, always alike."""
    gap_id = hashlib.blake2s(f"{source}|{hole}".encode(), digest_size=12).hexdigest()
    return Gap(
        source, "", "", CAUSE_DECODE_ERROR, from_us, None, now_ns, now_ns, to_ts=to_us, state=LOST, gap_id=gap_id
    )
