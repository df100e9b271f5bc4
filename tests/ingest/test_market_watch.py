"""What the exchanges' calendars say, what overrules them, and the one last poll after each close."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest

from codec.markets import HK, MARKET_TIMES, SH, SZ, US
from ingest.calendar import market_hours
from ingest.market_hours import MarketHours, Part
from ingest.market_watch import MarketWatch

TODAY = datetime.date(2026, 11, 25)
HOURS = market_hours(TODAY)
OPEN, BREAK, CLOSED = Part.OPEN, Part.BREAK, Part.CLOSED
MORNING, REST, AFTERNOON, STATE_CLOSED, AFTER_HOURS, HK_CAS = 3, 4, 5, 6, 10, 19
"""QotMarketState."""


def at(market: int, local: str) -> float:
    """Unix seconds of a time on the market's clocks."""
    return datetime.datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(MARKET_TIMES[market].zone)).timestamp()


@pytest.mark.parametrize(
    ("market", "local", "part"),
    [
        (HK, "2026-11-25 09:29:59", CLOSED),
        (HK, "2026-11-25 09:30", OPEN),
        (HK, "2026-11-25 12:00", BREAK),
        (HK, "2026-11-25 13:00", OPEN),
        (HK, "2026-11-25 16:00", CLOSED),
        (HK, "2026-11-28 10:00", CLOSED),  # a Saturday
        (HK, "2026-12-24 11:59", OPEN),  # a half day
        (HK, "2026-12-24 12:00", CLOSED),
        (HK, "2026-12-24 14:00", CLOSED),
        (HK, "2026-12-25 10:00", CLOSED),
        (US, "2026-11-25 15:59", OPEN),
        (US, "2026-11-25 16:00", CLOSED),
        (US, "2026-11-25 08:00", CLOSED),  # pre-market: capital flow counts regular hours only
        (US, "2026-11-26 12:00", CLOSED),  # Thanksgiving
        (US, "2026-11-27 12:59", OPEN),  # the half day behind it
        (US, "2026-11-27 13:00", CLOSED),
        (US, "2027-03-15 09:30", OPEN),  # summer time began the day before
        (SH, "2026-11-25 11:30", BREAK),
        (SH, "2026-11-25 15:00", CLOSED),
        (SZ, "2026-11-25 14:59", OPEN),
    ],
)
def test_the_part_of_the_day(market: int, local: str, part: Part) -> None:
    assert HOURS[market].part_at(at(market, local))[0] is part


def test_days_are_closed_and_opened_by_hand() -> None:
    typhoon, saturday = datetime.date(2026, 11, 26), datetime.date(2026, 11, 28)
    hours = market_hours(TODAY, closed=[typhoon], open_=[saturday])[HK]
    assert hours.part_at(at(HK, "2026-11-26 10:00")) == (CLOSED, at(HK, "2026-11-27 09:30"))
    assert hours.part_at(at(HK, "2026-11-28 12:30"))[0] is BREAK
    assert hours.last_close_s(at(HK, "2026-11-29 10:00")) == at(HK, "2026-11-28 16:00")


def test_behind_the_calendars_end_weekdays_trade() -> None:
    """The library knows Chinese holidays only to the end of a year; an old one knows none of today's."""
    hours = MarketHours.of_days(HK, {}, TODAY, range(TODAY.toordinal() + 1, TODAY.toordinal() + 100))
    assert hours.part_at(at(HK, "2026-12-25 10:00"))[0] is OPEN
    assert hours.part_at(at(HK, "2026-12-26 10:00"))[0] is CLOSED
    future = market_hours(datetime.date(2036, 11, 25))[SH]
    assert future.known_until.year < 2036
    assert future.part_at(at(SH, "2036-11-25 12:00"))[0] is BREAK


class Watched:
    """A watch that is looked at every few seconds, or not at all for a while."""

    def __init__(self, market: int, since: str, hours: MarketHours | None = None) -> None:
        self.market, self.state = market, 0
        self.now_s = at(market, since)
        self.watch = MarketWatch(hours or HOURS[market], lambda: self.state or None, self.now_s)
        self.finals: list[float] = []

    def until(self, local: str, state: int | None = None) -> Part:
        """Look on until then, with the gateway saying `state` from now on."""
        self.state = self.state if state is None else state
        part = OPEN
        stop_s = at(self.market, local)
        while True:
            seen = self.watch.look(self.now_s)
            part = seen.part
            if seen.final:
                self.finals.append(self.now_s)
            if self.now_s >= stop_s:
                return part
            assert self.now_s < seen.look_at_s
            self.now_s = min(seen.look_at_s, stop_s)

    @property
    def final_times(self) -> list[str]:
        zone = ZoneInfo(MARKET_TIMES[self.market].zone)
        return [f"{datetime.datetime.fromtimestamp(final, zone):%d %H:%M}" for final in self.finals]


