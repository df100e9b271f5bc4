"""A LongPort gateway on real sockets, over TCP and over a WebSocket."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from codec.columns import TickBuffer
from codec.longport.protocol import Command
from codec.tables import CAPITAL_DISTRIBUTION, CAPITAL_FLOW, GAPS, TICKS
from ingest import lane as lane_module
from ingest.longport import backfill as backfill_module
from ingest.longport import gateway as gateway_module
from ingest.longport import limits as limits_module
from ingest.longport import session as session_module
from ingest.longport import subscriptions as subscriptions_module
from ingest.poll_config import PollConfig
from ingest.rate_limiter import Quota
from protos.longport import trade_pb2
from protos.longport.control_pb2 import Close
from tests.codec.longport import packing
from tests.ingest.journal import MemoryJournal, until
from tests.ingest.longport import wire
from tests.ingest.longport.running import running
from tests.ingest.longport.scripted import KEYS, Exchange, Peer, ScriptedLongPort, sound

HK, OTHER, US = "HK.00700", "HK.09988", "US.AAPL"
OVER = pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])


@pytest.fixture(autouse=True)
def answers_are_taken_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_module, "WAIT_NS", 1_000_000)
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


async def test_a_new_day_of_capital_flow_begins_at_nothing() -> None:
    """Amounts are cumulative since the open: the next day's first line is news though it is small, and so is the first
    day's last line, revised behind it."""
    today = [(wire.EPOCH_S + 60 * minute, f"{1000 * minute}") for minute in range(3)]
    tomorrow = [(wire.EPOCH_S + 3 * 86_400, "0"), (wire.EPOCH_S + 3 * 86_400 + 60, "0")]
    exchange = Exchange(flows={"700.HK": today})
    polls = (PollConfig(CAPITAL_FLOW.name, (HK,), 0.1),)
    async with ScriptedLongPort(sound, exchange=exchange) as longport, running(longport, polls=polls) as run:
        await run.rows(CAPITAL_FLOW.name, 3)
        exchange.flows["700.HK"] = tomorrow
        await run.rows(CAPITAL_FLOW.name, 5)
        exchange.flows["700.HK"] = [*today[:2], (today[2][0], "2000.5")]
        rows = await run.rows(CAPITAL_FLOW.name, 6)
        asked = longport.asked[Command.QUERY_CAPITAL_FLOW_INTRADAY]
        await until(lambda: longport.asked[Command.QUERY_CAPITAL_FLOW_INTRADAY] >= asked + 2)
    assert [row["net_inflow"] for row in run.journal.rows(CAPITAL_FLOW.name)] == [0, 1000, 2000, 0, 0, 2000.5]
    assert len({row["trade_date"] for row in rows}) == 2


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


# While an answer takes its time.


@OVER
async def test_a_push_is_never_held_back_by_a_pull(websocket: bool) -> None:
    exchange = Exchange()

    async def slow(peer: Peer) -> None:
        await peer.serve(3)
        pull = await peer.request()
        assert pull[0] == Command.QUERY_TRADE
        await peer.send(exchange.trade("700.HK", range(4)))
        await until(lambda: run.pipeline.stats.journaled_rows["ticks"] == 4)
        await peer.answer(*pull)
        await peer.serve()

    scripted = ScriptedLongPort(slow, exchange=exchange, websocket=websocket)
    async with scripted as longport, running(longport, HK) as run:
        await until(lambda: run.gateway.stats.requests["query_trade", "ok"])
        await until(lambda: run.gateway.status()["filled"] == 1)
        await until(lambda: run.pipeline.stats.repeat_rows["ticks"] == 4)
    assert volumes(run.journal.rows()) == [0, 1, 2, 3]


@OVER
async def test_what_waits_is_read_when_there_is_room_though_nothing_more_comes(
    websocket: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "TickBuffer", partial(TickBuffer, 64))
    exchange = Exchange()

    async def floods(peer: Peer) -> None:
        await peer.serve(4)
        await peer.send(*(exchange.trade("700.HK", range(at, at + 50)) for at in range(0, 1000, 50)))
        await peer.gone()

    scripted = ScriptedLongPort(floods, exchange=exchange, websocket=websocket)
    async with scripted as longport, running(longport, HK) as run:
        rows = await run.rows(TICKS.name, 1000)
    assert volumes(rows) == list(range(1000))


