"""Polls spread evenly, the active ones first, and none that starves."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.market_hours import Part
from ingest.market_watch import MarketWatch, Seen
from ingest.poll_queues import Wish
from ingest.poll_schedule import FAILURES_MAX, IDLE_TURN, PollSchedule
from ingest.rate_limiter import Quota, possible_period_s

SECOND = 10**9
CALL, OTHER_CALL = 1, 2
HK, US = 1, 11
QUOTA = Quota(30, 30)


class Watch(MarketWatch):
    """A market that does what the test says."""

    def __init__(self) -> None:
        self.part = Part.OPEN
        self.final = False

    def look(self, unix_s: float) -> Seen:
        final, self.final = self.final, False
        return Seen(self.part, final, unix_s + 5)


class Run:
    """A schedule in simulated time; every request is answered after a moment.

    Attributes
    ----------
    asked_s : when each target was asked
    """

    def __init__(self, wishes: dict[str, Wish], quota: Quota = QUOTA) -> None:
        self.now_ns = 0
        self.asked_s: defaultdict[str, list[float]] = defaultdict(list)
        self.trades: Counter[str] = Counter()
        self.watches = {HK: Watch(), US: Watch()}
        self.schedule = PollSchedule[str](
            {CALL: quota, OTHER_CALL: quota}, self.watches, lambda target: self.trades[target]
        )
        self.schedule.want(wishes, 0)
        self.changed: Callable[[str], bool] = lambda target: False
        self.refused: Callable[[str], bool] = lambda target: False

    def until(self, stop_s: float) -> None:
        schedule = self.schedule
        while self.now_ns <= stop_s * SECOND:
            schedule.look(self.now_ns, self.now_ns / SECOND)
            for call in (CALL, OTHER_CALL):
                while (target := schedule.next(call, self.now_ns)) is not None:
                    schedule.asked(target, self.now_ns)
                    self.asked_s[target].append(self.now_ns / SECOND)
                    schedule.ended(target, self.now_ns, changed=self.changed(target), refused=self.refused(target))
            dues_ns = [due for call in (CALL, OTHER_CALL) if (due := schedule.next_ns(call)) is not None]
            before_ns, self.now_ns = self.now_ns, min([schedule.look_ns(), *dues_ns])
            assert self.now_ns > before_ns, "the schedule would spin"

    def gaps_s(self, target: str) -> list[float]:
        return [after - before for before, after in itertools.pairwise(self.asked_s[target])]


def wishes(count: int, interval_s: float = 60, *, market: int = HK, at_close: bool = False) -> dict[str, Wish]:
    return {f"{market}.{number}": Wish(CALL, market, interval_s, at_close) for number in range(count)}


def test_everything_is_asked_at_the_start_and_then_spread_over_the_interval() -> None:
    run = Run(wishes(20))
    run.until(600)
    assert [times[0] for times in run.asked_s.values()] == [0.0] * 20
    for target in run.asked_s:
        assert max(run.gaps_s(target)) <= 60 + 1e-6
        assert run.gaps_s(target)[2:] == pytest.approx([60.0] * len(run.gaps_s(target)[2:]))
    in_a_minute = sorted(at for times in run.asked_s.values() for at in times if 300 <= at < 360)
    assert len(in_a_minute) == 20
    assert max(b - a for a, b in itertools.pairwise(in_a_minute)) < 3 * 60 / 20
    assert min(b - a for a, b in itertools.pairwise(in_a_minute)) > 60 / 20 / 3


def test_more_than_the_quota_allows_goes_out_evenly_spaced_and_each_in_turn() -> None:
    run = Run(wishes(500))
    run.until(2000)
    every = sorted(at for times in run.asked_s.values() for at in times)
    assert [b - a for a, b in itertools.pairwise(every)] == pytest.approx([1.0] * (len(every) - 1))
    for target in run.asked_s:
        assert max(run.gaps_s(target)) <= 560


def test_targets_that_change_are_asked_more_often() -> None:
    run = Run(wishes(500))
    run.changed = lambda target: int(target[2:]) < 50
    run.until(8000)
    active, idle = run.gaps_s("1.7")[2:], run.gaps_s("1.400")[2:]
    assert max(active) <= 60 + IDLE_TURN / (IDLE_TURN - 1) * 50 + 1
    assert max(idle) <= IDLE_TURN * 500
    assert min(idle) > max(active)


def test_a_symbol_that_begins_to_trade_is_asked_soon() -> None:
    run = Run(wishes(500))
    run.changed = lambda target: int(target[2:]) < 50
    run.until(3000)
    run.trades["1.400"] += 1
    since_s = run.asked_s["1.400"][-1]
    run.until(3100)
    assert run.asked_s["1.400"][-1] > since_s


@settings(deadline=None, max_examples=15)
@given(st.integers(31, 120), st.floats(0, 1), st.integers(0, 5), st.sampled_from([5.0, 30.0, 60.0]))
def test_no_target_starves(count: int, busy: float, seed: int, interval_s: float) -> None:
    """The bound that the module states, with changes as they come."""
    run = Run(wishes(count, interval_s))
    run.changed = lambda target: crc32(f"{target}/{seed}/{run.now_ns // (200 * SECOND)}".encode()) % 1000 < busy * 1000
    run.until(IDLE_TURN * count * 3)
    for target in run.asked_s:
        assert max(run.gaps_s(target)) <= IDLE_TURN * count + interval_s


def test_nothing_is_asked_while_closed_but_once_after_the_close() -> None:
    run = Run(wishes(10) | wishes(5, at_close=True, market=US))
    run.until(100)
    for watch in run.watches.values():
        watch.part = Part.CLOSED
    run.until(110)
    counts = {target: len(times) for target, times in run.asked_s.items()}
    run.until(1000)
    assert {target: len(times) for target, times in run.asked_s.items()} == counts
    assert {counts[target] for target in counts if target.startswith("11.")} == {1}
    for watch in run.watches.values():
        watch.final = True
    run.until(2000)
    assert {target: len(times) for target, times in run.asked_s.items()} == {t: n + 1 for t, n in counts.items()}
    run.watches[HK].part = Part.OPEN
    run.until(2100)
    assert all(len(run.asked_s[target]) > counts[target] + 1 for target in wishes(10))


def test_lines_that_change_at_the_close_only_do_not_hold_up_the_others() -> None:
    lines = {f"{target}.day": wish for target, wish in wishes(100, at_close=True).items()}
    run = Run(wishes(100) | lines)
    run.changed = lambda target: True
    run.until(1000)
    assert {len(run.asked_s[target]) for target in lines} == {1}
    for target in wishes(100):
        assert run.asked_s[target][0] <= 100
        assert max(run.gaps_s(target)) <= 100 * IDLE_TURN / (IDLE_TURN - 1) + 60
    assert max(run.asked_s[target][0] for target in lines) <= 100 + IDLE_TURN * 100


def test_at_the_start_a_closed_market_is_asked_once() -> None:
    run = Run(wishes(100))
    run.watches[HK].part = Part.BREAK
    run.until(1000)
    assert {len(times) for times in run.asked_s.values()} == {1}


def test_what_became_due_while_closed_is_spread_from_the_open_on() -> None:
    run = Run(wishes(20))
    run.watches[HK].part = Part.CLOSED
    run.until(1000)
    run.watches[HK].part = Part.OPEN
    run.until(1065)
    first = sorted(times[1] for times in run.asked_s.values())
    assert first[-1] - first[0] > 40
    assert max(b - a for a, b in itertools.pairwise(first)) < 9


def test_a_lost_request_is_asked_again_and_a_refused_target_ever_more_rarely() -> None:
    run = Run(wishes(2))
    schedule = run.schedule
    schedule.look(0, 0)
    assert schedule.next(CALL, 0) == "1.0"
    schedule.asked("1.0", 0)
    schedule.lost("1.0", 0)
    run.refused = lambda target: target == "1.1"
    run.until(3600 * 4)
    assert run.asked_s["1.0"][0] == 0
    assert len(run.asked_s["1.0"]) > 230
    assert len(run.asked_s["1.1"]) < 15
    assert max(run.gaps_s("1.1")) <= 64 * 60 + 60


def test_what_was_owed_after_the_close_is_not_given_up_at_once() -> None:
    for fate, times in (("refused", 2), ("failed", 1 + FAILURES_MAX)):
        schedule = Run(wishes(1, at_close=True)).schedule
        asked = 0
        for now_ns in range(20):
            if schedule.next(CALL, now_ns) is not None:
                asked += 1
                schedule.asked("1.0", now_ns)
                if fate == "refused":
                    schedule.ended("1.0", now_ns, refused=True)
                else:
                    schedule.failed("1.0", now_ns)
        assert asked == times


def test_targets_come_and_go_while_others_keep_their_place() -> None:
    run = Run(wishes(3))
    run.until(100)
    before = dict(run.asked_s)
    run.schedule.want({target: wish for target, wish in wishes(4).items() if target != "1.1"}, run.now_ns)
    run.until(400)
    assert 100 <= run.asked_s["1.3"][0] < 106
    assert len(run.asked_s["1.1"]) == len(before["1.1"])
    assert run.gaps_s("1.0")[2:] == pytest.approx([60.0] * len(run.gaps_s("1.0")[2:]))


def test_other_calls_have_their_own_turn() -> None:
    run = Run(wishes(500) | {"other": Wish(OTHER_CALL, HK, 60)})
    run.until(700)
    assert run.gaps_s("other")[2:] == pytest.approx([60.0] * len(run.gaps_s("other")[2:]))


@pytest.mark.parametrize(
    ("intervals_s", "period_s"),
    [
        ([60.0] * 500, 500.0),
        ([60.0] * 30, 60.0),
        ([60.0] * 30 + [3600.0] * 360, 60.0),
        ([10.0] * 20 + [1000.0] * 100, 20 / 0.9),
        ([10.0], 10.0),
        ([], 0.0),
    ],
)
def test_the_period_that_is_possible(intervals_s: list[float], period_s: float) -> None:
    assert possible_period_s(intervals_s, QUOTA) == pytest.approx(period_s)
