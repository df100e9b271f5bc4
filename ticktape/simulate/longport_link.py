"""One client of the simulated LongPort, over TCP or WebSocket: packets in, packets out.

What goes out is written straight to the transport in both cases; aiohttp reads WebSocket messages, and
writes nothing once a connection stands (docs/protocols/longport.md 1).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from codec.longport.protocol import HANDSHAKE, Command, PacketType
from protos.longport.control_pb2 import Close, Heartbeat
from ticktape.simulate.faults import SPLIT, Faults
from ticktape.simulate.longport_calls import Calls, Client
from ticktape.simulate.longport_faults import COALESCE, Dresser
from ticktape.simulate.longport_packets import BadPacket, Packets, Received, pack_heartbeat, pack_push, read_packet
from ticktape.simulate.outlet import Outlet

HEARTBEAT_EVERY_S = 30.0
SILENCE_S_MAX = 120.0
"""A client that sends nothing for so long, no heartbeat either, is closed."""

_PING, _PONG, _CLOSE = 0x89, 0x8A, 0x88

_log = structlog.get_logger(__name__)


class Link(ABC):
    """A connection: answers what comes in, and sends.

    Attributes
    ----------
    client : who it is to `Calls`
    outlet : what writes for it
    closed : done once the connection is gone
    """

    outlet: Outlet

    def __init__(
        self, calls: Calls, faults: Faults, *, joined: Callable[[Link], None], left: Callable[[Link], None]
    ) -> None:
        self._calls, self._faults, self._joined, self._left = calls, faults, joined, left
        self._loop = asyncio.get_running_loop()
        self._dresser = Dresser(faults)
        self._answering: set[asyncio.TimerHandle] = set()
        self._heard_s = self._beaten_s = self._loop.time()
        self.client: Client = calls.connect()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @abstractmethod
    def _form(self, packets: Packets) -> bytes:
        """Packets as they travel here."""

    @abstractmethod
    def _heartbeat(self) -> None:
        """Ask whether the client is there."""

    @abstractmethod
    def close(self, code: Close.Code, reason: str, *, ws_code: int = WSCloseCode.GOING_AWAY) -> None:
        """Say why, and close."""

    @abstractmethod
    def close_frame(self, ws_code: int) -> None:
        """Close with a WebSocket code and no packet; over TCP without a word."""

    def opened(self, transport: asyncio.Transport) -> None:
        """The transport stands."""
        strength = self._faults.strength
        self.outlet = Outlet(
            transport,
            self._faults.random(SPLIT),
            pause_share=strength.get(SPLIT, 0.0),
            wait_s=strength.get(COALESCE, 0.0),
        )
        _log.info("client connected", connection=self.client.connection)
        self._joined(self)

    def lost(self) -> None:
        """The transport is gone."""
        for handle in self._answering:
            handle.cancel()
            self._calls.account.in_flight -= 1
        self._answering.clear()
        self.outlet.forget()
        self._calls.disconnect(self.client)
        self._left(self)
        self.closed.set_result(None)
        _log.info("client gone", connection=self.client.connection)

    def send(self, packets: Packets) -> None:
        """Send packets, dressed as the faults have it."""
        if len(packets):
            self.outlet.write(self._form(self._dresser.packets(packets)))

    def send_packet(self, packet: bytes) -> None:
        """Send one packet that is not a trade's."""
        self.outlet.write(self._form(Packets.joined([self._dresser.packet(packet)])))

    def break_off(self, packets: Packets, at: int) -> None:
        """Close the line behind `at` bytes of the first of these packets, on the wire."""
        data = self._form(packets.only(packets.symbol == packets.symbol[0]))
        self.outlet.close(data[: max(1, at % len(data))])

    def tick(self, now_s: float) -> None:
        """Heartbeats, and the client's silence; `now_s` is the loop's time."""
        if now_s - self._heard_s > SILENCE_S_MAX:
            self.close(Close.HEARTBEAT_TIMEOUT, "no heartbeat")
        elif now_s - self._beaten_s >= HEARTBEAT_EVERY_S:
            self._beaten_s = now_s
            self._heartbeat()

    def heard(self) -> None:
        """Something came."""
        self._heard_s = self._loop.time()

    def received(self, packet: Received) -> None:
        """A whole packet came."""
        if packet.packet_type == PacketType.RESPONSE:
            return  # to a heartbeat of ours
        answer = self._calls.answer(self.client, packet.command, packet.request_id, packet.body, time.time())
        if answer.delay_s == 0:
            self.send_packet(answer.packet)
            return

        def send_now() -> None:
            self._answering.discard(handle)
            self._calls.account.in_flight -= 1
            self.send_packet(answer.packet)

        self._calls.account.in_flight += 1
        handle = self._loop.call_later(answer.delay_s, send_now)
        self._answering.add(handle)

    def unpackable(self, error: BadPacket) -> None:
        """What came is no packet."""
        _log.warning("closing", connection=self.client.connection, error=str(error))
        self.close(Close.UNPACK_ERROR, str(error))


