"""Silence by the symbol's own rhythm and the market's hours."""

from __future__ import annotations

import numpy as np
import pytest

from codec.markets import HK, US
from ingest.lane import Lane
from ingest.listener import Listener
from ingest.silence import LOOK_EVERY_S, QUIET_S_MAX, RUNS_MIN, SilenceWatch

IDS = np.array([3, 7], np.int32)
MARKETS = np.array([HK, US], np.int64)


class Market:
    """Two symbols, one in Hong Kong and one in New York, and the looks at them."""

    def __init__(self) -> None:
        self.open = {HK: True, US: True}
        self.watch = SilenceWatch(lambda market, _: self.open[market])
        self.rows = np.zeros(2, np.int64)
        self.watch.follow(IDS, MARKETS, self.rows.copy())
        self.looks = 0

    def look(self, *traded: int) -> list[int]:
        """One look after ticks of these symbols came."""
        for symbol_id in traded:
            self.rows[IDS.tolist().index(symbol_id)] += 3
        self.looks += 1
        return [int(id_) for id_ in self.watch.look(self.rows.copy(), float(self.looks))]

    def until_told(self, *traded: int) -> int:
        """Looks until a symbol is told, with these trading all the time."""
        begin = self.looks
        while not self.look(*traded):
            assert self.looks - begin < 10_000
        return self.looks - begin

    def habit(self, every: int, runs: int = RUNS_MIN) -> None:
        """Ticks every so many looks, so often."""
        for _ in range(runs):
            for _ in range(every - 1):
                assert self.look() == []
            assert self.look(*IDS.tolist()) == []


@pytest.mark.parametrize("every", [1, 2, 5, 60])
def test_twice_the_usual_is_too_long(every: int) -> None:
    market = Market()
    market.habit(every)
    looks = market.until_told(7)
    assert every - 1 < looks <= max(2, 4 * (every - 1))
    assert market.until_told(7) == looks, "told again when it is twice as long"


def test_a_symbol_of_which_little_is_known_is_looked_after_now_and_then() -> None:
    market = Market()
    market.habit(5, RUNS_MIN - 1)
    assert market.until_told() == QUIET_S_MAX / LOOK_EVERY_S


def test_no_market_that_is_closed_is_silent() -> None:
    market = Market()
    market.habit(2)
    market.open[HK] = False
    assert market.until_told() <= 8
    market.open = {HK: False, US: False}
    assert not any(market.look() for _ in range(5000))
    market.open[HK] = True
    assert not any(market.look() for _ in range(2)), "the night was no silence"


def test_who_does_not_listen_hears_no_silence() -> None:
    market = Market()
    market.habit(3)
    for _ in range(100):
        assert market.look() == []
        market.watch.rest()


def test_the_rhythm_stays_when_other_symbols_come() -> None:
    market = Market()
    market.habit(3)
    ids = np.array([1, 3, 7], np.int32)
    market.watch.follow(ids, np.array([HK, HK, US]), np.array([0, *market.rows]))
    looks = 0
    while not len(silent := market.watch.look(np.array([0, *market.rows]), 0.0)):
        looks += 1
    assert looks < 10
    assert silent.tolist() == [3, 7]


@pytest.mark.parametrize("seed", range(3))
def test_false_alarms_are_as_rare_as_is_said(seed: int) -> None:
    """Ticks by a heavy-tailed clock: less than two false alarms a symbol in a trading day."""
    rng = np.random.default_rng(seed)
    market = Market()
    gaps = np.ceil(rng.pareto(1.5, 20_000) + 1).astype(int)
    told, looks = 0, 0
    for gap in gaps.tolist():
        told += sum(7 in market.look(3) for _ in range(gap - 1)) + (7 in market.look(3, 7))
        looks += gap
        if looks > 3 * 23_400:
            break
    assert told <= 2 * looks / 23_400


def test_a_silent_symbol_is_pulled_for_that_reason_once() -> None:
    lane = Lane("futu", 4)
    lane.add_gateway("opend-1")
    listener = Listener(lane, None)
    hk, us = (HK, "00700"), (US, "AAPL")
    looks = int(QUIET_S_MAX / LOOK_EVERY_S)
    told = [listener.look({hk, us}, float(second)) for second in range(looks)]
    assert told[:-1] == [[]] * (looks - 1)
    assert sorted(told[-1]) == [hk, us]
    assert [listener.asked_for(security) for security in (hk, hk, us)] == [True, False, True]
    listener.rest()
    assert [listener.look({hk}, 0.0) for _ in range(3)] == [[]] * 3
