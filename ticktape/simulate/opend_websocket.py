"""The simulated OpenD's WebSocket port: a front that takes the key, and is a client of the same market.

Behind it stands a `Connection` like any other, which thinks that it writes frames to a socket: whatever
it does on purpose, it does here too. A connection that it aborts is a link that the front has lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import structlog
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from codec.opend.protocol import FRAME_BYTES_MAX, HEADER, HEADER_BYTES, ProtoId, pack_frame
from codec.opend.websocket_packets import (
    REPLY_HEADER,
    REQUEST_HEADER,
    SERIAL_MAX,
    SIGN,
    Command,
    FrontError,
    key_digest,
)
from protos.opend import init_connect_pb2, init_web_socket_pb2
from ticktape.simulate.opend_connection import WRITE_BUFFER_BYTES_MAX, Connection

REFUSED = -1
"""The header's error of a login that fails; which number the real one gives is not documented."""
_PUSHES = frozenset({ProtoId.NOTIFY, ProtoId.UPDATE_TICKER})

_log = structlog.get_logger(__name__)


class FrontClient(asyncio.Protocol):
    """One client of the WebSocket port.

    Parameters
    ----------
    key : what a client must know, as text; empty: nothing
    make_connection : to the market, once somebody has logged in
    """

    def __init__(self, key: str, make_connection: Callable[[], Connection]) -> None:
        self._digest = key_digest(key)
        self._make_connection = make_connection
        self._link: _Link | None = None
        self._gathered = b""
        self._transport: asyncio.Transport
        self._web = ServerProtocol(max_size=FRAME_BYTES_MAX)
        self._web.debug = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)

    def connection_lost(self, error: Exception | None) -> None:
        if self._link is not None:
            self._link.end(error)

    def pause_writing(self) -> None:
        if self._link is not None:
            self._link.connection.pause_writing()

    def resume_writing(self) -> None:
        if self._link is not None:
            self._link.connection.resume_writing()

    def data_received(self, data: bytes) -> None:
        self._web.receive_data(data)
        for event in self._web.events_received():
            if isinstance(event, Request):
                self._web.send_response(self._web.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._gathered += event.data
                if event.fin:
                    packet, self._gathered = self._gathered, b""
                    self._packet(packet)
        self._flush()

    def eof_received(self) -> None:
        self._web.receive_eof()

    def reply(self, command: int, section: int, body: bytes = b"", error: int = 0, text: str = "") -> None:
        """Send one packet."""
        if self._transport.is_closing() or self._web.close_expected():
            return
        self._web.send_binary(REPLY_HEADER.pack(SIGN, command, section, error, text.encode()) + body)
        self._flush()

    def break_inside(self, packet: bytes) -> None:
        """Send the beginning of a packet whose message says that it is longer, and close."""
        if not self._transport.is_closing():
            self._transport.write(b"\x82\x7f" + (len(packet) + 1).to_bytes(8, "big") + packet)
            self._transport.close()

    def goodbye(self) -> None:
        """Send what is waiting, then close."""
        if not self._transport.is_closing() and not self._web.close_expected():
            self._web.send_close(CloseCode.GOING_AWAY)
            self._flush()
        self._transport.close()

    def _flush(self) -> None:
        for data in self._web.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()

    def _packet(self, packet: bytes) -> None:
        if len(packet) < REQUEST_HEADER.size or not packet.startswith(SIGN):
            _log.warning("not a packet, closing")
            self._web.fail(CloseCode.PROTOCOL_ERROR, "not a packet")
            return
        _, command, section = REQUEST_HEADER.unpack_from(packet)
        body = packet[REQUEST_HEADER.size :]
        if command == Command.INIT:
            self._login(section, body)
        elif self._link is None:
            self.reply(command, section, error=REFUSED, text="log in first")
        elif self._link.lost:
            self.reply(command, section, error=FrontError.LINK_LOST, text="no link to OpenD")
        else:
            self._link.ask(command, section, body)

    def _login(self, section: int, body: bytes) -> None:
        told = init_web_socket_pb2.InitWebSocketRequest.FromString(body).c2s.websocketKey
        if self._digest and told != self._digest:
            _log.warning("a client has another key")
            self.reply(Command.INIT, section, error=REFUSED, text="wrong websocketKey")
            return
        if self._link is not None:
            self._link.end(None)
        self._link = _Link(self, self._make_connection())
        self._link.begin()
        if self._link.lost:
            self.reply(Command.INIT, section, error=FrontError.LINK_LOST, text="no link to OpenD")
            return
        c2s = init_connect_pb2.InitConnectC2S(clientVer=0, clientID="front", recvNotify=True, packetEncAlgo=-1)
        request = init_connect_pb2.InitConnectRequest(c2s=c2s)
        self._link.ask(ProtoId.INIT_CONNECT, section, request.SerializeToString())


class _Link:
    """The front's way to OpenD: a transport to the `Connection`, which writes frames to it.

    Attributes
    ----------
    lost : whether it is gone, and the client is told so
    """

    def __init__(self, front: FrontClient, connection: Connection) -> None:
        self.connection = connection
        self.lost = False
        self._front = front
        self._serial = 0
        self._sections: dict[int, int] = {}
        self._written = bytearray()

    def begin(self) -> None:
        self.connection.connection_made(cast(asyncio.BaseTransport, self))

    def ask(self, command: int, section: int, body: bytes) -> None:
        """Hand a request to OpenD."""
        self._serial = self._serial % SERIAL_MAX + 1
        self._sections[self._serial] = section
        self.connection.data_received(pack_frame(command, self._serial, body))

    def end(self, error: Exception | None) -> None:
        """There is nobody there any more."""
        if not self.lost:
            self.lost = True
            self.connection.connection_lost(error)

    # What the connection takes for its transport.

    def set_write_buffer_limits(self, high: int) -> None:
        """The front's own socket has them."""

    def is_closing(self) -> bool:
        return self.lost

    def write(self, data: bytes) -> None:
        self._written += data
        at = 0
        while len(self._written) - at >= HEADER_BYTES:
            _, proto_id, _, _, serial, body_bytes, _, _ = HEADER.unpack_from(self._written, at)
            end = at + HEADER_BYTES + body_bytes
            if len(self._written) < end:
                break
            self._frame(proto_id, serial, bytes(self._written[at + HEADER_BYTES : end]))
            at = end
        del self._written[:at]

    def close(self) -> None:
        """The connection wants no more; what it wrote of a frame breaks off inside a message."""
        if self._written:
            self._front.break_inside(bytes(self._written))
        else:
            self._front.goodbye()

    def abort(self) -> None:
        """OpenD drops the front, whose client stays and is told."""
        if not self.lost:
            self.end(None)
            self._front.reply(Command.LINK_LOST, 0)

    def _frame(self, proto_id: int, serial: int, body: bytes) -> None:
        if proto_id in _PUSHES:
            self._front.reply(proto_id, 0, body)
            return
        section = self._sections.pop(serial)
        if proto_id != ProtoId.INIT_CONNECT:
            self._front.reply(proto_id, section, body)
            return
        response = init_connect_pb2.InitConnectResponse.FromString(body)
        if response.retType != 0:
            self._front.reply(Command.INIT, section, error=REFUSED, text=response.retMsg[:20])
            return
        s2c = init_web_socket_pb2.InitWebSocketS2C(serverTime=int(time.time()), connID=response.s2c.connID)
        greeting = init_web_socket_pb2.InitWebSocketResponse(retType=0, s2c=s2c)
        self._front.reply(Command.INIT, section, greeting.SerializeToString())
