"""OpenD tick frames (3010 replies and 3011 pushes, protobuf bodies) to columns.

One call reads many frames. A frame is tried twice: first as real senders write it, fields in number
order, one-byte tags, the security before its ticks; when anything differs, again by the general
walk, which takes any legal protobuf: fields in any order, repeated, unknown, merged sub-messages.

Rule 1: a frame's rows are kept all together or not at all; a refused tick leaves a note instead.
Rule 2: nothing is read behind `stop + PAD_BYTES`, and nothing behind a message's end is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at, load_f64, load_u32, put
from codec.clock import MARKET_NUMBERS_MAX, READS_TEXT, ZONE
from codec.columns import (
    CONDITION_ID,
    DELIVERY_CODE,
    DIRECTION,
    GATEWAY_ID,
    NULL_TIME,
    PRICE,
    SEQUENCE,
    SESSION_CODE,
    SYMBOL_ID,
    TRADE_DATE,
    TRADE_TYPE,
    TS_EVENT_US,
    TS_GATEWAY_US,
    TS_RECV_NS,
    TURNOVER,
    VOLUME,
)
from codec.kernel import inlined, kernel
from codec.opend.notes import (
    ALL_READ,
    AMOUNT_NOT_FINITE,
    BAD_MAGIC,
    BAD_SHA1,
    BAD_SYMBOL_CODE,
    BODY_FORMAT,
    CONTROL,
    DETAIL,
    EMPTY_BODY,
    FIELD_MISSING,
    FIRST_ROW,
    FRAME_AT,
    FRAME_BYTES,
    FRAME_TOO_LARGE,
    JSON_TICKS,
    KIND,
    NO_REASON,
    NO_RETURN_TYPE,
    NO_SECURITY,
    NOTES_FULL,
    PRICE_NOT_FINITE,
    PROTO_ID,
    PULLED,
    REASON,
    REFUSED_FRAME,
    REFUSED_TICK,
    ROWS,
    ROWS_FULL,
    SERIAL,
    SYMBOL,
    TOO_MANY_BAD_TICKS,
    TOO_MANY_SYMBOLS,
    TOO_MANY_TICKS,
    TRUNCATED_MESSAGE,
    UNLISTED_MARKETS,
    UNLISTED_NUMBERS,
)
from codec.opend.protocol import (
    BODY_BYTES_AT,
    FORMAT_AT,
    HEADER_BYTES,
    MAGIC_WORD,
    PROTO_ID_AT,
    SERIAL_AT,
    SHA1_AT,
    BodyFormat,
    ProtoId,
)
from codec.opend.text_time import MILLISECOND_BYTES, SECOND_BYTES, UNREADABLE, place_in_time, unix_us
from codec.sha1 import sha1_matches
from codec.symbols import BAD_CODE, call_intern, intern
from codec.tables import DELIVERY
from codec.wire import (
    FIXED64,
    LENGTH_DELIMITED,
    MALFORMED,
    VARINT,
    call_read_varint,
    int32_of,
    read_length,
    read_tag,
    read_varint,
    skip_value,
)

_PULL, _PUSH = int(ProtoId.GET_TICKER), int(ProtoId.UPDATE_TICKER)
_PROTOBUF, _JSON = int(BodyFormat.PROTOBUF), int(BodyFormat.JSON)
_DELIVERY_PULL = DELIVERY.code("pull")
_DELIVERY_REALTIME = DELIVERY.code("realtime")
_DELIVERY_CACHE = DELIVERY.code("cache")
_DIRECTION_LAST = 3

# Outcomes of a body beside the reasons of codec/opend/notes.py, which are positive.
_DECODED, _NOT_AS_USUAL, _REFUSED_BY_GATEWAY, _NO_ROOM = 0, -1, -2, -3

_TIME_SEEN, _SEQUENCE_SEEN, _DIRECTION_SEEN, _PRICE_SEEN, _VOLUME_SEEN, _TURNOVER_SEEN = 1, 2, 4, 8, 16, 32
_ALL_SEEN = 63

_TICK_BYTES_MIN = 2 + SECOND_BYTES + 2 + 2 + 9 + 2 + 9
"""A tick with every required field; a shorter one is left to the general walk."""


def _put_tick(
    source, time_at, time_bytes, sequence, direction, price, volume, turnover, received, trade_type, sign,
    push_type, stamp, market, symbol, pulled, recv_ns, gateway, row, wide, real, narrow, small, counters,
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
    put(wide, TS_RECV_NS, row, recv_ns)
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
    put(small, GATEWAY_ID, row, gateway)
    return NO_REASON


_put_tick_inlined = inlined(_put_tick)
_put_tick_called = kernel(_put_tick)
"""For the general walk, where a second copy of the body takes seconds to compile and wins nothing."""


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
def _decode_usual(
    source, at, stop, frame_at, frame_bytes, proto_id, serial, pulled, recv_ns, gateway, row, note, wide, real,
    narrow, small, notes, counters, slots, entries, arena, used, markets, changes, cached_changes, us_days, minutes,
):  # fmt: skip
    """The body source[at:stop] as real senders write it: (outcome, next row, next note, symbol).

    Whatever is wrong is left to the general walk to judge: the outcome is _DECODED or _NOT_AS_USUAL.
    """
    if byte_at(source, at) != 0x08 or byte_at(source, at + 1) != 0x00:
        return _NOT_AS_USUAL, row, note, -1
    at += 2
    if byte_at(source, at) == 0x12 and byte_at(source, at + 1) == 0x00:  # an empty retMsg
        at += 2
    if byte_at(source, at) == 0x18 and byte_at(source, at + 1) == 0x00:  # errCode 0
        at += 2
    if byte_at(source, at) != 0x22:
        return _NOT_AS_USUAL, row, note, -1
    length, at = read_varint(source, at + 1)
    if at < 0 or at > stop or length != np.uint64(stop - at):
        return _NOT_AS_USUAL, row, note, -1
    # Security: 0a <size> 08 <market> 12 <size> <code>
    code_bytes = byte_at(source, at + 5)
    if (
        load_u32(source, at) & np.uint32(0x80FF_80FF) != np.uint32(0x0008_000A)
        or byte_at(source, at + 4) != 0x12
        or code_bytes >= 0x80
        or byte_at(source, at + 1) != code_bytes + 4
        or at + 6 + code_bytes > stop
    ):
        return _NOT_AS_USUAL, row, note, -1
    wire_market = byte_at(source, at + 3)
    symbol = intern(source, at + 6, code_bytes, wire_market, slots, entries, arena, used)
    if symbol < 0:
        return _NOT_AS_USUAL, row, note, -1
    market = _clock_market(wire_market, markets, counters, 0)
    at += 6 + code_bytes
    index = 0
    ticks_max = wide.shape[1] - row
    while at < stop:
        if byte_at(source, at) != 0x12:
            break
        size = byte_at(source, at + 1)
        at += 2
        if size >= 0x80:
            size = (size & 0x7F) | (byte_at(source, at) << 7)
            if byte_at(source, at) >= 0x80:
                return _NOT_AS_USUAL, row, note, -1
            at += 1
        end = at + size
        if end > stop or size < _TICK_BYTES_MIN or index == ticks_max:
            return _NOT_AS_USUAL, row, note, -1
        # From here on loads may pass `end`, by less than PAD_BYTES; `at != end` then sends the
        # body to the general walk.
        time_bytes = byte_at(source, at + 1)
        if byte_at(source, at) != 0x0A or time_bytes > MILLISECOND_BYTES:
            return _NOT_AS_USUAL, row, note, -1
        time_at = at + 2
        at = time_at + time_bytes
        if byte_at(source, at) != 0x10:
            return _NOT_AS_USUAL, row, note, -1
        sequence, at = read_varint(source, at + 1)
        if (
            at < 0
            or byte_at(source, at) != 0x18
            or byte_at(source, at + 1) >= 0x80
            or byte_at(source, at + 2) != 0x21
            or byte_at(source, at + 11) != 0x28
        ):
            return _NOT_AS_USUAL, row, note, -1
        direction = byte_at(source, at + 1)
        price = load_f64(source, at + 3)
        volume, at = read_varint(source, at + 12)
        if at < 0 or byte_at(source, at) != 0x31:
            return _NOT_AS_USUAL, row, note, -1
        shares = np.float64(np.int64(volume))
        turnover = load_f64(source, at + 1)
        at += 9
        received, trade_type, sign, push_type, stamp = 0.0, np.int64(0), np.int64(0), np.int64(0), 0.0
        if byte_at(source, at) == 0x39:
            received = load_f64(source, at + 1)
            at += 9
        if byte_at(source, at) == 0x40 and byte_at(source, at + 1) < 0x80:
            trade_type = byte_at(source, at + 1)
            at += 2
        if byte_at(source, at) == 0x48 and byte_at(source, at + 1) < 0x80:
            sign = byte_at(source, at + 1)
            at += 2
        if byte_at(source, at) == 0x50 and byte_at(source, at + 1) < 0x80:
            push_type = byte_at(source, at + 1)
            at += 2
        if byte_at(source, at) == 0x59:
            stamp = load_f64(source, at + 1)
            at += 9
        if at < end and byte_at(source, at) == 0x61:
            shares = load_f64(source, at + 1)
            at += 9
        if at != end:
            return _NOT_AS_USUAL, row, note, -1
        reason = _put_tick_inlined(
            source, time_at, time_bytes, np.int64(sequence), direction, price, shares, turnover, received,
            trade_type, sign, push_type, stamp, market, symbol, pulled, recv_ns, gateway, row, wide, real,
            narrow, small, counters, markets, changes, cached_changes, us_days, minutes,
        )  # fmt: skip
        if reason == NO_REASON:
            row += 1
        elif note >= len(notes) - 1:  # the last is kept for the frame's own note
            return _NOT_AS_USUAL, row, note, -1
        else:
            _note_tick(notes, note, frame_at, frame_bytes, proto_id, serial, symbol, reason, index)
            note += 1
        index += 1
    if at < stop:  # the name ends the message
        if byte_at(source, at) != 0x1A:
            return _NOT_AS_USUAL, row, note, -1
        _, at = read_length(source, at + 1, stop)
        if at != stop:
            return _NOT_AS_USUAL, row, note, -1
    if market < 0:
        counters[UNLISTED_MARKETS] += index
    return _DECODED, row, note, symbol


@kernel
def _survey(source, at, stop):
    """Walk a Response without reading ticks.

    Returns (outcome, market, code's begin, code's end, ticks): merged as protobuf merges, the last
    scalar wins and ticks add up; an outcome other than _DECODED is final.
    """
    returned, has_returned, has_s2c, has_security = np.int64(0), False, False, False
    market, has_market = np.int64(0), False
    code_at, code_end = np.int64(-1), np.int64(-1)
    ticks = 0
    while at < stop:
        field, wire_type, at = read_tag(source, at, stop)
        if at == MALFORMED:
            return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
        if field == 1 and wire_type == VARINT:
            value, at = call_read_varint(source, at)
            returned, has_returned = int32_of(value), True
            if at == MALFORMED or at > stop:
                return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
        elif field == 4 and wire_type == LENGTH_DELIMITED:
            at, s2c_stop = read_length(source, at, stop)
            if s2c_stop == MALFORMED:
                return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
            has_s2c = True
            while at < s2c_stop:
                field, wire_type, at = read_tag(source, at, s2c_stop)
                if at == MALFORMED:
                    return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
                if field == 1 and wire_type == LENGTH_DELIMITED:
                    at, security_stop = read_length(source, at, s2c_stop)
                    if security_stop == MALFORMED:
                        return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
                    has_security = True
                    while at < security_stop:
                        field, wire_type, at = read_tag(source, at, security_stop)
                        if at == MALFORMED:
                            return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
                        if field == 1 and wire_type == VARINT:
                            value, at = call_read_varint(source, at)
                            market, has_market = int32_of(value), True
                            if at == MALFORMED or at > security_stop:
                                return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
                        elif field == 2 and wire_type == LENGTH_DELIMITED:
                            code_at, code_end = read_length(source, at, security_stop)
                            at = code_end
                        else:
                            at = skip_value(source, at, security_stop, field, wire_type)
                        if at == MALFORMED:
                            return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
                else:
                    ticks += field == 2 and wire_type == LENGTH_DELIMITED
                    at = skip_value(source, at, s2c_stop, field, wire_type)
                    if at == MALFORMED:
                        return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
        else:
            at = skip_value(source, at, stop, field, wire_type)
            if at == MALFORMED:
                return TRUNCATED_MESSAGE, market, code_at, code_end, ticks
    if not has_returned:
        return NO_RETURN_TYPE, market, code_at, code_end, ticks
    if returned != 0:
        return _REFUSED_BY_GATEWAY, market, code_at, code_end, ticks
    if has_s2c and not (has_security and has_market and code_at >= 0):
        return NO_SECURITY, market, code_at, code_end, ticks
    return _DECODED, market, code_at, code_end, ticks


@kernel
def _decode_general(
    source, at, stop, frame_at, frame_bytes, proto_id, serial, pulled, recv_ns, gateway, row, note, wide, real,
    narrow, small, notes, counters, slots, entries, arena, used, markets, changes, cached_changes, us_days, minutes,
):  # fmt: skip
    """The body source[at:stop] as any legal protobuf: (outcome, next row, next note, symbol)."""
    outcome, wire_market, code_at, code_end, ticks = _survey(source, at, stop)
    if outcome != _DECODED:
        return outcome, row, note, -1
    if code_at < 0:
        return _DECODED, row, note, -1  # a success without s2c: no ticks
    if ticks > wide.shape[1]:
        return TOO_MANY_TICKS, row, note, -1
    if row + ticks > wide.shape[1]:
        return _NO_ROOM, row, note, -1
    symbol = call_intern(source, code_at, code_end - code_at, wire_market, slots, entries, arena, used)
    if symbol < 0:
        return (BAD_SYMBOL_CODE if symbol == BAD_CODE else TOO_MANY_SYMBOLS), row, note, -1
    market = _clock_market(wire_market, markets, counters, ticks)
    index = 0
    while at < stop:
        field, wire_type, at = read_tag(source, at, stop)
        if field != 4 or wire_type != LENGTH_DELIMITED:
            at = skip_value(source, at, stop, field, wire_type)
            continue
        at, s2c_stop = read_length(source, at, stop)
        while at < s2c_stop:
            field, wire_type, at = read_tag(source, at, s2c_stop)
            if field != 2 or wire_type != LENGTH_DELIMITED:
                at = skip_value(source, at, s2c_stop, field, wire_type)
                continue
            at, end = read_length(source, at, s2c_stop)
            seen = 0
            time_at, time_end = np.int64(0), np.int64(0)
            sequence, direction, shares = np.int64(0), np.int64(0), 0.0
            price, turnover, received, stamp, precise_shares = 0.0, 0.0, 0.0, 0.0, 0.0
            trade_type, sign, push_type, has_precise = np.int64(0), np.int64(0), np.int64(0), False
            while at < end:
                field, wire_type, at = read_tag(source, at, end)
                if at == MALFORMED:
                    return TRUNCATED_MESSAGE, row, note, -1
                if field == 1 and wire_type == LENGTH_DELIMITED:
                    time_at, time_end = read_length(source, at, end)
                    at = time_end
                    seen |= _TIME_SEEN
                elif wire_type == VARINT and field <= 10:
                    value, at = call_read_varint(source, at)
                    if field == 2:
                        sequence = np.int64(value)
                        seen |= _SEQUENCE_SEEN
                    elif field == 3:
                        direction = int32_of(value)
                        seen |= _DIRECTION_SEEN
                    elif field == 5:
                        shares = np.float64(np.int64(value))
                        seen |= _VOLUME_SEEN
                    elif field == 8:
                        trade_type = int32_of(value)
                    elif field == 9:
                        sign = int32_of(value)
                    elif field == 10:
                        push_type = int32_of(value)
                elif wire_type == FIXED64 and field <= 12:
                    number = load_f64(source, at)
                    at += 8
                    if field == 4:
                        price = number
                        seen |= _PRICE_SEEN
                    elif field == 6:
                        turnover = number
                        seen |= _TURNOVER_SEEN
                    elif field == 7:
                        received = number
                    elif field == 11:
                        stamp = number
                    elif field == 12:
                        precise_shares, has_precise = number, True
                else:
                    at = skip_value(source, at, end, field, wire_type)
                if at == MALFORMED or at > end:
                    return TRUNCATED_MESSAGE, row, note, -1
            reason = FIELD_MISSING
            if seen == _ALL_SEEN:
                reason = _put_tick_called(
                    source, time_at, time_end - time_at, sequence, direction, price,
                    precise_shares if has_precise else shares, turnover, received, trade_type, sign, push_type,
                    stamp, market, symbol, pulled, recv_ns, gateway, row, wide, real, narrow, small, counters,
                    markets, changes, cached_changes, us_days, minutes,
                )  # fmt: skip
            if reason == NO_REASON:
                row += 1
            elif note >= len(notes) - 1:
                return TOO_MANY_BAD_TICKS, row, note, -1
            else:
                _note_tick(notes, note, frame_at, frame_bytes, proto_id, serial, symbol, reason, index)
                note += 1
            index += 1
    return _DECODED, row, note, symbol


@kernel
def decode_frames(
    source: NDArray[np.uint8],
    start: int,
    stop: int,
    body_bytes_max: int,
    checks_sha1: bool,
    recv_ns: int,
    gateway: int,
    row: int,
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    narrow: NDArray[np.int32],
    small: NDArray[np.uint8],
    notes: NDArray[np.int64],
    counters: NDArray[np.int64],
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    arena: NDArray[np.uint8],
    used: NDArray[np.int64],
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
    minutes: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Read whole frames of source[start:stop] until they end, or until there is no more room.

    Parameters
    ----------
    source : (n,) uint8 with n >= stop + PAD_BYTES
        Read only; may end inside a frame, which is then left for the next call.
    body_bytes_max : a longer body stops the scan with FRAME_TOO_LARGE
    recv_ns : receive time of these bytes, unix ns, written to every row
    gateway : small id written to every row
    row : first free row of the blocks
    wide, real, narrow, small : the blocks of a TickBuffer, written from `row` on
    notes : (n, NOTE_WIDTH) int64, written from 0 on; see codec/opend/notes.py
    counters : (COUNTERS,) int64, added to
    slots, entries, arena, used : the arrays of a SymbolTable
    markets, changes, cached_changes, us_days : the arrays of a MarketClock
    minutes : the minute cache of this decoder

    Returns
    -------
    status : ALL_READ, ROWS_FULL, NOTES_FULL, BAD_MAGIC, FRAME_TOO_LARGE or JSON_TICKS
        The last means that the last note is of ticks in JSON, to be read before what follows them.
    consumed : position behind the last frame that was dealt with; of the one at fault for BAD_MAGIC and
        FRAME_TOO_LARGE
    row : next free row
    note : notes written
    """
    at, note = start, 0
    rows_before = row
    status = ALL_READ
    while at + 2 <= stop:
        if np.int64(source[at]) | (np.int64(source[at + 1]) << 8) != MAGIC_WORD:
            status = BAD_MAGIC
            break
        if at + HEADER_BYTES > stop:
            break
        body_bytes = np.int64(load_u32(source, at + BODY_BYTES_AT))
        if body_bytes > body_bytes_max:
            status = FRAME_TOO_LARGE
            break
        body_at = at + HEADER_BYTES
        end = body_at + body_bytes
        if end > stop:
            break
        if note == len(notes):
            status = NOTES_FULL
            break
        proto_id = np.int64(load_u32(source, at + PROTO_ID_AT))
        serial = np.int64(load_u32(source, at + SERIAL_AT))
        frame_bytes = end - at
        outcome = _REFUSED_BY_GATEWAY
        next_row, next_note, symbol = row, note, -1
        disagreements, numbers, unlisted = counters[0], counters[1], counters[2]
        if body_bytes == 0:
            outcome = EMPTY_BODY
        elif checks_sha1 and not sha1_matches(source, body_at, end, at + SHA1_AT):
            outcome = BAD_SHA1
        elif (proto_id == _PUSH or proto_id == _PULL) and source[at + FORMAT_AT] == _PROTOBUF:
            outcome, next_row, next_note, symbol = _decode_usual(
                source, body_at, end, at, frame_bytes, proto_id, serial, proto_id == _PULL, recv_ns, gateway,
                row, note, wide, real, narrow, small, notes, counters, slots, entries, arena, used, markets,
                changes, cached_changes, us_days, minutes,
            )  # fmt: skip
            if outcome == _NOT_AS_USUAL:
                counters[0], counters[1], counters[2] = disagreements, numbers, unlisted
                outcome, next_row, next_note, symbol = _decode_general(
                    source, body_at, end, at, frame_bytes, proto_id, serial, proto_id == _PULL, recv_ns, gateway,
                    row, note, wide, real, narrow, small, notes, counters, slots, entries, arena, used, markets,
                    changes, cached_changes, us_days, minutes,
                )  # fmt: skip
            if outcome != _DECODED:
                counters[0], counters[1], counters[2] = disagreements, numbers, unlisted
            if outcome == _NO_ROOM and row > 0:
                status = ROWS_FULL
                break
            if outcome == _NO_ROOM:
                outcome = TOO_MANY_TICKS
            if outcome == TOO_MANY_BAD_TICKS and note > 0:
                status = NOTES_FULL
                break
        if outcome == _DECODED:
            if proto_id == _PULL:
                notes[next_note, KIND] = PULLED
                notes[next_note, REASON] = NO_REASON
            row, note = next_row, next_note
        elif outcome == _REFUSED_BY_GATEWAY:
            next_row = row
            notes[note, KIND] = CONTROL
            notes[note, REASON] = NO_REASON
        else:
            next_row = row
            notes[note, KIND] = REFUSED_FRAME
            notes[note, REASON] = outcome
        if outcome != _DECODED or proto_id == _PULL:
            notes[note, FRAME_AT] = at
            notes[note, FRAME_BYTES] = frame_bytes
            notes[note, PROTO_ID] = proto_id
            notes[note, SERIAL] = serial
            notes[note, BODY_FORMAT] = source[at + FORMAT_AT]
            notes[note, FIRST_ROW] = rows_before
            notes[note, ROWS] = next_row - rows_before
            notes[note, SYMBOL] = symbol
            note += 1
            if (
                outcome == _REFUSED_BY_GATEWAY
                and source[at + FORMAT_AT] == _JSON
                and (proto_id == _PUSH or proto_id == _PULL)
            ):
                status = JSON_TICKS
                at = end
                break
        rows_before = row
        at = end
    return status, at, row, note
