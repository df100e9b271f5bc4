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

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from codec.columns import SEQUENCE, TS_EVENT_US, TickBuffer
from codec.counter import OutOfTurn, TickAt, TickFollower, Turn, day_of_place, place_of
from codec.markets import parse_symbol
from codec.symbols import SymbolTable
from ingest.ledger import (
    CAUSE_BACKFILL,
    CAUSE_BY_DISCONNECT,
    CAUSE_DOWN,
    CAUSE_LATE_START,
    CAUSE_SEQUENCE_STEP,
    CAUSE_SILENCE,
    CERTAIN,
    FILLED,
    LOST,
    QUIET,
    SUSPECTED,
    Gap,
    Hole,
    Loss,
    LossLedger,
    ended,
)
from ingest.missing import RANGES_MAX, MissingRange, MissingTicks, sort_by_reply, starts_day, ticks_in
from ingest.pulled_ticks import PulledTicks

log = structlog.get_logger(__name__)

COUNTED_SOURCES = frozenset(("futu", "moomoo"))
"""Whose sequences hold the exchange's counter: those of an OpenD."""
TIMED_SOURCES = frozenset(("longport",))
"""Whose sequences say nothing of the order of ticks, and whose pulled ticks have none."""
PULLS_MAX = 3
"""Pulls for one hole that are answered and still leave ticks newer than the answer."""
_COUNTED_CAUSES = frozenset((CAUSE_SEQUENCE_STEP, CAUSE_BY_DISCONNECT))
"""Holes found by the counter while the link stood: they end when it is whole."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Behind row `row` of the buffer ticks of a symbol may be missing."""

    row: int
    symbol_id: int
    cause: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Beginning:
    """From row `row` on a symbol is asked for, for the first time in this process."""

    row: int
    symbol_id: int
    gateway: str


