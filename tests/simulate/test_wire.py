"""How the simulator's frames travel to each client, and what a client that does not fit gets."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import Parse

from codec.opend.cipher import RsaCipher, aes_cipher
from codec.opend.protocol import HEADER, HEADER_BYTES, BodyFormat, ProtoId, pack_frame
from protos.opend import init_connect_pb2, keep_alive_pb2
from protos.opend.ticker_pb2 import UpdateTickerResponse
from tests.simulate.wire_client import WireClient
from tests.support.keys import rsa_pem
from tests.support.simulator import opend_simulator
from ticktape.options import Aes
from ticktape.simulate.market import Market
from ticktape.simulate.opend_calls import CONNECTIONS_MAX, Calls
from ticktape.simulate.opend_encode import REALTIME
from ticktape.simulate.opend_frames import Encoder
from ticktape.simulate.opend_wire import ClientWire, GatewayKey, WireRefused
from ticktape.simulate.sessions import TradingSession

RSA = RsaCipher(rsa_pem())


@dataclass
class Greeting:
    """A wire, and what its InitConnect came to."""

    wire: ClientWire
    s2c: init_connect_pb2.InitConnectS2C = field(default_factory=init_connect_pb2.InitConnectS2C)

    @classmethod
    def of(cls, key: GatewayKey | None, **fields: Any) -> Greeting:
        greeting = cls(ClientWire(key, {int(ProtoId.UPDATE_TICKER): UpdateTickerResponse}))
        greeting.wire.agree(init_connect_pb2.InitConnectC2S(**fields), greeting.s2c, random.Random(1))
        return greeting


def pushes(market: Market) -> bytes:
    market.fill_cache(np.arange(2), TradingSession.REGULAR)
    frames = Encoder(market.listings, market.store.rings, 3).pushes(market.store.last(np.arange(2), 5), REALTIME)
    assert len(frames.frame_at) == 5
    return frames.data.tobytes()


def split(frames: bytes) -> list[tuple[int, bytes, bytes]]:
    """Format, SHA-1 and body of each frame."""
    parts, at = [], 0
    while at < len(frames):
        _, proto_id, body_format, _, _, body_bytes, digest, _ = HEADER.unpack_from(frames, at)
        assert proto_id == ProtoId.UPDATE_TICKER
        parts.append((body_format, digest, frames[at + HEADER_BYTES : at + HEADER_BYTES + body_bytes]))
        at += HEADER_BYTES + body_bytes
    return parts


def test_plain_protobuf_costs_nothing(market: Market) -> None:
    frames = pushes(market)
    for key in (None, GatewayKey(RSA)):
        greeting = Greeting.of(key, packetEncAlgo=-1)
        assert greeting.wire.dress(frames, BodyFormat.PROTOBUF) is frames


@pytest.mark.parametrize("aes", Aes)
@pytest.mark.parametrize("asked", [0, 2])
def test_the_gateway_chooses_the_aes_whatever_was_asked(market: Market, aes: Aes, asked: int) -> None:
    frames = pushes(market)
    greeting = Greeting.of(GatewayKey(RSA, aes), packetEncAlgo=asked)
    assert greeting.s2c.HasField("aesCBCiv") == (aes is Aes.CBC)
    cipher = aes_cipher(greeting.s2c.connAESKey, greeting.s2c.aesCBCiv or None)
    dressed = split(greeting.wire.dress(frames, greeting.wire.push_format))
    assert [(body_format, digest, cipher.open(body)) for body_format, digest, body in dressed] == split(frames)


def test_json_says_the_same_and_a_wrong_sha1_stays_wrong(market: Market) -> None:
    frames = bytearray(pushes(market))
    frames[16] ^= 0xFF
    wire = Greeting.of(None, pushProtoFmt=1).wire
    assert wire.push_format is BodyFormat.JSON
    for (body_format, digest, body), (_, _, plain) in zip(
        split(wire.dress(bytes(frames), wire.push_format)), split(bytes(frames)), strict=True
    ):
        assert body_format == BodyFormat.JSON
        assert Parse(body.decode(), UpdateTickerResponse()) == UpdateTickerResponse.FromString(plain)
        assert isinstance(json.loads(body)["s2c"]["tickerList"][0]["sequence"], str)
        is_spoilt = plain == split(bytes(frames))[0][2]
        assert (hashlib.sha1(body).digest() == digest) is not is_spoilt


@pytest.mark.parametrize("fields", [{"pushProtoFmt": 2}, {"packetEncAlgo": 1}])
def test_what_no_opend_has_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(WireRefused):
        Greeting.of(GatewayKey(RSA), **fields)


def greeting_frame(*, algorithm: int, seal: bool) -> bytes:
    c2s = init_connect_pb2.InitConnectC2S(clientVer=300, clientID="test", packetEncAlgo=algorithm)
    body = init_connect_pb2.InitConnectRequest(c2s=c2s).SerializeToString()
    return pack_frame(ProtoId.INIT_CONNECT, 1, body, sealed=RSA.seal(body) if seal else None)


def first_answer(port: int, frame: bytes) -> tuple[int, int, bytes] | None:
    """What comes within a second."""
    client = WireClient(port, timeout_s=1.0)
    try:
        client.send(frame)
        return next(client.frames(), None)
    except TimeoutError:
        return None
    finally:
        client.close()


def test_a_client_whose_encryption_does_not_fit_gets_no_answer(tmp_path: Path) -> None:
    """To a gateway without the key a sealed greeting is garbage, and the other way round; others go on."""
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(rsa_pem())
    with opend_simulator("--symbols", 2) as plain, opend_simulator("--symbols", 2, "--rsa-key", str(key_file)) as keyed:
        assert first_answer(plain.port, greeting_frame(algorithm=2, seal=True)) is None
        assert first_answer(keyed.port, greeting_frame(algorithm=-1, seal=False)) is None
        for port, algorithm, seal in ((plain.port, -1, False), (keyed.port, -1, True), (keyed.port, 2, True)):
            answer = first_answer(port, greeting_frame(algorithm=algorithm, seal=seal))
            assert answer is not None
            body = RSA.open(answer[2]) if algorithm == 2 else answer[2]
            assert init_connect_pb2.InitConnectResponse.FromString(body).retType == 0


def test_of_129_connections_one_is_refused_until_another_ends() -> None:
    with opend_simulator("--symbols", 2) as simulator:
        crowd = [WireClient(simulator.port) for _ in range(CONNECTIONS_MAX)]
        assert all(client.init_connect().retType == 0 for client in crowd)
        late = WireClient(simulator.port)
        reply = late.init_connect()
        assert (reply.retType, f"{CONNECTIONS_MAX} connections" in reply.retMsg) == (-1, True)
        alive = keep_alive_pb2.KeepAliveRequest(c2s=keep_alive_pb2.KeepAliveC2S(time=1))
        replied = crowd[0].call(ProtoId.KEEP_ALIVE, alive, keep_alive_pb2.KeepAliveResponse)
        assert replied.retType == 0, "those that are there go on"
        crowd.pop().close()
        while late.init_connect().retType != 0:  # until the simulator has seen the end of that one
            pass
        for client in (*crowd, late):
            client.close()


def test_requests_are_answered_in_their_own_format(market: Market) -> None:
    calls = Calls(market, Encoder(market.listings, market.store.rings, 50), seed=1, quota=9)
    client = calls.connect()
    said = b'{"c2s": {"clientVer": 300, "clientID": "test", "pushProtoFmt": 1}}'
    answer = calls.answer(client, ProtoId.INIT_CONNECT, 1, said, 0.0, BodyFormat.JSON)
    assert answer is not None
    body = client.wire.dress(answer.frame, BodyFormat.JSON)[HEADER_BYTES:]
    assert json.loads(body)["s2c"]["loginUserID"] == "10000001", "64-bit integers are strings"
    for nonsense in (b"{", b'{"c2s": 1}', b"[]"):
        answer = calls.answer(client, ProtoId.KEEP_ALIVE, 2, nonsense, 0.0, BodyFormat.JSON)
        assert answer is not None
        reply = keep_alive_pb2.KeepAliveResponse.FromString(answer.frame[HEADER_BYTES:])
        assert (reply.retType, "does not decode" in reply.retMsg) == (-1, True)
