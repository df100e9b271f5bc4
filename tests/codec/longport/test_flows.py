"""Replies to cmd 24 and 25 against their oracles."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.flow_columns import INTRADAY, FlowBuffer
from codec.longport import notes as n
from codec.longport.decoder import REASONS, Body, ControlPacket, Refused
from codec.longport.protocol import Command, PacketType
from codec.longport.replies import FlowLines, NeedsRoom, OneRow, ReplyDecoder
from codec.spans import Span
from codec.symbols import SymbolTable
from protos.longport.capital_flow_pb2 import CapitalDistributionResponse, CapitalFlowIntradayResponse
from tests.codec.examples import examples
from tests.codec.longport import oracle
from tests.codec.longport import strategies as drawn
from tests.codec.longport.feeding import CLOCK, padded
from tests.codec.longport.oracle import Line, PacketRefused, PartRefused
from tests.codec.oracle import EPOCH_DAY

_T = TypeVar("_T")

RECV_NS = 1_795_138_200_123_456_789
TIME = 1_700_000_000
paddings = st.sampled_from([b"\xff", b"\x00", b"9", b"\x12\x0c\x0a\x04", b"\x10\x01", b"a"])


def packet_of(body: bytes, command: Command, padding: bytes = b"\xff") -> ControlPacket:
    source = padded(body, padding)
    return ControlPacket(Span(0, len(body)), PacketType.RESPONSE, command, 4, 0, Body(source, 0, len(body)))


def lines_of(flows: FlowBuffer, symbols: SymbolTable) -> list[Line]:
    others = ("main_net_inflow", "super_net_inflow", "large_net_inflow", "medium_net_inflow", "small_net_inflow")
    assert all(math.isnan(value) for name in others for value in flows.column(name).tolist())
    assert set(flows.column("period").tolist()) <= {INTRADAY}
    columns: list[list[Any]] = [flows.column(name).tolist() for name in ("symbol", "trade_date", "ts_event")]
    return [
        Line(symbols.names[symbol], EPOCH_DAY + datetime.timedelta(days=day), event_us, inflow.hex(), recv_ns)
        for symbol, day, event_us, inflow, recv_ns in zip(
            *columns, flows.column("net_inflow").tolist(), flows.column("ts_recv").tolist(), strict=True
        )
    ]


def outcome(read: Callable[[], _T]) -> _T | int:
    """What an oracle reads, or the reason why it refuses."""
    try:
        return read()
    except (PacketRefused, PartRefused) as error:
        return error.reason


def check(body: bytes, padding: bytes = b"\xff") -> None:
    symbols, flows = SymbolTable(12), FlowBuffer(4096)
    replies = ReplyDecoder(symbols, CLOCK, source="longport", gateway="lp")
    found = replies.flow(packet_of(body, Command.QUERY_CAPITAL_FLOW_INTRADAY, padding), RECV_NS, flows)
    expected = outcome(lambda: oracle.read_flow(body, recv_ns=RECV_NS))
    if isinstance(expected, int):
        assert isinstance(found, Refused)
        assert (found.reason, found.detail) == REASONS[expected]
        assert flows.rows == 0
        return
    symbol, rows, refused = expected
    assert isinstance(found, FlowLines)
    assert symbols.names[found.symbol_id] == symbol
    assert (found.first_row, found.rows) == (0, len(rows))
    assert lines_of(flows, symbols) == rows
    assert [(note.part, note.reason) for note in found.refused] == [(at, REASONS[why][0]) for at, why in refused]
    assert [note.detail for note in found.refused] == [f"line {at}: {REASONS[why][1]}" for at, why in refused]


@examples(200)
@given(body=drawn.usual_flows(spoilt=False), padding=paddings)
def test_replies_as_real_senders_write_them(body: bytes, padding: bytes) -> None:
    check(body, padding)


@examples(500)
@given(body=drawn.any_flows, padding=paddings)
def test_any_bytes(body: bytes, padding: bytes) -> None:
    check(body, padding)


@examples(60)
@given(body=st.one_of(drawn.usual_flows(), drawn.general_flows()))
def test_bodies_cut_off_at_every_byte(body: bytes) -> None:
    for size in range(len(body)):
        check(body[:size])


def test_a_reply_that_finds_no_room_leaves_nothing() -> None:
    message = CapitalFlowIntradayResponse(symbol="700.HK")
    for minute in range(3):
        message.capital_flow_lines.add(inflow="1", timestamp=TIME + 60 * minute)
    packet = packet_of(message.SerializeToString(), Command.QUERY_CAPITAL_FLOW_INTRADAY)
    symbols, flows = SymbolTable(12), FlowBuffer(5)
    replies = ReplyDecoder(symbols, CLOCK, source="longport", gateway="lp")
    assert isinstance(replies.flow(packet, 0, flows), FlowLines)
    assert replies.flow(packet, 0, flows) == NeedsRoom()
    assert flows.rows == 3
    refused = replies.flow(packet, 0, FlowBuffer(2))
    assert isinstance(refused, Refused)
    assert refused.reason == "too_many_lines"


def test_a_reply_in_the_other_spelling_has_the_symbols_first_id() -> None:
    symbols, flows = SymbolTable(12), FlowBuffer(5)
    id_ = symbols.id_of(1, "00700")
    message = CapitalFlowIntradayResponse(symbol="700.HK")
    message.capital_flow_lines.add(inflow="1", timestamp=TIME)
    message.capital_flow_lines.add(inflow="", timestamp=TIME)
    replies = ReplyDecoder(symbols, CLOCK, source="longport", gateway="lp")
    packet = packet_of(message.SerializeToString(), Command.QUERY_CAPITAL_FLOW_INTRADAY)
    found = replies.flow(packet, 0, flows)
    assert isinstance(found, FlowLines)
    assert (found.symbol_id, found.refused[0].symbol_id) == (id_, id_)
    assert flows.column("symbol").tolist() == [id_]


amounts = st.fixed_dictionaries(dict.fromkeys(("large", "medium", "small"), drawn.prices))
any_amounts = st.fixed_dictionaries(
    {}, optional={size: st.one_of(drawn.prices, drawn.bad_prices) for size in ("large", "medium", "small")}
)


def distribution_of(symbol: str, timestamp: int, inward: dict[str, str], outward: dict[str, str]) -> bytes:
    kind = CapitalDistributionResponse.CapitalDistribution
    message = CapitalDistributionResponse(
        symbol=symbol, timestamp=timestamp, capital_in=kind(**inward), capital_out=kind(**outward)
    )
    return message.SerializeToString()


def check_distribution(body: bytes) -> None:
    symbols = SymbolTable(12)
    replies = ReplyDecoder(symbols, CLOCK, source="longport", gateway="lp")
    found = replies.distribution(packet_of(body, Command.QUERY_CAPITAL_FLOW_DISTRIBUTION), RECV_NS)
    expected = outcome(lambda: oracle.read_distribution(body))
    if isinstance(expected, int):
        assert isinstance(found, Refused)
        assert found.reason == REASONS[expected][0]
        return
    assert isinstance(found, OneRow)
    assert found.row == expected | {"source": "longport", "ts_recv": RECV_NS, "gateway": "lp"}
    assert symbols.names[found.symbol_id] == expected["symbol"]


@examples(150)
@given(body=st.builds(distribution_of, drawn.symbols, drawn.timestamps, amounts, amounts))
def test_distributions(body: bytes) -> None:
    check_distribution(body)


@examples(200)
@given(
    body=st.one_of(
        st.builds(
            distribution_of,
            st.one_of(drawn.symbols, drawn.bad_symbols),
            st.one_of(drawn.timestamps, drawn.bad_timestamps),
            st.one_of(amounts, any_amounts),
            amounts,
        ),
        st.binary(max_size=40),
    )
)
def test_distributions_that_are_wrong_somewhere(body: bytes) -> None:
    check_distribution(body)


@pytest.mark.parametrize("text", ["", "x", "inf"])
def test_a_distribution_says_which_amount_is_wrong(text: str) -> None:
    good = {"large": "1", "medium": "2", "small": "3"}
    body = distribution_of("700.HK", TIME, good, good | {"medium": text})
    replies = ReplyDecoder(SymbolTable(12), CLOCK, source="longport", gateway="lp")
    found = replies.distribution(packet_of(body, Command.QUERY_CAPITAL_FLOW_DISTRIBUTION), 0)
    assert isinstance(found, Refused)
    assert found.reason == REASONS[n.INFLOW_UNREADABLE][0]
    assert found.detail == f"medium of capital_out is {text!r}: no finite decimal number"
