"""What driving a session over a transport comes to, in any protocol: reading, stopping for lack of room, one timer."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Protocol

from ingest.lane import Lane
from ingest.pipeline import TickPipeline
from ingest.receive_buffer import ReceiveBuffer


class Transport(Protocol):
    """The byte pipe as a connection sees it."""

    def send(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class Connection(ABC):
    """A `TransportOwner` that decodes into a lane.

    Attributes
    ----------
    ready_at_s : when the gateway let us in, on the monotonic clock; None before
    """

    def __init__(self, lane: Lane, pipeline: TickPipeline, buffer: ReceiveBuffer) -> None:
        self.ready_at_s: float | None = None
        self._lane = lane
        self._pipeline = pipeline
        self._buffer = buffer
        self._transport: Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._recv_ns = 0

    # What a protocol says of itself.

    @property
    @abstractmethod
    def _has_session(self) -> bool:
        """Whether there is somebody to read what comes."""

    @abstractmethod
    def _take_in(self) -> bool:
        """Decode what waits in the buffer, and handle it; whether the lane needs room before the rest can be."""

    @abstractmethod
    def _hold(self, now_ns: int) -> None:
        """Nothing is read until `_resume`."""

    @abstractmethod
    def _resume(self, now_ns: int) -> None:
        """Undo `_hold`."""

    @abstractmethod
    def _do_due(self) -> None:
        """What time alone has brought about."""

    @abstractmethod
    def _send_all(self) -> int | None:
        """Send what can be sent now; when to look again at the latest, on the monotonic clock."""

    @abstractmethod
    def _end(self, reason: str) -> None:
        """The session is over."""

    # What all do.

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        self._recv_ns = recv_ns
        if self._has_session:  # uvloop may read before whoever connects goes on, who then reads
            self._read()

    def ended(self, reason: str) -> None:
        self.close(reason)

    def close(self, reason: str) -> None:
        """End the connection; what it has not read is gone with it."""
        if self._timer is not None:
            self._timer.cancel()
        self._end(reason)
        if self._transport is not None:
            self._transport.close()
        if not self._over.done():
            self._over.set_result(reason)

    def _read(self) -> None:
        """Decode what waits; with lane or pipeline full, stop reading until there is room."""
        self._lane.reading_from = self._lane.ticks.rows
        needs_room = self._take_in()
        self._lane.reading_from = None
        self._pipeline.gathered(self._lane)
        if (needs_room or self._pipeline.rows_full) and not self._over.done():
            assert self._transport is not None
            self._transport.pause()
            self._hold(time.monotonic_ns())
            self._pipeline.when_room(self._go_on)
        self._after()

    def _go_on(self) -> None:
        """The lane has room again. What still waits came with the last read, and has its time."""
        if not self._over.done():
            assert self._transport is not None
            self._resume(time.monotonic_ns())
            self._transport.resume()
            self._read()

    def _after(self) -> None:
        """Send what became sendable and set the next timer."""
        if not self._has_session or self._over.done():
            return
        wake_ns = self._send_all()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_ns is not None:
            delay_s = max(0.0, (wake_ns - time.monotonic_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        self._do_due()
        self._after()
