"""Replies to 3211 against the generated classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.flow_columns import FLOW_LINES_MAX
from codec.opend import notes as n
from codec.opend.decoder import REASONS, Refused
from codec.opend.flows import LINE_NOTES_MAX
from codec.opend.replies import FlowLines, GatewayError, NeedsRoom
from protos.opend.capital_flow_pb2 import GetCapitalFlowResponse
from tests.codec import strategies as drawn
from tests.codec import wire
from tests.codec.examples import examples
from tests.codec.flows import strategies as flows
from tests.codec.flows.oracle import read_reply
from tests.codec.flows.reading import Reader, lines_of
from tests.codec.oracle import HK, US, FrameRefused, SessionsBusiness

RECV_NS = 1_795_138_200_123_456_789


def check(body: bytes, market: int, period: int, padding: bytes = b"\xff") -> None:
    """The kernel makes of `body` what the oracle does."""
    reader = Reader(market, "00700")
    outcome = reader.flow(body, period, RECV_NS, padding=padding)
    try:
        expected = read_reply(body, market, period, RECV_NS)
    except FrameRefused as error:
        assert isinstance(outcome, Refused)
        word, detail = REASONS[error.reason]
        assert (outcome.reason, outcome.detail, outcome.tick, reader.flows.rows) == (word, detail, None, 0)
        assert not reader.counters
    except SessionsBusiness:
        # Lines that are no protobuf make it undecodable after all: nothing can be said of the error.
        assert isinstance(outcome, GatewayError | Refused)
        assert reader.flows.rows == 0
        assert not reader.counters
    else:
        assert isinstance(outcome, FlowLines)
        assert lines_of(reader.flows) == expected.rows
        assert (outcome.first_row, outcome.rows) == (0, len(expected.rows))
        assert [(line.tick, line.reason, line.detail) for line in outcome.refused] == [
            (index, REASONS[reason][0], f"line {index}: {REASONS[reason][1]}") for index, reason in expected.refused
        ]
        assert reader.counters == dict(+expected.counters)
        assert set(reader.flows.column("symbol").tolist()) <= {reader.symbol_id}
        assert set(reader.flows.column("gateway").tolist()) <= {3}


bodies_of_markets = drawn.markets.flatmap(lambda market: st.tuples(st.just(market), flows.any_bodies(market)))


@examples(400)
@given(drawn_body=bodies_of_markets, period=flows.periods, padding=st.binary(min_size=1, max_size=4))
def test_any_body(drawn_body: tuple[int, bytes], period: int, padding: bytes) -> None:
    market, body = drawn_body
    check(body, market, period, padding)


@examples(60)
@given(body=st.one_of(flows.usual_bodies(HK), flows.general_bodies(HK)), period=flows.periods)
def test_cut_at_every_byte(body: bytes, period: int) -> None:
    for end in range(1, len(body)):
        check(body[:end], HK, period)


LINE = wire.double(1, 5.0) + wire.piece(2, b"2026-11-20 09:30:00") + wire.double(3, 1_795_138_200.0)
LATE = wire.double(1, 5.0) + wire.piece(2, b"2026-11-20 09:30:00") + wire.double(3, 1_795_138_202.0)


@pytest.mark.parametrize("period", [1, 2])
@pytest.mark.parametrize(
    "s2c",
    [
        wire.piece(1, LINE + wire.double(1, 6.0)),
        wire.piece(1, LINE + wire.double(8, 6.0) + wire.double(4, 7.0)),
        wire.piece(1, LINE + b"\x79"),
        wire.piece(1, LINE + wire.number(100, 1)),
        wire.piece(1, LINE + wire.piece(100, bytes(200))),
        # A length of two bytes that, read as one, leaves what looks like the message's last field.
        wire.piece(1, LINE + wire.piece(100, bytes(85) + b"\x19")) + wire.piece(100, bytes(5)),
        wire.piece(1, LINE) + wire.piece(1, LATE) + wire.piece(1, LATE + b"\xff"),
        wire.piece(1, LINE) + b"\xff",
        wire.piece(1, LINE) + b"\x19",
        wire.piece(1, LINE) + wire.number(100, 1),
        wire.piece(1, LINE) + wire.piece(2, b"2026") + wire.double(3, 1.0) + wire.piece(1, LATE),
        wire.piece(1, LINE)[:-1],
        *(wire.piece(1, wire.double(1, 5.0) + wire.piece(2, text)) for text in (b"2" * 24, b"2" * 127, b"")),
    ],
)
def test_nearly_as_real_senders_write_it(s2c: bytes, period: int) -> None:
    """The first reading gives up in time: what comes late in a line, or behind the lines, is seen."""
    check(wire.number(1, 0) + wire.piece(4, s2c), HK, period)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["inFlow", *flows.AMOUNTS])
def test_each_amount_must_be_finite(name: str, amount: float) -> None:
    message = reply(3)
    setattr(message.s2c.flowItemList[1], name, amount)
    check(message.SerializeToString(), HK, 1)
    outcome = Reader().flow(message.SerializeToString())
    assert isinstance(outcome, FlowLines)
    assert (outcome.rows, [line.tick for line in outcome.refused]) == (2, [1])


@pytest.mark.parametrize("clock", ["24:00:00", "00:60:00", "00:00:60", "00:00:00.", "00:00:0", "00.00.00"])
def test_a_day_with_an_impossible_clock(clock: str) -> None:
    message = reply(1)
    message.s2c.flowItemList[0].time = f"2026-11-20 {clock}"
    for period in (1, 2):
        check(message.SerializeToString(), HK, period)
        outcome = Reader().flow(message.SerializeToString(), period)
        assert isinstance(outcome, FlowLines)
        assert [line.reason for line in outcome.refused] == ["bad_row"]


def reply(count: int, **values: object) -> GetCapitalFlowResponse:
    message = GetCapitalFlowResponse(retType=0)
    message.s2c.SetInParent()
    for minute in range(count):
        item = message.s2c.flowItemList.add(
            inFlow=minute, time=f"2026-11-20 {minute // 60 % 24:02d}:{minute % 60:02d}:00"
        )
        for name, value in values.items():
            setattr(item, name, value)
    return message


def test_a_whole_day_of_both_markets() -> None:
    for market in (HK, US):
        check(reply(391, superInFlow=1.5, bigInFlow=-2.5).SerializeToString(), market, 1)


def test_several_replies_in_one_buffer() -> None:
    reader = Reader()
    for period in (1, 2):
        outcome = reader.flow(reply(3).SerializeToString(), period)
        assert isinstance(outcome, FlowLines)
        assert (outcome.first_row, outcome.rows) == (3 * (period - 1), 3)
    assert reader.flows.column("period").tolist() == [1, 1, 1, 2, 2, 2]


def test_a_full_buffer_asks_for_room_and_loses_nothing() -> None:
    reader = Reader(capacity=5)
    body = reply(3).SerializeToString()
    assert isinstance(reader.flow(body), FlowLines)
    assert isinstance(reader.flow(body), NeedsRoom)
    assert reader.flows.rows == 3
    reader.flows.rows = 0
    assert isinstance(reader.flow(body), FlowLines)


def test_more_lines_than_a_reply_may_hold() -> None:
    body = wire.number(1, 0) + wire.piece(4, wire.piece(1, b"") * (FLOW_LINES_MAX + 1))
    outcome = Reader(capacity=FLOW_LINES_MAX + 9).flow(body)
    assert isinstance(outcome, Refused)
    assert (outcome.reason, outcome.tick) == ("too_many_lines", None)
    outcome = Reader(capacity=2).flow(reply(3).SerializeToString())
    assert isinstance(outcome, Refused)
    assert outcome.reason == "too_many_lines", "it would never fit"


@pytest.mark.parametrize(("bad", "word"), [(LINE_NOTES_MAX, "bad_row"), (LINE_NOTES_MAX + 1, "too_many_bad_lines")])
def test_more_bad_lines_than_are_listed(bad: int, word: str) -> None:
    body = wire.number(1, 0) + wire.piece(4, wire.piece(1, b"") * bad)
    outcome = Reader().flow(body)
    refused = outcome.refused[-1] if isinstance(outcome, FlowLines) else outcome
    assert isinstance(refused, Refused)
    assert refused.reason == word


def test_the_gateways_own_error() -> None:
    message = GetCapitalFlowResponse(retType=-1, retMsg="频率太高", errCode=7)
    assert Reader().flow(message.SerializeToString()) == GatewayError(-1, 7, "频率太高")


def test_an_error_whose_text_is_not_utf8() -> None:
    assert Reader().flow(wire.number(1, -1) + wire.piece(2, b"\xff!")) == GatewayError(-1, 0, "\ufffd!")


def test_a_body_of_another_format_is_refused() -> None:
    outcome = Reader().flow(reply(1).SerializeToString(), body_format=7)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "undecodable"
    assert "format 7" in outcome.detail


def test_nulls_are_told_from_zeros() -> None:
    reader = Reader()
    message = reply(2)
    message.s2c.flowItemList[1].mainInFlow = 0.0
    reader.flow(message.SerializeToString())
    main = reader.flows.column("main_net_inflow")
    assert np.isnan(main[0])
    assert main[1] == 0.0


def test_days_are_local_midnights() -> None:
    """Date alone, midnight and a close are one day; in New York a day begins at 04:00 or 05:00 UTC."""
    for market, expected in ((HK, 1_795_104_000), (US, 1_795_150_800)):
        reader = Reader(market, "AAPL")
        message = GetCapitalFlowResponse(retType=0)
        for text in ("2026-11-20", "2026-11-20 00:00:00", "2026-11-20 16:00:00"):
            message.s2c.flowItemList.add(inFlow=1, time=text)
        message.s2c.flowItemList.add(inFlow=1, timestamp=expected)
        message.s2c.flowItemList.add(inFlow=1, time="2026-11-20", timestamp=expected + 16 * 3600)
        reader.flow(message.SerializeToString(), period=2)
        assert reader.flows.column("ts_event").tolist() == [expected * 1_000_000] * 5
        assert reader.flows.column("trade_date").tolist() == [20777] * 5
        assert not reader.counters


def test_a_day_whose_timestamp_is_another_is_counted_and_loses() -> None:
    reader = Reader()
    message = GetCapitalFlowResponse(retType=0)
    message.s2c.flowItemList.add(inFlow=1, time="2026-11-20", timestamp=1_795_104_000 + 24 * 3600)
    message.s2c.flowItemList.add(inFlow=1, time="2026-11-20", timestamp=1_795_104_000 - 1)
    reader.flow(message.SerializeToString(), period=2)
    assert reader.flows.column("trade_date").tolist() == [20778, 20777]
    assert Counter(reader.counters) == {n.TIME_DISAGREEMENTS: 1}
