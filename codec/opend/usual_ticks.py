"""Ticks as real senders write them: fields in number order, tags of one byte, the security before its ticks.

The speculative half of the tick kernel. It compares several tags at once in one wide word, loads
everything from where it must then be, and gives up at the first thing that differs, having changed
nothing that counts: the general walk (codec/opend/any_ticks.py) then judges the frame from its
beginning. So a frame that comes out of here has no fault at all, and nothing to be counted.

Rule 1: loads may run behind a message's end, by less than `PAD_BYTES`; where a message ends is compared
before anything of it is believed.
"""

from __future__ import annotations

import numpy as np

from codec.bits import (
    FETCH_AHEAD_BYTES,
    LINE_BYTES,
    byte_at,
    fetch_early,
    load_f64,
    load_u16,
    load_u32,
    load_u64,
    put,
    trailing_zeros,
)
from codec.clock import READS_TEXT, UTC_S_MAX, UTC_S_MIN
from codec.columns import (
    CONDITION_ID,
    DELIVERY_CODE,
    DIRECTION,
    NULL_TIME,
    PRICE,
    SEQUENCE,
    SESSION_CODE,
    SYMBOL_ID,
    TRADE_DATE,
    TRADE_TYPE,
    TS_EVENT_US,
    TS_GATEWAY_US,
    TURNOVER,
    VOLUME,
)
from codec.kernel import inlined
from codec.opend.text_time import (
    MILLISECOND_BYTES,
    MINUTE_HIGH,
    MINUTE_LOW,
    MINUTE_SESSION,
    MINUTE_TRADE_DAY,
    MINUTE_UTC_US,
    SECOND_BYTES,
    SECOND_US,
    UNREADABLE,
    nearest_second,
    read_minute,
    within_minute_us,
)
from codec.symbols import look_up
from codec.tables import DELIVERY
from codec.wire import CONTINUATION, read_size, squeeze

NOT_AS_USUAL = -1
"""Returned instead of a position."""

_DELIVERY_PULL, _DELIVERY_REALTIME = DELIVERY.code("pull"), DELIVERY.code("realtime")

_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)
_BYTE = np.uint64(0xFF)
# 0a <size> 08 <market> 12 <size>, the values below 128
_SECURITY_TAGS, _SECURITY = np.uint64(0x80FF_80FF_00FF), np.uint64(0x0012_0008_000A)
# 40 <type> 48 <sign> 50 <push type> 59, the values below 128, the push type at most 3
_TRAILING_TAGS, _TRAILING = np.uint64(0x00FF_FCFF_80FF_80FF), np.uint64(0x0059_0050_0048_0040)


@inlined
def _begin_of_security(source, at, stop):
    """Where the security begins in the Response source[at:stop], or NOT_AS_USUAL."""
    head = load_u32(source, at)
    if head & np.uint32(0x00FF_FFFF) == np.uint32(0x0022_0008):  # retType 0, s2c
        at += 3
    else:
        if head & np.uint32(0xFFFF) != np.uint32(0x0008):
            return NOT_AS_USUAL
        at += 2
        if load_u16(source, at) == np.uint16(0x0012):  # an empty retMsg
            at += 2
        if load_u16(source, at) == np.uint16(0x0018):  # errCode 0
            at += 2
        if byte_at(source, at) != 0x22:
            return NOT_AS_USUAL
        at += 1
    size, at = read_size(source, at)
    return at if at + size == stop else NOT_AS_USUAL


@inlined
def _is_sane(second):
    """Whether an instant lies between UTC_S_MIN and UTC_S_MAX, those ends left to the general walk."""
    return UTC_S_MIN < second < UTC_S_MAX


