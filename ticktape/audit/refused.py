"""Ticks that the gateway sent and that could not become rows: which they were, from their dead letters."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from codec.markets import symbol_name
from codec.opend.protocol import HEADER, HEADER_BYTES, MAGIC, BodyFormat, ProtoId
from protos.opend import ticker_pb2

_PLACE = re.compile(r"tick (\d+):")
"""How a dead letter's detail names the tick within its frame."""


def refused_sequences(letters: Iterable[tuple[str, bytes]]) -> dict[str, set[int]]:
    """Sequences of refused ticks, by symbol, from (detail, frame) of their dead letters."""
    found: dict[str, set[int]] = defaultdict(set)
    for detail, frame in letters:
        place = _PLACE.match(detail)
        if place is None:
            continue
        for symbol, ticks in _ticks_of(frame):
            found[symbol].update(tick.sequence for tick in ticks[int(place[1]) : int(place[1]) + 1])
    return found


def _ticks_of(frame: bytes) -> list[tuple[str, Sequence[ticker_pb2.Ticker]]]:
    if len(frame) < HEADER_BYTES:
        return []
    magic, proto_id, body_format, *_ = HEADER.unpack_from(frame)
    if magic != MAGIC:
        return []
    response: ticker_pb2.UpdateTickerResponse | ticker_pb2.GetTickerResponse
    if proto_id == ProtoId.UPDATE_TICKER:
        response = ticker_pb2.UpdateTickerResponse()
    elif proto_id == ProtoId.GET_TICKER:
        response = ticker_pb2.GetTickerResponse()
    else:
        return []
    body = frame[HEADER_BYTES:]
    try:
        if body_format == BodyFormat.JSON:
            json_format.Parse(body, response, ignore_unknown_fields=True)
        else:
            response.ParseFromString(body)
    except (DecodeError, json_format.ParseError):
        return []
    security = response.s2c.security
    return [(symbol_name(security.market, security.code), response.s2c.tickerList)]
