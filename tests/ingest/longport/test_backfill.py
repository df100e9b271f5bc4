"""The pulls of a LongPort connection: order, retries, and answers that wait."""

from __future__ import annotations

import numpy as np
import pytest

from codec.markets import Security
from ingest.longport.backfill import ATTEMPTS_MAX, HOLD_NS, IN_FLIGHT_MAX, WAIT_NS, Backfill
from ingest.longport.events import Failed, Pulled

S = 1_000_000_000
ONE, TWO, THREE = (1, "00001"), (1, "00002"), (1, "00003")


def answer(request_id: int) -> Pulled:
    return Pulled(request_id, np.zeros(0, np.uint8), 9)


def failed(request_id: int, status: int = 7, code: int = 301602) -> Failed:
    return Failed(request_id, 17, status, code, "no")


def ask(backfill: Backfill, now_ns: int = WAIT_NS, first_id: int = 1) -> list[Security]:
    """All that is asked now, under consecutive ids."""
    asked: list[Security] = []
    while (pull := backfill.next_pull(now_ns)) is not None:
        backfill.sent(first_id + len(asked), pull)
        asked.append(pull.security)
    return asked


def test_the_busiest_symbol_is_asked_first_and_each_once() -> None:
    activity = {ONE: 1.0, TWO: 3.0, THREE: 2.0}
    backfill = Backfill(lambda security: activity[security], lambda _: 3)
    for security in (ONE, TWO, THREE, TWO):
        backfill.pull(security, 0)
    assert ask(backfill) == [TWO, THREE, ONE]
    assert not backfill.waits


def test_so_many_at_once() -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    for number in range(IN_FLIGHT_MAX + 2):
        backfill.pull((1, f"{number:05}"), 0)
    assert len(ask(backfill)) == IN_FLIGHT_MAX
    before = backfill.waits
    backfill.answered(answer(1), 0)
    assert (before, backfill.waits) == (False, True)
    assert ask(backfill, first_id=10) == [(1, f"{IN_FLIGHT_MAX:05}")]


def test_an_answer_waits_until_pushes_that_were_on_their_way_have_come() -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    backfill.pull(ONE, 0)
    ask(backfill)
    backfill.answered(answer(1), 5)
    backfill.answered(answer(77), 5)  # nobody asked for it
    assert backfill.deadline_ns() == HOLD_NS + 5
    assert list(backfill.due(HOLD_NS + 4)) == []
    [held] = backfill.due(HOLD_NS + 5)
    assert (held.pull.security, held.answer.request_id, held.opened) == (ONE, 1, 3)
    backfill.put_back(held)
    assert list(backfill.due(HOLD_NS + 5)) == [held]
    assert backfill.deadline_ns() is None


def test_at_the_connections_end_nothing_waits() -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    for security in (ONE, TWO):
        backfill.pull(security, 0)
    ask(backfill)
    backfill.answered(answer(2), 0)
    backfill.answered(answer(1), 0)
    assert [held.pull.security for held in backfill.due(None)] == [TWO, ONE]


def test_what_can_be_tried_again_is_some_times() -> None:
    backfill, now_ns = Backfill(lambda _: 0.0, lambda _: 3), WAIT_NS
    backfill.pull(ONE, 0)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        assert ask(backfill, now_ns, first_id=attempt) == [ONE]
        given_up = backfill.failed(failed(attempt), "", now_ns)
        assert given_up == (ONE if attempt == ATTEMPTS_MAX else None)
        if given_up is None:
            assert ask(backfill, now_ns) == []
            due_ns = backfill.deadline_ns()
            assert due_ns == now_ns + (1 << (attempt - 1)) * S
            now_ns = due_ns
    assert backfill.deadline_ns() is None


@pytest.mark.parametrize("code", [301600, 301603, 301604, 301607])
def test_what_is_refused_is_given_up_at_once(code: int) -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    backfill.pull(ONE, 0)
    ask(backfill)
    assert backfill.failed(failed(1, code=code), "no right", 0) == ONE
    assert backfill.refused == {ONE: "no right"}
    assert backfill.failed(failed(1), "", 0) is None


def test_a_symbol_that_is_not_wanted_any_more_is_not_asked_for() -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    for security in (ONE, TWO):
        backfill.pull(security, 0)
    ask(backfill)
    backfill.failed(failed(1), "", 0)
    backfill.pull(THREE, 0)
    backfill.filled.add(ONE)
    backfill.discard(ONE)
    backfill.discard(THREE)
    assert ask(backfill, 10 * S) == []
    assert backfill.filled == set()


def test_a_pull_that_is_asked_for_again_is_not_filled() -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    backfill.filled.add(ONE)
    backfill.pull(ONE, 0)
    assert backfill.filled == set()


def test_a_pull_is_asked_a_second_after_what_it_is_to_mend() -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    backfill.pull(ONE, 0)
    backfill.pull(ONE, 10)
    assert backfill.deadline_ns() == WAIT_NS
    assert ask(backfill, WAIT_NS + 9) == []
    assert backfill.deadline_ns() == WAIT_NS + 10
    assert ask(backfill, WAIT_NS + 10) == [ONE]


def test_what_is_due_and_may_not_be_asked_yet_wakes_nobody() -> None:
    backfill = Backfill(lambda _: 0.0, lambda _: 3)
    backfill.pull(ONE, 0)
    before = backfill.waits
    backfill.ripen(WAIT_NS)
    assert (before, backfill.waits) == (False, True)
    assert backfill.deadline_ns() is None
    assert ask(backfill) == [ONE]
