"""One connection to an OpenD, from connect to close: session, subscriptions, timers."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from codec.opend.decoder import OpenDDecoder
from codec.opend.protocol import HEADER_BYTES, SessionChoice
from ingest.lane import Lane
from ingest.opend.events import (
    Closed,
    DeadLetter,
    Event,
    Failed,
    Notified,
    Polled,
    Pulled,
    Ready,
    Replied,
    UnknownMessage,
)
from ingest.opend.poller import Poller, PollTarget
from ingest.opend.session import OpenDSession, State
from ingest.opend.subscriber import Security, Subscriber
from ingest.pipeline import TickPipeline
from ingest.receive_buffer import ReceiveBuffer
from ingest.transport import TcpTransport

CONNECT_TIMEOUT_S = 10.0
_SPARE_BYTES = 128 << 10


class ConnectionWatcher(Protocol):
    """Whom a connection tells what happens. Implemented by the gateway."""

    def session_ready(self, ready: Ready) -> None: ...
    def subscribed(self, securities: tuple[Security, ...]) -> None: ...
    def subscription_refused(self, security: Security, text: str) -> None: ...
    def pull_given_up(self, security: Security) -> None: ...
    def request_failed(self, failed: Failed) -> None: ...
    def answered(self, proto_id: int) -> None: ...
    def pulled(self, security: Security, pulled: Pulled) -> None: ...
    def polled(self, target: PollTarget, polled: Polled) -> None: ...
    def dead_letter(self, letter: DeadLetter) -> None: ...
    def unknown_message(self, proto_id: int) -> None: ...
    def notified(self, notice: Notified) -> None: ...


class OpenDConnection:
    """Drives a session over a transport until either ends.

    Parameters
    ----------
    securities : what to subscribe to, in order
    poller : what to ask again and again
    body_bytes_max : a longer frame ends the connection
    """

    def __init__(
        self,
        decoder: OpenDDecoder,
        lane: Lane,
        pipeline: TickPipeline,
        watcher: ConnectionWatcher,
        securities: tuple[Security, ...],
        poller: Poller,
        *,
        us_session: SessionChoice,
        body_bytes_max: int,
    ) -> None:
        self.subscriber = Subscriber.wanting(securities, us_session)
        self._poller = poller
        self._decoder = decoder
        self._lane = lane
        self._pipeline = pipeline
        self._watcher = watcher
        self._session: OpenDSession | None = None
        self._buffer = ReceiveBuffer(capacity_max=max(1 << 20, body_bytes_max + HEADER_BYTES + _SPARE_BYTES))
        self._transport = TcpTransport(self, self._buffer)
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._recv_ns = 0
        self.ready_at_s: float | None = None
        """When the gateway accepted us, on the monotonic clock; None before."""

    @property
    def ready(self) -> bool:
        return self._session is not None and self._session.state is State.READY

    async def run(self, host: str, port: int) -> str:
        """Connect, and return why it ended.

        Raises
        ------
        OSError, TimeoutError
            There was no connection to begin with.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.create_connection(lambda: self._transport, host, port)
        try:
            self._session = OpenDSession(self._decoder, now_ns=time.monotonic_ns())
            self._read()
            return await self._over
        finally:
            self.close("closed by us")

    def close(self, reason: str) -> None:
        """End the connection; what it has not read is gone with it."""
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            self._session.end(reason)
        self._transport.close()
        if not self._over.done():
            self._over.set_result(reason)

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        self._recv_ns = recv_ns
        if self._session is not None:  # uvloop may read before `run` goes on, which then reads
            self._read()

    def ended(self, reason: str) -> None:
        self.close(reason)

    def _read(self) -> None:
        """Decode what waits in the buffer; with lane or pipeline full, stop reading until there is room."""
        assert self._session is not None
        buffer = self._buffer
        received = self._session.receive(
            buffer.data,
            buffer.start,
            buffer.stop,
            now_ns=time.monotonic_ns(),
            recv_ns=self._recv_ns,
            ticks=self._lane.ticks,
        )
        buffer.start = received.consumed
        for event in received.events:
            self._handle(event)
        self._pipeline.gathered(self._lane)
        if received.needs_room or self._pipeline.rows_full:
            self._transport.pause()
            self._session.hold(time.monotonic_ns())
            self._pipeline.when_room(self._go_on)
        self._after()

    def _go_on(self) -> None:
        """The lane has room again. What still waits came with the last read, and has its time."""
        if not self._over.done():
            assert self._session is not None
            self._session.resume(time.monotonic_ns())
            self._transport.resume()
            self._read()

    def _handle(self, event: Event) -> None:
        watcher = self._watcher
        match event:
            case Ready():
                self.ready_at_s = time.monotonic()
                watcher.session_ready(event)
            case Replied():
                watcher.answered(event.proto_id)
                if securities := self.subscriber.subscribed(event.serial):
                    watcher.subscribed(securities)
            case Pulled():
                watcher.answered(3010)
                if (security := self.subscriber.pulled(event.serial)) is not None:
                    watcher.pulled(security, event)
            case Polled():
                if (target := self._poller.ended(event.frame.serial)) is not None:
                    watcher.polled(target, event)
            case Failed():
                watcher.request_failed(event)
                self._poller.ended(event.serial)
                given_up = self.subscriber.failed(event.serial, event.text, timed_out=event.timed_out)
                for security in given_up:
                    if security in self.subscriber.refused:
                        watcher.subscription_refused(security, event.text)
                    else:
                        watcher.pull_given_up(security)
            case DeadLetter():
                watcher.dead_letter(event)
            case UnknownMessage():
                watcher.unknown_message(event.proto_id)
            case Notified():
                watcher.notified(event)
            case Closed():
                self.close(event.reason)

    def _after(self) -> None:
        """Send what became sendable and set the next timer."""
        session = self._session
        if session is None:
            return
        if session.state is State.READY:
            for request in self.subscriber.next_requests():
                serial = session.request(request.proto_id, request.message, time.monotonic_ns())
                self.subscriber.sent(serial, request)
            while (target := self._poller.next_target(time.monotonic_ns())) is not None:
                now_ns = time.monotonic_ns()
                self._poller.sent(target, session.request(target.proto_id, target.message(), now_ns), now_ns)
        self._transport.send(session.take_outgoing())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadlines_ns = [session.deadline_ns(), self._poller.deadline_ns() if session.state is State.READY else None]
        if wanted_ns := [each for each in deadlines_ns if each is not None]:
            delay_s = max(0.0, (min(wanted_ns) - time.monotonic_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        assert self._session is not None
        for event in self._session.tick(time.monotonic_ns(), int(time.time())):
            self._handle(event)
        self._after()
