"""Subscriptions of one connection, against gateways that refuse, forget and fail."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.markets import HK, US
from codec.opend.protocol import ProtoId, SessionChoice, SubType
from ingest.opend.subscriber import (
    PULL_ATTEMPTS_MAX,
    PULL_TICKS,
    PULLS_IN_FLIGHT_MAX,
    SUBSCRIBE_SYMBOLS_MAX,
    SUBSCRIBES_IN_FLIGHT_MAX,
    Request,
    Security,
    Subscriber,
)
from protos.opend import subscription_pb2, ticker_pb2


def hk(count: int) -> list[Security]:
    return [(HK, f"{number:05}") for number in range(count)]


def us(count: int) -> list[Security]:
    return [(US, f"US{number}") for number in range(count)]


def sub_of(request: Request) -> subscription_pb2.SubC2S:
    assert isinstance(request.message, subscription_pb2.SubRequest)
    return request.message.c2s


def asked_for(request: Request) -> list[Security]:
    """Whom a request on the wire is about."""
    if isinstance(request.message, ticker_pb2.GetTickerRequest):
        security = request.message.c2s.security
        return [(security.market, security.code)]
    return [(security.market, security.code) for security in sub_of(request).securityList]


class Line:
    """Numbers requests as a session does."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self._serial = 1

    def send(self) -> dict[int, Request]:
        requests = {}
        for request in self.subscriber.next_requests():
            self._serial += 1
            self.subscriber.sent(self._serial, request)
            requests[self._serial] = request
        return requests


def test_a_sub_asks_for_ticks_with_push_and_first_push() -> None:
    [request] = Subscriber.wanting(hk(2), SessionChoice.ALL).next_requests()
    c2s = sub_of(request)
    assert request.proto_id is ProtoId.SUB
    assert list(c2s.subTypeList) == [SubType.TICKER]
    assert (c2s.isSubOrUnSub, c2s.isRegOrUnRegPush, c2s.isFirstPush) == (True, True, True)
    assert not c2s.HasField("session")
    assert not c2s.HasField("extendedTime")
    assert asked_for(request) == hk(2)


@pytest.mark.parametrize(
    ("choice", "extended"), [(SessionChoice.RTH, False), (SessionChoice.ETH, True), (SessionChoice.ALL, True)]
)
def test_us_symbols_go_apart_with_their_session(choice: SessionChoice, extended: bool) -> None:
    mixed = [security for pair in zip(hk(3), us(3), strict=True) for security in pair]
    requests = Subscriber.wanting(mixed, choice).next_requests()
    by_market = {asked_for(request)[0][0]: request for request in requests}
    assert asked_for(by_market[HK]) == hk(3)
    assert asked_for(by_market[US]) == us(3)
    c2s = sub_of(by_market[US])
    assert (c2s.session, c2s.extendedTime) == (choice, extended)
    assert not sub_of(by_market[HK]).HasField("session")


def test_each_symbol_is_asked_for_once_in_batches() -> None:
    wanted = hk(2 * SUBSCRIBE_SYMBOLS_MAX + 1)
    line = Line(Subscriber.wanting(wanted + wanted[:5], SessionChoice.ALL))
    asked: list[Security] = []
    while requests := line.send():
        assert len(requests) <= SUBSCRIBES_IN_FLIGHT_MAX + PULLS_IN_FLIGHT_MAX
        for serial, request in requests.items():
            if request.proto_id is ProtoId.SUB:
                assert len(asked_for(request)) <= SUBSCRIBE_SYMBOLS_MAX
                asked += asked_for(request)
                line.subscriber.subscribed(serial)
            else:
                line.subscriber.pulled(serial)
    assert asked == wanted
    assert line.subscriber.confirmed == line.subscriber.filled == set(wanted)


def test_a_confirmed_symbol_is_pulled_once_for_all_that_there_is() -> None:
    line = Line(Subscriber.wanting(hk(1), SessionChoice.ALL))
    [serial] = line.send()
    assert line.subscriber.subscribed(serial) == tuple(hk(1))
    [(serial, request)] = line.send().items()
    assert request.proto_id is ProtoId.GET_TICKER
    assert isinstance(request.message, ticker_pb2.GetTickerRequest)
    assert request.message.c2s.maxRetNum == PULL_TICKS == 1000
    assert line.subscriber.filled == set()
    assert line.subscriber.pulled(serial) == hk(1)[0]
    assert line.send() == {}


def test_answers_to_nothing_of_ours_change_nothing() -> None:
    subscriber = Subscriber.wanting(hk(1), SessionChoice.ALL)
    assert subscriber.subscribed(99) == ()
    assert subscriber.pulled(99) is None
    assert subscriber.failed(99, "?", timed_out=False) == ()
    assert not subscriber.confirmed
    assert not subscriber.refused


def confirmed_line(count: int = 1) -> Line:
    """All confirmed and filled."""
    line = Line(Subscriber.wanting(hk(count), SessionChoice.ALL))
    while requests := line.send():
        for serial, request in requests.items():
            if request.proto_id is ProtoId.SUB:
                line.subscriber.subscribed(serial)
            else:
                line.subscriber.pulled(serial)
    return line


def test_pulling_again_is_asked_once_however_often_it_is_wished() -> None:
    line, [security] = confirmed_line(), hk(1)
    for _ in range(3):
        line.subscriber.pull(security)
    assert line.subscriber.filled == set()
    [(serial, request)] = line.send().items()
    assert asked_for(request) == [security]
    # A reply that is on its way may be older than what it is wished for: one more is asked.
    for _ in range(3):
        line.subscriber.pull(security)
    [again] = line.send()
    line.subscriber.failed(serial, "busy", timed_out=False)
    for _ in range(3):
        line.subscriber.pull(security)
    [third] = line.send()
    assert line.subscriber.pulled(again) == line.subscriber.pulled(third) == security
    assert line.send() == {}


