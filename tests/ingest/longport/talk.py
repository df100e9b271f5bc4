"""A session that is fed bytes, and what it says to them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import numpy as np

from codec.bits import PAD_BYTES
from codec.columns import SEQUENCE, VOLUME, TickBuffer
from codec.conditions import ConditionTable
from codec.longport.decoder import LongportDecoder
from codec.longport.protocol import HANDSHAKE, Command
from codec.symbols import SymbolTable
from ingest.longport.events import Event
from ingest.longport.session import Login, LongportSession
from tests.ingest.longport import wire
from tests.ingest.talk import CLOCK

S = 1_000_000_000
PASSWORD = "password-1"


class Talk:
    """One session; time stands where `now_ns` says.

    Attributes
    ----------
    rows : (sequence, number of the trade) of all that was decoded
    """

    def __init__(
        self, *, goes_on: bool = False, overnight: bool = False, websocket: bool = False, capacity: int = 64
    ) -> None:
        self.symbols = SymbolTable(12)
        decoder = LongportDecoder(self.symbols, ConditionTable(), CLOCK, holds_pulls=True)
        self.now_ns = 0
        self.secret = "session-0" if goes_on else PASSWORD
        login = Login(self.secret, goes_on=goes_on, overnight=overnight)
        self.websocket = websocket
        self.session = LongportSession(decoder, login, is_stream=not websocket, now_ns=0)
        self.session.begin(0)
        self.ticks = TickBuffer(capacity)
        self.rows: list[tuple[int, int]] = []

    def let_in(self) -> Talk:
        """Past the login."""
        command = Command.RECONNECT if self.secret == "session-0" else Command.AUTH
        self.hear(wire.accepted(1, "session-1", command=command))
        self.session.take_outgoing()
        return self

    def hear(self, *packets: bytes) -> list[Event]:
        """What the session says to these, in one read."""
        return self.hear_chunks([b"".join(packets)]) if not self.websocket else self.hear_messages(packets)

    def hear_chunks(self, chunks: Iterable[bytes]) -> list[Event]:
        """The same, however the stream is cut."""
        events: list[Event] = []
        waiting = b""
        for chunk in chunks:
            waiting += chunk
            events += self._read(waiting, None)
            waiting = waiting[self._consumed :]
        self.left = waiting
        return events

    def hear_messages(self, messages: Sequence[bytes]) -> list[Event]:
        """The same of a WebSocket's messages, read together."""
        ends = np.cumsum([len(message) for message in messages]).astype(np.int64)
        events = self._read(b"".join(messages), ends)
        self.left = b"".join(messages)[self._consumed :]
        return events

    def _read(self, waiting: bytes, ends: np.ndarray | None) -> list[Event]:
        source = np.frombuffer(bytearray(waiting + b"\xff" * PAD_BYTES), np.uint8)
        events: list[Event] = []
        start = 0
        while True:
            received = self.session.receive(
                source,
                start,
                len(waiting),
                now_ns=self.now_ns,
                recv_ns=9,
                ticks=self.ticks,
                message_ends=ends,
            )
            start = received.consumed
            events += received.events
            rows = slice(self.ticks.rows)
            sequences, volumes = self.ticks.wide[SEQUENCE, rows], self.ticks.real[VOLUME, rows]
            self.rows += [(s, int(v) - 100) for s, v in zip(sequences.tolist(), volumes.tolist(), strict=True)]
            self.ticks.rows = 0
            if not received.needs_room:
                self._consumed = start
                return events

    def tick(self, at_ns: int) -> list[Event]:
        """What time alone brings about."""
        self.now_ns = at_ns
        return self.session.tick(at_ns, 1_700_000_000_000)


def cut(stream: bytes, seed: int) -> list[bytes]:
    """A stream in pieces as a network may cut it."""
    rng, chunks = random.Random(seed), []
    while stream:
        size = rng.choice((1, 2, 3, 7, 64, 1500))
        chunks.append(stream[:size])
        stream = stream[size:]
    return chunks


def without_handshake(outgoing: list[bytes]) -> list[bytes]:
    assert outgoing[0] == HANDSHAKE
    return outgoing[1:]
