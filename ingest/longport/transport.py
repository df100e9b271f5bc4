"""Opens the byte pipe that a LongPort URL names."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from ingest.receive_buffer import ReceiveBuffer
from ingest.transport import TcpTransport, TransportOwner
from ingest.websocket import WebSocketTransport

HANDSHAKE_QUERY = "version=1&codec=1&platform=9"
"""What TCP says in two bytes."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where LongPort's quote gateway is: a tcp://, ws:// or wss:// URL."""

    url: str

    @property
    def is_stream(self) -> bool:
        """Whether it is reached over TCP, where packets follow each other without messages around them."""
        return urlsplit(self.url).scheme == "tcp"

    @property
    def websocket_url(self) -> str:
        """With the query that LongPort wants."""
        parts = urlsplit(self.url)
        query = f"{parts.query}&{HANDSHAKE_QUERY}" if parts.query else HANDSHAKE_QUERY
        return parts._replace(path=parts.path or "/", query=query).geturl()


async def open_transport(
    address: Address, owner: TransportOwner, buffer: ReceiveBuffer, *, message_bytes_max: int
) -> TcpTransport | WebSocketTransport:
    """Connect.

    Raises
    ------
    OSError, HandshakeFailed
        There is no connection, or no WebSocket.
    """
    if address.is_stream:
        parts = urlsplit(address.url)
        tcp = TcpTransport(owner, buffer)
        await asyncio.get_running_loop().create_connection(lambda: tcp, parts.hostname, parts.port)
        return tcp
    websocket = WebSocketTransport(owner, buffer, message_bytes_max=message_bytes_max)
    await websocket.connect(address.websocket_url)
    return websocket
