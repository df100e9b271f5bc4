"""Capital flow, distribution and ARK moves of the simulated symbols: functions of seed, symbol and time.

A day's money is drawn minute by minute as inflow and outflow by order size; flow lines are their
cumulative differences and the distribution their cumulative sums, so the two always agree. The
line of the running minute grows with its seconds, as a live one does.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from codec.markets import HK, US
from ticktape.simulate.sessions import SECOND_US, local_instant_us, local_time
from ticktape.simulate.symbols import Listing

INTRADAY, DAY, WEEK, MONTH = 1, 2, 3, 4
"""PeriodType (docs/protocols/opend.md 3.2)."""

SIZES = ("super", "big", "mid", "small")
_SIZE_SHARES = np.array([0.15, 0.25, 0.35, 0.25])
_HISTORY_FROM = date(2010, 1, 1)
_HISTORY_DAYS_DEFAULT = 365
_NO_ARK_DYNAMIC = 4


def _minutes(*stretches: tuple[int, int]) -> tuple[int, ...]:
    return tuple(minute for first, last in stretches for minute in range(first, last + 1))


_LINE_MINUTES = {
    # 331 lines a day: 12:01 to 13:00 have none.
    HK: _minutes((9 * 60 + 30, 12 * 60), (13 * 60 + 1, 16 * 60)),
    US: _minutes((9 * 60 + 30, 16 * 60)),
}
"""Minutes of the local day that have a line, by market."""


@dataclass(frozen=True, slots=True)
class FlowLine:
    """One line. `sizes`: net inflow of super, big, mid and small orders; `main` only where not intraday."""

    at: datetime
    net: float
    sizes: tuple[float, float, float, float]
    main: float | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Money in and out for the day so far, of super, big, mid and small orders."""

    at: datetime
    inflow: tuple[float, float, float, float]
    outflow: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ArkDynamic:
    """What the ARK funds did lately; `last_on` is YYYY-MM-DD, empty for none."""

    dynamic_type: int
    transactions: int
    net_shares: int
    last_on: str


class Flows:
    """The money side of the simulated market."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._day = functools.lru_cache(maxsize=4096)(self._draw_day)

    def intraday(self, listing: Listing, now_us: int) -> list[FlowLine]:
        """A line a minute since the open of the running day, or of the whole last one before the open."""
        day, inflow, outflow = self._day_so_far(listing, now_us)
        nets = np.round(np.cumsum(inflow - outflow, axis=0), 3)
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the market's own clock, as sent
        return [
            FlowLine(midnight + timedelta(minutes=minute), round(float(net.sum()), 3), _four(net))
            for minute, net in zip(_LINE_MINUTES[listing.market], nets, strict=False)
        ]

    def distribution(self, listing: Listing, now_us: int) -> Distribution:
        """The same money, in and out, summed over the day so far."""
        _, inflow, outflow = self._day_so_far(listing, now_us)
        at = self.valid_until(listing, now_us)
        return Distribution(at, _four(np.round(inflow.sum(axis=0), 3)), _four(np.round(outflow.sum(axis=0), 3)))

    def valid_until(self, listing: Listing, now_us: int) -> datetime:
        """Local time of the newest money counted: now, or the last close."""
        local = local_time(listing.market, now_us).replace(tzinfo=None)
        minutes = _LINE_MINUTES[listing.market]
        if local.hour * 60 + local.minute < minutes[0]:
            local = local.replace(hour=23) - timedelta(days=1)
        close = local.replace(hour=0, minute=0, second=0) + timedelta(minutes=minutes[-1])
        return min(local, close)

    def history(
        self, listing: Listing, period: int, first: date | None, last: date | None, now_us: int
    ) -> list[FlowLine]:
        """A line for each day, week (its Monday) or month (its first) between two dates, both included."""
        today = local_time(listing.market, now_us).date()
        last = min(last or today, today)
        first = max(first or last - timedelta(days=_HISTORY_DAYS_DEFAULT), _HISTORY_FROM)
        rng = np.random.default_rng([self._seed, 3, period, *listing.symbol.encode()])
        drawn = rng.normal(size=((last - _HISTORY_FROM).days + 1, len(SIZES)))
        nets = np.round(drawn * _SIZE_SHARES * self._turnover(listing) * {DAY: 0.1, WEEK: 0.25, MONTH: 0.5}[period], 3)
        lines = []
        for days in range((last - first).days + 1):
            day = first + timedelta(days=days)
            if (period == WEEK and day.weekday() != 0) or (period == MONTH and day.day != 1):
                continue
            net = nets[(day - _HISTORY_FROM).days]
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the market's own clock, as sent
            lines.append(
                FlowLine(midnight, round(float(net.sum()), 3), _four(net), main=round(float(net[0] + net[1]), 3))
            )
        return lines

    def ark(self, listing: Listing, now_us: int) -> ArkDynamic:
        """Half of the US symbols were traded lately, no HK one was."""
        rng = np.random.default_rng([self._seed, 4, *listing.symbol.encode()])
        if listing.market != US or rng.random() < 0.5:
            return ArkDynamic(_NO_ARK_DYNAMIC, 0, 0, "")
        days_ago, dynamic_type, transactions = (int(rng.integers(*bounds)) for bounds in ((1, 30), (1, 4), (1, 9)))
        last_on = local_time(listing.market, now_us).date() - timedelta(days=days_ago)
        return ArkDynamic(dynamic_type, transactions, int(rng.normal(0, 60_000)), last_on.isoformat())

    @staticmethod
    def timestamp(listing: Listing, at: datetime) -> float:
        """Unix seconds of a local time of the listing's market."""
        return local_instant_us(listing.market, at) / SECOND_US

    def _turnover(self, listing: Listing) -> float:
        """Money that changes hands in a day, in the quote currency."""
        return listing.base_milli / 1000 * 4e6

    def _draw_day(self, listing: Listing, day: date) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Inflow and outflow of each line's minute, (n_minutes, 4): busy at the open and the close."""
        rng = np.random.default_rng([self._seed, 2, day.toordinal(), *listing.symbol.encode()])
        count = len(_LINE_MINUTES[listing.market])
        along = np.linspace(0, 1, count)
        busy = 0.6 + 1.8 * np.exp(-along * 12) + 1.4 * np.exp(-(1 - along) * 12)
        money = rng.gamma(2.0, 0.5, (2, count, len(SIZES))) * _SIZE_SHARES * (busy / busy.sum())[:, None]
        inflow, outflow = money * self._turnover(listing) / 2
        return inflow, outflow

    def _day_so_far(self, listing: Listing, now_us: int) -> tuple[date, NDArray[np.float64], NDArray[np.float64]]:
        until = self.valid_until(listing, now_us)
        inflow, outflow = self._day(listing, until.date())
        minutes = _LINE_MINUTES[listing.market]
        minute_now = until.hour * 60 + until.minute
        count = sum(minute <= minute_now for minute in minutes)
        inflow, outflow = inflow[:count].copy(), outflow[:count].copy()
        if minute_now == minutes[count - 1] and minute_now != minutes[-1]:
            inflow[-1] *= until.second / 60
            outflow[-1] *= until.second / 60
        return until.date(), inflow, outflow


def _four(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    first, second, third, fourth = (float(value) for value in values)
    return first, second, third, fourth