class TcpLink(Link, asyncio.Protocol):
    """Over TCP: a stream of packets behind two bytes of handshake."""

    def __init__(
        self, calls: Calls, faults: Faults, *, joined: Callable[[Link], None], left: Callable[[Link], None]
    ) -> None:
        super().__init__(calls, faults, joined=joined, left=left)
        self._received = bytearray()
        self._greeted = False
        self._heartbeats = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.opened(cast(asyncio.Transport, transport))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost()

    def data_received(self, data: bytes) -> None:
        self.heard()
        self._received += data
        if not self._greeted:
            if len(self._received) < len(HANDSHAKE):
                return
            if not _is_handshake(self._received):
                self.outlet.close()
                return
            self._greeted = True
            del self._received[: len(HANDSHAKE)]
        at = 0
        try:
            while not self.outlet.is_closing and (packet := read_packet(self._received, at)) is not None:
                at += packet.size_bytes
                self.received(packet)
        except BadPacket as error:
            self.unpackable(error)
        del self._received[:at]

    def close(self, code: Close.Code, reason: str, *, ws_code: int = WSCloseCode.GOING_AWAY) -> None:
        self.outlet.close(_close_packet(code, reason))

    def close_frame(self, ws_code: int) -> None:
        self.outlet.close()

    def _form(self, packets: Packets) -> bytes:
        return packets.stream()

    def _heartbeat(self) -> None:
        self._heartbeats += 1
        self.send_packet(pack_heartbeat(self._heartbeats, _heartbeat_body(self._heartbeats)))


class WsLink(Link):
    """Over WebSocket: each packet is one binary message, heartbeats are pings."""

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Until either side closes."""
        socket = web.WebSocketResponse(compress=False, autoping=False, autoclose=False)
        await socket.prepare(request)
        assert request.transport is not None, "prepared"
        self.opened(request.transport)
        try:
            async for message in socket:
                self.heard()
                if message.type == WSMsgType.PING:
                    self.outlet.write(_control_frame(_PONG, message.data))
                elif message.type == WSMsgType.BINARY:
                    self._message(message.data)
                elif message.type != WSMsgType.PONG:
                    break
        finally:
            self.outlet.close(_close_frame(WSCloseCode.OK))
            self.lost()
        return socket

    def close(self, code: Close.Code, reason: str, *, ws_code: int = WSCloseCode.GOING_AWAY) -> None:
        packet = Packets.joined([_close_packet(code, reason)])
        self.outlet.close(packet.messages() + _close_frame(ws_code, reason))

    def close_frame(self, ws_code: int) -> None:
        self.outlet.close(_close_frame(ws_code))

    def _message(self, data: bytes) -> None:
        try:
            packet = read_packet(data, 0)
            if packet is None or packet.size_bytes != len(data):
                raise BadPacket("a message that is not one packet")
            self.received(packet)
        except BadPacket as error:
            self.unpackable(error)

    def _form(self, packets: Packets) -> bytes:
        return packets.messages()

    def _heartbeat(self) -> None:
        self.outlet.write(_control_frame(_PING, _heartbeat_body(0)))


def _is_handshake(received: bytearray) -> bool:
    """Version 1, protobuf, platform OpenAPI; the reserved half of the second byte is ignored."""
    return received[0] == HANDSHAKE[0] and received[1] & 0x0F == HANDSHAKE[1]


def _heartbeat_body(number: int) -> bytes:
    return Heartbeat(timestamp=time.time_ns() // 1_000_000, heartbeat_id=number).SerializeToString()


def _close_packet(code: Close.Code, reason: str) -> bytes:
    return pack_push(Command.CLOSE, Close(code=code, reason=reason).SerializeToString())


def _close_frame(code: int, reason: str = "") -> bytes:
    return _control_frame(_CLOSE, code.to_bytes(2, "big") + reason.encode()[:123])


def _control_frame(kind: int, payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes((kind, len(payload))) + payload
