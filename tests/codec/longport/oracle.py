"""What LongPort's packets mean: slow, obvious, and written from contract.md and the protocol's description.

Bodies become values by the generated classes, with text fields as bytes: whether a price is a number and
a symbol is one is the contract's business, not that of UTF-8. A trade or line that is not protobuf is looked
at only once the message around it is found sound; so messages are parsed with their parts left as bytes,
then each part.
"""

from __future__ import annotations

import datetime
import gzip
import math
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError, Message

from codec.conditions import CONDITION_BYTES_MAX
from codec.decimal_text import DECIMAL_BYTES_MAX
from codec.longport import notes as n
from codec.longport.decoder import REASONS
from codec.markets import MARKET_PREFIXES
from protos.longport import capital_flow_pb2, trade_pb2
from tests.codec.oracle import EPOCH_DAY, SECOND_US, day_and_session

REQUEST, RESPONSE, PUSH = 1, 2, 3
QUERY_TRADE, PUSH_TRADE = 17, 104
HEADERS = {REQUEST: 11, RESPONSE: 10, PUSH: 5}
INFLATED_BYTES_MAX = 64 << 20


class Row(NamedTuple):
    """One expected row of `ticks`, without `source`; doubles as `float.hex` tells them apart."""

    symbol: str
    trade_date: datetime.date
    ts_event_us: int
    sequence: int
    ordinal: int
    price: str
    volume: str
    turnover: str
    direction: str
    trade_type: int
    condition: str
    session: str
    delivery: str
    ts_gateway_us: int | None
    ts_recv_ns: int


class Line(NamedTuple):
    """One expected row of `capital_flow`; the other amounts are null."""

    symbol: str
    trade_date: datetime.date
    ts_event_us: int
    net_inflow: str
    ts_recv_ns: int


class Control(NamedTuple):
    at: int
    size_bytes: int
    packet_type: int
    command: int
    request_id: int
    status_code: int
    body: bytes


class Pulled(NamedTuple):
    request_id: int
    symbol: str
    rows: tuple[Row, ...]


class Refused(NamedTuple):
    at: int
    size_bytes: int
    command: int
    request_id: int
    reason: str
    detail: str
    part: int | None
    symbol: str | None


Note = Control | Pulled | Refused


@dataclass
class Reading:
    """What a stream holds, in order; `broken` is where it stops making sense, and why."""

    rows: list[Row] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    unlisted: int = 0
    consumed: int = 0
    broken: tuple[int, str] | None = None


class PartRefused(Exception):
    """One trade or line cannot be a row."""

    def __init__(self, reason: int) -> None:
        self.reason = reason


class PacketRefused(Exception):
    """A packet yields nothing."""

    def __init__(self, reason: int) -> None:
        self.reason = reason


def _with_bytes(file: FileDescriptor) -> dict[str, Any]:
    """The classes of a .proto file, by name, with every string and every repeated message as bytes."""
    proto, kinds = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FieldDescriptorProto
    file.CopyToProto(proto)

    def change(message: descriptor_pb2.DescriptorProto) -> None:
        for part in message.field:
            if part.type == kinds.TYPE_STRING or (
                part.type == kinds.TYPE_MESSAGE and part.label == kinds.LABEL_REPEATED
            ):
                part.type = kinds.TYPE_BYTES
                part.ClearField("type_name")
        for nested in message.nested_type:
            change(nested)

    for message in proto.message_type:
        change(message)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    found = pool.FindFileByName(proto.name)
    outer = found.message_types_by_name.values()
    nested = [kind for message in outer for kind in message.nested_types]
    return {kind.name: message_factory.GetMessageClass(kind) for kind in (*outer, *nested)}


_TRADES = _with_bytes(trade_pb2.DESCRIPTOR)
_FLOWS = _with_bytes(capital_flow_pb2.DESCRIPTOR)


