"""When a market trades in its regular hours: what its calendar says, as instants.

No calendar library, no clock: `ingest.calendar` reads the library and builds these.
"""

from __future__ import annotations

import bisect
import datetime
import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from codec.markets import HK, MARKET_TIMES, SH, SZ, US

Stretches = tuple[tuple[float, float], ...]
"""Begin and end of each part of one day's trading, unix seconds; none on a day without."""


class Part(enum.Enum):
    """Of a market's day."""

    OPEN = "trading in regular hours"
    BREAK = "the lunch break"
    CLOSED = "no regular trading"


def _clock(hour: int, minute: int = 0) -> datetime.time:
    return datetime.time(hour, minute)


REGULAR_HOURS: dict[int, tuple[tuple[datetime.time, datetime.time], ...]] = {
    HK: ((_clock(9, 30), _clock(12)), (_clock(13), _clock(16))),
    SH: ((_clock(9, 30), _clock(11, 30)), (_clock(13), _clock(15))),
    SZ: ((_clock(9, 30), _clock(11, 30)), (_clock(13), _clock(15))),
    US: ((_clock(9, 30), _clock(16)),),
}
"""Of an ordinary day, on the market's clocks: for days that the calendar does not know."""


def regular_day(market: int, day: datetime.date) -> Stretches:
    """An ordinary day's trading."""
    zone = ZoneInfo(MARKET_TIMES[market].zone)
    return tuple(
        (
            datetime.datetime.combine(day, begin, zone).timestamp(),
            datetime.datetime.combine(day, end, zone).timestamp(),
        )
        for begin, end in REGULAR_HOURS[market]
    )


@dataclass(frozen=True, slots=True)
class MarketHours:
    """The regular hours of one market.

    Attributes
    ----------
    known_until : the last day of which the calendar knows whether it trades; weekdays do from then on
    """

    known_until: datetime.date
    _begins_s: tuple[float, ...]
    _ends_s: tuple[float, ...]
    _ends_day: tuple[bool, ...]
    """Of each stretch: whether trading is over for the day with it."""
    _closes_s: tuple[float, ...]

    @classmethod
    def of_days(
        cls,
        market: int,
        calendar: Mapping[datetime.date, Stretches],
        calendar_until: datetime.date,
        days: range,
        *,
        closed: Collection[datetime.date] = (),
        open_: Collection[datetime.date] = (),
    ) -> MarketHours:
        """From a calendar's trading days.

        Parameters
        ----------
        calendar : trading days, complete from the first of `days` to `calendar_until`
        days : ordinals of all days to know
        closed, open_ : days on which the calendar is overruled; an ordinary day's hours on open ones
        """
        parts: list[Stretches] = []
        for ordinal in days:
            day = datetime.date.fromordinal(ordinal)
            trades = day in calendar if day <= calendar_until else day.weekday() < 5
            if day in closed or not (trades or day in open_):
                continue
            parts.append(calendar.get(day) or regular_day(market, day))
        return cls(
            calendar_until,
            tuple(begin for part in parts for begin, _ in part),
            tuple(end for part in parts for _, end in part),
            tuple(end == part[-1][1] for part in parts for _, end in part),
            tuple(part[-1][1] for part in parts),
        )

    def part_at(self, unix_s: float) -> tuple[Part, float]:
        """The part of the day at an instant, and when it ends; infinity behind the last day known."""
        begun = bisect.bisect_right(self._begins_s, unix_s)
        if begun and unix_s < self._ends_s[begun - 1]:
            return Part.OPEN, self._ends_s[begun - 1]
        if begun == len(self._begins_s):
            return Part.CLOSED, float("inf")
        at_lunch = begun and not self._ends_day[begun - 1]
        return (Part.BREAK if at_lunch else Part.CLOSED), self._begins_s[begun]

    def last_close_s(self, unix_s: float) -> float | None:
        """The last end of a trading day before an instant, or at it."""
        closes = bisect.bisect_right(self._closes_s, unix_s)
        return self._closes_s[closes - 1] if closes else None
