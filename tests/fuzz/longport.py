"""LongPort's ways in: packets as a stream and as messages, replies about flows, and decimal texts."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.conditions import ConditionTable
from codec.decimal_text import call_read_decimal, read_any_decimal
from codec.flow_columns import FlowBuffer
from codec.longport.decoder import Body, ControlPacket, Decoded, LongportDecoder, Note, PulledTrades, Refused
from codec.longport.protocol import Command, PacketType
from codec.longport.replies import FlowLines, NeedsRoom, ReplyDecoder
from codec.spans import Span
from codec.symbols import SymbolTable
from protos.longport.capital_flow_pb2 import CapitalDistributionResponse, CapitalFlowIntradayResponse
from protos.longport.trade_pb2 import PushTrade, SecurityTradeResponse
from tests.codec import wire
from tests.codec.longport import packing
from tests.codec.longport import strategies as drawn
from tests.codec.longport.feeding import read_chunks
from tests.codec.longport.oracle import read_stream
from tests.codec.longport.test_flows import check as check_flow_reply
from tests.codec.test_decimal_text import bits, expected
from tests.fuzz.guarded import GuardedMemory
from tests.fuzz.mutations import hostile_protobuf
from tests.fuzz.target import (
    GATEWAY_ID,
    PARTITIONS,
    RECV_NS,
    Blocks,
    Reader,
    Target,
    check_lines,
    check_ticks,
    collected,
    nothing_unwritten,
    shortened_to_one_of,
)

_SYMBOL = wire.piece(1, b"700.HK")
_TRADES_MAX = 4096
_Decode = Callable[[NDArray[np.uint8], int, int, int, TickBuffer], Decoded]


class PacketReader:
    """Reads with a LongportDecoder whose buffer and notes are small, and emptied when full."""

    def __init__(
        self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int, *, messages: bool
    ) -> None:
        self._symbols, self._conditions = SymbolTable(PARTITIONS), ConditionTable()
        self._decoder = LongportDecoder(self._symbols, self._conditions, clock, gateway_id=GATEWAY_ID)
        self._decoder._notes = shortened_to_one_of(chance, self._decoder._notes, 2, 5, 64)
        self._ticks = TickBuffer(chance.choice((3, 5, 10, 40, 5000)))
        memory.guard(self._symbols, self._conditions, self._decoder, self._ticks)
        self._blocks = Blocks(self._ticks, fill, nothing_unwritten)
        self._decode: _Decode = self._decoder.decode_message if messages else self._decoder.decode

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        seen: list[object] = []
        at = start
        while True:
            decoded = self._decode(source, at, stop, RECV_NS, self._ticks)
            assert at <= decoded.consumed <= stop, (at, decoded.consumed, stop)
            notes = [_moved(note, start, stop) for note in decoded.notes]
            broken = decoded.broken and replace(decoded.broken, at=decoded.broken.at - start)
            check_ticks(self._ticks, self._blocks.first, self._symbols)
            seen.append((decoded.consumed - start, notes, broken, self._blocks.taken()))
            if not decoded.needs_room:
                self._blocks.renew()
                return seen, self._decoder.counters.tolist(), list(self._symbols.names), self._conditions.names()
            stays = decoded.consumed == at
            assert not stays or self._blocks.first > 0, "no progress with an empty buffer"
            self._blocks.renew(empty=stays)
            at = decoded.consumed


def _moved(note: Note, start: int, stop: int) -> object:
    """A note with positions counted from `start` and its body as bytes, after a look at them."""
    if isinstance(note, PulledTrades):
        assert note.first_row >= 0
        assert note.rows >= 0
        return note
    span = note.span
    assert start <= span.at
    assert 0 <= span.size_bytes <= stop - span.at
    moved = Span(span.at - start, span.size_bytes)
    if isinstance(note, Refused):
        return replace(note, span=moved)
    header = (note.packet_type, note.command, note.request_id, note.status_code)
    return moved, header, note.body.tobytes()


@functools.cache
def _trade_bodies(corpus_seed: int) -> list[bytes]:
    """Trades of which each is refused, and what Hypothesis draws."""
    pushes = (drawn.usual_pushes(), drawn.usual_pushes(drawn.trades), drawn.general_bodies(3))
    pushed, pulled = PushTrade(symbol="700.HK", sequence=5), SecurityTradeResponse(symbol="700.HK")
    for _ in range(8):
        pushed.trade.add(price="x", volume=1, timestamp=1_700_000_000)
        pulled.trades.add(price="x", volume=1, timestamp=1_700_000_000)
    bodies = [pushed.SerializeToString(), pulled.SerializeToString()]
    return bodies + collected(corpus_seed, *pushes, drawn.usual_pulls(), drawn.general_bodies(2))


class Packets(Target):
    """Parts of a TCP stream."""

    name = "longport"
    messages = False

    def corpus(self, corpus_seed: int) -> list[bytes]:
        return _trade_bodies(corpus_seed)

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        return b"".join(self._packet(chance, body) for body in bodies)

    def _packet(self, chance: random.Random, body: bytes) -> bytes:
        how = {"signed": chance.randrange(6) == 0, "compressed": chance.randrange(8) == 0}
        match chance.randrange(12):
            case 0:
                return packing.request(body, chance.choice((1, 17, 104)), chance.getrandbits(32), **how)
            case 1:
                return packing.push(body, chance.choice((0, 1, 17, 255)), **how)
            case 2 | 3 | 4:
                command, status = chance.choice((17, 17, 17, 24)), chance.choice((0, 0, 0, 0, 3))
                return packing.response(body, command, chance.getrandbits(32), status, **how)
            case _:
                return packing.push(body, **how)

    def hostile(self, chance: random.Random) -> bytes:
        match chance.randrange(4):
            case 0:  # prices whose last digit counts
                text = b"9007199254740992." + b"0" * chance.choice((900, 1006)) + chance.choice((b"1", b"0", b"e", b""))
                trade = wire.piece(1, text) + wire.number(3, 1_700_000_000)
                return _SYMBOL + wire.piece(chance.choice((2, 3)), trade) * chance.choice((1, 200))
            case 1:  # words without end
                words = (wire.piece(4, b"word %d" % number) for number in range(chance.choice((3, 1000))))
                rest = wire.piece(1, b"1") + wire.number(3, 1_700_000_000)
                return _SYMBOL + b"".join(wire.piece(2, rest + word) for word in words)
            case _:
                return hostile_protobuf(chance, _SYMBOL, (chance.choice((2, 3)),))

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return PacketReader(memory, clock, chance, fill, messages=self.messages)

    def check(self, data: bytes) -> bool:
        if self.messages:
            return False
        found = read_chunks([data], recv_ns=RECV_NS, capacity=_TRADES_MAX)
        reading = read_stream(data, recv_ns=RECV_NS, trades_max=_TRADES_MAX)
        assert found == reading, f"{found}\n is not what the oracle says:\n{reading}"
        return True


class Messages(Packets):
    """WebSocket messages: the same packets, where each message must end as it says."""

    name = "longport-messages"
    messages = True


class RepliesReader:
    """Reads the body of one reply a call."""

    def __init__(
        self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int, command: Command
    ) -> None:
        self._symbols, self._command = SymbolTable(PARTITIONS), command
        self._decoder = ReplyDecoder(self._symbols, clock, source="longport", gateway="lp", gateway_id=GATEWAY_ID)
        self._decoder._notes = shortened_to_one_of(chance, self._decoder._notes, 1, 5)
        self._lines = FlowBuffer(chance.choice((3, 6, 500)))
        memory.guard(self._symbols, self._decoder, self._lines)
        self._blocks = Blocks(self._lines, fill, nothing_unwritten)

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        body = Body(source, start, stop)
        packet = ControlPacket(Span(0, stop - start), PacketType.RESPONSE, self._command, 1, 0, body)
        if self._command == Command.QUERY_CAPITAL_FLOW_DISTRIBUTION:
            return self._decoder.distribution(packet, RECV_NS), list(self._symbols.names)
        found: Any = self._decoder.flow(packet, RECV_NS, self._lines)
        if isinstance(found, NeedsRoom):
            self._blocks.renew(empty=True)
            found = self._decoder.flow(packet, RECV_NS, self._lines)
            assert not isinstance(found, NeedsRoom)
        if isinstance(found, FlowLines):
            assert (found.first_row, found.first_row + found.rows) == (self._blocks.first, self._lines.rows)
        check_lines(self._lines, self._blocks.first, self._symbols)
        taken = self._blocks.taken()
        self._blocks.renew()
        return found, taken, list(self._symbols.names)


class FlowReplies(Target):
    """Replies to cmd 24."""

    name = "longport-flow"
    command = Command.QUERY_CAPITAL_FLOW_INTRADAY

    def corpus(self, corpus_seed: int) -> list[bytes]:
        refused = CapitalFlowIntradayResponse(symbol="700.HK")
        for _ in range(8):
            refused.capital_flow_lines.add(inflow="x", timestamp=1_700_000_000)
        bodies = [refused.SerializeToString()]
        return bodies + collected(
            corpus_seed, drawn.usual_flows(), drawn.usual_flows(spoilt=False), drawn.general_flows()
        )

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        return bodies[0]

    def hostile(self, chance: random.Random) -> bytes:
        return hostile_protobuf(chance, _SYMBOL, (2,))

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return RepliesReader(memory, clock, chance, fill, self.command)

    def check(self, data: bytes) -> bool:
        check_flow_reply(data)
        return True


class Distributions(FlowReplies):
    """Replies to cmd 25: the generated class reads them, kernels the symbol and the amounts."""

    name = "longport-distribution"
    command = Command.QUERY_CAPITAL_FLOW_DISTRIBUTION

    def corpus(self, corpus_seed: int) -> list[bytes]:
        message = CapitalDistributionResponse(symbol="700.HK", timestamp=1_700_000_000)
        for amounts in (message.capital_in, message.capital_out):
            amounts.large, amounts.medium, amounts.small = "-310255860.000", "1E3", "0.1000000000000000055511151"
        return [message.SerializeToString()]

    def hostile(self, chance: random.Random) -> bytes:
        return hostile_protobuf(chance, _SYMBOL, (3, 1))

    def check(self, data: bytes) -> bool:
        return False  # the oracle is the class that reads it


class DecimalReader:
    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        first, second = (float(read(source, start, stop)) for read in (call_read_decimal, read_any_decimal))
        assert bits(first) == bits(second), (first, second)
        assert not np.isinf(first)
        return bits(first)


class Decimals(Target):
    """Decimal texts, by both readings."""

    name = "decimals"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        texts = ["-310255860.000", "388.4", "1E3", "0.1000000000000000055511151", "1.7976931348623157e308", "5e-324"]
        texts += ["9007199254740993.00000000000000000001", "1234567890123456", "12345678", "1234567.8", "-.5", "0" * 40]
        return [text.encode() for text in texts] + collected(corpus_seed, drawn.prices.map(str.encode))

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        return bodies[0]

    def hostile(self, chance: random.Random) -> bytes:
        digits = chance.choice((b"9", b"0", b"123456789", b"3", b".", b"e", b"-"))
        text = digits * chance.choice((1, 18, 19, 20, 767, 768, 1022, 1023, 1024, 1025, 100_000))
        return chance.choice((b"", b"-", b"0.", b"1", b".")) + text + chance.choice((b"", b"e-999", b"e999", b"."))

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return DecimalReader()

    def check(self, data: bytes) -> bool:
        source = np.frombuffer(data + bytes(256), np.uint8).copy()
        value = float(call_read_decimal(source, 0, len(data)))
        assert bits(None if np.isnan(value) else value) == bits(expected(data)), data
        return True
