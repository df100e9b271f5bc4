"""Outages of the simulated OpenD: when they come, what clients are told, what is refused and what is lost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from codec.opend.protocol import ProtoId
from ingest.opend.session import SILENCE_NS_MAX
from protos.opend import global_state_pb2, init_connect_pb2, notify_pb2, static_info_pb2, user_info_pb2
from tests.simulate.wire_client import WireClient
from tests.support.simulator import Simulator, opend_simulator
from ticktape.simulate.faults import BACKEND_LOST, LOGOUT, OUTAGES, STALL, BadFault, Faults
from ticktape.simulate.outages import OUTAGE_S, STALL_S, Outages, Turn

HK, OTHER, US = "HK.00700", "HK.09988", "US.AAPL"


def test_a_planned_outage_comes_once_counted_from_the_first_subscription() -> None:
    outages = Outages(Faults.parse("logout@5+2,backend-lost@6+1,stall@0+9", 1), OUTAGES, OUTAGE_S)
    assert outages.step(100.0, 1.0, anybody=False) == []
    assert outages.step(101.0, 1.0, anybody=True) == []
    assert outages.step(105.9, 1.0, anybody=False) == []
    assert outages.step(106.0, 0.1, anybody=True) == [Turn(LOGOUT, begins=True)]
    assert outages.step(107.9, 0.1, anybody=True) == [], "one at a time"
    assert outages.step(108.0, 0.1, anybody=True) == [Turn(LOGOUT, begins=False), Turn(BACKEND_LOST, begins=True)]
    assert outages.step(109.0, 0.1, anybody=True) == [Turn(BACKEND_LOST, begins=False)]
    assert outages.step(500.0, 400.0, anybody=True) == []


def test_outages_by_chance_are_the_same_for_the_same_seed() -> None:
    def turns(seed: int) -> list[tuple[int, Turn]]:
        outages = Outages(Faults.parse("logout=0.1,restart=0.1", seed), OUTAGES, OUTAGE_S)
        return [(step, turn) for step in range(3000) for turn in outages.step(step / 10, 0.1, anybody=True)]

    assert turns(1) == turns(1) != turns(2)
    begun = [step for step, turn in turns(1) if turn.begins]
    ended = [step for step, turn in turns(1) if not turn.begins]
    assert 20 < len(begun) < 90
    assert {end - begin for begin, end in zip(begun, ended, strict=False)} == {int(OUTAGE_S * 10)}


def test_a_stall_outlasts_the_patience_of_clients() -> None:
    faults = Faults.parse("", 1, plan="2:stall")
    stalls = Outages(faults, (STALL,), STALL_S)
    faults.arm(0.0)
    assert stalls.step(0.0, 0.1, anybody=True) == []
    faults.arm(2.0)
    assert stalls.step(2.0, 0.1, anybody=True) == [Turn(STALL, begins=True)]
    assert stalls.step(2.0 + SILENCE_NS_MAX / 1e9, 0.1, anybody=True) == []
    assert stalls.step(2.0 + STALL_S, 0.1, anybody=True) == [Turn(STALL, begins=False)]


@pytest.mark.parametrize("text", ["duplicate@1+1", "logout@1", "logout@x+1", "logout@-1+1", "logout@1+0", "no@1+1"])
def test_a_plan_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(BadFault):
        Faults.parse(text, 1)


class Client(WireClient):
    """Wants notices, and keeps them."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.notices: list[notify_pb2.NotifyS2C] = []
        request = init_connect_pb2.InitConnectRequest()
        request.c2s.clientVer, request.c2s.clientID, request.c2s.recvNotify = 1011, "test", True
        self.call(ProtoId.INIT_CONNECT, request, init_connect_pb2.InitConnectResponse)

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        for proto_id, serial, body in super().frames():
            if proto_id == ProtoId.NOTIFY:
                self.notices.append(notify_pb2.NotifyResponse.FromString(body).s2c)
            yield proto_id, serial, body

    def state(self) -> global_state_pb2.GetGlobalStateS2C:
        request = global_state_pb2.GetGlobalStateRequest(c2s=global_state_pb2.GetGlobalStateC2S(userID=0))
        return self.call(ProtoId.GET_GLOBAL_STATE, request, global_state_pb2.GetGlobalStateResponse).s2c

    def until(self, kind: int, count: int) -> list[notify_pb2.NotifyS2C]:
        """The notices of one NotifyType, once there are so many."""
        deadline_s = time.monotonic() + 30
        while len(found := [each for each in self.notices if each.type == kind]) < count:
            assert time.monotonic() < deadline_s
            self.receive(quiet_s=0.2, seconds_max=0.2)
        return found


def simulator(*options: str | int) -> Iterator[tuple[Simulator, Client]]:
    with opend_simulator("--symbols", 4, "--rate", 2000, *options) as opend:
        client = Client(opend.port)
        yield opend, client
        client.close()


