"""ticktape's side: the classes that a gateway uses, fed as a socket feeds them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.decode.columns import Columns, Reader, joined, words_of
from benchmarks.decode.corpus import Corpus
from codec.clock import MarketClock
from codec.columns import NULL_TIME, TickBuffer
from codec.conditions import CONDITION_CHARACTERS, ConditionTable
from codec.encode import TickEncoder
from codec.flow_columns import FLOW_BLOCK_ROWS, INTRADAY, FlowBuffer
from codec.longport.decoder import ControlPacket, LongportDecoder
from codec.longport.replies import ReplyDecoder as LongportReplyDecoder
from codec.markets import HK
from codec.opend.decoder import ControlFrame, OpenDDecoder
from codec.opend.replies import Asked, ReplyDecoder
from codec.records import Record
from codec.symbols import SymbolTable
from codec.tables import DELIVERY, DIRECTION, SESSION, TICKS, EnumKind
from codec.window import SequenceWindow, Verdict

CHUNK_BYTES = 256 << 10
"""What one read of a busy socket returns."""
RECV_NS = 1

_CLOCK = MarketClock()
PARTITIONS = 1
_RECORD_ROWS = 1000


def _words(kind: EnumKind) -> dict[int, str]:
    return {code: word for word, code in kind.members}


class Ticks(Reader):
    """Frames or packets to columns, chunk by chunk into one buffer that is used again."""

    def __init__(self, corpus: Corpus, decoder: OpenDDecoder | LongportDecoder) -> None:
        self._corpus, self._decoder = corpus, decoder
        self._buffer = TickBuffer()
        self.read()  # symbols are new once in a program's life

    @classmethod
    def opend(cls, corpus: Corpus, *, checks_sha1: bool = False) -> Ticks:
        return cls(corpus, OpenDDecoder(SymbolTable(PARTITIONS), _CLOCK, checks_sha1=checks_sha1))

    @classmethod
    def longport(cls, corpus: Corpus) -> Ticks:
        return cls(corpus, LongportDecoder(SymbolTable(PARTITIONS), ConditionTable(), _CLOCK))

    @property
    def symbols(self) -> SymbolTable:
        return self._decoder.symbols

    def read(self) -> None:
        """Decode everything."""
        assert sum(buffer.rows for buffer in self.buffers()) == self._corpus.tick_count

    def buffers(self) -> Iterator[TickBuffer]:
        """The buffer, emptied and filled again for each chunk."""
        at, buffer = 0, self._buffer
        while at < self._corpus.size_bytes:
            buffer.rows = 0
            stop = min(at + CHUNK_BYTES, self._corpus.size_bytes)
            at = self._decoder.decode(self._corpus.data, at, stop, RECV_NS, buffer).consumed
            yield buffer

    def columns(self) -> Columns:
        """All rows, words as words."""
        return joined([self._columns_of(buffer) for buffer in self.buffers()])

    def _columns_of(self, buffer: TickBuffer) -> Columns:
        columns = {column.name: buffer.column(column.name).copy() for column in TICKS if column.name != "source"}
        columns["symbol"] = words_of(columns["symbol"], dict(enumerate(self.symbols.names)))
        for name, kind in (("direction", DIRECTION), ("session", SESSION), ("delivery", DELIVERY)):
            columns[name] = words_of(columns[name], _words(kind))
        characters = {code: chr(code) if code else "" for code in range(CONDITION_CHARACTERS)}
        columns["condition"] = words_of(columns["condition"], characters)
        columns["ts_gateway"] = np.where(columns["ts_gateway"] == NULL_TIME, 0, columns["ts_gateway"])
        return columns


class FreshTicks(Ticks):
    """To columns and through the window of keys: what is fresh, remembered at once."""

    def __init__(self, corpus: Corpus, decoder: OpenDDecoder) -> None:
        self._window = SequenceWindow(decoder.symbols)
        super().__init__(corpus, decoder)

    def prepare(self) -> None:
        """Forget what was seen; a program's window grows once, so that is no part of a pass."""
        self._window = SequenceWindow(self.symbols)
        self._window.test(TickBuffer(1))

    def judged(self) -> Iterator[tuple[TickBuffer, Verdict]]:
        """Each chunk's buffer and what the window says of it."""
        for buffer in self.buffers():
            verdict = self._window.test(buffer)
            self._window.mark(buffer, verdict)
            yield buffer, verdict

    def read(self) -> None:
        for _ in self.judged():
            pass

    def columns(self) -> Columns:
        parts = [{n: v[verdict.fresh] for n, v in self._columns_of(b).items()} for b, verdict in self.judged()]
        return joined(parts)


