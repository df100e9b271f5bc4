"""However a conversation is cut into reads, and however small the tick buffer: the same rows, the same
events and the same requests come of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import Phase, example, given, settings
from hypothesis import event as note_event
from hypothesis import strategies as st

from codec.columns import BLOCK_ROWS, SYMBOL_ID, TickBuffer
from codec.opend.protocol import ProtoId, pack_frame
from codec.symbols import SymbolTable
from ingest.opend.encryption import PLAIN, WireMode
from ingest.opend.events import Closed, DeadLetter, Event, Failed, Notified, Pulled, Ready, Replied
from ingest.opend.session import OpenDSession
from ingest.receive_buffer import ReceiveBuffer
from protos.opend import common_pb2, global_state_pb2, subscription_pb2, ticker_pb2
from tests.ingest import wire
from tests.ingest.talk import BODY_BYTES_MAX, RECV_NS, make_decoder, seconds

SYMBOLS = ("HK.00700", "HK.09988", "US.AAPL")
FIRST_CALLS = (ProtoId.SUB, ProtoId.GET_TICKER, ProtoId.GET_GLOBAL_STATE, ProtoId.GET_TICKER, ProtoId.SUB)
"""What the client below asks when it is accepted, under the serials 2 to 6."""

_PULL = ticker_pb2.GetTickerC2S(security=common_pb2.Security(market=1, code="00700"), maxRetNum=1000)
_STATE = global_state_pb2.GetGlobalStateRequest(c2s=global_state_pb2.GetGlobalStateC2S(userID=0))
_REQUESTS = {
    ProtoId.SUB: subscription_pb2.SubRequest(c2s=subscription_pb2.SubC2S(isSubOrUnSub=True)),
    ProtoId.GET_TICKER: ticker_pb2.GetTickerRequest(c2s=_PULL),
    ProtoId.GET_GLOBAL_STATE: _STATE,
}


@dataclass(frozen=True)
class Piece:
    """Some bytes of the gateway, and how many rows are in them."""

    kind: str
    data: bytes = field(repr=False)
    rows: int = 0


@dataclass
class Outcome:
    """All that came of one conversation."""

    events: list[object] = field(default_factory=list)
    rows: list[tuple[object, ...]] = field(default_factory=list)
    sent: bytes = b""
    letter_at_the_end: bytes = b""
    """Payload of a stream that broke: as much as was there when it was noticed."""


def push(symbol: str, first: int, count: int) -> Piece:
    return Piece("push", wire.push_frame(symbol, wire.make_ticks(range(first, first + count))), count)


def push_with_bad_tick(symbol: str, first: int) -> Piece:
    ticks = [wire.make_tick(first), wire.make_tick(first + 1, price=float("inf")), wire.make_tick(first + 2)]
    return Piece("bad tick", wire.push_frame(symbol, ticks), 2)


def pull(serial: int, symbol: str, first: int, count: int) -> Piece:
    ticks = wire.make_ticks(range(first, first + count), push_type=None)
    return Piece("pull", wire.pull_frame(symbol, ticks, serial=serial), count)


serials = st.sampled_from((2, 3, 4, 5, 6, 99))
symbols = st.sampled_from(SYMBOLS)
calls = st.sampled_from((ProtoId.SUB, ProtoId.GET_TICKER, ProtoId.GET_GLOBAL_STATE))
bodies = st.binary(max_size=60)

pieces_of_ticks = st.one_of(
    st.builds(push, symbols, st.integers(0, 500), st.integers(1, 40)),
    st.builds(push_with_bad_tick, symbols, st.integers(0, 500)),
)
other_pushes = st.one_of(
    st.builds(lambda serial: Piece("notice", wire.notice_frame(serial=serial)), serials),
    st.builds(lambda body: Piece("unknown", pack_frame(4242, 3, body + b"x")), bodies),
    st.builds(lambda id_, serial: Piece("empty", pack_frame(id_, serial, b"")), st.sampled_from((1003, 3011)), serials),
    st.builds(lambda serial: Piece("json push", wire.bad_json_frame(ProtoId.UPDATE_TICKER, serial)), serials),
    st.builds(lambda serial: Piece("refused push", wire.refusal_frame(ProtoId.UPDATE_TICKER, serial)), serials),
    st.builds(lambda piece: Piece("bad sha1", wire.with_bad_sha1(piece.data)), pieces_of_ticks),
    st.builds(
        lambda id_, serial: Piece("undecodable", pack_frame(id_, serial, b"\x08\x00\x22\x7f\x01")),
        st.sampled_from((1003, 3001, 3010, 3011)),
        serials,
    ),
)
answers = st.one_of(
    st.builds(pull, serials, symbols, st.integers(0, 500), st.integers(0, 40)),
    st.builds(lambda serial: Piece("subscribed", wire.subscribed_frame(serial)), serials),
    st.builds(lambda call, serial: Piece("refusal", wire.refusal_frame(call, serial)), calls, serials),
    st.builds(lambda call, serial: Piece("json answer", wire.bad_json_frame(call, serial)), calls, serials),
    st.builds(
        lambda piece: Piece("bad sha1 answer", wire.with_bad_sha1(piece.data)),
        st.builds(pull, serials, symbols, st.just(1), st.just(3)),
    ),
)
last_words = st.one_of(
    st.just(Piece("nothing", b"")),
    st.builds(lambda cut: Piece("half a frame", push(SYMBOLS[0], 900, 3).data[:cut]), st.integers(1, 300)),
    st.builds(lambda tail: Piece("bad magic", b"FX" + tail), st.binary(max_size=100)),
    st.builds(
        lambda tail: Piece("too large", pack_frame(3011, 0, bytes(BODY_BYTES_MAX + 1))[:44] + tail),
        st.binary(max_size=100),
    ),
)
cuts = st.one_of(
    st.lists(st.integers(1, 60), min_size=1, max_size=30),
    st.lists(st.integers(1, 5000), min_size=1, max_size=30),
    st.just([1]),
)


class Client:
    """Reacts to each event in the same way: some make it ask something, one makes time go by.

    What the gateway says behind its acceptance is held back until the first requests went out, because
    no gateway answers what was not asked; later requests stay without an answer.
    """

    def __init__(self, capacity: int, wire_mode: WireMode) -> None:
        self.symbols = SymbolTable(12)
        self.session = OpenDSession(make_decoder(self.symbols), now_ns=0, wire=wire_mode)
        self.buffer = ReceiveBuffer(capacity_max=1 << 20)
        self.ticks = TickBuffer(capacity)
        self.outcome = Outcome()
        self.accepted = False
        self.now_s = 0

    def read(self) -> None:
        while True:
            buffer = self.buffer
            received = self.session.receive(
                buffer.data, buffer.start, buffer.stop, now_ns=seconds(self.now_s), recv_ns=RECV_NS, ticks=self.ticks
            )
            buffer.start = received.consumed
            for event in received.events:
                self.outcome.events.append(self._as_told(event))
                self._react(event)
            self.outcome.sent += self.session.take_outgoing()
            if not received.needs_room:
                return
            assert self.ticks.rows > 0
            self.empty()

    def empty(self) -> None:
        """Take the rows, as a store would."""
        names = self.symbols.names
        self.symbols.canonicalize(self.ticks.narrow[SYMBOL_ID, : self.ticks.rows])
        columns = [self.ticks.column(name).tolist() for name in BLOCK_ROWS]
        at = list(BLOCK_ROWS).index("symbol")
        for row in zip(*columns, strict=True):
            self.outcome.rows.append((*row[:at], names[row[at]], *row[at + 1 :]))
        self.ticks.rows = 0

    def _as_told(self, event: Event) -> object:
        """`event` without what may depend on the cuts: row numbers become rows."""
        match event:
            case Pulled():
                rows = slice(event.first_row, event.first_row + event.rows)
                return ("pulled", event.serial, tuple(self.ticks.column("sequence")[rows].tolist()))
            case DeadLetter(reason="bad_magic" | "frame_too_large"):
                self.outcome.letter_at_the_end = event.payload
                return replace(event, payload=b"", payload_bytes=0)
            case Replied() | Notified():
                return str(event)
            case _:
                return event

    def _react(self, event: Event) -> None:
        if not isinstance(event, Ready) and not self.accepted:
            return
        match event:
            case Ready():
                self.accepted = True
                for proto_id in FIRST_CALLS:
                    self._ask(proto_id)
            case Pulled() | Replied():
                self._ask(ProtoId.GET_TICKER)
            case Failed(proto_id=proto_id) if proto_id in _REQUESTS:
                self._ask(ProtoId(proto_id))
            case Notified() if self.now_s == 0:
                self.now_s = 10  # time for a KeepAlive, and not yet too late for an answer
                self.outcome.events.extend(self.session.tick(seconds(self.now_s), wire.START_S))

    def _ask(self, proto_id: ProtoId) -> None:
        self.session.request(proto_id, _REQUESTS[proto_id], seconds(self.now_s))


def converse(parts: Sequence[bytes], size: Iterator[int], capacity: int, wire_mode: WireMode = PLAIN) -> Outcome:
    """One whole conversation, each part of it read in pieces of the next sizes."""
    client = Client(capacity, wire_mode)
    client.outcome.sent += client.session.take_outgoing()
    for part in parts:
        at = 0
        while at < len(part):
            room = client.buffer.free()
            taken = min(next(size), len(part) - at, len(room))
            room[:taken] = part[at : at + taken]
            client.buffer.filled(taken)
            at += taken
            client.read()
    client.outcome.events.extend(client.session.end("the end"))
    client.empty()
    return client.outcome


@settings(max_examples=150, deadline=None, phases=set(Phase) - {Phase.explain})
@given(
    before=st.lists(st.one_of(pieces_of_ticks, other_pushes), max_size=3),
    after=st.lists(st.one_of(pieces_of_ticks, pieces_of_ticks, other_pushes, answers), max_size=12),
    last=last_words,
    sizes=cuts,
    capacity=st.integers(40, 200),
)
@example(
    before=[],
    after=[push(SYMBOLS[0], 0, 30), push(SYMBOLS[0], 30, 30), pull(3, SYMBOLS[0], 0, 40)],
    last=Piece("bad magic", b"FX"),
    sizes=[1],
    capacity=40,
)
def test_chunking_never_matters(
    before: Sequence[Piece], after: Sequence[Piece], last: Piece, sizes: Sequence[int], capacity: int
) -> None:
    greeting = b"".join(piece.data for piece in before) + wire.accept_frame()
    # What ends a session is read for itself: from then on, nothing can be sent.
    parts = (greeting, b"".join(piece.data for piece in after), last.data)
    whole = converse(parts, itertools.repeat(1 << 20), 4096)
    cut = converse(parts, itertools.cycle(sizes), capacity)

    for piece in (*before, *after, last):
        note_event(piece.kind)
    assert len(whole.rows) == sum(piece.rows for piece in (*before, *after))
    assert cut.rows == whole.rows
    assert cut.events == whole.events
    assert cut.sent == whole.sent
    assert whole.letter_at_the_end.startswith(cut.letter_at_the_end)
    assert sum(isinstance(event, Closed) for event in cut.events) == 1


def test_frames_longer_than_the_buffer_and_a_frame_across_its_end() -> None:
    """Kilobytes of every size: the buffer moves what waits to its front, and grows."""
    pieces = [push(SYMBOLS[index % 3], index, count) for index, count in enumerate((1, 1000, 2, 1500, 1, 1999) * 6)]
    rest = b"".join(piece.data for piece in pieces)
    assert len(rest) > 2 << 20
    whole = converse((wire.accept_frame(), rest), itertools.repeat(1 << 20), 4096)
    for size in (1460, 65_536, 99_991):
        assert converse((wire.accept_frame(), rest), itertools.repeat(size), 2000) == whole
    assert len(whole.rows) == 6 * (1 + 1000 + 2 + 1500 + 1 + 1999)
