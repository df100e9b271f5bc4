"""The byte pipe over a WebSocket: what comes is one message behind the other. Knows no protocol above it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ingest.receive_buffer import ReceiveBuffer
from ingest.transport import SEND_BUFFER_BYTES_MAX, TransportOwner
from ingest.websocket_handshake import HandshakeFailed, uri_of
from ingest.websocket_session import State, WebSocketSession

GOODBYE_S_MAX = 1.0
"""So long a socket may take to send what was still to be said."""


class WebSocketTransport(asyncio.BufferedProtocol):
    """A `TcpTransport` to its owner: messages are laid into `buffer` as if they were a stream of bytes.

    `owner.received` is called with whole messages only, many at a time.

    Parameters
    ----------
    message_bytes_max : a longer message ends the connection
    """

    def __init__(self, owner: TransportOwner, buffer: ReceiveBuffer, *, message_bytes_max: int) -> None:
        self._owner = owner
        self._buffer = buffer
        self._message_bytes_max = message_bytes_max
        self._transport: asyncio.Transport | None = None
        self._session: WebSocketSession | None = None
        self._opened: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._told = False
        self._recv_ns = 0

    async def connect(
        self, url: str, headers: Mapping[str, str] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Open the WebSocket; what comes right behind the handshake goes to the owner before this returns.

        Parameters
        ----------
        url : ws:// or wss://, with path and query
        headers : of the handshake, beside those that every WebSocket has
        tls : for wss://; None: whom this machine trusts

        Raises
        ------
        HandshakeFailed, OSError
            There is no connection, or no WebSocket.
        """
        loop = asyncio.get_running_loop()
        uri = uri_of(url)
        self._session = WebSocketSession(
            uri, headers or {}, message_bytes_max=self._message_bytes_max, now_ns=time.monotonic_ns()
        )
        self._opened = loop.create_future()
        try:
            await loop.create_connection(
                lambda: self,
                uri.host,
                uri.port,
                ssl=(tls or ssl.create_default_context()) if uri.secure else None,
            )
            await self._opened
        except BaseException:
            self._told = True  # whoever connects is told by the exception
            if self._transport is not None:
                self._transport.abort()
            raise

    @property
    def message_start(self) -> int:
        """In `received`: where in the buffer the messages begin that were added."""
        assert self._session is not None, "connected before anything is received"
        return self._session.message_start

    @property
    def message_ends(self) -> NDArray[np.int64]:
        """In `received`: (n_messages,) int64, where each of these ends. Gone when it returns."""
        assert self._session is not None, "connected before anything is received"
        return self._session.message_ends

    @property
    def close_code(self) -> int | None:
        """Of a WebSocket that is over: the server's code, or the one that what it sent made us close with."""
        return self._session.close_code if self._session is not None else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one only in shape
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        assert self._session is not None
        return self._session.raw.free()

    def buffer_updated(self, nbytes: int) -> None:
        session = self._session
        assert session is not None
        self._recv_ns = time.time_ns()
        session.raw.filled(nbytes)
        session.heard(time.monotonic_ns())
        if not self._paused:
            self._deliver()

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._session is not None
        self._transport = None
        self._session.end(f"the connection broke: {exc}" if exc else "the gateway closed the connection")
        self._over()

    def send(self, data: bytes) -> None:
        """Send `data` as one message; a gateway that takes nothing for 1 MiB of requests is cut off."""
        if self._transport is None or self._session is None or not data:
            return
        self._session.send(data)
        self._flush()

    def pause(self) -> None:
        """Hand over nothing until `resume`; TCP then slows the sender."""
        if not self._paused and self._transport is not None and self._session is not None:
            self._transport.pause_reading()
            self._session.hold()
            self._paused = True

    def resume(self) -> None:
        """Undo `pause`; what was read already comes at the loop's next turn."""
        if self._paused and self._transport is not None and self._session is not None:
            self._paused = False
            self._session.resume(time.monotonic_ns())
            self._transport.resume_reading()
            self._arm()
            asyncio.get_running_loop().call_soon(self._deliver)

    def close(self) -> None:
        """End the connection at once, with a word of goodbye where the gateway takes one."""
        if self._session is not None:
            self._session.end("closed by us")
        self._told = True
        self._leave()

    def _deliver(self) -> None:
        """Hand over what is there, until the owner wants no more."""
        session = self._session
        assert session is not None
        while not self._paused and not self._told and session.read(self._buffer):
            self._owner.received(self._buffer, self._recv_ns)
        self._flush()
        if session.opened and self._opened is not None and not self._opened.done():
            self._opened.set_result(None)
            self._arm()
        if session.state is State.CLOSED:
            self._over()

    def _over(self) -> None:
        """Nothing more comes: tell it once, to whoever waits for it."""
        session, opened = self._session, self._opened
        assert session is not None
        assert session.reason is not None
        if opened is not None and not opened.done():
            failure = HandshakeFailed(f"{session.reason} during the WebSocket's handshake")
            opened.set_exception(session.failure or failure)
        elif not self._told:
            self._told = True
            self._owner.ended(session.reason)
        self._leave()

    def _flush(self) -> None:
        if self._transport is None or self._session is None:
            return
        if outgoing := self._session.take_outgoing():
            self._transport.write(outgoing)
            if self._transport.get_write_buffer_size() > SEND_BUFFER_BYTES_MAX:
                self._transport.abort()

    def _leave(self) -> None:
        """Close the socket, with what is still to be said."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None and not self._transport.is_closing():
            self._flush()
            self._transport.close()
            self._timer = asyncio.get_running_loop().call_later(GOODBYE_S_MAX, self._transport.abort)

    def _arm(self) -> None:
        """Wait for what is due next. A read only puts it off, so nobody needs to arm again for that."""
        session = self._session
        assert session is not None
        if self._timer is not None:
            self._timer.cancel()
        if (deadline_ns := session.deadline_ns()) is not None:
            delay_s = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        session = self._session
        assert session is not None
        session.tick(time.monotonic_ns())
        self._flush()
        if session.state is State.CLOSED:
            self._over()
        else:
            self._arm()
