"""Polls of real gateways over sockets: frequency errors, and the quota that gateways of one login share."""

from __future__ import annotations

import asyncio
import datetime
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from codec.markets import HK
from codec.opend.protocol import ProtoId, pack_frame
from ingest.gateway import GatewayConfig, OpenDGateway
from ingest.market_hours import MarketHours
from ingest.opend.poll_plan import PollConfig
from ingest.opend.poller import BACKOFF_FIRST_S, QUOTAS
from ingest.pipeline import TickPipeline
from ingest.quota_keeper import QuotaKeeper
from protos.opend import ark_stock_dynamic_pb2
from tests.ingest import wire
from tests.ingest.journal import MemoryJournal, until
from tests.ingest.running import AT_ONCE, PARTITIONS
from tests.ingest.scripted_opend import Exchange, Peer, ScriptedOpenD
from tests.ingest.talk import CLOCK

FLOW, ARK = ProtoId.GET_CAPITAL_FLOW, ProtoId.GET_ARK_STOCK_DYNAMIC
MORNING, AFTER_HOURS = 3, 10
TOO_FREQUENT = "获取资金流向频率太高，请求失败，每30秒最多30次。"


@asynccontextmanager
async def polling(
    port: int, *polls: tuple[PollConfig, ...], hours: Mapping[int, MarketHours] | None = None
) -> AsyncIterator[list[OpenDGateway]]:
    """A gateway for each of `polls`, on one OpenD."""
    journal = MemoryJournal()
    pipeline = TickPipeline(journal.append, partition_count=PARTITIONS, windows=journal)
    quotas = QuotaKeeper(QUOTAS, None)
    gateways = [
        OpenDGateway(
            GatewayConfig(f"opend-{number}", "futu", "127.0.0.1", port, (), of_gateway),
            pipeline,
            CLOCK,
            quotas=quotas,
            hours=hours,
            backoff=AT_ONCE,
            rng=random.Random(number),
        )
        for number, of_gateway in enumerate(polls)
    ]
    await pipeline.start()
    for gateway in gateways:
        await gateway.start()
    try:
        yield gateways
    finally:
        for gateway in gateways:
            await gateway.stop()
        await quotas.stop()
        await pipeline.stop(5.0)


def poll(feed: str, symbols: range, interval_s: float = 60.0) -> PollConfig:
    return PollConfig(feed, tuple(f"HK.{code:05}" for code in symbols), interval_s)


async def refuse_polls(peer: Peer) -> None:
    """Answer as a sound OpenD, but refuse every poll: flows for their frequency."""
    while True:
        proto_id, serial, body = await peer.request()
        if proto_id in (FLOW, ARK):
            peer.send(wire.refusal_frame(proto_id, serial, TOO_FREQUENT if proto_id == FLOW else "unknown stock"))
        else:
            peer.answer(proto_id, serial, body)


async def test_a_frequency_error_is_counted_and_waited_out() -> None:
    loop = asyncio.get_running_loop()
    async with (
        ScriptedOpenD(refuse_polls) as opend,
        polling(opend.port, (poll("capital_flow", range(1, 2)), poll("ark_dynamic", range(1, 3)))) as [gateway],
    ):
        requests = gateway.stats.requests
        await until(lambda: requests["get_capital_flow", "too_frequent"] == 1)
        refused_s = loop.time()
        await until(lambda: requests["get_ark_stock_dynamic", "refused"] == 4)  # what was owed is asked twice
        assert opend.asked[FLOW] == 1
        await until(lambda: opend.asked[FLOW] == 2)
        assert loop.time() - refused_s >= BACKOFF_FIRST_S / 2 - 0.1
        assert requests["get_capital_flow", "refused"] == 0


async def refuse_with_a_reason(peer: Peer) -> None:
    """Each flow is refused for what it is of, as an answer that takes no rows to make."""
    while True:
        proto_id, serial, body = await peer.request()
        if proto_id == FLOW:
            peer.send(wire.refusal_frame(proto_id, serial, "unknown stock"))
        else:
            peer.answer(proto_id, serial, body)


async def test_gateways_of_one_login_share_its_quota() -> None:
    polls = [(poll("capital_flow", range(begin, begin + 25)),) for begin in (1, 101)]
    async with ScriptedOpenD(refuse_with_a_reason) as opend, polling(opend.port, *polls):
        await until(lambda: opend.asked[FLOW] == 30)
        await asyncio.sleep(1.5)
        assert opend.asked[FLOW] == 30


@pytest.mark.parametrize(("state", "goes_on"), [(MORNING, True), (AFTER_HOURS, False)])
async def test_the_gateways_word_about_a_market_starts_and_stops_polls(state: int, goes_on: bool) -> None:
    """Whatever the calendar says: here, that there is no trading on any day."""
    never = MarketHours.of_days(HK, {}, datetime.date.max, range(0))
    polls = (poll("ark_dynamic", range(1, 2), interval_s=0.2),)
    async with (
        ScriptedOpenD(answer_nothing_new, exchange=Exchange(market_states={"marketHK": state})) as opend,
        polling(opend.port, polls, hours={HK: never}) as [gateway],
    ):
        await until(lambda: gateway.state.known and opend.asked[ARK] >= (3 if goes_on else 1))
        await asyncio.sleep(0 if goes_on else 0.7)
        assert goes_on or opend.asked[ARK] == 1
        assert gateway.status()["polled_markets"] == {"HK": "open" if goes_on else "closed"}


async def answer_nothing_new(peer: Peer) -> None:
    while True:
        proto_id, serial, body = await peer.request()
        if proto_id == ARK:
            s2c = ark_stock_dynamic_pb2.GetArkStockDynamicS2C(dynamicType=4, transactionCount=0, netShares=0)
            reply = ark_stock_dynamic_pb2.GetArkStockDynamicResponse(retType=0, s2c=s2c)
            peer.send(pack_frame(ARK, serial, reply.SerializeToString()))
        else:
            peer.answer(proto_id, serial, body)