@pytest.fixture
def kicked_out() -> Iterator[tuple[Simulator, Client]]:
    yield from simulator("--faults", "kicked-out@1+1.5")


def test_a_login_that_is_taken_is_told_and_everything_is_refused_until_it_is_back(
    kicked_out: tuple[Simulator, Client],
) -> None:
    opend, client = kicked_out
    assert client.subscribe([HK, US]).retType == 0
    [event] = client.until(1, 1)
    assert event.event.eventType == 7
    assert client.until(2, 1)[0].programStatus.programStatus.type == 11
    assert not client.until(3, 1)[0].connectStatus.qotLogined
    state = client.state()
    assert (state.qotLogined, state.programStatus.type) == (False, 11)
    refused = client.pull(HK)
    assert (refused.retType, "not logged in" in refused.retMsg) == (-1, True)
    assert client.until(3, 2)[1].connectStatus.qotLogined
    assert client.state().qotLogined
    assert client.pull(HK).retType == 0
    client.receive(quiet_s=0.5, seconds_max=1)
    assert opend.stop()["tables"]["ticks"]["rows"] > 100


@pytest.fixture
def backend_lost() -> Iterator[tuple[Simulator, Client]]:
    yield from simulator("--faults", "backend-lost@1+1")


def test_a_backend_that_was_away_supplies_fifty_ticks_at_most(backend_lost: tuple[Simulator, Client]) -> None:
    _, client = backend_lost
    client.subscribe([HK, US])
    client.until(3, 2)
    client.receive(quiet_s=0.5, seconds_max=1)
    supplied = [symbol for symbol, tick in client.pushed if tick.pushDataType == 2]
    assert {symbol: supplied.count(symbol) for symbol in set(supplied)} == {HK: 50, US: 50}
    numbers = [tick.sequence & 0xFFFFFFFF for symbol, tick in client.pushed if symbol == HK and tick.pushDataType != 3]
    [step] = {after - before for before, after in itertools.pairwise(numbers) if after - before != 1}
    assert step > 100, "what lies before the fifty is missing from the pushes"


@pytest.fixture
def right_lost() -> Iterator[tuple[Simulator, Client]]:
    yield from simulator("--faults", "right-lost@1+1")


def test_a_right_that_is_lost_stops_one_market(right_lost: tuple[Simulator, Client]) -> None:
    _, client = right_lost
    client.subscribe([HK, US])
    assert client.until(4, 1)[0].qotRight.hkQotRight == 5
    info = client.call(
        ProtoId.GET_USER_INFO,
        user_info_pb2.GetUserInfoRequest(c2s=user_info_pb2.GetUserInfoC2S()),
        user_info_pb2.GetUserInfoResponse,
    )
    assert (info.s2c.hkQotRight, info.s2c.usQotRight, info.s2c.hkOptionQotRight) == (5, 3, 2)
    assert "no quote right" in client.subscribe([OTHER]).retMsg
    client.pushed.clear()
    client.receive(quiet_s=0.1, seconds_max=0.3)
    assert {symbol for symbol, _ in client.pushed} == {US}
    assert client.until(4, 2)[1].qotRight.hkQotRight == 3
    assert client.subscribe([OTHER]).retType == 0


@pytest.fixture
def restarts() -> Iterator[tuple[Simulator, Client]]:
    yield from simulator("--faults", "restart@1+1")


def test_a_restart_forgets_subscriptions_and_what_was_cached(restarts: tuple[Simulator, Client]) -> None:
    opend, client = restarts
    client.subscribe([HK])
    assert not client.receive(quiet_s=10), "the connection ends"
    deadline_s = time.monotonic() + 30
    while True:
        try:
            again = Client(opend.port)
            break
        except ConnectionError:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
    assert again.subscribe([HK]).retType == 0
    held = again.pull(HK).s2c.tickerList
    again.close()
    made = opend.stop()["tables"]["ticks"]["symbols"][HK]["rows"]
    assert len(held) < 1000 < made


def test_derivatives_have_no_ticks_under_level_1_and_names_are_whole(kicked_out: tuple[Simulator, Client]) -> None:
    _, client = kicked_out
    assert "LV1" in client.subscribe(["HK.TCH261230C500000"]).retMsg
    assert "unknown stock" in client.subscribe(["HK.99999"]).retMsg
    request = static_info_pb2.GetStaticInfoRequest()
    request.c2s.securityList.add(market=1, code="00700")
    [info] = client.call(ProtoId.GET_STATIC_INFO, request, static_info_pb2.GetStaticInfoResponse).s2c.staticInfoList
    basic = info.basic
    assert (basic.name, basic.lotSize, basic.secType, basic.exchType) == ("TENCENT", 100, 3, 1)
    assert (basic.listTime, basic.delisting) == ("2004-06-16", False)


def test_units_in_use_are_told_when_they_change(kicked_out: tuple[Simulator, Client]) -> None:
    _, client = kicked_out
    client.subscribe([HK, US])
    assert client.until(7, 1)[-1].usedQuota.usedSubQuota == 2
