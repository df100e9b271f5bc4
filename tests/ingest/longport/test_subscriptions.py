"""Subscriptions of a LongPort connection, against a gateway of a few lines."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.longport.protocol import Command
from codec.markets import Security
from ingest.longport.events import Failed
from ingest.longport.subscriptions import QUOTA, SYMBOLS_MAX, UNKNOWN_MARKET, Subscriptions
from protos.longport import subscription_pb2
from tests.codec.examples import examples

S = 1_000_000_000


def us(count: int, first: int = 0) -> list[Security]:
    return [(11, f"S{number}") for number in range(first, first + count)]


class Gateway:
    """Answers what `subscriptions` asks until it asks nothing more.

    Attributes
    ----------
    bad : codes by the symbols whose name makes a request fail
    room : symbols that it holds at most
    held : symbols that it pushes
    """

    def __init__(self, subscriptions: Subscriptions, bad: dict[str, int] | None = None, room: int = 10_000) -> None:
        self.subscriptions, self.bad, self.room = subscriptions, bad or {}, room
        self.held: set[str] = set()
        self.confirmed: list[Security] = []
        self.asked: Counter[Command] = Counter()
        self.retriable = 0
        self._number = 0

    def settle(self, now_ns: int = 0) -> None:
        while (request := self.subscriptions.next_request(now_ns)) is not None:
            self._number += 1
            self.asked[request.command] += 1
            self.subscriptions.sent(self._number)
            assert self.subscriptions.next_request(now_ns) is None  # one at a time
            assert self.subscriptions.next_ns() is None
            message = request.message
            assert isinstance(message, subscription_pb2.SubscribeRequest | subscription_pb2.UnsubscribeRequest)
            names = set(message.symbol)
            assert 0 < len(names) <= SYMBOLS_MAX
            assert list(message.sub_type) == [subscription_pb2.TRADE]
            code = next((self.bad[name] for name in message.symbol if name in self.bad), 0)
            if self.retriable:
                self.retriable -= 1
                code = 301602
            elif request.command is Command.SUBSCRIBE and len(self.held | names) > self.room:
                code = 301605
            if code:
                self.subscriptions.failed(Failed(self._number, request.command, 7, code, "no"), now_ns)
                continue
            self.held = self.held - names if request.command is Command.UNSUBSCRIBE else self.held | names
            self.confirmed += self.subscriptions.ended(self._number)


def wanting(securities: list[Security]) -> Subscriptions:
    subscriptions = Subscriptions()
    subscriptions.want(securities)
    return subscriptions


def test_all_are_subscribed_in_one_request_in_file_order() -> None:
    gateway = Gateway(wanting([(1, "00700"), *us(498), (21, "600519")]))
    before = gateway.subscriptions.settled
    gateway.settle()
    assert gateway.asked == {Command.SUBSCRIBE: 1}
    assert (before, gateway.subscriptions.settled) == (False, True)
    assert gateway.confirmed == [(1, "00700"), *us(498), (21, "600519")]
    assert {"700.HK", "S0.US", "600519.SH"} <= gateway.held


def test_symbols_beyond_the_accounts_limit_are_refused_in_file_order_without_asking() -> None:
    gateway = Gateway(wanting(us(510)), room=SYMBOLS_MAX)
    gateway.settle()
    assert gateway.asked == {Command.SUBSCRIBE: 1}
    assert gateway.subscriptions.refused == dict.fromkeys(us(10, 500), QUOTA)
    assert gateway.subscriptions.take_refused() == [(security, QUOTA) for security in us(10, 500)]
    assert gateway.subscriptions.take_refused() == []
    gateway.subscriptions.want(us(505, 5))
    gateway.settle()
    assert gateway.subscriptions.refused == dict.fromkeys(us(5, 505), QUOTA)
    assert len(gateway.held) == SYMBOLS_MAX


def test_the_profile_says_of_a_smaller_limit() -> None:
    gateway = Gateway(wanting(us(20)), room=10)
    request = gateway.subscriptions.next_request(0)
    assert request is not None  # the profile comes while this is on its way
    gateway.subscriptions.sent(99)
    gateway.subscriptions.limit_is(10)
    gateway.subscriptions.failed(Failed(99, 6, 7, 301605, "too many"), 0)
    gateway.settle()
    assert gateway.held == {f"S{number}.US" for number in range(10)}
    assert gateway.subscriptions.refused == dict.fromkeys(us(10, 10), QUOTA)


def test_what_another_program_holds_is_found_out() -> None:
    gateway = Gateway(wanting(us(300)), room=123)
    gateway.settle()
    assert gateway.held == {f"S{number}.US" for number in range(123)}
    assert set(gateway.subscriptions.refused) == set(us(177, 123))
    assert gateway.asked[Command.SUBSCRIBE] < 20


@pytest.mark.parametrize("code", [301600, 301603, 301604, 301607])
def test_a_bad_symbol_is_found_and_the_others_go_on(code: int) -> None:
    gateway = Gateway(wanting(us(100)), bad={"S37.US": code})
    gateway.settle()
    assert len(gateway.held) == 99
    [(security, text)] = gateway.subscriptions.take_refused()
    assert security == (11, "S37")
    assert str(code) in text
    assert gateway.asked[Command.SUBSCRIBE] <= 16
    assert gateway.subscriptions.settled


@examples(40)
@given(bad=st.sets(st.integers(0, 59), max_size=8), room=st.integers(0, 70))
def test_bad_symbols_and_shortage_together(bad: set[int], room: int) -> None:
    gateway = Gateway(wanting(us(60)), bad={f"S{number}.US": 301604 for number in bad}, room=room)
    gateway.settle()
    subscriptions = gateway.subscriptions
    assert subscriptions.settled
    assert subscriptions.subscribed | set(subscriptions.refused) == set(us(60))
    assert not subscriptions.subscribed & set(subscriptions.refused)
    assert {f"{code}.US" for _, code in subscriptions.subscribed} == gateway.held
    assert len(gateway.held) == min(room, 60 - len(bad)) or len(gateway.held) <= room


def test_what_can_be_tried_again_is_with_a_backoff() -> None:
    gateway = Gateway(wanting(us(3)))
    gateway.retriable = 3
    gateway.settle(0)
    assert gateway.subscriptions.next_ns() == 1 * S
    gateway.settle(1 * S)
    assert gateway.subscriptions.next_ns() == 3 * S
    gateway.settle(3 * S)
    assert gateway.subscriptions.next_ns() == 7 * S
    gateway.settle(7 * S)
    assert gateway.subscriptions.settled
    assert gateway.asked == {Command.SUBSCRIBE: 4}
    assert gateway.subscriptions.next_ns() is None


def test_other_symbols_are_wanted() -> None:
    gateway = Gateway(wanting(us(5)), bad={"S1.US": 301604})
    gateway.settle()
    assert gateway.subscriptions.want(us(5, 2)) == ((11, "S0"), (11, "S1"))
    assert not gateway.subscriptions.settled
    gateway.settle()
    assert gateway.held == {f"S{number}.US" for number in range(2, 7)}
    assert gateway.subscriptions.refused == {}
    assert gateway.asked[Command.UNSUBSCRIBE] == 1
    assert gateway.subscriptions.subscribed == set(us(5, 2))


def test_a_symbol_that_is_dropped_while_it_is_asked_for() -> None:
    subscriptions = wanting(us(2))
    assert subscriptions.next_request(0) is not None
    subscriptions.sent(1)
    subscriptions.want(us(1))
    assert subscriptions.ended(1) == ((11, "S0"),)
    gateway = Gateway(subscriptions)
    gateway.settle()
    assert gateway.asked == {Command.UNSUBSCRIBE: 1}
    assert subscriptions.confirmed == {(11, "S0")}


def test_a_market_that_longport_has_not() -> None:
    gateway = Gateway(wanting([(2, "HSImain"), (1, "00700")]))
    gateway.settle()
    assert gateway.subscriptions.refused == {(2, "HSImain"): UNKNOWN_MARKET}
    assert gateway.held == {"700.HK"}


def test_an_answer_to_something_else_changes_nothing() -> None:
    subscriptions = wanting(us(1))
    assert subscriptions.next_request(0) is not None
    subscriptions.sent(1)
    assert subscriptions.ended(2) == ()
    subscriptions.failed(Failed(2, 6, 7, 301604, "no"), 0)
    assert subscriptions.ended(1) == ((11, "S0"),)
