"""OpenD's replies about flows, and JSON bodies of every kind."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from numpy.typing import NDArray

from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.flow_columns import FlowBuffer
from codec.markets import HK, US
from codec.opend.decoder import ControlFrame, OpenDDecoder, Refused
from codec.opend.json_ticks import decode_json_ticks
from codec.opend.protocol import FORMAT_AT, HEADER_BYTES, PROTO_ID_AT, SERIAL_AT, BodyFormat, ProtoId, pack_frame
from codec.opend.replies import Asked, FlowLines, NeedsRoom, ReplyDecoder
from codec.spans import Span
from codec.symbols import SymbolTable
from protos.opend.ark_stock_dynamic_pb2 import GetArkStockDynamicResponse
from protos.opend.capital_distribution_pb2 import GetCapitalDistributionResponse
from protos.opend.capital_flow_pb2 import GetCapitalFlowResponse
from protos.opend.ticker_pb2 import UpdateTickerResponse
from tests.codec import strategies as drawn
from tests.codec import wire
from tests.codec.flows import strategies as flows
from tests.codec.flows.test_flow_replies import check as check_flow_reply
from tests.fuzz.guarded import GuardedMemory
from tests.fuzz.mutations import hostile_json, hostile_protobuf
from tests.fuzz.opend import no_ordinals
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
from tests.vectors import flow_samples, frame_vectors, tick_samples

_MARKETS = (HK, US, 21, 22, 31, 300)
_SOUND = wire.number(1, 0)
_TICKS = (ProtoId.UPDATE_TICKER, ProtoId.GET_TICKER)


def _frame_of(source: NDArray[np.uint8], start: int, stop: int) -> ControlFrame:
    """What OpenDDecoder would note of the frame source[start:stop]."""

    def number(at: int) -> int:
        return int.from_bytes(source[start + at : start + at + 4].tobytes(), "little")

    span = Span(start, stop - start)
    return ControlFrame(span, number(PROTO_ID_AT), number(SERIAL_AT), int(source[start + FORMAT_AT]))


def _at_zero(found: Any) -> Any:
    return replace(found, span=Span(0, found.span.size_bytes)) if isinstance(found, Refused) else found


class RepliesReader:
    """Reads one frame a call. Market and period, which the request would tell, are drawn for the case."""

    def __init__(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> None:
        market, period = chance.choice(_MARKETS), chance.randint(1, 4)
        self._symbols = SymbolTable(PARTITIONS)
        self._asked = Asked(self._symbols.id_of(market, "700"), market, period)
        self._decoder = ReplyDecoder(self._symbols, clock, source="futu", gateway="opend-1", gateway_id=GATEWAY_ID)
        self._tick_decoder = OpenDDecoder(self._symbols, clock, gateway_id=GATEWAY_ID)
        self._decoder._notes = shortened_to_one_of(chance, self._decoder._notes, 1, 5)
        self._decoder._spans = shortened_to_one_of(chance, self._decoder._spans, 4)
        self._lines = FlowBuffer(chance.choice((3, 6, 500)))
        self._ticks = TickBuffer(chance.choice((3, 6, 500)))
        memory.guard(self._symbols, self._decoder, self._tick_decoder, self._lines, self._ticks)
        self._line_blocks = Blocks(self._lines, fill, nothing_unwritten)
        self._tick_blocks = Blocks(self._ticks, fill, no_ordinals)

    def read(self, source: NDArray[np.uint8], start: int, stop: int) -> object:
        if stop - start <= HEADER_BYTES:
            return None  # OpenDDecoder hands over no empty body
        frame = _frame_of(source, start, stop)
        match frame.proto_id:
            case ProtoId.GET_CAPITAL_DISTRIBUTION:
                found: object = self._decoder.distribution(source, frame, self._asked, RECV_NS)
            case ProtoId.GET_ARK_STOCK_DYNAMIC:
                found = self._decoder.ark(source, frame, self._asked, RECV_NS)
            case ProtoId.GET_TICKER | ProtoId.UPDATE_TICKER:
                return self._json_ticks(source, frame)
            case _:
                return self._flow(source, replace(frame, proto_id=ProtoId.GET_CAPITAL_FLOW))
        return _at_zero(found), self._decoder.counters.tolist()

    def _flow(self, source: NDArray[np.uint8], frame: ControlFrame) -> object:
        blocks = self._line_blocks
        found: Any = self._decoder.flow(source, frame, self._asked, RECV_NS, self._lines)
        if isinstance(found, NeedsRoom):
            blocks.renew(empty=True)
            found = self._decoder.flow(source, frame, self._asked, RECV_NS, self._lines)
            assert not isinstance(found, NeedsRoom)
        if isinstance(found, FlowLines):
            assert (found.first_row, found.first_row + found.rows) == (blocks.first, self._lines.rows)
            found = replace(found, refused=tuple(_at_zero(line) for line in found.refused))
        check_lines(self._lines, blocks.first, self._symbols)
        taken = blocks.taken()
        blocks.renew()
        return _at_zero(found), taken, self._decoder.counters.tolist()

    def _json_ticks(self, source: NDArray[np.uint8], frame: ControlFrame) -> object:
        blocks = self._tick_blocks
        decoded = decode_json_ticks(self._tick_decoder, source, frame, RECV_NS, self._ticks)
        if decoded.needs_room:
            blocks.renew(empty=True)
            decoded = decode_json_ticks(self._tick_decoder, source, frame, RECV_NS, self._ticks)
            assert not decoded.needs_room
        check_ticks(self._ticks, blocks.first, self._symbols)
        notes = [replace(note, span=Span(0, 0)) if isinstance(note, ControlFrame) else note for note in decoded.notes]
        taken = blocks.taken()
        blocks.renew()
        consumed = decoded.consumed - frame.span.at
        return consumed, list(map(_at_zero, notes)), taken, self._tick_decoder.counters.tolist()


class FlowReplies(Target):
    """Replies to 3211 in protobuf."""

    name = "opend-flow"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        samples = [sample.message().SerializeToString() for sample in flow_samples()]
        refused = GetCapitalFlowResponse(retType=0)
        for _ in range(8):
            refused.s2c.flowItemList.add(inFlow=1, time="2026-11-31 09:30:00")
        samples.append(refused.SerializeToString())
        return samples + collected(corpus_seed, *map(flows.usual_bodies, (HK, US)), flows.general_bodies(HK))

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        return pack_frame(ProtoId.GET_CAPITAL_FLOW, 1, bodies[0])

    def hostile(self, chance: random.Random) -> bytes:
        return hostile_protobuf(chance, _SOUND, (4, 1))

    def reader(self, memory: GuardedMemory, clock: MarketClock, chance: random.Random, fill: int) -> Reader:
        return RepliesReader(memory, clock, chance, fill)

    def check(self, data: bytes) -> bool:
        if len(data) <= HEADER_BYTES:
            return False
        for market, period in ((HK, 1), (US, 2)):
            check_flow_reply(data[HEADER_BYTES:], market, period)
        return True


def _distribution() -> GetCapitalDistributionResponse:
    message = GetCapitalDistributionResponse(retType=0)
    s2c = message.s2c
    s2c.capitalInBig = s2c.capitalInMid = s2c.capitalInSmall = 1.5
    s2c.capitalOutBig = s2c.capitalOutMid = s2c.capitalOutSmall = s2c.capitalInSuper = 2.5
    s2c.updateTime, s2c.updateTimestamp = "2026-11-20 15:59:58", 1795161598.0
    return message


def _ark() -> GetArkStockDynamicResponse:
    message = GetArkStockDynamicResponse(retType=0)
    message.s2c.dynamicType, message.s2c.transactionCount = 1, 3
    message.s2c.netShares, message.s2c.lastTransactionTime = -(10**9), "2026-11-20"
    return message


class OneRowReplies(FlowReplies):
    """Replies to 3212 and 3424: the generated classes read them, a kernel the text of the time."""

    name = "opend-rows"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        bare = _distribution()
        bare.s2c.ClearField("updateTimestamp")
        refused = GetCapitalDistributionResponse(retType=-1, retMsg="no quota", errCode=7)
        return [message.SerializeToString() for message in (_distribution(), bare, refused, _ark())]

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        proto_id = chance.choice((ProtoId.GET_CAPITAL_DISTRIBUTION, ProtoId.GET_ARK_STOCK_DYNAMIC))
        return pack_frame(proto_id, 1, bodies[0])

    def check(self, data: bytes) -> bool:
        return False  # the oracle is the class that reads it


class JsonBodies(FlowReplies):
    """JSON bodies of ticks, flows and one-row replies."""

    name = "opend-json"

    def corpus(self, corpus_seed: int) -> list[bytes]:
        messages: list[Message] = [sample.message() for sample in tick_samples()]
        messages += [sample.message() for sample in flow_samples()]
        messages += [_distribution(), _ark()]
        bodies = collected(corpus_seed, drawn.usual_bodies(), count=30)
        messages += [UpdateTickerResponse.FromString(body) for body in bodies]
        bodies = collected(corpus_seed, flows.usual_bodies(HK), count=30)
        messages += [GetCapitalFlowResponse.FromString(body) for body in bodies]
        vectors = [json.dumps(vector.message).encode() for vector in frame_vectors()]
        return [MessageToJson(message, indent=None, ensure_ascii=False).encode() for message in messages] + vectors

    def wrap(self, chance: random.Random, bodies: Sequence[bytes]) -> bytes:
        ids = (*_TICKS, *_TICKS, ProtoId.GET_CAPITAL_FLOW, ProtoId.GET_CAPITAL_FLOW)
        rows = (ProtoId.GET_CAPITAL_DISTRIBUTION, ProtoId.GET_ARK_STOCK_DYNAMIC)
        return pack_frame(chance.choice((*ids, *rows)), 1, bodies[0], BodyFormat.JSON)

    def hostile(self, chance: random.Random) -> bytes:
        return hostile_json(chance, b'{"retType":0,"s2c":{"security":{"market":1,"code":"1"},"tickerList":[%s]}}')

    def check(self, data: bytes) -> bool:
        return False