def decimal(text: bytes) -> float | None:
    """The nearest double; None for what is no number."""
    if len(text) > DECIMAL_BYTES_MAX or not re.fullmatch(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def symbol_of(wire: bytes) -> tuple[int, str]:
    """Market number and `MARKET.CODE` of LongPort's `CODE.MARKET`."""
    code, _, suffix = wire.rpartition(b".")
    markets = {word.encode(): number for number, word in MARKET_PREFIXES.items() if len(word) == 2}
    if suffix not in markets or not 1 <= len(code) <= 64 or not all(0x21 <= byte <= 0x7E for byte in code):
        raise PacketRefused(n.BAD_SYMBOL)
    market, text = markets[suffix], code.decode()
    if suffix == b"HK" and text.isdigit():
        text = text.rjust(5, "0")
    return market, f"{MARKET_PREFIXES[market]}.{text}"


def instant(timestamp: int, market: int) -> tuple[int, datetime.date]:
    """Microseconds and trading day of a unix second."""
    if not 631_152_000 <= timestamp < 4_102_444_800:
        raise PartRefused(n.TIMESTAMP_UNREADABLE)
    return timestamp * SECOND_US, day_and_session(timestamp * SECOND_US, market)[0]


def parse(kind: Any, body: bytes) -> Any:
    try:
        message: Message = kind.FromString(body)
    except DecodeError:
        raise PacketRefused(n.TRUNCATED_MESSAGE) from None
    return message


def read_stream(stream: bytes, *, recv_ns: int, trades_max: int = 1 << 16) -> Reading:
    """Read whole packets from the beginning of `stream`; `trades_max` is the most that one may hold."""
    reading, at = Reading(), 0
    while at < len(stream):
        kind = stream[at] & 15
        if kind not in HEADERS:
            reading.broken = (at, "bad_packet_type")
            break
        body_at = at + HEADERS[kind]
        if len(stream) < body_at:
            break
        body_stop = body_at + int.from_bytes(stream[body_at - 3 : body_at], "big")
        end = body_stop + (24 if stream[at] & 0x10 else 0)
        if len(stream) < end:
            break
        command = stream[at + 1]
        request_id = 0 if kind == PUSH else int.from_bytes(stream[at + 2 : at + 6], "big")
        status = stream[at + 6] if kind == RESPONSE else 0
        body: bytes | None = stream[body_at:body_stop]
        assert body is not None
        if stream[at] & 0x20:
            body = inflated(body)
        if body is None:
            detail = "the body is not one gzip member, or inflates past 64 MiB"
            reading.notes.append(Refused(at, end - at, command, 0, "bad_gzip", detail, None, None))
            at = end
            continue
        pulled = kind == RESPONSE and command == QUERY_TRADE and status == 0
        if pulled or (kind == PUSH and command == PUSH_TRADE):
            frame = (at, end - at, command, request_id)
            _read_trades(reading, frame, body, pulled, recv_ns, trades_max)
        else:
            reading.notes.append(Control(at, end - at, kind, command, request_id, status, body))
        at = end
    reading.consumed = at
    return reading


def inflated(body: bytes) -> bytes | None:
    """A body of one whole gzip member, or None."""
    try:
        stream = zlib.decompressobj(31)
        out = stream.decompress(body)
        if not stream.eof or stream.unused_data or len(out) > INFLATED_BYTES_MAX:
            return None
        assert gzip.decompress(body) == out
    except zlib.error:
        return None
    return out


def _read_trades(
    reading: Reading, frame: tuple[int, int, int, int], body: bytes, pulled: bool, recv_ns: int, trades_max: int
) -> None:
    notes: list[Note] = []
    rows: list[Row] = []
    unlisted: Counter[str] = Counter()
    try:
        if not body:
            raise PacketRefused(n.EMPTY_BODY)
        message = parse(_TRADES["SecurityTradeResponse" if pulled else "PushTrade"], body)
        trades = message.trades if pulled else message.trade
        if len(trades) > trades_max:
            raise PacketRefused(n.TOO_MANY_TRADES)
        market, symbol = symbol_of(message.symbol)
        sequence = 0 if pulled else message.sequence
        for index, raw in enumerate(trades):
            trade = parse(_TRADES["Trade"], raw)
            try:
                rows.append(_row(trade, index, market, symbol, sequence, pulled, recv_ns, unlisted))
            except PartRefused as error:
                word, text = REASONS[error.reason]
                notes.append(Refused(*frame, word, f"trade {index}: {text}", index, symbol))
    except PacketRefused as error:
        word, text = REASONS[error.reason]
        reading.notes.append(Refused(*frame, word, text, None, None))
        return
    reading.rows += rows
    reading.unlisted += unlisted.total()
    reading.notes += notes
    if pulled:
        reading.notes.append(Pulled(frame[3], symbol, tuple(rows)))


def _row(
    trade: Any, index: int, market: int, symbol: str, sequence: int, pulled: bool, recv_ns: int, unlisted: Counter[str]
) -> Row:
    ts_event_us, trade_date = instant(trade.timestamp, market)
    if len(trade.trade_type) > CONDITION_BYTES_MAX:
        raise PartRefused(n.CONDITION_REFUSED)
    price = decimal(trade.price)
    if price is None:
        raise PartRefused(n.PRICE_UNREADABLE)
    turnover = price * float(trade.volume)
    if not math.isfinite(turnover):
        raise PartRefused(n.TURNOVER_NOT_FINITE)
    directions = {0: "neutral", 1: "sell", 2: "buy"}
    sessions = {0: "regular", 1: "pre", 2: "post", 3: "overnight"}
    unlisted["direction"] += trade.direction not in directions
    unlisted["session"] += trade.trade_session not in sessions
    return Row(
        symbol=symbol,
        trade_date=trade_date,
        ts_event_us=ts_event_us,
        sequence=sequence,
        ordinal=index,
        price=price.hex(),
        volume=float(trade.volume).hex(),
        turnover=turnover.hex(),
        direction=directions.get(trade.direction, "unknown"),
        trade_type=0,
        condition=trade.trade_type.decode(errors="backslashreplace"),
        session=sessions.get(trade.trade_session, "unknown"),
        delivery="pull" if pulled else "realtime",
        ts_gateway_us=None,
        ts_recv_ns=recv_ns,
    )


def read_flow(body: bytes, *, recv_ns: int) -> tuple[str, list[Line], list[tuple[int, int]]]:
    """Symbol, rows, and (index, reason) of each line that is none, of a reply to cmd 24."""
    if not body:
        raise PacketRefused(n.EMPTY_BODY)
    message = parse(_FLOWS["CapitalFlowIntradayResponse"], body)
    market, symbol = symbol_of(message.symbol)
    rows: list[Line] = []
    refused: list[tuple[int, int]] = []
    for index, raw in enumerate(message.capital_flow_lines):
        line = parse(_FLOWS["CapitalFlowLine"], raw)
        try:
            inflow = decimal(line.inflow)
            if inflow is None:
                raise PartRefused(n.INFLOW_UNREADABLE)
            ts_event_us, trade_date = instant(line.timestamp, market)
            rows.append(Line(symbol, trade_date, ts_event_us, inflow.hex(), recv_ns))
        except PartRefused as error:
            refused.append((index, error.reason))
    return symbol, rows, refused


def read_distribution(body: bytes) -> dict[str, object]:
    """The columns of a reply to cmd 25 that come from its body."""
    if not body:
        raise PacketRefused(n.EMPTY_BODY)
    try:
        message = capital_flow_pb2.CapitalDistributionResponse.FromString(body)
    except DecodeError:
        raise PacketRefused(n.TRUNCATED_MESSAGE) from None
    market, symbol = symbol_of(message.symbol.encode())
    ts_event_us, trade_date = instant(message.timestamp, market)
    row: dict[str, object] = {
        "symbol": symbol,
        "trade_date": (trade_date - EPOCH_DAY).days,
        "ts_event": ts_event_us,
        "inflow_super": None,
        "outflow_super": None,
    }
    for way, amounts in (("inflow", message.capital_in), ("outflow", message.capital_out)):
        for size in ("large", "medium", "small"):
            value = decimal(getattr(amounts, size).encode())
            if value is None:
                raise PartRefused(n.INFLOW_UNREADABLE)
            row[f"{way}_{size}"] = value
    return row
