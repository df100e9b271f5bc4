"""Exchange-local time to UTC, trading day and session, in kernels.

The gateway's strings carry no zone (docs/protocols/opend.md 4, Time). Zone rules come from the tz
database through `zoneinfo`, once, as arrays; the kernels never ask Python.

A local time that happens twice (the hour after daylight saving ends) is read as the first, one
that never happens (the hour skipped) with the offset from before the change: `zoneinfo`'s
`fold=0`. `to_utc_s` also tells the other reading, for callers that hold a second witness.
"""

from __future__ import annotations

import copy
import datetime
import functools
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from codec.kernel import inlined, kernel
from codec.markets import HK, MARKET_TIMES, SH, SZ, US
from codec.tables import SESSION

DAY_S = 86_400
_YEAR_FIRST, _YEAR_LAST = 1990, 2100
_EPOCH = datetime.date(1970, 1, 1)
DAY_FIRST = (datetime.date(_YEAR_FIRST - 1, 12, 31) - _EPOCH).days  # New York's day when UTC's 1990 begins
DAY_LAST = (datetime.date(_YEAR_LAST, 1, 1) - _EPOCH).days
UTC_S_MIN, UTC_S_MAX = (DAY_FIRST + 1) * DAY_S, DAY_LAST * DAY_S
"""Instants outside 1990–2100 are unreadable: no exchange sends them."""

MARKET_NUMBERS_MAX = 128
"""Market numbers from here on are unlisted."""

_FAR_S = np.int64(1) << 60

# Rows of ZoneRules.changes.
AT_UTC, AT_LOCAL_FIRST, AT_LOCAL_SECOND, OFFSET_S = range(4)
# Columns of MarketClock.markets.
ZONE, READS_TEXT, SESSION_RULE = range(3)
SESSIONS_UNKNOWN, SESSIONS_REGULAR, SESSIONS_US = range(3)
# Columns of MarketClock.us_days.
CLOSE_S, NEXT_TRADING_DAY = range(2)

_US_PRE_S, _US_OPEN_S, _US_CLOSE_S, _US_OVERNIGHT_S = 4 * 3600, 9 * 3600 + 1800, 16 * 3600, 20 * 3600
_UNKNOWN, _REGULAR, _PRE, _POST, _OVERNIGHT = (
    SESSION.code(word) for word in ("unknown", "regular", "pre", "post", "overnight")
)


@functools.cache
def _zone_changes(zone: str) -> NDArray[np.int64]:
    """(4, n) int64: each change of offset, found by bisection; the first column is the beginning.

    Rows: the UTC second of the change; the local second from which `fold=0` uses the new offset;
    the same for `fold=1`; the new offset in seconds.
    """
    info = ZoneInfo(zone)

    def offset_s(utc_s: int) -> int:
        offset = datetime.datetime.fromtimestamp(utc_s, info).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    columns = [(-_FAR_S, -_FAR_S, -_FAR_S, offset_s(UTC_S_MIN))]
    step_s = 7 * DAY_S
    for begin_s in range(UTC_S_MIN, UTC_S_MAX, step_s):
        before, after = offset_s(begin_s), offset_s(begin_s + step_s)
        if before == after:
            continue
        low_s, high_s = begin_s, begin_s + step_s
        while high_s - low_s > 1:
            middle_s = (low_s + high_s) // 2
            low_s, high_s = (middle_s, high_s) if offset_s(middle_s) == before else (low_s, middle_s)
        columns.append((high_s, high_s + max(before, after), high_s + min(before, after), after))
    return np.array(columns, np.int64).T.copy()


@dataclass(frozen=True, slots=True)
class UsDays:
    """What the calendar says of New York's days.

    Attributes
    ----------
    table : (n_days, 2) int32, row 0 is `DAY_FIRST`: second of the day at which the regular session
        ends; days from the epoch of the next trading day
    """

    table: NDArray[np.int32]

    @classmethod
    def without_holidays(cls) -> UsDays:
        """Every weekday trades until 16:00: what is known where no calendar is at hand."""
        days = np.arange(DAY_FIRST, DAY_LAST)
        trades = (days + 3) % 7 < 5  # 1970-01-01 was a Thursday; Monday is 0
        return cls.from_closes(np.where(trades, _US_CLOSE_S, 0))

    @classmethod
    def from_closes(cls, closes_s: NDArray[np.integer]) -> UsDays:
        """From the closing second of each day from `DAY_FIRST` on; 0 for a day without trading."""
        days = np.arange(DAY_FIRST, DAY_LAST, dtype=np.int32)
        assert closes_s.shape == days.shape
        trading = days[closes_s > 0]
        places = np.minimum(np.searchsorted(trading, days, side="right"), len(trading) - 1)
        following = np.maximum(trading[places], days + 1)
        closes = np.where(closes_s > 0, closes_s, _US_CLOSE_S)
        return cls(np.ascontiguousarray(np.stack([closes, following], axis=1).astype(np.int32)))


