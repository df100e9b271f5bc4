"""The byte pipe: one TCP connection received into a preallocated buffer. Knows no protocol."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

from ingest.receive_buffer import ReceiveBuffer

SEND_BUFFER_BYTES_MAX = 1 << 20


class TransportOwner(Protocol):
    """Who gets the bytes. Declared by the transport, implemented by a connection."""

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        """Bytes were added to `buffer` at `recv_ns`, unix ns; read from it and move its `start`."""

    def ended(self, reason: str) -> None:
        """Nothing more comes, and nothing can be sent."""


class TcpTransport(asyncio.BufferedProtocol):
    """Receives into `buffer` and hands it to `owner` after each read."""

    def __init__(self, owner: TransportOwner, buffer: ReceiveBuffer) -> None:
        self._owner = owner
        self._buffer = buffer
        self._transport: asyncio.Transport | None = None
        self._paused = False

    async def connect(self, host: str, port: int) -> None:
        """Connect. Raises OSError."""
        await asyncio.get_running_loop().create_connection(lambda: self, host, port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one only in shape

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer.free()

    def buffer_updated(self, nbytes: int) -> None:
        recv_ns = time.time_ns()
        self._buffer.filled(nbytes)
        self._owner.received(self._buffer, recv_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.ended(f"the connection broke: {exc}" if exc else "the gateway closed the connection")

    def send(self, data: bytes) -> None:
        """Send `data`, in order; a gateway that takes nothing for 1 MiB of requests is cut off."""
        if self._transport is None or not data:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > SEND_BUFFER_BYTES_MAX:
            self._transport.abort()

    def pause(self) -> None:
        """Read nothing until `resume`; TCP then slows the sender."""
        if not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    def resume(self) -> None:
        """Undo `pause`."""
        if self._paused and self._transport is not None:
            self._transport.resume_reading()
            self._paused = False

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
