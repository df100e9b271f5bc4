"""What became of every tick of one source: followed row by row, holes opened, settled and written down.

Everything goes through here in the order of the wire: the rows that a lane gathered, and between them
the marks of what happened (a hole may have opened, a pull was answered). It runs where rows are
stored, so that what the ledger says of rows is in one append with them.

Rule 1: a hole never stands for less than is missing. Where the gateway counts its ticks, ranges say
which; elsewhere everything that is missing lies between the hole's two ends.
Rule 2: no tick goes into the journal behind a hole that the journal does not know, unless the
gateway's count says that nothing is missing. So whatever dies, no hole is forgotten.
Rule 3: what is kept here may be ahead of the journal by the append that is under way. When that one
fails for good, all of it is thrown away (see `TickPipeline`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codec.columns import SEQUENCE, TS_EVENT_US, TickBuffer
from codec.counter import OutOfTurn, TickAt, Turn, day_of_place, place_of
from ingest.hole_book import HoleBook
from ingest.ledger import (
    CAUSE_BACKFILL,
    CAUSE_BY_DISCONNECT,
    CAUSE_DOWN,
    CAUSE_LATE_START,
    CAUSE_SEQUENCE_STEP,
    CAUSE_SILENCE,
    COUNTED,
    QUIET,
    SUSPECTED,
    Hole,
)
from ingest.marks import Beginning, GivenUp, Mark, Opening, Pull
from ingest.missing import RANGES_MAX, sort_by_reply
from ingest.pulled_ticks import PulledTicks

PULLS_MAX = 3
"""Pulls for one hole that are answered and still leave ticks newer than the answer."""


@dataclass(slots=True)
class Entries:
    """What there is to write of one buffer, and to ask for.

    Attributes
    ----------
    rows : of `gaps`
    names : the gaps that the first record with a symbol's ticks must name, by symbol id
    wanted : symbols to pull at once
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    names: dict[int, tuple[str, ...]] = field(default_factory=dict)
    wanted: list[int] = field(default_factory=list)


