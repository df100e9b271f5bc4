"""A one-shot visit to an OpenD, and to what is none."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from codec.opend.protocol import ProtoId, pack_frame
from ingest.opend.probe import GatewayUnreachable, ProbeReport, probe_gateway
from ingest.opend.rights import Kind
from protos.opend import global_state_pb2, subscription_pb2
from tests.ingest import wire
from tests.ingest.dressed import wire_mode
from tests.ingest.scripted_opend import Peer, Script, ScriptedOpenD
from tests.support.keys import rsa_pem
from tests.support.sdk import simulator_options
from tests.support.simulator import opend_simulator


def state_frame(serial: int, *, logged_in: bool) -> bytes:
    s2c = global_state_pb2.GetGlobalStateS2C(
        marketHK=3, marketUS=0, marketSH=0, marketSZ=0, marketHKFuture=0, qotLogined=logged_in, trdLogined=True,
        serverVer=1011, serverBuildNo=1, time=wire.START_S,
    )  # fmt: skip
    response = global_state_pb2.GetGlobalStateResponse(retType=0, s2c=s2c)
    return pack_frame(ProtoId.GET_GLOBAL_STATE, serial, response.SerializeToString())


def quota_frame(serial: int) -> bytes:
    s2c = subscription_pb2.GetSubInfoS2C(totalUsedQuota=7, remainQuota=93)
    response = subscription_pb2.GetSubInfoResponse(retType=0, s2c=s2c)
    return pack_frame(ProtoId.GET_SUB_INFO, serial, response.SerializeToString())


async def visited(*scripts: Script, timeout_s: float = 5.0) -> ProbeReport:
    async with ScriptedOpenD(*scripts) as opend:
        return await probe_gateway("127.0.0.1", opend.port, timeout_s)


@pytest.mark.parametrize("logged_in", [False, True])
async def test_what_one_visit_learns(logged_in: bool) -> None:
    async def answers(peer: Peer) -> None:
        await peer.greet()
        asked = {proto_id: serial for proto_id, serial, _ in [await peer.heard() for _ in range(3)]}
        frames = (
            wire.notice_frame(),
            quota_frame(asked[ProtoId.GET_SUB_INFO]),
            wire.user_frame(asked[ProtoId.GET_USER_INFO], {"hkOptionQotRight": 2}),
            wire.push_frame("HK.00700", wire.make_ticks([1])),
            state_frame(asked[ProtoId.GET_GLOBAL_STATE], logged_in=logged_in),
        )
        for byte in b"".join(frames):
            peer.send(bytes([byte]))
            await peer.sent()
        await peer.gone()

    report = await visited(answers)
    assert (report.server_version, report.login_user_id) == (1011, 5)
    assert (report.quota_used, report.quota_left, report.quote_logged_in) == (7, 93, logged_in)
    assert (report.ailment is None) == logged_in
    assert report.rights.of_kind == {Kind.HK_OPTION: 2}
    assert 0 < report.round_trip_s < 5


async def refuses_greeting(peer: Peer) -> None:
    proto_id, serial, _ = await peer.heard()
    peer.send(wire.refusal_frame(proto_id, serial, "too many connections"))
    await peer.gone()


async def refuses_quota(peer: Peer) -> None:
    await peer.greet()
    _, serial, _ = await peer.heard()
    peer.send(wire.refusal_frame(ProtoId.GET_GLOBAL_STATE, serial, "not now"))
    await peer.gone()


async def closes(peer: Peer) -> None:
    await peer.heard()


async def is_something_else(peer: Peer) -> None:
    peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    await peer.gone()


async def is_mute(peer: Peer) -> None:
    await peer.gone()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (refuses_greeting, "too many connections"),
        (refuses_quota, "GET_GLOBAL_STATE failed: not now"),
        (closes, "closed the connection"),
        (is_something_else, "b'SS'"),
        (is_mute, "within 0.3 s"),
    ],
)
async def test_what_is_wrong_is_said_in_the_gateways_words(script: Script, says: str) -> None:
    with pytest.raises(GatewayUnreachable, match=says) as caught:
        await visited(script, timeout_s=0.3)
    assert caught.value.retriable


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(GatewayUnreachable, match=f"cannot connect to 127.0.0.1:{port}"):
        await asyncio.wait_for(probe_gateway("127.0.0.1", port), 5)


async def test_a_visit_in_each_mode_and_in_one_that_does_not_fit(tmp_path: Path) -> None:
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(rsa_pem())
    with opend_simulator("--symbols", 2, *simulator_options("cbc", key_file)) as opend:
        for mode in ("cbc", "json-cbc"):
            report = await probe_gateway("127.0.0.1", opend.port, 30, wire=wire_mode(mode))
            assert (report.quote_logged_in, report.quota_left) == (True, 2000)
        with pytest.raises(GatewayUnreachable, match="rsa_key_file"):
            await probe_gateway("127.0.0.1", opend.port, 0.5)
