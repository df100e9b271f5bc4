"""One OpenD session without a socket or a clock: bytes in, events and bytes out.

Rule 1: everything here belongs to one connection and ends with it; a half-received frame, a
pending request and the serial numbers are never carried over (docs/protocols/opend.md, 6.1).
Rule 2: `now_ns` is monotonic and only measures intervals; `recv_ns` is unix time and is stored.
Rule 3: replies are matched by (protocol id, serial); pushes and replies may come in any order.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.columns import TickBuffer
from codec.errors import TicktapeError
from codec.opend.cipher import BadKey
from codec.opend.decoder import ControlFrame, OpenDDecoder, PulledTicks, Refused
from codec.opend.json_bodies import UndecodableJson, to_json, to_protobuf
from codec.opend.json_ticks import decode_either_format
from codec.opend.protocol import HEADER, HEADER_BYTES, MAGIC, BodyFormat, ProtoId, pack_frame
from codec.opend.pulled_name import pulled_name
from codec.spans import Span, StreamBroken
from ingest.letters import PAYLOAD_BYTES_MAX
from ingest.opend.encryption import PLAIN, Encryption, WireMode
from ingest.opend.events import (
    NO_SERIAL,
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
from ingest.opend.front import RET_TIMED_OUT
from ingest.pending import PENDING_MAX, PendingRequests
from protos.opend import (
    global_state_pb2,
    init_connect_pb2,
    keep_alive_pb2,
    market_state_pb2,
    notify_pb2,
    static_info_pb2,
    subscription_pb2,
    ticker_pb2,
    user_info_pb2,
)

CLIENT_VERSION = 300
"""What the official SDK says of itself; OpenD's own check of it is not documented."""
CLIENT_ID = "ticktape"

REQUEST_TIMEOUT_NS = 12_000_000_000
"""As the official SDK: an answer that takes longer is taken for lost."""
_NO_ANSWER = f"not answered within {REQUEST_TIMEOUT_NS // 10**9} s"
SILENCE_NS_MAX = 33_000_000_000
"""As the official SDK: a link on which nothing came for this long is dead."""
KEEP_ALIVE_SHARE = 0.8
"""Of the interval that the gateway asks for: one late timer must not be one too many."""

_SECRET_BODIES = frozenset({ProtoId.INIT_CONNECT, ProtoId.GET_USER_INFO, 1006})
"""Bodies that can hold a secret: never stored."""

_REPLIES: dict[ProtoId, type[Message]] = {
    ProtoId.INIT_CONNECT: init_connect_pb2.InitConnectResponse,
    ProtoId.GET_GLOBAL_STATE: global_state_pb2.GetGlobalStateResponse,
    ProtoId.NOTIFY: notify_pb2.NotifyResponse,
    ProtoId.KEEP_ALIVE: keep_alive_pb2.KeepAliveResponse,
    ProtoId.GET_USER_INFO: user_info_pb2.GetUserInfoResponse,
    ProtoId.SUB: subscription_pb2.SubResponse,
    ProtoId.REG_QOT_PUSH: subscription_pb2.RegQotPushResponse,
    ProtoId.GET_SUB_INFO: subscription_pb2.GetSubInfoResponse,
    ProtoId.GET_TICKER: ticker_pb2.GetTickerResponse,
    ProtoId.UPDATE_TICKER: ticker_pb2.UpdateTickerResponse,
    ProtoId.GET_STATIC_INFO: static_info_pb2.GetStaticInfoResponse,
    ProtoId.REQUEST_TRADE_DATE: market_state_pb2.RequestTradeDateResponse,
    ProtoId.GET_MARKET_STATE: market_state_pb2.GetMarketStateResponse,
}
_PUSHES = frozenset({ProtoId.NOTIFY, ProtoId.UPDATE_TICKER})
POLLS = frozenset({ProtoId.GET_CAPITAL_FLOW, ProtoId.GET_CAPITAL_DISTRIBUTION, ProtoId.GET_ARK_STOCK_DYNAMIC})
"""Calls whose answers are rows: they are handed on as they came (`Polled`)."""

