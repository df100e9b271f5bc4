"""One connection to an OpenD, from connect to close: session, subscriptions, timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from codec.opend.decoder import OpenDDecoder
from codec.opend.protocol import HEADER_BYTES, ProtoId
from ingest.connection import Connection, Transport
from ingest.lane import Lane
from ingest.opend.encryption import WireMode
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
from ingest.opend.gateway_state import GatewayState, StateChange
from ingest.opend.names import Names
from ingest.opend.poller import Poller, PollTarget
from ingest.opend.requests import Security
from ingest.opend.session import OpenDSession, State
from ingest.opend.subscriber import Subscriber
from ingest.opend.upkeep import Upkeep
from ingest.opend.websocket_transport import OpenDWebSocket
from ingest.pipeline import TickPipeline
from ingest.receive_buffer import ReceiveBuffer
from ingest.tick_polls import TickPolls
from ingest.transport import TcpTransport
from protos.opend import notify_pb2, static_info_pb2

CONNECT_TIMEOUT_S = 10.0
_SPARE_BYTES = 128 << 10


class ConnectionWatcher(Protocol):
    """Whom a connection tells what happens. Implemented by the gateway."""

    def session_ready(self, ready: Ready) -> None: ...
    def subscribed(self, securities: tuple[Security, ...]) -> None: ...
    def refused(self, news: list[tuple[Security, str]]) -> None: ...
    def state_changed(self, change: StateChange) -> None: ...
    def named(self, reply: static_info_pb2.GetStaticInfoResponse) -> None: ...
    def named_by_pull(self, security: Security, name: str) -> None: ...
    def pull_given_up(self, security: Security) -> None: ...
    def request_failed(self, failed: Failed) -> None: ...
    def answered(self, proto_id: int) -> None: ...
    def asked_polls(self) -> None: ...
    def pulled(self, security: Security, pulled: Pulled) -> None: ...
    def polled(self, target: PollTarget, polled: Polled) -> None: ...
    def dead_letter(self, letter: DeadLetter) -> None: ...
    def unknown_message(self, proto_id: int) -> None: ...
    def notified(self, notice: Notified) -> None: ...


class OpenDConnection(Connection[OpenDSession]):
    """Drives a session over a transport until either ends.

    Parameters
    ----------
    subscriber : what to subscribe to and to pull
    tick_polls : whose ticks to pull again and again
    poller : what else to ask again and again
    state, names : of the gateway; they outlive the connection
    wire : format and encryption of the bodies, or the WebSocket port
    body_bytes_max : a longer frame ends the connection
    """

    def __init__(
        self,
        decoder: OpenDDecoder,
        lane: Lane,
        pipeline: TickPipeline,
        watcher: ConnectionWatcher,
        subscriber: Subscriber,
        poller: Poller,
        *,
        tick_polls: TickPolls,
        state: GatewayState,
        names: Names,
        wire: WireMode,
        body_bytes_max: int,
    ) -> None:
        super().__init__(
            lane, pipeline, ReceiveBuffer(capacity_max=max(1 << 20, body_bytes_max + HEADER_BYTES + _SPARE_BYTES))
        )
        self.subscriber = subscriber
        self._state = state
        self._upkeep = Upkeep(state, subscriber)
        self._names = names
        self._wire = wire
        self._tick_polls = tick_polls
        self.poller = poller
        self._decoder = decoder
        self._body_bytes_max = body_bytes_max
        self._watcher = watcher

    @property
    def ready(self) -> bool:
        return self._session is not None and self._session.state is State.READY

    async def run(self, host: str, port: int) -> str:
        """Connect, where configured to the WebSocket port instead, and return why it ended.

        Raises
        ------
        OSError, TimeoutError
            There was no connection to begin with.
        """
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self._connect(host, port)
        try:
            self._session = OpenDSession(self._decoder, now_ns=time.monotonic_ns(), wire=self._wire)
            self._read()
            return await self._over
        finally:
            self.close("closed by us")

    async def _connect(self, host: str, port: int) -> None:
        if (websocket := self._wire.websocket) is None:
            stream = TcpTransport(self, self._buffer)
            self._transport = stream
            await stream.connect(host, port)
        else:
            front = OpenDWebSocket(self, self._buffer, websocket, body_bytes_max=self._body_bytes_max)
            self._transport = front
            await front.connect()

    def wanted_changed(self, tick_polls: TickPolls) -> None:
        """Subscriber and poller have been told of another configuration: go on with it."""
        self._tick_polls = tick_polls
        if self.ready:
            self._upkeep.ask_quota(time.monotonic_ns())
            self._after()

    def pull(self, securities: Iterable[Security]) -> None:
        """Ask for the last ticks of these, as soon as may be."""
        for security in securities:
            self.subscriber.pull(security)
        self._after()

    def _take_in(self, session: OpenDSession) -> bool:
        buffer = self._buffer
        received = session.receive(
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
        return received.needs_room

    def _do_due(self, session: OpenDSession) -> None:
        for event in session.tick(time.monotonic_ns(), int(time.time())):
            self._handle(event)

    def _end(self, reason: str) -> None:
        if self._session is not None:
            self._session.end(reason)

    def _handle(self, event: Event) -> None:
        watcher = self._watcher
        match event:
            case Ready():
                self.ready_at_s = time.monotonic()
                self._upkeep.start(event.login_user_id, time.monotonic_ns())
                watcher.session_ready(event)
            case Replied():
                watcher.answered(event.proto_id)
                self._replied(event, time.monotonic_ns())
            case Pulled():
                watcher.answered(3010)
                if (security := self.subscriber.pulled(event.serial)) is not None:
                    watcher.pulled(security, event)
                    if event.name is not None and self._names.lacks(security):
                        self._names.told_by_pull(security)
                        watcher.named_by_pull(security, event.name)
            case Polled():
                if (target := self.poller.replied(event.frame.serial, time.monotonic_ns())) is not None:
                    watcher.polled(target, event)
            case Failed():
                watcher.request_failed(event)
                self._failed(event, time.monotonic_ns())
            case DeadLetter():
                watcher.dead_letter(event)
            case UnknownMessage():
                watcher.unknown_message(event.proto_id)
            case Notified():
                watcher.notified(event)
                assert isinstance(event.notice, notify_pb2.NotifyResponse)
                self._changed(self._upkeep.notified(event.notice, time.monotonic_ns()))
            case Closed():
                self.close(event.reason)

    def _replied(self, event: Replied, now_ns: int) -> None:
        if securities := self.subscriber.subscribed(event.serial, now_ns):
            self._names.want(securities, now_ns)
            self._watcher.subscribed(securities)
        if isinstance(event.reply, static_info_pb2.GetStaticInfoResponse):
            told = [info.basic.security for info in event.reply.s2c.staticInfoList]
            if self._names.ended(event.serial, now_ns, {(each.market, each.code) for each in told}):
                self._watcher.named(event.reply)
                self._pull_nameless()
        self._changed(self._upkeep.replied(event.serial, event.reply, now_ns))

    def _failed(self, event: Failed, now_ns: int) -> None:
        self.poller.failed(event.serial, time.monotonic_ns(), timed_out=event.timed_out)
        self._upkeep.failed(event.serial, now_ns)
        self._names.failed(event.serial, now_ns, says_nothing=event.timed_out or self.subscriber.held)
        self._pull_nameless()
        given_up = self.subscriber.failed(event.serial, event.text, now_ns, timed_out=event.timed_out)
        if given_up is not None:
            self._watcher.pull_given_up(given_up)

    def _pull_nameless(self) -> None:
        """What static information does not tell: a pull tells the name."""
        for security in self._names.take_nameless():
            self.subscriber.pull(security)

    def _changed(self, changes: Iterable[StateChange]) -> None:
        for change in changes:
            self._watcher.state_changed(change)

    def _send_all(self, session: OpenDSession, transport: Transport) -> int | None:
        deadlines_ns = []
        if session.state is State.READY:
            self._ask(session)
            deadlines_ns = self._deadlines_ns()
            if news := self.subscriber.subscriptions.take_refused():
                self._watcher.refused(news)
        transport.send(session.take_outgoing())
        return min((each for each in (session.deadline_ns(), *deadlines_ns) if each is not None), default=None)

    def _ask(self, session: OpenDSession) -> None:
        """Queue every request that may be sent now."""
        now_ns, subscriber = time.monotonic_ns(), self.subscriber
        for proto_id, message in self._upkeep.next_requests(now_ns):
            self._upkeep.sent(session.request(proto_id, message, now_ns), proto_id)
        for security in self._tick_polls.due(now_ns, self._state.is_closed):
            subscriber.poll(security)
        for request in subscriber.next_requests(now_ns):
            serial = session.request(request.proto_id, request.message, now_ns)
            if request.proto_id is ProtoId.GET_TICKER and self._names.lacks(request.ticket.securities[0]):
                session.want_name(serial)
            subscriber.sent(serial, request)
        if subscriber.held:
            return
        if subscriber.subscriptions.settled and (naming := self._names.next_request(now_ns)) is not None:
            self._names.sent(session.request(naming.proto_id, naming.message, now_ns))
        asked_polls = False
        while (target := self.poller.next_target(time.monotonic_ns(), time.time())) is not None:
            now_ns = time.monotonic_ns()
            self.poller.sent(target, session.request(target.proto_id, target.message(), now_ns), now_ns)
            asked_polls = True
        if asked_polls:
            self._watcher.asked_polls()

    def _deadlines_ns(self) -> list[int | None]:
        """When something becomes sendable by time alone."""
        subscriber = self.subscriber
        deadlines_ns = [self._upkeep.deadline_ns(), self._tick_polls.deadline_ns(), subscriber.deadline_ns()]
        if not subscriber.held:
            deadlines_ns.append(self.poller.deadline_ns())
            if subscriber.subscriptions.settled:
                deadlines_ns.append(self._names.deadline_ns())
        return deadlines_ns
