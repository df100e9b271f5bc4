"""OpenD's WebSocket front as a session is to see it: an OpenD on TCP (docs/protocols/opend.md 11).

What the session asks becomes packets, and what is not usual among the answers becomes frames here;
the usual ones a kernel turns where they lie. No socket, no clock.

Rule 1: InitConnect is answered only when the front has taken the key, and OpenD has said who is logged in.
Rule 2: KeepAlive does not exist on this port. GetGlobalState goes out in its place, because a WebSocket's pong
says nothing of what is behind the front; any answer to it is one.
Rule 3: the front's errors become OpenD's own way to say the same; without a link to OpenD the front is of no use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError, Message

from codec.opend.protocol import HEADER, HEADER_BYTES, MAGIC, ProtoId, pack_frame
from codec.opend.websocket_packets import REPLY_HEADER, SERIAL_MAX, SIGN, Command, FrontError, key_digest, pack_request
from protos.opend import (
    global_state_pb2,
    init_connect_pb2,
    init_web_socket_pb2,
    keep_alive_pb2,
    notify_pb2,
    user_info_pb2,
)

KEEP_ALIVE_S = 10
"""As OpenD asks for on TCP."""
RET_FAILED, RET_TIMED_OUT, RET_DISCONNECTED = -1, -100, -200
"""Common.RetType."""
_CONN_STATUS = 3
"""NotifyType."""

_ERRORS: dict[int, tuple[int, str]] = {
    FrontError.NO_REPLY: (RET_TIMED_OUT, "the WebSocket front had no answer from OpenD in time"),
    FrontError.OPEND_TIMED_OUT: (RET_TIMED_OUT, "OpenD itself had no answer in time"),
    FrontError.LINK_LOST: (RET_DISCONNECTED, "the WebSocket front has no link to OpenD"),
}
_WHO, _ALIVE = SERIAL_MAX + 1, SERIAL_MAX + 2
"""Sections of our own: GetUserInfo and GetGlobalState while the session waits for its greeting, and GetGlobalState
in place of KeepAlive. No serial is like them."""


@dataclass(frozen=True, slots=True)
class WebSocketPort:
    """Where OpenD's WebSocket port is, and the key to it."""

    url: str
    key: str = field(default="", repr=False)


