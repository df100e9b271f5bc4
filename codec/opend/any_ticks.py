"""Ticks in any legal protobuf: fields in any order, repeated, unknown, merged sub-messages.

The general half of the tick kernel, for what is not written as usual (codec/opend/usual_ticks.py), and
the one that judges: what is refused, for what reason, and what is counted.
"""

from __future__ import annotations

import numpy as np

from codec.bits import FETCH_AHEAD_BYTES, LINE_BYTES, byte_at, fetch_early, load_f64, put, stack_array, stay_apart
from codec.clock import MARKET_NUMBERS_MAX, READS_TEXT, ZONE
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
from codec.kernel import inlined, kernel
from codec.opend.notes import (
    AMOUNT_NOT_FINITE,
    BAD_SYMBOL_CODE,
    DETAIL,
    FIELD_MISSING,
    FRAME_AT,
    FRAME_BYTES,
    KIND,
    NO_REASON,
    NO_RETURN_TYPE,
    NO_SECURITY,
    PRICE_NOT_FINITE,
    PROTO_ID,
    REASON,
    REFUSED_TICK,
    SERIAL,
    SYMBOL,
    TOO_MANY_BAD_TICKS,
    TOO_MANY_SYMBOLS,
    TOO_MANY_TICKS,
    TRUNCATED_MESSAGE,
    UNLISTED_MARKETS,
    UNLISTED_NUMBERS,
)
from codec.opend.text_time import UNREADABLE, place_in_time, unix_us
from codec.symbols import BAD_CODE, intern, look_up
from codec.tables import DELIVERY
from codec.wire import (
    FIXED64,
    LENGTH_DELIMITED,
    MALFORMED,
    VARINT,
    int32_of,
    read_length,
    read_tag,
    read_varint,
    skip_value,
)

_DELIVERY_PULL, _DELIVERY_REALTIME, _DELIVERY_CACHE = (DELIVERY.code(word) for word in ("pull", "realtime", "cache"))

_DIRECTION_LAST = 3

DECODED, REFUSED_BY_GATEWAY, NO_ROOM = 0, -2, -3
"""Outcomes of a body beside the reasons of codec/opend/notes.py, which are positive."""

_RETURN_TYPE_TAG, _S2C_TAG = 0x08, 0x22
_SECURITY_TAG, _TICK_TAG = 0x0A, 0x12
_MARKET_TAG, _CODE_TAG = 0x08, 0x12

# Tags of a Ticker's fields.
_TIME, _SEQUENCE, _DIRECTION, _PRICE, _VOLUME, _TURNOVER = 0x0A, 0x10, 0x18, 0x21, 0x28, 0x31
_RECEIVED, _TRADE_TYPE, _SIGN, _PUSH_TYPE, _STAMP, _PRECISE_VOLUME = 0x39, 0x40, 0x48, 0x50, 0x59, 0x61

_TAGS = 128
_places = stack_array(_TAGS, np.int64)


@inlined
def put_tick(
    source, time_at, time_bytes, sequence, direction, price, volume, turnover, received, trade_type, sign,
    push_type, stamp, market, symbol, pulled, row, wide, real, narrow, small, counters,
    markets, changes, cached_changes, us_days, minutes,
):  # fmt: skip
    """Check one tick's values and write them to `row`; returns NO_REASON, or why the tick is refused."""
    reason, event_us, trade_day, session = place_in_time(
        source, time_at, time_bytes, market >= 0 and markets[market, READS_TEXT] == 1, stamp, market, counters,
        markets, changes, cached_changes, us_days, minutes,
    )  # fmt: skip
    if reason != NO_REASON:
        return reason
    if not np.isfinite(price):
        return PRICE_NOT_FINITE
    if not (np.isfinite(volume) and np.isfinite(turnover)):
        return AMOUNT_NOT_FINITE
    if direction < 0 or direction > _DIRECTION_LAST:
        counters[UNLISTED_NUMBERS] += 1
        direction = np.int64(0)
    if trade_type < 0 or trade_type > 255:
        counters[UNLISTED_NUMBERS] += 1
        trade_type = np.int64(0)
    if sign <= 32 or sign > 126:
        if sign != 0 and sign != 32:
            counters[UNLISTED_NUMBERS] += 1
        sign = np.int64(0)
    delivery = np.int64(_DELIVERY_PULL)
    if not pulled:
        delivery = push_type
        if push_type < _DELIVERY_REALTIME or push_type > _DELIVERY_CACHE:
            if push_type != 0:
                counters[UNLISTED_NUMBERS] += 1
            delivery = np.int64(_DELIVERY_REALTIME)
    gateway_us = np.int64(NULL_TIME)
    if received != 0.0:
        gateway_us = unix_us(received)
        if gateway_us == UNREADABLE:
            gateway_us = np.int64(NULL_TIME)
            counters[UNLISTED_NUMBERS] += 1
    put(wide, TS_EVENT_US, row, event_us)
    put(wide, SEQUENCE, row, sequence)
    put(wide, TS_GATEWAY_US, row, gateway_us)
    put(real, PRICE, row, price)
    put(real, VOLUME, row, volume)
    put(real, TURNOVER, row, turnover)
    put(narrow, SYMBOL_ID, row, symbol)
    put(narrow, TRADE_DATE, row, trade_day)
    put(narrow, CONDITION_ID, row, sign)
    put(small, DIRECTION, row, direction)
    put(small, TRADE_TYPE, row, trade_type)
    put(small, SESSION_CODE, row, session)
    put(small, DELIVERY_CODE, row, delivery)
    return NO_REASON