async def test_an_answer_for_which_there_is_no_room_waits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "TickBuffer", partial(TickBuffer, 1200))
    exchange = Exchange({"700.HK": list(range(5000, 5900))})
    journal = MemoryJournal()

    async def floods(peer: Peer) -> None:
        await peer.serve(4)
        journal.full = True
        for at in range(0, 3000, 50):
            await peer.send(wire.push("700.HK", 7 + at, range(at, at + 50)))
        await peer.serve()

    scripted = ScriptedLongPort(floods, exchange=exchange)
    async with scripted as longport, running(longport, HK, journal=journal) as run:
        await until(lambda: journal.refusals)
        await until(lambda: run.gateway.lane.ticks.rows > 1000)
        await asyncio.sleep(0.2)  # the answer's time has come
        journal.full = False
        rows = await run.rows(TICKS.name, 3900)
        await until(lambda: run.gateway.status()["filled"] == 1)
    assert volumes(rows) == [*range(3000), *range(5000, 5900)]


# Errors.


@pytest.mark.parametrize("code", [301600, 301603, 301604, 301607])
async def test_a_refused_symbol_never_stops_the_others(code: int) -> None:
    exchange = Exchange({"700.HK": [1]}, refused={(Command.SUBSCRIBE, "9988.HK"): (7, code)})
    with capture_logs() as logs:
        async with ScriptedLongPort(sound, exchange=exchange) as longport, running(longport, HK, OTHER, US) as run:
            await until(lambda: run.gateway.ready)
            await run.rows(TICKS.name, 1)
            status = run.gateway.status()
            [gap] = [row for row in await run.rows(GAPS.name, 1) if row["cause"] == "refused"]
            asked = longport.asked[Command.SUBSCRIBE]
            await asyncio.sleep(0.2)
            assert longport.asked[Command.SUBSCRIBE] == asked
    assert status["subscribed"] == 2
    assert list(status["refused"]) == [OTHER]  # type: ignore[call-overload]
    assert str(code) in str(status["refused"])
    assert gap["symbol"] == OTHER
    said = [entry for entry in logs if entry["log_level"] in ("error", "warning") and "gateway" in entry]
    assert [(entry["event"], entry["symbol"]) for entry in said] == [("symbol refused; the others go on", OTHER)]


@pytest.mark.parametrize(("status", "code"), [(7, 301602), (3, 301606), (1, 0)])
async def test_what_can_be_tried_again_is(status: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions_module, "RETRY_FIRST_NS", 1_000_000)
    monkeypatch.setattr(backfill_module, "RETRY_FIRST_NS", 1_000_000)
    monkeypatch.setattr(limits_module, "BACKOFF_FIRST_S", 0.01)
    exchange = Exchange({"700.HK": [1, 2]})

    async def busy(peer: Peer) -> None:
        await peer.serve(2)
        for command in (Command.SUBSCRIBE, Command.QUERY_TRADE):
            asked = await peer.request()
            assert asked[0] == command
            await peer.send(wire.error(*asked[:2], status, code))
            await peer.serve(1)
        await peer.serve()

    async with ScriptedLongPort(busy, exchange=exchange) as longport, running(longport, HK) as run:
        await run.rows(TICKS.name, 2)
        assert run.gateway.ready
    outcome = "too_frequent" if code == 301606 else "refused"
    assert run.gateway.stats.requests["subscribe", outcome] == run.gateway.stats.requests["query_trade", outcome] == 1
    assert longport.connections == 1


async def test_a_symbol_without_trades_to_pull_is_given_up_and_streams_on() -> None:
    exchange = Exchange(refused={(Command.QUERY_TRADE, "700.HK"): (7, 301603)})

    async def pushes(peer: Peer) -> None:
        await peer.serve(4)
        await peer.send(exchange.trade("700.HK", range(3)))
        await peer.serve()

    async with ScriptedLongPort(pushes, exchange=exchange) as longport, running(longport, HK) as run:
        assert volumes(await run.rows(TICKS.name, 3)) == [0, 1, 2]
        await asyncio.sleep(0.1)
        assert run.gateway.ready
    assert longport.asked[Command.QUERY_TRADE] == 1


