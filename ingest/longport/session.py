"""One LongPort session without a socket or a clock: bytes in, events and packets out.

Rule 1: everything here belongs to one connection and ends with it; what goes on, the session id, is
handed out in `Ready`.
Rule 2: `now_ns` is monotonic and only measures intervals; `recv_ns` is unix time and is stored.
Rule 3: replies are matched by (command, request id) and come in any order; pushes wait for none of them.
Rule 4: no one-time password and no session id gets into a reason, a dead letter or a `repr`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.columns import TickBuffer
from codec.errors import TicktapeError
from codec.hidden import Hidden
from codec.longport.decoder import Body, ControlPacket, Decoded, LongportDecoder, PulledTrades, Refused
from codec.longport.messages import whole_messages
from codec.longport.protocol import (
    HANDSHAKE,
    PUSH_HEADER_BYTES,
    REQUEST_ID_MAX,
    RESPONSE_HEADER_BYTES,
    Command,
    PacketType,
    pack_request,
    pack_response,
)
from codec.spans import Span, StreamBroken
from ingest.letters import PAYLOAD_BYTES_MAX
from ingest.longport.errors import in_words
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
    Ticket,
    UnknownCommand,
)
from ingest.pending import PENDING_MAX, PendingRequests
from protos.longport import control_pb2

LOGIN_TIMEOUT_MS = 5_000
REQUEST_TIMEOUT_MS = 30_000
"""As the official SDK, which says so in each request."""
HEARTBEAT_EVERY_NS = 20_000_000_000
"""Of packets over TCP. The vendor's Go client sends one a minute; what the gateway demands is not known."""
SILENCE_NS_MAX = 50_000_000_000
"""A TCP link on which nothing came for so long, two heartbeats unanswered, is dead."""
EXPIRES_MS_MIN = 1_000_000_000_000
"""What is said to expire before this, in 2001, is no time: when the session expires is then unknown."""

_SECRET_BODIES = frozenset({Command.AUTH, Command.RECONNECT})
"""Bodies that can hold a secret: never stored."""
_POLLS = frozenset({Command.QUERY_CAPITAL_FLOW_INTRADAY, Command.QUERY_CAPITAL_FLOW_DISTRIBUTION})
_REQUESTS = _POLLS | {
    Command.QUERY_USER_QUOTE_PROFILE,
    Command.SUBSCRIBE,
    Command.UNSUBSCRIBE,
    Command.QUERY_TRADE,
}

_WITHOUT_LOSS = _REQUESTS | _SECRET_BODIES | {Command.CLOSE, Command.HEARTBEAT}
"""Packets that may be lost without a tick: what was asked can be asked again."""

_Close = control_pb2.Close
_REMEDIES: dict[int, Remedy] = {
    _Close.HEARTBEAT_TIMEOUT: Remedy.RECONNECT,
    _Close.SERVER_ERROR: Remedy.RECONNECT,
    _Close.SERVER_SHUTDOWN: Remedy.RECONNECT,
    _Close.UNPACK_ERROR: Remedy.RECONNECT,
    _Close.AUTH_ERROR: Remedy.NEW_PASSWORD,
    _Close.SESSION_EXPIRED: Remedy.NEW_PASSWORD,
    _Close.CONNECT_DUPLICATE: Remedy.STAY_AWAY,
}
"""By close code."""


class State(enum.Enum):
    LOGIN = "the login is on its way"
    READY = "requests may be sent"
    CLOSED = "over"


class Signal(enum.Enum):
    ACCEPTED = "the login was accepted"
    REFUSED = "the login was refused"
    CLOSED = "the gateway says that it closes"
    BROKEN = "what came cannot be trusted"
    SILENT = "nothing came for too long"
    END = "the transport ended"


_OVER = dict.fromkeys((Signal.CLOSED, Signal.BROKEN, Signal.SILENT, Signal.END), State.CLOSED)
_TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.LOGIN: {Signal.ACCEPTED: State.READY, Signal.REFUSED: State.CLOSED} | _OVER,
    State.READY: _OVER,
    State.CLOSED: {Signal.END: State.CLOSED},
}
assert set(_TRANSITIONS) == set(State)


