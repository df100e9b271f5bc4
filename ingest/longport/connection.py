"""One connection to LongPort, from connect to close: session, subscriptions, pulls, polls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from codec.longport.decoder import LongportDecoder
from codec.longport.protocol import BODY_BYTES_MAX, REQUEST_HEADER_BYTES, TRAILER_BYTES, Command
from codec.markets import Security
from ingest.connection import Connection, Transport
from ingest.lane import Lane
from ingest.longport.address import Address
from ingest.longport.backfill import Backfill, Held
from ingest.longport.errors import Reaction, in_words, reaction_to
from ingest.longport.events import (
    Closed,
    DeadLetter,
    Event,
    Failed,
    Polled,
    Pulled,
    Ready,
    Remedy,
    Replied,
    UnknownCommand,
)
from ingest.longport.limits import AccountLimits
from ingest.longport.poll_plan import PollTarget
from ingest.longport.poller import Poller
from ingest.longport.requests import Request, poll_request, pull_request
from ingest.longport.session import Login, LongportSession, State
from ingest.longport.subscriptions import Subscriptions
from ingest.pipeline import TickPipeline
from ingest.receive_buffer import ReceiveBuffer
from ingest.tick_polls import TickPolls
from ingest.transport import TcpTransport
from ingest.websocket import WebSocketTransport
from protos.longport import quote_profile_pb2

CONNECT_TIMEOUT_S = 10.0
PULLS_IN_A_ROW_MAX = 3
"""Then a poll has its turn, if one is due."""
PACKET_BYTES_MAX = REQUEST_HEADER_BYTES + BODY_BYTES_MAX + TRAILER_BYTES
SPARE_BYTES = 128 << 10
_POLLS: tuple[Command, ...] = (Command.QUERY_CAPITAL_FLOW_INTRADAY, Command.QUERY_CAPITAL_FLOW_DISTRIBUTION)


class ConnectionWatcher(Protocol):
    """Whom a connection tells what happens. Implemented by the gateway."""

    def session_ready(self, ready: Ready) -> None: ...
    def profiled(self, profile: quote_profile_pb2.UserQuoteProfileResponse) -> None: ...
    def subscribed(self, securities: tuple[Security, ...]) -> None: ...
    def refused(self, news: list[tuple[Security, str]]) -> None: ...
    def pulled(self, held: Held) -> bool: ...
    def pull_given_up(self, security: Security, why: str) -> None: ...
    def polled(self, target: PollTarget, polled: Polled) -> None: ...
    def poll_refused(self, target: PollTarget, why: str) -> None: ...
    def answered(self, command: int) -> None: ...
    def request_failed(self, failed: Failed) -> None: ...
    def slowed_down(self, delay_s: float) -> None: ...
    def dead_letter(self, letter: DeadLetter) -> None: ...
    def unknown_command(self, command: int) -> None: ...


class LongPortConnection(Connection[LongportSession]):
    """Drives a session over a transport until either ends.

    Parameters
    ----------
    subscriptions : what to subscribe to
    backfill : what to pull
    tick_polls : whose trades to pull again and again
    poller : what else to ask again and again; it outlives the connection
    limits : of the account

    Attributes
    ----------
    remedy : how to go on after its end
    """

    def __init__(
        self,
        decoder: LongportDecoder,
        lane: Lane,
        pipeline: TickPipeline,
        watcher: ConnectionWatcher,
        *,
        subscriptions: Subscriptions,
        backfill: Backfill,
        tick_polls: TickPolls,
        poller: Poller,
        limits: AccountLimits,
    ) -> None:
        super().__init__(lane, pipeline, ReceiveBuffer(capacity_max=PACKET_BYTES_MAX + SPARE_BYTES))
        self.subscriptions = subscriptions
        self.backfill = backfill
        self.remedy = Remedy.RECONNECT
        self._tick_polls = tick_polls
        self._poller = poller
        self._limits = limits
        self._decoder = decoder
        self._watcher = watcher
        self._websocket: WebSocketTransport | None = None
        self._message_ends: NDArray[np.int64] | None = None
        """Where the messages end that wait in the buffer; over TCP there are none."""
        self._wants_profile = True
        self._pulls_in_a_row = 0
        self._next_polls = _POLLS
        """Commands of which the next poll may be: the one that waits for its own limit, when one does."""
        self._on_their_way: dict[int, Command] = {}
        self._waits_for_room = False

    @property
    def ready(self) -> bool:
        return self._session is not None and self._session.state is State.READY

    async def run(self, address: Address, login: Login) -> str:
        """Connect and log in, and return why it ended.

        Raises
        ------
        OSError, TimeoutError, HandshakeFailed
            There was no connection to begin with.
        """
        now_ns = time.monotonic_ns()
        self._session = LongportSession(self._decoder, login, is_stream=address.is_stream, now_ns=now_ns)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._connect(address)
            self._session.begin(time.monotonic_ns())
            self._after()
            return await self._over
        finally:
            self.close("closed by us")

    async def _connect(self, address: Address) -> None:
        if address.is_stream:
            stream = TcpTransport(self, self._buffer)
            self._transport = stream
            await stream.connect(address.host, address.port)
        else:
            websocket = WebSocketTransport(self, self._buffer, message_bytes_max=PACKET_BYTES_MAX)
            self._transport = self._websocket = websocket
            await websocket.connect(address.websocket_url)

    def wanted_changed(self, tick_polls: TickPolls) -> None:
        """Subscriptions and poller have been told of another configuration: go on with it."""
        self._tick_polls = tick_polls
        self.go_on()

    def pull(self, securities: Iterable[Security]) -> None:
        """Ask for the last trades of these, as soon as may be."""
        self.want_pulls(securities)
        self.go_on()

    def want_pulls(self, securities: Iterable[Security]) -> None:
        """The same, with the next requests."""
        for security in securities:
            if (why := self.backfill.refused.get(security)) is not None:
                self._watcher.pull_given_up(security, why)
            elif self.subscriptions.is_confirmed(security):
                self.backfill.pull(security, time.monotonic_ns())

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        if self._websocket is not None:
            self._message_ends = self._websocket.message_ends
        super().received(buffer, recv_ns)
        if self._message_ends is not None and buffer.start < buffer.stop:
            self._message_ends = self._message_ends.copy()  # the transport's own is gone when this returns

    def ended(self, reason: str) -> None:
        code = self._websocket.close_code if self._websocket is not None else None
        if self._session is not None:
            for event in self._session.end(reason, code):
                self._handle(event)
        self.close(reason)

    def _take_in(self, session: LongportSession) -> bool:
        buffer = self._buffer
        received = session.receive(
            buffer.data,
            buffer.start,
            buffer.stop,
            now_ns=time.monotonic_ns(),
            recv_ns=self._recv_ns,
            ticks=self._lane.ticks,
            message_ends=self._message_ends,
        )
        buffer.start = received.consumed
        for event in received.events:
            self._handle(event)
        return received.needs_room

    def _do_due(self, session: LongportSession) -> None:
        for event in session.tick(time.monotonic_ns(), time.time_ns() // 1_000_000):
            self._handle(event)

    def _end(self, reason: str) -> None:
        if self._session is not None:
            self._session.end(reason)
        for held in self.backfill.due(None):
            self._watcher.pulled(held)
        now_ns = time.monotonic_ns()
        while self._on_their_way:
            self._limits.ended(self._on_their_way.popitem()[1], now_ns)

    def _handle(self, event: Event) -> None:
        watcher, now_ns = self._watcher, time.monotonic_ns()
        match event:
            case Ready():
                self.ready_at_s = time.monotonic()
                watcher.session_ready(event)
            case Replied():
                self._answered(event.request_id, event.command, now_ns)
                self._replied(event)
            case Pulled():
                self._answered(event.request_id, Command.QUERY_TRADE, now_ns)
                self.backfill.answered(event, now_ns)
            case Polled():
                self._answered(event.packet.request_id, event.packet.command, now_ns)
                if (target := self._poller.replied(event.packet.request_id)) is not None:
                    watcher.polled(target, event)
            case Failed():
                self._failed(event, now_ns)
            case DeadLetter():
                watcher.dead_letter(event)
            case UnknownCommand():
                watcher.unknown_command(event.command)
            case Closed():
                self.remedy = event.remedy
                self.close(event.reason)

    def _answered(self, request_id: int, command: int, now_ns: int) -> None:
        self._is_over(request_id, now_ns)
        self._watcher.answered(command)

    def _is_over(self, request_id: int, now_ns: int) -> None:
        if (command := self._on_their_way.pop(request_id, None)) is not None:
            self._limits.ended(command, now_ns)

    def _replied(self, event: Replied) -> None:
        if event.command == Command.QUERY_USER_QUOTE_PROFILE:
            profile = quote_profile_pb2.UserQuoteProfileResponse()
            try:
                profile.ParseFromString(event.body)
            except DecodeError:
                text = "the answer is not the message announced"
                self._watcher.request_failed(Failed(event.request_id, event.command, 0, 0, text))
                return
            self._watcher.profiled(profile)
        elif securities := self.subscriptions.ended(event.request_id):
            for security in securities:
                self.backfill.pull(security, time.monotonic_ns())
            self._watcher.subscribed(securities)

    def _failed(self, event: Failed, now_ns: int) -> None:
        self._is_over(event.request_id, now_ns)
        self._watcher.request_failed(event)
        if reaction_to(event.status_code, event.code) is Reaction.SLOW_DOWN:
            self._watcher.slowed_down(self._limits.too_frequent(now_ns))
        self.subscriptions.failed(event, now_ns)
        why = in_words(event.code, event.text) if event.code else event.text
        if (security := self.backfill.failed(event, why, now_ns)) is not None:
            self._watcher.pull_given_up(security, why)
        if (target := self._poller.failed(event, why, now_ns)) is not None:
            self._watcher.poll_refused(target, why)

    def _send_all(self, session: LongportSession, transport: Transport) -> int | None:
        wakes_ns = []
        if session.state is State.READY:
            self._take_pulls(time.monotonic_ns())
            self._ask(session)
            wakes_ns = self._wakes_ns()
            if news := self.subscriptions.take_refused():
                self._watcher.refused(news)
        for packet in session.take_outgoing():
            transport.send(packet)
        return min((each for each in (session.deadline_ns(), *wakes_ns) if each is not None), default=None)

    def _take_pulls(self, now_ns: int) -> None:
        """Take the answers to pulls whose time has come."""
        if self._waits_for_room:
            return
        for held in self.backfill.due(now_ns):
            if not self._watcher.pulled(held):
                self.backfill.put_back(held)
                self._waits_for_room = True
                self._pipeline.when_room(self._has_room)
                return

    def _has_room(self) -> None:
        self._waits_for_room = False
        self.go_on()

    def _ask(self, session: LongportSession) -> None:
        """Queue every request that may be sent now."""
        now_ns = time.monotonic_ns()
        if self._wants_profile and self._may(Command.QUERY_USER_QUOTE_PROFILE, now_ns):
            self._wants_profile = False
            profile = quote_profile_pb2.UserQuoteProfileRequest(language="en")
            self._request(session, Request(Command.QUERY_USER_QUOTE_PROFILE, profile), now_ns)
        request = self.subscriptions.next_request(now_ns)
        if request is not None and self._may(request.command, now_ns):
            self.subscriptions.sent(self._request(session, request, now_ns))
        for security in self._tick_polls.due(now_ns, lambda market: False):  # LongPort says nothing of its markets
            self.backfill.poll(security)
        self.backfill.ripen(now_ns)
        while self._ask_pull_or_poll(session, now_ns):
            pass

    def _ask_pull_or_poll(self, session: LongportSession, now_ns: int) -> bool:
        """One more request, if any may be sent now."""
        if self._pulls_in_a_row >= PULLS_IN_A_ROW_MAX and self._ask_poll(session, now_ns):
            return True
        return self._ask_pull(session, now_ns) or self._ask_poll(session, now_ns)

    def _ask_pull(self, session: LongportSession, now_ns: int) -> bool:
        if not self._may(Command.QUERY_TRADE, now_ns) or (pull := self.backfill.next_pull(now_ns)) is None:
            return False
        self.backfill.sent(self._request(session, pull_request(pull.security), now_ns), pull)
        self._pulls_in_a_row += 1
        return True

    def _ask_poll(self, session: LongportSession, now_ns: int) -> bool:
        if not any(self._may(command, now_ns) for command in self._next_polls):
            return False
        target = self._poller.next_target(now_ns, time.time())
        self._next_polls = _POLLS if target is None else (target.command,)
        if target is None or not self._may(target.command, now_ns):
            return False
        self._next_polls = _POLLS
        request_id = self._request(session, poll_request(target.command, target.security), now_ns)
        self._poller.sent(target, request_id, now_ns)
        self._pulls_in_a_row = 0
        return True

    def _may(self, command: Command, now_ns: int) -> bool:
        """Whether the account's limits let one more call of this command go out now."""
        ready_ns = self._limits.ready_ns(command)
        return ready_ns is not None and ready_ns <= now_ns

    def _request(self, session: LongportSession, request: Request, now_ns: int) -> int:
        request_id = session.request(request.command, request.message, now_ns)
        self._limits.sent(request.command, now_ns)
        self._on_their_way[request_id] = request.command
        return request_id

    def _wakes_ns(self) -> list[int | None]:
        """When something becomes sendable, or can be taken, by time alone."""
        wakes_ns = [self._tick_polls.deadline_ns()]
        if not self._waits_for_room:
            wakes_ns.append(self.backfill.deadline_ns())
        wants = [
            (Command.QUERY_USER_QUOTE_PROFILE, 0 if self._wants_profile else None),
            (Command.SUBSCRIBE, self.subscriptions.next_ns()),
            (Command.QUERY_TRADE, 0 if self.backfill.waits else None),
            *((command, self._poller.deadline_ns()) for command in self._next_polls),
        ]
        for command, wanted_ns in wants:
            ready_ns = self._limits.ready_ns(command)
            if wanted_ns is not None and ready_ns is not None:
                wakes_ns.append(max(wanted_ns, ready_ns))
        return wakes_ns