async def test_a_refused_poll_rests_and_the_others_go_on() -> None:
    flow = [(wire.EPOCH_S, "1")]
    refused: dict[tuple[int, str], tuple[int, int]] = {(Command.QUERY_CAPITAL_FLOW_INTRADAY, "700.HK"): (7, 301604)}
    exchange = Exchange(flows={"9988.HK": flow}, refused=refused)
    polls = (PollConfig(CAPITAL_FLOW.name, (HK, OTHER), 0.1),)
    async with ScriptedLongPort(sound, exchange=exchange) as longport, running(longport, polls=polls) as run:
        await until(lambda: longport.asked[Command.QUERY_CAPITAL_FLOW_INTRADAY] >= 5)
        assert run.gateway.status()["refused"] == {
            HK: "capital_flow: the account has no right to its quotes (no, 301604)"
        }
        assert run.gateway.stats.requests["query_capital_flow_intraday", "refused"] == 1
        assert [row["symbol"] for row in run.journal.rows(CAPITAL_FLOW.name)] == [OTHER]


# The end of connections.


@OVER
async def test_another_program_on_the_account_is_left_alone(websocket: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "STAY_AWAY_S", 0.6)

    async def taken(peer: Peer) -> None:
        await peer.serve(4)
        await peer.send(wire.closes(Close.CONNECT_DUPLICATE, "logged in elsewhere"))
        await peer.gone()

    with capture_logs() as logs:
        scripted = ScriptedLongPort(taken, sound, websocket=websocket)
        async with scripted as longport, running(longport, HK) as run:
            await until(lambda: run.gateway.stats.disconnects)
            await asyncio.sleep(0.2)
            assert longport.connections == 1
            assert not run.gateway.ready
            assert "connect duplicate (6): logged in elsewhere" in str(run.gateway.status()["last_error"])
            await until(lambda: run.gateway.ready)
    [said] = [entry for entry in logs if entry["log_level"] in ("error", "warning")]
    assert "another program has taken the account's connection" in said["event"]
    assert said["remedy"]


async def test_an_expired_session_gets_a_new_password_at_once() -> None:
    async def expires(peer: Peer) -> None:
        await peer.serve(4)
        await peer.send(wire.closes(Close.SESSION_EXPIRED))

    async with ScriptedLongPort(expires, sound) as longport, running(longport, HK) as run:
        await until(lambda: run.gateway.ready and run.gateway.stats.connects == 2)
    assert longport.calls == 2
    assert longport.asked[Command.RECONNECT] == 0


async def test_a_websockets_close_code_is_heeded() -> None:
    async def expires(peer: Peer) -> None:
        await peer.serve(4)
        await peer.close(Close.SESSION_EXPIRED)

    async with ScriptedLongPort(expires, sound, websocket=True) as longport, running(longport, HK) as run:
        await until(lambda: run.gateway.ready and run.gateway.stats.connects == 2)
    assert longport.connections == 2


async def test_a_session_that_is_hung_up_on_is_not_tried_twice() -> None:
    async def loses(peer: Peer) -> None:
        await peer.serve(4)

    async def hangs_up(peer: Peer) -> None:
        await peer.request()

    async with ScriptedLongPort(loses, hangs_up, sound) as longport, running(longport, HK) as run:
        await until(lambda: run.gateway.ready and run.gateway.stats.connects == 2)
    assert longport.calls == 2
    assert longport.asked[Command.RECONNECT] == 1


async def test_heartbeats_keep_a_stream_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "HEARTBEAT_EVERY_NS", 30_000_000)
    async with ScriptedLongPort(sound) as longport, running(longport, HK) as run:
        await until(lambda: longport.asked[Command.HEARTBEAT] >= 3)
        assert run.gateway.ready
    assert longport.connections == 1


async def test_a_silent_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SILENCE_NS_MAX", 200_000_000)

    async def mute(peer: Peer) -> None:
        await peer.serve(4)
        await peer.gone()

    async with ScriptedLongPort(mute, sound) as longport, running(longport, HK) as run:
        await until(lambda: run.gateway.stats.connects == 2)
    assert longport.connections >= 2


# What cannot be used.