class Front:
    """One connection to the WebSocket port.

    Attributes
    ----------
    packets : to be sent, each as a message of its own; taken by whoever sends them
    link_lost : whether the front said that it has no link to OpenD where it should have answered
    """

    def __init__(self, port: WebSocketPort) -> None:
        self.packets: list[bytes] = []
        self.link_lost = False
        self._key = port.key
        self._greeting = 0
        self._connection_id = 0
        self._who: dict[ProtoId, Message | None] = {}
        self._user_id = 0
        self._alive: tuple[int, int] | None = None
        """Serial and time of the KeepAlive that waits."""

    def ask(self, frames: bytes) -> None:
        """Queue what the session sends: whole plain frames."""
        at = 0
        while at < len(frames):
            _, proto_id, _, _, serial, body_bytes, _, _ = HEADER.unpack_from(frames, at)
            body = frames[at + HEADER_BYTES : at + HEADER_BYTES + body_bytes]
            at += HEADER_BYTES + body_bytes
            match proto_id:
                case ProtoId.INIT_CONNECT:
                    self._greet(serial, body)
                case ProtoId.KEEP_ALIVE:
                    self._alive = serial, keep_alive_pb2.KeepAliveRequest.FromString(body).c2s.time
                    self.packets.append(_state_request(_ALIVE, self._user_id))
                case _:
                    self.packets.append(pack_request(proto_id, serial, body))

    def unusual(self, packet: bytes) -> bytes:
        """The frames that a packet is to the session which the kernel left as it is; empty for none."""
        if len(packet) < HEADER_BYTES or not packet.startswith(SIGN):
            return _garbage(packet)
        _, command, section, error, text = REPLY_HEADER.unpack_from(packet)
        body = packet[HEADER_BYTES:]
        said = text.rstrip(b"\0").decode(errors="replace")
        if command == Command.LINK_LOST:
            return _link_lost()
        if command == Command.INIT:
            return self._greeted(section, body, error, said)
        self.link_lost = self.link_lost or error == FrontError.LINK_LOST
        if section == _WHO:
            return b"".join(self._told(command, body if error == 0 else b""))
        if section == _ALIVE:
            return b"".join(self._still_alive())
        serial = section if section <= SERIAL_MAX else 0
        if error == 0:
            return pack_frame(command, serial, body)
        ret_type, meaning = _ERRORS.get(error, (RET_FAILED, f"the WebSocket front answers error {error}"))
        return _answer(command, serial, ret_type, f"{meaning}: {said}" if said else meaning)

    def _greet(self, serial: int, body: bytes) -> None:
        asked = init_connect_pb2.InitConnectRequest.FromString(body).c2s
        c2s = init_web_socket_pb2.InitWebSocketC2S(
            websocketKey=key_digest(self._key),
            clientID=asked.clientID,
            programmingLanguage=asked.programmingLanguage,
        )
        request = init_web_socket_pb2.InitWebSocketRequest(c2s=c2s)
        self._greeting = serial
        self.packets.append(pack_request(Command.INIT, serial, request.SerializeToString()))

    def _greeted(self, section: int, body: bytes, error: int, said: str) -> bytes:
        """The front's answer to the key; nothing of its body gets into a text."""
        if section != self._greeting or self._who:
            return b""
        response = init_web_socket_pb2.InitWebSocketResponse(retType=RET_FAILED)
        if error == 0 and body:
            try:
                response.ParseFromString(body)
            except DecodeError:
                response.Clear()
                said = "its answer cannot be read"
            said = said or response.retMsg
        if response.retType != 0:
            hint = f"{said or f'error {error}'}; is websocket_key the key of this port?"
            _, why = _ERRORS.get(error, (0, hint))
            return _answer(ProtoId.INIT_CONNECT, section, RET_FAILED, why)
        self._connection_id = response.s2c.connID
        user = user_info_pb2.GetUserInfoRequest(c2s=user_info_pb2.GetUserInfoC2S())
        self._who = {ProtoId.GET_USER_INFO: None, ProtoId.GET_GLOBAL_STATE: None}
        self.packets.append(pack_request(ProtoId.GET_USER_INFO, _WHO, user.SerializeToString()))
        self.packets.append(_state_request(_WHO, 0))
        return b""

    def _told(self, command: int, body: bytes) -> Iterator[bytes]:
        """Who is logged in, or that OpenD does not say; with both answers there the session is greeted."""
        kinds: dict[int, type[Message]] = {
            ProtoId.GET_USER_INFO: user_info_pb2.GetUserInfoResponse,
            ProtoId.GET_GLOBAL_STATE: global_state_pb2.GetGlobalStateResponse,
        }
        if command not in kinds or self._who.get(ProtoId(command), True):
            return
        reply = kinds[command]()
        try:
            reply.ParseFromString(body)
        except DecodeError:
            reply.Clear()
        self._who[ProtoId(command)] = reply
        user, state = self._who[ProtoId.GET_USER_INFO], self._who[ProtoId.GET_GLOBAL_STATE]
        if user is None or state is None:
            return
        assert isinstance(user, user_info_pb2.GetUserInfoResponse)
        assert isinstance(state, global_state_pb2.GetGlobalStateResponse)
        self._user_id = max(user.s2c.userID, 0)
        s2c = init_connect_pb2.InitConnectS2C(
            serverVer=state.s2c.serverVer,
            loginUserID=self._user_id,
            connID=self._connection_id,
            connAESKey="",
            keepAliveInterval=KEEP_ALIVE_S,
        )
        accepted = init_connect_pb2.InitConnectResponse(retType=0, s2c=s2c)
        yield pack_frame(ProtoId.INIT_CONNECT, self._greeting, accepted.SerializeToString())

    def _still_alive(self) -> Iterator[bytes]:
        if self._alive is not None:
            (serial, time_s), self._alive = self._alive, None
            reply = keep_alive_pb2.KeepAliveResponse(retType=0, s2c=keep_alive_pb2.KeepAliveS2C(time=time_s))
            yield pack_frame(ProtoId.KEEP_ALIVE, serial, reply.SerializeToString())


def _state_request(section: int, user_id: int) -> bytes:
    c2s = global_state_pb2.GetGlobalStateC2S(userID=user_id)
    body = global_state_pb2.GetGlobalStateRequest(c2s=c2s).SerializeToString()
    return pack_request(ProtoId.GET_GLOBAL_STATE, section, body)


def _answer(proto_id: int, serial: int, ret_type: int, text: str) -> bytes:
    """A refusal: its fields are the same in every call's response."""
    refusal = keep_alive_pb2.KeepAliveResponse(retType=ret_type, retMsg=text)
    return pack_frame(proto_id, serial, refusal.SerializeToString())


def _link_lost() -> bytes:
    """What OpenD says when it has no quotes for us: the session then asks how it is."""
    link = notify_pb2.NotifyConnectStatus(qotLogined=False, trdLogined=False)
    notice = notify_pb2.NotifyResponse(retType=0, s2c=notify_pb2.NotifyS2C(type=_CONN_STATUS, connectStatus=link))
    return pack_frame(ProtoId.NOTIFY, 0, notice.SerializeToString())


def _garbage(packet: bytes) -> bytes:
    """What is no packet, so that the decoder says so: it must not look like a frame, nor be too short to be judged."""
    return packet if len(packet) >= len(MAGIC) and not packet.startswith(MAGIC) else bytes(len(MAGIC)) + packet
