"""Desired against confirmed subscriptions, against gateways that refuse, forget and run out of units."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.markets import HK, SH, US
from codec.opend.protocol import SessionChoice, SubType
from ingest.opend.requests import Security, Wanted
from ingest.opend.subscriptions import HELD_NS_MIN, QUOTA, SUBSCRIBE_SYMBOLS_MAX, UNSUB_AGAIN_NS, Quota, Subscriptions
from protos.opend import subscription_pb2

MINUTE_NS = 60_000_000_000


def hk(*numbers: int) -> list[Security]:
    return [(HK, f"{number:05}") for number in numbers]


def wanting(securities: Iterable[Security]) -> list[Wanted]:
    return [Wanted(each, SessionChoice.ALL if each[0] == US else None) for each in securities]


@dataclass
class Login:
    """An OpenD's side of subscribing: units, refusals, the one-minute rule; requests are answered in order."""

    units: int = 2000
    culprits: set[Security] = field(default_factory=set)
    foreign: int = 0
    lingering: set[Security] = field(default_factory=set)
    """Of a connection that ended: they are in use, and cost nothing when asked for again."""
    held_ns: dict[Security, int] = field(default_factory=dict)
    kinds: dict[Security, tuple[int, bool]] = field(default_factory=dict)
    """Session and push of each."""
    subs: Counter[str] = field(default_factory=Counter)

    @property
    def used(self) -> int:
        return self.foreign + len(self.held_ns.keys() | self.lingering)

    @property
    def quota(self) -> Quota:
        return Quota(self.units, self.units - self.used, self.foreign)

    def answer(self, c2s: subscription_pb2.SubC2S, now_ns: int) -> str | None:
        """The refusal, or None."""
        assert list(c2s.subTypeList) == [SubType.TICKER]
        assert 0 < len(c2s.securityList) <= SUBSCRIBE_SYMBOLS_MAX
        named = [(security.market, security.code) for security in c2s.securityList]
        if not c2s.isSubOrUnSub:
            self.subs["unsub"] += 1
            assert not c2s.isRegOrUnRegPush
            if any(now_ns - self.held_ns[security] < MINUTE_NS for security in named):
                return "not within a minute"
            for security in named:
                del self.held_ns[security]
            return None
        self.subs["sub"] += 1
        assert len({security[0] == US for security in named}) == 1, "sessions are of US symbols only"
        assert c2s.HasField("session") == c2s.HasField("extendedTime") == (named[0][0] == US)
        if culprits := self.culprits.intersection(named):
            return f"no right for {sorted(culprits)[0]}"
        if self.foreign + len(self.held_ns.keys() | self.lingering | set(named)) > self.units:
            return "insufficient"
        for security in named:
            self.held_ns.setdefault(security, now_ns)
            self.kinds[security] = (c2s.session, c2s.isRegOrUnRegPush)
        return None


class Line:
    """Takes requests to a login and answers back, as a connection does."""

    def __init__(self, login: Login, *, reserve: int = 0, told: bool = True) -> None:
        self.login = login
        self.subscriptions = Subscriptions(reserve)
        if told:
            self.subscriptions.quota_is(login.quota)
        self.refused: list[tuple[Security, str]] = []
        self._serial = 0

    def run(self, now_ns: int = 0, *, answers_quota: bool = True) -> list[Security]:
        """Until there is nothing to do; the symbols that were confirmed, in order."""
        confirmed: list[Security] = []
        subscriptions = self.subscriptions
        while True:
            if subscriptions.needs_quota:
                assert subscriptions.next_request(now_ns) is None
                if answers_quota:
                    subscriptions.quota_is(self.login.quota)
                else:
                    subscriptions.quota_unknown()
            if (request := subscriptions.next_request(now_ns)) is None:
                break
            assert subscriptions.next_request(now_ns) is None, "one at a time"
            self._serial += 1
            subscriptions.sent(self._serial)
            assert isinstance(request.message, subscription_pb2.SubRequest)
            refusal = self.login.answer(request.message.c2s, now_ns)
            if refusal is None:
                confirmed += subscriptions.ended(self._serial, now_ns)
            else:
                subscriptions.failed(self._serial, refusal, now_ns, says_nothing=False)
        self.refused += subscriptions.take_refused()
        return confirmed


