"""Plain protobuf frames as an OpenD sends them in each mode; made by pycryptodome and protobuf's own JSON."""

from __future__ import annotations

import hashlib

from Crypto.Cipher import AES, PKCS1_v1_5
from Crypto.PublicKey import RSA
from Crypto.Util.Padding import pad, unpad
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError, Message

from codec.opend.cipher import RsaCipher
from codec.opend.protocol import HEADER, HEADER_BYTES, BodyFormat, ProtoId
from ingest.opend.encryption import WireMode
from protos.opend import (
    global_state_pb2,
    init_connect_pb2,
    keep_alive_pb2,
    notify_pb2,
    subscription_pb2,
    ticker_pb2,
)
from tests.ingest import wire
from tests.ingest.scripted_opend import Peer
from tests.support.keys import rsa_pem
from tests.support.sdk import aes_of, is_json

_RESPONSES: dict[int, type[Message]] = {
    ProtoId.INIT_CONNECT: init_connect_pb2.InitConnectResponse,
    ProtoId.GET_GLOBAL_STATE: global_state_pb2.GetGlobalStateResponse,
    ProtoId.NOTIFY: notify_pb2.NotifyResponse,
    ProtoId.KEEP_ALIVE: keep_alive_pb2.KeepAliveResponse,
    ProtoId.SUB: subscription_pb2.SubResponse,
    ProtoId.GET_TICKER: ticker_pb2.GetTickerResponse,
    ProtoId.UPDATE_TICKER: ticker_pb2.UpdateTickerResponse,
}
_RSA = RsaCipher(rsa_pem())


def undress(mode: str, proto_id: int, body: bytes) -> bytes:
    """The plain body of a request that travelled in `mode`, as an OpenD reads it."""
    aes = aes_of(mode)
    if aes is None:
        return body
    if proto_id == ProtoId.INIT_CONNECT:
        cipher = PKCS1_v1_5.new(RSA.import_key(rsa_pem()))
        return b"".join(cipher.decrypt(body[at : at + 128], b"") for at in range(0, len(body), 128))
    if aes == "cbc":
        return unpad(AES.new(wire.SECRET.encode(), AES.MODE_CBC, wire.VECTOR.encode()).decrypt(body), 16)
    padded = AES.new(wire.SECRET.encode(), AES.MODE_ECB).decrypt(body[:-16])
    return padded[: len(padded) - (16 - body[-1]) % 16]


class DressedPeer(Peer):
    """A Peer that speaks `mode`, protobuf bodies only; `send_as_is` sends bytes that are dressed already."""

    def __init__(self, peer: Peer, mode: str) -> None:
        super().__init__(peer._reader, peer._writer, peer.exchange, peer.asked)
        self._mode = mode

    async def heard(self) -> tuple[int, int, bytes]:
        proto_id, serial, body = await super().heard()
        return proto_id, serial, undress(self._mode, proto_id, body)

    def send(self, *frames: bytes) -> None:
        super().send(dress(self._mode, b"".join(frames)))

    def send_as_is(self, data: bytes) -> None:
        super().send(data)


def wire_mode(mode: str) -> WireMode:
    """What a client of ours in `mode` is configured with."""
    body_format = BodyFormat.JSON if is_json(mode) else BodyFormat.PROTOBUF
    return WireMode(body_format, _RSA if aes_of(mode) else None)


def accept_frame(mode: str) -> bytes:
    """InitConnect accepted, dressed; the keys are `wire.SECRET` and `wire.VECTOR`."""
    return dress(mode, wire.accept_frame(vector=wire.VECTOR if aes_of(mode) == "cbc" else None))


def dress(mode: str, frames: bytes) -> bytes:
    """Whole frames as they travel in `mode`; what is no frame at their end goes as it is."""
    dressed, at = b"", 0
    while len(frames) - at >= HEADER_BYTES:
        magic, proto_id, body_format, version, serial, body_bytes, digest, rest = HEADER.unpack_from(frames, at)
        end = at + HEADER_BYTES + body_bytes
        if magic != b"FT" or end > len(frames):
            break
        body, at = frames[at + HEADER_BYTES : end], end
        is_text = is_json(mode) and body and body_format == BodyFormat.PROTOBUF
        if is_text and (said := _said(proto_id, body)) is not None:
            is_sound = hashlib.sha1(body).digest() == digest
            body, body_format = said, BodyFormat.JSON
            digest = hashlib.sha1(body).digest() if is_sound else digest
        sent = seal(mode, proto_id, body) if body else body
        dressed += HEADER.pack(magic, proto_id, body_format, version, serial, len(sent), digest, rest) + sent
    return dressed + frames[at:]


def seal(mode: str, proto_id: int, body: bytes) -> bytes:
    """One body, encrypted as the mode and the call want."""
    aes, key = aes_of(mode), wire.SECRET.encode()
    if aes is None:
        return body
    if proto_id == ProtoId.INIT_CONNECT:
        cipher = PKCS1_v1_5.new(RSA.import_key(rsa_pem()))
        return b"".join(cipher.encrypt(body[at : at + 100]) for at in range(0, len(body), 100))
    if aes == "cbc":
        return AES.new(key, AES.MODE_CBC, wire.VECTOR.encode()).encrypt(pad(body, 16))
    rest = len(body) % 16
    padded = body + bytes(16 - rest if rest else 0)
    return AES.new(key, AES.MODE_ECB).encrypt(padded) + bytes(15) + bytes([rest])


def _said(proto_id: int, body: bytes) -> bytes | None:
    """The body in JSON; None for what is no message."""
    try:
        return MessageToJson(_RESPONSES[proto_id].FromString(body)).encode()
    except (KeyError, DecodeError, ValueError):
        return None
