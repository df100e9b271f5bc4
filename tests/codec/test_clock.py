"""Exchange clocks against zoneinfo, and New York's days against a plain calendar."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.clock import (
    DAY_FIRST,
    DAY_LAST,
    DAY_S,
    OFFSET_S,
    SESSION_RULE,
    UTC_S_MAX,
    UTC_S_MIN,
    ZONE,
    MarketClock,
    UsDays,
    days_from_civil,
    days_in_month,
    to_local_s,
    to_utc_s,
    trade_day_and_session,
)
from codec.markets import HK, MARKET_TIMES, US
from codec.tables import SESSION
from tests.codec.examples import examples
from tests.codec.feeding import CLOCK
from tests.codec.oracle import EPOCH, EPOCH_DAY, day_and_session

ZONES = {times.zone: int(CLOCK.markets[market, ZONE]) for market, times in MARKET_TIMES.items()}
SECOND = datetime.timedelta(seconds=1)


def utc_of(local_s: int, zone: str, fold: int) -> int:
    local = (EPOCH + local_s * SECOND).replace(tzinfo=ZoneInfo(zone), fold=fold)
    offset = local.utcoffset()
    assert offset is not None
    return local_s - int(offset.total_seconds())


def local_of(utc_s: int, zone: str) -> int:
    local = (EPOCH + utc_s * SECOND).astimezone(ZoneInfo(zone))
    return (local.replace(tzinfo=datetime.UTC) - EPOCH) // SECOND


def check(utc_s: int, zone: str) -> None:
    index, arrays = ZONES[zone], (CLOCK.changes, CLOCK.cached)
    assert to_local_s(utc_s, index, *arrays) == local_of(utc_s, zone)
    for local_s in (utc_s, local_of(utc_s, zone)):
        for fold in (0, 1):
            assert to_utc_s(local_s, index, bool(fold), *arrays) == utc_of(local_s, zone, fold)


@examples(500)
@given(utc_s=st.integers(UTC_S_MIN + DAY_S, UTC_S_MAX - DAY_S), zone=st.sampled_from(sorted(ZONES)))
def test_any_instant(utc_s: int, zone: str) -> None:
    check(utc_s, zone)


@pytest.mark.parametrize("zone", sorted(ZONES))
def test_every_change_of_every_zone(zone: str) -> None:
    """Each edge of the repeated and of the skipped hour, to the second, in the years that matter."""
    first, last = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp() for year in (2020, 2032))
    changes = [at for at in CLOCK.changes[ZONES[zone], 0].tolist() if first < at < last]
    assert bool(changes) == (zone in ("America/New_York", "America/Toronto", "Australia/Sydney"))
    for change_s in changes:
        for hours in (-1, 0, 1):
            for offset_s in (0, *(CLOCK.changes[ZONES[zone], OFFSET_S, :3].tolist())):
                for second in (-1, 0, 1):
                    check(change_s + hours * 3600 + offset_s + second, zone)


def test_a_repeated_hour_is_read_as_the_first_and_as_the_second() -> None:
    """New York, 2026-11-01: 01:30 comes at 05:30 and at 06:30 UTC."""
    local_s = (datetime.datetime(2026, 11, 1, 1, 30, tzinfo=datetime.UTC) - EPOCH) // SECOND
    readings = [
        to_utc_s(local_s, ZONES["America/New_York"], second, CLOCK.changes, CLOCK.cached) for second in (False, True)
    ]
    assert [reading - local_s for reading in readings] == [4 * 3600, 5 * 3600]


def test_an_unknown_zone_is_utc() -> None:
    assert to_local_s(12345, -1, CLOCK.changes, CLOCK.cached) == 12345


@examples(500)
@given(utc_s=st.integers(UTC_S_MIN + DAY_S, UTC_S_MAX - 5 * DAY_S), market=st.sampled_from(sorted(MARKET_TIMES)))
def test_trading_day_and_session(utc_s: int, market: int) -> None:
    local_s = local_of(utc_s, MARKET_TIMES[market].zone)
    day, session = trade_day_and_session(local_s, int(CLOCK.markets[market, SESSION_RULE]), CLOCK.us_days)
    expected_day, word = day_and_session(utc_s * 1_000_000, market)
    assert (EPOCH_DAY + datetime.timedelta(days=int(day)), session) == (expected_day, SESSION.code(word))


@pytest.mark.parametrize(
    ("local", "trade_date", "session"),
    [
        ("2026-11-20 03:59:59", "2026-11-20", "overnight"),
        ("2026-11-20 04:00:00", "2026-11-20", "pre"),
        ("2026-11-20 09:29:59", "2026-11-20", "pre"),
        ("2026-11-20 09:30:00", "2026-11-20", "regular"),
        ("2026-11-20 15:59:59", "2026-11-20", "regular"),
        ("2026-11-20 16:00:00", "2026-11-20", "post"),
        ("2026-11-20 19:59:59", "2026-11-20", "post"),
        ("2026-11-20 20:00:00", "2026-11-23", "overnight"),  # Friday evening belongs to Monday
        ("2026-11-22 20:00:00", "2026-11-23", "overnight"),  # so does Sunday's
        ("2026-11-25 20:00:00", "2026-11-27", "overnight"),  # the 26th is Thanksgiving
        ("2026-11-27 12:59:59", "2026-11-27", "regular"),  # the day after closes at 13:00
        ("2026-11-27 13:00:00", "2026-11-27", "post"),
    ],
)
def test_new_york_with_a_calendar(local: str, trade_date: str, session: str) -> None:
    days = np.arange(DAY_FIRST, DAY_LAST)
    closes_s = np.where((days + 3) % 7 < 5, 16 * 3600, 0)
    closes_s[(datetime.date(2026, 11, 26) - EPOCH_DAY).days - DAY_FIRST] = 0
    closes_s[(datetime.date(2026, 11, 27) - EPOCH_DAY).days - DAY_FIRST] = 13 * 3600
    clock = MarketClock(UsDays.from_closes(closes_s))
    local_s = (datetime.datetime.fromisoformat(local).replace(tzinfo=datetime.UTC) - EPOCH) // SECOND
    day, code = trade_day_and_session(local_s, int(clock.markets[US, SESSION_RULE]), clock.us_days)
    assert EPOCH_DAY + datetime.timedelta(days=int(day)) == datetime.date.fromisoformat(trade_date)
    assert code == SESSION.code(session)


def test_days_beyond_the_calendar_have_no_session() -> None:
    for day in (DAY_FIRST - 1, DAY_LAST):
        assert trade_day_and_session(day * DAY_S, int(CLOCK.markets[US, SESSION_RULE]), CLOCK.us_days) == (day, 0)
    assert trade_day_and_session((DAY_LAST - 1) * DAY_S + 80_000, 2, CLOCK.us_days)[0] == DAY_LAST


def test_the_first_evening_belongs_to_the_next_day() -> None:
    evening_s = UTC_S_MIN + 8192  # 1989-12-31 21:16 in New York, a Sunday
    assert EPOCH_DAY + datetime.timedelta(days=CLOCK.trade_day(US, evening_s)) == datetime.date(1990, 1, 1)


def test_hong_kong_has_one_session() -> None:
    rule = int(CLOCK.markets[HK, SESSION_RULE])
    assert trade_day_and_session(5 * DAY_S + 1, rule, CLOCK.us_days) == (5, SESSION.code("regular"))


@examples(300)
@given(day=st.dates(datetime.date(1600, 1, 1), datetime.date(2400, 12, 31)))
def test_civil_dates(day: datetime.date) -> None:
    assert days_from_civil(day.year, day.month, day.day) == (day - EPOCH_DAY).days
    following = day.replace(day=28) + datetime.timedelta(days=4)
    assert days_in_month(day.year, day.month) == (following - datetime.timedelta(days=following.day)).day