@inlined
def _note_tick(notes, note, frame_at, frame_bytes, proto_id, serial, symbol, reason, index):
    notes[note, KIND] = REFUSED_TICK
    notes[note, FRAME_AT] = frame_at
    notes[note, FRAME_BYTES] = frame_bytes
    notes[note, PROTO_ID] = proto_id
    notes[note, SERIAL] = serial
    notes[note, SYMBOL] = symbol
    notes[note, REASON] = reason
    notes[note, DETAIL] = index


@kernel
def _clock_market(market, markets, counters, ticks):
    """`market` where the clock knows it, else -1, counted once a tick."""
    if 0 <= market < MARKET_NUMBERS_MAX and markets[market, ZONE] >= 0:
        return market
    counters[UNLISTED_MARKETS] += ticks
    return np.int64(-1)


@inlined
def _read_security(source, at, stop, market, has_market, code_at, code_end):
    """Merge one Security: (market, has_market, code_at, code_end, position behind it or MALFORMED)."""
    while at < stop:
        tag, at = read_tag(source, at, stop)
        if tag == _MARKET_TAG:
            value, at = read_varint(source, at)
            market, has_market = int32_of(value), True
        elif tag == _CODE_TAG:
            code_at, code_end = read_length(source, at, stop)
            at = code_end
        elif at != MALFORMED:
            at = skip_value(source, at, stop, tag)
        if at == MALFORMED or at > stop:
            return market, has_market, code_at, code_end, MALFORMED
    return market, has_market, code_at, code_end, at


@kernel
def _survey(source, at, stop):
    """Walk a Response without reading ticks.

    Returns (outcome, market, code's begin, code's end, ticks): merged as protobuf merges, the last
    scalar wins and ticks add up; an outcome other than DECODED is final.
    """
    stay_apart()
    returned, has_returned, has_s2c, has_security = np.int64(0), False, False, False
    market, has_market = np.int64(0), False
    code_at, code_end = np.int64(-1), np.int64(-1)
    ticks = 0
    while at < stop:
        tag, at = read_tag(source, at, stop)
        if tag == _RETURN_TYPE_TAG:
            value, at = read_varint(source, at)
            returned, has_returned = int32_of(value), True
        elif tag == _S2C_TAG:
            at, s2c_stop = read_length(source, at, stop)
            if s2c_stop == MALFORMED:
                return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
            has_s2c = True
            while at < s2c_stop:
                tag, at = read_tag(source, at, s2c_stop)
                if tag == _TICK_TAG:
                    fetch_early(source, at + FETCH_AHEAD_BYTES)
                    fetch_early(source, at + FETCH_AHEAD_BYTES + LINE_BYTES)
                    ticks += 1
                    _, at = read_length(source, at, s2c_stop)
                elif tag == _SECURITY_TAG:
                    at, security_stop = read_length(source, at, s2c_stop)
                    if security_stop != MALFORMED:
                        has_security = True
                        market, has_market, code_at, code_end, at = _read_security(
                            source, at, security_stop, market, has_market, code_at, code_end
                        )
                    else:
                        at = np.int64(MALFORMED)
                elif at != MALFORMED:
                    at = skip_value(source, at, s2c_stop, tag)
                if at == MALFORMED:
                    return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
        elif at != MALFORMED:
            at = skip_value(source, at, stop, tag)
        if at == MALFORMED or at > stop:
            return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
    if not has_returned:
        return NO_RETURN_TYPE, market, code_at, code_end, ticks
    if returned != 0:
        return REFUSED_BY_GATEWAY, market, code_at, code_end, ticks
    if has_s2c and not (has_security and has_market and code_at >= 0):
        return NO_SECURITY, market, code_at, code_end, ticks
    return DECODED, market, code_at, code_end, ticks


