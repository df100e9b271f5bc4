"""The byte examples and the vendor's sample decode to the values listed with them, and are packed so."""

from __future__ import annotations

import datetime
import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from codec.flow_columns import FlowBuffer
from codec.longport.decoder import ControlPacket
from codec.longport.protocol import HANDSHAKE, Command, pack_request
from codec.longport.replies import FlowLines, ReplyDecoder
from protos.longport.capital_flow_pb2 import CapitalFlowIntradayRequest, CapitalFlowIntradayResponse, SecurityRequest
from protos.longport.control_pb2 import AuthRequest, AuthResponse, Close, Error, Heartbeat, ReconnectRequest
from protos.longport.subscription_pb2 import TRADE, SubscribeRequest, UnsubscribeRequest
from tests.codec.longport import packing
from tests.codec.longport.feeding import CLOCK, Feeder, padded, read_chunks
from tests.codec.longport.oracle import Control, Row

REQUESTS: list[tuple[str, int, int, int, Message]] = [
    ("01 02 00000001 1388 000009 0a076f74702d313233", Command.AUTH, 1, 5000, AuthRequest(token="otp-123")),
    (
        "01 02 00000001 1388 000028 0a076f74702d313233 121d 0a15 6e6565645f6f7665725f6e696768745f71756f7465 1204 "
        "74727565",
        Command.AUTH,
        1,
        5000,
        AuthRequest(token="otp-123", metadata={"need_over_night_quote": "true"}),
    ),
    ("01 03 00000001 1388 000005 0a03732d31", Command.RECONNECT, 1, 5000, ReconnectRequest(session_id="s-1")),
    (
        "01 01 00000002 1388 000009 0880d095ffbc31 1002",
        Command.HEARTBEAT,
        2,
        5000,
        Heartbeat(timestamp=1_700_000_000_000, heartbeat_id=2),
    ),
    (
        "01 18 00000003 7530 000008 0a063730302e484b",
        Command.QUERY_CAPITAL_FLOW_INTRADAY,
        3,
        30_000,
        CapitalFlowIntradayRequest(symbol="700.HK"),
    ),
    (
        "01 19 00000003 7530 000008 0a063730302e484b",
        Command.QUERY_CAPITAL_FLOW_DISTRIBUTION,
        3,
        30_000,
        SecurityRequest(symbol="700.HK"),
    ),
    (
        "01 06 00000004 7530 00000d 0a063730302e484b 120104 1801",
        Command.SUBSCRIBE,
        4,
        30_000,
        SubscribeRequest(symbol=["700.HK"], sub_type=[TRADE], is_first_push=True),
    ),
    (
        "01 07 00000005 7530 00000b 0a063730302e484b 120104",
        Command.UNSUBSCRIBE,
        5,
        30_000,
        UnsubscribeRequest(symbol=["700.HK"], sub_type=[TRADE]),
    ),
]

CONTROLS: list[tuple[str, tuple[int, int, int, int], Message]] = [
    (
        "02 02 00000001 00 000010 0a03732d31 108088afa8bd31 180a 2001",
        (2, Command.AUTH, 1, 0),
        AuthResponse(session_id="s-1", expires=1_700_086_400_000, limit=10, online=1),
    ),
    (
        "02 01 00000002 00 000009 0880d095ffbc31 1002",
        (2, Command.HEARTBEAT, 2, 0),
        Heartbeat(timestamp=1_700_000_000_000, heartbeat_id=2),
    ),
    ("03 00 000005 0805 120178", (3, Command.CLOSE, 0, 0), Close(code=Close.SESSION_EXPIRED, reason="x")),
    (
        "02 18 00000003 03 00000b 08a6b412 12056c696d6974",
        (2, Command.QUERY_CAPITAL_FLOW_INTRADAY, 3, 3),
        Error(code=301606, msg="limit"),
    ),
]
FLOW = "02 18 00000003 00 000016 0a063730302e484b 120c 0a042d312e35 1090db9b9506"
PUSH = "03 68 000026 0a063730302e484b 1080cfaea393c824 1a14 0a053338382e34 1064 1880e2cfaa06 220155 2802"


