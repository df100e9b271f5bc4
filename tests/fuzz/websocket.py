"""WebSocket frames of a server, which messages are whole packets of LongPort, and packets of OpenD's WebSocket port."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from websockets.frames import Opcode

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.longport.messages import whole_messages
from codec.opend.websocket_packets import REPLY_HEADER, SIGN, frames_from_packets
from codec.websocket import ALL_READ, NO_ROOM, OTHER, take_messages
from tests.codec.longport import packing
from tests.codec.test_websocket_packets import frame_of
from tests.fuzz.guarded import GuardedMemory
from tests.fuzz.target import Reader, Target
from tests.websocket.talk import by_library, by_session, frame

_MESSAGE_BYTES_MAX = 5000


class FrameReader:
    """Takes messages into small arrays, again and again, and asks of each whether it is whole packets."""

    def __init__(self, memory: GuardedMemory, chance: random.Random, fill: int) -> None:
        room = _MESSAGE_BYTES_MAX + chance.choice((0, 1, 3000))
        self._into = memory.copy(np.full(room + PAD_BYTES, fill, np.uint8))
        self._ends = memory.copy(np.zeros(chance.choice((1, 2, 50)), np.int64))

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        seen, at, room = [], start, len(self._into) - PAD_BYTES
        while True:
            status, at, laid, count = take_messages(
                source, at, stop, _MESSAGE_BYTES_MAX, self._into, 0, room, self._ends, 0
            )
            ends = self._ends[:count]
            assert start <= at <= stop
            assert laid == (ends[-1] if count else 0)
            assert 0 <= laid <= room
            assert (np.diff(ends) >= 0).all()
            whole = whole_messages(self._into, 0, ends, 0)
            assert 0 <= whole <= count
            seen.append((status, at - start, self._into[:laid].tobytes(), ends.tolist(), whole))
            if status in (ALL_READ, OTHER):
                return seen
            assert count > 0, "no progress into an empty buffer"
            assert status != NO_ROOM or room - laid < _MESSAGE_BYTES_MAX


class Frames(Target):
    """Parts of a WebSocket's stream."""

    name = "websocket"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        chance = random.Random(corpus_seed)
        payloads = [chance.randbytes(size) for size in (0, 1, 60, 125, 126, 300, 4999, 5000, 5001)]
        payloads += [packing.push(chance.randbytes(size), signed=size == 30) for size in (0, 30, 200)]
        frames = [frame(each, long=chance.choice((0, 0, 2, 8))) for each in payloads]
        frames += [frame(b"x" * 10, opcode, fin=fin) for opcode in Opcode for fin in (True, False)]
        return [*frames, frame(b"masked", mask=b"mask"), frame(b"x", reserved=4)]

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        return b"".join(bodies) + chance.choice(self.bodies)

    def hostile(self, chance: random.Random) -> bytes:
        match chance.randrange(3):
            case 0:
                size = chance.choice((1 << 63, (1 << 64) - 1, (1 << 63) - 1, 1 << 32, _MESSAGE_BYTES_MAX + 1))
                return b"\x82\x7f" + size.to_bytes(8, "big") + bytes(100)
            case 1:
                return b"\x82\x00" * chance.choice((100, 20_000))
            case _:
                return frame(chance.randbytes(1), Opcode.BINARY, fin=False) + frame(b"", 0, fin=False) * 1000

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return FrameReader(memory, chance, fill)

    def check(self, data: bytes) -> bool:
        heard = by_session([data], _MESSAGE_BYTES_MAX, ends_max=50, room=2 * _MESSAGE_BYTES_MAX)
        oracle = by_library(data, _MESSAGE_BYTES_MAX)
        assert heard.messages == oracle.messages
        return True


class PacketReader:
    """Makes frames of packets where they lie, in a copy of the input."""

    def __init__(self, memory: GuardedMemory) -> None:
        self._memory = memory

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        data = self._memory.copy(source[start : stop + PAD_BYTES])
        ends = self._memory.copy(packet_ends(source[start:stop].tobytes()))
        seen: list[object] = []
        index, at, into_at = frames_from_packets(data, 0, ends, 0, 0)
        while index < len(ends):
            assert 0 <= into_at <= at <= ends[index]
            seen.append((index, data[at : ends[index]].tobytes()))
            index, at, into_at = frames_from_packets(data, int(ends[index]), ends, index + 1, into_at)
        assert index == len(ends)
        return seen, data[:into_at].tobytes()


def packet_ends(data: bytes) -> NDArray[np.int64]:
    """Where messages end that begin with each `SIGN`; what is before the first is one too."""
    ends = [at for at in range(1, len(data)) if data.startswith(SIGN, at)]
    return np.array([*ends, len(data)], np.int64)


class Packets(Target):
    """Messages of OpenD's WebSocket port."""

    name = "opend-websocket"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        chance = random.Random(corpus_seed)
        heads = [(3011, 0, 0), (3010, 2**32 - 1, 0), (1, 1, 0), (2, 0, 0), (3010, 5, 3), (3010, 2**32, 0)]
        return [
            REPLY_HEADER.pack(SIGN, *head, b"") + chance.randbytes(chance.choice((0, 1, 7, 8, 100))) for head in heads
        ]

    def hostile(self, chance: random.Random) -> bytes:
        return (SIGN + bytes(chance.choice((0, 1, 35, 36)))) * chance.choice((10, 2000))

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return PacketReader(memory)

    def check(self, data: bytes) -> bool:
        ends, source = packet_ends(data), np.frombuffer(data + bytes(PAD_BYTES), np.uint8).copy()
        packets = [data[begin:end] for begin, end in zip((0, *ends), ends, strict=False)]
        frames = [frame_of(packet) for packet in packets]
        index, into_at = 0, 0
        while True:
            begin = int(ends[index - 1]) if index else 0
            index, _, into_at = frames_from_packets(source, begin, ends, index, into_at)
            if index == len(ends):
                break
            assert frames[index] is None
            index += 1
        assert source[:into_at].tobytes() == b"".join(frame for frame in frames if frame is not None)
        return True
