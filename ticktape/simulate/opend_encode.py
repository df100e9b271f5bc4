"""Ticks in the rings to OpenD frames, in one kernel: pushes 3011, replies 3010, and their headers.

Fields are written in number order, lengths in as few bytes as possible, exactly as the generated
classes serialise them (a test compares): docs/protocols/opend.md 10.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.bits import bits_of, stack_array
from codec.clock import to_local_s
from codec.kernel import inlined, kernel
from codec.opend.protocol import BODY_BYTES_AT, HEADER_BYTES, MAGIC, PROTO_ID_AT, SERIAL_AT, SHA1_AT, ProtoId
from codec.sha1 import sha1_into
from ticktape.simulate.putting import put_bytes, put_digits, put_varint, varint_bytes
from ticktape.simulate.tick_kernel import Rings

PULLED, REALTIME, BY_DISCONNECT, CACHED = 0, 1, 2, 3
"""PushDataType (docs/protocols/opend.md 3.2); absent in replies to pulls, as in the vendor's samples."""

TICK_BYTES_MAX = 2 + 25 + 11 + 2 + 9 + 11 + 9 + 9 + 2 + 2 + 2 + 9
"""One Ticker with its tag and length: time, sequence, dir, price, volume, turnover, recvTime, type,
typeSign, pushDataType, timestamp."""
assert TICK_BYTES_MAX - 2 < 128, "a tick's length must fit in one byte"

GATEWAY_DELAY_US = 15_000
"""recvTime of a push: this long after the trade."""

FRAME_OVERHEAD_BYTES_MAX = HEADER_BYTES + 6 + 6
"""Of a frame, beside its security, name and ticks: header, result, tag and length of the S2C."""

_SECOND_US = 1_000_000
_minute_text = stack_array(16, np.uint8)
_MAGIC = np.frombuffer(MAGIC, np.uint8)
_SUCCESS = np.array([0x08, 0x00], np.uint8)
_REPLY_SUCCESS = np.array([0x08, 0x00, 0x12, 0x00, 0x18, 0x00], np.uint8)  # empty retMsg and errCode 0, as sent


class Labels(NamedTuple):
    """The constant bytes of each symbol's frames, padded to a common width.

    Attributes
    ----------
    security : (n_symbols, width) uint8, S2C's field 1 whole; `security_bytes` (n_symbols,) of it are used
    name : (n_symbols, width) uint8, S2C's field 3 whole; likewise `name_bytes`
    zone : (n_symbols,) int64, the market's zone in the clock's arrays
    with_millis : (n_symbols,) bool, whether time strings carry `.fff`
    """

    security: NDArray[np.uint8]
    security_bytes: NDArray[np.int64]
    name: NDArray[np.uint8]
    name_bytes: NDArray[np.int64]
    zone: NDArray[np.int64]
    with_millis: NDArray[np.bool_]


@inlined
def _put_u32(out: NDArray[np.uint8], at: int, value: int) -> None:
    for i in range(4):
        out[at + i] = np.uint8((value >> (8 * i)) & 0xFF)


@inlined
def _put_double(out: NDArray[np.uint8], at: int, tag: int, value: float) -> int:
    out[at] = np.uint8(tag)
    word = bits_of(value)
    for i in range(8):
        out[at + 1 + i] = np.uint8((word >> np.uint64(8 * i)) & np.uint64(0xFF))
    return at + 9


