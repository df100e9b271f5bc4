"""What LongPort's messages of trades and of flow lines have in common: a symbol, parts, and unix seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.clock import MARKET_NUMBERS_MAX
from codec.kernel import inlined, kernel
from codec.opend.text_time import day_and_session_at
from codec.wire import LENGTH_DELIMITED, MALFORMED, VARINT, call_read_varint, read_length, read_tag, skip_value

SECOND_US = 1_000_000

# Columns of a day cache, one row a market number, int64.
_QUARTER, _TRADE_DAY = range(2)
_QUARTER_S = 900
"""Trading days begin, and clocks change, at whole quarters of an hour in UTC, everywhere since 1990."""


def new_day_cache() -> NDArray[np.int64]:
    """(MARKET_NUMBERS_MAX, 2) int64: the last quarter of an hour of each market, and its trading day."""
    return np.full((MARKET_NUMBERS_MAX, 2), -1, np.int64)


@kernel
def _look_up_trade_day(stamp, market, markets, changes, cached_changes, us_days, days):
    day, _ = day_and_session_at(stamp * SECOND_US, market, markets, changes, cached_changes, us_days)
    days[market, _QUARTER] = stamp // _QUARTER_S
    days[market, _TRADE_DAY] = day
    return day


@inlined
def trade_day_at(
    stamp: int,
    market: int,
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
    days: NDArray[np.int64],
) -> int:
    """Trading day, in days from the epoch, of a unix second within 1990–2100 in a market that the clock knows."""
    if np.uint64(stamp) // np.uint64(_QUARTER_S) == np.uint64(days[market, _QUARTER]):
        return days[market, _TRADE_DAY]
    return _look_up_trade_day(stamp, market, markets, changes, cached_changes, us_days, days)


@kernel
def survey(source: NDArray[np.uint8], at: int, stop: int, part_field: int) -> tuple[int, int, int, int]:
    """Walk the message source[at:stop] without reading its parts, the sub-messages number `part_field`.

    As protobuf merges: the last scalar wins, parts add up.

    Returns
    -------
    symbol_at, symbol_stop : span of field 1, 0 and 0 where it is absent; symbol_at is MALFORMED when the
        message is no protobuf
    sequence : field 2 as a varint, 0 where it is absent
    parts : how many there are
    """
    symbol_at, symbol_stop = np.int64(0), np.int64(0)
    sequence, parts = np.int64(0), np.int64(0)
    while at < stop:
        tag, at = read_tag(source, at, stop)
        field, wire_type = tag >> 3, tag & 7
        if at == MALFORMED:
            return MALFORMED, symbol_stop, sequence, parts
        if field == 1 and wire_type == LENGTH_DELIMITED:
            symbol_at, symbol_stop = read_length(source, at, stop)
            at = symbol_stop
        elif field == 2 and wire_type == VARINT:
            value, at = call_read_varint(source, at)
            sequence = np.int64(value)
        else:
            parts += field == part_field and wire_type == LENGTH_DELIMITED
            at = skip_value(source, at, stop, tag)
        if at == MALFORMED or at > stop:
            return MALFORMED, symbol_stop, sequence, parts
    return symbol_at, symbol_stop, sequence, parts
