"""What a gateway says of itself: logins lost and found again, rights, restarts; and what our upkeep makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from codec.markets import HK, HK_FUTURE, SH, US
from codec.opend.protocol import ProtoId, SubType
from ingest.opend.gateway_state import (
    KEPT_NS,
    GatewayState,
    LoginBack,
    LoginLost,
    Noticed,
    QuotaMoved,
    Restarted,
    RightsChanged,
)
from ingest.opend.remedies import EVENTS, PROGRAM_READY, PROGRAM_STATES
from ingest.opend.requests import Security, Wanted
from ingest.opend.rights import Kind, Right, Rights, kind_of
from ingest.opend.subscriber import Subscriber
from ingest.opend.subscriptions import QUOTA, Subscriptions
from ingest.opend.upkeep import (
    ASK_AGAIN_NS,
    QUOTA_LACKING_EVERY_NS,
    STATE_EVERY_NS,
    STATE_IN_TROUBLE_EVERY_NS,
    Upkeep,
)
from protos.opend import common_pb2, global_state_pb2, notify_pb2, subscription_pb2, user_info_pb2

S_NS = 1_000_000_000
READY = common_pb2.ProgramStatusType_Ready
LOGGING_IN = common_pb2.ProgramStatusType_Loging
WANTS_CODE = common_pb2.ProgramStatusType_NeedPhoneVerifyCode


def told(
    logged_in: bool = True, program: common_pb2.ProgramStatusType = READY, *, time_s: int = 1000, build: int = 1
) -> global_state_pb2.GetGlobalStateS2C:
    return global_state_pb2.GetGlobalStateS2C(
        marketHK=3,
        marketUS=37,
        marketSH=6,
        marketSZ=6,
        marketHKFuture=15,
        qotLogined=logged_in,
        trdLogined=True,
        serverVer=1011,
        serverBuildNo=build,
        time=time_s,
        programStatus=common_pb2.ProgramStatus(type=program),
    )


def event(number: int, text: str = "") -> notify_pb2.NotifyS2C:
    return notify_pb2.NotifyS2C(type=1, event=notify_pb2.NotifyGtwEvent(eventType=number, desc=text))


def program(kind: common_pb2.ProgramStatusType) -> notify_pb2.NotifyS2C:
    status = notify_pb2.NotifyProgramStatus(programStatus=common_pb2.ProgramStatus(type=kind, strExtDesc="to 1234"))
    return notify_pb2.NotifyS2C(type=2, programStatus=status)


def link(up: bool) -> notify_pb2.NotifyS2C:
    return notify_pb2.NotifyS2C(type=3, connectStatus=notify_pb2.NotifyConnectStatus(qotLogined=up, trdLogined=True))


def rights(hk: int = 3, us: int = 3, **fields: int) -> notify_pb2.NotifyS2C:
    values: dict[str, Any] = {"hkQotRight": hk, "usQotRight": us, "cnQotRight": 2} | fields
    return notify_pb2.NotifyS2C(type=4, qotRight=notify_pb2.NotifyQotRight(**values))


def logged_in() -> GatewayState:
    state = GatewayState()
    assert state.global_state(told()) == [LoginBack(first=True)]
    return state


def test_a_gateway_that_is_logged_in_says_so_once_and_tells_its_markets() -> None:
    state = logged_in()
    assert state.logged_in
    assert state.market_states == {HK: 3, HK_FUTURE: 15, US: 37, SH: 6, 22: 6}
    assert state.global_state(told()) == []


@pytest.mark.parametrize("number", [each for each, ailment in EVENTS.items() if ailment.ends_login])
def test_an_event_that_ends_the_login_is_over_when_the_gateway_says_that_it_is_logged_in(number: int) -> None:
    state = logged_in()
    [change] = state.notified(event(number, "so  it\nis"))
    assert isinstance(change, LoginLost)
    assert change.cause == "not_logged_in"
    assert change.ailment.sentence == f"{EVENTS[number].what} (so it is)"
    assert change.ailment.remedy == EVENTS[number].remedy
    assert not state.logged_in
    assert state.notified(event(number, "so it is")) == [], "the same is not said twice"
    assert state.global_state(told(logged_in=False)) == []
    assert state.global_state(told()) == [LoginBack(first=False)]
    assert state.trouble is None


@pytest.mark.parametrize("number", [each for each, ailment in EVENTS.items() if not ailment.ends_login])
def test_other_events_are_told_and_stop_nothing(number: int) -> None:
    state = logged_in()
    assert state.notified(event(number)) == [Noticed(EVENTS[number])]
    assert state.logged_in


def test_every_state_of_the_program_has_its_words() -> None:
    numbers = set(common_pb2.ProgramStatusType.values())
    assert numbers - {PROGRAM_READY} == set(PROGRAM_STATES)
    assert set(EVENTS) == set(range(1, 16))


def test_a_program_that_waits_for_a_code() -> None:
    state = logged_in()
    [change] = state.notified(program(WANTS_CODE))
    assert isinstance(change, LoginLost)
    assert (change.cause, "code" in change.ailment.remedy) == ("not_logged_in", True)
    assert "(to 1234)" in change.ailment.sentence
    assert state.notified(program(READY)) == [LoginBack(first=False)]


def test_a_gateway_that_loses_its_backend_comes_back_by_itself() -> None:
    state = logged_in()
    [change] = state.notified(link(False))
    assert isinstance(change, LoginLost)
    assert change.cause == "gateway_lost_backend"
    assert state.notified(link(True)) == [LoginBack(first=False)]


def test_a_login_that_comes_back_step_by_step_is_told_once() -> None:
    state = logged_in()
    assert len(state.notified(program(WANTS_CODE))) == 1
    assert state.notified(link(False)) == []
    assert state.notified(program(READY)) == [], "the link follows"
    assert state.trouble is not None
    assert state.notified(link(True)) == [LoginBack(first=False)]


def test_a_login_that_is_not_there_at_first() -> None:
    state = GatewayState()
    [change] = state.global_state(told(False, WANTS_CODE))
    assert isinstance(change, LoginLost)
    assert state.global_state(told()) == [LoginBack(first=False)]


def test_a_login_that_outlasts_a_connection_is_no_news() -> None:
    state = logged_in()
    state.connection_ended(5, 0)
    assert not state.logged_in
    assert state.global_state(told(time_s=1010)) == []
    assert state.logged_in


def test_quota_notices_and_unknown_ones() -> None:
    state = logged_in()
    assert (
        state.notified(notify_pb2.NotifyS2C(type=7)) == state.notified(notify_pb2.NotifyS2C(type=6)) == [QuotaMoved()]
    )
    assert state.notified(notify_pb2.NotifyS2C(type=5)) == state.notified(notify_pb2.NotifyS2C(type=99)) == []
    assert state.notified(notify_pb2.NotifyS2C(type=1)) == state.notified(event(99)) == []


# Restarts.


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (told(time_s=1010), None),
        (told(time_s=998), None),
        (told(time_s=900), "its clock went back by 100 s"),
        (told(build=2), "its version was 1011.1 and is 1011.2"),
        (told(False, LOGGING_IN), "it is starting"),
        (told(False, WANTS_CODE), None),
    ],
)
def test_a_restart_is_told_from_a_lost_link(second: global_state_pb2.GetGlobalStateS2C, why: str | None) -> None:
    state = logged_in()
    assert not any(isinstance(change, Restarted) for change in state.global_state(second)), "of one connection"
    state = logged_in()
    state.connection_ended(10, 0)
    changes = [change for change in state.global_state(second) if isinstance(change, Restarted)]
    assert changes == ([Restarted(why)] if why else [])
    assert state.units_in_use(3, S_NS) == ([] if why else [Restarted("3 of 10 subscriptions are left")])


def test_subscriptions_that_are_gone_too_early_tell_of_a_restart() -> None:
    for units, later_ns, restarted in ((10, S_NS, False), (9, S_NS, True), (0, KEPT_NS + 1, False)):
        state = logged_in()
        state.connection_ended(10, 0)
        assert bool(state.units_in_use(units, later_ns)) == restarted
        assert state.units_in_use(0, later_ns) == [], "the beginning of a connection only"


# Rights.


@pytest.mark.parametrize(
    ("security", "kind"),
    [
        ((HK, "00700"), Kind.HK_STOCK),
        ((HK, "800000"), Kind.HK_STOCK),
        ((HK, "TCH260130C500000"), Kind.HK_OPTION),
        ((HK, "HSImain"), Kind.HK_FUTURE),
        ((HK, "HSI2612"), Kind.HK_FUTURE),
        ((HK_FUTURE, "999010"), Kind.HK_FUTURE),
        ((US, "AAPL"), Kind.US_STOCK),
        ((US, "BRK.B"), Kind.US_STOCK),
        ((US, "AAPL260116C200000"), Kind.US_OPTION),
        ((SH, "600519"), Kind.SH_STOCK),
        ((22, "000001"), Kind.SZ_STOCK),
        ((31, "D05"), None),
    ],
)
def test_which_right_a_symbol_needs(security: Security, kind: Kind | None) -> None:
    assert kind_of(security) is kind


def test_derivatives_of_hong_kong_have_no_ticks_under_level_1() -> None:
    info = user_info_pb2.GetUserInfoS2C(hkQotRight=Right.LEVEL1, hkOptionQotRight=Right.LEVEL1, hkFutureQotRight=0)
    had = Rights.of(info)
    assert had.why_not((HK, "00700")) is None
    text = had.why_not((HK, "TCH260130C500000"))
    assert text == "Hong Kong options have no ticks under LV1: the login needs LV2"
    assert had.why_not((HK, "HSImain")) is None, "unknown: the gateway is asked"
    assert had.why_not((SH, "600519")) is None
    assert "no quote right for US stocks" in str(Rights({Kind.US_STOCK: Right.NONE}).why_not((US, "AAPL")))
    assert "under BMP" in str(Rights({Kind.HK_STOCK: Right.BMP}).why_not((HK, "00700")))


def test_rights_that_change_are_told_by_kind() -> None:
    state = logged_in()
    assert state.user_info(Rights.of(rights().qotRight)) == []
    assert state.notified(rights(hk=Right.NONE)) == [RightsChanged(frozenset({Kind.HK_STOCK}), frozenset())]
    assert state.notified(rights(hk=Right.NONE)) == []
    both = state.notified(rights(us=Right.NONE))
    assert both == [RightsChanged(frozenset({Kind.US_STOCK}), frozenset({Kind.HK_STOCK}))]
    assert state.notified(rights(cnQotRight=Right.NONE, shQotRight=2))[0] == RightsChanged(
        frozenset({Kind.SZ_STOCK}), frozenset({Kind.US_STOCK})
    )


# Upkeep.


class Gateway:
    """One connection's upkeep, answered by the test.

    Attributes
    ----------
    subscribed : what the gateway holds for us
    """

    def __init__(self, *securities: Security, units: int = 100, state: GatewayState | None = None) -> None:
        self.state = state or GatewayState()
        self.subscriber = Subscriber(Subscriptions())
        self.subscriber.want(map(Wanted, securities), 0)
        self.upkeep = Upkeep(self.state, self.subscriber)
        self.subscribed: list[Security] = []
        self.units, self.used = units, 0
        self.says = told()
        self.pulls: list[Security] = []
        self._serial = 0

    def asked(self, now_ns: int) -> dict[int, ProtoId]:
        """What is sent now, by serial."""
        asked = {}
        for proto_id, _ in self.upkeep.next_requests(now_ns):
            self._serial += 1
            self.upkeep.sent(self._serial, proto_id)
            asked[self._serial] = proto_id
        return asked

    def answer(self, serial: int, proto_id: ProtoId, now_ns: int) -> list[Any]:
        match proto_id:
            case ProtoId.GET_GLOBAL_STATE:
                reply: Any = global_state_pb2.GetGlobalStateResponse(retType=0, s2c=self.says)
            case ProtoId.GET_USER_INFO:
                reply = user_info_pb2.GetUserInfoResponse(retType=0, s2c=user_info_pb2.GetUserInfoS2C(hkQotRight=3))
            case _:
                used = self.used + len(self.subscribed)
                reply = subscription_pb2.GetSubInfoResponse(retType=0)
                reply.s2c.totalUsedQuota, reply.s2c.remainQuota = used, self.units - used
                own = reply.s2c.connSubInfoList.add(usedQuota=len(self.subscribed), isOwnConnData=True)
                securities = [common_pb2.Security(market=m, code=c.lstrip("0")) for m, c in self.subscribed]
                own.subInfoList.add(subType=SubType.TICKER, securityList=securities)
                other = reply.s2c.connSubInfoList.add(usedQuota=self.used, isOwnConnData=False)
                foreign = [common_pb2.Security(market=US, code=f"O{number}") for number in range(self.used)]
                other.subInfoList.add(subType=1, securityList=foreign)
        return self.upkeep.replied(serial, reply, now_ns)

    def run(self, now_ns: int) -> list[Any]:
        """Answer everything until nothing is asked; the changes."""
        changes = []
        while True:
            asked = self.asked(now_ns)
            for serial, proto_id in asked.items():
                changes += self.answer(serial, proto_id, now_ns)
            requests = self.subscriber.next_requests(now_ns)
            for request in requests:
                self._serial += 1
                self.subscriber.sent(self._serial, request)
                if request.proto_id is ProtoId.SUB:
                    self.subscribed += request.ticket.securities
                    self.subscriber.subscribed(self._serial, now_ns)
                else:
                    self.pulls += request.ticket.securities
                    self.subscriber.pulled(self._serial)
            if not asked and not requests:
                return changes


FIRST, SECOND = (HK, "00700"), (HK, "00005")


def test_nothing_is_subscribed_before_the_gateway_has_told_of_itself() -> None:
    gateway = Gateway(FIRST)
    assert gateway.asked(0) == {}, "not before the session is ready"
    gateway.upkeep.start(5, 0)
    asked = gateway.asked(0)
    assert list(asked.values()) == [ProtoId.GET_GLOBAL_STATE, ProtoId.GET_USER_INFO, ProtoId.GET_SUB_INFO]
    for serial, proto_id in asked.items():
        assert gateway.subscriber.next_requests(0) == []
        gateway.answer(serial, proto_id, 0)
    assert len(gateway.subscriber.next_requests(0)) == 1


def test_a_gateway_that_tells_nothing_is_subscribed_all_the_same() -> None:
    gateway = Gateway(FIRST)
    gateway.upkeep.start(5, 0)
    for serial in gateway.asked(0):
        gateway.upkeep.failed(serial, 0)
    assert not gateway.subscriber.held
    assert gateway.upkeep.deadline_ns() == ASK_AGAIN_NS
    assert len(gateway.asked(ASK_AGAIN_NS)) == 3


def test_the_state_is_asked_once_a_minute_and_after_each_notice() -> None:
    gateway = Gateway(FIRST)
    gateway.upkeep.start(5, 0)
    gateway.run(0)
    assert gateway.upkeep.deadline_ns() == STATE_EVERY_NS
    assert list(gateway.asked(STATE_EVERY_NS).values()) == [ProtoId.GET_GLOBAL_STATE]
    response = notify_pb2.NotifyResponse(retType=0, s2c=link(True))
    gateway.upkeep.notified(response, STATE_EVERY_NS)
    assert gateway.asked(STATE_EVERY_NS) == {}, "one is on its way"


def test_a_login_lost_holds_everything_and_its_return_fills_and_looks_after_the_subscriptions() -> None:
    gateway = Gateway(FIRST, SECOND)
    gateway.upkeep.start(5, 0)
    gateway.run(0)
    assert gateway.pulls == [FIRST, SECOND]
    gateway.says = told(False, WANTS_CODE)
    [change] = gateway.upkeep.notified(notify_pb2.NotifyResponse(retType=0, s2c=program(WANTS_CODE)), S_NS)
    assert isinstance(change, LoginLost)
    assert gateway.run(S_NS) == []
    assert gateway.subscriber.next_requests(S_NS) == []
    later_ns = S_NS + STATE_IN_TROUBLE_EVERY_NS
    assert gateway.upkeep.deadline_ns() == later_ns
    gateway.says, gateway.subscribed = told(), [FIRST]  # it has forgotten the other
    assert gateway.run(later_ns) == [LoginBack(first=False)]
    assert sorted(gateway.subscribed) == sorted([FIRST, SECOND])
    assert set(gateway.pulls[2:]) == {FIRST, SECOND}


def test_symbols_beyond_the_quota_come_in_when_others_leave() -> None:
    gateway = Gateway(FIRST, SECOND, units=10)
    gateway.used = 9
    gateway.upkeep.start(5, 0)
    gateway.run(0)
    assert gateway.subscriber.refused == {SECOND: QUOTA}
    gateway.used = 8
    gateway.run(QUOTA_LACKING_EVERY_NS - 1)
    assert gateway.subscriber.refused == {SECOND: QUOTA}
    gateway.run(QUOTA_LACKING_EVERY_NS)
    assert gateway.subscriber.confirmed == {FIRST, SECOND}


def test_a_notice_of_units_is_followed_at_once() -> None:
    gateway = Gateway(FIRST, SECOND, units=10)
    gateway.used = 9
    gateway.upkeep.start(5, 0)
    gateway.run(0)
    gateway.used = 0
    gateway.upkeep.notified(notify_pb2.NotifyResponse(retType=0, s2c=notify_pb2.NotifyS2C(type=7)), S_NS)
    gateway.run(S_NS)
    assert gateway.subscriber.confirmed == {FIRST, SECOND}


def test_a_right_that_comes_back_is_asked_for_and_filled() -> None:
    gateway = Gateway(FIRST, (US, "AAPL"))
    gateway.upkeep.start(5, 0)
    gateway.upkeep.notified(notify_pb2.NotifyResponse(retType=0, s2c=rights(us=Right.NONE)), 0)
    state = gateway.state
    for serial, proto_id in gateway.asked(0).items():
        if proto_id is not ProtoId.GET_USER_INFO:
            gateway.answer(serial, proto_id, 0)
        else:
            gateway.upkeep.failed(serial, 0)
    gateway.run(0)
    assert gateway.subscriber.confirmed == {FIRST}
    assert "no quote right" in gateway.subscriber.refused[US, "AAPL"]
    gateway.upkeep.notified(notify_pb2.NotifyResponse(retType=0, s2c=rights()), S_NS)
    gateway.run(S_NS)
    assert gateway.subscriber.confirmed == {FIRST, (US, "AAPL")}
    assert state.rights.without_ticks == frozenset()
