"""Bytes into a LongportDecoder as a socket gives them, and what came out in the words of the oracle."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import NULL_TIME, TickBuffer
from codec.conditions import CONDITION_CHARACTERS, ConditionTable
from codec.longport.decoder import ControlPacket, LongportDecoder, Note, PulledTrades
from codec.symbols import SymbolTable
from codec.tables import DELIVERY, DIRECTION, SESSION, EnumKind
from tests.codec.longport import oracle
from tests.codec.longport.oracle import Reading, Row
from tests.codec.oracle import EPOCH_DAY

CLOCK = MarketClock()
PARTITIONS = 12


def padded(content: bytes, padding: bytes = b"\xff") -> NDArray[np.uint8]:
    """A receive buffer that holds `content`."""
    return np.frombuffer(bytearray(content + (padding * PAD_BYTES)[:PAD_BYTES]), np.uint8)


def _words(kind: EnumKind, codes: list[int]) -> list[str]:
    words = {code: word for word, code in kind.members}
    return [words[code] for code in codes]


class Feeder:
    """One connection's decoder, fed chunk by chunk with the remainder carried over."""

    def __init__(self, *, capacity: int = 256, recv_ns: int = 0, padding: bytes = b"\xff") -> None:
        self.symbols, self.conditions = SymbolTable(PARTITIONS), ConditionTable()
        self.decoder = LongportDecoder(self.symbols, self.conditions, CLOCK)
        self.ticks = TickBuffer(capacity)
        self.reading = Reading()
        self._recv_ns, self._padding = recv_ns, padding
        self._remainder = b""

    def feed(self, chunk: bytes) -> None:
        """Decode what can be; nothing more once the stream is broken."""
        if self.reading.broken is not None:
            return
        waiting = self._remainder + chunk
        source = padded(waiting, self._padding)
        base, start = self.reading.consumed, 0
        while True:
            rows_before = self.ticks.rows
            decoded = self.decoder.decode(source, start, len(waiting), self._recv_ns, self.ticks)
            self.reading.notes += [self.note(note, base) for note in decoded.notes]
            if not decoded.needs_room:
                break
            self.drain()
            assert decoded.consumed > start or rows_before > 0, "no progress"
            start = decoded.consumed
        if decoded.broken is not None:
            assert decoded.broken.at == decoded.consumed
            self.reading.broken = (base + decoded.broken.at, decoded.broken.reason)
        self.reading.consumed = base + decoded.consumed
        self._remainder = waiting[decoded.consumed :]

    def drain(self) -> None:
        """Take the rows out of the buffer."""
        self.reading.rows += self.rows()
        self.ticks.rows = 0

    def finish(self) -> Reading:
        self.drain()
        self.reading.unlisted = int(self.decoder.counters[0])
        return self.reading

    def rows(self, first: int = 0, stop: int | None = None) -> list[Row]:
        """Rows first:stop of the buffer as the oracle writes them."""
        part = slice(first, self.ticks.rows if stop is None else stop)

        def column(name: str) -> list[int]:
            return [int(value) for value in self.ticks.column(name)[part].tolist()]

        def doubles(name: str) -> list[str]:
            return [float(value).hex() for value in self.ticks.column(name)[part].tolist()]

        longer = self.conditions.names()
        columns = (
            [self.symbols.names[id_] for id_ in column("symbol")],
            [EPOCH_DAY + datetime.timedelta(days=day) for day in column("trade_date")],
            column("ts_event"),
            column("sequence"),
            column("ordinal"),
            doubles("price"),
            doubles("volume"),
            doubles("turnover"),
            _words(DIRECTION, column("direction")),
            column("trade_type"),
            [
                longer[code - CONDITION_CHARACTERS] if code >= CONDITION_CHARACTERS else chr(code) if code else ""
                for code in column("condition")
            ],
            _words(SESSION, column("session")),
            _words(DELIVERY, column("delivery")),
            [None if value == NULL_TIME else value for value in column("ts_gateway")],
            column("ts_recv"),
        )
        return [Row(*values) for values in zip(*columns, strict=True)]

    def note(self, note: Note, base: int = 0) -> oracle.Note:
        if isinstance(note, PulledTrades):
            rows = self.rows(note.first_row, note.first_row + note.rows)
            return oracle.Pulled(note.request_id, self.symbols.names[note.symbol_id], tuple(rows))
        place = (base + note.span.at, note.span.size_bytes)
        if isinstance(note, ControlPacket):
            header = (int(note.packet_type), note.command, note.request_id, note.status_code)
            return oracle.Control(*place, *header, note.body.tobytes())
        name = None if note.symbol_id is None else self.symbols.names[note.symbol_id]
        return oracle.Refused(*place, note.command, note.request_id, note.reason, note.detail, note.part, name)


def read_chunks(chunks: Iterable[bytes], *, recv_ns: int = 0, capacity: int = 256, padding: bytes = b"\xff") -> Reading:
    """All that a fresh decoder makes of `chunks`."""
    feeder = Feeder(capacity=capacity, recv_ns=recv_ns, padding=padding)
    for chunk in chunks:
        feeder.feed(chunk)
    return feeder.finish()
