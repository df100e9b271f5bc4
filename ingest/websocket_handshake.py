"""What a WebSocket is asked for, and whether the answer to the handshake is worth reading on."""

from __future__ import annotations

from urllib.parse import urlsplit

from websockets.uri import WebSocketURI

from codec.errors import TicktapeError

HANDSHAKE_BYTES_MAX = 16 << 10
"""A server's answer has some 200; more comes from something else."""


class HandshakeFailed(TicktapeError, ConnectionError):
    """There is a server, and it opens no WebSocket to us. `status` is its HTTP status, where it says one."""

    retriable = True

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def uri_of(url: str) -> WebSocketURI:
    """The parts of a ws:// or wss:// URL; a user name in it means nothing."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "wss", parts.hostname
    assert parts.scheme in ("ws", "wss"), "settings let no other URL pass"
    assert host is not None
    return WebSocketURI(secure, host, parts.port or (443 if secure else 80), parts.path, parts.query)


def head_bytes(received: bytes) -> int | None:
    """Bytes of the head of an answer that says yes; None while it is not whole.

    What says no is known by its first line, so that nobody waits for the rest of it.

    Raises
    ------
    HandshakeFailed
        It is no HTTP, another status than 101, or too long.
    """
    if not received.startswith(b"HTTP/1.1 "[: len(received)]):
        raise HandshakeFailed("what answers speaks no HTTP/1.1, so it is no WebSocket server")
    line, whole_line, _ = received.partition(b"\r\n")
    status = line[9:12].decode("latin-1")
    if whole_line and status != "101":
        said = line[9:80].decode("latin-1")
        number = int(status) if status.isdecimal() else None
        raise HandshakeFailed(f"the server answers {said!r} and opens no WebSocket", number)
    end = received.find(b"\r\n\r\n")
    if end >= 0:
        return end + 4
    if len(received) >= HANDSHAKE_BYTES_MAX:
        raise HandshakeFailed(f"the answer to the handshake is longer than {HANDSHAKE_BYTES_MAX} B")
    return None
