"""Replies to OpenD's polls: capital flow (3211), distribution (3212) and ARK moves (3424).

None of them says which security it is about: the caller knows it by the serial of its request.
Bodies may be protobuf or JSON. A flow reply is read by a kernel into a FlowBuffer; the other two
are one row each and are read by the generated classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import MARKET_NUMBERS_MAX, READS_TEXT, ZONE, MarketClock
from codec.flow_columns import FLOW_LINES_MAX, FlowBuffer
from codec.opend import notes as n
from codec.opend.decoder import REASONS, ControlFrame, Refused
from codec.opend.flows import (
    DECODED,
    LINE_INDEX,
    LINE_REASON,
    NO_ROOM,
    REFUSED_BY_GATEWAY,
    decode_flow_reply,
    new_line_notes,
)
from codec.opend.json_bodies import Transcript, UndecodableJson, to_protobuf
from codec.opend.protocol import HEADER_BYTES, BodyFormat, ProtoId
from codec.opend.text_time import call_place_in_time, new_minute_cache
from codec.symbols import SymbolTable
from codec.tables import ARK_DYNAMIC_TYPE
from protos.opend import ark_stock_dynamic_pb2, capital_distribution_pb2, capital_flow_pb2

_MESSAGES: dict[int, type[Message]] = {
    ProtoId.GET_CAPITAL_FLOW: capital_flow_pb2.GetCapitalFlowResponse,
    ProtoId.GET_CAPITAL_DISTRIBUTION: capital_distribution_pb2.GetCapitalDistributionResponse,
    ProtoId.GET_ARK_STOCK_DYNAMIC: ark_stock_dynamic_pb2.GetArkStockDynamicResponse,
}
_LINES = "flowItemList"

_DISTRIBUTION_FIELDS = {
    "inflow_super": "capitalInSuper",
    "inflow_large": "capitalInBig",
    "inflow_medium": "capitalInMid",
    "inflow_small": "capitalInSmall",
    "outflow_super": "capitalOutSuper",
    "outflow_large": "capitalOutBig",
    "outflow_medium": "capitalOutMid",
    "outflow_small": "capitalOutSmall",
}
"""Each column's field."""
_OPTIONAL_FIELDS = frozenset({"capitalInSuper", "capitalOutSuper"})

_ARK_WORDS = {code: word for word, code in ARK_DYNAMIC_TYPE.members}

_TEXT_BYTES_MAX = 64
"""Of a time as text; the longest that is read has 23."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asked about.

    Attributes
    ----------
    symbol_id : of the SymbolTable
    market : QotMarket number, for the times
    period : PERIOD code; of capital flow only
    """

    symbol_id: int
    market: int
    period: int = 0


@dataclass(frozen=True, slots=True)
class FlowLines:
    """A flow reply: rows `first_row` to `first_row + rows` of the buffer, and the lines that are none."""

    first_row: int
    rows: int
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class OneRow:
    """A reply that is one row of a small table, as `encode_rows` takes it."""

    row: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class GatewayError:
    """The gateway answered an error: its own code and text."""

    ret_type: int
    error_code: int
    text: str


@dataclass(frozen=True, slots=True)
class NeedsRoom:
    """The reply has more lines than the buffer has room for: empty it and call again."""


