"""Bytes into an OpenDDecoder as a socket gives them, and what came out in the words of the oracle."""

from __future__ import annotations

import datetime
import itertools
from collections import Counter
from collections.abc import Iterable

import numpy as np

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import NULL_TIME, TickBuffer
from codec.opend.decoder import ControlFrame, Note, OpenDDecoder, PulledTicks
from codec.opend.protocol import FRAME_BYTES_MAX
from codec.symbols import SymbolTable
from codec.tables import DELIVERY, DIRECTION, SESSION, EnumKind
from tests.codec import oracle
from tests.codec.oracle import EPOCH_DAY, Reading, Row

CLOCK = MarketClock()
PARTITIONS = 12


def _words(kind: EnumKind, codes: list[int]) -> list[str]:
    words = {code: word for word, code in kind.members}
    return [words[code] for code in codes]


def rows_of(ticks: TickBuffer, symbols: SymbolTable, first: int = 0, stop: int | None = None) -> list[Row]:
    """Rows first:stop of `ticks` as the oracle writes them."""
    part = slice(first, ticks.rows if stop is None else stop)

    def column(name: str) -> list[int]:
        return [int(value) for value in ticks.column(name)[part].tolist()]

    def doubles(name: str) -> list[str]:
        return [float(value).hex() for value in ticks.column(name)[part].tolist()]

    columns = (
        [symbols.names[id_] for id_ in column("symbol")],
        [EPOCH_DAY + datetime.timedelta(days=day) for day in column("trade_date")],
        column("ts_event"),
        column("sequence"),
        doubles("price"),
        doubles("volume"),
        doubles("turnover"),
        _words(DIRECTION, column("direction")),
        column("trade_type"),
        [chr(code) if code else "" for code in column("condition")],
        _words(SESSION, column("session")),
        _words(DELIVERY, column("delivery")),
        [None if value == NULL_TIME else value for value in column("ts_gateway")],
        column("ts_recv"),
    )
    return [Row(*values) for values in zip(*columns, strict=True)]


class Feeder:
    """One connection's decoder, fed chunk by chunk with the remainder carried over."""

    def __init__(
        self,
        *,
        capacity: int = 256,
        recv_ns: int = 0,
        body_bytes_max: int = FRAME_BYTES_MAX,
        checks_sha1: bool = True,
        symbols: SymbolTable | None = None,
        padding: bytes = b"\xff",
    ) -> None:
        self.symbols = symbols or SymbolTable(PARTITIONS)
        self.decoder = OpenDDecoder(self.symbols, CLOCK, body_bytes_max=body_bytes_max, checks_sha1=checks_sha1)
        self.ticks = TickBuffer(capacity)
        self.reading = Reading()
        self._recv_ns = recv_ns
        self._padding = (padding * PAD_BYTES)[:PAD_BYTES]
        self._remainder = b""

    def feed(self, chunk: bytes) -> None:
        """Decode what can be; nothing more once the stream is broken."""
        if self.reading.broken is not None:
            return
        waiting = self._remainder + chunk
        source = np.frombuffer(bytearray(waiting + self._padding), np.uint8)
        base, start = self.reading.consumed, 0
        while True:
            rows_before = self.ticks.rows
            decoded = self.decoder.decode(source, start, len(waiting), self._recv_ns, self.ticks)
            self.reading.notes += [self._note(note, base) for note in decoded.notes]
            if decoded.json_ticks:  # left to codec/opend/json_ticks.py
                start = decoded.consumed
                continue
            if not decoded.needs_room:
                break
            self.drain()
            assert decoded.consumed > start or rows_before > 0, "no progress"
            start = decoded.consumed
        assert start <= decoded.consumed <= len(waiting)
        if decoded.broken is not None:
            assert decoded.broken.at == decoded.consumed
            self.reading.broken = (base + decoded.broken.at, decoded.broken.reason)
        self.reading.consumed = base + decoded.consumed
        self._remainder = waiting[decoded.consumed :]

    def drain(self) -> None:
        """Take the rows out of the buffer."""
        self.reading.rows += rows_of(self.ticks, self.symbols)
        self.ticks.rows = 0

    def finish(self) -> Reading:
        self.drain()
        counted = dict(enumerate(self.decoder.counters.tolist()))
        self.reading.counters = Counter({name: count for name, count in counted.items() if count})
        return self.reading

    def _note(self, note: Note, base: int) -> oracle.Note:
        if isinstance(note, PulledTicks):
            rows = rows_of(self.ticks, self.symbols, note.first_row, note.first_row + note.rows)
            return oracle.Pulled(note.serial, self._name(note.symbol_id), tuple(rows))
        frame = (base + note.span.at, note.span.size_bytes, note.proto_id, note.serial)
        if isinstance(note, ControlFrame):
            return oracle.Control(*frame, note.body_format)
        return oracle.Refused(*frame, note.reason, note.detail, note.tick, self._name(note.symbol_id))

    def _name(self, symbol_id: int | None) -> str | None:
        return None if symbol_id is None else self.symbols.names[symbol_id]


def read_chunks(chunks: Iterable[bytes], **options: object) -> Reading:
    """All that a fresh decoder makes of `chunks`; options as of Feeder."""
    feeder = Feeder(**options)  # type: ignore[arg-type]
    for chunk in chunks:
        feeder.feed(chunk)
    return feeder.finish()


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """`stream` in pieces, cut at each of `places`."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[begin:end] for begin, end in itertools.pairwise(edges)]
