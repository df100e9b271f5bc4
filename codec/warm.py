"""Compile every kernel, or load it from the cache: `python -m codec.warm`.

The first call of a kernel compiles it for the types of its arguments, which takes seconds. Programs
call `warm` before they connect, an image is built with its result inside. It goes through the same
classes as they do, so that the types are theirs.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.conditions import ConditionTable
from codec.counter import TickFollower
from codec.day_counts import DayCounts
from codec.encode import TickEncoder
from codec.encode_flows import FlowEncoder
from codec.flow_columns import INTRADAY, FlowBuffer
from codec.flow_diff import FlowDiff
from codec.flow_list import FlowListDecoder
from codec.longport.decoder import Body, ControlPacket, LongportDecoder
from codec.longport.messages import whole_messages
from codec.longport.protocol import Command, PacketType
from codec.longport.replies import ReplyDecoder as LongportReplyDecoder
from codec.longport.trade_window import TradeWindow
from codec.markets import HK
from codec.opend.decoder import ControlFrame, OpenDDecoder
from codec.opend.protocol import BodyFormat, ProtoId, pack_frame
from codec.opend.replies import Asked, ReplyDecoder
from codec.opend.websocket_packets import frames_from_packets
from codec.spans import Span
from codec.symbols import SymbolTable
from codec.websocket import take_messages
from codec.window import Reply, SequenceWindow
from protos.longport.capital_flow_pb2 import CapitalDistributionResponse, CapitalFlowIntradayResponse
from protos.opend.capital_distribution_pb2 import GetCapitalDistributionResponse
from protos.opend.capital_flow_pb2 import GetCapitalFlowResponse

_TIME = "2026-11-20 09:30:00"


KINDS = ("opend", "longport", "flow-list")
"""Of gateways, as configured."""


def warm(kinds: Collection[str] = KINDS) -> None:
    """Return once every kernel that gateways of these `kinds` need can be called without compiling it.

    At once when that is so already.
    """
    symbols, clock = SymbolTable(partition_count=1), MarketClock()
    symbols.id_of(HK, "00700")
    _warm_common(symbols)
    clock.trade_day(HK, 0)
    if "opend" in kinds:
        _warm_opend(symbols, clock)
    if "longport" in kinds:
        _warm_longport(symbols, clock)
    if "flow-list" in kinds:
        _warm_flow_list(clock)


def _warm_common(symbols: SymbolTable) -> None:
    """What is done with rows, wherever they came from. Rows of zeros: types matter here, values do not."""
    ticks, flows = TickBuffer(capacity=1), FlowBuffer(capacity=1)
    ticks.rows = flows.rows = 1
    window, diff = SequenceWindow(symbols), FlowDiff(symbols)
    verdict = window.test(ticks)
    window.mark(ticks, verdict)
    window.export()
    ConditionTable().id_of("")
    DayCounts(symbols).add(ticks, verdict.fresh, verdict.ordinals)
    TickFollower(symbols, has_counter=True).follow(ticks, verdict.fresh, 0, 1)
    TickEncoder("", symbols, [""]).encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows)
    flow_verdict = diff.test(flows)
    diff.mark(flows, flow_verdict)
    FlowEncoder("", symbols, [""]).encode(flows, flow_verdict.fresh, flow_verdict.fresh_rows)
    nothing = np.zeros(PAD_BYTES, np.uint8)
    take_messages(nothing, 0, 0, 0, nothing.copy(), 0, 0, np.zeros(1, np.int64), 0)


def _warm_opend(symbols: SymbolTable, clock: MarketClock) -> None:
    OpenDDecoder(symbols, clock).decode(np.zeros(PAD_BYTES, np.uint8), 0, 0, 0, TickBuffer(capacity=1))
    frames_from_packets(np.zeros(PAD_BYTES, np.uint8), 0, np.zeros(1, np.int64), 0, 0)
    replies = ReplyDecoder(symbols, clock, source="", gateway="")
    lines = GetCapitalFlowResponse(retType=0)
    lines.s2c.flowItemList.add(inFlow=0, time=_TIME)
    replies.flow(*_frame(ProtoId.GET_CAPITAL_FLOW, lines), Asked(0, HK, INTRADAY), 0, FlowBuffer(capacity=1))
    distribution = GetCapitalDistributionResponse(retType=0)
    for name in ("capitalInBig", "capitalInMid", "capitalInSmall", "capitalOutBig", "capitalOutMid", "capitalOutSmall"):
        setattr(distribution.s2c, name, 0.0)
    distribution.s2c.updateTime = _TIME
    replies.distribution(*_frame(ProtoId.GET_CAPITAL_DISTRIBUTION, distribution), Asked(0, HK), 0)


def _warm_longport(symbols: SymbolTable, clock: MarketClock) -> None:
    conditions, nothing = ConditionTable(), np.zeros(PAD_BYTES, np.uint8)
    ticks = TickBuffer(capacity=1)
    LongportDecoder(symbols, conditions, clock).decode(nothing, 0, 0, 0, ticks)
    whole_messages(nothing, 0, np.zeros(1, np.int64), 0)
    ticks.rows = 1
    window = TradeWindow(symbols, conditions)
    window.mark(ticks, window.test(ticks, [Reply(0, 1, is_full=False)]))
    window.mark_journaled(ticks, np.zeros(1, np.uint32))
    replies = LongportReplyDecoder(symbols, clock, source="", gateway="")
    flow = CapitalFlowIntradayResponse(symbol="700.HK")
    replies.flow(_packet(Command.QUERY_CAPITAL_FLOW_INTRADAY, flow), 0, FlowBuffer(capacity=1))
    distribution = CapitalDistributionResponse(symbol="700.HK", timestamp=1_795_138_200)
    for amounts in (distribution.capital_in, distribution.capital_out):
        amounts.large = amounts.medium = amounts.small = "0"
    replies.distribution(_packet(Command.QUERY_CAPITAL_FLOW_DISTRIBUTION, distribution), 0)


def _warm_flow_list(clock: MarketClock) -> None:
    entry = f'{{"code": "HK.00700", "update_time": "{_TIME}", "main_net_inflow": 0}}'
    answer = f'{{"ret_code": 0, "data": {{"capital_flow_list": [{entry}]}}}}'
    FlowListDecoder(clock, source="", gateway="").decode(answer.encode(), [], 0)


def _packet(command: Command, message: Message) -> ControlPacket:
    """A reply as LongportDecoder leaves it."""
    body = message.SerializeToString()
    source = np.frombuffer(bytearray(body + bytes(PAD_BYTES)), np.uint8)
    return ControlPacket(Span(0, len(body)), PacketType.RESPONSE, command, 1, 0, Body(source, 0, len(body)))


def _frame(proto_id: ProtoId, message: Message) -> tuple[NDArray[np.uint8], ControlFrame]:
    """A reply as OpenDDecoder leaves it; headers have been read by then."""
    received = pack_frame(proto_id, 0, message.SerializeToString())
    source = np.frombuffer(bytearray(received + bytes(PAD_BYTES)), np.uint8)
    return source, ControlFrame(Span(0, len(received)), proto_id, 0, BodyFormat.PROTOBUF)


if __name__ == "__main__":
    warm()
