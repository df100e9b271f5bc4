"""What is asked when, and what follows from each outcome: in simulated time, without a server."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from codec.flow_list import DeadBatch, FlowList, ListRefused, Reaction
from codec.markets import HK, SH, US
from ingest.flow_list.outcomes import HttpRefused, Listed, NoAnswer, Outcome, Refused, Unreadable, retry_after_s
from ingest.flow_list.plan import NO_ZONE, ListWish, plan_batches
from ingest.flow_list.polls import BACKOFF_S_MAX, FlowListPolls
from ingest.market_hours import Part
from ingest.market_watch import MarketWatch, Seen

SECOND = 10**9
LIST = Listed(FlowList([], []), 0)
INVALID_PARAM = Refused(ListRefused(1001, "INVALID_PARAM", Reaction.PERMANENT))
INVALID_CODE = Refused(ListRefused(1002, "INVALID_CODE", Reaction.SPLIT))
GET_FAILED = Refused(ListRefused(1016, "GET_CAPITAL_FLOW_FAILED", Reaction.RETRY))
UNREADABLE = Unreadable(DeadBatch("undecodable", "not JSON"), b"", 0)
SYMBOLS = tuple(f"HK.{code:05}" for code in range(1, 9))


class Watch(MarketWatch):
    """A market that does what the test says."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.final = False

    def look(self, unix_s: float) -> Seen:
        final, self.final = self.final, False
        return Seen(self.part, final, unix_s + 5)


class Polling:
    """Polls in simulated time; each request is answered at once, by `answer`.

    Attributes
    ----------
    asked : (seconds, symbols) of each request
    """

    def __init__(self, *symbols: str, part: Part = Part.OPEN, batch_max: int = 100, interval_s: float = 60.0) -> None:
        self.watch = Watch(part)
        self.polls = FlowListPolls({HK: self.watch}, random.Random(1))
        self.batch_max, self.interval_s = batch_max, interval_s
        self.now_ns = 0
        self.asked: list[tuple[float, tuple[str, ...]]] = []
        self.answer: Callable[[tuple[str, ...]], Outcome] = lambda symbols: LIST
        self.want(*(symbols or SYMBOLS))

    def want(self, *symbols: str) -> None:
        plan = plan_batches([ListWish(symbols, self.interval_s)], self.batch_max)
        self.polls.want(plan, self.now_ns)

    def run(self, seconds: float) -> list[float]:
        """Go on for so long; when the requests were made, from its begin on."""
        begin_ns, before = self.now_ns, len(self.asked)
        stop_ns = begin_ns + int(seconds * SECOND)
        while self.now_ns < stop_ns:
            symbols = self.polls.next_symbols(self.now_ns, self.now_ns / SECOND)
            if symbols is not None:
                self.asked.append((self.now_ns / SECOND, symbols))
                self.polls.took(self.answer(symbols), self.now_ns)
                continue
            deadline_ns = self.polls.deadline_ns()
            assert deadline_ns is None or deadline_ns > self.now_ns, "it would spin"
            self.now_ns = stop_ns if deadline_ns is None else min(deadline_ns, stop_ns)
        return [at_s - begin_ns / SECOND for at_s, _ in self.asked[before:]]


def test_once_at_the_start_then_every_interval() -> None:
    run = Polling()
    before = run.polls.ready
    times_s = run.run(300)
    assert times_s[0] == 0
    assert (before, run.polls.ready) == (False, True)
    assert run.polls.up
    assert len(times_s) == 5
    assert {round(later - earlier, 3) for earlier, later in itertools.pairwise(times_s[1:])} == {60.0}


def test_no_request_while_closed_but_one_at_the_start_and_one_after_the_close() -> None:
    run = Polling(part=Part.CLOSED)
    assert run.run(4000) == [0.0]
    run.watch.final = True
    assert len(run.run(4000)) == 1
    run.watch.part = Part.OPEN
    assert len(run.run(600)) in (10, 11)


