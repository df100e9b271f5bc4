"""The polls of a LongPort gateway: which are asked, and what errors do to them."""

from __future__ import annotations

from collections import Counter

import pytest

from codec.longport.protocol import Command
from codec.tables import CAPITAL_DISTRIBUTION, CAPITAL_FLOW
from ingest.longport.events import Failed
from ingest.longport.limits import CALLS
from ingest.longport.poll_plan import POLLS, PollTarget, poll_wishes, possible_periods
from ingest.longport.poller import IN_FLIGHT_MAX, Poller
from ingest.poll_config import PollConfig
from ingest.poll_schedule import PollSchedule

S = 1_000_000_000
FLOW, DISTRIBUTION = Command.QUERY_CAPITAL_FLOW_INTRADAY, Command.QUERY_CAPITAL_FLOW_DISTRIBUTION


def poller(count: int, *feeds: str) -> Poller:
    schedule = PollSchedule[PollTarget]({POLLS: CALLS}, {}, lambda target: 0)
    made = Poller(schedule)
    symbols = tuple(f"US.S{number}" for number in range(count))
    made.want(poll_wishes(PollConfig(feed, symbols, 60.0) for feed in feeds or (CAPITAL_FLOW.name,)), 0)
    made.connected(0)
    return made


def ask(polls: Poller, now_ns: int, first_id: int) -> dict[int, PollTarget]:
    """All that is asked at once, by its id."""
    asked: dict[int, PollTarget] = {}
    while (target := polls.next_target(now_ns, now_ns / 1e9)) is not None:
        polls.sent(target, first_id + len(asked), now_ns)
        asked[first_id + len(asked)] = target
    return asked


def failed(request_id: int, code: int) -> Failed:
    return Failed(request_id, FLOW, 7, code, "no")


def test_every_target_of_both_feeds_is_asked() -> None:
    polls, counts, now_ns, number = (
        poller(10, CAPITAL_FLOW.name, CAPITAL_DISTRIBUTION.name),
        Counter[PollTarget](),
        0,
        1,
    )
    while sum(counts.values()) < 20:
        asked = ask(polls, now_ns, number)
        assert len(asked) <= IN_FLIGHT_MAX
        for request_id, target in asked.items():
            counts[target] += 1
            assert polls.replied(request_id) == target
            polls.ended(target, now_ns, changed=True)
        number += len(asked)
        now_ns += S // 10
    assert set(counts.values()) == {1}
    assert len(counts) == 20


def test_so_many_at_once() -> None:
    polls = poller(5)
    asked = ask(polls, 0, 1)
    assert len(asked) == IN_FLIGHT_MAX
    assert polls.deadline_ns() is None
    polls.replied(1)
    polls.came_to_nothing(asked[1], 0)
    assert len(ask(polls, S, 10)) == 1


@pytest.mark.parametrize("code", [301600, 301603, 301604, 301607])
def test_what_is_refused_rests_until_the_next_connection(code: int) -> None:
    polls = poller(2)
    asked = ask(polls, 0, 1)
    assert polls.failed(failed(1, code), "not allowed", 0) == asked[1]
    assert polls.refused == {asked[1]: "not allowed"}
    polls.replied(2)
    polls.ended(asked[2], 0, changed=True)
    for second in range(1, 200):
        for request_id, target in ask(polls, second * S, 10 * second).items():
            assert target == asked[2]
            polls.replied(request_id)
            polls.ended(target, second * S, changed=False)
    polls.disconnected(200 * S)
    polls.connected(200 * S)
    assert polls.refused == {}
    assert asked[1] in ask(polls, 200 * S, 9000).values()


@pytest.mark.parametrize(("status", "code"), [(7, 301602), (3, 301606), (1, 0)])
def test_what_can_be_tried_again_is(status: int, code: int) -> None:
    polls = poller(1)
    [target] = ask(polls, 0, 1).values()
    assert polls.failed(Failed(1, FLOW, status, code, "no"), "", 0) is None
    assert list(ask(polls, S, 2).values()) == [target]


def test_what_a_lost_connection_leaves_is_asked_of_the_next() -> None:
    polls = poller(1)
    [target] = ask(polls, 0, 1).values()
    polls.disconnected(0)
    assert polls.replied(1) is None
    polls.connected(S)
    assert list(ask(polls, S, 1).values()) == [target]


def test_symbols_that_longport_cannot_spell_are_left_out() -> None:
    wishes = poll_wishes([PollConfig(CAPITAL_FLOW.name, ("HK_FUTURE.HSImain", "HK.00700"), 60.0)])
    assert list(wishes) == [PollTarget(FLOW, (1, "00700"))]


def test_the_shorter_interval_counts_and_what_is_possible_is_said() -> None:
    symbols = tuple(f"US.S{number}" for number in range(500))
    polls = [PollConfig(CAPITAL_FLOW.name, symbols, 60.0), PollConfig(CAPITAL_FLOW.name, symbols[:1], 10.0)]
    polls.append(PollConfig(CAPITAL_DISTRIBUTION.name, symbols, 120.0))
    wishes = poll_wishes(polls)
    assert wishes[PollTarget(FLOW, (11, "S0"))].interval_s == 10.0
    flow, distribution = possible_periods(wishes, by_calendar=True)
    assert (flow.targets, distribution.targets) == (500, 500)
    assert (flow.interval_s, distribution.interval_s) == (10.0, 120.0)
    assert 80 < flow.period_s < 120  # a thousand targets at ten a second, some of them more rarely
    assert distribution.period_s == 120.0
