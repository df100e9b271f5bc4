"""Where a LongPort quote gateway is. No socket, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

HANDSHAKE_QUERY = "version=1&codec=1&platform=9"
"""What TCP says in two bytes."""


@dataclass(frozen=True, slots=True)
class Address:
    """A tcp://, ws:// or wss:// URL."""

    url: str

    @property
    def is_stream(self) -> bool:
        """Whether it is reached over TCP, where packets follow each other without messages around them."""
        return urlsplit(self.url).scheme == "tcp"

    @property
    def host(self) -> str:
        host = urlsplit(self.url).hostname
        assert host is not None, "settings let no other URL pass"
        return host

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None, "a tcp:// URL names its port"
        return port

    @property
    def websocket_url(self) -> str:
        """With the query that LongPort wants."""
        parts = urlsplit(self.url)
        query = f"{parts.query}&{HANDSHAKE_QUERY}" if parts.query else HANDSHAKE_QUERY
        return parts._replace(path=parts.path or "/", query=query).geturl()
