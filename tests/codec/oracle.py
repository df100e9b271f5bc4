"""What an OpenD byte stream means: slow, obvious, and written from contract.md, not from the kernels.

Bytes become values by the generated protobuf classes, times by `datetime` and `zoneinfo`.

Where upb and the contract differ, this follows the contract:

- A required field missing in a tick refuses that tick only; upb takes the message as it is and
  leaves it to the caller to ask `IsInitialized`.
- A tick that is not protobuf is looked at only once the message around it is found sound: a reply
  with retType -1 is the session's business whatever its ticks are. So the message is parsed twice,
  with its ticks left as bytes (`Envelope`), then each tick.
- Groups in unknown fields may be nested 64 deep, upb takes 100 levels of anything; no example
  here goes past 64, tests of limits do.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError

from codec.columns import BATCH_TICKS_MAX
from codec.markets import MARKET_PREFIXES, MARKET_TIMES
from codec.opend import notes as n
from codec.opend.decoder import REASONS
from codec.opend.protocol import FRAME_BYTES_MAX, HEADER, HEADER_BYTES, ProtoId
from protos.opend import common_pb2, ticker_pb2

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
EPOCH_DAY = EPOCH.date()
MICROSECOND = datetime.timedelta(microseconds=1)
SECOND_US = 1_000_000
HK, US, SH, SZ = 1, 11, 21, 22
_SECONDS_1990, _SECONDS_2100 = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp() for year in (1990, 2100))


class Row(NamedTuple):
    """One expected row of `ticks`, without `source` and `ordinal`; doubles as `float.hex` tells them apart."""

    symbol: str
    trade_date: datetime.date
    ts_event_us: int
    sequence: int
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


class Control(NamedTuple):
    at: int
    size_bytes: int
    proto_id: int
    serial: int
    body_format: int


class Pulled(NamedTuple):
    serial: int
    symbol: str | None
    rows: tuple[Row, ...]


class Refused(NamedTuple):
    at: int
    size_bytes: int
    proto_id: int
    serial: int
    reason: str
    detail: str
    tick: int | None
    symbol: str | None


Note = Control | Pulled | Refused


@dataclass
class Reading:
    """What a stream holds, in order; `broken_at` is where it stops making sense."""

    rows: list[Row] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    counters: Counter[int] = field(default_factory=Counter)
    consumed: int = 0
    broken: tuple[int, str] | None = None


class TickRefused(Exception):
    """One tick cannot be a row."""

    def __init__(self, reason: int) -> None:
        self.reason = reason


class FrameRefused(Exception):
    """A frame yields nothing."""

    def __init__(self, reason: int) -> None:
        self.reason = reason


class SessionsBusiness(Exception):
    """The gateway answered an error: not a tick message."""


def envelope_class(described: FileDescriptor, response: str, listed: str) -> Any:
    """The class of `response` with the elements of its list `listed` left as bytes."""
    file = descriptor_pb2.FileDescriptorProto()
    described.CopyToProto(file)
    file.name, file.package = f"tests/{file.name}", "tests"
    for message in file.message_type:
        for part in message.field:
            if part.name == listed:
                part.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                part.ClearField("type_name")
            elif part.type_name and part.type_name not in (".ticktape.opend.Security", ".ticktape.opend.QotHeader"):
                part.type_name = part.type_name.replace(".ticktape.opend.", ".tests.")
    common = descriptor_pb2.FileDescriptorProto()
    common_pb2.DESCRIPTOR.CopyToProto(common)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(common)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tests.{response}"))


Envelope = envelope_class(ticker_pb2.DESCRIPTOR, "UpdateTickerResponse", "tickerList")
"""3010 and 3011 have the same shape."""


def read_stream(
    stream: bytes,
    *,
    recv_ns: int = 0,
    ticks_max: int = BATCH_TICKS_MAX,
    body_bytes_max: int = FRAME_BYTES_MAX,
    checks_sha1: bool = True,
) -> Reading:
    """Read whole frames from the beginning of `stream`; `ticks_max` is the most that one frame may hold."""
    reading, at = Reading(), 0
    while len(stream) - at >= 2:
        if stream[at : at + 2] != b"FT":
            reading.broken = (at, "bad_magic")
            break
        if len(stream) - at < HEADER_BYTES:
            break
        _, proto_id, body_format, _, serial, body_bytes, digest, _ = HEADER.unpack_from(stream, at)
        if body_bytes > body_bytes_max:
            reading.broken = (at, "frame_too_large")
            break
        size_bytes = HEADER_BYTES + body_bytes
        if len(stream) - at < size_bytes:
            break
        body = stream[at + HEADER_BYTES : at + size_bytes]
        frame = (at, size_bytes, proto_id, serial)
        try:
            if not body:
                raise FrameRefused(n.EMPTY_BODY)
            if checks_sha1 and hashlib.sha1(body).digest() != digest:
                raise FrameRefused(n.BAD_SHA1)
            if proto_id not in (ProtoId.GET_TICKER, ProtoId.UPDATE_TICKER) or body_format != 0:
                raise SessionsBusiness
            symbol, rows, refused, counters = _read_ticks(body, proto_id == ProtoId.GET_TICKER, recv_ns, ticks_max)
        except SessionsBusiness:
            reading.notes.append(Control(*frame, body_format))
        except FrameRefused as error:
            word, detail = REASONS[error.reason]
            reading.notes.append(Refused(*frame, word, detail, None, None))
        else:
            reading.rows += rows
            reading.counters += counters
            for index, reason in refused:
                word, detail = REASONS[reason]
                reading.notes.append(Refused(*frame, word, f"tick {index}: {detail}", index, symbol))
            if proto_id == ProtoId.GET_TICKER:
                reading.notes.append(Pulled(serial, symbol, tuple(rows)))
        at += size_bytes
    reading.consumed = at
    return reading


def _read_ticks(
    body: bytes, pulled: bool, recv_ns: int, ticks_max: int
) -> tuple[str | None, list[Row], list[tuple[int, int]], Counter[int]]:
    """Symbol, rows, (index, reason) of each refused tick, and what was counted."""
    try:
        envelope = Envelope.FromString(body)
    except DecodeError:
        raise FrameRefused(n.TRUNCATED_MESSAGE) from None
    if not envelope.HasField("retType"):
        raise FrameRefused(n.NO_RETURN_TYPE)
    if envelope.retType != 0:
        raise SessionsBusiness
    rows: list[Row] = []
    refused: list[tuple[int, int]] = []
    counters: Counter[int] = Counter()
    if not envelope.HasField("s2c"):
        return None, rows, refused, counters
    security, ticks = envelope.s2c.security, envelope.s2c.tickerList
    if not (security.HasField("market") and security.HasField("code")):
        raise FrameRefused(n.NO_SECURITY)
    if len(ticks) > ticks_max:
        raise FrameRefused(n.TOO_MANY_TICKS)
    symbol = symbol_of(security.market, _raw(security.code))
    for index, raw in enumerate(ticks):
        try:
            tick = ticker_pb2.Ticker.FromString(raw)
        except DecodeError:
            raise FrameRefused(n.TRUNCATED_MESSAGE) from None
        try:
            rows.append(_row(tick, security.market, symbol, pulled, recv_ns, counters))
        except TickRefused as error:
            refused.append((index, error.reason))
            if len(refused) == n.NOTES_MAX:
                raise FrameRefused(n.TOO_MANY_BAD_TICKS) from None
    if security.market not in MARKET_PREFIXES:
        counters[n.UNLISTED_MARKETS] += len(ticks)
    return symbol, rows, refused, counters


def _raw(text: str | bytes) -> bytes:
    """The bytes of a string field: upb gives those that are not UTF-8 as they are."""
    return text if isinstance(text, bytes) else text.encode()


def symbol_of(market: int, code: bytes) -> str:
    if not 1 <= len(code) <= 64 or not all(0x21 <= byte <= 0x7E for byte in code):
        raise FrameRefused(n.BAD_SYMBOL_CODE)
    text = code.decode()
    if market == HK and re.fullmatch("[0-9]+", text):
        text = text.rjust(5, "0")
    return f"{MARKET_PREFIXES.get(market, f'MARKET{market}')}.{text}"


def _row(tick: ticker_pb2.Ticker, market: int, symbol: str, pulled: bool, recv_ns: int, counters: Counter[int]) -> Row:
    required = ("time", "sequence", "dir", "price", "volume", "turnover")
    if not all(tick.HasField(name) for name in required):
        raise TickRefused(n.FIELD_MISSING)
    event_us = event_time_us(market, _raw(tick.time), tick.timestamp, counters)
    trade_date, session = day_and_session(event_us, market)
    volume = tick.hpVolume if tick.HasField("hpVolume") else float(tick.volume)
    if not math.isfinite(tick.price):
        raise TickRefused(n.PRICE_NOT_FINITE)
    if not math.isfinite(volume) or not math.isfinite(tick.turnover):
        raise TickRefused(n.AMOUNT_NOT_FINITE)

    directions = {0: "unknown", 1: "buy", 2: "sell", 3: "neutral"}
    deliveries = {0: "realtime", 1: "realtime", 2: "by_disconnect", 3: "cache"}
    gateway_us = unix_us(tick.recvTime) if tick.recvTime != 0 else None
    counters[n.UNLISTED_NUMBERS] += (
        (tick.dir not in directions)
        + (tick.type not in range(256))
        + (tick.typeSign not in (0, 32, *range(33, 127)))
        + (not pulled and tick.pushDataType not in deliveries)
        + (tick.recvTime != 0 and gateway_us is None)
    )
    return Row(
        symbol=symbol,
        trade_date=trade_date,
        ts_event_us=event_us,
        sequence=tick.sequence,
        price=tick.price.hex(),
        volume=volume.hex(),
        turnover=tick.turnover.hex(),
        direction=directions.get(tick.dir, "unknown"),
        trade_type=tick.type if 0 <= tick.type <= 255 else 0,
        condition=chr(tick.typeSign) if 33 <= tick.typeSign <= 126 else "",
        session=session,
        delivery="pull" if pulled else deliveries.get(tick.pushDataType, "realtime"),
        ts_gateway_us=gateway_us,
        ts_recv_ns=recv_ns,
    )


def unix_us(seconds: float) -> int | None:
    """Microseconds, halves to even, or None for what is no time between 1990 and 2100."""
    return round(Fraction(seconds) * SECOND_US) if _SECONDS_1990 <= seconds < _SECONDS_2100 else None


def event_time_us(market: int, text: bytes, timestamp: float, counters: Counter[int]) -> int:
    """When the exchange says it traded: text and `timestamp` (0 when absent) weighed as the contract says."""
    stamp_us = unix_us(timestamp)
    if timestamp != 0 and stamp_us is None:
        raise TickRefused(n.TIMESTAMP_UNREADABLE)
    if market not in (HK, US, SH, SZ):
        if stamp_us is None:
            raise TickRefused(n.TIMESTAMP_UNREADABLE)
        return stamp_us
    readings = [utc_us(local, market, fold) for local in [local_time(text)] for fold in (0, 1)]
    if stamp_us is None:
        return readings[0]
    agreeing = [reading for reading in readings if abs(reading - stamp_us) <= SECOND_US]
    if not agreeing:
        counters[n.TIME_DISAGREEMENTS] += 1
        return stamp_us
    return agreeing[0] if stamp_us % SECOND_US == 0 else stamp_us


_TIME = re.compile(rb"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.:]([0-9]{3}))?")


def local_time(text: bytes) -> datetime.datetime:
    """`yyyy-MM-dd HH:mm:ss`, with `.fff` or `:fff` or neither: what clocks show, written as if it were UTC."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise TickRefused(n.TIME_UNREADABLE)
    year, month, day, hour, minute, second, thousandths = (int(part or 0) for part in match.groups())
    try:
        local = datetime.datetime(year, month, day, hour, minute, second, thousandths * 1000, datetime.UTC)
    except ValueError:
        raise TickRefused(n.TIME_UNREADABLE) from None
    if not 1990 <= local.year <= 2099:
        raise TickRefused(n.TIME_UNREADABLE)
    return local


def utc_us(local: datetime.datetime, market: int, fold: int) -> int:
    offset = local.replace(tzinfo=ZoneInfo(MARKET_TIMES[market].zone), fold=fold).utcoffset()
    assert offset is not None
    return (local - EPOCH - offset) // MICROSECOND


def day_and_session(event_us: int, market: int) -> tuple[datetime.date, str]:
    """The market's trading day and session of an instant, when every weekday trades until 16:00."""
    utc = EPOCH + event_us * MICROSECOND
    if market not in MARKET_TIMES:
        return utc.date(), "unknown"
    local = utc.astimezone(ZoneInfo(MARKET_TIMES[market].zone))
    if market in (HK, SH, SZ):
        return local.date(), "regular"
    if market != US:
        return local.date(), "unknown"
    if local.hour >= 20:
        return next_weekday(local.date()), "overnight"
    if local.hour < 4:
        return local.date(), "overnight"
    if (local.hour, local.minute) < (9, 30):
        return local.date(), "pre"
    return local.date(), "regular" if local.hour < 16 else "post"


def next_weekday(day: datetime.date) -> datetime.date:
    days = (day + datetime.timedelta(days=count) for count in range(1, 8))
    return next(each for each in days if each.weekday() < 5)
