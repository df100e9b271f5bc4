"""The calls of an account: sliding windows, five at once, the profile's own limits, and slowing down."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.longport.protocol import Command
from ingest.longport.errors import Reaction, in_words, reaction_to
from ingest.longport.limits import IN_FLIGHT_MAX, AccountLimits, quota_of
from ingest.rate_limiter import Quota
from tests.codec.examples import examples

MS = 1_000_000
S = 1_000 * MS
PULL, FLOW = Command.QUERY_TRADE, Command.QUERY_CAPITAL_FLOW_INTRADAY


def limits() -> AccountLimits:
    return AccountLimits(random.Random(1))


def may(account: AccountLimits, now_ns: int, command: int = PULL) -> bool:
    ready_ns = account.ready_ns(command)
    return ready_ns is not None and ready_ns <= now_ns


def test_the_first_call_goes_at_once_and_five_wait_for_answers() -> None:
    account = limits()
    for _ in range(IN_FLIGHT_MAX):
        assert may(account, 0)
        account.sent(PULL, 0)
    assert account.ready_ns(FLOW) is None
    account.ended(PULL, 10 * MS)
    assert may(account, 10 * MS, FLOW)


@examples(60)
@given(answers_ms=st.lists(st.integers(0, 400), min_size=40, max_size=60))
def test_no_second_holds_more_than_ten_calls(answers_ms: list[int]) -> None:
    """The gateway counts a call at any time between our sending it and its answer: both ends are tried."""
    account, now_ns = limits(), 0
    waiting: list[int] = []
    sent_ns, ended_ns = [], []
    for answer_ms in answers_ms:
        while not may(account, now_ns):
            ready_ns = account.ready_ns(PULL)
            nexts_ns = [at for at in (ready_ns, min(waiting, default=None)) if at is not None and at > now_ns]
            now_ns = min(nexts_ns)
            for at_ns in sorted(at for at in waiting if at <= now_ns):
                account.ended(PULL, at_ns)
                waiting.remove(at_ns)
        account.sent(PULL, now_ns)
        waiting.append(now_ns + answer_ms * MS)
        sent_ns.append(now_ns)
        ended_ns.append(now_ns + answer_ms * MS)
        assert len(waiting) <= IN_FLIGHT_MAX
        for at_ns in sorted(at for at in waiting if at <= now_ns):
            account.ended(PULL, at_ns)
            waiting.remove(at_ns)
    for counted_ns in (sent_ns, sorted(ended_ns)):
        for first, last in zip(counted_ns, counted_ns[10:], strict=False):
            assert last - first >= S


def test_what_the_profile_says_of_a_command_holds_for_it_alone() -> None:
    account = limits()
    account.sent(PULL, 0)
    account.profile({PULL: Quota(2, 1.0)})
    assert may(account, 0)
    account.sent(PULL, 0)
    assert account.ready_ns(PULL) is None
    assert may(account, 0, FLOW)
    account.ended(PULL, 100 * MS)
    account.ended(PULL, 100 * MS)
    assert not may(account, 1000 * MS)
    assert may(account, 1200 * MS)
    assert account.used(1_000 * MS) == {None: 0.2, PULL: 1.0}
    account.profile({PULL: Quota(3, 1.0)})
    assert may(account, 1000 * MS)


@pytest.mark.parametrize(
    ("limit", "burst", "quota"),
    [(10, 10, Quota(10, 1.0)), (10, 20, Quota(10, 1.0)), (10, 5, Quota(5, 0.5)), (10, 0, Quota(10, 1.0)), (0, 5, None)],
)
def test_a_bucket_as_a_window(limit: int, burst: int, quota: Quota | None) -> None:
    assert quota_of(limit, burst) == quota


def test_too_many_calls_slow_everything_down_longer_each_time() -> None:
    account, delays_s = limits(), []
    now_ns = 0
    for _ in range(8):
        delays_s.append(account.too_frequent(now_ns))
        assert not may(account, now_ns, FLOW)
        now_ns += int(delays_s[-1] * S)
        assert may(account, now_ns, FLOW)
    assert 0.5 <= delays_s[0] <= 1.0
    assert 30 <= delays_s[-1] <= 60
    assert account.too_frequent(now_ns + 31 * S) <= 1.0


def test_several_refusals_at_once_count_as_one() -> None:
    account = limits()
    first_s = account.too_frequent(0)
    for _ in range(4):
        assert account.too_frequent(1) <= 1.0
    assert account.too_frequent(int(max(first_s, 1) * S)) <= 2.0


def test_an_answer_is_told_to_the_other_gateways() -> None:
    account, told = limits(), []
    account.freed.append(lambda: told.append(1))
    account.sent(PULL, 0)
    assert told == []
    account.ended(PULL, 1)
    assert told == [1]


@pytest.mark.parametrize(
    ("status", "code", "reaction"),
    [
        (3, 301600, Reaction.REFUSED),
        (7, 301600, Reaction.REFUSED),
        (7, 301602, Reaction.RETRY),
        (7, 301603, Reaction.REFUSED),
        (7, 301604, Reaction.REFUSED),
        (7, 301605, Reaction.REFUSED),
        (3, 301606, Reaction.SLOW_DOWN),
        (7, 301607, Reaction.REFUSED),
        (1, 0, Reaction.RETRY),
        (0, 0, Reaction.RETRY),  # no answer
    ],
)
def test_each_errors_reaction(status: int, code: int, reaction: Reaction) -> None:
    assert reaction_to(status, code) is reaction
    assert str(code) in in_words(code, "some words")
    assert "some words" in in_words(code, "some\n words")
