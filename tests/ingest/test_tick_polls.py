"""Pulls of symbols that are not pushed: spread evenly, and each once however late."""

from __future__ import annotations

from codec.markets import HK, US
from ingest.tick_polls import TickPolls

S_NS = 1_000_000_000


def never(market: int) -> bool:
    return False


def test_pulls_are_spread_over_their_interval_and_come_back() -> None:
    securities = [(HK, f"{number:05}") for number in range(4)]
    polls = TickPolls(dict.fromkeys(securities, 8.0) | {(HK, "fast"): 1.0}, 100 * S_NS)
    came = {second: polls.due(second * S_NS, never) for second in range(100, 120)}
    slow = {second: [each for each in due if each[1] != "fast"] for second, due in came.items()}
    assert {second: due for second, due in slow.items() if due} == {
        102: [securities[0]],
        104: [securities[1]],
        106: [securities[2]],
        108: [securities[3]],
        110: [securities[0]],
        112: [securities[1]],
        114: [securities[2]],
        116: [securities[3]],
        118: [securities[0]],
    }
    assert all(((HK, "fast") in due) == (second > 100) for second, due in came.items())
    assert polls.deadline_ns() == 120 * S_NS


def test_what_is_late_is_pulled_once_and_keeps_its_place() -> None:
    polls = TickPolls({(HK, "1"): 2.0}, 0)
    assert polls.due(9 * S_NS, never) == [(HK, "1")]
    assert polls.deadline_ns() == 10 * S_NS
    assert TickPolls({}, 0).deadline_ns() is None


def test_symbols_of_a_closed_market_are_pulled_once_more_and_then_rest() -> None:
    polls, closed = TickPolls({(HK, "1"): 1.0, (US, "A"): 1.0}, 0), {HK}
    came = []
    for second in range(1, 7):
        if second == 5:
            closed.clear()
        came.append([code for _, code in polls.due(second * S_NS, closed.__contains__)])
    assert came == [["1", "A"], ["A"], ["A"], ["A"], ["1", "A"], ["1", "A"]]
