"""What the exchanges' calendars say, in the form that kernels read."""

from __future__ import annotations

import datetime
from collections.abc import Collection

import exchange_calendars
import numpy as np

from codec.clock import DAY_FIRST, DAY_LAST, UsDays
from codec.markets import HK, SH, SZ, US
from ingest.market_hours import MarketHours, Stretches

_NEW_YORK = "XNYS"
_EXCHANGES = {HK: "XHKG", US: _NEW_YORK, SH: "XSHG", SZ: "XSHG"}

_DAYS_BACK = 30
"""To know the last close, after the longest holidays."""
_DAYS_AHEAD = 10 * 366
"""No process lives longer."""
_YEARS_ASKED = 5
"""Of the library, which knows some calendars only to the end of its own year."""


def us_days() -> UsDays:
    """New York's trading days and early closes; weekdays until 16:00 where the calendar ends."""
    calendar = exchange_calendars.get_calendar(_NEW_YORK)
    days = np.arange(DAY_FIRST, DAY_LAST)
    closes_s = np.where((days + 3) % 7 < 5, 16 * 3600, 0)  # 1970-01-01 was a Thursday
    known_first = calendar.first_session.toordinal() - _EPOCH_ORDINAL
    known_last = calendar.last_session.toordinal() - _EPOCH_ORDINAL
    closes_s[(days >= known_first) & (days <= known_last)] = 0
    local = calendar.closes.dt.tz_convert(calendar.tz)
    sessions = np.array([day.toordinal() for day in local.index]) - _EPOCH_ORDINAL
    closes_s[sessions - DAY_FIRST] = (local.dt.hour * 3600 + local.dt.minute * 60).to_numpy()
    return UsDays.from_closes(closes_s)


_EPOCH_ORDINAL = 719163
"""date(1970, 1, 1).toordinal()"""


def market_hours(
    today: datetime.date, *, closed: Collection[datetime.date] = (), open_: Collection[datetime.date] = ()
) -> dict[int, MarketHours]:
    """The regular hours of each market that has a calendar, from some weeks before `today` on.

    Days that the library does not know, an old one perhaps none of today's, trade when they are
    weekdays: `known_until` says from when on. `closed` and `open_` overrule it.
    """
    first = today - datetime.timedelta(days=_DAYS_BACK)
    days = range(first.toordinal(), today.toordinal() + _DAYS_AHEAD)
    hours = {}
    for market, exchange in _EXCHANGES.items():
        calendar, known_until = _trading_days(exchange, first, today)
        hours[market] = MarketHours.of_days(market, calendar, known_until, days, closed=closed, open_=open_)
    return hours


def _trading_days(
    exchange: str, first: datetime.date, today: datetime.date
) -> tuple[dict[datetime.date, Stretches], datetime.date]:
    """The trading days from `first` on as far as the library knows them, and the last day that it does know."""
    last = today.replace(year=today.year + _YEARS_ASKED, month=1, day=1)
    try:
        calendar = exchange_calendars.get_calendar(exchange, start=str(first), end=str(last))
        known_until = last
    except ValueError:  # it does not reach that far
        calendar = exchange_calendars.get_calendar(exchange)
        known_until = calendar.last_session.date()
    schedule = calendar.schedule.loc[str(first) :]
    days: dict[datetime.date, Stretches] = {}
    columns = (schedule[name] for name in ("open", "break_start", "break_end", "close"))
    for day, begin, rest, resume, end, pauses in zip(
        schedule.index, *columns, schedule["break_start"].notna(), strict=True
    ):
        parts = [begin, rest, resume, end] if pauses else [begin, end]
        seconds = [part.timestamp() for part in parts]
        days[day.date()] = tuple(zip(seconds[::2], seconds[1::2], strict=True))
    return days, known_until
