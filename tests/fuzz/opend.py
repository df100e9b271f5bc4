"""OpenD's tick frames in protobuf, and the texts of their times."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codec.clock import MarketClock
from codec.columns import ORDINAL, TickBuffer
from codec.markets import HK, US
from codec.opend.decoder import Decoded, Note, OpenDDecoder, PulledTicks
from codec.opend.protocol import HEADER_BYTES, BodyFormat, ProtoId, pack_frame
from codec.spans import Span
from codec.symbols import SymbolTable
from protos.opend import ticker_pb2
from tests.codec import strategies as drawn
from tests.codec import wire
from tests.codec.feeding import read_chunks
from tests.codec.oracle import read_stream
from tests.fuzz.guarded import GuardedMemory
from tests.fuzz.mutations import hostile_protobuf
from tests.fuzz.target import (
    GATEWAY_ID,
    PARTITIONS,
    RECV_NS,
    Blocks,
    Reader,
    Target,
    check_ticks,
    collected,
    shortened_to_one_of,
)
from tests.vectors import frame_vectors, tick_samples

_TICK_IDS = (ProtoId.UPDATE_TICKER, ProtoId.UPDATE_TICKER, ProtoId.GET_TICKER)
_SECURITY = wire.piece(1, wire.number(1, HK) + wire.piece(2, b"00700"))
_SOUND = wire.number(1, 0)
_TICKS_MAX = 4096


def no_ordinals(ticks: TickBuffer) -> None:
    """OpenD's kernels leave the ordinal to deduplication."""
    ticks.narrow[ORDINAL] = 0


class StreamReader:
    """Reads a stream with an OpenDDecoder whose buffer and notes are small, and emptied when full."""

    def __init__(
        self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int, *, checks_sha1: bool
    ) -> None:
        self._symbols = SymbolTable(PARTITIONS)
        self._decoder = OpenDDecoder(self._symbols, clock, gateway_id=GATEWAY_ID, checks_sha1=checks_sha1)
        self._decoder._notes = shortened_to_one_of(chance, self._decoder._notes, 2, 5, 64)
        self._ticks = TickBuffer(chance.choice((3, 5, 10, 40, 5000)))
        memory.guard(self._symbols, self._decoder, self._ticks)
        self._blocks = Blocks(self._ticks, fill, no_ordinals)

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        seen: list[object] = []
        at = start
        while True:
            decoded = self._decoder.decode(source, at, stop, RECV_NS, self._ticks)
            assert at <= decoded.consumed <= stop, (at, decoded.consumed, stop)
            notes = [_moved(note, start, decoded.consumed) for note in decoded.notes]
            seen.append((decoded.consumed - start, notes, _broken(decoded, start), self._taken()))
            if not decoded.needs_room and not decoded.json_ticks:
                self._blocks.renew()
                return seen, self._decoder.counters.tolist(), list(self._symbols.names)
            stays = decoded.consumed == at
            assert not stays or self._blocks.first > 0, "no progress with an empty buffer"
            self._blocks.renew(empty=stays)
            at = decoded.consumed

    def _taken(self) -> object:
        check_ticks(self._ticks, self._blocks.first, self._symbols)
        return self._blocks.taken()


def _broken(decoded: Decoded, start: int) -> object:
    return decoded.broken and replace(decoded.broken, at=decoded.broken.at - start)


def _moved(note: Note, start: int, consumed: int) -> Note:
    """A note with positions counted from `start`, after a look at them."""
    if isinstance(note, PulledTicks):
        assert note.first_row >= 0
        assert note.rows >= 0
        return note
    span = note.span
    assert start <= span.at
    assert HEADER_BYTES <= span.size_bytes <= consumed - span.at
    return replace(note, span=Span(span.at - start, span.size_bytes))


