"""A session and the buffer it reads from, driven by hand."""

from __future__ import annotations

from codec.clock import MarketClock
from codec.columns import SEQUENCE, TickBuffer
from codec.opend.decoder import OpenDDecoder
from codec.symbols import SymbolTable
from ingest.opend.encryption import PLAIN, WireMode
from ingest.opend.events import Event
from ingest.opend.session import OpenDSession
from ingest.receive_buffer import ReceiveBuffer
from tests.ingest import wire

CLOCK = MarketClock()
RECV_NS = 1_795_138_201_000_000_000
BODY_BYTES_MAX = 256 << 10


def make_decoder(symbols: SymbolTable | None = None) -> OpenDDecoder:
    return OpenDDecoder(symbols or SymbolTable(12), CLOCK, body_bytes_max=BODY_BYTES_MAX)


def seconds(count: float) -> int:
    """As `now_ns`."""
    return int(count * 1e9)


class Talk:
    """One session whose gateway is the test.

    Attributes
    ----------
    ticks : where the session's rows go
    """

    def __init__(
        self, decoder: OpenDDecoder | None = None, *, greeted: bool = False, wire_mode: WireMode = PLAIN
    ) -> None:
        self.session = OpenDSession(decoder or make_decoder(), now_ns=0, wire=wire_mode)
        self.ticks = TickBuffer(4096)
        self._buffer = ReceiveBuffer(capacity_max=1 << 20)
        if greeted:
            self.hear(wire.accept_frame())
            self.session.take_outgoing()

    def hear(self, *frames: bytes, at_s: float = 0) -> list[Event]:
        """The gateway sent these bytes, in one piece; what the session makes of them."""
        data = b"".join(frames)
        self._buffer.free()[: len(data)] = data
        self._buffer.filled(len(data))
        received = self.session.receive(
            self._buffer.data,
            self._buffer.start,
            self._buffer.stop,
            now_ns=seconds(at_s),
            recv_ns=RECV_NS,
            ticks=self.ticks,
        )
        assert not received.needs_room
        self._buffer.start = received.consumed
        return received.events

    def sent(self) -> list[tuple[int, int, bytes]]:
        """What the session wants to send: (protocol id, serial, body) of each request."""
        frames, rest = wire.read_frames(self.session.take_outgoing())
        assert rest == b""
        return frames

    @property
    def sequences(self) -> list[int]:
        """Of the rows so far."""
        return [int(sequence) for sequence in self.ticks.wide[SEQUENCE, : self.ticks.rows]]