def test_one_last_poll_a_little_after_each_close() -> None:
    watched = Watched(HK, "2026-11-24 10:00")
    watched.until("2026-11-26 09:00")
    assert watched.final_times == ["24 16:15", "25 16:15"]


def test_also_after_a_half_day_and_none_on_a_holiday() -> None:
    watched = Watched(HK, "2026-12-24 09:00")
    watched.until("2026-12-27 20:00")
    assert watched.final_times == ["24 12:15"]


def test_started_after_the_close_the_last_poll_is_still_to_come_or_done_by_the_first() -> None:
    early, late = Watched(HK, "2026-11-25 16:05"), Watched(HK, "2026-11-25 16:20")
    early.until("2026-11-25 20:00")
    late.until("2026-11-25 20:00")
    assert (early.final_times, late.final_times) == (["25 16:15"], [])


def test_the_gateways_word_wins_both_ways() -> None:
    watched = Watched(HK, "2026-11-25 09:00")
    assert watched.until("2026-11-25 10:00", STATE_CLOSED) is CLOSED  # a typhoon that no calendar knows
    watched.until("2026-11-25 20:00")
    assert watched.finals == []
    assert watched.until("2026-11-28 10:00", MORNING) is OPEN  # a Saturday
    assert watched.until("2026-11-28 12:30", REST) is BREAK


def test_a_close_that_the_gateway_tells_of() -> None:
    watched = Watched(HK, "2026-11-25 09:00")
    watched.until("2026-11-25 12:00", MORNING)
    watched.until("2026-11-25 13:00", REST)
    watched.until("2026-11-25 14:00", AFTERNOON)
    watched.until("2026-11-25 20:00", STATE_CLOSED)  # a typhoon in the afternoon
    assert watched.final_times == ["25 14:05"]


def test_the_closing_auction_is_waited_for_once() -> None:
    watched = Watched(HK, "2026-11-25 15:00")
    watched.until("2026-11-25 16:00", AFTERNOON)
    assert watched.until("2026-11-25 16:09", HK_CAS) is OPEN
    watched.until("2026-11-26 09:00", STATE_CLOSED)
    assert watched.final_times == ["25 16:15"]


def test_after_hours_are_closed_for_money_flow() -> None:
    watched = Watched(US, "2026-11-25 15:00")
    watched.until("2026-11-25 16:00", AFTERNOON)
    assert watched.until("2026-11-25 20:00", AFTER_HOURS) is CLOSED
    assert watched.final_times == ["25 16:15"]


def test_a_close_slept_through_is_made_good() -> None:
    for state in (0, STATE_CLOSED):
        watched = Watched(HK, "2026-11-25 15:00")
        watched.until("2026-11-25 15:30", AFTERNOON if state else 0)
        watched.now_s, watched.state = at(HK, "2026-11-25 18:00"), state
        watched.until("2026-11-26 09:00")
        assert watched.final_times == ["25 18:00"]


def test_a_clock_set_back_brings_no_second_round_and_loses_none() -> None:
    watched = Watched(HK, "2026-11-24 10:00")
    watched.until("2026-11-25 17:00")
    watched.now_s = at(HK, "2026-11-24 17:00")
    watched.until("2026-11-25 17:00")
    assert watched.final_times == ["24 16:15", "25 16:15", "25 16:15"]


def test_a_market_without_a_calendar_is_open_unless_the_gateway_says_otherwise() -> None:
    state = [0]
    watch = MarketWatch(None, lambda: state[0] or None, 0.0)
    assert watch.look(1.0).part is OPEN
    state[0] = STATE_CLOSED
    assert watch.look(2.0).part is CLOSED
    assert not watch.look(60.0).final
    assert [watch.look(at_s).final for at_s in (120.0, 180.0, 240.0, 300.0, 302.0, 360.0)].count(True) == 1
