"""JSON bodies say what the same messages say in protobuf."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from codec.bits import PAD_BYTES
from codec.columns import TickBuffer
from codec.markets import HK
from codec.opend.decoder import ControlFrame, Decoded, OpenDDecoder, PulledTicks, Refused
from codec.opend.json_bodies import JSON_BODY_BYTES_MAX, UndecodableJson, to_protobuf
from codec.opend.json_ticks import decode_json_ticks
from codec.opend.protocol import BodyFormat, ProtoId, pack_frame
from codec.opend.replies import FlowLines, GatewayError, OneRow
from codec.spans import Span
from codec.symbols import SymbolTable
from protos.opend import (
    ark_stock_dynamic_pb2,
    capital_distribution_pb2,
    capital_flow_pb2,
    global_state_pb2,
    init_connect_pb2,
    keep_alive_pb2,
    market_state_pb2,
    notify_pb2,
    static_info_pb2,
    subscription_pb2,
    ticker_pb2,
    user_info_pb2,
)
from protos.opend.ticker_pb2 import UpdateTickerResponse
from tests.codec import strategies as drawn
from tests.codec.examples import examples
from tests.codec.feeding import CLOCK, rows_of
from tests.codec.flows import strategies as flows
from tests.codec.flows.reading import Reader, lines_of

RECV_NS = 1_795_138_200_123_456_789
RESPONSES: tuple[type[Message], ...] = tuple(
    message
    for module in (
        ark_stock_dynamic_pb2, capital_distribution_pb2, capital_flow_pb2, global_state_pb2, init_connect_pb2,
        keep_alive_pb2, market_state_pb2, notify_pb2, static_info_pb2, subscription_pb2, ticker_pb2, user_info_pb2,
    )
    for name, message in vars(module).items()
    if name.endswith("Response")
)  # fmt: skip


def printed(message: Message, *, numbers: bool = False, indent: int | None = None) -> bytes:
    """A message as JSON; with `numbers`, 64-bit integers as JSON numbers instead of strings."""
    if not numbers:
        return MessageToJson(message, indent=indent, ensure_ascii=False).encode()
    return json.dumps(_numbered(MessageToDict(message), message)).encode()


def _numbered(value: Any, message: Message) -> Any:
    for part, held in message.ListFields():
        if part.type in (part.TYPE_INT64, part.TYPE_UINT64):
            value[part.name] = held
        elif part.type == part.TYPE_MESSAGE and part.is_repeated:
            value[part.name] = [_numbered(*pair) for pair in zip(value[part.name], held, strict=True)]
        elif part.type == part.TYPE_MESSAGE:
            value[part.name] = _numbered(value[part.name], held)
    return value


class Ticks:
    """A decoder of ticks, fed with one frame at a time, `at` bytes into a buffer."""

    def __init__(self, capacity: int = 64, **options: Any) -> None:
        self.symbols = SymbolTable(12)
        self.decoder = OpenDDecoder(self.symbols, CLOCK, checks_sha1=False, **options)
        self.ticks = TickBuffer(capacity)

    def read(self, proto_id: int, body: bytes, body_format: BodyFormat, at: int = 0) -> Decoded:
        frame = pack_frame(proto_id, 8, body, body_format)
        source = np.frombuffer(bytearray(bytes(at) + frame + bytes(PAD_BYTES)), np.uint8)
        decoded = self.decoder.decode(source, at, at + len(frame), RECV_NS, self.ticks)
        if body_format == BodyFormat.JSON:
            (note,) = decoded.notes
            assert isinstance(note, ControlFrame)
            return decode_json_ticks(self.decoder, source, note, RECV_NS, self.ticks)
        return decoded


def told(decoded: Decoded) -> list[object]:
    """Notes without where and in which format the frame was."""
    spanless = Span(0, 0)
    return [
        note if isinstance(note, PulledTicks) else
        replace(note, span=spanless, body_format=0) if isinstance(note, ControlFrame) else
        replace(note, span=spanless)
        for note in decoded.notes
    ]  # fmt: skip


@examples(200)
@given(body=drawn.usual_bodies(), proto_id=drawn.proto_ids, numbers=st.booleans(), indent=st.sampled_from([None, 2]))
def test_ticks_in_json_are_those_in_protobuf(body: bytes, proto_id: int, numbers: bool, indent: int | None) -> None:
    text = printed(UpdateTickerResponse.FromString(body), numbers=numbers, indent=indent)
    plain, other = Ticks(), Ticks()
    expected = plain.read(proto_id, body, BodyFormat.PROTOBUF)
    found = other.read(proto_id, text, BodyFormat.JSON, at=5)
    assert rows_of(other.ticks, other.symbols) == rows_of(plain.ticks, plain.symbols)
    assert told(found) == told(expected)
    assert other.decoder.counters.tolist() == plain.decoder.counters.tolist()
    assert (found.consumed, found.needs_room, found.broken) == (5 + 44 + len(text), False, None)
    assert all(note.span == Span(5, 44 + len(text)) for note in found.notes if not isinstance(note, PulledTicks))


@examples(200)
@given(body=flows.usual_bodies(HK), period=flows.periods, numbers=st.booleans())
def test_lines_in_json_are_those_in_protobuf(body: bytes, period: int, numbers: bool) -> None:
    text = printed(capital_flow_pb2.GetCapitalFlowResponse.FromString(body), numbers=numbers)
    plain, other = Reader(), Reader()
    expected, found = plain.flow(body, period), other.flow(text, period, body_format=BodyFormat.JSON)
    assert lines_of(other.flows) == lines_of(plain.flows)
    assert other.counters == plain.counters
    assert type(found) is type(expected)
    if isinstance(found, FlowLines) and isinstance(expected, FlowLines):
        spanless = Span(0, 0)
        assert [replace(line, span=spanless) for line in found.refused] == [
            replace(line, span=spanless) for line in expected.refused
        ]
    else:
        assert found == expected


def test_replies_of_one_row_in_json() -> None:
    ark = ark_stock_dynamic_pb2.GetArkStockDynamicResponse(retType=0)
    ark.s2c.dynamicType, ark.s2c.netShares, ark.s2c.lastTransactionTime = 1, -29523, "2026-06-22"
    shares = capital_distribution_pb2.GetCapitalDistributionResponse(retType=0)
    for part in shares.s2c.DESCRIPTOR.fields:
        setattr(shares.s2c, part.name, "2026-11-20 16:00:00" if part.name == "updateTime" else part.number + 0.5)
    shares.s2c.updateTimestamp = 1_795_161_600.0
    reader = Reader()
    for message, read in ((ark, reader.ark), (shares, reader.distribution)):
        expected = read(message.SerializeToString())
        assert isinstance(expected, OneRow)
        for numbers in (False, True):
            assert read(printed(message, numbers=numbers), body_format=BodyFormat.JSON) == expected
    refused = printed(ark_stock_dynamic_pb2.GetArkStockDynamicResponse(retType=-1, retMsg="满", errCode=3))
    assert reader.ark(refused, body_format=BodyFormat.JSON) == GatewayError(-1, 3, "满")
    broken = reader.ark(refused[:-1], body_format=BodyFormat.JSON)
    assert isinstance(broken, Refused)
    assert broken.reason == "undecodable"


def filled(message: Message, depth: int = 0) -> Message:
    """A message with every field set: what controls say in JSON, too."""
    values: dict[int, Callable[[int], Any]] = {
        FieldDescriptor.TYPE_DOUBLE: lambda number: number + 0.5,
        FieldDescriptor.TYPE_BOOL: lambda number: number % 2 == 0,
        FieldDescriptor.TYPE_STRING: lambda number: f"text {number}",
    }
    for part in message.DESCRIPTOR.fields:
        if part.type == part.TYPE_MESSAGE:
            held = getattr(message, part.name)
            filled(held.add() if part.is_repeated else held, depth + 1)
            if not part.is_repeated:
                held.SetInParent()
        else:
            enum = part.enum_type
            make = values.get(part.type, int)
            value = enum.values[-1].number if enum else make(part.number)
            if part.is_repeated:
                getattr(message, part.name).extend([value, value])
            else:
                setattr(message, part.name, value)
    return message


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.DESCRIPTOR.name)
def test_every_reply_we_know(response: type[Message]) -> None:
    message = filled(response())
    for numbers in (False, True):
        assert to_protobuf(printed(message, numbers=numbers), response).body == message.SerializeToString()


TICK = {
    "time": "2026-11-20 09:30:00", "sequence": "1", "dir": 1, "price": 512.5, "volume": "300", "turnover": 1.0,
    "timestamp": 1795138200.0,
}  # fmt: skip


def push(*ticks: object) -> bytes:
    return json.dumps({"retType": 0, "s2c": {"security": {"market": 1, "code": "00700"}, "tickerList": ticks}}).encode()


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("sequence", "9223372036854775808", "sequence: '9223372036854775808' is not between"),
        ("sequence", 2**63, "sequence: 9223372036854775808 is not between"),
        ("sequence", 2**70, "sequence: 1.1805916207174113e+21 is no integer"),
        ("sequence", float(2**62), "sequence: 4.611686018427388e+18 is no integer"),
        ("sequence", 1.5, "sequence: 1.5 is no integer"),
        ("sequence", True, "sequence: True is no integer"),
        ("sequence", "0x10", "sequence: '0x10' is no integer"),
        ("sequence", "1_000", "sequence: '1_000' is no integer"),
        ("sequence", "٣", "sequence: '٣' is no integer"),
        ("dir", 2**31, "dir: 2147483648 is not between"),
        ("price", "abc", "price: 'abc' is no number"),
        ("price", "1_0", "price: '1_0' is no number"),
        ("price", "1" * 65, f"price: '{'1' * 63}… is no number"),
        ("price", [1.0], "price: a list is no number"),
        ("price", True, "price: True is no number"),
        ("time", 20261120, "time: 20261120 is no text"),
        ("time", {}, "time: an object is no text"),
    ],
)
def test_a_value_that_its_field_cannot_hold_costs_its_tick_alone(name: str, value: object, detail: str) -> None:
    reader = Ticks()
    decoded = reader.read(ProtoId.GET_TICKER, push(TICK, TICK | {name: value}, TICK), BodyFormat.JSON)
    refused, pulled = decoded.notes
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.tick) == ("bad_row", 1)
    assert refused.detail.startswith(f"tick 1: {detail}")
    assert isinstance(pulled, PulledTicks)
    assert pulled.rows == reader.ticks.rows == 2


@pytest.mark.parametrize("tick", [None, 5, "tick", [], True])
def test_what_is_no_tick_costs_no_other(tick: object) -> None:
    reader = Ticks()
    (refused,) = reader.read(ProtoId.UPDATE_TICKER, push(TICK, tick), BodyFormat.JSON).notes
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.tick, reader.ticks.rows) == ("bad_row", 1, 1)
    assert "is no object" in refused.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [("sequence", 1), ("sequence", 1.0), ("price", "512.5"), ("price", "5125e-1"), ("typeSign", None), ("new", [{}])],
)
def test_other_spellings_of_the_same(name: str, value: object) -> None:
    plain, other = Ticks(), Ticks()
    plain.read(ProtoId.UPDATE_TICKER, push(TICK), BodyFormat.JSON)
    assert not other.read(ProtoId.UPDATE_TICKER, push(TICK | {name: value}), BodyFormat.JSON).notes
    assert rows_of(other.ticks, other.symbols) == rows_of(plain.ticks, plain.symbols)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_doubles_that_are_no_amounts(word: str) -> None:
    (refused,) = Ticks().read(ProtoId.UPDATE_TICKER, push(TICK | {"price": word}), BodyFormat.JSON).notes
    assert isinstance(refused, Refused)
    assert refused.detail == "tick 0: the price is infinite or not a number"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>", "the body is not JSON"),
        (b'{"retType": NaN}', "the body is not JSON"),
        (b'{"retType": 0}{', "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"retType": 0, "retMsg": "\xff"}', "the body is not JSON"),
        (b"[]", "a list is no object"),
        (b"0", "0 is no object"),
        (b"{}", "retType is missing"),
        (b'{"retType": null}', "retType is missing"),
        (b'{"retType": "zero"}', "retType: 'zero' is no integer"),
        (b'{"retType": 0, "s2c": []}', "s2c: a list is no object"),
        (b'{"retType": 0, "s2c": {"tickerList": {}}}', "s2c: tickerList: an object is no list"),
        (b'{"retType": 0, "s2c": {"security": {"market": "HK"}}}', "s2c: security: market: 'HK' is no integer"),
        (b" " * (JSON_BODY_BYTES_MAX + 1), f"the limit is {JSON_BODY_BYTES_MAX} B"),
    ],
)
def test_bodies_that_cost_the_frame(body: bytes, detail: str) -> None:
    reader = Ticks()
    decoded = reader.read(ProtoId.UPDATE_TICKER, body, BodyFormat.JSON)
    (refused,) = decoded.notes
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.tick, reader.ticks.rows) == ("undecodable", None, 0)
    assert detail in refused.detail
    assert refused.span.size_bytes == 44 + len(body)


def test_the_kernels_own_reasons() -> None:
    (refused,) = Ticks().read(ProtoId.UPDATE_TICKER, b'{"retMsg": "", "s2c": {}}', BodyFormat.JSON).notes
    assert isinstance(refused, Refused)
    assert refused.detail == "retType is missing"
    (refused,) = Ticks().read(ProtoId.UPDATE_TICKER, b'{"retType": 0, "s2c": {}}', BodyFormat.JSON).notes
    assert isinstance(refused, Refused)
    assert refused.detail == "the security is missing or incomplete"


def test_a_full_buffer_asks_for_room_and_loses_nothing() -> None:
    reader = Ticks(capacity=3)
    assert not reader.read(ProtoId.UPDATE_TICKER, push(TICK, TICK), BodyFormat.JSON).needs_room
    decoded = reader.read(ProtoId.UPDATE_TICKER, push(TICK, TICK), BodyFormat.JSON, at=7)
    assert (decoded.needs_room, decoded.consumed, decoded.notes) == (True, 7, [])
    reader.ticks.rows = 0
    assert not reader.read(ProtoId.UPDATE_TICKER, push(TICK, TICK), BodyFormat.JSON).needs_room
    assert reader.ticks.rows == 2


def test_a_body_longer_in_protobuf_than_a_frame_may_be() -> None:
    tick = {name: value for name, value in TICK.items() if name in ("sequence", "volume")}
    body = push(*[tick | {"sequence": -1, "volume": -1, "dir": -1, "type": -1, "typeSign": -1}] * 8).replace(b" ", b"")
    reader = Ticks(body_bytes_max=len(body) - 190)
    frame = pack_frame(ProtoId.UPDATE_TICKER, 8, body, BodyFormat.JSON)
    source = np.frombuffer(bytearray(frame + bytes(PAD_BYTES)), np.uint8)
    note = ControlFrame(Span(0, len(frame)), ProtoId.UPDATE_TICKER, 8, 1)
    (refused,) = decode_json_ticks(reader.decoder, source, note, RECV_NS, reader.ticks).notes
    assert isinstance(refused, Refused)
    assert refused.reason == "undecodable"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["retType", "s2c", "security", "tickerList", "market", "code", *TICK]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@examples(300)
@given(
    body=st.one_of(
        json_values.map(json.dumps).map(str.encode),
        drawn.mutated(st.just(push(TICK, TICK))),
        json_values.map(lambda value: push(TICK, value)),
    ),
    response=st.sampled_from(RESPONSES),
)
def test_no_body_breaks_the_decoder(body: bytes, response: type[Message]) -> None:
    if body:
        decoded = Ticks().read(ProtoId.UPDATE_TICKER, body, BodyFormat.JSON)
        assert all(isinstance(note, Refused | ControlFrame) for note in decoded.notes)
    with contextlib.suppress(UndecodableJson):
        response().ParseFromString(to_protobuf(body, response).body)