@dataclass(frozen=True, slots=True)
class Pull:
    """Rows `row` to `row + rows` are what a pull brought.

    Attributes
    ----------
    looks : it was asked for because of silence
    is_full : the reply held as many as one may: there were older ones
    is_stale : a hole opened after the reply came, of which it tells nothing
    """

    row: int
    rows: int
    symbol_id: int
    gateway: str
    looks: bool = False
    is_full: bool = False
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The pulls of a symbol failed for good; `leaves` when it is not asked for any more, and no tick will follow."""

    row: int
    symbol_id: int
    leaves: bool = False


Mark = Opening | Beginning | Pull | GivenUp
"""What happened between the rows of a buffer."""


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
    """The account of one source. Not thread-safe but for what says so.

    Attributes
    ----------
    follower, missing, ledger : what is known of each symbol, by its id
    trusts_counter : false once a gateway had two ticks with a step between them and nothing missing
    days_from_one : false once a day's first tick did not have the counter 1
    flawed : symbols of which a tick was refused as a dead letter; any thread may add to it
    gaps, open_gaps : how many holes there are by state, and open ones by gateway; any thread may read them
    """

    def __init__(self, source: str, symbols: SymbolTable, gateways: Sequence[str]) -> None:
        self.source = source
        self._gateways = gateways
        self._by_time = source in TIMED_SOURCES
        self.follower = TickFollower(symbols, has_counter=source in COUNTED_SOURCES, by_time=self._by_time)
        self.missing = MissingTicks()
        self.ledger = LossLedger()
        self.trusts_counter = True
        self.days_from_one = True
        self.flawed: set[int] = set()
        self.gaps: dict[str, int] = {}
        self.open_gaps: dict[str, int] = {}
        self._symbols = symbols
        self._wanted: list[int] = []
        self._begun: set[int] = set()
        self._found: set[int] = set()
        """Symbols whose hole a counted tick of this buffer has shown."""
        self._adrift: set[int] = set()
        """Symbols whose last hole ended as lost before any tick behind it was seen."""
        self._come: Counter[int] = Counter()
        """By symbol, the ticks of this buffer that had been said to be lost."""
        self._now_ns = 0

    def enter(self, ticks: TickBuffer, fresh: NDArray[np.bool_], marks: Sequence[Mark], now_ns: int) -> Entries:
        """Take in a buffer, (rows,) of which are `fresh`, with its marks in the order of the wire."""
        self._now_ns = max(now_ns, self._now_ns + 1)
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
        rows = self.ledger.take_rows()
        self._publish()
        return Entries(rows, {id_: tuple(gaps) for id_, gaps in self.ledger.unnamed.items()}, wanted)

    def _publish(self) -> None:
        self.gaps = dict(self.ledger.counts)
        self.open_gaps = dict(self.ledger.open_by_gateway())

    # A restart.

    def replay_ticks(self, ticks: TickBuffer, gap_ids: Sequence[str]) -> None:
        """Rows that the journal holds, all fresh, of a record that names these gaps."""
        for turn in self.follower.follow(ticks, np.ones(ticks.rows, np.bool_), 0, ticks.rows):
            if turn.turn is Turn.LATE:
                self.missing.fill(turn.symbol_id, turn.first, turn.last)
                self.ledger.came(turn.symbol_id, turn.first, turn.last)
            elif turn.turn is not Turn.CAPPED:
                self.missing.add_between(turn.symbol_id, turn.before, turn.first)
                hole = self.ledger.holes.get(turn.symbol_id)
                if hole is not None and hole.doubt is None:
                    hole.doubt = turn.first
        if gap_ids:
            self.ledger.named(gap_ids)

    def replay_gaps(self, versions: Sequence[tuple[int | None, Gap]]) -> None:
        """Versions of holes, with their symbols' ids, that one append holds beside the ticks replayed last."""
        by_symbol: dict[int, list[Gap]] = {}
        for symbol_id, gap in versions:
            if symbol_id is None:
                self.ledger.replay(None, gap)
            else:
                by_symbol.setdefault(symbol_id, []).append(gap)
        for symbol_id, gaps in by_symbol.items():
            self._replay_gaps_of(symbol_id, gaps)

    def _replay_gaps_of(self, symbol_id: int, gaps: Sequence[Gap]) -> None:
        """Give what is missing of a symbol to its open hole, or to the losses that its ends made."""
        ranges = self.missing.take(symbol_id)
        for gap in gaps:
            corrects = self.ledger.has_lost(symbol_id, gap.gap_id)
            self.ledger.replay(symbol_id, gap)
            if gap.state == LOST and gap.missing is not None and gap.to_sequence is not None and not corrects:
                end = place_of(gap.to_sequence)
                self.ledger.remember(symbol_id, Loss(gap, [each for each in ranges if each.first < end]))
                ranges = [each for each in ranges if each.first >= end]
        hole = self.ledger.holes.get(symbol_id)
        if hole is None:
            return
        if any(gap.gap_id == hole.gap.gap_id for gap in gaps):
            hole.rows_before = hole.rows_failed = self.follower.rows(symbol_id)
            hole.supplied_before = self.follower.supplied(symbol_id)
            hole.doubt = hole.gap.from_tick or hole.gap.to_tick or self.follower.newest(symbol_id)
            begin = -1 if hole.gap.from_sequence is None else place_of(hole.gap.from_sequence)
            ranges = [each for each in ranges if each.first > begin]
        self.missing.put_back(symbol_id, ranges)

    def replayed(self) -> None:
        """Nothing more is replayed: what is missing without a hole was accounted for."""
        for symbol_id in self.missing.symbols():
            if symbol_id not in self.ledger.holes:
                self.missing.take(symbol_id)
        self._publish()

    def export(self) -> bytes:
        """The whole state, for `restore` in another process. Holes that are not written start anew there: `down`."""
        names, state = self.follower.export()
        written = [hole for hole in self.ledger.holes.values() if hole.written]
        facts = {
            "holes": [
                {
                    "gap": hole.gap.row(),
                    "rows_before": hole.rows_before,
                    "rows_failed": hole.rows_failed,
                    "supplied_before": hole.supplied_before,
                    "filled": hole.filled,
                    "pulls": hole.pulls,
                    "doubt": astuple(hole.doubt) if hole.doubt else None,
                    "missing": [astuple(range_) for range_ in self.missing.of(hole.symbol_id)],
                }
                for hole in written
            ],
            "losses": [
                {"gap": loss.gap.row(), "missing": [astuple(range_) for range_ in loss.ranges]}
                for losses in self.ledger.losses.values()
                for loss in losses
            ],
            "counts": dict(self.ledger.counts),
            "unnamed": {self._symbols.names[id_]: gaps for id_, gaps in self.ledger.unnamed.items()},
            "trusts_counter": self.trusts_counter,
            "days_from_one": self.days_from_one,
        }
        sink = io.BytesIO()
        text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        np.savez(sink, names=np.array(names, np.str_), state=state, facts=text)
        return sink.getvalue()

    def restore(self, exported: bytes) -> None:
        """Put back what `export` gave."""
        with np.load(io.BytesIO(exported), allow_pickle=False) as parts:
            names, state, facts = parts["names"].tolist(), parts["state"], json.loads(parts["facts"].tobytes())
        self.follower.restore(np.array([self._id_of(name) for name in names], np.int32), state)
        for kept in facts["holes"]:
            gap = Gap.of_row(kept["gap"])
            symbol_id = self._id_of(gap.symbol)
            hole = Hole(symbol_id, gap, kept["rows_before"], kept["supplied_before"], kept["rows_failed"])
            hole.filled, hole.written, hole.pulls = kept["filled"], True, kept["pulls"]
            hole.doubt = TickAt(*kept["doubt"]) if kept["doubt"] else None
            self.ledger.holes[symbol_id] = hole
            self.missing.put_back(symbol_id, (_range_of(values) for values in kept["missing"]))
        for kept in facts["losses"]:
            gap = Gap.of_row(kept["gap"])
            self.ledger.remember(self._id_of(gap.symbol), Loss(gap, [_range_of(each) for each in kept["missing"]]))
        self.ledger.counts.update(facts["counts"])
        self.ledger.unnamed.update({self._id_of(name): gaps for name, gaps in facts["unnamed"].items()})
        self.trusts_counter, self.days_from_one = facts["trusts_counter"], facts["days_from_one"]

    def _id_of(self, symbol: str) -> int:
        return self._symbols.id_of(*parse_symbol(symbol))

    # What happens.

    def _follow(
        self, ticks: TickBuffer, fresh: NDArray[np.bool_], begin: int, end: int, *, pulled_day: int | None = None
    ) -> None:
        """Take in rows; those of a pull reach up to `pulled_day`."""
        turns = self.follower.follow(ticks, fresh, begin, end)
        capped = {turn.symbol_id: turn.first_row for turn in turns if turn.turn is Turn.CAPPED}
        for turn in turns:
            if turn.turn is Turn.LATE:
                self.missing.fill(turn.symbol_id, turn.first, turn.last)
                if came := self.ledger.came(turn.symbol_id, turn.first, turn.last):
                    self._come[turn.symbol_id] += came
            elif turn.turn is Turn.CAPPED:
                self._capped(turn)
            else:
                cause = CAUSE_SEQUENCE_STEP if pulled_day is None else CAUSE_BACKFILL
                cause = CAUSE_BY_DISCONNECT if capped.get(turn.symbol_id) == turn.first_row else cause
                self._step(turn, cause, pulled_day)

    def _step(self, turn: OutOfTurn, cause: str, pulled_day: int | None) -> None:
        """A counted tick with others before it that we don't have."""
        symbol_id, hole = turn.symbol_id, self.ledger.holes.get(turn.symbol_id)
        is_new = hole is not None and hole.gap.from_sequence is None
        if is_new and pulled_day is not None and day_of_place(place_of(turn.first.sequence)) < pulled_day:
            return  # what was traded on days before we asked for the symbol is nobody's loss
        if turn.turn is Turn.FIRST and symbol_id not in self._begun:
            return  # nobody asked for it
        if turn.turn is Turn.NEXT_DAY and not self.days_from_one:
            return
        if hole is not None and len(self.missing.of(symbol_id)) >= RANGES_MAX:
            self._lose(hole, self.missing.of(symbol_id))
            self.missing.take(symbol_id)
            hole = None
        self.missing.add_between(symbol_id, turn.before, turn.first)
        if hole is None and self.missing.of(symbol_id):
            hole = self._open(
                symbol_id,
                CAUSE_LATE_START if turn.before is None else cause,
                self._gateways[turn.gateway_id],
                turn.before,
            )
            hole.rows_failed -= 1  # the tick that shows it is behind it
            self._found.add(symbol_id)  # pulled at the end, unless something fills it before

    def _capped(self, turn: OutOfTurn) -> None:
        """As many ticks at once as a gateway gives for the time without its backend: there may have been more."""
        whole = self.follower.counts(turn.symbol_id) and self.trusts_counter
        if turn.before is not None and not whole and turn.symbol_id not in self.ledger.holes:
            hole = self._open(turn.symbol_id, CAUSE_BY_DISCONNECT, self._gateways[turn.gateway_id], turn.before)
            self._write(hole)
            self._wanted.append(turn.symbol_id)

    def _opening(self, mark: Opening) -> None:
        before = self.ledger.holes.get(mark.symbol_id)
        had = self.follower.settled(mark.symbol_id)
        if before is not None:
            self._join(before)
            if before.written or mark.cause in QUIET:
                return
            had = before.gap.from_tick
            self.ledger.forget(before)
        elif mark.cause in QUIET and had is None and mark.symbol_id not in self._begun:
            return  # nobody asked for it
        hole = self._open(mark.symbol_id, mark.cause, mark.gateway, had)
        if before is not None:
            hole.filled, hole.supplied_before, hole.doubt = before.filled, before.supplied_before, before.doubt
            hole.rows_before = before.rows_before
        if mark.cause not in QUIET:
            self._write(hole)

    def _beginning(self, mark: Beginning) -> None:
        self._begun.add(mark.symbol_id)
        if (hole := self.ledger.holes.get(mark.symbol_id)) is not None:
            self._join(hole)
            return
        had = self.follower.settled(mark.symbol_id)
        self._open(mark.symbol_id, CAUSE_LATE_START if had is None else CAUSE_DOWN, mark.gateway, had)

    def _join(self, hole: Hole) -> None:
        """The link fails us again while a hole is open."""
        hole.pulls, hole.rows_failed, hole.waits = 0, self.follower.rows(hole.symbol_id), False
        hole.doubt = hole.doubt or self.follower.newest(hole.symbol_id)

    def _given_up(self, mark: GivenUp) -> None:
        symbol_id, hole = mark.symbol_id, self.ledger.holes.get(mark.symbol_id)
        if hole is None:
            return
        if not mark.leaves and self._can_wait(hole):
            hole.waits = True
            return
        ranges = self.missing.of(symbol_id)
        if self._is_whole(hole):
            self._fill(hole)
        elif not hole.written and self.follower.newest(symbol_id) is None:
            self.ledger.forget(hole)  # it was never traded
        else:
            self._lose(hole, ranges)
        self.missing.take(symbol_id)

    # What a pull says.

    def _pull(self, pull: Pull, ticks: TickBuffer, fresh: NDArray[np.bool_]) -> int:
        """Take in the rows of a reply and settle the symbol's hole; returns the row behind them."""
        end = pull.row + pull.rows
        before, had = self.follower.settled(pull.symbol_id), self.follower.newest(pull.symbol_id)
        rows_before = self.follower.rows(pull.symbol_id)
        supplied = self.follower.supplied(pull.symbol_id)
        come = self._come[pull.symbol_id]
        last = int(ticks.wide[SEQUENCE, pull.row : end].max(initial=0))
        self._follow(ticks, fresh, pull.row, end, pulled_day=day_of_place(place_of(last)))
        sequences, is_fresh = ticks.wide[SEQUENCE, pull.row : end], fresh[pull.row : end]
        added = int(np.count_nonzero(is_fresh)) - (self._come[pull.symbol_id] - come)
        hole = self.ledger.holes.get(pull.symbol_id)
        if hole is not None:
            uses_doubt = self.follower.counts(pull.symbol_id) or (self._by_time and hole.gap.from_tick is not None)
            had = hole.doubt if uses_doubt else hole.gap.from_tick
        reply = PulledTicks(
            sequences, ticks.wide[TS_EVENT_US, pull.row : end], is_fresh, self._by_time, is_full=pull.is_full
        )
        reached = reply.reaches(had)
        if hole is None:
            if pull.is_stale:
                return end
            if before is None or added == 0 or (reached and not pull.looks):
                return end
            hole = self._open(pull.symbol_id, CAUSE_SILENCE if pull.looks else CAUSE_BACKFILL, pull.gateway, before)
            hole.rows_before = hole.rows_failed = rows_before
            hole.supplied_before = supplied
        hole.filled += added
        if pull.is_stale:
            return end
        if not reached and self._can_wait(hole):
            hole.waits = True
        elif self.missing.of(pull.symbol_id):
            self._settle_counted(hole, sequences, reached=reached, to=reply.first_behind(had))
        else:
            newest = self.follower.newest(pull.symbol_id)
            self._settle(hole, reached=reached, to=reply.first_behind(hole.gap.from_tick, newest))
        return end

    def _settle_counted(self, hole: Hole, sequences: NDArray[np.int64], *, reached: bool, to: TickAt | None) -> None:
        """Settle a hole of which we know the ticks that the reply, which begins with `to`, did not bring."""
        symbol_id = hole.symbol_id
        found = sort_by_reply(self.missing.of(symbol_id), sorted({place_of(each) for each in sequences.tolist()}))
        if symbol_id in self.flawed:  # a tick that the gateway sent and that was no row
            found.gone += found.refuted
            found.refuted = []
        gone = sorted(found.gone, key=lambda each: each.first)
        self._doubt(found.refuted)
        if hole.pulls >= PULLS_MAX:
            gone, found.later = [*gone, *found.later], []
        self.missing.put_back(symbol_id, found.later)
        if gone:
            self._lose(hole, gone, to=to, reached=reached)
        elif not found.later:
            if not reached and self._has_changed_day(hole):
                self._lose(hole, (), to=to)
            else:
                end = found.refuted[-1].after if found.refuted else None
                self._fill(hole, certainty=SUSPECTED if found.refuted else None, to=end)
        if not found.later:
            return
        if gone:
            pulls, hole = (
                hole.pulls,
                self._open(symbol_id, CAUSE_SEQUENCE_STEP, hole.gap.gateway, found.later[0].before),
            )
            hole.pulls = pulls
        hole.pulls += 1
        if not hole.written:
            self._write(hole)
        self._wanted.append(symbol_id)

    def _can_wait(self, hole: Hole) -> bool:
        """Whether the next tick, by its counter or as the first one, will say what is missing where no reply has.

        So it is when a gateway was started anew and has forgotten what it had, or refuses to say.
        """
        is_counted = self.follower.counts(hole.symbol_id)
        if self.follower.newest(hole.symbol_id) is None:
            return is_counted == hole.written  # what is not written may be forgotten where the first tick counts
        return is_counted and hole.doubt is not None and not self._is_passed(hole)

    def _settle(self, hole: Hole, *, reached: bool, to: TickAt | None) -> None:
        """Settle a hole of which nothing is known but its ends."""
        if reached or self._is_whole(hole):
            self._fill(hole)
            return
        if not hole.written and self.follower.newest(hole.symbol_id) is None:
            self.ledger.forget(hole)  # it was never traded
            return
        self._lose(hole, (), to=to)

    def _doubt(self, refuted: Sequence[MissingRange]) -> None:
        """The gateway has nothing where its counter made a step."""
        for range_ in refuted:
            if starts_day(range_):
                self.days_from_one = False
            elif self.trusts_counter:
                self.trusts_counter = False
                log.warning(
                    "the gateway's counter made a step and nothing is missing: what it counts is only suspected now",
                    source=self.source,
                    before_sequence=range_.before.sequence if range_.before else None,
                    after_sequence=range_.after.sequence,
                )

    # The end of a buffer.

    def _conclude(self) -> None:
        """End the holes that the counter shows to be closed; write those that ticks have passed (rule 2)."""
        for hole in list(self.ledger.holes.values()):
            symbol_id = hole.symbol_id
            is_counted = self.follower.counts(symbol_id)
            if is_counted and hole.gap.cause in _COUNTED_CAUSES and self._is_closed(hole):
                self._fill(hole)
            elif hole.waits and self._is_passed(hole):
                self._tell(hole)
            elif not hole.written and (self.missing.of(symbol_id) or self.follower.rows(symbol_id) > hole.rows_before):
                if self._is_whole(hole):
                    continue
                self._write(hole)
                if symbol_id in self._found:
                    self._wanted.append(symbol_id)
        self._found.clear()
        for symbol_id in self._come:
            self.ledger.correct(symbol_id, self._now_ns)
        self._come.clear()

    def _tell(self, hole: Hole) -> None:
        """The tick that a hole waited for is there: it is whole, or the gateway is asked once more."""
        hole.waits = False
        if self._is_whole(hole):
            self._fill(hole)
            return
        if not hole.written:
            self._write(hole)
        self._wanted.append(hole.symbol_id)

    def _is_passed(self, hole: Hole) -> bool:
        """Whether a tick is there that came since the link failed us last."""
        return self.follower.rows(hole.symbol_id) > hole.rows_failed

    def _is_closed(self, hole: Hole) -> bool:
        """Whether a hole that the counter showed has got its ticks, and the link has not failed us since."""
        return not self.missing.of(hole.symbol_id) and (hole.doubt is None or self._is_whole(hole))

    def _is_whole(self, hole: Hole) -> bool:
        """Whether the counter says that nothing is missing between the hole's beginning and a later tick."""
        if not self.follower.counts(hole.symbol_id) or self.follower.newest(hole.symbol_id) is None:
            return False
        if not self.trusts_counter or self.missing.of(hole.symbol_id):
            return False
        return self._is_passed(hole) and not self._has_changed_day(hole)

    def _has_changed_day(self, hole: Hole) -> bool:
        """Whether a day has ended since the link failed us: with how many ticks, its counter does not say."""
        last = self.follower.newest(hole.symbol_id)
        if hole.doubt is None or last is None:
            return False
        return day_of_place(place_of(hole.doubt.sequence)) != day_of_place(place_of(last.sequence))

    # Versions of a hole.

    def _open(self, symbol_id: int, cause: str, gateway: str, had: TickAt | None) -> Hole:
        self._now_ns += 1  # two holes of one buffer differ in when they opened
        gap = Gap(
            source=self.source,
            symbol=self._symbols.names[symbol_id],
            gateway=gateway,
            cause=cause,
            from_ts=had.ts_us if had else None,
            from_sequence=had.sequence if had else None,
            opened_at=self._now_ns,
            updated_at=self._now_ns,
        )
        rows = self.follower.rows(symbol_id)
        hole = Hole(symbol_id, gap, rows, self.follower.supplied(symbol_id), rows_failed=rows)
        if cause not in _COUNTED_CAUSES or symbol_id in self._adrift:
            hole.doubt = had if not self._by_time else self.follower.newest(symbol_id)
        self._adrift.discard(symbol_id)
        self.ledger.holes[symbol_id] = hole
        return hole

    def _write(self, hole: Hole) -> None:
        """Write for the first time that the hole is there."""
        ranges = self.missing.of(hole.symbol_id)
        missing, certainty = self._counted(hole, ranges)
        to = ranges[-1].after if ranges else None
        gap = replace(
            hole.gap,
            filled=self._filled(hole),
            missing=missing,
            certainty=certainty,
            to_sequence=to.sequence if to else None,
            to_ts=to.ts_us if to else None,
            updated_at=self._now_ns,
        )
        self.ledger.write(hole, gap)

    def _fill(self, hole: Hole, *, certainty: str | None = None, to: TickAt | None = None) -> None:
        """Nothing is missing any more."""
        filled = self._filled(hole)
        says_nothing = filled == 0 or hole.gap.cause in (CAUSE_LATE_START, CAUSE_BACKFILL)
        if says_nothing and not hole.written:
            self.ledger.forget(hole)
            return
        whole = certainty or (CERTAIN if self._is_whole(hole) else SUSPECTED)
        gap = ended(hole.gap, self._now_ns, state=FILLED, filled=filled, missing=0, certainty=whole, to=to)
        self.ledger.write(hole, gap)

    def _lose(
        self,
        hole: Hole,
        ranges: Sequence[MissingRange],
        *,
        to: TickAt | None = None,
        reached: bool = False,
    ) -> None:
        """Nothing more can be asked: `ranges` are missing, or whatever lies before `to`; `reached` is whether
        a reply went back to where the link failed us."""
        missing, certainty = self._counted(hole, ranges, reached=reached)
        gap = hole.gap
        if ranges and (missing is not None or (to is not None and to.sequence < ranges[-1].after.sequence)):
            to = ranges[-1].after
            if ranges[0].before is not None and missing is not None:
                gap = replace(gap, from_sequence=ranges[0].before.sequence, from_ts=ranges[0].before.ts_us)
        lost = ended(
            gap, self._now_ns, state=LOST, filled=self._filled(hole), missing=missing, certainty=certainty, to=to
        )
        if lost.to_sequence is None:
            self._adrift.add(hole.symbol_id)
        self.ledger.lose(hole, lost, ranges)
        log.error(
            "ticks lost: the gateway has them no more",
            source=self.source,
            symbol=lost.symbol,
            cause=lost.cause,
            missing=lost.missing,
            after_sequence=lost.from_sequence,
            before_sequence=lost.to_sequence,
        )

    def _counted(self, hole: Hole, ranges: Sequence[MissingRange], *, reached: bool = False) -> tuple[int | None, str]:
        """How many ticks are missing in `ranges`, and how sure that is."""
        passed = hole.doubt is None or self._is_passed(hole)
        if not ranges or not (reached or (passed and not self._has_changed_day(hole))):
            return None, SUSPECTED
        return ticks_in(ranges), CERTAIN if self.trusts_counter else SUSPECTED

    def _filled(self, hole: Hole) -> int:
        return hole.filled + self.follower.supplied(hole.symbol_id) - hole.supplied_before


def _range_of(values: tuple[int, int, list[int] | None, list[int]]) -> MissingRange:
    """A range as `astuple` wrote it."""
    first, last, before, after = values
    return MissingRange(first, last, TickAt(*before) if before else None, TickAt(*after))