def test_everything_is_subscribed_once_in_file_order() -> None:
    wanted = hk(*range(250))
    line = Line(Login())
    line.subscriptions.want(wanting(wanted + wanted[:5]), 0)
    assert line.run() == wanted
    assert line.login.subs == {"sub": 3}
    assert line.subscriptions.confirmed == set(wanted)
    assert line.subscriptions.settled


@pytest.mark.parametrize("session", list(SessionChoice))
def test_each_session_and_mode_goes_in_requests_of_its_own(session: SessionChoice) -> None:
    line = Line(Login())
    wanted = [
        Wanted((US, "A"), session),
        Wanted((HK, "1")),
        Wanted((US, "B"), SessionChoice.ALL),
        Wanted((HK, "2"), push=False),
        Wanted((US, "C"), session, push=False),
    ]
    line.subscriptions.want(wanted, 0)
    line.run()
    assert line.login.kinds == {
        (US, "A"): (session, True),
        (HK, "1"): (0, True),
        (US, "B"): (SessionChoice.ALL, True),
        (HK, "2"): (0, False),
        (US, "C"): (session, False),
    }


def test_beyond_the_quota_the_last_of_the_file_are_refused() -> None:
    mixed = [(HK, f"{n:05}") if n % 2 else (US, f"C{n}") for n in range(150)]
    line = Line(Login(units=100), reserve=10)
    line.subscriptions.want(wanting(mixed), 0)
    line.run()
    assert set(line.login.held_ns) == set(mixed[:90])
    assert line.subscriptions.refused == dict.fromkeys(mixed[90:], QUOTA)
    assert line.subscriptions.settled
    assert line.subscriptions.lacks_quota
    assert line.refused == [(security, QUOTA) for security in mixed[90:]], "each is told once"


@pytest.mark.parametrize(("reserve", "foreign", "ours"), [(0, 30, 70), (30, 30, 70), (50, 30, 50), (30, 50, 50)])
def test_what_others_use_comes_off_the_reserve(reserve: int, foreign: int, ours: int) -> None:
    line = Line(Login(units=100, foreign=foreign), reserve=reserve)
    line.subscriptions.want(wanting(hk(*range(100))), 0)
    line.run()
    assert len(line.login.held_ns) == ours


def test_others_who_came_unseen_are_met_in_file_order_and_freed_units_are_taken() -> None:
    wanted = [(HK, f"{n:05}") if n % 3 else (SH, f"{n:06}") for n in range(300)]
    line = Line(Login(units=300))
    line.login.foreign = 120
    line.subscriptions.want(wanting(wanted), 0)
    line.run()
    assert line.login.used == 300
    assert list(line.subscriptions.refused) == wanted[180:]
    line.login.foreign = 20
    line.subscriptions.quota_is(line.login.quota)
    assert line.run() == wanted[180:280]
    assert list(line.subscriptions.refused) == wanted[280:]


def test_our_own_lingering_units_do_not_count_against_us() -> None:
    """After a restart of ours the last connection's subscriptions are in use for a minute more."""
    wanted = hk(*range(100))
    line = Line(Login(units=100, lingering=set(wanted)))
    assert line.login.quota.left == 0
    line.subscriptions.want(wanting(wanted), 0)
    assert line.run() == wanted


def test_a_refusal_is_of_one_symbol_when_units_are_left() -> None:
    wanted = hk(*range(100))
    line = Line(Login(culprits={wanted[42]}))
    line.subscriptions.want(wanting(wanted), 0)
    line.run()
    assert line.subscriptions.refused == {wanted[42]: f"no right for {wanted[42]}"}
    assert line.login.subs["sub"] <= 1 + 2 * 7
    assert len(line.login.held_ns) == 99


