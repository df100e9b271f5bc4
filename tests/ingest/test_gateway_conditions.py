"""A gateway whose OpenD loses its login, its rights or its process, and whose wishes change while it runs."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import replace

from structlog.testing import capture_logs

from codec.opend.protocol import ProtoId
from codec.tables import GAPS, SYMBOLS
from protos.opend import common_pb2, notify_pb2
from tests.ingest import wire
from tests.ingest.journal import MemoryJournal, until
from tests.ingest.running import Running, running
from tests.ingest.scripted_opend import Exchange, Peer, ScriptedOpenD, sound

HK, OTHER, US, OPTION = "HK.00700", "HK.09988", "US.AAPL", "HK.TCH260130C500000"
WANTS_CODE = common_pb2.ProgramStatusType_NeedPhoneVerifyCode


class Live:
    """A sound OpenD whose connection the test keeps hold of."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    async def __call__(self, peer: Peer) -> None:
        self.peers.append(peer)
        await peer.serve()

    def send(self, *frames: bytes) -> None:
        self.peers[-1].send(*frames)


def causes(run: Running) -> set[tuple[object, object]]:
    """(symbol, cause) of each hole in the journal but late starts."""
    rows = run.journal.rows(GAPS.name)
    return {(row["symbol"], row["cause"]) for row in rows if row["cause"] != "late_start"}


async def test_a_login_lost_is_said_with_its_remedy_and_filled_when_it_is_back() -> None:
    exchange, live = Exchange({HK: [0, 1], US: [0]}), Live()
    with capture_logs() as logs:
        async with ScriptedOpenD(live, exchange=exchange) as opend, running(opend.port, HK, US) as run:
            await run.sequences(3)
            await until(lambda: run.gateway.ready)
            assert run.gateway.state.logged_in
            exchange.logged_in, exchange.program = False, WANTS_CODE
            live.send(wire.notice_frame("from 1.2.3.4"))
            await until(lambda: not run.gateway.ready)
            await until(lambda: len(causes(run)) == 2)
            status = run.gateway.status()
            assert (status["up"], status["logged_in"]) == (True, False)
            assert "kicked it out (from 1.2.3.4)" in str(status["trouble"])
            exchange.trade(HK, range(2, 5))
            exchange.logged_in, exchange.program = True, common_pb2.ProgramStatusType_Ready
            back = notify_pb2.NotifyConnectStatus(qotLogined=True, trdLogined=True)
            live.send(wire.notify_frame(type=3, connectStatus=back))
            await run.sequences(6)
            gaps = await run.settled(2)
            await until(lambda: run.gateway.ready)
            assert run.gateway.status()["trouble"] is None
    assert {(row["symbol"], row["cause"], row["state"]) for row in gaps} == {
        (HK, "not_logged_in", "filled"),
        (US, "not_logged_in", "filled"),
    }
    lost = [entry for entry in logs if "kicked it out" in entry["event"]]
    assert len(lost) == 1
    assert "log in again" in lost[0]["remedy"]
    assert opend.connections == 1


async def test_an_opend_that_is_not_logged_in_is_not_asked_for_symbols_until_it_is() -> None:
    exchange, live = Exchange({HK: [0]}, logged_in=False, program=WANTS_CODE), Live()
    async with ScriptedOpenD(live, exchange=exchange) as opend, running(opend.port, HK) as run:
        await until(lambda: run.gateway.status()["trouble"] is not None)
        await asyncio.sleep(0.1)
        assert opend.asked[ProtoId.SUB] == 0
        exchange.logged_in, exchange.program = True, common_pb2.ProgramStatusType_Ready
        ready = notify_pb2.NotifyProgramStatus(programStatus=common_pb2.ProgramStatus(type=exchange.program))
        live.send(wire.notify_frame(type=2, programStatus=ready))
        assert await run.sequences(1) == [wire.sequence_of(0)]
        await until(lambda: run.gateway.ready)


async def test_a_lost_right_makes_unready_and_is_filled_when_it_is_back() -> None:
    exchange, live = Exchange({HK: [0], US: [0]}), Live()
    async with ScriptedOpenD(live, exchange=exchange) as opend, running(opend.port, HK, US) as run:
        await run.sequences(2)
        await until(lambda: run.gateway.ready)
        exchange.rights = {"hkQotRight": 5}
        none = notify_pb2.NotifyQotRight(hkQotRight=5, usQotRight=3, cnQotRight=2)
        live.send(wire.notify_frame(type=4, qotRight=none))
        await until(lambda: not run.gateway.ready)
        assert "Hong Kong stocks" in str(run.gateway.status()["trouble"])
        await until(lambda: causes(run) == {(HK, "quote_right_lost")})
        exchange.trade(HK, range(1, 3))
        exchange.rights = {"hkQotRight": 3}
        back = notify_pb2.NotifyQotRight(hkQotRight=3, usQotRight=3, cnQotRight=2)
        live.send(wire.notify_frame(type=4, qotRight=back))
        await run.sequences(4)
        [gap] = await run.settled(1)
        await until(lambda: run.gateway.ready)
    assert (gap["symbol"], gap["state"], gap["filled"]) == (HK, "filled", 2)