def test_lists_are_split_by_size_interval_and_hours() -> None:
    plan = plan_batches(
        [
            ListWish(("HK.00700", "US.AAPL", "SH.600519", "SZ.000001", "HK.00005", "SG.D05"), 60.0),
            ListWish(("HK.00700", "US.NVDA"), 10.0),
        ],
        batch_max=2,
    )
    batches = {batch.symbols: (wish.market, wish.interval_s) for batch, wish in plan.wishes.items()}
    assert batches == {
        ("HK.00700",): (HK, 10.0),
        ("US.AAPL",): (US, 60.0),
        ("SH.600519", "SZ.000001"): (SH, 60.0),
        ("HK.00005",): (HK, 60.0),
        ("US.NVDA",): (US, 10.0),
    }
    assert plan.refused == {"SG.D05": NO_ZONE}
    assert plan.symbols == 6
    assert [len(batch.symbols) for batch in plan_batches([ListWish(SYMBOLS, 60.0)], 3).wishes] == [3, 3, 2]


def test_a_wrong_parameter_stops_everything_until_the_configuration_is_read_again() -> None:
    run = Polling(batch_max=4)
    run.answer = lambda symbols: INVALID_PARAM
    assert run.run(3600) == [0.0]
    assert run.polls.stopped == "ret_code 1001: INVALID_PARAM"
    assert not run.polls.ready
    assert run.polls.gave_up
    run.answer = lambda symbols: LIST
    run.want(*SYMBOLS)
    assert len(run.run(1)) == 2
    assert run.polls.ready


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413])
def test_other_4xx_stop_everything(status: int) -> None:
    run = Polling()
    run.answer = lambda symbols: HttpRefused(status)
    assert run.run(3600) == [0.0]
    assert run.polls.stopped is not None
    assert str(status) in run.polls.stopped


@pytest.mark.parametrize("wrong", [{"HK.00003"}, {"HK.00001", "HK.00008"}, {"HK.00004", "HK.00005"}, set(SYMBOLS)])
def test_wrong_codes_are_found_by_halving_and_the_others_go_on(wrong: set[str]) -> None:
    run = Polling()
    run.answer = lambda symbols: INVALID_CODE if wrong & set(symbols) else LIST
    run.run(20)
    assert set(run.polls.refused) == wrong
    assert set(run.polls.refused.values()) == {"ret_code 1002: INVALID_CODE"}
    assert run.polls.ready, "a refused symbol is settled"
    got = [symbol for _, symbols in run.asked if not wrong & set(symbols) for symbol in symbols]
    assert sorted(got) == sorted(set(SYMBOLS) - wrong), "each of the others was asked once"
    run.asked.clear()
    run.run(60)
    rest = tuple(symbol for symbol in SYMBOLS if symbol not in wrong)
    assert [symbols for _, symbols in run.asked] == ([rest] if rest else [])
    run.want(*SYMBOLS)  # read again: perhaps the server knows them by now
    run.answer = lambda symbols: LIST
    assert run.polls.refused == {}
    assert len(run.run(1)) == 1
    assert run.asked[-1][1] == SYMBOLS


def test_requests_that_halve_a_list_keep_their_distance() -> None:
    run = Polling()
    run.answer = lambda symbols: INVALID_CODE if "HK.00003" in symbols else LIST
    times_s = run.run(20)
    assert len(times_s) > 5
    assert min(later - earlier for earlier, later in itertools.pairwise(times_s)) >= 0.099


def test_a_server_that_takes_no_lists_is_asked_in_pieces_from_then_on() -> None:
    run = Polling()
    run.answer = lambda symbols: INVALID_CODE if len(symbols) > 2 else LIST
    run.run(20)
    assert run.polls.refused == {}
    run.asked.clear()
    run.run(60)
    assert [len(symbols) for _, symbols in run.asked] == [2, 2, 2, 2]


def test_what_the_server_could_not_get_is_retried_with_back_off_and_holds_up_nothing_else() -> None:
    run = Polling(batch_max=4)
    run.answer = lambda symbols: GET_FAILED if "HK.00001" in symbols else LIST
    run.run(600)
    failed_s = [at_s for at_s, symbols in run.asked if "HK.00001" in symbols]
    delays_s = [later - earlier for earlier, later in itertools.pairwise(failed_s)]
    for number, delay_s in enumerate(delays_s):
        ceiling_s = min(2.0**number, BACKOFF_S_MAX)
        assert ceiling_s / 2 - 0.01 <= delay_s <= ceiling_s + 0.21
    assert len(set(delays_s[7:])) > 1, "each with a random part"
    assert sum("HK.00005" in symbols for _, symbols in run.asked) in (10, 11)
    assert not run.polls.ready
    run.answer = lambda symbols: LIST
    run.run(70)
    assert run.polls.ready


