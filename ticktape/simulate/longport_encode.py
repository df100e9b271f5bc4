"""Trades in the rings to LongPort packets, in one kernel, and packets to WebSocket messages, in another.

Fields are written in number order, as the generated classes serialise them, and zeros left out
(a test compares): docs/protocols/longport.md 2 and 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.clock import SESSION_RULE, ZONE, to_local_s, trade_day_and_session
from codec.kernel import inlined, kernel
from codec.longport.protocol import PUSH_HEADER_BYTES, Command, PacketType
from codec.tables import SESSION
from ticktape.simulate.putting import put_bytes, put_digits, put_varint
from ticktape.simulate.tick_kernel import BUY, NEUTRAL, Rings

TRADE_BYTES_MAX = 2 + (2 + 24) + 11 + 11 + (2 + 1) + 2 + 2
"""One Trade with its tag and length: price, volume, timestamp, trade type, direction, session."""
assert TRADE_BYTES_MAX - 2 < 128, "a trade's length must fit in one byte"

BODY_OVERHEAD_BYTES_MAX = 11
"""Of a body, beside its symbol and trades: the sequence with its tag."""

MESSAGE_HEADER_BYTES_MAX = 10
"""Of a WebSocket message from a server, which masks nothing (RFC 6455 5.2)."""

_SECOND_US = 1_000_000
_PLAIN_SIGN = ord(" ")
_NORMAL_SESSION = SESSION.code("regular")
_PUSH, _PUSH_TRADE = int(PacketType.PUSH), int(Command.PUSH_TRADE)
_PUSHED_TAG, _PULLED_TAG = 0x1A, 0x12
_BINARY_MESSAGE = 0x82
_DOWN, _UP = 1, 2


class Labels(NamedTuple):
    """What is constant of each symbol.

    Attributes
    ----------
    symbol : (n_symbols, width) uint8, field 1 whole; `symbol_bytes` (n_symbols,) of it are used
    market : (n_symbols,) int64, as in codec/markets.py
    """

    symbol: NDArray[np.uint8]
    symbol_bytes: NDArray[np.int64]
    market: NDArray[np.int64]


class Times(NamedTuple):
    """The arrays of a MarketClock, by the same names."""

    markets: NDArray[np.int32]
    changes: NDArray[np.int64]
    cached: NDArray[np.int64]
    us_days: NDArray[np.int32]


@inlined
def _session_of(second: int, market: int, times: Times) -> int:
    """TradeSession: normal 0, pre 1, post 2, overnight 3."""
    local_s = to_local_s(second, times.markets[market, ZONE], times.changes, times.cached)
    _, session = trade_day_and_session(local_s, times.markets[market, SESSION_RULE], times.us_days)
    return int(session) - _NORMAL_SESSION


@inlined
def _put_price(out: NDArray[np.uint8], at: int, price_milli: int) -> int:
    """The text with its tag and length, always three decimals."""
    digits, above = 1, 10_000
    while price_milli >= above:
        digits += 1
        above *= 10
    out[at], out[at + 1] = np.uint8(0x0A), np.uint8(digits + 4)
    p = put_digits(out, at + 2, price_milli // 1000, digits)
    out[p] = np.uint8(46)
    return put_digits(out, p + 1, price_milli % 1000, 3)


@inlined
def _put_trade(
    out: NDArray[np.uint8], at: int, tag: int, rings: Rings, symbol: int, slot: int, market: int, times: Times
) -> int:
    """One Trade with its tag and length at `at`; returns the position behind it."""
    body_at = at + 2
    p = _put_price(out, body_at, rings.price_milli[symbol, slot])
    out[p] = np.uint8(0x10)
    p = put_varint(out, p + 1, np.uint64(rings.volume[symbol, slot]))
    second = rings.event_us[symbol, slot] // _SECOND_US
    out[p] = np.uint8(0x18)
    p = put_varint(out, p + 1, np.uint64(second))
    sign = rings.sign[symbol, slot]
    if sign != _PLAIN_SIGN:
        out[p], out[p + 1], out[p + 2] = np.uint8(0x22), np.uint8(1), sign
        p += 3
    direction = rings.direction[symbol, slot]
    if direction != NEUTRAL:
        out[p], out[p + 1] = np.uint8(0x28), np.uint8(_UP if direction == BUY else _DOWN)
        p += 2
    session = _session_of(second, market, times)
    if session > 0:
        out[p], out[p + 1] = np.uint8(0x30), np.uint8(session)
        p += 2
    out[at], out[at + 1] = np.uint8(tag), np.uint8(p - body_at)
    return p


@kernel
def encode_pushes(
    symbols: NDArray[np.int64],
    firsts: NDArray[np.int64],
    counts: NDArray[np.int64],
    trades_per_push_max: int,
    sequences: NDArray[np.int64],
    rings: Rings,
    labels: Labels,
    times: Times,
    out: NDArray[np.uint8],
    packet_at: NDArray[np.int64],
) -> int:
    """Write the push packets of spans of trades, symbol after symbol, into `out`.

    Parameters
    ----------
    symbols, firsts, counts : (n,) int64, see `tick_store.Spans`
    trades_per_push_max : longer spans are cut into several packets
    sequences : (n_packets,) int64, of each packet; 0 is left out, as zeros are
    out : (n_bytes,) uint8, long enough
    packet_at : (n_packets,) int64, written: where each packet begins

    Returns
    -------
    Bytes written.
    """
    at, packet = 0, 0
    ring_mask = rings.event_us.shape[1] - 1
    for i in range(len(symbols)):
        symbol, left, number = int(symbols[i]), int(counts[i]), int(firsts[i])
        market = int(labels.market[symbol])
        while left > 0:
            trades = min(left, trades_per_push_max)
            body_at = at + PUSH_HEADER_BYTES
            p = put_bytes(out, body_at, labels.symbol[symbol], labels.symbol_bytes[symbol])
            if sequences[packet] != 0:
                out[p] = np.uint8(0x10)
                p = put_varint(out, p + 1, np.uint64(sequences[packet]))
            for j in range(number, number + trades):
                p = _put_trade(out, p, _PUSHED_TAG, rings, symbol, j & ring_mask, market, times)
            size = p - body_at
            out[at], out[at + 1] = np.uint8(_PUSH), np.uint8(_PUSH_TRADE)
            out[at + 2], out[at + 3], out[at + 4] = np.uint8(size >> 16), np.uint8(size >> 8), np.uint8(size)
            packet_at[packet] = at
            packet += 1
            at = p
            left -= trades
            number += trades
    return at


@kernel
def encode_pulled(
    symbol: int, first: int, count: int, rings: Rings, labels: Labels, times: Times, out: NDArray[np.uint8]
) -> int:
    """Write the body of the reply with trades `first` to `first + count - 1` of a symbol; returns its bytes."""
    ring_mask = rings.event_us.shape[1] - 1
    market = int(labels.market[symbol])
    p = put_bytes(out, 0, labels.symbol[symbol], labels.symbol_bytes[symbol])
    for number in range(first, first + count):
        p = _put_trade(out, p, _PULLED_TAG, rings, symbol, number & ring_mask, market, times)
    return p


@kernel
def frame_messages(data: NDArray[np.uint8], packet_at: NDArray[np.int64], out: NDArray[np.uint8]) -> int:
    """Write each packet, data[packet_at[i]:packet_at[i + 1]], as one binary WebSocket message; returns the bytes."""
    p = 0
    for packet in range(len(packet_at) - 1):
        at, stop = packet_at[packet], packet_at[packet + 1]
        size = stop - at
        out[p] = np.uint8(_BINARY_MESSAGE)
        if size < 126:
            out[p + 1] = np.uint8(size)
            p += 2
        else:
            length_bytes = 2 if size < 1 << 16 else 8
            out[p + 1] = np.uint8(126 if length_bytes == 2 else 127)
            for i in range(length_bytes):
                out[p + 2 + i] = np.uint8((size >> (8 * (length_bytes - 1 - i))) & 0xFF)
            p += 2 + length_bytes
        for i in range(size):
            out[p + i] = data[at + i]
        p += size
    return p


@kernel
def sessions_of(
    symbols: NDArray[np.int32],
    event_us: NDArray[np.int64],
    labels: Labels,
    times: Times,
    sessions: NDArray[np.uint8],
) -> None:
    """Write to `sessions`, (n,), the TradeSession of trades: their symbols' indices and times, (n,) each."""
    for i in range(len(symbols)):
        sessions[i] = np.uint8(_session_of(event_us[i] // _SECOND_US, int(labels.market[symbols[i]]), times))
