"""Backoff and calendar: values that others live by."""

from __future__ import annotations

import datetime
import itertools
import random

import pytest

from codec.clock import CLOSE_S, DAY_FIRST, NEXT_TRADING_DAY
from ingest.backoff import Backoff
from ingest.calendar import us_days

_EPOCH = datetime.date(1970, 1, 1)


def test_the_first_attempt_is_at_once_and_the_others_under_a_growing_ceiling() -> None:
    backoff = Backoff(first_s=0.5, growth=2.0, delay_s_max=30.0)
    ceilings_s = [0.0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    runs = [list(itertools.islice(backoff.delays_s(random.Random(seed)), 10)) for seed in range(300)]
    for place, ceiling_s in enumerate(ceilings_s):
        delays_s = [run[place] for run in runs]
        assert all(0 <= delay_s <= ceiling_s for delay_s in delays_s)
        if ceiling_s:
            assert max(delays_s) > 0.9 * ceiling_s, "the whole range is used"
            assert min(delays_s) < 0.1 * ceiling_s


def test_the_same_seed_gives_the_same_delays() -> None:
    first, second = (list(itertools.islice(Backoff().delays_s(random.Random(7)), 20)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("date", "close_s", "following"),
    [
        ("2025-11-26", 16 * 3600, "2025-11-28"),  # the day before Thanksgiving
        ("2025-11-27", 16 * 3600, "2025-11-28"),  # Thanksgiving itself: no close of its own
        ("2025-11-28", 13 * 3600, "2025-12-01"),  # a short Friday
        ("2025-07-03", 13 * 3600, "2025-07-07"),  # before Independence Day and a weekend
        ("2025-04-18", 16 * 3600, "2025-04-21"),  # Good Friday
        ("2025-06-10", 16 * 3600, "2025-06-11"),
        ("1995-08-16", 16 * 3600, "1995-08-17"),  # before the calendar begins, as after its end: weekdays
        ("2095-08-12", 16 * 3600, "2095-08-15"),
    ],
)
def test_new_yorks_days(date: str, close_s: int, following: str) -> None:
    day = (datetime.date.fromisoformat(date) - _EPOCH).days
    row = us_days().table[day - DAY_FIRST]
    assert row[CLOSE_S] == close_s
    assert _EPOCH + datetime.timedelta(days=int(row[NEXT_TRADING_DAY])) == datetime.date.fromisoformat(following)