_WITHOUT_LOSS = (frozenset(_REPLIES) | POLLS) - {ProtoId.UPDATE_TICKER}
"""Frames that may be lost without a tick: what was asked can be asked again."""


class State(enum.Enum):
    GREETING = "InitConnect is on its way"
    READY = "requests may be sent"
    CLOSED = "over"


class Signal(enum.Enum):
    ACCEPTED = "InitConnect was accepted"
    REFUSED = "InitConnect was refused"
    BROKEN = "what came cannot be trusted"
    SILENT = "nothing came for too long"
    END = "the transport ended"


_TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.GREETING: {
        Signal.ACCEPTED: State.READY,
        Signal.REFUSED: State.CLOSED,
        Signal.BROKEN: State.CLOSED,
        Signal.SILENT: State.CLOSED,
        Signal.END: State.CLOSED,
    },
    State.READY: {Signal.BROKEN: State.CLOSED, Signal.SILENT: State.CLOSED, Signal.END: State.CLOSED},
    State.CLOSED: {Signal.END: State.CLOSED},
}
assert set(_TRANSITIONS) == set(State)


class LocalProtocolError(TicktapeError):
    """Our own code asked for what the protocol or its state forbids."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came of one read: `consumed` is where the next byte to read lies; with `needs_room`, empty
    the tick buffer and call again."""

    consumed: int
    events: list[Event]
    needs_room: bool