class TickAccount:
    """The account of one source, kept in its book. Not thread-safe but for what says so.

    Attributes
    ----------
    flawed : symbols of which a tick was refused as a dead letter; any thread may add to it
    """

    def __init__(self, book: HoleBook, gateways: Sequence[str]) -> None:
        self.flawed: set[int] = set()
        self._book = book
        self._follower, self._missing, self._ledger = book.follower, book.missing, book.ledger
        self._gateways = gateways
        self._wanted: list[int] = []
        self._begun: set[int] = set()
        self._found: set[int] = set()
        """Symbols whose hole a counted tick of this buffer has shown."""
        self._come: Counter[int] = Counter()
        """By symbol, the ticks of this buffer that had been said to be lost."""

    def enter(self, ticks: TickBuffer, fresh: NDArray[np.bool_], marks: Sequence[Mark], now_ns: int) -> Entries:
        """Take in a buffer, (rows,) of which are `fresh`, with its marks in the order of the wire."""
        self._book.begin(now_ns)
        at = 0
        for mark in marks:
            begin = max(at, mark.row)
            self._follow(ticks, fresh, at, begin)
            at = begin
            match mark:
                case Opening():
                    self._opening(mark)
                case Beginning():
                    self._beginning(mark)
                case GivenUp():
                    self._given_up(mark)
                case Pull():
                    assert begin == mark.row, "a pull's rows come after all that happened before it"
                    at = self._pull(mark, ticks, fresh)
        self._follow(ticks, fresh, at, ticks.rows)
        self._conclude()
        wanted, self._wanted = self._wanted, []
        rows = self._ledger.take_rows()
        self._book.publish()
        return Entries(rows, {id_: tuple(gaps) for id_, gaps in self._ledger.unnamed.items()}, wanted)

    # What happens.

    def _follow(
        self, ticks: TickBuffer, fresh: NDArray[np.bool_], begin: int, end: int, *, pulled_day: int | None = None
    ) -> None:
        """Take in rows; those of a pull reach up to `pulled_day`."""
        turns = self._follower.follow(ticks, fresh, begin, end)
        capped = {turn.symbol_id: turn.first_row for turn in turns if turn.turn is Turn.CAPPED}
        for turn in turns:
            if turn.turn is Turn.LATE:
                self._missing.fill(turn.symbol_id, turn.first, turn.last)
                if came := self._ledger.came(turn.symbol_id, turn.first, turn.last):
                    self._come[turn.symbol_id] += came
            elif turn.turn is Turn.CAPPED:
                self._capped(turn)
            else:
                cause = CAUSE_SEQUENCE_STEP if pulled_day is None else CAUSE_BACKFILL
                cause = CAUSE_BY_DISCONNECT if capped.get(turn.symbol_id) == turn.first_row else cause
                self._step(turn, cause, pulled_day)

    def _step(self, turn: OutOfTurn, cause: str, pulled_day: int | None) -> None:
        """A counted tick with others before it that we don't have."""
        symbol_id, hole = turn.symbol_id, self._ledger.holes.get(turn.symbol_id)
        is_new = hole is not None and hole.gap.from_sequence is None
        if is_new and pulled_day is not None and day_of_place(place_of(turn.first.sequence)) < pulled_day:
            return  # what was traded on days before we asked for the symbol is nobody's loss
        if turn.turn is Turn.FIRST and symbol_id not in self._begun:
            return  # nobody asked for it
        if turn.turn is Turn.NEXT_DAY and not self._book.days_from_one:
            return
        if hole is not None and len(self._missing.of(symbol_id)) >= RANGES_MAX:
            self._book.lose(hole, self._missing.of(symbol_id))
            self._missing.take(symbol_id)
            hole = None
        self._missing.add_between(symbol_id, turn.before, turn.first)
        if hole is None and self._missing.of(symbol_id):
            hole = self._book.open(
                symbol_id,
                CAUSE_LATE_START if turn.before is None else cause,
                self._gateways[turn.gateway_id],
                turn.before,
            )
            hole.rows_failed -= 1  # the tick that shows it is behind it
            self._found.add(symbol_id)  # pulled at the end, unless something fills it before

    def _capped(self, turn: OutOfTurn) -> None:
        """As many ticks at once as a gateway gives for the time without its backend: there may have been more."""
        whole = self._follower.counts(turn.symbol_id) and self._book.trusts_counter
        if turn.before is not None and not whole and turn.symbol_id not in self._ledger.holes:
            hole = self._book.open(turn.symbol_id, CAUSE_BY_DISCONNECT, self._gateways[turn.gateway_id], turn.before)
            self._book.write(hole)
            self._wanted.append(turn.symbol_id)

    def _opening(self, mark: Opening) -> None:
        before = self._ledger.holes.get(mark.symbol_id)
        had = self._follower.settled(mark.symbol_id)
        if before is not None:
            self._book.join(before)
            if before.written or mark.cause in QUIET:
                return
            had = before.gap.from_tick
            self._ledger.forget(before)
        elif mark.cause in QUIET and had is None and mark.symbol_id not in self._begun:
            return  # nobody asked for it
        hole = self._book.open(mark.symbol_id, mark.cause, mark.gateway, had)
        if before is not None:
            hole.filled, hole.supplied_before, hole.doubt = before.filled, before.supplied_before, before.doubt
            hole.rows_before = before.rows_before
        if mark.cause not in QUIET:
            self._book.write(hole)

    def _beginning(self, mark: Beginning) -> None:
        self._begun.add(mark.symbol_id)
        if (hole := self._ledger.holes.get(mark.symbol_id)) is not None:
            self._book.join(hole)
            return
        had = self._follower.settled(mark.symbol_id)
        self._book.open(mark.symbol_id, CAUSE_LATE_START if had is None else CAUSE_DOWN, mark.gateway, had)

    def _given_up(self, mark: GivenUp) -> None:
        symbol_id, hole = mark.symbol_id, self._ledger.holes.get(mark.symbol_id)
        if hole is None:
            return
        if not mark.leaves and self._book.can_wait(hole):
            hole.waits = True
            return
        ranges = self._missing.of(symbol_id)
        if self._book.is_whole(hole):
            self._book.fill(hole)
        elif not hole.written and self._follower.newest(symbol_id) is None:
            self._ledger.forget(hole)  # it was never traded
        else:
            self._book.lose(hole, ranges)
        self._missing.take(symbol_id)

    # What a pull says.

    def _pull(self, pull: Pull, ticks: TickBuffer, fresh: NDArray[np.bool_]) -> int:
        """Take in the rows of a reply and settle the symbol's hole; returns the row behind them."""
        end = pull.row + pull.rows
        before, had = self._follower.settled(pull.symbol_id), self._follower.newest(pull.symbol_id)
        rows_before = self._follower.rows(pull.symbol_id)
        supplied = self._follower.supplied(pull.symbol_id)
        come = self._come[pull.symbol_id]
        last = int(ticks.wide[SEQUENCE, pull.row : end].max(initial=0))
        self._follow(ticks, fresh, pull.row, end, pulled_day=day_of_place(place_of(last)))
        sequences, is_fresh = ticks.wide[SEQUENCE, pull.row : end], fresh[pull.row : end]
        added = int(np.count_nonzero(is_fresh)) - (self._come[pull.symbol_id] - come)
        hole = self._ledger.holes.get(pull.symbol_id)
        if hole is not None:
            uses_doubt = self._follower.counts(pull.symbol_id) or (
                self._book.by_time and hole.gap.from_tick is not None
            )
            had = hole.doubt if uses_doubt else hole.gap.from_tick
        reply = PulledTicks(
            sequences, ticks.wide[TS_EVENT_US, pull.row : end], is_fresh, self._book.by_time, is_full=pull.is_full
        )
        reached = reply.reaches(had)
        if hole is None:
            if pull.is_stale:
                return end
            if before is None or added == 0 or (reached and not pull.looks):
                return end
            hole = self._book.open(
                pull.symbol_id, CAUSE_SILENCE if pull.looks else CAUSE_BACKFILL, pull.gateway, before
            )
            hole.rows_before = hole.rows_failed = rows_before
            hole.supplied_before = supplied
        hole.filled += added
        if pull.is_stale:
            return end
        if not reached and self._book.can_wait(hole):
            hole.waits = True
        elif self._missing.of(pull.symbol_id):
            self._settle_counted(hole, sequences, reached=reached, to=reply.first_behind(had))
        else:
            newest = self._follower.newest(pull.symbol_id)
            self._settle(hole, reached=reached, to=reply.first_behind(hole.gap.from_tick, newest))
        return end

    def _settle_counted(self, hole: Hole, sequences: NDArray[np.int64], *, reached: bool, to: TickAt | None) -> None:
        """Settle a hole of which we know the ticks that the reply, which begins with `to`, did not bring."""
        symbol_id = hole.symbol_id
        found = sort_by_reply(self._missing.of(symbol_id), sorted({place_of(each) for each in sequences.tolist()}))
        if symbol_id in self.flawed:  # a tick that the gateway sent and that was no row
            found.gone += found.refuted
            found.refuted = []
        gone = sorted(found.gone, key=lambda each: each.first)
        self._book.distrust(found.refuted)
        if hole.pulls >= PULLS_MAX:
            gone, found.later = [*gone, *found.later], []
        self._missing.put_back(symbol_id, found.later)
        if gone:
            self._book.lose(hole, gone, to=to, reached=reached)
        elif not found.later:
            if not reached and self._book.has_changed_day(hole):
                self._book.lose(hole, (), to=to)
            else:
                end = found.refuted[-1].after if found.refuted else None
                self._book.fill(hole, certainty=SUSPECTED if found.refuted else None, to=end)
        if not found.later:
            return
        if gone:
            pulls = hole.pulls
            hole = self._book.open(symbol_id, CAUSE_SEQUENCE_STEP, hole.gap.gateway, found.later[0].before)
            hole.pulls = pulls
        hole.pulls += 1
        if not hole.written:
            self._book.write(hole)
        self._wanted.append(symbol_id)

    def _settle(self, hole: Hole, *, reached: bool, to: TickAt | None) -> None:
        """Settle a hole of which nothing is known but its ends."""
        if reached or self._book.is_whole(hole):
            self._book.fill(hole)
            return
        if not hole.written and self._follower.newest(hole.symbol_id) is None:
            self._ledger.forget(hole)  # it was never traded
            return
        self._book.lose(hole, (), to=to)

    # The end of a buffer.

    def _conclude(self) -> None:
        """End the holes that the counter shows to be closed; write those that ticks have passed (rule 2)."""
        for hole in list(self._ledger.holes.values()):
            symbol_id = hole.symbol_id
            is_counted = self._follower.counts(symbol_id)
            if is_counted and hole.gap.cause in COUNTED and self._book.is_closed(hole):
                self._book.fill(hole)
            elif hole.waits and self._book.is_passed(hole):
                self._tell(hole)
            elif not hole.written and (
                self._missing.of(symbol_id) or self._follower.rows(symbol_id) > hole.rows_before
            ):
                if self._book.is_whole(hole):
                    continue
                self._book.write(hole)
                if symbol_id in self._found:
                    self._wanted.append(symbol_id)
        self._found.clear()
        for symbol_id in self._come:
            self._ledger.correct(symbol_id, self._book.now_ns)
        self._come.clear()

    def _tell(self, hole: Hole) -> None:
        """The tick that a hole waited for is there: it is whole, or the gateway is asked once more."""
        hole.waits = False
        if self._book.is_whole(hole):
            self._book.fill(hole)
            return
        if not hole.written:
            self._book.write(hole)
        self._wanted.append(hole.symbol_id)
