"""What a reply to 3211 means: slow, obvious, and written from contract.md, not from the kernels.

The message is parsed twice by the generated classes, as ticks are (tests/codec/oracle.py): first
with its lines left as bytes, then each line.
"""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from google.protobuf.message import DecodeError

from codec.flow_columns import FLOW_LINES_MAX
from codec.markets import MARKET_TIMES
from codec.opend import notes as n
from codec.opend.flows import LINE_NOTES_MAX
from protos.opend import capital_flow_pb2
from tests.codec.oracle import (
    EPOCH,
    HK,
    MICROSECOND,
    SECOND_US,
    SH,
    SZ,
    US,
    FrameRefused,
    SessionsBusiness,
    TickRefused,
    day_and_session,
    envelope_class,
    event_time_us,
    local_time,
    unix_us,
    utc_us,
)

INTRADAY = 1


class Line(NamedTuple):
    """One expected row of `capital_flow`, without source, symbol and gateway.

    `net`, and `parts` from main to small, are doubles as `float.hex` tells them apart, None for null.
    """

    trade_date: datetime.date
    ts_event_us: int
    period: int
    net: str | None
    parts: tuple[str | None, ...]
    ts_recv_ns: int


@dataclass
class Lines:
    """What a reply holds: rows, and (index, reason) of each refused line."""

    rows: list[Line] = field(default_factory=list)
    refused: list[tuple[int, int]] = field(default_factory=list)
    counters: Counter[int] = field(default_factory=Counter)


Envelope = envelope_class(capital_flow_pb2.DESCRIPTOR, "GetCapitalFlowResponse", "flowItemList")


def read_reply(body: bytes, market: int, period: int, recv_ns: int = 0) -> Lines:
    """The lines of a reply; raises FrameRefused, or SessionsBusiness for the gateway's own error."""
    try:
        envelope = Envelope.FromString(body)
    except DecodeError:
        raise FrameRefused(n.TRUNCATED_MESSAGE) from None
    if not envelope.HasField("retType"):
        raise FrameRefused(n.NO_RETURN_TYPE)
    if envelope.retType != 0:
        raise SessionsBusiness
    raw_lines = envelope.s2c.flowItemList
    if len(raw_lines) > FLOW_LINES_MAX:
        raise FrameRefused(n.TOO_MANY_LINES)
    lines = Lines()
    for index, raw in enumerate(raw_lines):
        try:
            item = capital_flow_pb2.CapitalFlowItem.FromString(raw)
        except DecodeError:
            raise FrameRefused(n.TRUNCATED_MESSAGE) from None
        try:
            lines.rows.append(_line(item, market, period, recv_ns, lines.counters))
        except TickRefused as error:
            if len(lines.refused) == LINE_NOTES_MAX:
                raise FrameRefused(n.TOO_MANY_BAD_LINES) from None
            lines.refused.append((index, error.reason))
    if market not in MARKET_TIMES:
        lines.counters[n.UNLISTED_MARKETS] += len(raw_lines)
    return lines


def _line(item: Any, market: int, period: int, recv_ns: int, counters: Counter[int]) -> Line:
    if not item.HasField("inFlow"):
        raise TickRefused(n.FIELD_MISSING)
    text = item.time.encode() if isinstance(item.time, str) else item.time
    if period == INTRADAY:
        # A line without text is one of a market whose texts say nothing: it goes by its timestamp.
        if text or market not in (HK, US, SH, SZ):
            event_us = event_time_us(market, text, item.timestamp, counters)
        else:
            stamp_us = unix_us(item.timestamp)
            if stamp_us is None:
                raise TickRefused(n.TIMESTAMP_UNREADABLE)
            event_us = stamp_us
        trade_date = day_and_session(event_us, market)[0]
    else:
        trade_date = date_of(market, text, item.timestamp, counters)
        event_us = midnight_us(trade_date, market)
    names = ("inFlow", "mainInFlow", "superInFlow", "bigInFlow", "midInFlow", "smlInFlow")
    amounts = [getattr(item, name) if item.HasField(name) else None for name in names]
    if not all(amount is None or math.isfinite(amount) for amount in amounts):
        raise TickRefused(n.INFLOW_NOT_FINITE)
    net, *parts = (None if amount is None else amount.hex() for amount in amounts)
    return Line(trade_date, event_us, period, net, tuple(parts), recv_ns)


def midnight_us(day: datetime.date, market: int) -> int:
    """When `day` begins on the market's clocks; UTC's where we don't know them."""
    local = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
    return utc_us(local, market, 0) if market in MARKET_TIMES else (local - EPOCH) // MICROSECOND


def date_of(market: int, text: bytes, timestamp: float, counters: Counter[int]) -> datetime.date:
    """The local date that a line of a day or more is about."""
    stamp_us, stamp_date = unix_us(timestamp), None
    if timestamp != 0 and stamp_us is None:
        raise TickRefused(n.TIMESTAMP_UNREADABLE)
    if stamp_us is not None:
        zone = ZoneInfo(MARKET_TIMES[market].zone) if market in MARKET_TIMES else datetime.UTC
        stamp_date = (EPOCH + stamp_us * MICROSECOND).astimezone(zone).date()
    if market not in (HK, US, SH, SZ) or not text:
        if stamp_date is None:
            raise TickRefused(n.TIMESTAMP_UNREADABLE)
        return stamp_date
    # A date is a time without its clock.
    whole = text + b" 00:00:00" if re.fullmatch(rb"[0-9-]{10}", text) else text
    date = local_time(whole).date()
    if stamp_us is None or stamp_date is None or stamp_date == date:
        return date
    if abs(midnight_us(date, market) - stamp_us) <= SECOND_US:
        return date
    counters[n.TIME_DISAGREEMENTS] += 1
    return stamp_date