class OpenDSession:
    """From the first byte of one connection to its end.

    `decoder` must be new to this connection or have no half-read frame: it keeps none.
    """

    def __init__(self, decoder: OpenDDecoder, *, now_ns: int, wire: WireMode = PLAIN) -> None:
        self.state = State.GREETING
        self._decoder = decoder
        self._wire = wire
        self._encryption = Encryption(self._wire.rsa, decoder.body_bytes_max) if self._wire.rsa else None
        self._heard_ns = now_ns
        self._keep_alive_ns: int | None = None
        self._keep_alive_due_ns = 0
        self._held_ns: int | None = None
        self._serial = 0
        self._pending = PendingRequests[ProtoId]()
        self._names_wanted: set[int] = set()
        self._outgoing: list[bytes] = []
        c2s = init_connect_pb2.InitConnectC2S(
            clientVer=CLIENT_VERSION,
            clientID=CLIENT_ID,
            recvNotify=True,
            packetEncAlgo=self._wire.algorithm,
            pushProtoFmt=self._wire.body_format,
            programmingLanguage="Python",
        )
        self._send(ProtoId.INIT_CONNECT, init_connect_pb2.InitConnectRequest(c2s=c2s), now_ns)

    def request(self, proto_id: ProtoId, message: Message, now_ns: int) -> int:
        """Queue a request and return its serial, which its Replied, Pulled or Failed will carry.

        Raises
        ------
        LocalProtocolError
            The session is not ready, or `PENDING_MAX` requests are unanswered.
        """
        if self.state is not State.READY:
            raise LocalProtocolError(f"{proto_id.name} asked of a session of which {self.state.value}")
        if len(self._pending) >= PENDING_MAX:
            raise LocalProtocolError(f"{PENDING_MAX} requests are unanswered")
        return self._send(proto_id, message, now_ns)

    def want_name(self, serial: int) -> None:
        """The answer to this GetTicker is to tell the symbol's name too."""
        self._names_wanted.add(serial)

    def take_outgoing(self) -> bytes:
        """What must be sent now, oldest first; each byte is given once."""
        outgoing = b"".join(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def deadline_ns(self) -> int | None:
        """When `tick` must next be called, or None when there is nothing to wait for."""
        if self.state is State.CLOSED:
            return None
        deadlines = []
        if self._held_ns is None:
            deadlines = [*self._pending.deadlines_ns(), self._heard_ns + SILENCE_NS_MAX]
        if self._keep_alive_ns is not None:
            deadlines.append(self._keep_alive_due_ns)
        return min(deadlines, default=None)

    def tick(self, now_ns: int, unix_s: int) -> list[Event]:
        """Do what is due: KeepAlive, time-outs, the silence watchdog. `unix_s` goes into KeepAlive."""
        if self.state is State.CLOSED:
            return []
        events = self._late(now_ns) if self._held_ns is None else []
        if self._keep_alive_ns is not None and self.state is State.READY and now_ns >= self._keep_alive_due_ns:
            c2s = keep_alive_pb2.KeepAliveC2S(time=unix_s)
            self._send(ProtoId.KEEP_ALIVE, keep_alive_pb2.KeepAliveRequest(c2s=c2s), now_ns)
            self._keep_alive_due_ns = now_ns + self._keep_alive_ns
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

    def _late(self, now_ns: int) -> list[Event]:
        """The end of a silent session, or the requests that get no answer any more."""
        if now_ns - self._heard_ns >= SILENCE_NS_MAX:
            silent_s = (now_ns - self._heard_ns) / 1e9
            return self._close(Signal.SILENT, f"nothing came for {silent_s:.0f} s")
        events: list[Event] = []
        for serial, proto_id in self._pending.take_late(now_ns):
            if proto_id is ProtoId.INIT_CONNECT:
                return self._close(Signal.REFUSED, f"InitConnect was {_NO_ANSWER}; {self._wire.hint}")
            if proto_id is not ProtoId.KEEP_ALIVE:
                events.append(Failed(serial, proto_id, 0, 0, _NO_ANSWER, timed_out=True))
        return events

    def end(self, reason: str) -> list[Event]:
        """The transport has ended. Pending requests fail with the session: Closed is their answer."""
        return self._close(Signal.END, reason)

    def receive(
        self, source: NDArray[np.uint8], start: int, stop: int, *, now_ns: int, recv_ns: int, ticks: TickBuffer
    ) -> Received:
        """Read whole frames of source[start:stop]; ticks go to `ticks`, the rest becomes events.

        Parameters
        ----------
        source : (n,) uint8 with `PAD_BYTES` behind `stop`; nothing of it is kept
        """
        if self.state is State.CLOSED:
            return Received(stop, [], needs_room=False)
        self._heard_ns = now_ns
        if self._encryption is None:
            return self._read(source, start, stop, now_ns, recv_ns, ticks)
        return self._read_sealed(self._encryption, source, start, stop, now_ns, recv_ns, ticks)

    def _read_sealed(
        self,
        encryption: Encryption,
        source: NDArray[np.uint8],
        start: int,
        stop: int,
        now_ns: int,
        recv_ns: int,
        ticks: TickBuffer,
    ) -> Received:
        """Read encrypted frames; those that are plain already and wait for room come first."""
        events: list[Event] = []
        while True:
            if encryption.start == encryption.stop:
                start, refused = encryption.open(source, start, stop)
                if refused is not None:
                    events += self._refused(refused, source)
                elif encryption.start == encryption.stop:
                    return Received(start, events, needs_room=False)
            else:
                received = self._read(encryption.plain, encryption.start, encryption.stop, now_ns, recv_ns, ticks)
                encryption.start = received.consumed
                events += received.events
                if received.needs_room:
                    return Received(start, events, needs_room=True)
            if events and isinstance(events[-1], Closed):
                return Received(stop, events, needs_room=False)

    def _read(
        self, source: NDArray[np.uint8], start: int, stop: int, now_ns: int, recv_ns: int, ticks: TickBuffer
    ) -> Received:
        """Read plain frames."""
        decoded = decode_either_format(self._decoder, source, start, stop, recv_ns, ticks)
        events: list[Event] = []
        for note in decoded.notes:
            match note:
                case ControlFrame():
                    events.extend(self._control(note, source, now_ns, recv_ns))
                case PulledTicks():
                    if self._pending.take(note.serial, ProtoId.GET_TICKER):
                        name = pulled_name(note.span.of(source)) if note.serial in self._names_wanted else None
                        self._names_wanted.discard(note.serial)
                        events.append(Pulled(note.serial, note.symbol_id, note.first_row, note.rows, name))
                case Refused():
                    events.extend(self._refused(note, source))
            if events and isinstance(events[-1], Closed):
                return Received(stop, events, needs_room=False)
        if decoded.broken is not None:
            events.extend(self._break(decoded.broken, source, stop))
            return Received(stop, events, needs_room=False)
        return Received(decoded.consumed, events, decoded.needs_room)

    def _send(self, proto_id: ProtoId, message: Message, now_ns: int) -> int:
        self._serial += 1
        self._pending.add(self._serial, proto_id, now_ns + REQUEST_TIMEOUT_NS)
        body_format, encryption = self._wire.body_format, self._encryption
        body = to_json(message) if body_format is BodyFormat.JSON else message.SerializeToString()
        sealed = encryption.seal(proto_id, body) if encryption else None
        self._outgoing.append(pack_frame(proto_id, self._serial, body, body_format, sealed=sealed))
        return self._serial

    def _close(self, signal: Signal, reason: str) -> list[Event]:
        before = self.state
        self.state = _TRANSITIONS[before][signal]
        self._pending.clear()
        return [] if before is State.CLOSED else [Closed(reason)]

    def _control(self, frame: ControlFrame, source: NDArray[np.uint8], now_ns: int, recv_ns: int) -> Iterable[Event]:
        """A message that is not ticks: a reply, a notice, or ticks that the gateway refused."""
        if frame.proto_id not in _REPLIES and frame.proto_id not in POLLS:
            return [UnknownMessage(frame.proto_id)]
        proto_id = ProtoId(frame.proto_id)
        if proto_id not in _PUSHES and not self._pending.has(frame.serial, proto_id):
            return []  # the answer to a request that we gave up on
        if proto_id in POLLS:
            self._pending.take(frame.serial, proto_id)
            copied = np.frombuffer(bytearray(frame.span.of(source) + bytes(PAD_BYTES)), np.uint8)
            return [Polled(replace(frame, span=Span(0, frame.span.size_bytes)), copied, recv_ns)]
        reply, body = _REPLIES[proto_id](), frame.span.of(source)[HEADER_BYTES:]
        try:
            if frame.body_format == BodyFormat.JSON:
                body = to_protobuf(body, type(reply)).body
            elif frame.body_format != BodyFormat.PROTOBUF:
                detail = f"the body's format is {frame.body_format}, neither protobuf nor JSON"
                return self._undecodable(frame, source, detail)
            reply.ParseFromString(body)
        except (DecodeError, UndecodableJson) as error:
            secret = proto_id in _SECRET_BODIES  # what is wrong with a JSON body may be told by quoting it
            detail = "the body is not the message announced" if secret else str(error)
            return self._undecodable(frame, source, detail)
        if not reply.IsInitialized():
            return self._undecodable(frame, source, "a required field is missing")
        return self._understood(proto_id, frame.serial, reply, now_ns)

    def _understood(self, proto_id: ProtoId, serial: int, reply: Message, now_ns: int) -> Iterable[Event]:
        if proto_id not in _PUSHES:
            self._pending.take(serial, proto_id)
        ret_type, text, error_code = reply.retType, reply.retMsg, reply.errCode  # type: ignore[attr-defined]
        if ret_type != 0:
            if proto_id is ProtoId.INIT_CONNECT:
                return self._close(Signal.REFUSED, f"InitConnect was refused: {text or 'no reason given'} ({ret_type})")
            asked = NO_SERIAL if proto_id in _PUSHES else serial
            timed_out = ret_type == RET_TIMED_OUT  # the gateway itself had no answer: that is no refusal
            return [Failed(asked, proto_id, ret_type, error_code, text or "no reason given", timed_out=timed_out)]
        if proto_id is ProtoId.INIT_CONNECT:
            return self._accepted(reply, now_ns)
        if proto_id is ProtoId.NOTIFY:
            return [Notified(reply)]
        return [] if proto_id is ProtoId.KEEP_ALIVE else [Replied(serial, proto_id, reply)]

    def _accepted(self, reply: Message, now_ns: int) -> list[Event]:
        assert isinstance(reply, init_connect_pb2.InitConnectResponse)
        if self._encryption is not None:
            try:
                vector = reply.s2c.aesCBCiv if reply.s2c.HasField("aesCBCiv") else None
                self._encryption.agree(reply.s2c.connAESKey, vector)
            except BadKey as error:
                return self._close(Signal.BROKEN, f"the answer to InitConnect cannot be used: {error}")
        self.state = _TRANSITIONS[self.state][Signal.ACCEPTED]
        interval_s = reply.s2c.keepAliveInterval
        if interval_s > 0:
            self._keep_alive_ns = int(KEEP_ALIVE_SHARE * interval_s * 1e9)
            self._keep_alive_due_ns = now_ns + self._keep_alive_ns
        return [Ready(reply.s2c.connID, reply.s2c.loginUserID, reply.s2c.serverVer, interval_s)]

    def _undecodable(self, frame: ControlFrame, source: NDArray[np.uint8], detail: str) -> list[Event]:
        events: list[Event] = [_dead_letter(source, frame.span, frame.proto_id, "undecodable", detail, None, True)]
        return events + self._unanswered(frame.proto_id, frame.serial, detail)

    def _refused(self, note: Refused, source: NDArray[np.uint8]) -> list[Event]:
        whole = note.tick is None
        events: list[Event] = [
            _dead_letter(source, note.span, note.proto_id, note.reason, note.detail, note.symbol_id, whole)
        ]
        return events + self._unanswered(note.proto_id, note.serial, note.detail) if whole else events

    def _unanswered(self, proto_id: int, serial: int, detail: str) -> list[Event]:
        """A frame cannot be read: the request that it answers, if any, gets no other answer."""
        if not self._pending.take(serial, proto_id):
            return []
        if proto_id == ProtoId.INIT_CONNECT:
            reason = f"the answer to InitConnect cannot be read: {detail}; {self._wire.hint}"
            return self._close(Signal.BROKEN, reason)
        return [Failed(serial, proto_id, 0, 0, f"the answer cannot be read: {detail}", timed_out=False)]

    def _break(self, broken: StreamBroken, source: NDArray[np.uint8], stop: int) -> list[Event]:
        span = Span(broken.at, stop - broken.at)
        header = span.of(source, HEADER_BYTES)
        proto_id = HEADER.unpack(header)[1] if header.startswith(MAGIC) else None
        letter = _dead_letter(source, span, proto_id, broken.reason, broken.detail, None, True)
        return [letter, *self._close(Signal.BROKEN, broken.detail)]


def _dead_letter(
    source: NDArray[np.uint8],
    span: Span,
    proto_id: int | None,
    reason: str,
    detail: str,
    symbol_id: int | None,
    whole_frame: bool,
) -> DeadLetter:
    size_max = HEADER_BYTES if proto_id in _SECRET_BODIES else PAYLOAD_BYTES_MAX
    where = "stream" if proto_id is None else f"protocol id {proto_id}"
    return DeadLetter(
        reason=reason,
        detail=f"{where}: {detail}",
        payload=span.of(source, size_max),
        payload_bytes=span.size_bytes,
        symbol_id=symbol_id,
        loses_ticks=whole_frame and proto_id not in _WITHOUT_LOSS,
    )