@kernel
def _find_fields(source, at, stop, places):
    """Write to places[tag] where the last value of each field with a one-byte tag is; False for a broken message.

    Fields that the message at source[at:stop] does not have keep places before it. The common sizes of a
    value are foreseen, so that the next field does not wait for this one's.
    """
    stay_apart()
    while at < stop:
        tag = byte_at(source, at)
        if 8 <= tag < _TAGS:
            at += 1
            places[tag] = at
        else:
            tag, at = read_tag(source, at, stop)
            if at == MALFORMED:
                return False
            if tag < _TAGS:
                places[tag] = at
        wire_type, first = tag & 7, byte_at(source, at)
        if wire_type == FIXED64:
            at += 8
        elif wire_type == VARINT and first < 0x80:
            at += 1
        elif wire_type == LENGTH_DELIMITED and first < 0x80:
            at += 1 + first
        else:
            at = skip_value(source, at, stop, tag)
            if at == MALFORMED:
                return False
    return at == stop


@inlined
def _int32_at(source, at, begin):
    """The int32 at `at`, or 0 when that lies before `begin`: the field is absent."""
    if at < begin:
        return np.int64(0)
    if byte_at(source, at) < 0x80:
        return byte_at(source, at)
    value, _ = read_varint(source, at)
    return int32_of(value)


@inlined
def _double_at(source, at, begin):
    return load_f64(source, at) if at >= begin else 0.0


@inlined
def decode_any(
    source, at, stop, frame_at, frame_bytes, proto_id, serial, pulled, row, note, wide, real,
    narrow, small, notes, counters, short, slots, entries, arena, used, markets, changes, cached_changes, us_days,
    minutes,
):  # fmt: skip
    """The body source[at:stop] as any legal protobuf: (outcome, next row, next note, symbol)."""
    outcome, wire_market, code_at, code_end, ticks = _survey(source, at, stop)
    if outcome != DECODED:
        return outcome, row, note, -1
    if code_at < 0:
        return DECODED, row, note, -1  # a success without s2c: no ticks
    if ticks > wide.shape[1]:
        return TOO_MANY_TICKS, row, note, -1
    if row + ticks > wide.shape[1]:
        return NO_ROOM, row, note, -1
    symbol = look_up(source, code_at, code_end - code_at, wire_market, short, slots, entries, arena)
    if symbol < 0:
        symbol = intern(
            source, code_at, code_end - code_at, wire_market, short, slots, entries, arena, used
        )  # fmt: skip
    if symbol < 0:
        return (BAD_SYMBOL_CODE if symbol == BAD_CODE else TOO_MANY_SYMBOLS), row, note, -1
    market = _clock_market(wire_market, markets, counters, ticks)
    places = _places()
    index = 0
    while at < stop:
        tag, at = read_tag(source, at, stop)
        if tag != _S2C_TAG:
            at = skip_value(source, at, stop, tag)
            continue
        at, s2c_stop = read_length(source, at, stop)
        while at < s2c_stop:
            tag, at = read_tag(source, at, s2c_stop)
            if tag != _TICK_TAG:
                at = skip_value(source, at, s2c_stop, tag)
                continue
            at, end = read_length(source, at, s2c_stop)
            begin = at
            if not _find_fields(source, at, end, places):
                return TRUNCATED_MESSAGE, row, note, -1
            at = end  # known before its fields are: the next tick need not wait for them
            reason = FIELD_MISSING
            if (
                places[_TIME] >= begin
                and places[_SEQUENCE] >= begin
                and places[_DIRECTION] >= begin
                and places[_PRICE] >= begin
                and places[_VOLUME] >= begin
                and places[_TURNOVER] >= begin
            ):
                time_at, time_end = read_length(source, places[_TIME], end)
                sequence, _ = read_varint(source, places[_SEQUENCE])
                shares, _ = read_varint(source, places[_VOLUME])
                volume = np.float64(np.int64(shares))
                if places[_PRECISE_VOLUME] >= begin:
                    volume = load_f64(source, places[_PRECISE_VOLUME])
                reason = put_tick(
                    source, time_at, time_end - time_at, np.int64(sequence),
                    _int32_at(source, places[_DIRECTION], begin), load_f64(source, places[_PRICE]), volume,
                    load_f64(source, places[_TURNOVER]), _double_at(source, places[_RECEIVED], begin),
                    _int32_at(source, places[_TRADE_TYPE], begin), _int32_at(source, places[_SIGN], begin),
                    _int32_at(source, places[_PUSH_TYPE], begin), _double_at(source, places[_STAMP], begin), market,
                    symbol, pulled, row, wide, real, narrow, small, counters, markets, changes, cached_changes,
                    us_days, minutes,
                )  # fmt: skip
            if reason == NO_REASON:
                row += 1
            elif note >= len(notes) - 1:
                return TOO_MANY_BAD_TICKS, row, note, -1
            else:
                _note_tick(notes, note, frame_at, frame_bytes, proto_id, serial, symbol, reason, index)
                note += 1
            index += 1
    return DECODED, row, note, symbol