def test_a_refused_symbol_makes_room_for_the_next_one() -> None:
    wanted = hk(*range(6))
    line = Line(Login(units=4, culprits={wanted[1]}))
    line.subscriptions.want(wanting(wanted), 0)
    line.run()
    assert line.subscriptions.confirmed == {wanted[0], *wanted[2:5]}
    assert line.subscriptions.refused == {wanted[1]: f"no right for {wanted[1]}", wanted[5]: QUOTA}


def test_what_is_known_to_be_without_ticks_is_not_asked_for_until_that_changes() -> None:
    wanted = hk(1, 2, 3)
    line = Line(Login())
    line.subscriptions.judged_by(lambda security: "no right" if security == wanted[1] else None)
    line.subscriptions.want(wanting(wanted), 0)
    assert line.run() == [wanted[0], wanted[2]]
    assert line.refused == [(wanted[1], "no right")]
    line.subscriptions.judged_by(lambda security: None)
    assert line.run() == [wanted[1]]
    assert line.subscriptions.refused == {}


def test_a_request_without_an_answer_is_sent_again() -> None:
    line = Line(Login())
    subscriptions = line.subscriptions
    subscriptions.want(wanting(hk(1, 2, 3)), 0)
    for serial in range(100, 120):
        assert subscriptions.next_request(0) is not None
        subscriptions.sent(serial)
        subscriptions.failed(serial, "no answer", 0, says_nothing=True)
    assert line.run() == hk(1, 2, 3)
    assert line.refused == []