@pytest.mark.parametrize(("text", "command", "request_id", "timeout_ms", "message"), REQUESTS)
def test_requests(text: str, command: int, request_id: int, timeout_ms: int, message: Message) -> None:
    packet = bytes.fromhex(text)
    body = message.SerializeToString(deterministic=True)
    assert pack_request(command, request_id, body, timeout_ms) == packet
    assert read_chunks([packet]).notes == [Control(0, len(packet), 1, command, request_id, 0, body)]


@pytest.mark.parametrize(("text", "header", "message"), CONTROLS)
def test_controls(text: str, header: tuple[int, int, int, int], message: Message) -> None:
    packet = bytes.fromhex(text)
    (note,) = read_chunks([packet]).notes
    assert isinstance(note, Control)
    assert note[:6] == (0, len(packet), *header)
    assert type(message).FromString(note.body) == message


def row_of_push(**values: Any) -> Row:
    return Row(
        symbol="HK.00700",
        trade_date=datetime.date(2023, 11, 15),
        ts_event_us=1_700_000_000_000_000,
        sequence=160_808_750_000_000,
        ordinal=0,
        price=(388.4).hex(),
        volume=(100.0).hex(),
        turnover=(388.4 * 100).hex(),
        direction="buy",
        trade_type=0,
        condition="U",
        session="regular",
        delivery="realtime",
        ts_gateway_us=None,
        ts_recv_ns=9,
    )._replace(**values)


def test_the_push() -> None:
    packet = bytes.fromhex(PUSH)
    body = packet[5:]
    compressed = gzip.compress(body)
    ways = [
        packet,
        bytes((0x23, 0x68)) + len(compressed).to_bytes(3, "big") + compressed,
        bytes((0x13,)) + packet[1:] + packing.TRAILER,
    ]
    reading = read_chunks([b"".join(ways)], recv_ns=9)
    assert reading.rows == [row_of_push()] * 3
    assert not reading.notes


def flow_lines(packet: bytes) -> tuple[FlowLines, FlowBuffer]:
    feeder, flows = Feeder(), FlowBuffer(16)
    (note,) = feeder.decoder.decode(padded(packet), 0, len(packet), 9, feeder.ticks).notes
    assert isinstance(note, ControlPacket)
    replies = ReplyDecoder(feeder.symbols, CLOCK, source="longport", gateway="lp")
    lines = replies.flow(note, 9, flows)
    assert isinstance(lines, FlowLines)
    assert feeder.symbols.names[lines.symbol_id] == "HK.00700"
    return lines, flows


def test_the_flow_reply() -> None:
    lines, flows = flow_lines(bytes.fromhex(FLOW))
    assert (lines.rows, lines.refused) == (1, ())
    assert flows.column("net_inflow").tolist() == [-1.5]
    assert flows.column("ts_event").tolist() == [1_655_106_960_000_000]


def test_the_vendors_sample_of_capital_flow() -> None:
    """The page prints these five lines as JSON; 1655106960 is 15:56 in Hong Kong."""
    inflows = ["-310255860.000", "-314011220.000", "-314011220.000", "-314011220.000", "-314011220.000"]
    message = CapitalFlowIntradayResponse(symbol="700.HK")
    for minute, inflow in enumerate(inflows):
        message.capital_flow_lines.add(inflow=inflow, timestamp=1_655_106_960 + 60 * minute)
    lines, flows = flow_lines(packing.response(message.SerializeToString(), 24))
    assert (lines.rows, lines.refused) == (5, ())
    assert flows.column("net_inflow").tolist() == [-310255860.0, *[-314011220.0] * 4]
    begin = datetime.datetime(2022, 6, 13, 15, 56, tzinfo=datetime.timezone(datetime.timedelta(hours=8)))
    assert flows.column("ts_event").tolist() == [int(begin.timestamp() + 60 * n) * 1_000_000 for n in range(5)]
    assert {
        datetime.date(1970, 1, 1) + datetime.timedelta(days=day) for day in flows.column("trade_date").tolist()
    } == {begin.date()}


def test_the_examples_are_those_of_the_protocols_description() -> None:
    text = (Path(__file__).parents[3] / "docs/protocols/longport.md").read_text(encoding="utf-8")
    for example in (*(vector[0] for vector in REQUESTS), *(vector[0] for vector in CONTROLS), FLOW, PUSH):
        assert re.sub(r"\s+", " ", example) in re.sub(r"\s+", " ", text)
    assert f"`{HANDSHAKE.hex(' ')}`" in text