@inlined
def decode_usual(
    source, at, stop, pulled, row, wide, real, narrow, small, short, slots, entries, arena, markets, changes,
    cached_changes, us_days, minutes,
):  # fmt: skip
    """The body source[at:stop]: (next row, symbol), or (NOT_AS_USUAL, _) with rows from `row` on undefined."""
    at = _begin_of_security(source, at, stop)
    if at < 0:
        return NOT_AS_USUAL, -1
    # Security: 0a <size> 08 <market> 12 <size> <code>
    head = load_u64(source, at)
    code_bytes = np.int64((head >> np.uint64(40)) & _BYTE)
    if head & _SECURITY_TAGS != _SECURITY or np.int64((head >> np.uint64(8)) & _BYTE) != code_bytes + 4:
        return NOT_AS_USUAL, -1
    market = np.int64((head >> np.uint64(24)) & _BYTE)
    if markets[market, READS_TEXT] != 1:
        return NOT_AS_USUAL, -1
    at += 6
    symbol = look_up(source, at, code_bytes, market, short, slots, entries, arena)
    if symbol < 0:
        return NOT_AS_USUAL, -1
    at += code_bytes
    rows_max = wide.shape[1]
    while at < stop:
        fetch_early(source, at + FETCH_AHEAD_BYTES)
        fetch_early(source, at + FETCH_AHEAD_BYTES + LINE_BYTES)
        # 12 <size> 0a <size> <time> 10 <sequence> 18 <direction> 21 <price> 28 <volume> 31 <turnover> …
        head = load_u32(source, at)
        if head & np.uint32(0x00FF_80FF) != np.uint32(0x000A_0012):
            break
        end = at + 2 + np.int64((head >> np.uint32(8)) & np.uint32(0xFF))
        time_bytes = np.int64(head >> np.uint32(24))
        time_at = at + 4
        if (time_bytes - SECOND_BYTES) & ~(MILLISECOND_BYTES - SECOND_BYTES) != 0 or row == rows_max:
            return NOT_AS_USUAL, -1
        at = time_at + time_bytes
        sequence = load_u64(source, at + 1)
        around = load_u32(source, at + 9)
        if (
            byte_at(source, at) != 0x10
            or ~sequence & CONTINUATION != np.uint64(0)
            or around & np.uint32(0xFFFC_FF80) != np.uint32(0x2100_1800)  # directions up to 3
            or byte_at(source, at + 21) != 0x28
        ):
            return NOT_AS_USUAL, -1
        direction = np.int64((around >> np.uint32(16)) & np.uint32(0xFF))
        price = load_u64(source, at + 13)
        shares = load_u64(source, at + 22)
        ends = ~shares & CONTINUATION
        if ends == np.uint64(0):
            return NOT_AS_USUAL, -1
        volume = np.float64(np.int64(squeeze(shares & (ends ^ (ends - np.uint64(1))))))
        after = at + 23 + np.int64(trailing_zeros(ends) >> np.uint64(3))
        if byte_at(source, after) != 0x31:
            return NOT_AS_USUAL, -1
        turnover = load_u64(source, after + 1)
        put(wide, SEQUENCE, row, np.int64(squeeze(sequence) | (np.uint64(around & np.uint32(0x7F)) << np.uint64(56))))
        put(small, DIRECTION, row, direction)
        at = after + 9
        received, trade_type, sign, push_type, stamp = 0.0, np.int64(0), np.int64(0), np.int64(0), 0.0
        trailing = load_u64(source, at + 9)
        if byte_at(source, at) == 0x39 and trailing & _TRAILING_TAGS == _TRAILING:
            received = load_f64(source, at + 1)
            trade_type = np.int64((trailing >> np.uint64(8)) & np.uint64(0xFF))
            sign = np.int64((trailing >> np.uint64(24)) & np.uint64(0xFF))
            push_type = np.int64((trailing >> np.uint64(40)) & np.uint64(0xFF))
            stamp = load_f64(source, at + 16)
            at += 24
        else:
            if byte_at(source, at) == 0x39:
                received = load_f64(source, at + 1)
                at += 9
            if load_u16(source, at) & np.uint16(0x80FF) == np.uint16(0x40):
                trade_type = byte_at(source, at + 1)
                at += 2
            if load_u16(source, at) & np.uint16(0x80FF) == np.uint16(0x48):
                sign = byte_at(source, at + 1)
                at += 2
            if load_u16(source, at) & np.uint16(0xFCFF) == np.uint16(0x50):
                push_type = byte_at(source, at + 1)
                at += 2
            if byte_at(source, at) == 0x59:
                stamp = load_f64(source, at + 1)
                at += 9
        if at != end:
            if at < end and byte_at(source, at) == 0x61:
                volume = load_f64(source, at + 1)
                at += 9
            if at != end or not np.isfinite(volume):
                return NOT_AS_USUAL, -1
        # Nothing of the tick lies behind its end. Its values now.
        if price & _EXPONENT == _EXPONENT or turnover & _EXPONENT == _EXPONENT:
            return NOT_AS_USUAL, -1
        if sign <= 32:
            if sign != 32 and sign != 0:
                return NOT_AS_USUAL, -1
            sign = np.int64(0)
        elif sign == 127:
            return NOT_AS_USUAL, -1
        if (
            np.int64(load_u64(source, time_at)) != minutes[market, MINUTE_LOW]
            or np.int64(load_u64(source, time_at + 8)) != minutes[market, MINUTE_HIGH]
        ) and not read_minute(source, time_at, market, markets, changes, cached_changes, us_days, minutes):
            return NOT_AS_USUAL, -1
        past_us = within_minute_us(source, time_at, time_bytes)
        if past_us == UNREADABLE:
            return NOT_AS_USUAL, -1
        minute_us = minutes[market, MINUTE_UTC_US]
        if stamp != 0.0:
            second, us = nearest_second(stamp)
            stamp_past_us = second * SECOND_US - minute_us + us
            apart_us = stamp_past_us - past_us
            past_us += apart_us * np.int64(us != 0)  # the finer one
            if not _is_sane(second) or abs(apart_us) > SECOND_US or past_us < 0 or past_us >= 60 * SECOND_US:
                return NOT_AS_USUAL, -1
        gateway_us = np.int64(NULL_TIME)
        if received != 0.0:
            second, us = nearest_second(received)
            gateway_us = second * SECOND_US + us
            if not _is_sane(second):
                return NOT_AS_USUAL, -1
        delivery = np.int64(_DELIVERY_PULL)
        if not pulled:
            delivery = max(push_type, np.int64(_DELIVERY_REALTIME))
        put(wide, TS_EVENT_US, row, minute_us + past_us)
        put(wide, TS_GATEWAY_US, row, gateway_us)
        put(real, PRICE, row, load_f64(source, time_at + time_bytes + 13))
        put(real, VOLUME, row, volume)
        put(real, TURNOVER, row, load_f64(source, after + 1))
        put(narrow, SYMBOL_ID, row, symbol)
        put(narrow, TRADE_DATE, row, minutes[market, MINUTE_TRADE_DAY])
        put(narrow, CONDITION_ID, row, sign)
        put(small, TRADE_TYPE, row, trade_type)
        put(small, SESSION_CODE, row, minutes[market, MINUTE_SESSION])
        put(small, DELIVERY_CODE, row, delivery)
        row += 1
    if at < stop and byte_at(source, at) == 0x1A:  # the name ends the message
        size, at = read_size(source, at + 1)
        at += size
    return (row, symbol) if at == stop else (NOT_AS_USUAL, -1)