def test_another_list_keeps_what_stays_and_lets_go_after_a_minute() -> None:
    line = Line(Login())
    line.subscriptions.want(wanting(hk(1, 2, 3)), 0)
    line.run(now_ns=0)
    assert line.subscriptions.want(wanting(hk(3, 4)), MINUTE_NS // 2) == tuple(hk(1, 2))
    assert line.run(now_ns=MINUTE_NS // 2) == hk(4), "what stays is not asked for again"
    assert line.subscriptions.confirmed == set(hk(3, 4))
    assert line.subscriptions.deadline_ns() == HELD_NS_MIN
    assert line.run(now_ns=HELD_NS_MIN - 1) == []
    assert set(line.login.held_ns) == set(hk(1, 2, 3, 4))
    line.run(now_ns=HELD_NS_MIN)
    assert set(line.login.held_ns) == set(hk(3, 4))
    assert line.subscriptions.deadline_ns() is None
    line.subscriptions.want(wanting(hk(3)), 10 * MINUTE_NS)
    line.run(now_ns=10 * MINUTE_NS)
    assert set(line.login.held_ns) == set(hk(3)), "one that had its minute goes at once"


def test_a_symbol_that_is_wanted_again_stays() -> None:
    line = Line(Login())
    line.subscriptions.want(wanting(hk(1)), 0)
    line.run()
    line.subscriptions.want([], 0)
    line.subscriptions.want(wanting(hk(1)), 1)
    assert line.run(now_ns=HELD_NS_MIN) == []
    assert line.login.subs == {"sub": 1}


def test_a_symbol_that_leaves_while_it_is_asked_for_is_let_go() -> None:
    line = Line(Login())
    subscriptions = line.subscriptions
    subscriptions.want(wanting(hk(1)), 0)
    assert (request := subscriptions.next_request(0)) is not None
    subscriptions.sent(1)
    subscriptions.want([], 5)
    assert isinstance(request.message, subscription_pb2.SubRequest)
    assert line.login.answer(request.message.c2s, 10) is None
    assert subscriptions.ended(1, 10) == ()
    line.run(now_ns=10 + HELD_NS_MIN)
    assert line.login.held_ns == {}


def test_a_refused_unsubscribing_is_tried_again_a_minute_later() -> None:
    line = Line(Login())
    line.subscriptions.want(wanting(hk(1)), 0)
    line.run()
    line.login.held_ns[hk(1)[0]] = HELD_NS_MIN  # the gateway counts from later on
    line.subscriptions.want([], 0)
    line.run(now_ns=HELD_NS_MIN)
    assert line.login.held_ns
    assert line.subscriptions.deadline_ns() == HELD_NS_MIN + UNSUB_AGAIN_NS
    line.run(now_ns=HELD_NS_MIN + UNSUB_AGAIN_NS)
    assert line.login.held_ns == {}


def test_freed_units_of_symbols_taken_away_go_to_the_ones_that_wait() -> None:
    line = Line(Login(units=2))
    line.subscriptions.want(wanting(hk(1, 2, 3)), 0)
    line.run()
    line.subscriptions.want(wanting(hk(2, 3)), 0)
    line.run()
    assert line.subscriptions.refused == {hk(3)[0]: QUOTA}
    line.run(now_ns=HELD_NS_MIN)
    assert set(line.login.held_ns) == set(hk(2, 3))


def test_another_session_or_mode_is_asked_for_on_top() -> None:
    line = Line(Login(units=1))
    line.subscriptions.want([Wanted((US, "A"), SessionChoice.RTH)], 0)
    line.run()
    line.subscriptions.want([Wanted((US, "A"), SessionChoice.ALL, push=False)], 0)
    assert line.run() == [(US, "A")]
    assert line.login.kinds == {(US, "A"): (SessionChoice.ALL, False)}


def test_what_the_gateway_has_forgotten_is_asked_for_again() -> None:
    line = Line(Login())
    line.subscriptions.want(wanting(hk(1, 2)), 0)
    line.run()
    assert not line.subscriptions.held_by_gateway(set(hk(1, 2, 9)))
    assert line.run() == []
    assert line.subscriptions.held_by_gateway(set(hk(2)))
    assert not line.subscriptions.settled
    assert line.run() == hk(1)


@given(
    markets=st.lists(st.sampled_from((HK, US, SH)), max_size=260),
    culprit_share=st.sampled_from((0.0, 0.01, 0.2, 1.0)),
    units=st.sampled_from((0, 10, 120, 2000)),
    foreign=st.sampled_from((0, 5)),
    seed=st.integers(0, 2**32),
    told=st.booleans(),
)
def test_whatever_a_gateway_refuses_the_others_go_on(
    markets: list[int], culprit_share: float, units: int, foreign: int, seed: int, told: bool
) -> None:
    rng = random.Random(seed)
    wanted = [(market, f"C{number}") for number, market in enumerate(markets)]
    culprits = {security for security in wanted if rng.random() < culprit_share}
    login = Login(units, culprits, min(foreign, units))
    line = Line(login, told=told)
    line.subscriptions.want(wanting(wanted), 0)
    line.run()
    line.subscriptions.quota_is(login.quota)
    line.run()
    good = [security for security in wanted if security not in culprits]
    subscriptions = line.subscriptions
    assert subscriptions.settled
    assert subscriptions.confirmed == set(login.held_ns)
    assert len(subscriptions.confirmed) == min(len(good), units - login.foreign)
    assert subscriptions.confirmed <= set(good)
    if told:
        assert subscriptions.confirmed == set(good[: units - login.foreign]), "in file order"
    for security, text in subscriptions.refused.items():
        assert text == (QUOTA if security not in culprits or text == QUOTA else f"no right for {security}")


def test_without_word_of_the_quota_symbols_are_refused_one_by_one() -> None:
    wanted = hk(*range(10))
    line = Line(Login(units=4), told=False)
    line.subscriptions.want(wanting(wanted), 0)
    line.run(answers_quota=False)
    assert len(line.login.held_ns) == 4
    assert set(line.subscriptions.refused.values()) == {"insufficient"}
