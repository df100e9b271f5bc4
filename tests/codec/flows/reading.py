"""Bodies into a ReplyDecoder as a connection gives them, and what came out in the words of the oracle."""

from __future__ import annotations

import datetime

import numpy as np

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.flow_columns import FLOW_LINES_MAX, FlowBuffer
from codec.opend.decoder import ControlFrame, Refused
from codec.opend.protocol import BodyFormat, ProtoId, pack_frame
from codec.opend.replies import Asked, FlowLines, GatewayError, NeedsRoom, OneRow, ReplyDecoder
from codec.spans import Span
from codec.symbols import SymbolTable
from tests.codec.flows.oracle import Line
from tests.codec.oracle import EPOCH_DAY

CLOCK = MarketClock()
SERIAL = 21
SIZES = ("main", "super", "large", "medium", "small")
_BEFORE = 3
"""Bytes before the frame: a frame seldom begins a buffer."""


def lines_of(flows: FlowBuffer, first: int = 0) -> list[Line]:
    """Rows of `flows` from `first` on, as the oracle writes them."""

    def column(name: str) -> list[int]:
        return [int(value) for value in flows.column(name)[first:].tolist()]

    def doubles(name: str) -> list[str | None]:
        return [None if np.isnan(value) else float(value).hex() for value in flows.column(name)[first:].tolist()]

    dates = [EPOCH_DAY + datetime.timedelta(days=day) for day in column("trade_date")]
    parts = zip(*(doubles(f"{size}_net_inflow") for size in SIZES), strict=True)
    rows = zip(
        dates, column("ts_event"), column("period"), doubles("net_inflow"), parts, column("ts_recv"), strict=True
    )
    return [Line(*row) for row in rows]


class Reader:
    """One gateway's reply decoder, and a buffer for flow lines."""

    def __init__(self, market: int = 1, code: str = "00700", *, capacity: int = FLOW_LINES_MAX) -> None:
        self.symbols = SymbolTable(12)
        self.market = market
        self.symbol_id = self.symbols.id_of(market, code)
        self.decoder = ReplyDecoder(self.symbols, CLOCK, source="futu", gateway="opend-1", gateway_id=3)
        self.flows = FlowBuffer(capacity)

    def flow(
        self,
        body: bytes,
        period: int = 1,
        recv_ns: int = 0,
        body_format: int = BodyFormat.PROTOBUF,
        padding: bytes = b"\xff",
    ) -> FlowLines | GatewayError | Refused | NeedsRoom:
        source, frame = framed(ProtoId.GET_CAPITAL_FLOW, body, body_format, padding)
        return self.decoder.flow(source, frame, Asked(self.symbol_id, self.market, period), recv_ns, self.flows)

    def distribution(
        self, body: bytes, recv_ns: int = 0, body_format: int = BodyFormat.PROTOBUF
    ) -> OneRow | GatewayError | Refused:
        source, frame = framed(ProtoId.GET_CAPITAL_DISTRIBUTION, body, body_format)
        return self.decoder.distribution(source, frame, Asked(self.symbol_id, self.market), recv_ns)

    def ark(
        self, body: bytes, recv_ns: int = 0, body_format: int = BodyFormat.PROTOBUF
    ) -> OneRow | GatewayError | Refused:
        source, frame = framed(ProtoId.GET_ARK_STOCK_DYNAMIC, body, body_format)
        return self.decoder.ark(source, frame, Asked(self.symbol_id, self.market), recv_ns)

    @property
    def counters(self) -> dict[int, int]:
        return {name: count for name, count in enumerate(self.decoder.counters.tolist()) if count}


def framed(
    proto_id: int, body: bytes, body_format: int, padding: bytes = b"\xff"
) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint8]], ControlFrame]:
    """A buffer that holds a frame, and the note on it."""
    packed = pack_frame(proto_id, SERIAL, body)
    received = bytes(_BEFORE) + packed + (padding * PAD_BYTES)[:PAD_BYTES]
    frame = ControlFrame(Span(_BEFORE, len(packed)), proto_id, SERIAL, body_format)
    return np.frombuffer(bytearray(received), np.uint8), frame
