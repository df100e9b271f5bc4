"""A gateway on a real socket, against OpenDs that break every rule."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from codec.columns import TickBuffer
from codec.opend.protocol import ProtoId, pack_frame
from codec.tables import DEAD_LETTERS, GAPS
from ingest import lane as lane_module
from ingest import pipeline as pipeline_module
from ingest.backoff import Backoff
from ingest.gateway import GatewayConfig, OpenDGateway
from ingest.opend import session as session_module
from ingest.opend.poll_plan import PollConfig
from ingest.pipeline import TickPipeline
from protos.opend import subscription_pb2
from tests.ingest import wire
from tests.ingest.dressed import DressedPeer, dress, wire_mode
from tests.ingest.journal import MemoryJournal, until
from tests.ingest.running import running
from tests.ingest.scripted_opend import Exchange, Peer, ScriptedOpenD, sound
from tests.ingest.talk import CLOCK

HK, OTHER, US = "HK.00700", "HK.09988", "US.AAPL"
BUFFER_ROWS = 4096
CONNECTIONS = 20


def sequences(numbers: range) -> list[int]:
    return [wire.sequence_of(number) for number in numbers]


# How it should be.


async def test_ticks_flow_and_the_gateway_says_that_it_is_ready() -> None:
    exchange = Exchange({HK: list(range(5)), OTHER: [], US: [1, 2]})

    async def pushes(peer: Peer) -> None:
        await peer.serve(1 + 2 + 3)
        peer.send(exchange.trade(HK, range(5, 8)), exchange.trade(HK, range(8, 10)))
        await peer.serve()

    async with ScriptedOpenD(pushes, exchange=exchange) as opend, running(opend.port, HK, OTHER, US) as run:
        stored = await run.sequences(12)
        assert run.gateway.ready
        assert run.gateway.up
        status = run.gateway.status()
    assert sorted(stored) == sorted(sequences(range(10)) + sequences(range(1, 3)))
    assert (status["up"], status["ready"], status["subscribed"], status["filled"]) == (True, True, 3, 3)
    assert (status["refused"], status["open_gaps"], status["last_error"]) == ({}, 0, None)
    asked = run.gateway.stats.requests
    assert (asked["sub", "ok"], asked["get_ticker", "ok"]) == (2, 3)
    assert {outcome for _, outcome in asked} == {"ok"}
    [late] = run.journal.rows(GAPS.name)
    assert (late["symbol"], late["cause"], late["state"], late["missing"]) == (US, "late_start", "lost", None)
    assert opend.connections == 1
    assert not run.gateway.up


async def test_keep_alive_goes_out_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "KEEP_ALIVE_SHARE", 0.01)
    async with ScriptedOpenD(sound) as opend, running(opend.port, HK) as run:
        await until(lambda: opend.asked[ProtoId.KEEP_ALIVE] >= 3)
        assert run.gateway.ready
    assert opend.connections == 1


# A gateway that cannot be had.


async def test_nobody_listens_until_somebody_does() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with running(port, HK) as run:
        await until(lambda: "cannot connect" in str(run.gateway.status()["last_error"]))
        assert f"127.0.0.1:{port}" in str(run.gateway.status()["last_error"])
        assert not run.gateway.ready
    assert run.gateway.stats.connects == run.gateway.stats.disconnects == 0


async def test_a_refused_greeting_is_tried_again_and_said_once() -> None:
    async def refuses(peer: Peer) -> None:
        proto_id, serial, _ = await peer.request()
        peer.send(wire.refusal_frame(proto_id, serial, "not logged in"))
        await peer.gone()

    with capture_logs() as logs:
        async with ScriptedOpenD(refuses, refuses, refuses, sound) as opend, running(opend.port, HK) as run:
            await until(lambda: run.gateway.ready)
    said = [entry for entry in logs if "not logged in" in str(entry.get("reason"))]
    assert len(said) == 1
    assert said[0]["gateway"] == "opend-1"
    assert opend.connections == 4
    assert run.gateway.stats.connects == 1


@pytest.mark.parametrize("speaks_first", [False, True])
async def test_a_greeting_that_is_never_answered_is_given_up(
    speaks_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "REQUEST_TIMEOUT_NS", 100_000_000)

    async def mute(peer: Peer) -> None:
        if speaks_first:
            peer.send(wire.notice_frame(), wire.push_frame(HK, wire.make_ticks([1])))
        await peer.gone()

    async with ScriptedOpenD(mute, mute, sound) as opend, running(opend.port, HK) as run:
        await until(lambda: run.gateway.ready)
    assert opend.connections == 3
    assert run.journal.sequences() == (sequences(range(1, 2)) if speaks_first else [])


async def test_attempts_are_further_and_further_apart() -> None:
    async def closes(peer: Peer) -> None:
        return

    backoff = Backoff(first_s=0.1, growth=2.0, delay_s_max=10.0)
    async with ScriptedOpenD(closes) as opend, running(opend.port, HK, backoff=backoff):
        await asyncio.sleep(0.5)
    assert 2 <= opend.connections <= 8


# A gateway that breaks off.


async def test_a_line_that_breaks_inside_a_frame_costs_nothing() -> None:
    """The same push, cut at 30 places over its whole length, each time by another connection."""
    exchange, journal = Exchange({HK: [0, 1]}), MemoryJournal()
    size = len(wire.push_frame(HK, wire.make_ticks(range(2))))
    offsets = sorted({1, 2, 16, 43, 44, 45, size - 1, *range(3, size, size // 24)})

    def cut_at(offset: int) -> Callable[[Peer], Awaitable[None]]:
        async def script(peer: Peer) -> None:
            await peer.serve(1 + 1 + 1)
            await until(lambda: len(journal.sequences()) == len(exchange.ticks[HK]))
            number = len(exchange.ticks[HK])
            peer.send(exchange.trade(HK, range(number, number + 2))[:offset])

        return script

    scripts = [*map(cut_at, offsets), sound]
    async with ScriptedOpenD(*scripts, exchange=exchange) as opend, running(opend.port, HK, journal=journal) as run:
        stored = await run.sequences(2 + 2 * len(offsets))
        gaps = await run.settled(len(offsets))
    assert len(offsets) >= 30
    assert stored == sequences(range(2 + 2 * len(offsets)))
    assert [(row["cause"], row["state"], row["filled"], row["missing"]) for row in gaps] == [
        ("reconnect", "filled", 2, 0)
    ] * len(offsets)
    assert run.gateway.stats.disconnects == len(offsets)
    assert run.gateway.stats.dead_letters == {}


async def test_after_a_reconnect_it_asks_for_the_very_same() -> None:
    """US symbols in all sessions, one without push: nothing of that becomes another thing the second time."""
    subscribed: list[set[bytes]] = []

    def listening(*, breaks: bool) -> Callable[[Peer], Awaitable[None]]:
        async def script(peer: Peer) -> None:
            bodies: set[bytes] = set()
            subscribed.append(bodies)
            while not breaks or len(bodies) < 3:
                proto_id, serial, body = await peer.request()
                if proto_id == ProtoId.SUB:
                    bodies.add(body)
                peer.answer(proto_id, serial, body)

        return script

    async with (
        ScriptedOpenD(listening(breaks=True), listening(breaks=False)) as opend,
        running(opend.port, HK, OTHER, US, tick_polls={OTHER: 60.0}) as run,
    ):
        await until(lambda: opend.connections == 2 and run.gateway.ready)
    first, second = subscribed
    assert first == second
    requests = [subscription_pb2.SubRequest.FromString(body).c2s for body in first]
    assert sorted(request.isRegOrUnRegPush for request in requests) == [False, True, True]


async def test_ticks_that_the_last_thousand_do_not_reach_are_said_to_be_lost() -> None:
    exchange, journal = Exchange({HK: list(range(10))}), MemoryJournal()

    async def breaks(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        await until(lambda: len(journal.sequences()) == 10)
        exchange.trade(HK, range(10, 2510))

    async with (
        ScriptedOpenD(breaks, sound, exchange=exchange) as opend,
        running(opend.port, HK, journal=journal) as run,
    ):
        [row] = await run.settled(1)
    assert (row["state"], row["filled"], row["missing"], row["certainty"]) == ("lost", 1000, 1500, "certain")
    assert (row["from_sequence"], row["to_sequence"]) == (wire.sequence_of(9), wire.sequence_of(1510))
    assert row["from_ts"] == wire.START_S * 1_000_000
    assert row["to_ts"] == (wire.START_S + 151) * 1_000_000
    assert journal.sequences() == sequences(range(10)) + sequences(range(1510, 2510))


async def test_a_silent_gateway_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SILENCE_NS_MAX", 200_000_000)

    async def falls_silent(peer: Peer) -> None:
        await peer.greet()
        await peer.gone()

    async with ScriptedOpenD(falls_silent, sound) as opend, running(opend.port, HK) as run:
        await until(lambda: opend.connections == 2)
        await until(lambda: run.gateway.ready)
        assert "nothing came" in str(run.gateway._last_error)


# What nothing can be trusted behind.


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "bad_magic"),
        (pack_frame(ProtoId.UPDATE_TICKER, 0, bytes(70_000)), "frame_too_large"),
    ],
    ids=["bad magic", "too large"],
)
async def test_what_cannot_be_trusted_ends_the_connection(tail: bytes, reason: str) -> None:
    exchange, journal = Exchange({HK: [0]}), MemoryJournal()

    async def babbles(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        await until(journal.sequences)
        lost = exchange.trade(HK, range(1, 3))
        peer.send(tail, lost)
        await peer.gone()

    async with (
        ScriptedOpenD(babbles, sound, exchange=exchange) as opend,
        running(opend.port, HK, journal=journal, body_bytes_max=65_536) as run,
    ):
        stored = await run.sequences(3)
        [letter] = await run.dead_letters(1)
        [gap] = await run.settled(1)
    assert stored == sequences(range(3))
    assert letter["reason"] == reason
    assert bytes(letter["payload"])[:27] == tail[:27]  # type: ignore[call-overload]
    assert (letter["gateway"], letter["feed"]) == ("opend-1", "ticks")
    assert (gap["cause"], gap["state"], gap["filled"]) == ("reconnect", "filled", 2)
    assert run.gateway.stats.dead_letters == {("ticks", reason): 1}
    assert run.gateway.stats.disconnects == 1


# What costs one frame.


async def test_a_bad_sha1_costs_nothing_either() -> None:
    exchange = Exchange({HK: [0], OTHER: [0]})

    async def corrupts(peer: Peer) -> None:
        await peer.serve(1 + 1 + 2)
        peer.send(exchange.trade(HK, range(1, 3)))
        peer.send(wire.with_bad_sha1(exchange.trade(HK, range(3, 6))))
        peer.send(exchange.trade(HK, range(6, 8)))
        await peer.serve()

    async with ScriptedOpenD(corrupts, exchange=exchange) as opend, running(opend.port, HK, OTHER) as run:
        stored = await run.sequences(9)
        gaps = await run.settled(2)
        [letter] = await run.dead_letters(1)
        assert run.gateway.ready
    assert sorted(stored) == sorted(sequences(range(8)) + sequences(range(1)))
    by_symbol = {str(row["symbol"]): row for row in gaps}
    assert set(by_symbol) == {HK, OTHER}, "the frame's symbol cannot be known"
    assert all((row["cause"], row["state"], row["missing"]) == ("decode_error", "filled", 0) for row in gaps)
    assert (by_symbol[HK]["filled"], by_symbol[OTHER]["filled"]) == (3, 0)
    assert len(run.journal.rows(GAPS.name)) == 4, "each hole is written when it opens and when it ends"
    assert letter["reason"] == "bad_sha1"
    assert opend.connections == 1
    assert {state: count for state, count in run.pipeline.gap_counts().items() if count} == {"filled": 2}


@pytest.mark.parametrize("mode", ["ecb", "plain"])
async def test_a_push_that_cannot_be_decrypted_costs_nothing(mode: str) -> None:
    """In plain such bytes are a wrong SHA-1."""
    exchange = Exchange({HK: [0]})

    async def corrupts(plain: Peer) -> None:
        peer = DressedPeer(plain, mode)
        await peer.serve(1 + 1 + 1)
        peer.send(exchange.trade(HK, range(1, 3)))
        lost = bytearray(dress(mode, exchange.trade(HK, range(3, 6))))
        lost[-1] ^= 0xF0
        peer.send_as_is(bytes(lost))
        peer.send(exchange.trade(HK, range(6, 8)))
        await peer.serve()

    async with (
        ScriptedOpenD(corrupts, exchange=exchange) as opend,
        running(opend.port, HK, wire=wire_mode(mode)) as run,
    ):
        assert sorted(await run.sequences(8)) == sequences(range(8))
        [gap] = await run.settled(1)
        [letter] = await run.dead_letters(1)
    assert (gap["cause"], gap["state"], gap["filled"], gap["missing"]) == ("decode_error", "filled", 3, 0)
    assert letter["reason"] == ("bad_sha1" if mode == "plain" else "undecryptable")
    assert opend.connections == 1


async def test_a_pull_on_its_way_does_not_close_a_hole_that_opens_behind_it() -> None:
    """The reply is read, and the bad frame too, before either is in the journal."""
    exchange = Exchange({HK: list(range(10))})

    async def corrupts(peer: Peer) -> None:
        await peer.serve(1 + 1)
        proto_id, serial, body = await peer.request()
        assert proto_id == ProtoId.GET_TICKER
        early = wire.pull_frame(HK, exchange.latest(HK), serial=serial)
        peer.send(early, wire.with_bad_sha1(exchange.trade(HK, range(10, 13))))
        proto_id, serial, body = await peer.request()
        await asyncio.sleep(0.3)
        peer.answer(proto_id, serial, body)
        await peer.serve()

    async with ScriptedOpenD(corrupts, exchange=exchange) as opend, running(opend.port, HK) as run:
        await run.sequences(13)
        [gap] = await run.settled(1)
    assert (gap["cause"], gap["state"], gap["filled"]) == ("decode_error", "filled", 3)


async def test_one_bad_tick_costs_itself() -> None:
    async def corrupts(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        ticks = [wire.make_tick(1), wire.make_tick(2, price=float("nan")), wire.make_tick(3)]
        peer.send(wire.push_frame(HK, ticks))
        await peer.serve()

    async with ScriptedOpenD(corrupts) as opend, running(opend.port, HK) as run:
        stored = await run.sequences(2)
        [letter] = await run.dead_letters(1)
        [gap] = await run.settled(1)
    assert stored == [wire.sequence_of(1), wire.sequence_of(3)]
    assert letter["reason"] == "bad_row"
    assert (gap["cause"], gap["state"], gap["missing"]) == ("sequence_step", "lost", 1)


async def test_unknown_messages_are_counted_and_said_once() -> None:
    async def chatters(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        peer.send(*(pack_frame(4242, serial, b"\x08\x00") for serial in range(5)), pack_frame(3005, 0, b"\x08\x00"))
        peer.send(wire.notice_frame("quota"), peer.exchange.trade(HK, range(1)))
        await peer.serve()

    with capture_logs() as logs:
        async with ScriptedOpenD(chatters) as opend, running(opend.port, HK) as run:
            await run.sequences(1)
    assert run.gateway.stats.unknown_messages == {4242: 5, 3005: 1}
    assert sorted(entry["proto_id"] for entry in logs if "proto_id" in entry) == [3005, 4242]
    assert any("kicked it out (quota)" in entry["event"] for entry in logs), "the gateway's own words"
    assert run.journal.of(DEAD_LETTERS.name) == []


async def test_a_gateway_may_speak_before_the_connection_is_ours() -> None:
    """From another thread: its bytes are there before the loop has told us that we are connected."""
    troubles: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak_first() -> None:
            for number in range(CONNECTIONS):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(wire.push_frame(HK, wire.make_ticks([number])))
                    connection.recv(100)

        async with running(server.getsockname()[1], HK) as run:
            await asyncio.to_thread(speak_first)
            await run.sequences(CONNECTIONS)
    assert troubles == []


async def test_pushes_that_come_before_anything_was_said_are_taken() -> None:
    exchange = Exchange()

    async def impatient(peer: Peer) -> None:
        peer.send(exchange.trade(HK, range(3)), wire.notice_frame())
        await peer.serve()

    async with ScriptedOpenD(impatient, exchange=exchange) as opend, running(opend.port, HK) as run:
        assert await run.sequences(3) == sequences(range(3))
        await until(lambda: run.gateway.ready)
    assert opend.connections == 1


async def test_one_connection_carries_all_that_a_gateway_is_asked_for() -> None:
    """An OpenD takes 128 connections, of all programs together."""
    symbols = tuple(f"HK.{number:05d}" for number in range(1, 251))
    calls = {
        "capital_flow": ProtoId.GET_CAPITAL_FLOW,
        "capital_distribution": ProtoId.GET_CAPITAL_DISTRIBUTION,
        "ark_dynamic": ProtoId.GET_ARK_STOCK_DYNAMIC,
    }
    polls = tuple(PollConfig(feed, symbols, 60.0) for feed in calls)

    async def refuses_polls(peer: Peer) -> None:
        while True:
            proto_id, serial, body = await peer.request()
            if proto_id in calls.values():
                peer.send(wire.refusal_frame(proto_id, serial))
            else:
                peer.answer(proto_id, serial, body)

    journal = MemoryJournal()
    pipeline = TickPipeline(journal.append, partition_count=1, windows=journal)
    async with ScriptedOpenD(refuses_polls) as opend:
        config = GatewayConfig("opend-1", "futu", "127.0.0.1", opend.port, symbols, polls)
        gateway = OpenDGateway(config, pipeline, CLOCK)
        await pipeline.start()
        await gateway.start()
        try:
            await until(lambda: gateway.ready and all(opend.asked[call] >= 5 for call in calls.values()))
            assert (opend.open, opend.connections) == (1, 1)
        finally:
            await gateway.stop()
            await pipeline.stop(5.0)


# What is refused.


async def test_a_refused_symbol_is_said_once_and_the_others_go_on() -> None:
    symbols = tuple(f"HK.{number:05}" for number in range(20))
    exchange = Exchange({symbol: [0, 1] for symbol in symbols}, refused={symbols[7], symbols[13]})

    async def breaks_once(peer: Peer) -> None:
        serving = asyncio.ensure_future(peer.serve())
        await until(lambda: peer.asked[ProtoId.GET_TICKER] == 18)
        serving.cancel()

    with capture_logs() as logs:
        async with (
            ScriptedOpenD(breaks_once, sound, exchange=exchange) as opend,
            running(opend.port, *symbols) as run,
        ):
            await until(lambda: opend.asked[ProtoId.GET_TICKER] == 36 and run.gateway.ready)
            status = run.gateway.status()
    refused = status["refused"]
    assert isinstance(refused, dict)
    assert {name: text.endswith(name) for name, text in refused.items()} == {symbols[7]: True, symbols[13]: True}
    assert status["subscribed"] == 18
    said = [entry["symbol"] for entry in logs if "symbol refused" in entry["event"]]
    assert sorted(said) == [symbols[7], symbols[13]]
    assert {row["symbol"] for row in run.journal.rows()} == set(symbols) - exchange.refused


async def test_a_hole_whose_pulls_all_fail_is_lost() -> None:
    """After the frame that could not be read, the gateway refuses every pull: the next tick tells how many it held."""
    exchange = Exchange({HK: [1, 2]})

    async def refuses_pulls(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        peer.send(wire.with_bad_sha1(exchange.trade(HK, range(3, 5))))
        refused = 0
        while True:
            proto_id, serial, body = await peer.request()
            if proto_id != ProtoId.GET_TICKER:
                peer.answer(proto_id, serial, body)
                continue
            peer.send(wire.refusal_frame(proto_id, serial, "no right"))
            refused += 1
            if refused == 3:
                peer.send(exchange.trade(HK, range(5, 6)))

    async with ScriptedOpenD(refuses_pulls, exchange=exchange) as opend, running(opend.port, HK) as run:
        [row] = await run.settled(1)
        assert run.gateway.status()["open_gaps"] == 0
    assert (row["state"], row["cause"], row["symbol"]) == ("lost", "decode_error", HK)
    assert (row["missing"], row["certainty"]) == (2, "certain")
    assert sorted(run.journal.sequences()) == [*sequences(range(1, 3)), *sequences(range(5, 6))]


@pytest.mark.parametrize("kind", ["refused", "bad sha1", "undecodable"])
async def test_a_pull_that_fails_is_tried_three_times_and_no_more(kind: str) -> None:
    exchange = Exchange({HK: [0], OTHER: [0]})

    async def fails(peer: Peer) -> None:
        while True:
            proto_id, serial, body = await peer.request()
            if proto_id == ProtoId.GET_TICKER and HK[-5:].encode() in body:
                refusal = wire.refusal_frame(proto_id, serial, "busy")
                bad = {
                    "refused": refusal,
                    "bad sha1": wire.with_bad_sha1(refusal),
                    "undecodable": pack_frame(proto_id, serial, b"\x08\x00\x22\x7f"),
                }
                peer.send(bad[kind])
            else:
                peer.answer(proto_id, serial, body)

    async with ScriptedOpenD(fails, exchange=exchange) as opend, running(opend.port, HK, OTHER) as run:
        await run.sequences(1)
        await until(lambda: opend.asked[ProtoId.GET_TICKER] >= 4)
        await asyncio.sleep(0.1)
        assert run.gateway.ready
    assert opend.asked[ProtoId.GET_TICKER] == 3 + 1, "three for the one, one for the other"
    assert run.gateway.stats.requests["get_ticker", "refused"] == 3
    assert opend.connections == 1


# Backpressure.


async def test_a_full_journal_stops_the_gateway_and_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than silence is borne: what stopped was our reading."""
    monkeypatch.setattr(session_module, "SILENCE_NS_MAX", 300_000_000)
    monkeypatch.setattr(session_module, "REQUEST_TIMEOUT_NS", 400_000_000)
    monkeypatch.setattr(session_module, "KEEP_ALIVE_SHARE", 0.005)
    monkeypatch.setattr(lane_module, "TickBuffer", partial(TickBuffer, BUFFER_ROWS))
    ticks, journal = 20_000, MemoryJournal()
    name = "N" * 400_000  # fills the kernels' buffers with few ticks
    frames = [wire.push_frame(HK, wire.make_ticks(range(at, at + 500)), name=name) for at in range(0, ticks, 500)]
    pushed = 0

    async def floods(peer: Peer) -> None:
        nonlocal pushed
        await peer.serve(1 + 1)
        pull = await peer.request()
        peer.keep_little()
        journal.full = True
        for frame in frames:
            peer.send(frame)
            await peer.sent()
            pushed += 500
        peer.answer(*pull)
        await peer.serve()

    async with ScriptedOpenD(floods) as opend, running(opend.port, HK, journal=journal) as run:
        await until(lambda: journal.refusals)
        await until(lambda: run.gateway.lane.ticks.rows > BUFFER_ROWS - 500)
        await asyncio.sleep(1.0)
        assert pushed < ticks, "the gateway is held up by what is not read"
        assert run.gateway.up
        assert journal.records == []
        journal.full = False
        await run.sequences(ticks)
        await until(lambda: run.gateway.stats.requests["get_ticker", "ok"])
    assert opend.asked[ProtoId.KEEP_ALIVE] > 5, "it must know that we are there"
    asked = run.gateway.stats.requests
    assert (asked["sub", "ok"], asked["get_ticker", "ok"]) == (1, 1)
    assert {outcome for _, outcome in asked} == {"ok"}
    assert opend.connections == 1
    assert journal.sequences() == sequences(range(ticks))
    assert [row["cause"] for row in journal.rows(GAPS.name)] == ["journal_full"]


