"""The simulated trading day: when each market trades, how busily, and the states OpenD names.

Weekdays and holidays do not exist here: every day trades, so that nothing depends on when a test runs.
All instants are microseconds since 1970 UTC of the market's clock, which is not the wall's.
"""

from __future__ import annotations

import enum
import itertools
import math
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from codec.markets import HK, MARKET_TIMES, US

SECOND_US = 1_000_000
_DAY_S = 86_400


class TradingSession(enum.IntFlag):
    """Parts of the day, combinable: what a subscription covers."""

    REGULAR = 1
    EXTENDED = 2
    OVERNIGHT = 4


class MarketState(enum.IntEnum):
    """QotMarketState, the members in use (docs/protocols/opend.md 3.2)."""

    WAITING_OPEN = 2
    MORNING = 3
    REST = 4
    AFTERNOON = 5
    CLOSED = 6
    PRE_MARKET = 8
    AFTER_HOURS = 10
    OVERNIGHT = 37


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the local day.

    `session` None means closed. `busy` scales the intensity; U-shaped phases are busiest at
    the day's open and close (`day_s`: the whole day's seconds, lunch included).
    """

    start_s: int
    stop_s: int
    state: MarketState
    session: TradingSession | None
    busy: float = 0.0
    day_s: tuple[int, int] | None = None


def _at(hour: int, minute: int = 0) -> int:
    return (hour * 60 + minute) * 60


_HK_DAY = (_at(9, 30), _at(16))
_US_DAY = (_at(9, 30), _at(16))

PHASES: dict[int, tuple[Phase, ...]] = {
    HK: (
        Phase(0, _at(9, 30), MarketState.WAITING_OPEN, None),
        Phase(_at(9, 30), _at(12), MarketState.MORNING, TradingSession.REGULAR, 1.0, _HK_DAY),
        Phase(_at(12), _at(13), MarketState.REST, None),
        Phase(_at(13), _at(16), MarketState.AFTERNOON, TradingSession.REGULAR, 1.0, _HK_DAY),
        Phase(_at(16), _DAY_S, MarketState.CLOSED, None),
    ),
    US: (
        Phase(0, _at(4), MarketState.OVERNIGHT, TradingSession.OVERNIGHT, 0.4),
        Phase(_at(4), _at(9, 30), MarketState.PRE_MARKET, TradingSession.EXTENDED, 0.5),
        Phase(_at(9, 30), _at(16), MarketState.AFTERNOON, TradingSession.REGULAR, 1.6, _US_DAY),
        Phase(_at(16), _at(20), MarketState.AFTER_HOURS, TradingSession.EXTENDED, 0.5),
        Phase(_at(20), _DAY_S, MarketState.OVERNIGHT, TradingSession.OVERNIGHT, 0.4),
    ),
}
assert all(
    phases[0].start_s == 0
    and phases[-1].stop_s == _DAY_S
    and all(before.stop_s == after.start_s for before, after in itertools.pairwise(phases))
    for phases in PHASES.values()
), "the phases of a market must cover its day without holes"

_ZONES = {market: ZoneInfo(MARKET_TIMES[market].zone) for market in PHASES}


def opening_us(date: str) -> int:
    """09:30 in Hong Kong on `date` (YYYY-MM-DD): where the market's clock starts."""
    local = datetime.strptime(date, "%Y-%m-%d").replace(hour=9, minute=30, tzinfo=_ZONES[HK])
    return int(local.timestamp()) * SECOND_US


def utc_offset_s(market: int, now_us: int) -> int:
    """Seconds to add to UTC for the market's local time."""
    offset = datetime.fromtimestamp(now_us // SECOND_US, _ZONES[market]).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def local_time(market: int, now_us: int) -> datetime:
    """The market's local time, to the second."""
    return datetime.fromtimestamp(now_us // SECOND_US, _ZONES[market])


def local_second(market: int, now_us: int) -> int:
    """Seconds since local midnight."""
    return (now_us // SECOND_US + utc_offset_s(market, now_us)) % _DAY_S


def phase_at(market: int, now_us: int) -> Phase:
    """The phase that `now_us` lies in."""
    second = local_second(market, now_us)
    return next(phase for phase in PHASES[market] if second < phase.stop_s)


def phase_end_us(market: int, now_us: int) -> int:
    """When the phase of `now_us` ends (a change to or from summer time within it aside)."""
    left_s = phase_at(market, now_us).stop_s - local_second(market, now_us)
    return (now_us // SECOND_US + left_s) * SECOND_US


def last_open_us(market: int, covered: TradingSession, now_us: int) -> tuple[int, int]:
    """The stretch of trading that `covered` holds and that is running at `now_us` or ended last before.

    Returns its start and its end so far (`now_us` when it is running).
    """
    end_us = now_us
    for _ in range(2 * len(PHASES[market])):
        phase = phase_at(market, end_us - 1)
        start_us = ((end_us - 1) // SECOND_US - (local_second(market, end_us - 1) - phase.start_s)) * SECOND_US
        if phase.session is not None and phase.session & covered:
            return start_us, end_us
        end_us = start_us
    raise AssertionError(f"market {market} never trades in {covered!r}")


def intensity(market: int, now_us: int) -> float:
    """How busy the market is, 0 when closed: U-shaped over the regular day, flat elsewhere."""
    phase = phase_at(market, now_us)
    if phase.session is None or phase.day_s is None:
        return phase.busy
    open_s, close_s = phase.day_s
    along = (local_second(market, now_us) - open_s) / (close_s - open_s)
    return phase.busy * (0.6 + 1.8 * math.exp(-along * 12) + 1.4 * math.exp(-(1 - along) * 12))


def local_instant_us(market: int, local: datetime) -> int:
    """The instant of a zone-less local time of the market."""
    return int(local.replace(tzinfo=_ZONES[market]).timestamp()) * SECOND_US
