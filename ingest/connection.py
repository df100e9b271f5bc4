"""What driving a session over a transport comes to, in any protocol: reading, stopping for lack of room, one timer."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from ingest.lane import Lane
from ingest.pipeline import TickPipeline
from ingest.receive_buffer import ReceiveBuffer


class Transport(Protocol):
    """The byte pipe as a connection sees it."""

    def send(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class Session(Protocol):
    """The protocol's state as a connection sees it."""

    def hold(self, now_ns: int) -> None: ...
    def resume(self, now_ns: int) -> None: ...


Spoken = TypeVar("Spoken", bound=Session)
"""The session of one protocol."""


class Connection(ABC, Generic[Spoken]):
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
        self._session: Spoken | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._recv_ns = 0

    # What a protocol says of itself.

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether the gateway has let us in, and may be asked."""

    @abstractmethod
    def _take_in(self, session: Spoken) -> bool:
        """Decode what waits in the buffer, and handle it; whether the lane needs room before the rest can be."""

    @abstractmethod
    def _do_due(self, session: Spoken) -> None:
        """What time alone has brought about."""

    @abstractmethod
    def _send_all(self, session: Spoken, transport: Transport) -> int | None:
        """Send what can be sent now; when to look again at the latest, on the monotonic clock."""

    @abstractmethod
    def _end(self, reason: str) -> None:
        """The session is over."""

    # What all do.

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        self._recv_ns = recv_ns
        if self._session is not None:  # uvloop may read before whoever connects goes on, who then reads
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

    def go_on(self) -> None:
        """There may be more to ask than when it was last looked."""
        if self.ready:
            self._after()

    def _read(self) -> None:
        """Decode what waits; with lane or pipeline full, stop reading until there is room."""
        assert self._session is not None
        self._lane.reading_from = self._lane.ticks.rows
        needs_room = self._take_in(self._session)
        self._lane.reading_from = None
        self._pipeline.gathered(self._lane)
        if (needs_room or self._pipeline.rows_full) and not self._over.done():
            assert self._transport is not None
            self._transport.pause()
            self._session.hold(time.monotonic_ns())
            self._pipeline.when_room(self._read_on)
        self._after()

    def _read_on(self) -> None:
        """The lane has room again. What still waits came with the last read, and has its time."""
        if not self._over.done():
            assert self._transport is not None
            assert self._session is not None
            self._session.resume(time.monotonic_ns())
            self._transport.resume()
            self._read()

    def _after(self) -> None:
        """Send what became sendable and set the next timer."""
        if self._session is None or self._over.done():
            return
        assert self._transport is not None
        wake_ns = self._send_all(self._session, self._transport)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_ns is not None:
            delay_s = max(0.0, (wake_ns - time.monotonic_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        assert self._session is not None
        self._do_due(self._session)
        self._after()