class Records(FreshTicks):
    """Bytes to Arrow IPC records of 1000 rows."""

    def __init__(self, corpus: Corpus, decoder: OpenDDecoder) -> None:
        self._encoder = TickEncoder("futu", decoder.symbols, ["opend-1"])
        super().__init__(corpus, decoder)

    def buffers(self) -> Iterator[TickBuffer]:
        """A chunk holds about as many frames as a record has rows."""
        at, buffer, data = 0, self._buffer, self._corpus.data
        starts, size_bytes = self._corpus.starts, self._corpus.size_bytes
        per_frame = int(self._corpus.ticks[0])
        for frame in range(0, len(starts), _RECORD_ROWS // per_frame):
            buffer.rows = 0
            following = frame + _RECORD_ROWS // per_frame
            stop = int(starts[following]) if following < len(starts) else size_bytes
            at = self._decoder.decode(data, at, stop, RECV_NS, buffer).consumed
            yield buffer

    def records(self) -> Iterator[Record]:
        """The records of everything that is fresh."""
        for buffer, verdict in self.judged():
            yield from self._encoder.encode(buffer, verdict.fresh, verdict.ordinals, verdict.fresh_rows)

    def read(self) -> None:
        for _ in self.records():  # let go of at once, as the journal does
            pass


class Flows(Reader):
    """Replies to polls of capital flow to columns; each is the whole day of one symbol."""

    def __init__(self, corpus: Corpus, *, longport: bool) -> None:
        symbols = SymbolTable(PARTITIONS)
        for name in corpus.asked:
            symbols.id_of(HK, name)
        self._symbols, self._corpus, self._longport = symbols, corpus, longport
        self._buffer = FlowBuffer()
        self._opend = ReplyDecoder(symbols, _CLOCK, source="futu", gateway="opend-1")
        self._longport_replies = LongportReplyDecoder(symbols, _CLOCK, source="longport", gateway="lp")
        self._notes = self._scanned()

    def _scanned(self) -> list[ControlFrame | ControlPacket]:
        """The replies as the session hands them on: their headers have been read with the stream."""
        data, size_bytes, ticks = self._corpus.data, self._corpus.size_bytes, TickBuffer(1)
        if self._longport:
            packets = LongportDecoder(self._symbols, ConditionTable(), _CLOCK).decode(data, 0, size_bytes, 1, ticks)
            return [note for note in packets.notes if isinstance(note, ControlPacket)]
        frames = OpenDDecoder(self._symbols, _CLOCK).decode(data, 0, size_bytes, 1, ticks)
        return [note for note in frames.notes if isinstance(note, ControlFrame)]

    def buffers(self) -> Iterator[FlowBuffer]:
        """The buffer, emptied and filled again for each reply."""
        buffer = self._buffer
        for place, note in enumerate(self._notes):
            buffer.rows = 0
            if isinstance(note, ControlPacket):
                self._longport_replies.flow(note, RECV_NS, buffer)
            else:
                asked = Asked(place % len(self._corpus.asked), HK, INTRADAY)
                self._opend.flow(self._corpus.data, note, asked, RECV_NS, buffer)
            yield buffer

    def read(self) -> None:
        assert sum(buffer.rows for buffer in self.buffers()) == self._corpus.tick_count

    def columns(self) -> Columns:
        parts = []
        for buffer in self.buffers():
            rows = buffer.rows
            part = {name: getattr(buffer, block)[row, :rows].copy() for name, (block, row) in FLOW_BLOCK_ROWS.items()}
            part["symbol"] = words_of(part["symbol"], dict(enumerate(self._symbols.names)))
            parts.append(part)
        return joined(parts)