@OVER
async def test_a_push_that_does_not_decode_is_kept_and_what_it_held_is_pulled(websocket: bool) -> None:
    exchange = Exchange()
    bad = packing.push(b"\xff\xff\xff", Command.PUSH_TRADE)

    async def garbles(peer: Peer) -> None:
        await peer.serve(4)
        await peer.send(exchange.trade("700.HK", range(40)))
        await until(lambda: run.pipeline.stats.journaled_rows["ticks"] == 40 and run.gateway.status()["filled"] == 1)
        await asyncio.sleep(0.1)  # the hole of the start is settled
        exchange.trade("700.HK", range(40, 50))
        await peer.send(bad, exchange.trade("700.HK", range(50, 60)))
        await peer.serve()

    scripted = ScriptedLongPort(garbles, exchange=exchange, websocket=websocket)
    async with scripted as longport, running(longport, HK) as run:
        [letter] = await run.dead_letters(1)
        rows = await run.rows(TICKS.name, 60)
        [gap] = await run.settled(1)
    assert (letter["reason"], letter["payload"], letter["payload_bytes"]) == ("undecodable", bad, len(bad))
    assert volumes(rows) == list(range(60))
    assert (gap["cause"], gap["state"]) == ("decode_error", "filled")
    assert longport.connections == 1


async def test_an_answer_about_another_symbol_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_module, "RETRY_FIRST_NS", 1_000_000)
    exchange = Exchange({"700.HK": [1, 2]})

    async def confuses(peer: Peer) -> None:
        await peer.serve(3)
        _, request_id, _ = await peer.request()
        await peer.send(wire.pulled(request_id, "9988.HK", [7, 8]))
        await peer.serve()

    async with ScriptedLongPort(confuses, exchange=exchange) as longport, running(longport, HK) as run:
        [letter] = await run.dead_letters(1)
        rows = await run.rows(TICKS.name, 2)
    assert "pull of HK.00700: the answer is about HK.09988" in letter["detail"]
    assert {row["symbol"] for row in rows} == {HK}


async def test_a_bad_trade_in_a_pull_is_a_dead_letter_and_its_neighbours_rows() -> None:
    async def garbles(peer: Peer) -> None:
        await peer.serve(3)
        _, request_id, _ = await peer.request()
        reply = trade_pb2.SecurityTradeResponse(symbol="700.HK", trades=[wire.trade(number) for number in range(3)])
        reply.trades[1].price = "cheap"
        await peer.send(packing.response(reply.SerializeToString(), Command.QUERY_TRADE, request_id))
        await peer.serve()

    async with ScriptedLongPort(garbles) as longport, running(longport, HK) as run:
        [letter] = await run.dead_letters(1)
        rows = await run.rows(TICKS.name, 2)
    assert letter["reason"] == "bad_row"
    assert volumes(rows) == [0, 2]


async def test_a_push_of_a_symbol_that_nobody_subscribed_to_is_a_row_still() -> None:
    async def pushes(peer: Peer) -> None:
        await peer.serve(4)
        await peer.send(wire.push("9988.HK", 1, [1]), packing.push(b"", 101))
        await peer.serve()

    async with ScriptedLongPort(pushes) as longport, running(longport, HK) as run:
        [row] = await run.rows(TICKS.name, 1)
        assert run.gateway.status()["unknown_messages"] == {"101": 1}
    assert row["symbol"] == OTHER


# The keys.


async def test_no_secret_shows_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = [KEYS.app_key, KEYS.app_secret, KEYS.access_token, "password-", "session-"]
    echo = {"code": 403201, "message": f"bad {KEYS.app_key} {KEYS.access_token} {KEYS.app_secret}"}
    exchange = Exchange(token_refusals=[(403, orjson.dumps(echo)), (200, b"no JSON, but " + KEYS.app_key.encode())])

    async def refuses(peer: Peer) -> None:
        peer.exchange.passwords.clear()
        await peer.login()

    async def garbles(peer: Peer) -> None:
        command, request_id, body = await peer.request()
        await peer.send(packing.response(b"\xff" + body, command, request_id))

    async def loses(peer: Peer) -> None:
        await peer.serve(4)
        peer.exchange.sessions.clear()

    said: list[str] = []
    with capture_logs() as logs:
        scripted = ScriptedLongPort(refuses, garbles, loses, sound, sound, exchange=exchange)
        async with scripted as longport, running(longport, HK) as run:
            while not (run.gateway.ready and run.gateway.stats.connects == 2):
                said.append(str(run.gateway.status()))
                await asyncio.sleep(0.005)
            letters = await run.dead_letters(2)
    assert {letter["detail"].split(":")[0] for letter in letters} == {"token call", "command 2"}
    assert longport.connections == 5
    everything = "\n".join([*map(str, logs), *said, *map(str, letters), *capsys.readouterr()])
    assert "the one-time password is refused: bad *** *** *** (403201)" in everything
    assert "*** is not known" in everything
    assert not [secret for secret in secrets if secret in everything]


