"""After `warm`, nothing that the product does compiles anything."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from google.protobuf.json_format import MessageToJson
from numba.core.registry import CPUDispatcher as Dispatcher

from codec.bits import JIT_DISABLED, PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.day_counts import DayCounts
from codec.encode import TickEncoder
from codec.encode_flows import FlowEncoder
from codec.flow_columns import DAY, FlowBuffer
from codec.flow_diff import FlowDiff
from codec.flow_list import FlowList, FlowListDecoder
from codec.markets import HK, US
from codec.opend.decoder import ControlFrame, OpenDDecoder
from codec.opend.protocol import BodyFormat, ProtoId, pack_frame
from codec.opend.replies import Asked, FlowLines, OneRow, ReplyDecoder
from codec.spans import Span
from codec.symbols import SymbolTable
from codec.warm import warm
from codec.window import SequenceWindow
from tests.codec import wire
from tests.vectors import flow_samples, frame_vectors, tick_samples

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="there is nothing to compile")


def signatures() -> dict[str, int]:
    """How many types of arguments each kernel of ours is ready for: compiled, or loaded from the cache."""
    return {
        f"{name}.{kernel.py_func.__name__}": len(kernel.overloads)
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] == "codec"
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
    }


def test_nothing_is_compiled_after_warm() -> None:
    """Receive buffers as sockets fill them: writable, from a bytearray or made by numpy, of any length."""
    warm()
    pull = b"".join(
        pack_frame(ProtoId.GET_TICKER, 1, sample.message().SerializeToString()) for sample in tick_samples()
    )
    stream = pull + b"".join(vector.frame for vector in frame_vectors()) + pull[:-1] + b"XX"
    buffers = [
        np.frombuffer(bytearray(stream + bytes(PAD_BYTES)), np.uint8),
        np.concatenate([np.frombuffer(stream, np.uint8), np.zeros(PAD_BYTES, np.uint8)]),
    ]
    before = signatures()
    symbols = SymbolTable(12)
    symbols.id_of(HK, "700")
    decoder = OpenDDecoder(symbols, MarketClock(), gateway_id=1)
    window, encoder = SequenceWindow(symbols), TickEncoder("futu", symbols, ["a", "b"])
    ticks = TickBuffer()
    for source in buffers:
        decoded = decoder.decode(source, 0, len(stream), 1_795_138_200_123_456_789, ticks)
        decoder.decode(source, decoded.consumed, len(stream), 2**62, ticks)
    assert ticks.rows == 2 * (9 + 1 + 6)
    symbols.canonicalize(ticks.narrow[0, : ticks.rows])
    verdict = window.test(ticks)
    assert encoder.encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows)
    window.mark(ticks, verdict)
    window.mark_journaled(ticks, verdict.ordinals)
    DayCounts(symbols).add(ticks, verdict.fresh, verdict.ordinals)
    other = SequenceWindow(SymbolTable(1))
    other.restore(window.export())
    symbols.id_of(US, "NEW")
    assert signatures() == before
    assert sum(before.values()) >= 6


def test_nothing_is_compiled_after_warm_by_polls() -> None:
    """Replies in both formats, to any market, and what becomes of their lines."""
    warm()
    before = signatures()
    symbols, clock = SymbolTable(12), MarketClock()
    replies, flows = ReplyDecoder(symbols, clock, source="futu", gateway="a"), FlowBuffer()
    diff = FlowDiff(symbols)
    for market in (HK, US, 31, 999):
        asked = Asked(symbols.id_of(market, "X"), market, DAY)
        for sample in flow_samples():
            message = sample.message()
            bodies = {
                BodyFormat.PROTOBUF: message.SerializeToString(),
                BodyFormat.JSON: MessageToJson(message).encode(),
            }
            for body_format, body in bodies.items():
                frame = pack_frame(ProtoId.GET_CAPITAL_FLOW, 1, body, body_format)
                source = np.frombuffer(bytearray(frame + bytes(PAD_BYTES)), np.uint8)
                note = ControlFrame(Span(0, len(frame)), ProtoId.GET_CAPITAL_FLOW, 1, body_format)
                assert isinstance(replies.flow(source, note, asked, 2**62, flows), FlowLines)
        body = wire.number(1, 0) + wire.piece(4, b"".join(wire.double(n, 1795138200.0) for n in (1, 2, 3, 4, 5, 6, 8)))
        frame = pack_frame(ProtoId.GET_CAPITAL_DISTRIBUTION, 1, body)
        note = ControlFrame(Span(0, len(frame)), ProtoId.GET_CAPITAL_DISTRIBUTION, 1, 0)
        assert isinstance(replies.distribution(np.frombuffer(frame, np.uint8), note, asked, 2**62), OneRow)
    for _ in range(2):
        verdict = diff.test(flows)
        assert FlowEncoder("futu", symbols, ["a"]).encode(flows, verdict.fresh, verdict.fresh_rows)
        diff.mark(flows, verdict)
        diff = FlowDiff(symbols)
    diff.restore(diff.export())
    entry = {"code": "US.AAPL", "update_time": "2026-11-20 10:00:00", "main_net_inflow": 1}
    answer = json.dumps({"ret_code": 0, "data": {"capital_flow_list": [entry]}}).encode()
    assert isinstance(FlowListDecoder(clock, source="", gateway="").decode(answer, [], 2**62), FlowList)
    assert signatures() == before


def test_a_second_call_changes_nothing() -> None:
    before = signatures()
    warm()
    assert signatures() == before
