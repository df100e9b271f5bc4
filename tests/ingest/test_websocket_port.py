"""A gateway on OpenD's WebSocket port: a scripted front, and the simulator's."""

from __future__ import annotations

import pytest
from websockets.asyncio.server import ServerConnection

from codec.opend.protocol import ProtoId
from codec.opend.websocket_packets import Command
from codec.tables import GAPS
from ingest.opend.encryption import WireMode
from ingest.opend.front import WebSocketPort
from ingest.opend.observe import observe_gateway
from ingest.opend.probe import GatewayUnreachable, probe_gateway
from tests.ingest import wire
from tests.ingest.fronts import answer, front, packed, packet
from tests.ingest.journal import until
from tests.ingest.running import running
from tests.support.simulator import opend_simulator

SYMBOL = "HK.00700"


def mode_of(url: str, key: str = "") -> WireMode:
    return WireMode(websocket=WebSocketPort(url, key))


async def test_a_lost_link_is_a_lost_backend_and_a_new_connection_mends_it() -> None:
    logins: list[ServerConnection] = []
    lost = False

    async def answers(peer: ServerConnection, command: int, section: int, body: bytes) -> bytes:
        if command == Command.INIT:
            logins.append(peer)
        elif lost and peer is logins[0]:
            return packet(command, section, error=3)
        if command == ProtoId.GET_TICKER:
            return packed(wire.pull_frame(SYMBOL, wire.make_ticks(range(3 * len(logins))), serial=0), section)
        return answer(command, section)

    async with front(answers) as url, running(1, SYMBOL, wire=mode_of(url)) as run:
        await logins_of(logins, 1)
        assert await run.sequences(3)
        await until(lambda: run.gateway.ready)
        lost = True
        await logins[0].send(packet(Command.LINK_LOST, 0))
        await logins_of(logins, 2)
        assert len(await run.sequences(6)) == 6
        await until(lambda: run.gateway.ready)
        [hole] = {row["gap_id"]: row for row in run.journal.rows(GAPS.name) if row["cause"] != "late_start"}.values()
        assert (hole["cause"], hole["state"]) == ("gateway_lost_backend", "filled")
        assert run.gateway.stats.connects == 2


async def logins_of(logins: list[ServerConnection], count: int) -> None:
    await until(lambda: len(logins) >= count)


async def test_pushes_that_come_in_one_read_and_a_front_that_goes() -> None:
    async def answers(peer: ServerConnection, command: int, section: int, body: bytes) -> bytes | None:
        if command == ProtoId.SUB:
            for number in range(200):
                await peer.send(packed(wire.push_frame(SYMBOL, wire.make_ticks([number])), 0))
            await peer.send(answer(command, section))
            await peer.close(1001, "restarting")
            return None
        return answer(command, section)

    async with front(answers) as url, running(1, SYMBOL, wire=mode_of(url)) as run:
        assert await run.sequences(200) == [wire.sequence_of(number) for number in range(200)]
        await until(lambda: run.gateway.stats.disconnects > 0)


async def test_a_visit_by_the_right_key_and_by_others() -> None:
    options = ("--symbols", 4, "--rate", 400, "--websocket-port", 0, "--websocket-key", "secret")
    with opend_simulator(*options) as opend:
        url = f"ws://127.0.0.1:{opend.websocket_port}"
        report = await probe_gateway("127.0.0.1", opend.websocket_port, 30, wire=mode_of(url, "secret"))
        assert (report.server_version, report.login_user_id, report.quote_logged_in) == (1011, 10_000_001, True)
        for key in ("", "Secret"):
            with pytest.raises(GatewayUnreachable, match="wrong websocketKey; is websocket_key the key") as caught:
                await probe_gateway("127.0.0.1", opend.websocket_port, 5, wire=mode_of(url, key))
            assert "ecret" not in str(caught.value)
        with pytest.raises(GatewayUnreachable, match=r"handshake|closed the connection|broke"):
            await probe_gateway("127.0.0.1", opend.port, 5, wire=mode_of(f"ws://127.0.0.1:{opend.port}", "secret"))
        with pytest.raises(GatewayUnreachable, match=r"answer as an OpenD|closed the connection"):
            await probe_gateway("127.0.0.1", opend.websocket_port, 0.5)
        visit = await observe_gateway(
            "127.0.0.1",
            opend.websocket_port,
            [(1, "00700")],
            source="futu",
            duration_s=1.0,
            quota_reserve=0,
            tell=lambda passed_s, ticks: None,
            wire=mode_of(url, "secret"),
        )
        assert visit.observed.ticks > 0
        assert visit.symbols == (SYMBOL,)
