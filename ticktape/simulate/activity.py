"""How many ticks each symbol gets in a step: the market's busyness, bursts and favourites."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ticktape.simulate.sessions import intensity, phase_at
from ticktape.simulate.symbols import Listing
from ticktape.simulate.tick_kernel import STEP_TICKS_MAX

FULL_SPEED_TICKS = 1 << 15
"""Ticks a step when no rate is asked for: some 3 MB of frames."""

_ZIPF_EXPONENT = 0.8
_AVERAGED_OVER_S = 60
"""The target rate is kept on average over this stretch of real time to come; a busier or calmer hour
shows in the rate only when the clock is fast enough to reach it within the stretch."""
_AVERAGE_SAMPLES = 32

_BURSTS_PER_S = 1.0
_BURST_DECAY_S = 0.4
_BURST_SHARE = 0.3
"""Share of all ticks that comes in bursts of the whole market."""

_EVEN_OUT_S = 3.0
"""What chance made too many or too few is made good within about this time."""

_HEATS_PER_SYMBOL_S = 0.02
_HEAT_DECAY_S = 3.0
_HEAT_MEAN = 12.0
"""Now and then a symbol is traded this many times more than usual, on average, and calms down again."""


class Activity:
    """Draws the number of ticks of each symbol for each step.

    Parameters
    ----------
    rate : ticks a second of real time, of all symbols together, on average; 0: as many as fit a step
    speed : market seconds a real second
    """

    def __init__(self, listings: Sequence[Listing], rate: float, speed: float, rng: np.random.Generator) -> None:
        self._rate, self._rng = rate, rng
        self._averaged_over_us = int(_AVERAGED_OVER_S * speed * 1e6)
        self._market = np.array([listing.market for listing in listings])
        self._markets = sorted(set(self._market.tolist()))
        self._weight = self._zipf_weights(listings)
        self._heat = np.zeros(len(listings))
        self._burst = 0.0
        self._ahead_ticks = 0.0
        self._mean = 1.0
        self._mean_until_us = 0
        self._mean_of: tuple[float, ...] = ()

    def draw(self, elapsed_s: float, now_us: int, held: NDArray[np.uint8], ticks_max: int) -> NDArray[np.int64]:
        """Ticks of each symbol for a step of `elapsed_s` real seconds, at most `ticks_max` together.

        `held`, (n_symbols,), has the sessions in which each symbol is subscribed, as `TradingSession`
        bits: a symbol gets none outside of them.
        """
        self._stir(elapsed_s)
        weight = np.zeros(len(held))
        totals = []
        for market in self._markets:
            session = phase_at(market, now_us).session
            wanted = (self._market == market) & (held != 0)
            totals.append(float(self._weight[wanted].sum()))
            if session is not None:
                wanted &= (held & session) != 0
                weight[wanted] = self._weight[wanted] * (1.0 + self._heat[wanted]) * intensity(market, now_us)
        total = float(weight.sum())
        if total == 0.0 or ticks_max == 0:
            return np.zeros(len(held), np.int64)
        if self._rate == 0:
            ticks, target = FULL_SPEED_TICKS, 0.0
        else:
            target = self._rate * elapsed_s * self._shape(now_us, tuple(totals))
            burst = 1 - _BURST_SHARE + _BURST_SHARE * self._burst / (_BURSTS_PER_S * _BURST_DECAY_S)
            expected = target * burst - self._ahead_ticks * min(elapsed_s / _EVEN_OUT_S, 1.0)
            ticks = int(self._rng.poisson(max(expected, 0.0)))
        counts = np.minimum(self._rng.multinomial(min(ticks, ticks_max), weight / total), STEP_TICKS_MAX)
        # Not more than a few seconds' worth is ever made good: a rate beyond what fits in a step stays missed.
        self._ahead_ticks = max(self._ahead_ticks + float(counts.sum()) - target, -self._rate * _EVEN_OUT_S)
        return counts

    def _stir(self, elapsed_s: float) -> None:
        """Let bursts and favourites fade, and start new ones."""
        self._burst *= math.exp(-elapsed_s / _BURST_DECAY_S)
        self._burst += float(self._rng.exponential(1.0, self._rng.poisson(_BURSTS_PER_S * elapsed_s)).sum())
        self._heat *= math.exp(-elapsed_s / _HEAT_DECAY_S)
        starting = self._rng.integers(
            0, len(self._heat), self._rng.poisson(_HEATS_PER_SYMBOL_S * elapsed_s * len(self._heat))
        )
        self._heat[starting] += self._rng.exponential(_HEAT_MEAN, len(starting))

    def _shape(self, now_us: int, totals: tuple[float, ...]) -> float:
        """Busyness now as a multiple of its mean over the stretch to come, its closed parts left out."""
        if now_us >= self._mean_until_us or totals != self._mean_of:
            step_us = self._averaged_over_us // _AVERAGE_SAMPLES
            levels = [self._level(now_us + i * step_us, totals) for i in range(_AVERAGE_SAMPLES)]
            levels = [level for level in levels if level > 0] or [1.0]
            self._mean, self._mean_of = sum(levels) / len(levels), totals
            self._mean_until_us = now_us + max(step_us, 1)
        return self._level(now_us, totals) / self._mean

    def _level(self, now_us: int, totals: tuple[float, ...]) -> float:
        return sum(
            total * intensity(market, now_us) for market, total in zip(self._markets, totals, strict=True) if total
        )

    @staticmethod
    def _zipf_weights(listings: Sequence[Listing]) -> NDArray[np.float64]:
        """The first of each market is the most traded."""
        seen: Counter[int] = Counter()
        weights = []
        for listing in listings:
            seen[listing.market] += 1
            weights.append(seen[listing.market] ** -_ZIPF_EXPONENT)
        return np.array(weights)
