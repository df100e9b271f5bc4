"""The vendors' samples and the worked frames of polls decode to the values listed with them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from google.protobuf.json_format import MessageToJson

from codec.bits import PAD_BYTES
from codec.columns import TickBuffer
from codec.markets import HK, US
from codec.opend.decoder import ControlFrame, OpenDDecoder
from codec.opend.protocol import BodyFormat, ProtoId
from codec.opend.replies import Asked, FlowLines, OneRow
from tests.codec.feeding import CLOCK
from tests.codec.flows.oracle import Line
from tests.codec.flows.reading import Reader, lines_of
from tests.codec.oracle import EPOCH_DAY
from tests.vectors import FlowSample, flow_samples, frame_vectors, utc_us

ARK_SAMPLES = [
    # As the pages print them, and with netShares as OpenD's own JSON has it.
    ('{"dynamicType": 1, "transactionCount": 3, "netShares": -29523, "lastTransactionTime": "2026-06-17"}',
     ("consecutive_same_direction", 3, -29523, "2026-06-17")),
    ('{"dynamicType": 0, "transactionCount": 5, "netShares": 250000, "lastTransactionTime": "2024-06-03"}',
     ("unknown", 5, 250000, "2024-06-03")),
    ('{"dynamicType": 1, "transactionCount": 2, "netShares": "76041", "lastTransactionTime": "2026-06-22"}',
     ("consecutive_same_direction", 2, 76041, "2026-06-22")),
]  # fmt: skip


@pytest.mark.parametrize("sample", flow_samples(), ids=lambda sample: sample.name)
@pytest.mark.parametrize("body_format", BodyFormat)
def test_samples_of_capital_flow(sample: FlowSample, body_format: BodyFormat) -> None:
    message = sample.message()
    text = MessageToJson(message).encode()
    reader = Reader(sample.market, sample.code)
    outcome = reader.flow(message.SerializeToString() if body_format == 0 else text, body_format=body_format)
    assert outcome == FlowLines(0, len(sample.expected), ())
    found = [(line.ts_event_us, line.trade_date.isoformat(), line.net) for line in lines_of(reader.flows)]
    assert found == [
        (utc_us(each["ts_event"]), each["trade_date"], float(each["net_inflow"]).hex()) for each in sample.expected
    ]
    assert {line.parts for line in lines_of(reader.flows)} == {(None,) * 5}
    assert not reader.counters


@pytest.mark.parametrize(("printed", "expected"), ARK_SAMPLES)
def test_samples_of_ark_moves(printed: str, expected: tuple[object, ...]) -> None:
    body = json.dumps({"retType": 0, "retMsg": "", "errCode": 0, "s2c": json.loads(printed)}).encode()
    outcome = Reader(US, "TSLA").ark(body, body_format=BodyFormat.JSON)
    assert isinstance(outcome, OneRow)
    names = ("dynamic_type", "transaction_count", "net_shares", "last_transaction_time")
    assert tuple(outcome.row[name] for name in names) == expected


def noted(proto_id: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint8]], ControlFrame, Reader]:
    """A worked frame as a connection meets it: its bytes, OpenDDecoder's note, and who reads the reply."""
    (vector,) = [each for each in frame_vectors() if each.proto_id == proto_id]
    source = np.frombuffer(bytearray(vector.frame + bytes(PAD_BYTES)), np.uint8)
    reader = Reader(HK, "00700")
    (note,) = OpenDDecoder(reader.symbols, CLOCK).decode(source, 0, len(vector.frame), 0, TickBuffer(1)).notes
    assert isinstance(note, ControlFrame)
    return source, note, reader


def test_the_worked_reply_of_two_lines() -> None:
    source, note, reader = noted(ProtoId.GET_CAPITAL_FLOW)
    asked = Asked(reader.symbol_id, HK, 1)
    assert reader.decoder.flow(source, note, asked, 9, reader.flows) == FlowLines(0, 2, ())
    day = EPOCH_DAY.replace(2026, 11, 20)
    amounts = [(-800000.0, -500000.0, 100000.0, -50000.0), (900000.0, -200000.0, -70000.0, 10000.5)]
    assert lines_of(reader.flows) == [
        Line(day, 1_795_138_200_000_000, 1, (-1250000.0).hex(), (None, *map(float.hex, amounts[0])), 9),
        Line(day, 1_795_138_260_000_000, 1, (640000.5).hex(), (None, *map(float.hex, amounts[1])), 9),
    ]


def test_the_worked_ark_move() -> None:
    source, note, reader = noted(ProtoId.GET_ARK_STOCK_DYNAMIC)
    outcome = reader.decoder.ark(source, note, Asked(reader.symbol_id, HK), 9)
    assert outcome == OneRow(
        {
            "source": "futu",
            "symbol": "HK.00700",
            "ts_recv": 9,
            "gateway": "opend-1",
            "dynamic_type": "consecutive_same_direction",
            "transaction_count": 2,
            "net_shares": -29523,
            "last_transaction_time": "2026-06-22",
        }
    )
