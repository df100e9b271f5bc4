"""What a simulated gateway writes to one client, and the ways to write badly on purpose: nothing, late, in pieces."""

from __future__ import annotations

import asyncio
import random

from ticktape.simulate.faults import odd_piece_bytes

WRITE_BUFFER_BYTES_MAX = 4 << 20
"""More than this waiting for a client stops the market until it has caught up."""

SPLIT_PAUSE_S = 0.002


class Outlet:
    """Writes to a transport.

    Attributes
    ----------
    is_stalled : whether nothing is written, and everything waits

    Parameters
    ----------
    pause_share : of the pieces that everything is cut into, so many are followed by a pause; 0: nothing is cut
    wait_s : all that is to be written waits so long, and goes out at once
    """

    def __init__(
        self, transport: asyncio.Transport, rng: random.Random, *, pause_share: float = 0.0, wait_s: float = 0.0
    ) -> None:
        self._transport, self._rng = transport, rng
        self._pause_share, self._wait_s = pause_share, wait_s
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._waiting: asyncio.TimerHandle | None = None
        self._splitting: asyncio.Task[None] | None = None
        self.is_stalled = False

    @property
    def is_congested(self) -> bool:
        """Whether too much waits to be sent."""
        return self._transport.get_write_buffer_size() + len(self._unsent) > WRITE_BUFFER_BYTES_MAX

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send, as the faults have it."""
        if self._transport.is_closing() or not data:
            return
        if not (self.is_stalled or self._pause_share or self._wait_s):
            self._transport.write(data)
            return
        self._unsent += data
        if self._wait_s and self._waiting is None:
            self._waiting = self._loop.call_later(self._wait_s, self._waited)
        elif not self._wait_s:
            self._send_unsent()

    def stall(self) -> None:
        """Send nothing more; the link stays up."""
        self.is_stalled = True

    def go_on(self) -> None:
        """Send what has waited since `stall`, if it was called."""
        if self.is_stalled:
            self.is_stalled = False
            self._send_unsent()

    def close(self, last: bytes = b"") -> None:
        """Send what is waiting, then `last`, and close."""
        if not self._transport.is_closing():
            self._transport.write(bytes(self._unsent) + last)
            self._unsent.clear()
            self._transport.close()
        self.forget()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
        self.forget()

    def forget(self) -> None:
        """The transport is gone: nothing is to be done any more."""
        if self._waiting is not None:
            self._waiting.cancel()
        if self._splitting is not None:
            self._splitting.cancel()

    def _waited(self) -> None:
        self._waiting = None
        self._send_unsent()

    def _send_unsent(self) -> None:
        if self.is_stalled or self._transport.is_closing():
            return
        if not self._pause_share:
            self._transport.write(bytes(self._unsent))
            self._unsent.clear()
        elif self._splitting is None:
            self._splitting = self._loop.create_task(self._send_split())

    async def _send_split(self) -> None:
        while self._unsent and not self.is_stalled and not self._transport.is_closing():
            size = odd_piece_bytes(self._rng)
            self._transport.write(bytes(self._unsent[:size]))
            del self._unsent[:size]
            # Without a turn of the loop between them the transport would join the pieces again.
            await asyncio.sleep(SPLIT_PAUSE_S if self._rng.random() < self._pause_share else 0)
        self._splitting = None
