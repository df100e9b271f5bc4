"""Compile every kernel, or load it from the cache: `python -m codec.warm`.

The first call of a kernel compiles it for the types of its arguments, which takes seconds. Programs
call `warm` before they connect, an image is built with its result inside. It goes through the same
classes as they do, so that the types are theirs.
"""

from __future__ import annotations

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.encode import TickEncoder
from codec.encode_flows import FlowEncoder
from codec.flow_columns import INTRADAY, FlowBuffer
from codec.flow_diff import FlowDiff
from codec.flow_list import FlowListDecoder
from codec.markets import HK
from codec.opend.decoder import ControlFrame, OpenDDecoder, Span
from codec.opend.protocol import BodyFormat, ProtoId, pack_frame
from codec.opend.replies import Asked, ReplyDecoder
from codec.symbols import SymbolTable
from codec.window import SequenceWindow
from protos.opend.capital_distribution_pb2 import GetCapitalDistributionResponse
from protos.opend.capital_flow_pb2 import GetCapitalFlowResponse

_TIME = "2026-11-20 09:30:00"


def warm() -> None:
    """Return once every kernel can be called without compiling it: at once when that is so already."""
    symbols, clock = SymbolTable(partition_count=1), MarketClock()
    symbols.id_of(HK, "00700")
    _warm_ticks(symbols, clock)
    _warm_polls(symbols, clock)


def _warm_ticks(symbols: SymbolTable, clock: MarketClock) -> None:
    ticks = TickBuffer(capacity=1)
    OpenDDecoder(symbols, clock).decode(np.zeros(PAD_BYTES, np.uint8), 0, 0, 0, ticks)
    ticks.rows = 1  # a row of zeros: types matter here, values do not
    window = SequenceWindow(symbols)
    verdict = window.test(ticks)
    window.mark(ticks, verdict)
    TickEncoder("", symbols, [""]).encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows)


def _warm_polls(symbols: SymbolTable, clock: MarketClock) -> None:
    replies, flows = ReplyDecoder(symbols, clock, source="", gateway=""), FlowBuffer(capacity=1)
    lines = GetCapitalFlowResponse(retType=0)
    lines.s2c.flowItemList.add(inFlow=0, time=_TIME)
    replies.flow(*_frame(ProtoId.GET_CAPITAL_FLOW, lines), Asked(0, HK, INTRADAY), 0, flows)
    diff = FlowDiff(symbols)
    verdict = diff.test(flows)
    diff.mark(flows, verdict)
    FlowEncoder("", symbols, [""]).encode(flows, verdict.fresh, verdict.fresh_rows)
    distribution = GetCapitalDistributionResponse(retType=0)
    for name in ("capitalInBig", "capitalInMid", "capitalInSmall", "capitalOutBig", "capitalOutMid", "capitalOutSmall"):
        setattr(distribution.s2c, name, 0.0)
    distribution.s2c.updateTime = _TIME
    replies.distribution(*_frame(ProtoId.GET_CAPITAL_DISTRIBUTION, distribution), Asked(0, HK), 0)
    entry = f'{{"code": "HK.00700", "update_time": "{_TIME}", "main_net_inflow": 0}}'
    answer = f'{{"ret_code": 0, "data": {{"capital_flow_list": [{entry}]}}}}'
    FlowListDecoder(clock, source="", gateway="").decode(answer.encode(), [], 0)


def _frame(proto_id: ProtoId, message: Message) -> tuple[NDArray[np.uint8], ControlFrame]:
    """A reply as OpenDDecoder leaves it; headers have been read by then."""
    received = pack_frame(proto_id, 0, message.SerializeToString())
    source = np.frombuffer(bytearray(received + bytes(PAD_BYTES)), np.uint8)
    return source, ControlFrame(Span(0, len(received)), proto_id, 0, BodyFormat.PROTOBUF)


if __name__ == "__main__":
    warm()