def test_a_symbol_that_is_not_confirmed_is_not_pulled() -> None:
    line = Line(Subscriber.wanting(hk(1), SessionChoice.ALL))
    line.subscriber.pull(hk(1)[0])
    assert [request.proto_id for request in line.send().values()] == [ProtoId.SUB]


@pytest.mark.parametrize("timed_out", [False, True])
def test_a_pull_is_tried_three_times(timed_out: bool) -> None:
    line, [security] = confirmed_line(), hk(1)
    line.subscriber.pull(security)
    for attempt in range(1, PULL_ATTEMPTS_MAX + 1):
        [serial] = line.send()
        given_up = line.subscriber.failed(serial, "busy", timed_out=timed_out)
        assert given_up == ((security,) if attempt == PULL_ATTEMPTS_MAX == 3 else ())
    assert line.send() == {}
    assert line.subscriber.refused == {}
    assert security in line.subscriber.confirmed
    line.subscriber.pull(security)
    assert len(line.send()) == 1, "a later hole is a new reason to ask"


def test_a_sub_that_gets_no_answer_is_asked_again_for_ever() -> None:
    line = Line(Subscriber.wanting(hk(3), SessionChoice.ALL))
    for _ in range(20):
        [(serial, request)] = line.send().items()
        assert asked_for(request) == hk(3)
        assert line.subscriber.failed(serial, "no answer", timed_out=True) == ()
    assert line.subscriber.refused == {}


@dataclass
class Gateway:
    """Refuses every batch with a culprit in it, forgets some requests and fails some pulls."""

    culprits: set[Security]
    rng: random.Random
    forgets: float
    fails: float
    requests: Counter[ProtoId] = field(default_factory=Counter)
    pulls: Counter[Security] = field(default_factory=Counter)
    subscribed: set[Security] = field(default_factory=set)

    def answer(self, serial: int, request: Request, subscriber: Subscriber) -> tuple[Security, ...]:
        self.requests[request.proto_id] += 1
        securities = asked_for(request)
        if request.proto_id is ProtoId.GET_TICKER:
            assert self.subscribed.issuperset(securities), "a pull needs its subscription"
            self.pulls.update(securities)
        if self.rng.random() < self.forgets:
            return subscriber.failed(serial, "no answer", timed_out=True)
        if request.proto_id is ProtoId.GET_TICKER:
            if self.rng.random() < self.fails:
                return subscriber.failed(serial, "busy", timed_out=False)
            assert subscriber.pulled(serial) == securities[0]
            return ()
        if self.culprits.intersection(securities):
            return subscriber.failed(serial, f"no right for {securities}", timed_out=False)
        self.subscribed.update(securities)
        assert subscriber.subscribed(serial) == tuple(securities)
        return ()


@given(
    markets=st.lists(st.sampled_from((HK, US, 21)), max_size=260),
    culprit_share=st.sampled_from((0.0, 0.01, 0.2, 1.0)),
    forgets=st.sampled_from((0.0, 0.3)),
    fails=st.sampled_from((0.0, 0.6)),
    seed=st.integers(0, 2**32),
)
def test_whatever_a_gateway_refuses_the_others_go_on(
    markets: list[int], culprit_share: float, forgets: float, fails: float, seed: int
) -> None:
    rng = random.Random(seed)
    wanted = [(market, f"C{number}") for number, market in enumerate(markets)]
    culprits = {security for security in wanted if rng.random() < culprit_share}
    gateway = Gateway(culprits, rng, forgets, fails)
    line = Line(Subscriber.wanting(wanted, SessionChoice.ALL))
    in_flight: dict[int, Request] = {}
    given_up: Counter[Security] = Counter()
    while requests := in_flight | line.send():
        in_flight = requests
        kinds = Counter(request.proto_id for request in in_flight.values())
        assert kinds[ProtoId.SUB] <= SUBSCRIBES_IN_FLIGHT_MAX
        assert kinds[ProtoId.GET_TICKER] <= PULLS_IN_FLIGHT_MAX
        serial = rng.choice(sorted(in_flight))
        given_up.update(gateway.answer(serial, in_flight.pop(serial), line.subscriber))

    subscriber = line.subscriber
    assert subscriber.confirmed == gateway.subscribed == set(wanted) - culprits
    assert set(subscriber.refused) == culprits
    assert all(repr([security]) in text for security, text in subscriber.refused.items()), "its own words"
    assert set(given_up) == culprits | (subscriber.confirmed - subscriber.filled)
    assert set(given_up.values()) <= {1}
    assert set(gateway.pulls.values()) <= set(range(1, PULL_ATTEMPTS_MAX + 1))
    if forgets == fails == 0:
        assert subscriber.filled == subscriber.confirmed
        assert set(gateway.pulls.values()) <= {1}


def test_one_culprit_among_a_hundred_is_found_in_seven_halvings() -> None:
    gateway = Gateway({(HK, "00042")}, random.Random(0), 0, 0)
    line = Line(Subscriber.wanting(hk(100), SessionChoice.ALL))
    in_flight: dict[int, Request] = {}
    while in_flight := in_flight | line.send():
        serial = min(in_flight)
        gateway.answer(serial, in_flight.pop(serial), line.subscriber)
    assert set(line.subscriber.refused) == gateway.culprits
    assert gateway.requests[ProtoId.SUB] <= 1 + 2 * 7