@kernel
def _put_minute(text: NDArray[np.uint8], local_minute: int) -> None:
    """`yyyy-MM-dd HH:mm` of minutes since 1970 into text[0:16] (civil_from_days by Howard Hinnant)."""
    days, of_day = local_minute // 1440, local_minute % 1440
    days += 719468
    era = days // 146097
    of_era = days - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year += era * 400 + (1 if month <= 2 else 0)
    put_digits(text, 0, year, 4)
    put_digits(text, 5, month, 2)
    put_digits(text, 8, day, 2)
    put_digits(text, 11, of_day // 60, 2)
    put_digits(text, 14, of_day % 60, 2)
    text[4] = text[7] = np.uint8(45)
    text[10] = np.uint8(32)
    text[13] = np.uint8(58)


@inlined
def _put_tick(
    out: NDArray[np.uint8],
    at: int,
    rings: Rings,
    symbol: int,
    slot: int,
    time_bytes: int,
    minute: NDArray[np.uint8],
    local_s: int,
    delivery: int,
) -> int:
    """One Ticker with its tag and length at `at`; returns the position behind it."""
    body_at = at + 2
    event_us = rings.event_us[symbol, slot]
    out[body_at], out[body_at + 1] = np.uint8(0x0A), np.uint8(time_bytes)
    p = put_bytes(out, body_at + 2, minute, 16)
    out[p] = np.uint8(58)
    put_digits(out, p + 1, local_s % 60, 2)
    p += 3
    if time_bytes > 19:
        out[p] = np.uint8(46)
        put_digits(out, p + 1, event_us % _SECOND_US // 1000, 3)
        p += 4
    out[p] = np.uint8(0x10)
    p = put_varint(out, p + 1, np.uint64(rings.sequence[symbol, slot]))
    out[p], out[p + 1] = np.uint8(0x18), rings.direction[symbol, slot]
    price_milli, volume = rings.price_milli[symbol, slot], rings.volume[symbol, slot]
    p = _put_double(out, p + 2, 0x21, price_milli / 1000.0)
    out[p] = np.uint8(0x28)
    p = put_varint(out, p + 1, np.uint64(volume))
    p = _put_double(out, p, 0x31, price_milli * volume / 1000.0)
    p = _put_double(out, p, 0x39, (event_us + GATEWAY_DELAY_US) / 1e6 if delivery == REALTIME else 0.0)
    out[p], out[p + 1] = np.uint8(0x40), rings.trade_type[symbol, slot]
    out[p + 2], out[p + 3] = np.uint8(0x48), rings.sign[symbol, slot]
    p += 4
    if delivery != PULLED:
        out[p], out[p + 1] = np.uint8(0x50), np.uint8(delivery)
        p += 2
    p = _put_double(out, p, 0x59, np.float64(event_us // _SECOND_US))
    out[at], out[at + 1] = np.uint8(0x12), np.uint8(p - body_at)
    return p


@kernel
def encode_frames(
    symbols: NDArray[np.int64],
    firsts: NDArray[np.int64],
    counts: NDArray[np.int64],
    ticks_per_frame_max: int,
    proto_id: int,
    serial: int,
    delivery: int,
    rings: Rings,
    labels: Labels,
    changes: NDArray[np.int64],
    cached: NDArray[np.int64],
    out: NDArray[np.uint8],
    span_at: NDArray[np.int64],
    frame_at: NDArray[np.int64],
) -> int:
    """Write the frames of spans of ticks, symbol after symbol, into `out`.

    Parameters
    ----------
    symbols, firsts, counts : (n,) int64, see `tick_store.Spans`; a count of 0 gives one frame without ticks
    ticks_per_frame_max : longer spans are cut into several frames
    proto_id, serial : of the headers; pushes count their serials on from `serial`
    delivery : PULLED, REALTIME, BY_DISCONNECT or CACHED
    changes, cached : the clock's arrays
    out : (n_bytes,) uint8, long enough for the frames and `PAD_BYTES` more
    span_at : (n,) int64, written: where each span's frames begin
    frame_at : (n_frames,) int64, written: where each frame begins

    Returns
    -------
    Bytes written.
    """
    at, frames = 0, 0
    ring_mask = rings.event_us.shape[1] - 1
    minute, minute_now = _minute_text(), -1
    is_reply = proto_id == ProtoId.GET_TICKER
    lead = _REPLY_SUCCESS if is_reply else _SUCCESS
    for i in range(len(symbols)):
        symbol, left, number = int(symbols[i]), int(counts[i]), int(firsts[i])
        time_bytes = 23 if labels.with_millis[symbol] else 19
        span_at[i] = at
        while True:
            ticks = min(left, ticks_per_frame_max)
            s2c_bytes = int(labels.security_bytes[symbol] + labels.name_bytes[symbol])
            # Everything in a tick but its two varints has a fixed size.
            s2c_bytes += ticks * (2 + 2 + time_bytes + 1 + 2 + 9 + 1 + 9 + 9 + 2 + 2 + (2 if delivery else 0) + 9)
            for j in range(number, number + ticks):
                slot = j & ring_mask
                s2c_bytes += varint_bytes(np.uint64(rings.sequence[symbol, slot]))
                s2c_bytes += varint_bytes(np.uint64(rings.volume[symbol, slot]))

            frame_at[frames] = at
            body_at = at + HEADER_BYTES
            p = put_bytes(out, body_at, lead, len(lead))
            out[p] = np.uint8(0x22)
            p = put_varint(out, p + 1, np.uint64(s2c_bytes))
            s2c_at = p
            p = put_bytes(out, p, labels.security[symbol], labels.security_bytes[symbol])
            for j in range(number, number + ticks):
                slot = j & ring_mask
                local_s = to_local_s(rings.event_us[symbol, slot] // _SECOND_US, labels.zone[symbol], changes, cached)
                if local_s // 60 != minute_now:
                    minute_now = local_s // 60
                    _put_minute(minute, minute_now)
                p = _put_tick(out, p, rings, symbol, slot, time_bytes, minute, local_s, delivery)
            p = put_bytes(out, p, labels.name[symbol], labels.name_bytes[symbol])
            assert p - s2c_at == s2c_bytes

            put_bytes(out, at, _MAGIC, 2)
            _put_u32(out, at + PROTO_ID_AT, proto_id)
            out[at + 6] = out[at + 7] = np.uint8(0)
            _put_u32(out, at + SERIAL_AT, serial)
            _put_u32(out, at + BODY_BYTES_AT, p - body_at)
            sha1_into(out, body_at, p, out, at + SHA1_AT)
            for j in range(SHA1_AT + 20, HEADER_BYTES):
                out[at + j] = np.uint8(0)
            at = p
            frames += 1
            if not is_reply:
                serial = (serial + 1) & 0xFFFFFFFF
            left -= ticks
            number += ticks
            if left == 0:
                break
    return at
