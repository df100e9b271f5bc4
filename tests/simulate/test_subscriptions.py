"""Quota, push registration and the one-minute rules of the simulated login."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.opend.protocol import SubType
from ticktape.simulate.opend_subscriptions import HOLD_S, SubscriptionBook, SubscriptionRefused
from ticktape.simulate.sessions import TradingSession

TICKER, BASIC = int(SubType.TICKER), 1
REGULAR, EXTENDED = TradingSession.REGULAR, TradingSession.EXTENDED


def subscribe(
    book: SubscriptionBook, connection: int, symbols: list[int], push: bool | None = True, now_s: float = 0.0
) -> None:
    book.subscribe(connection, [(symbol, TICKER) for symbol in symbols], [REGULAR] * len(symbols), push, now_s)


@pytest.fixture
def book() -> SubscriptionBook:
    book = SubscriptionBook(symbols=6, quota=4)
    book.open(1)
    book.open(2)
    return book


def test_connections_share_the_quota_and_count_a_pair_once(book: SubscriptionBook) -> None:
    subscribe(book, 1, [0, 1, 2])
    subscribe(book, 2, [1, 2, 3])
    assert book.used() == 4
    with pytest.raises(SubscriptionRefused, match="5 units needed of 4"):
        subscribe(book, 2, [3, 4])
    assert not book.holds(2, (4, TICKER))
    assert book.used() == 4


def test_a_sub_type_is_a_unit_of_its_own(book: SubscriptionBook) -> None:
    book.subscribe(1, [(0, TICKER), (0, BASIC)], [REGULAR] * 2, True, 0.0)
    assert book.used() == 2
    assert book.held.tolist() == [REGULAR, 0, 0, 0, 0, 0]


def test_unsubscribing_takes_a_minute_and_is_all_or_nothing(book: SubscriptionBook) -> None:
    subscribe(book, 1, [0], now_s=0.0)
    subscribe(book, 1, [1], now_s=30.0)
    for pairs in ([(0, TICKER), (1, TICKER)], None):
        with pytest.raises(SubscriptionRefused, match="1 minute"):
            book.unsubscribe(1, pairs, HOLD_S)
    assert book.used() == 2
    book.unsubscribe(1, [(0, TICKER), (5, TICKER)], HOLD_S)
    assert book.pairs_of(1) == [(1, TICKER)]
    book.unsubscribe(1, None, 30.0 + HOLD_S)
    assert book.used() == 0
    assert not book.held.any()
    assert not book.pushed.any()


def test_subscribing_again_does_not_start_the_minute_again(book: SubscriptionBook) -> None:
    subscribe(book, 1, [0], now_s=0.0)
    subscribe(book, 1, [0], now_s=HOLD_S - 1)
    book.unsubscribe(1, [(0, TICKER)], HOLD_S)
    assert book.used() == 0


def test_subscriptions_outlive_their_connection_by_a_minute_without_push(book: SubscriptionBook) -> None:
    subscribe(book, 1, [0, 1])
    book.close(1, now_s=10.0)
    assert book.used() == 2
    assert book.held.tolist() == [REGULAR, REGULAR, 0, 0, 0, 0]
    assert not book.pushed.any()
    book.expire(10.0 + HOLD_S - 0.1)
    assert book.used() == 2
    book.expire(10.0 + HOLD_S)
    assert book.used() == 0
    assert not book.held.any()


def test_push_is_registered_apart_from_subscribing(book: SubscriptionBook) -> None:
    subscribe(book, 1, [0], push=False)
    assert book.held[0]
    assert not book.pushed[0]
    book.register_push(1, [(0, TICKER)], True)
    assert book.pushed_to(1)[0] == REGULAR
    subscribe(book, 1, [0], push=None)
    assert book.pushed[0], "an absent flag leaves the registration as it is"
    subscribe(book, 1, [0], push=False)
    assert not book.pushed[0]
    with pytest.raises(SubscriptionRefused, match="subscribe before"):
        book.register_push(1, [(0, TICKER), (1, TICKER)], True)
    assert not book.pushed[0]


def test_sessions_are_those_of_anybody_but_pushes_those_of_each(book: SubscriptionBook) -> None:
    subscribe(book, 1, [0])
    book.subscribe(2, [(0, TICKER)], [REGULAR | EXTENDED], True, 0.0)
    assert book.held[0] == REGULAR | EXTENDED
    assert book.pushed_to(1)[0] == REGULAR
    assert book.pushed_to(2)[0] == REGULAR | EXTENDED


actions = st.lists(
    st.tuples(
        st.sampled_from(["subscribe", "unsubscribe", "push", "mute", "reconnect", "wait"]),
        st.integers(0, 2),
        st.lists(st.integers(0, 5), min_size=1, max_size=4),
    ),
    max_size=40,
)


@given(actions)
def test_the_quota_is_never_exceeded_and_pushes_are_always_held(steps: list[tuple[str, int, list[int]]]) -> None:
    book, now_s = SubscriptionBook(symbols=6, quota=4), 0.0
    for connection in range(3):
        book.open(connection)
    for action, connection, symbols in steps:
        pairs = [(symbol, TICKER) for symbol in symbols]
        try:
            if action == "subscribe":
                subscribe(book, connection, symbols, now_s=now_s)
            elif action == "unsubscribe":
                book.unsubscribe(connection, pairs, now_s)
            elif action == "reconnect":
                book.close(connection, now_s)
                book.open(connection)
            elif action == "wait":
                now_s += 10.0 * symbols[0]
                book.expire(now_s)
            else:
                book.register_push(connection, pairs, action == "push")
        except SubscriptionRefused:
            pass
        assert book.used() <= book.quota
        assert book.used() == (book.held != 0).sum()
        assert not (book.pushed & ~book.held).any()
        for each in range(3):
            assert not (book.pushed_to(each) & ~book.pushed).any()