@functools.cache
def _tick_bodies(corpus_seed: int) -> list[bytes]:
    """The vendors' samples, the worked frames, ticks of which each is refused, and what Hypothesis draws."""
    samples = [sample.message().SerializeToString() for sample in tick_samples()]
    samples += [vector.frame[HEADER_BYTES:] for vector in frame_vectors()]
    refused = ticker_pb2.UpdateTickerResponse(retType=0)
    refused.s2c.security.market, refused.s2c.security.code = HK, "00700"
    for sequence in range(8):
        time = "2026-11-31 09:30:00"
        refused.s2c.tickerList.add(time=time, sequence=sequence, dir=1, price=1, volume=1, turnover=1)
    samples.append(refused.SerializeToString())
    kinds = (drawn.usual_bodies(spoilt=False), drawn.usual_bodies(), drawn.general_bodies())
    return samples + collected(corpus_seed, *kinds)


class TickFrames(Target):
    """Streams of 3010 and 3011 frames without the SHA-1 check, so that bytes changed anywhere are read."""

    name = "opend"
    checks_sha1 = False

    def corpus(self, corpus_seed: int) -> list[bytes]:
        return _tick_bodies(corpus_seed)

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        return b"".join(self._frame(chance, body) for body in bodies)

    def _frame(self, chance: random.Random, body: bytes) -> bytes:
        proto_id = chance.choice(_TICK_IDS) if chance.randrange(12) else chance.choice((1004, 3211, 9999))
        body_format = BodyFormat.PROTOBUF if chance.randrange(20) else BodyFormat.JSON
        return pack_frame(proto_id, chance.getrandbits(32), body, body_format)

    def hostile(self, chance: random.Random) -> bytes:
        if chance.randrange(8):
            return hostile_protobuf(chance, _SOUND + chance.choice((b"", wire.piece(4, _SECURITY))), (4, 2))
        count, code = chance.choice((1000, 5000)), chance.choice((b"", b"X" * 57))
        message = wire.number(1, US)
        codes = (wire.piece(1, message + wire.piece(2, code + b"%d" % number)) for number in range(count))
        return _SOUND + b"".join(wire.piece(4, security) for security in codes)

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return StreamReader(memory, clock, chance, fill, checks_sha1=self.checks_sha1)

    def check(self, data: bytes) -> bool:
        found = read_chunks([data], recv_ns=RECV_NS, capacity=_TICKS_MAX, checks_sha1=self.checks_sha1)
        expected = read_stream(data, recv_ns=RECV_NS, ticks_max=_TICKS_MAX, checks_sha1=self.checks_sha1)
        assert found == expected, f"{found}\n is not what the oracle says:\n{expected}"
        return True


class CheckedFrames(TickFrames):
    """The same with the check: headers are right unless they were changed."""

    name = "opend-sha1"
    checks_sha1 = True


class TickTimes(TickFrames):
    """Text times: each the last bytes of a frame, so that what is read past it is read past the data."""

    name = "opend-times"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        texts = [f"2026-{month:02d}-{day:02d} 0{month % 10}:30:{day}" for month in (3, 11) for day in range(1, 32)]
        texts += [f"{text}.123" for text in texts] + [f"{text}:999" for text in texts]
        return [text.encode() for text in texts]

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        market = chance.choice((HK, US, 21, 22, 31, 999))
        security = wire.piece(1, wire.number(1, market) + wire.piece(2, b"X"))
        rest = wire.number(2, 1) + wire.number(3, 1) + wire.double(4, 1.0) + wire.number(5, 1) + wire.double(6, 1.0)
        if chance.randrange(2):
            rest += wire.double(11, chance.choice((1795138200.0, 1795138200.5, 0.0, 1772400000.0)))
        # As senders write it, or with the text behind the rest.
        listed = [
            wire.piece(2, wire.piece(1, text) + rest if chance.randrange(3) == 0 else rest + wire.piece(1, text))
            for text in bodies
        ]
        return pack_frame(ProtoId.UPDATE_TICKER, 1, _SOUND + wire.piece(4, security + b"".join(listed)))

    def hostile(self, chance: random.Random) -> bytes:
        return chance.choice((b"2026-11-20 09:30:00", b"9", b"-", b" ", b"\0")) * chance.choice((1, 2, 100, 10_000))