async def test_what_waits_is_read_when_there_is_room_though_nothing_more_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "TickBuffer", partial(TickBuffer, 64))

    async def pushes(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        peer.send(*(wire.push_frame(HK, wire.make_ticks(range(at, at + 50))) for at in range(0, 500, 50)))
        await peer.gone()

    async with ScriptedOpenD(pushes) as opend, running(opend.port, HK) as run:
        await until(lambda: run.pipeline.stats.journaled_rows["ticks"] == 500, timeout_s=5)
    assert run.journal.sequences() == sequences(range(500))
    assert run.journal.rows(GAPS.name) == []


async def test_dead_letters_stop_the_gateway_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "WAITING_ROWS_MAX", 100)
    journal, count = MemoryJournal(), 1000

    async def floods(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        peer.keep_little()
        journal.full = True
        for _ in range(count):
            peer.send(pack_frame(ProtoId.NOTIFY, 0, b"\x08\x00\x22\xff\xff\x03" + bytes(10_000)))
            await peer.sent()
        await peer.serve()

    async with ScriptedOpenD(floods) as opend, running(opend.port, HK, journal=journal) as run:
        await until(lambda: run.pipeline.rows_full)
        await asyncio.sleep(0.2)
        heard = run.gateway.stats.dead_letters["ticks", "undecodable"]
        assert heard < count / 2
        journal.full = False
        assert len(await run.dead_letters(count)) == count
    assert opend.connections == 1


# The end.


async def test_stopping_closes_the_connection_and_keeps_what_was_received() -> None:
    exchange = Exchange()
    told = asyncio.Event()

    async def pushes(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        peer.send(exchange.trade(HK, range(100)))
        told.set()
        await peer.serve()

    async with ScriptedOpenD(pushes, exchange=exchange) as opend:
        async with running(opend.port, HK) as run:
            await told.wait()
            await until(lambda: run.gateway.lane.ticks.rows)
            begin_s = time.monotonic()
        assert time.monotonic() - begin_s < 4
        assert run.journal.sequences() == sequences(range(100))
        await until(lambda: opend.open == 0)
    assert opend.connections == 1


async def test_stopping_before_it_ever_connected() -> None:
    async def mute(peer: Peer) -> None:
        await peer.gone()

    async with ScriptedOpenD(mute) as opend, running(opend.port, HK):
        await until(lambda: opend.open == 1)


async def test_two_gateways_of_one_source_store_a_tick_once() -> None:
    exchange, journal = Exchange({HK: list(range(50))}), MemoryJournal()
    async with ScriptedOpenD(sound, exchange=exchange) as opend, running(opend.port, HK, journal=journal) as run:
        await run.sequences(50)
        second = OpenDGateway(GatewayConfig("opend-2", "futu", "127.0.0.1", opend.port, (HK,)), run.pipeline, CLOCK)
        await second.start()
        await until(lambda: run.pipeline.stats.repeat_rows["ticks"] == 50)
        await second.stop()
    rows: list[dict[str, Any]] = journal.rows()
    assert [row["sequence"] for row in rows] == sequences(range(50))
    assert {row["gateway"] for row in rows} == {"opend-1"}