def test_an_error_that_no_page_lists_is_retried_too() -> None:
    run = Polling()
    run.answer = lambda symbols: Refused(ListRefused(4242, "", Reaction.RETRY))
    assert len(run.run(20)) > 3
    assert run.polls.stopped is None


@pytest.mark.parametrize(
    "outcome", [HttpRefused(503), HttpRefused(408), HttpRefused(429), HttpRefused(302), NoAnswer("timed out", True)]
)
def test_where_no_answer_comes_everything_waits_with_back_off(outcome: Outcome) -> None:
    run = Polling(batch_max=1)
    run.answer = lambda symbols: outcome
    times_s = run.run(600)
    delays_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    for number, delay_s in enumerate(delays_s):
        assert min(2.0**number, BACKOFF_S_MAX) / 2 <= delay_s <= BACKOFF_S_MAX
    assert len(times_s) < 25, "not one back-off for each of eight batches"
    assert not run.polls.up
    run.answer = lambda symbols: LIST
    run.run(61)
    assert run.polls.ready


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_and_a_reload_does_not_shorten_it(status: int) -> None:
    run = Polling()
    answers: list[Outcome] = [HttpRefused(status, retry_after_s=90.0)]
    run.answer = lambda symbols: answers.pop(0) if answers else LIST
    assert run.run(10) == [0.0]
    run.want(*SYMBOLS, "HK.00700")
    later_s = run.run(100)
    assert 80.0 <= later_s[0] <= 81.0


@pytest.mark.parametrize(
    ("value", "expected_s"),
    [
        (None, 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("9" * 5000, 3600.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("Wed, 20 Mar 2024 02:00:30 GMT", 30.0),
        ("Wed, 20 Mar 2024 01:00:00 GMT", 0.0),
        ("Wed, 20 Mar 2999 01:00:00 GMT", 3600.0),
        ("٣", 0.0),
    ],
)
def test_retry_after(value: str | None, expected_s: float) -> None:
    assert retry_after_s(value, 1_710_900_000.0) == expected_s


def test_an_answer_that_cannot_be_read_is_asked_again_at_the_next_poll() -> None:
    run = Polling()
    answers: list[Outcome] = [LIST, UNREADABLE]
    run.answer = lambda symbols: answers.pop(0) if answers else LIST
    times_s = run.run(170)
    assert len(times_s) in (3, 4)
    assert times_s[2] - times_s[1] == pytest.approx(60.0)


def test_when_the_poll_after_the_close_cannot_be_read_the_next_one_is_not_a_day_away() -> None:
    run = Polling(part=Part.CLOSED)
    answers: list[Outcome] = [UNREADABLE, UNREADABLE]
    run.answer = lambda symbols: answers.pop(0) if answers else LIST
    assert len(run.run(60)) == 3
    assert run.run(4000) == []


def test_symbols_that_leave_while_they_are_asked_for() -> None:
    run = Polling("HK.00001", "HK.00002")
    assert run.polls.next_symbols(0, 0.0) == ("HK.00001", "HK.00002")
    run.want("HK.00003")
    run.polls.took(INVALID_CODE, 0)
    run.run(1)
    assert [symbols for _, symbols in run.asked] == [("HK.00003",)]
    assert run.polls.refused == {}


def test_a_reload_while_it_is_asked_for_begins_anew() -> None:
    run = Polling()
    run.answer = lambda symbols: INVALID_CODE if "HK.00003" in symbols else LIST
    run.run(10)
    assert run.polls.refused
    run.now_ns += 60 * SECOND
    assert run.polls.next_symbols(run.now_ns, 0.0) is not None
    run.want(*SYMBOLS)
    run.polls.took(LIST, run.now_ns)
    assert not run.polls.ready
    run.answer = lambda symbols: LIST
    run.run(1)
    assert run.asked[-1][1] == SYMBOLS
    assert run.polls.ready
