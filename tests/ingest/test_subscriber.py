"""Pulls of one connection: each symbol is filled once it is subscribed, and again when it is wished."""

from __future__ import annotations

from collections import Counter

import pytest

from codec.markets import HK
from codec.opend.protocol import ProtoId
from ingest.opend.requests import PULL_TICKS, Request, Security, Wanted
from ingest.opend.subscriber import PULL_ATTEMPTS_MAX, PULLS_IN_FLIGHT_MAX, Subscriber
from ingest.opend.subscriptions import Quota, Subscriptions
from protos.opend import ticker_pb2


def hk(count: int) -> list[Security]:
    return [(HK, f"{number:05}") for number in range(count)]


def wanting(count: int) -> Subscriber:
    subscriber = Subscriber(Subscriptions())
    subscriber.want([Wanted(security) for security in hk(count)], 0)
    return subscriber


def asked_for(request: Request) -> Security:
    """Whose ticks a pull on the wire asks for."""
    assert isinstance(request.message, ticker_pb2.GetTickerRequest)
    security = request.message.c2s.security
    return security.market, security.code


class Line:
    """Numbers requests as a session does."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self._serial = 1

    def send(self) -> dict[int, Request]:
        requests = {}
        for request in self.subscriber.next_requests(0):
            self._serial += 1
            self.subscriber.sent(self._serial, request)
            requests[self._serial] = request
        return requests


def test_every_confirmed_symbol_is_pulled_once_for_all_that_there_is() -> None:
    line = Line(wanting(250))
    pulls: Counter[Security] = Counter()
    while requests := line.send():
        kinds = Counter(request.proto_id for request in requests.values())
        assert kinds[ProtoId.GET_TICKER] <= PULLS_IN_FLIGHT_MAX
        for serial, request in requests.items():
            if request.proto_id is ProtoId.SUB:
                line.subscriber.subscribed(serial, 0)
                continue
            assert isinstance(request.message, ticker_pb2.GetTickerRequest)
            assert request.message.c2s.maxRetNum == PULL_TICKS == 1000
            security = asked_for(request)
            assert security in line.subscriber.confirmed, "a pull needs its subscription"
            pulls[security] += 1
            assert line.subscriber.pulled(serial) == security
    assert pulls == Counter(hk(250))
    assert line.subscriber.confirmed == line.subscriber.filled == set(hk(250))


def test_answers_to_nothing_of_ours_change_nothing() -> None:
    subscriber = wanting(1)
    assert subscriber.subscribed(99, 0) == ()
    assert subscriber.pulled(99) is None
    assert subscriber.failed(99, "?", 0, timed_out=False) is None
    assert not subscriber.confirmed
    assert not subscriber.refused


def confirmed_line(count: int = 1) -> Line:
    """All confirmed and filled."""
    line = Line(wanting(count))
    while requests := line.send():
        for serial, request in requests.items():
            if request.proto_id is ProtoId.SUB:
                line.subscriber.subscribed(serial, 0)
            else:
                line.subscriber.pulled(serial)
    return line


def test_pulling_again_is_asked_once_however_often_it_is_wished() -> None:
    line, [security] = confirmed_line(), hk(1)
    for _ in range(3):
        line.subscriber.pull(security)
    assert line.subscriber.filled == set()
    [(serial, request)] = line.send().items()
    assert asked_for(request) == security
    # A reply that is on its way may be older than what it is wished for: one more is asked.
    for _ in range(3):
        line.subscriber.pull(security)
    [again] = line.send()
    line.subscriber.failed(serial, "busy", 0, timed_out=False)
    for _ in range(3):
        line.subscriber.pull(security)
    [third] = line.send()
    assert line.subscriber.pulled(again) == line.subscriber.pulled(third) == security
    assert line.send() == {}


def test_a_poll_leaves_the_symbol_filled() -> None:
    line, [security] = confirmed_line(), hk(1)
    line.subscriber.poll(security)
    assert line.subscriber.filled == {security}
    assert len(line.send()) == 1


def test_a_symbol_that_is_not_confirmed_is_not_pulled() -> None:
    line = Line(wanting(1))
    line.subscriber.pull(hk(1)[0])
    line.subscriber.poll(hk(1)[0])
    assert [request.proto_id for request in line.send().values()] == [ProtoId.SUB]


@pytest.mark.parametrize("timed_out", [False, True])
def test_a_pull_is_tried_three_times(timed_out: bool) -> None:
    line, [security] = confirmed_line(), hk(1)
    line.subscriber.pull(security)
    for attempt in range(1, PULL_ATTEMPTS_MAX + 1):
        [serial] = line.send()
        given_up = line.subscriber.failed(serial, "busy", 0, timed_out=timed_out)
        assert given_up == (security if attempt == PULL_ATTEMPTS_MAX == 3 else None)
    assert line.send() == {}
    assert line.subscriber.refused == {}
    assert security in line.subscriber.confirmed
    line.subscriber.pull(security)
    assert len(line.send()) == 1, "a later hole is a new reason to ask"


def test_nothing_is_asked_or_given_up_while_the_gateway_cannot_serve() -> None:
    line = confirmed_line(2)
    subscriber = line.subscriber
    subscriber.pull(hk(1)[0])
    [serial] = line.send()
    subscriber.held = True
    subscriber.pull(hk(2)[1])
    assert subscriber.failed(serial, "not logged in", 0, timed_out=False) is None
    assert line.send() == {}
    assert subscriber.deadline_ns() is None
    for _ in range(2 * PULL_ATTEMPTS_MAX):
        subscriber.held = False
        requests = line.send()
        assert sorted(map(asked_for, requests.values())) == hk(2)
        subscriber.held = True
        for serial in requests:
            assert subscriber.failed(serial, "not logged in", 0, timed_out=False) is None


def test_a_sub_that_fails_while_held_is_sent_again() -> None:
    line = Line(wanting(3))
    [serial] = line.send()
    line.subscriber.held = True
    line.subscriber.failed(serial, "not logged in", 0, timed_out=False)
    line.subscriber.held = False
    assert not line.subscriber.subscriptions.needs_quota
    [(serial, _)] = line.send().items()
    assert line.subscriber.subscribed(serial, 0) == tuple(hk(3))


def test_symbols_that_are_taken_away_are_not_pulled_any_more() -> None:
    line = confirmed_line(2)
    first, second = hk(2)
    line.subscriber.pull(first)
    line.subscriber.subscriptions.quota_is(Quota(10, 8, 0))
    assert line.subscriber.want([Wanted(second)], 0) == (first,)
    assert line.send() == {}
    assert line.subscriber.filled == {second}
    line.subscriber.pull(first)
    assert line.send() == {}


def test_the_busiest_symbol_is_pulled_first() -> None:
    busy = {security: float(place % 3) for place, security in enumerate(hk(20))}
    subscriber = Subscriber(Subscriptions(), activity=lambda security: busy[security])
    subscriber.want(map(Wanted, hk(20)), 0)
    line = Line(subscriber)
    [serial] = line.send()
    subscriber.subscribed(serial, 0)
    pulled: list[float] = []
    while requests := line.send():
        for serial, request in requests.items():
            pulled.append(busy[asked_for(request)])
            subscriber.pulled(serial)
    assert len(pulled) == 20
    assert pulled == sorted(pulled, reverse=True)