class MarketClock:
    """The arrays that the time kernels read. `cached` is theirs to write: the last change used."""

    def __init__(self, us_days: UsDays | None = None) -> None:
        zones = sorted({times.zone for times in MARKET_TIMES.values()})
        changes = [_zone_changes(zone) for zone in zones]
        width = max(part.shape[1] for part in changes)
        self.changes: NDArray[np.int64] = np.full((len(zones), 4, width), _FAR_S, np.int64)
        for place, part in enumerate(changes):
            self.changes[place, :, : part.shape[1]] = part
            self.changes[place, OFFSET_S, part.shape[1] :] = part[OFFSET_S, -1]
        self.cached: NDArray[np.int64] = np.zeros(len(zones), np.int64)
        self.markets: NDArray[np.int32] = np.full((MARKET_NUMBERS_MAX, 3), -1, np.int32)
        self.markets[:, READS_TEXT] = 0
        self.markets[:, SESSION_RULE] = SESSIONS_UNKNOWN
        for number, times in MARKET_TIMES.items():
            self.markets[number] = zones.index(times.zone), times.reads_text, SESSIONS_UNKNOWN
        for number in (HK, SH, SZ):
            self.markets[number, SESSION_RULE] = SESSIONS_REGULAR
        self.markets[US, SESSION_RULE] = SESSIONS_US
        self.us_days: NDArray[np.int32] = (us_days or UsDays.without_holidays()).table

    def for_another_thread(self) -> MarketClock:
        """The same clock, with a `cached` of its own."""
        other = copy.copy(self)
        other.cached = self.cached.copy()
        return other

    def local_s(self, market: int, utc_s: int) -> int:
        """Seconds on the clocks of a market, UTC where it is unlisted. For single instants, not for ticks."""
        zone = int(self.markets[market, ZONE]) if 0 <= market < MARKET_NUMBERS_MAX else -1
        return int(to_local_s(utc_s, zone, self.changes, self.cached))

    def trade_day(self, market: int, utc_s: int) -> int:
        """The trading day, days from the epoch, that an instant belongs to in a market."""
        listed = 0 <= market < MARKET_NUMBERS_MAX
        rule = int(self.markets[market, SESSION_RULE]) if listed else SESSIONS_UNKNOWN
        day, _ = trade_day_and_session(self.local_s(market, utc_s), rule, self.us_days)
        return int(day)


@kernel
def _change_at(instant: int, zone: int, row: int, changes: NDArray[np.int64], cached: NDArray[np.int64]) -> int:
    """Index of the last change of `zone` at or before `instant`, counted by `row` of `changes`."""
    low = cached[zone]
    last = changes.shape[2] - 1
    if changes[zone, row, low] <= instant and (low == last or instant < changes[zone, row, low + 1]):
        return low
    low, high = 0, last + 1
    while high - low > 1:
        middle = (low + high) // 2
        if changes[zone, row, middle] <= instant:
            low = middle
        else:
            high = middle
    cached[zone] = low
    return low


@kernel
def to_utc_s(
    local_s: int, zone: int, second_reading: bool, changes: NDArray[np.int64], cached: NDArray[np.int64]
) -> int:
    """UTC seconds of `local_s`, seconds since 1970-01-01 00:00 on the clocks of `zone`.

    `second_reading` takes the later of two instants with that local time (zoneinfo's `fold=1`).
    """
    row = AT_LOCAL_SECOND if second_reading else AT_LOCAL_FIRST
    return local_s - changes[zone, OFFSET_S, _change_at(local_s, zone, row, changes, cached)]


@kernel
def to_local_s(utc_s: int, zone: int, changes: NDArray[np.int64], cached: NDArray[np.int64]) -> int:
    """Seconds on the clocks of `zone` at `utc_s`; UTC itself where `zone` is -1."""
    if zone < 0:
        return utc_s
    return utc_s + changes[zone, OFFSET_S, _change_at(utc_s, zone, AT_UTC, changes, cached)]


@kernel
def trade_day_and_session(local_s: int, session_rule: int, us_days: NDArray[np.int32]) -> tuple[int, int]:
    """Trading day (days from the epoch) and session code of an instant on the market's clocks."""
    day = local_s // DAY_S
    if session_rule == SESSIONS_REGULAR:
        return day, _REGULAR
    if session_rule != SESSIONS_US or day < DAY_FIRST or day >= DAY_LAST:
        return day, _UNKNOWN
    of_day_s = local_s - day * DAY_S
    if of_day_s >= _US_OVERNIGHT_S:
        return us_days[day - DAY_FIRST, NEXT_TRADING_DAY], _OVERNIGHT
    if of_day_s < _US_PRE_S:
        return day, _OVERNIGHT
    if of_day_s < _US_OPEN_S:
        return day, _PRE
    if of_day_s < us_days[day - DAY_FIRST, CLOSE_S]:
        return day, _REGULAR
    return day, _POST


@inlined
def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a Gregorian date (Howard Hinnant's algorithm)."""
    if month <= 2:
        year -= 1
        shifted = month + 9
    else:
        shifted = month - 3
    era = year // 400
    of_era = year - era * 400
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + (153 * shifted + 2) // 5 + day - 719469


@inlined
def days_in_month(year: int, month: int) -> int:
    """Days of a month, 1 <= month <= 12."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31
