"""Watching a gateway's ticks to see whether what we believe of them holds. Pure: ticks in, figures out.

What is believed, and from what, is in docs/protocols/opend.md 4; no document promises it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codec.columns import NULL_TIME, SEQUENCE, SYMBOL_ID, TS_EVENT_US, TS_GATEWAY_US, TS_RECV_NS, TickBuffer
from codec.day_counts import DayCounts, counts_on
from codec.markets import MARKET_PREFIXES, US
from codec.symbols import SymbolTable
from codec.window import SequenceWindow

_LATENCIES_MAX = 100_000
_SECOND_US = 1_000_000
_US_PREFIX = f"{MARKET_PREFIXES[US]}."


@dataclass(frozen=True, slots=True)
class Observed:
    """The figures of one observation.

    Attributes
    ----------
    counted_ticks, skipped : of symbols whose counter should be +1 a tick: different ticks, and steps of the
        counter for which there is none, although the symbol's last 1000 were asked for
    seconds_differ : ticks whose sequence's high word is not their own second
    us_ticks, us_word_max, us_backwards : New York's: different ticks, the greatest low word, and how many came
        after one with a greater sequence
    repeats, conflicts : ticks that came again; ticks that share a sequence with another and differ
    times_differ : ticks whose text and number of time differ by over a second
    latency_s : (median, 99th percentile) from OpenD's receive time to our socket; None where it tells none
    """

    ticks: int
    counted_ticks: int
    skipped: int
    seconds_differ: int
    us_ticks: int
    us_word_max: int
    us_backwards: int
    repeats: int
    conflicts: int
    times_differ: int
    latency_s: tuple[float, float] | None


class Observation:
    """Gathers what a connection's reads bring."""

    def __init__(self, symbols: SymbolTable, source: str) -> None:
        self._symbols = symbols
        self._source = source
        self._window = SequenceWindow(symbols)
        self._days = DayCounts(symbols)
        self._newest: dict[int, int] = {}
        self._latencies_us: list[float] = []
        self._ticks = self._repeats = self._conflicts = 0
        self._seconds_differ = self._us_ticks = self._us_word_max = self._us_backwards = 0

    def add(self, ticks: TickBuffer) -> None:
        """The ticks of one read, in the order in which they came."""
        if ticks.rows == 0:
            return
        rows = slice(ticks.rows)
        self._symbols.canonicalize(ticks.narrow[SYMBOL_ID, rows])
        verdict = self._window.test(ticks)
        self._window.mark(ticks, verdict)
        self._days.add(ticks, verdict.fresh, verdict.ordinals)
        self._ticks += ticks.rows
        self._repeats += ticks.rows - verdict.fresh_rows
        self._conflicts += verdict.conflicts
        ids, sequences = ticks.narrow[SYMBOL_ID, rows], ticks.wide[SEQUENCE, rows]
        seconds = ticks.wide[TS_EVENT_US, rows] // _SECOND_US
        self._seconds_differ += int(np.count_nonzero((sequences >> 32) != seconds))
        sent_us = ticks.wide[TS_GATEWAY_US, rows]
        told = sent_us != NULL_TIME
        late_us = ticks.wide[TS_RECV_NS, rows][told] / 1000 - sent_us[told]
        self._latencies_us += late_us[: max(_LATENCIES_MAX - len(self._latencies_us), 0)].tolist()
        for id_ in np.unique(ids).tolist():
            if self._symbols.names[id_].startswith(_US_PREFIX):
                self._watch_us(id_, sequences[(ids == id_) & verdict.fresh].tolist())

    def _watch_us(self, id_: int, sequences: list[int]) -> None:
        for sequence in sequences:
            newest = self._newest.get(id_, sequence)
            self._us_backwards += sequence < newest
            self._newest[id_] = max(newest, sequence)
            self._us_word_max = max(self._us_word_max, sequence & 0xFFFFFFFF)
        self._us_ticks += len(sequences)

    def observed(self, times_differ: int) -> Observed:
        """The figures so far; `times_differ` is what the decoder counted."""
        counted = [count for count in self._days if counts_on(self._source, count.symbol)]
        late_s = np.array(self._latencies_us) / _SECOND_US
        latency_s = (float(np.median(late_s)), float(np.quantile(late_s, 0.99))) if len(late_s) else None
        return Observed(
            self._ticks,
            sum(count.sequences for count in counted),
            sum(count.counter_missing for count in counted),
            self._seconds_differ,
            self._us_ticks,
            self._us_word_max,
            self._us_backwards,
            self._repeats,
            self._conflicts,
            times_differ,
            latency_s,
        )