# Ticks without pushes.


async def test_ticks_are_pulled_again_and_again_where_that_is_wanted() -> None:
    exchange = Exchange({"700.HK": list(range(20))}, refused={(Command.QUERY_TRADE, "9988.HK"): (7, 301604)})
    tick_polls = {HK: 0.1, OTHER: 0.1, "HK_FUTURE.HSImain": 0.1}
    scripted = ScriptedLongPort(sound, exchange=exchange)
    async with scripted as longport, running(longport, *tick_polls, tick_polls=tick_polls) as run:
        await run.rows(TICKS.name, 20)
        exchange.trade("700.HK", range(20, 40))
        rows = await run.rows(TICKS.name, 40)
        assert run.gateway.ready
        status = run.gateway.status()
    assert volumes(rows) == list(range(40))
    assert (status["subscribed"], status["polled"]) == (0, 3)
    refused = status["refused"]
    assert isinstance(refused, dict)
    assert "301604" in refused[OTHER]
    assert refused["HK_FUTURE.HSImain"] == "LongPort has no such market"
    assert longport.asked[Command.SUBSCRIBE] == 0


# Reloading.


async def test_other_symbols_are_wanted_while_it_runs() -> None:
    exchange = Exchange({"700.HK": [1], "9988.HK": [2], "AAPL.US": [3]})
    async with ScriptedLongPort(sound, exchange=exchange) as longport, running(longport, HK, OTHER) as run:
        await run.rows(TICKS.name, 2)
        polls = (PollConfig(CAPITAL_FLOW.name, (HK,), 60.0),)
        run.gateway.reconfigure(replace(run.gateway.config, symbols=(OTHER, US), polls=polls))
        rows = await run.rows(TICKS.name, 3)
        await until(lambda: run.gateway.ready and run.gateway.status()["subscribed"] == 2)
        await until(lambda: longport.asked[Command.QUERY_CAPITAL_FLOW_INTRADAY] == 1)
    assert {row["symbol"] for row in rows} == {HK, OTHER, US}
    assert (longport.asked[Command.SUBSCRIBE], longport.asked[Command.UNSUBSCRIBE]) == (2, 1)
    assert longport.asked[Command.QUERY_TRADE] == 3


# Everything at once.


@OVER
async def test_thirty_reconnects_lose_and_repeat_nothing(websocket: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes are lost, repeated, and numbered backwards; each trade is a row once, or in the ledger."""
    monkeypatch.setattr(limits_module, "CALLS", Quota(1000, 1.0))
    monkeypatch.setattr(backfill_module, "HOLD_NS", 1_000_000)
    exchange, connections = Exchange(), 30
    rng = random.Random(5)

    async def unsteady(peer: Peer) -> None:
        await peer.serve(3 + (longport.connections == 1))
        for _ in range(3):
            at = len(exchange.trades.get("700.HK", []))
            push = exchange.trade("700.HK", range(at, at + rng.randint(1, 5)), compressed=rng.random() < 0.3)
            exchange.sequences["700.HK"] -= rng.choice((0, 0, 20))
            if rng.random() < 0.7:
                await peer.send(*[push] * rng.choice((1, 1, 2)))
        if longport.connections < connections:
            await asyncio.sleep(0.02)
            return
        await peer.serve()

    scripted = ScriptedLongPort(unsteady, exchange=exchange, websocket=websocket)
    async with scripted as longport, running(longport, HK) as run:
        await until(lambda: longport.connections == connections and run.gateway.status()["filled"] == 1)
        run.gateway._connection.pull([(1, "00700")])  # type: ignore[union-attr]
        total = len(exchange.trades["700.HK"])
        await until(lambda: len(set(volumes(run.journal.rows()))) == total)
        await asyncio.sleep(0.1)
    assert volumes(run.journal.rows()) == list(range(total))
