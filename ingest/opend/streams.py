"""A connection to an OpenD for visits: read and written by turns, on either port."""

from __future__ import annotations

import asyncio
from typing import Protocol

from codec.opend.protocol import FRAME_BYTES_MAX, HEADER_BYTES
from ingest.opend.encryption import WireMode
from ingest.opend.front import WebSocketPort
from ingest.opend.websocket_transport import OpenDWebSocket
from ingest.receive_buffer import ReceiveBuffer


class Stream(Protocol):
    """Frames as bytes, wherever they are cut."""

    async def read(self, count: int) -> bytes:
        """At most so many; empty at the end. Raises OSError."""

    def write(self, data: bytes) -> None:
        """Send whole frames."""

    def abort(self) -> None:
        """End it at once."""


async def open_stream(host: str, port: int, wire: WireMode) -> Stream:
    """Connect. Raises OSError."""
    if wire.websocket is None:
        return _TcpStream(*await asyncio.open_connection(host, port))
    stream = _WebSocketStream(wire.websocket)
    await stream.connect()
    return stream


class _TcpStream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, count: int) -> bytes:
        return await self._reader.read(count)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def abort(self) -> None:
        self._writer.transport.abort()


class _WebSocketStream:
    def __init__(self, port: WebSocketPort) -> None:
        self._reader = asyncio.StreamReader()
        buffer = ReceiveBuffer(capacity_max=2 * (FRAME_BYTES_MAX + HEADER_BYTES))
        self._transport = OpenDWebSocket(self, buffer, port, body_bytes_max=FRAME_BYTES_MAX)

    async def connect(self) -> None:
        await self._transport.connect()

    async def read(self, count: int) -> bytes:
        return await self._reader.read(count)

    def write(self, data: bytes) -> None:
        self._transport.send(data)

    def abort(self) -> None:
        self._transport.close()

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        self._reader.feed_data(buffer.data[buffer.start : buffer.stop].tobytes())
        buffer.start = buffer.stop

    def ended(self, reason: str) -> None:
        self._reader.set_exception(ConnectionError(reason))