class _Undecodable(Exception):
    """A reply that yields nothing, for `reason` of codec/opend/notes.py or in words of its own."""

    def __init__(self, reason: int, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


class ReplyDecoder:
    """Reads the replies of one gateway; not thread-safe.

    `frame` is what OpenDDecoder noted of a reply, `received` the buffer in which it lies; the bytes
    of a body have passed its SHA-1 check.

    Attributes
    ----------
    counters : (COUNTERS,) int64, see codec/opend/notes.py
    """

    def __init__(
        self, symbols: SymbolTable, clock: MarketClock, *, source: str, gateway: str, gateway_id: int = 0
    ) -> None:
        self.counters: NDArray[np.int64] = np.zeros(n.COUNTERS, np.int64)
        self._symbols = symbols
        self._clock = clock
        self._source, self._gateway, self._gateway_id = source, gateway, gateway_id
        self._spans: NDArray[np.int64] = np.zeros((FLOW_LINES_MAX, 2), np.int64)
        self._notes = new_line_notes()
        self._time_arrays: tuple[Any, ...] = (
            *(clock.markets, clock.changes, clock.cached, clock.us_days, new_minute_cache(clock)),
        )

    def flow(
        self, received: NDArray[np.uint8], frame: ControlFrame, asked: Asked, recv_ns: int, flows: FlowBuffer
    ) -> FlowLines | GatewayError | Refused | NeedsRoom:
        """Read a 3211 reply, appending its lines to `flows`.

        Parameters
        ----------
        received : (n,) uint8 with at least `PAD_BYTES` behind the frame; nothing of it is kept
        recv_ns : when the frame came, unix ns
        """
        transcript = Transcript(b"")
        start, stop = frame.span.at + HEADER_BYTES, frame.span.at + frame.span.size_bytes
        assert stop <= len(received) - PAD_BYTES
        try:
            if frame.body_format != BodyFormat.PROTOBUF:
                transcript = self._transcript(received, frame, _LINES)
                received, start, stop = transcript.padded(), 0, len(transcript.body)
            first_row = flows.rows
            outcome, row, count = decode_flow_reply(
                received,
                start,
                stop,
                asked.market,
                asked.period,
                asked.symbol_id,
                recv_ns,
                self._gateway_id,
                first_row,
                flows.wide,
                flows.real,
                flows.narrow,
                flows.small,
                self._spans,
                self._notes,
                self.counters,
                *self._time_arrays,
            )
            if outcome == NO_ROOM:
                if first_row > 0:
                    return NeedsRoom()
                raise _Undecodable(n.TOO_MANY_LINES)
            if outcome == REFUSED_BY_GATEWAY:
                answer = _parse(frame.proto_id, received[start:stop].tobytes())
                assert isinstance(answer, GatewayError)
                return answer
            if outcome != DECODED:
                raise _Undecodable(int(outcome))
        except _Undecodable as error:
            return _refused(frame, error, asked)
        flows.rows = int(row)
        noted = [_refused_line(frame, line, asked) for line in self._notes[:count].tolist()] if count else []
        return FlowLines(first_row, flows.rows - first_row, tuple(transcript.explained(line) for line in noted))

    def distribution(
        self, received: NDArray[np.uint8], frame: ControlFrame, asked: Asked, recv_ns: int
    ) -> OneRow | GatewayError | Refused:
        """Read a 3212 reply: a row of `capital_distribution`."""
        try:
            answer = self._answer(received, frame)
            if isinstance(answer, GatewayError):
                return answer
            amounts = {column: _amount(answer, name) for column, name in _DISTRIBUTION_FIELDS.items()}
            event_us, trade_day = self._placed(answer, asked.market)
        except _Undecodable as error:
            return _refused(frame, error, asked)
        return OneRow(self._row(asked, recv_ns) | amounts | {"trade_date": trade_day, "ts_event": event_us})

    def ark(
        self, received: NDArray[np.uint8], frame: ControlFrame, asked: Asked, recv_ns: int
    ) -> OneRow | GatewayError | Refused:
        """Read a 3424 reply: a row of `ark_dynamic`; what was not sent is unknown, 0 or empty."""
        try:
            answer: Any = self._answer(received, frame)
            if isinstance(answer, GatewayError):
                return answer
            last_time = _bounded_text(answer.lastTransactionTime)
        except _Undecodable as error:
            return _refused(frame, error, asked)
        word = _ARK_WORDS.get(answer.dynamicType)
        self.counters[n.UNLISTED_NUMBERS] += word is None
        return OneRow(
            self._row(asked, recv_ns)
            | {
                "dynamic_type": word or "unknown",
                "transaction_count": answer.transactionCount,
                "net_shares": answer.netShares,
                "last_transaction_time": last_time,
            }
        )

    def _row(self, asked: Asked, recv_ns: int) -> dict[str, object]:
        symbol = self._symbols.names[asked.symbol_id]
        return {"source": self._source, "symbol": symbol, "ts_recv": recv_ns, "gateway": self._gateway}

    def _answer(self, received: NDArray[np.uint8], frame: ControlFrame) -> Message | GatewayError:
        """The reply's s2c, of the generated class."""
        if frame.body_format == BodyFormat.PROTOBUF:
            return _parse(frame.proto_id, _body(received, frame))
        return _parse(frame.proto_id, self._transcript(received, frame, "").body)

    def _transcript(self, received: NDArray[np.uint8], frame: ControlFrame, isolated: str) -> Transcript:
        if frame.body_format != BodyFormat.JSON:
            raise _Undecodable(n.TRUNCATED_MESSAGE, f"a body of format {frame.body_format}, neither protobuf nor JSON")
        try:
            return to_protobuf(_body(received, frame), _MESSAGES[frame.proto_id], isolated)
        except UndecodableJson as error:
            raise _Undecodable(n.TRUNCATED_MESSAGE, str(error)) from None

    def _placed(self, s2c: Any, market: int) -> tuple[int, int]:
        """ts_event in unix µs and trading day of a distribution's update time."""
        text = _bounded_text(s2c.updateTime).encode()
        known = 0 <= market < MARKET_NUMBERS_MAX and self._clock.markets[market, ZONE] >= 0
        self.counters[n.UNLISTED_MARKETS] += not known
        reads_text = bool(text) and known and self._clock.markets[market, READS_TEXT] == 1
        padded = np.frombuffer(bytearray(text + bytes(PAD_BYTES)), np.uint8)
        reason, event_us, trade_day, _ = call_place_in_time(
            padded,
            0,
            len(text),
            reads_text,
            float(s2c.updateTimestamp),
            market if known else -1,
            self.counters,
            *self._time_arrays,
        )
        if reason != n.NO_REASON:
            raise _Undecodable(int(reason))
        return int(event_us), int(trade_day)


def _body(received: NDArray[np.uint8], frame: ControlFrame) -> bytes:
    return received[frame.span.at + HEADER_BYTES : frame.span.at + frame.span.size_bytes].tobytes()


def _parse(proto_id: int, body: bytes) -> Message | GatewayError:
    """The s2c of a reply's body, or the gateway's error."""
    reply: Any = _MESSAGES[proto_id]()
    try:
        reply.ParseFromString(body)
    except DecodeError:
        raise _Undecodable(n.TRUNCATED_MESSAGE) from None
    if not reply.HasField("retType"):
        raise _Undecodable(n.NO_RETURN_TYPE)
    if reply.retType != 0:
        return GatewayError(reply.retType, reply.errCode, _text(reply.retMsg))
    if not reply.HasField("s2c"):
        raise _Undecodable(n.FIELD_MISSING, "the reply holds nothing: s2c is missing")
    s2c: Message = reply.s2c
    return s2c


def _text(value: str | bytes) -> str:
    """A text field; upb gives the bytes of one that is not UTF-8."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def _bounded_text(value: str | bytes) -> str:
    if len(value) > _TEXT_BYTES_MAX or isinstance(value, bytes):
        raise _Undecodable(n.TIME_UNREADABLE, f"a time of {len(value)} characters, or not in UTF-8")
    return value


def _amount(s2c: Any, name: str) -> float | None:
    """An amount of a distribution, None for an optional one that is absent."""
    if not s2c.HasField(name):
        if name in _OPTIONAL_FIELDS:
            return None
        raise _Undecodable(n.FIELD_MISSING, f"{name} is missing")
    value: float = getattr(s2c, name)
    if not math.isfinite(value):
        raise _Undecodable(n.INFLOW_NOT_FINITE, f"{name} is {value}")
    return value


def _refused(frame: ControlFrame, error: _Undecodable, asked: Asked) -> Refused:
    word, text = REASONS[error.reason]
    detail = error.detail or text
    return Refused(frame.span, frame.proto_id, frame.serial, word, detail, None, asked.symbol_id)


def _refused_line(frame: ControlFrame, line: list[int], asked: Asked) -> Refused:
    word, text = REASONS[line[LINE_REASON]]
    index = line[LINE_INDEX]
    detail = f"line {index}: {text}"
    return Refused(frame.span, frame.proto_id, frame.serial, word, detail, index, asked.symbol_id)