async def test_a_restarted_opend_is_told_from_a_lost_link() -> None:
    exchange, journal = Exchange({HK: [0, 1]}), MemoryJournal()

    async def restarts(peer: Peer) -> None:
        await peer.serve(1 + 1 + 1)
        await until(lambda: len(journal.sequences()) == 2)
        exchange.trade(HK, range(2, 4))
        exchange.build = 2

    async with (
        ScriptedOpenD(restarts, sound, exchange=exchange) as opend,
        running(opend.port, HK, journal=journal) as run,
    ):
        await run.sequences(4)
        await run.settled(1)
    assert (HK, "gateway_restart") in causes(run)


async def test_options_without_their_level_are_refused_and_the_others_go_on() -> None:
    exchange = Exchange({HK: [0]}, rights={"hkQotRight": 2, "hkOptionQotRight": 2})
    async with ScriptedOpenD(sound, exchange=exchange) as opend, running(opend.port, OPTION, HK) as run:
        await run.sequences(1)
        await until(lambda: run.gateway.ready)
        refused = run.gateway.status()["refused"]
        await until(lambda: (OPTION, "refused") in causes(run))
    assert refused == {OPTION: "Hong Kong options have no ticks under LV1: the login needs LV2"}


async def test_names_and_lot_sizes_are_written_once_and_when_they_change() -> None:
    journal = MemoryJournal()
    for _ in range(2):
        async with ScriptedOpenD(sound) as opend, running(opend.port, HK, US, journal=journal) as run:
            await until(lambda: run.gateway.stats.requests["get_static_info", "ok"])
            await until(lambda: run.pipeline.stats.received_rows[SYMBOLS.name] == 2)
    rows = {str(row["symbol"]): row for row in journal.rows(SYMBOLS.name)}
    assert len(journal.rows(SYMBOLS.name)) == 2, "the second start has nothing new to say"
    tencent = {name: value for name, value in rows[HK].items() if name != "updated_at"}
    assert tencent == {
        "source": "futu",
        "symbol": HK,
        "name": "00700",
        "security_type": "stock",
        "exchange": "hk_main_board",
        "lot_size": 100,
        "currency": "HKD",
        "listed_on": datetime.date(2004, 6, 16),
        "delisted": 0,
    }
    assert rows[US]["currency"] == "USD"


async def test_a_symbol_without_static_information_has_the_name_that_its_pull_says() -> None:
    exchange, journal = Exchange({HK: [0, 1], OTHER: [0]}, nameless={HK}), MemoryJournal()
    for _ in range(2):
        async with ScriptedOpenD(sound, exchange=exchange) as opend, running(opend.port, HK, OTHER, journal=journal):
            await until(lambda: {row["symbol"] for row in journal.rows(SYMBOLS.name)} == {HK, OTHER})
            await until(lambda: opend.asked[ProtoId.GET_TICKER] == 3)
        exchange.nameless = {OTHER}
    rows = {str(row["symbol"]): row for row in journal.rows(SYMBOLS.name)[:2]}
    assert {name: value for name, value in rows[HK].items() if name != "updated_at"} == {
        "source": "futu",
        "symbol": HK,
        "name": "NAME",
        "security_type": "unknown",
        "exchange": "unknown",
        "lot_size": None,
        "currency": "HKD",
        "listed_on": None,
        "delisted": None,
    }
    assert rows[OTHER]["name"] == OTHER.partition(".")[2]
    assert [row["symbol"] for row in journal.rows(SYMBOLS.name)].count(OTHER) == 1, "what was known stays"


async def test_other_symbols_are_taken_and_left_without_touching_what_stays() -> None:
    exchange = Exchange({HK: [0], OTHER: [0, 1], US: [0]})
    async with ScriptedOpenD(sound, exchange=exchange) as opend, running(opend.port, HK, OTHER) as run:
        await run.sequences(3)
        await until(lambda: run.gateway.ready)
        run.gateway.reconfigure(replace(run.gateway.config, symbols=(HK, US)))
        await run.sequences(4)
        await until(lambda: run.gateway.ready)
        status = run.gateway.status()
        assert opend.asked[ProtoId.SUB] == 2, "what stays is not asked for again; its minute is not over"
    assert (status["symbols"], status["subscribed"]) == (2, 2)
    assert opend.connections == 1
    assert run.gateway.lane.wanted == {HK, US}, "coverage expects nothing of what is gone"


async def test_symbols_that_are_not_pushed_are_pulled_again_and_again() -> None:
    exchange = Exchange({HK: [0], US: [0]}, market_states={"marketHK": wire.MORNING})
    with capture_logs() as logs:
        async with (
            ScriptedOpenD(sound, exchange=exchange) as opend,
            running(opend.port, HK, US, tick_polls={HK: 0.05}) as run,
        ):
            await run.sequences(2)
            exchange.trade(HK, range(1, 4))
            await run.sequences(5)
            exchange.trade(HK, range(4, 1500))
            await run.sequences(1005)
            [gap] = [row for row in await run.settled(1) if row["cause"] == "backfill_capped"]
            assert opend.asked[ProtoId.GET_TICKER] > 3
    assert (gap["symbol"], gap["state"], gap["from_sequence"]) == (HK, "lost", wire.sequence_of(3))
    assert sum("between two polls" in entry["event"] for entry in logs) == 1
    assert set(run.journal.sequences()) == {wire.sequence_of(n) for n in (*range(4), *range(500, 1500))}
