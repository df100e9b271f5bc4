"""A LongPort gateway on real sockets, over TCP and over a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from codec.longport.protocol import Command
from codec.tables import CAPITAL_DISTRIBUTION, CAPITAL_FLOW, GAPS, TICKS
from ingest.longport import backfill as backfill_module
from ingest.poll_config import PollConfig
from protos.longport.control_pb2 import Close
from tests.ingest.journal import until
from tests.ingest.longport import wire
from tests.ingest.longport.running import running
from tests.ingest.longport.scripted import Exchange, Peer, ScriptedLongPort, sound

HK, OTHER, US = "HK.00700", "HK.09988", "US.AAPL"
OVER = pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])


@pytest.fixture(autouse=True)
def answers_are_taken_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_module, "HOLD_NS", 50_000_000)


def volumes(rows: list[dict[str, Any]], symbol: str = HK) -> list[int]:
    """What tells the trades of `wire.trade` apart."""
    return sorted(int(row["volume"]) - 100 for row in rows if row["symbol"] == symbol)


@OVER
async def test_ticks_flow_and_the_gateway_says_that_it_is_ready(websocket: bool) -> None:
    exchange = Exchange({"AAPL.US": [1, 2]})

    async def pushes(peer: Peer) -> None:
        await peer.serve(5)  # login, profile, subscribe, two pulls
        await peer.send(exchange.trade("700.HK", range(5, 8)), exchange.trade("700.HK", range(8, 10), compressed=True))
        await peer.serve()

    scripted = ScriptedLongPort(pushes, exchange=exchange, websocket=websocket)
    async with scripted as longport, running(longport, HK, US) as run:
        rows = await run.rows(TICKS.name, 7)
        assert run.gateway.ready
        assert run.gateway.up
        status = run.gateway.status()
    assert volumes(rows) == list(range(5, 10))
    assert volumes(rows, US) == [1, 2]
    assert (status["up"], status["ready"], status["subscribed"]) == (True, True, 2)
    assert (status["refused"], status["last_error"], status["connects"]) == ({}, None, 1)
    assert longport.connections == longport.calls == 1
    assert not run.gateway.up


@OVER
async def test_a_lost_connection_goes_on_with_its_session_and_is_filled(websocket: bool) -> None:
    exchange = Exchange()

    async def breaks(peer: Peer) -> None:
        await peer.serve(4)
        await peer.send(exchange.trade("700.HK", range(3)))
        await asyncio.sleep(0.2)
        exchange.trade("700.HK", range(3, 6))

    async def goes_on(peer: Peer) -> None:
        await peer.serve(3)
        await peer.send(exchange.trade("700.HK", range(6, 8)))
        await peer.serve()

    scripted = ScriptedLongPort(breaks, goes_on, exchange=exchange, websocket=websocket)
    async with scripted as longport, running(longport, HK) as run:
        await run.rows(TICKS.name, 8)
        [gap] = await run.settled(1)
    assert longport.calls == 1
    assert longport.asked[Command.RECONNECT] == 1
    assert set(volumes(run.journal.rows())) == set(range(8))
    assert (gap["cause"], gap["symbol"]) == ("reconnect", HK)


@OVER
async def test_capital_flow_is_polled_and_only_news_are_written(websocket: bool) -> None:
    exchange = Exchange(flows={"700.HK": [(wire.EPOCH_S, "-310255860.000"), (wire.EPOCH_S + 60, "1E3")]})
    polls = (PollConfig(CAPITAL_FLOW.name, (HK,), 0.1), PollConfig(CAPITAL_DISTRIBUTION.name, (HK,), 0.1))
    scripted = ScriptedLongPort(sound, exchange=exchange, websocket=websocket)
    async with scripted as longport, running(longport, polls=polls) as run:
        await run.rows(CAPITAL_FLOW.name, 2)
        await until(lambda: longport.asked[Command.QUERY_CAPITAL_FLOW_INTRADAY] >= 3)
        exchange.flows["700.HK"][1] = (wire.EPOCH_S + 60, "1001")
        rows = await run.rows(CAPITAL_FLOW.name, 3)
        [distribution] = await run.rows(CAPITAL_DISTRIBUTION.name, 1)
    assert [row["net_inflow"] for row in rows] == [-310255860.0, 1000.0, 1001.0]
    assert (distribution["inflow_large"], distribution["inflow_super"]) == (3.5, None)


async def test_a_session_that_is_refused_is_followed_by_a_new_password() -> None:
    async def expires(peer: Peer) -> None:
        await peer.serve(4)
        peer.exchange.sessions.clear()
        await peer.send(wire.closes(Close.SERVER_SHUTDOWN))

    async with ScriptedLongPort(expires, sound, sound) as longport, running(longport, HK) as run:
        await until(lambda: run.gateway.ready and run.gateway.stats.connects == 2)
    assert longport.calls == 2
    assert (longport.asked[Command.AUTH], longport.asked[Command.RECONNECT]) == (2, 1)


async def test_the_late_start_is_written_once() -> None:
    exchange = Exchange({"700.HK": [1]})
    async with ScriptedLongPort(sound, exchange=exchange) as longport, running(longport, HK) as run:
        await run.rows(TICKS.name, 1)
        [gap] = await run.rows(GAPS.name, 1)
    assert gap["cause"] == "late_start"
