"""OpenD's WebSocket port as a byte pipe of the TCP port's frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.opend.protocol import HEADER_BYTES
from codec.opend.websocket_packets import frames_from_packets
from ingest.opend.front import Front, WebSocketPort
from ingest.receive_buffer import ReceiveBuffer
from ingest.transport import TransportOwner
from ingest.websocket import WebSocketTransport


class OpenDWebSocket:
    """A `TcpTransport` to its owner. `buffer` holds frames, each whole and without a SHA-1."""

    def __init__(
        self, owner: TransportOwner, buffer: ReceiveBuffer, port: WebSocketPort, *, body_bytes_max: int
    ) -> None:
        self._owner = owner
        self._buffer = buffer
        self._port = port
        self._front = Front(port)
        self._transport = WebSocketTransport(self, buffer, message_bytes_max=body_bytes_max + HEADER_BYTES)

    async def connect(self) -> None:
        """Open the WebSocket. Raises HandshakeFailed or OSError."""
        await self._transport.connect(self._port.url)

    def send(self, data: bytes) -> None:
        """Send whole plain frames, as what the port has for them."""
        self._front.ask(data)
        self._flush()

    def pause(self) -> None:
        """Read nothing until `resume`; TCP then slows the sender."""
        self._transport.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self._transport.resume()

    def close(self) -> None:
        """End the connection at once."""
        self._transport.close()

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        """Packets were added to the buffer: make frames of them."""
        start, ends = self._transport.message_start, self._transport.message_ends
        added = b"".join(self._translate(buffer, start, ends))
        room = buffer.free(len(added))
        room[: len(added)] = added
        buffer.filled(len(added))
        self._flush()
        if buffer.start < buffer.stop:
            self._owner.received(buffer, recv_ns)
        if self._front.link_lost:
            self._transport.close()
            self._owner.ended("the WebSocket front has lost its link to OpenD")

    def ended(self, reason: str) -> None:
        self._owner.ended(reason)

    def _translate(self, buffer: ReceiveBuffer, start: int, ends: NDArray[np.int64]) -> list[bytes]:
        """Make frames of the packets from `start` on; of what is not usual they come back, to be added behind."""
        more: list[bytes] = []
        index, at, into_at = frames_from_packets(buffer.data, start, ends, 0, start)
        while index < len(ends):
            end = int(ends[index])
            more.append(self._front.unusual(buffer.data[at:end].tobytes()))
            index, at, into_at = frames_from_packets(buffer.data, end, ends, index + 1, into_at)
        buffer.stop = into_at
        return more

    def _flush(self) -> None:
        packets, self._front.packets = self._front.packets, []
        for packet in packets:
            self._transport.send(packet)
