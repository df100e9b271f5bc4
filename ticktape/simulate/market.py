"""The simulated market: symbols, a clock that we push forward, and ticks as it passes.

Nothing here reads a real clock: steps say how much time went by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codec.markets import HK
from ticktape.simulate.activity import Activity
from ticktape.simulate.sessions import (
    SECOND_US,
    TradingSession,
    last_open_us,
    local_time,
    phase_at,
    phase_end_us,
)
from ticktape.simulate.symbols import Listing
from ticktape.simulate.tick_store import Spans, TickStore

CACHE_TICKS = 10
"""Ticks that a symbol already has when somebody first subscribes to it."""

_CACHE_SPREAD_US = 10 * SECOND_US

EVERY_SESSION = TradingSession.REGULAR | TradingSession.EXTENDED | TradingSession.OVERNIGHT

STEP_S_MAX = 1.0
"""A longer pause between steps (slow clients, a stopped process) does not bring more ticks than this."""


class Market:
    """All symbols, their ticks, and the market's clock.

    Parameters
    ----------
    start_us : where the clock starts, unix microseconds
    rate : ticks a real second; 0 for as many as a step holds (see `Activity`)
    ticks_max : generate no more than this many ticks in all
    uncounted, keeps, sequenced : as in `TickStore`
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        seed: int,
        start_us: int,
        rate: float = 0,
        speed: float = 1.0,
        ticks_max: int | None = None,
        uncounted: float = 0.0,
        keeps: Sequence[str] = (),
        sequenced: bool = True,
    ) -> None:
        self.listings = tuple(listings)
        self.index = {(listing.market, listing.code): i for i, listing in enumerate(listings)}
        self.store = TickStore(self.listings, seed, uncounted=uncounted, keeps=keeps, sequenced=sequenced)
        self.now_us = start_us
        self._cached_from = np.zeros(len(self.listings), np.int64)
        self._speed = speed
        self._ticks_max = ticks_max
        self._activity = Activity(self.listings, rate, speed, np.random.default_rng([seed, 1]))
        self._market = np.array([listing.market for listing in listings])
        self._markets = sorted(set(self._market.tolist()))
        self._hk = np.flatnonzero(self._market == HK)
        self._hk_day = local_time(HK, start_us).date()

    def step(self, elapsed_s: float, behind_s: float, held: NDArray[np.uint8]) -> Spans:
        """Move the clock on by `behind_s` real seconds and generate the ticks of `elapsed_s` of them.

        The clock stops at the end of a phase of any market, so that no tick falls into a closed
        one; the next step is then behind by what was left. `held` is as in `Activity.draw`.
        """
        start_us = self.now_us
        stop_us = start_us + max(int(behind_s * self._speed * 1e6), 1)
        stop_us = min(stop_us, *(phase_end_us(market, start_us) for market in self._markets))
        counts = self._activity.draw(min(elapsed_s, STEP_S_MAX), start_us, held, self._ticks_left())
        symbols = np.flatnonzero(counts)
        spans = self.store.generate(symbols, counts[symbols], start_us, stop_us)
        self.now_us = stop_us
        if (day := local_time(HK, stop_us).date()) != self._hk_day:
            self._hk_day = day
            self.store.start_day(self._hk)
        return spans

    def fill_cache(self, symbols: NDArray[np.int64], covered: TradingSession) -> None:
        """Give symbols that were never traded their first ticks, dated just before now (or before the close)."""
        fresh = symbols[self.store.state.ticks[symbols] == 0]
        for market in self._markets:
            cold = fresh[self._market[fresh] == market]
            open_us, stop_us = last_open_us(market, covered if market != HK else TradingSession.REGULAR, self.now_us)
            counts = np.full(len(cold), CACHE_TICKS, np.int64)
            fit = np.cumsum(counts) <= self._ticks_left()
            self.store.generate(cold[fit], counts[fit], max(open_us, stop_us - _CACHE_SPREAD_US), stop_us)

    def cached(self, symbols: NDArray[np.int64], ticks_max: int) -> Spans:
        """Up to `ticks_max` newest ticks that the gateway holds of each symbol, of those that have any."""
        spans = self.store.last(symbols, ticks_max)
        first: NDArray[np.int64] = np.maximum(spans.first, self._cached_from[spans.symbol])
        count = spans.count - (first - spans.first)
        have = count > 0
        return Spans(spans.symbol[have], first[have], count[have])

    def forget_cache(self) -> None:
        """The gateway holds nothing of what was traded until now."""
        self._cached_from = self.store.state.ticks.copy()

    def session_now(self, market: int) -> TradingSession | None:
        """The session that `market` is in, None when closed."""
        return phase_at(market, self.now_us).session

    def sessions_now(self) -> NDArray[np.uint8]:
        """(n_symbols,) the current session's bit of each symbol, 0 when closed."""
        result = np.zeros(len(self.listings), np.uint8)
        for market in self._markets:
            session = self.session_now(market)
            if session is not None:
                result[self._market == market] = session
        return result

    def _ticks_left(self) -> int:
        if self._ticks_max is None:
            return np.iinfo(np.int64).max
        return max(self._ticks_max - self.store.total, 0)
