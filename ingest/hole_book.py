"""What is known of every tick of one source, and the versions of its holes.

When a hole opens, waits and ends is not said here, but in `ingest.account`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from codec.counter import TickAt, TickFollower, day_of_place, place_of
from codec.symbols import SymbolTable
from ingest.ledger import (
    CAUSE_BACKFILL,
    CAUSE_LATE_START,
    CERTAIN,
    COUNTED,
    FILLED,
    LOST,
    SUSPECTED,
    Gap,
    Hole,
    LossLedger,
    ended,
)
from ingest.missing import MissingRange, MissingTicks, starts_day, ticks_in

log = structlog.get_logger(__name__)

COUNTED_SOURCES = frozenset(("futu", "moomoo"))
"""Whose sequences hold the exchange's counter: those of an OpenD."""
TIMED_SOURCES = frozenset(("longport",))
"""Whose sequences say nothing of the order of ticks, and whose pulled ticks have none."""


class HoleBook:
    """The book of one source. Not thread-safe but for what says so.

    Attributes
    ----------
    follower, missing, ledger : what is known of each symbol, by its id
    by_time : whether the order of ticks is that of their times
    trusts_counter : false once a gateway had two ticks with a step between them and nothing missing
    days_from_one : false once a day's first tick did not have the counter 1
    now_ns : when what is written now is said to have happened, unix
    gaps, open_gaps : how many holes there are by state, and open ones by gateway; any thread may read them
    """

    def __init__(self, source: str, symbols: SymbolTable) -> None:
        self.source = source
        self.symbols = symbols
        self.by_time = source in TIMED_SOURCES
        self.follower = TickFollower(symbols, has_counter=source in COUNTED_SOURCES, by_time=self.by_time)
        self.missing = MissingTicks()
        self.ledger = LossLedger()
        self.trusts_counter = True
        self.days_from_one = True
        self.now_ns = 0
        self.gaps: dict[str, int] = {}
        self.open_gaps: dict[str, int] = {}
        self._adrift: set[int] = set()
        """Symbols whose last hole ended as lost before any tick behind it was seen."""

    def begin(self, now_ns: int) -> None:
        """What is written from here on happened now, and behind all that was written before."""
        self.now_ns = max(now_ns, self.now_ns + 1)

    def publish(self) -> None:
        """Show the counts as they are now."""
        self.gaps = dict(self.ledger.counts)
        self.open_gaps = dict(self.ledger.open_by_gateway())

    # What is known.

    def is_passed(self, hole: Hole) -> bool:
        """Whether a tick is there that came since the link failed us last."""
        return self.follower.rows(hole.symbol_id) > hole.rows_failed

    def is_closed(self, hole: Hole) -> bool:
        """Whether a hole that the counter showed has got its ticks, and the link has not failed us since."""
        return not self.missing.of(hole.symbol_id) and (hole.doubt is None or self.is_whole(hole))

    def is_whole(self, hole: Hole) -> bool:
        """Whether the counter says that nothing is missing between the hole's beginning and a later tick."""
        if not self.follower.counts(hole.symbol_id) or self.follower.newest(hole.symbol_id) is None:
            return False
        if not self.trusts_counter or self.missing.of(hole.symbol_id):
            return False
        return self.is_passed(hole) and not self.has_changed_day(hole)

    def has_changed_day(self, hole: Hole) -> bool:
        """Whether a day has ended since the link failed us: with how many ticks, its counter does not say."""
        last = self.follower.newest(hole.symbol_id)
        if hole.doubt is None or last is None:
            return False
        return day_of_place(place_of(hole.doubt.sequence)) != day_of_place(place_of(last.sequence))

    def can_wait(self, hole: Hole) -> bool:
        """Whether the next tick, by its counter or as the first one, will say what is missing where no reply has.

        So it is when a gateway was started anew and has forgotten what it had, or refuses to say.
        """
        is_counted = self.follower.counts(hole.symbol_id)
        if self.follower.newest(hole.symbol_id) is None:
            return is_counted == hole.written  # what is not written may be forgotten where the first tick counts
        return is_counted and hole.doubt is not None and not self.is_passed(hole)

    def join(self, hole: Hole) -> None:
        """The link fails us again while a hole is open."""
        hole.pulls, hole.rows_failed, hole.waits = 0, self.follower.rows(hole.symbol_id), False
        hole.doubt = hole.doubt or self.follower.newest(hole.symbol_id)

    def distrust(self, refuted: Sequence[MissingRange]) -> None:
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

    # Versions of a hole.

    def open(self, symbol_id: int, cause: str, gateway: str, had: TickAt | None) -> Hole:
        """Ticks of a symbol may be missing from `had`, the last one before them, on; nothing is written yet."""
        self.now_ns += 1  # two holes of one buffer differ in when they opened
        gap = Gap(
            source=self.source,
            symbol=self.symbols.names[symbol_id],
            gateway=gateway,
            cause=cause,
            from_ts=had.ts_us if had else None,
            from_sequence=had.sequence if had else None,
            opened_at=self.now_ns,
            updated_at=self.now_ns,
        )
        rows = self.follower.rows(symbol_id)
        hole = Hole(symbol_id, gap, rows, self.follower.supplied(symbol_id), rows_failed=rows)
        if cause not in COUNTED or symbol_id in self._adrift:
            hole.doubt = had if not self.by_time else self.follower.newest(symbol_id)
        self._adrift.discard(symbol_id)
        self.ledger.holes[symbol_id] = hole
        return hole

    def write(self, hole: Hole) -> None:
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
            updated_at=self.now_ns,
        )
        self.ledger.write(hole, gap)

    def fill(self, hole: Hole, *, certainty: str | None = None, to: TickAt | None = None) -> None:
        """Nothing is missing any more."""
        filled = self._filled(hole)
        says_nothing = filled == 0 or hole.gap.cause in (CAUSE_LATE_START, CAUSE_BACKFILL)
        if says_nothing and not hole.written:
            self.ledger.forget(hole)
            return
        whole = certainty or (CERTAIN if self.is_whole(hole) else SUSPECTED)
        gap = ended(hole.gap, self.now_ns, state=FILLED, filled=filled, missing=0, certainty=whole, to=to)
        self.ledger.write(hole, gap)

    def lose(
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
            gap, self.now_ns, state=LOST, filled=self._filled(hole), missing=missing, certainty=certainty, to=to
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
        passed = hole.doubt is None or self.is_passed(hole)
        if not ranges or not (reached or (passed and not self.has_changed_day(hole))):
            return None, SUSPECTED
        return ticks_in(ranges), CERTAIN if self.trusts_counter else SUSPECTED

    def _filled(self, hole: Hole) -> int:
        return hole.filled + self.follower.supplied(hole.symbol_id) - hole.supplied_before