class LocalProtocolError(TicktapeError):
    """Our own code asked for what the protocol or its state forbids."""


@dataclass(frozen=True, slots=True)
class Login:
    """How to get in: a one-time password (cmd 2), or the session that goes on (cmd 3).

    Attributes
    ----------
    overnight : whether trades of the US overnight session are wanted
    """

    secret: str = field(repr=False)
    goes_on: bool
    overnight: bool = False

    @property
    def command(self) -> Command:
        return Command.RECONNECT if self.goes_on else Command.AUTH

    def message(self) -> Message:
        metadata = {"need_over_night_quote": "true"} if self.overnight else {}
        if self.goes_on:
            return control_pb2.ReconnectRequest(session_id=self.secret, metadata=metadata)
        return control_pb2.AuthRequest(token=self.secret, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Received:
    """What came of one read: `consumed` is where the next byte to read lies; with `needs_room`, empty
    the tick buffer and call again."""

    consumed: int
    events: list[Event]
    needs_room: bool


class LongportSession:
    """From the first byte of one connection to its end.

    Parameters
    ----------
    decoder : leaves replies to QueryTrade as they are (`holds_pulls`); it keeps no half-read packet
    is_stream : over TCP, where the connection begins with a handshake and lives by heartbeat packets; a
        WebSocket has its own
    """

    def __init__(self, decoder: LongportDecoder, login: Login, *, is_stream: bool, now_ns: int) -> None:
        self.state = State.LOGIN
        self._decoder = decoder
        self._login = login
        self._hidden = Hidden((login.secret,), bytes_min=1)
        self._is_stream = is_stream
        self._heard_ns = now_ns
        self._heartbeat_due_ns = now_ns + HEARTBEAT_EVERY_NS
        self._held_ns: int | None = None
        self._request_id = 0
        self._heartbeats = 0
        self._pending = PendingRequests[Command]()
        self._outgoing: list[bytes] = []

    def begin(self, now_ns: int) -> None:
        """The transport is there: queue the login."""
        if self.state is State.LOGIN:
            if self._is_stream:
                self._outgoing.append(HANDSHAKE)
            self._send(self._login.command, self._login.message(), now_ns, LOGIN_TIMEOUT_MS)

    def request(self, command: Command, message: Message, now_ns: int) -> int:
        """Queue a request and return its id, which its Replied, Pulled, Polled or Failed will carry.

        Raises
        ------
        LocalProtocolError
            The session is not ready, or `PENDING_MAX` requests are unanswered.
        """
        if self.state is not State.READY:
            raise LocalProtocolError(f"{command.name} asked of a session of which {self.state.value}")
        if len(self._pending) >= PENDING_MAX:
            raise LocalProtocolError(f"{PENDING_MAX} requests are unanswered")
        return self._send(command, message, now_ns, REQUEST_TIMEOUT_MS)

    def take_outgoing(self) -> list[bytes]:
        """The packets to send now, oldest first; each is given once. The handshake is one of them."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def deadline_ns(self) -> int | None:
        """When `tick` must next be called, or None when there is nothing to wait for."""
        if self.state is State.CLOSED:
            return None
        deadlines = []
        if self._held_ns is None:
            deadlines = self._pending.deadlines_ns()
            if self._is_stream:
                deadlines.append(self._heard_ns + SILENCE_NS_MAX)
        if self._is_stream and self.state is State.READY:
            deadlines.append(self._heartbeat_due_ns)
        return min(deadlines, default=None)

    def tick(self, now_ns: int, unix_ms: int) -> list[Event]:
        """Do what is due: heartbeats, time-outs, the silence watchdog. `unix_ms` goes into heartbeats."""
        if self.state is State.CLOSED:
            return []
        events = self._late(now_ns) if self._held_ns is None else []
        if self._is_stream and self.state is State.READY and now_ns >= self._heartbeat_due_ns:
            self._heartbeats += 1
            heartbeat = control_pb2.Heartbeat(timestamp=unix_ms, heartbeat_id=self._heartbeats)
            self._send(Command.HEARTBEAT, heartbeat, now_ns, LOGIN_TIMEOUT_MS)
            self._heartbeat_due_ns = now_ns + HEARTBEAT_EVERY_NS
        return events

    def hold(self, now_ns: int) -> None:
        """Nothing will be read until `resume`, by our own choice: no answer is late, no silence counts."""
        self._held_ns = now_ns

    def resume(self, now_ns: int) -> None:
        """Undo `hold`: what waited then has as long to come as it had left."""
        assert self._held_ns is not None
        held_ns, self._held_ns = now_ns - self._held_ns, None
        self._heard_ns += held_ns
        self._pending.postpone(held_ns)

    def end(self, reason: str, close_code: int | None = None) -> list[Event]:
        """The transport has ended, a WebSocket perhaps with a code. Pending requests fail with the session:
        Closed is their answer."""
        return self._close(Signal.END, reason, _REMEDIES.get(-1 if close_code is None else close_code))

    def receive(
        self,
        source: NDArray[np.uint8],
        start: int,
        stop: int,
        *,
        now_ns: int,
        recv_ns: int,
        ticks: TickBuffer,
        message_ends: NDArray[np.int64] | None = None,
    ) -> Received:
        """Read whole packets of source[start:stop]; trades go to `ticks`, the rest becomes events.

        Parameters
        ----------
        source : (n,) uint8 with `PAD_BYTES` behind `stop`; nothing of it is kept
        message_ends : (n,) int64, of a WebSocket: where each message ends, those before `start` among them. One that
            is not whole packets is a dead letter, and says nothing of the others
        """
        if self.state is State.CLOSED:
            return Received(stop, [], needs_room=False)
        self._heard_ns = now_ns
        if message_ends is None:
            decoded = self._decoder.decode(source, start, stop, recv_ns, ticks)
            return self._read(decoded, source, stop, now_ns, recv_ns)
        events: list[Event] = []
        needs_room = False
        while start < stop and not needs_room and not (events and isinstance(events[-1], Closed)):
            decoded = self._decode_messages(source, start, message_ends, recv_ns, ticks)
            received = self._read(decoded, source, stop, now_ns, recv_ns)
            events += received.events
            start, needs_room = received.consumed, received.needs_room
        return Received(start, events, needs_room)

    def _decode_messages(
        self, source: NDArray[np.uint8], start: int, ends: NDArray[np.int64], recv_ns: int, ticks: TickBuffer
    ) -> Decoded:
        """Read messages up to one that is not whole packets, or that one."""
        first = int(np.searchsorted(ends, start, side="right"))
        sound = int(whole_messages(source, start, ends, first))
        if sound > first:
            return self._decoder.decode(source, start, int(ends[sound - 1]), recv_ns, ticks)
        return self._decoder.decode_message(source, start, int(ends[first]), recv_ns, ticks)

    def _read(self, decoded: Decoded, source: NDArray[np.uint8], stop: int, now_ns: int, recv_ns: int) -> Received:
        """What the decoder says of packets, as events."""
        events: list[Event] = []
        for note in decoded.notes:
            match note:
                case ControlPacket():
                    events.extend(self._control(note, source, now_ns, recv_ns))
                case Refused():
                    events.extend(self._refused(note, source))
                case PulledTrades():
                    raise AssertionError("the decoder holds pulls")
            if events and isinstance(events[-1], Closed):
                return Received(stop, events, needs_room=False)
        if decoded.broken is not None:
            events.extend(self._break(decoded.broken, source, stop))
            return Received(stop, events, needs_room=False)
        return Received(decoded.consumed, events, decoded.needs_room)

    def _late(self, now_ns: int) -> list[Event]:
        """The end of a silent session, or the requests that get no answer any more."""
        silent_ns = now_ns - self._heard_ns
        if self._is_stream and silent_ns >= SILENCE_NS_MAX:
            return self._close(Signal.SILENT, f"nothing came for {silent_ns / 1e9:.0f} s")
        events: list[Event] = []
        for number, command in self._pending.take_late(now_ns):
            if command is self._login.command:
                text = f"the login was not answered within {LOGIN_TIMEOUT_MS // 1000} s"
                return self._close(Signal.REFUSED, text)
            if command is not Command.HEARTBEAT:
                text = f"not answered within {REQUEST_TIMEOUT_MS // 1000} s"
                events.append(Failed(number, command, 0, 0, text, timed_out=True))
        return events

    def _send(self, command: Command, message: Message, now_ns: int, timeout_ms: int) -> int:
        self._request_id = self._request_id % REQUEST_ID_MAX + 1
        self._pending.add(self._request_id, command, now_ns + timeout_ms * 1_000_000)
        body = message.SerializeToString(deterministic=True)
        self._outgoing.append(pack_request(command, self._request_id, body, timeout_ms))
        return self._request_id

    def _close(self, signal: Signal, reason: str, remedy: Remedy | None = None) -> list[Event]:
        before = self.state
        self.state = _TRANSITIONS[before][signal]
        self._pending.clear()
        return [] if before is State.CLOSED else [Closed(self._hidden.hide_text(reason), remedy or Remedy.RECONNECT)]

    def _control(self, packet: ControlPacket, source: NDArray[np.uint8], now_ns: int, recv_ns: int) -> Iterable[Event]:
        """A packet that is not pushed trades."""
        match packet.packet_type:
            case PacketType.RESPONSE:
                return self._reply(packet, source, now_ns, recv_ns)
            case PacketType.REQUEST if packet.command == Command.HEARTBEAT:
                self._outgoing.append(pack_response(Command.HEARTBEAT, packet.request_id, packet.body.tobytes()))
                return []
            case PacketType.PUSH if packet.command == Command.CLOSE:
                return self._closes(packet)
            case PacketType.PUSH if packet.command == Command.HEARTBEAT:
                return []
        return [UnknownCommand(packet.command)]

    def _closes(self, packet: ControlPacket) -> list[Event]:
        close = control_pb2.Close()
        try:
            close.ParseFromString(packet.body.tobytes())
        except DecodeError:
            return self._close(Signal.CLOSED, "the gateway closes; why, cannot be read")
        said = f": {' '.join(close.reason.split())}" if close.reason else ""
        word = _close_word(close.code)
        return self._close(Signal.CLOSED, f"the gateway closes, {word}{said}", _REMEDIES.get(close.code))

    def _reply(self, packet: ControlPacket, source: NDArray[np.uint8], now_ns: int, recv_ns: int) -> Iterable[Event]:
        number, command = packet.request_id, packet.command
        if command not in _REQUESTS and command not in (*_SECRET_BODIES, Command.HEARTBEAT):
            return [UnknownCommand(command)]
        if not self._pending.take(number, command):
            return []  # the answer to a request that we gave up on
        if command == Command.HEARTBEAT:
            return []
        if packet.status_code != 0:
            return self._error(packet)
        if command in _SECRET_BODIES:
            return self._accepted(packet, source)
        if command == Command.QUERY_TRADE:
            received = packet.span.of(source) + bytes(PAD_BYTES)
            return [Pulled(number, np.frombuffer(bytearray(received), np.uint8), recv_ns)]
        body = packet.body.tobytes()
        if command in _POLLS:
            own = Body(np.frombuffer(bytearray(body + bytes(PAD_BYTES)), np.uint8), 0, len(body))
            return [Polled(replace(packet, body=own), packet.span.of(source), recv_ns)]
        return [Replied(number, command, body)]

    def _error(self, packet: ControlPacket) -> list[Event]:
        """A reply that tells of an error."""
        error = control_pb2.Error()
        try:
            error.ParseFromString(packet.body.tobytes())
            code, text = error.code, error.msg
        except DecodeError:
            code, text = 0, "its words cannot be read"
        text = self._hidden.hide_text(text)
        if packet.command in _SECRET_BODIES:
            what = "going on with the session" if self._login.goes_on else "the login"
            reason = f"{what} is refused with status {packet.status_code}: {in_words(code, text)}"
            return self._close(Signal.REFUSED, reason, Remedy.NEW_PASSWORD)
        return [Failed(packet.request_id, packet.command, packet.status_code, code, text)]

    def _accepted(self, packet: ControlPacket, source: NDArray[np.uint8]) -> list[Event]:
        reply = control_pb2.ReconnectResponse() if self._login.goes_on else control_pb2.AuthResponse()
        try:
            reply.ParseFromString(packet.body.tobytes())
        except DecodeError:
            return self._login_unreadable(packet.span, packet.command, source, "the body is not the message announced")
        if not reply.session_id:
            return self._login_unreadable(packet.span, packet.command, source, "it names no session")
        self.state = _TRANSITIONS[self.state][Signal.ACCEPTED]
        self._hidden = Hidden((self._login.secret, reply.session_id), bytes_min=1)
        expires_ms = reply.expires if reply.expires >= EXPIRES_MS_MIN else None
        return [Ready(Ticket(reply.session_id, expires_ms), reply.limit, reply.online)]

    def _login_unreadable(self, span: Span, command: int, source: NDArray[np.uint8], detail: str) -> list[Event]:
        letter = self._dead_letter(source, span, command, "undecodable", detail, None, loses_ticks=False)
        text = f"the answer to the login cannot be read: {detail}"
        return [letter, *self._close(Signal.BROKEN, text, Remedy.NEW_PASSWORD)]

    def _refused(self, note: Refused, source: NDArray[np.uint8]) -> list[Event]:
        is_whole = note.part is None
        loses_ticks = is_whole and note.command not in _WITHOUT_LOSS
        letter = self._dead_letter(
            source, note.span, note.command, note.reason, note.detail, note.symbol_id, loses_ticks=loses_ticks
        )
        if not is_whole:
            return [letter]
        return [letter, *self._unanswered(note, source)]

    def _unanswered(self, note: Refused, source: NDArray[np.uint8]) -> list[Event]:
        """A packet cannot be read: the request that it answers, if any, gets no other answer."""
        number = note.request_id or _request_id(source, note.span)
        if not self._pending.take(number, note.command):
            return []
        if note.command in _SECRET_BODIES:
            text = f"the answer to the login cannot be read: {note.detail}"
            return self._close(Signal.BROKEN, text, Remedy.NEW_PASSWORD)
        return [Failed(number, note.command, 0, 0, f"the answer cannot be read: {note.detail}")]

    def _break(self, broken: StreamBroken, source: NDArray[np.uint8], stop: int) -> list[Event]:
        span = Span(broken.at, stop - broken.at)
        command = int(source[broken.at + 1]) if span.size_bytes > 1 else 0
        letter = self._dead_letter(source, span, command, broken.reason, broken.detail, None, loses_ticks=False)
        return [letter, *self._close(Signal.BROKEN, broken.detail)]

    def _dead_letter(
        self,
        source: NDArray[np.uint8],
        span: Span,
        command: int,
        reason: str,
        detail: str,
        symbol_id: int | None,
        *,
        loses_ticks: bool,
    ) -> DeadLetter:
        # Until we are let in, whatever comes may be the answer that holds the session id.
        is_secret = command in _SECRET_BODIES or self.state is State.LOGIN
        return DeadLetter(
            reason=reason,
            detail=f"command {command}: {detail}",
            payload=span.of(source, _header_bytes(source, span) if is_secret else PAYLOAD_BYTES_MAX),
            payload_bytes=span.size_bytes,
            symbol_id=symbol_id,
            loses_ticks=loses_ticks,
        )


def _close_word(code: int) -> str:
    try:
        return f"{_Close.Code.Name(code).lower().replace('_', ' ')} ({code})"
    except ValueError:
        return f"for a reason that we don't know ({code})"


def _header_bytes(source: NDArray[np.uint8], span: Span) -> int:
    """What of a packet surely is its header."""
    is_reply = span.size_bytes > 0 and int(source[span.at]) & 0x0F == PacketType.RESPONSE
    return RESPONSE_HEADER_BYTES if is_reply else PUSH_HEADER_BYTES


def _request_id(source: NDArray[np.uint8], span: Span) -> int:
    """Of a reply that could not be read; 0 of anything else."""
    if span.size_bytes < RESPONSE_HEADER_BYTES or int(source[span.at]) & 0x0F != PacketType.RESPONSE:
        return 0
    return int.from_bytes(source[span.at + 2 : span.at + 6].tobytes(), "big")
