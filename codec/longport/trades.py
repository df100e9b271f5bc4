"""LongPort trades (push 104 and replies to cmd 17) to the columns of ticks.

One call reads many packets. A body is tried twice: first as real senders write it, fields in number
order, one-byte tags, zeros left out; when anything differs, again by the general walk, which takes
any legal protobuf: fields in any order, repeated, unknown.

Rule 1: a packet's rows are kept all together or not at all; a refused trade leaves a note instead,
and its place in the push stays empty.
Rule 2: nothing is read behind `stop + PAD_BYTES`, and nothing behind a message's end is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at, put
from codec.clock import UTC_S_MAX, UTC_S_MIN
from codec.columns import (
    CONDITION_ID,
    DELIVERY_CODE,
    DIRECTION,
    GATEWAY_ID,
    NULL_TIME,
    ORDINAL,
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
from codec.conditions import CONDITION_CHARACTERS, NO_CONDITION_ID, condition_id
from codec.decimal_text import call_read_decimal, read_decimal
from codec.kernel import inlined, kernel
from codec.longport.notes import (
    ALL_READ,
    BAD_PACKET_TYPE,
    BAD_SYMBOL,
    BODY_AT,
    BODY_BYTES,
    COMMAND,
    COMPRESSED,
    CONDITION_REFUSED,
    CONTROL,
    DETAIL,
    EMPTY_BODY,
    FIRST_ROW,
    KIND,
    NO_REASON,
    NOTES_FULL,
    PACKET_AT,
    PACKET_BYTES,
    PACKET_TOO_LARGE,
    PACKET_TYPE,
    PRICE_UNREADABLE,
    PULLED,
    REASON,
    REFUSED_PACKET,
    REFUSED_TRADE,
    REQUEST_ID,
    ROWS,
    ROWS_FULL,
    STATUS_CODE,
    SYMBOL,
    TIMESTAMP_UNREADABLE,
    TOO_MANY_BAD_TRADES,
    TOO_MANY_SYMBOLS,
    TOO_MANY_TRADES,
    TRUNCATED_MESSAGE,
    TURNOVER_NOT_FINITE,
    UNLISTED_NUMBERS,
)
from codec.longport.packets import body_bytes, header_bytes, request_id, trailer_bytes
from codec.longport.protocol import COMPRESSED_BIT, TYPE_BITS, Command, PacketType
from codec.longport.wire import SECOND_US, survey, trade_day_at
from codec.longport.wire_symbols import SUFFIX_BYTES, intern_symbol, market_of
from codec.symbols import BAD_CODE, look_up
from codec.tables import DELIVERY, SESSION
from codec.tables import DIRECTION as DIRECTIONS
from codec.wire import (
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

_PUSH_TRADE, _QUERY_TRADE = int(Command.PUSH_TRADE), int(Command.QUERY_TRADE)
_PUSH, _RESPONSE = int(PacketType.PUSH), int(PacketType.RESPONSE)
_STATUS_AT = 6
_PUSHED_FIELD, _PULLED_FIELD = 3, 2
"""Where the trades are in PushTrade and in SecurityTradeResponse."""
_DELIVERY_PULL, _DELIVERY_REALTIME = DELIVERY.code("pull"), DELIVERY.code("realtime")

# LongPort's numbers run against ours, or beside them.
_DIRECTION_LAST, _SESSION_LAST = 2, 3
assert [DIRECTIONS.code(word) for word in ("neutral", "sell", "buy")] == [3 - sent for sent in range(3)]
assert [SESSION.code(word) for word in ("regular", "pre", "post", "overnight")] == [sent + 1 for sent in range(4)]

# Outcomes of a body beside the reasons of codec/longport/notes.py, which are positive.
_DECODED, _NOT_AS_USUAL, _NO_TRADES, _NO_ROOM = 0, -1, -2, -3


def _put_trade(
    price, volume, stamp, condition, direction, session, market, symbol, sequence, ordinal,
    pulled, recv_ns, gateway, row, wide, real, narrow, small, counters, markets, changes, cached_changes, us_days, days,
):  # fmt: skip
    """Check one trade's values and write them to `row`; returns NO_REASON, or why the trade is refused."""
    if stamp < UTC_S_MIN or stamp >= UTC_S_MAX:
        return TIMESTAMP_UNREADABLE
    if condition == NO_CONDITION_ID:
        return CONDITION_REFUSED
    shares = np.float64(volume)
    turnover = price * shares
    if not np.isfinite(turnover):
        return PRICE_UNREADABLE if np.isnan(price) else TURNOVER_NOT_FINITE
    trade_day = trade_day_at(stamp, market, markets, changes, cached_changes, us_days, days)
    if direction < 0 or direction > _DIRECTION_LAST:
        counters[UNLISTED_NUMBERS] += 1
        direction = np.int64(3)
    if session < 0 or session > _SESSION_LAST:
        counters[UNLISTED_NUMBERS] += 1
        session = np.int64(-1)
    put(wide, TS_EVENT_US, row, stamp * SECOND_US)
    put(wide, SEQUENCE, row, sequence)
    put(wide, TS_GATEWAY_US, row, np.int64(NULL_TIME))
    put(wide, TS_RECV_NS, row, recv_ns)
    put(real, PRICE, row, price)
    put(real, VOLUME, row, shares)
    put(real, TURNOVER, row, turnover)
    put(narrow, SYMBOL_ID, row, symbol)
    put(narrow, TRADE_DATE, row, trade_day)
    put(narrow, CONDITION_ID, row, condition)
    put(narrow, ORDINAL, row, ordinal)
    put(small, DIRECTION, row, 3 - direction)
    put(small, TRADE_TYPE, row, 0)
    put(small, SESSION_CODE, row, session + 1)
    put(small, DELIVERY_CODE, row, _DELIVERY_PULL if pulled else _DELIVERY_REALTIME)
    put(small, GATEWAY_ID, row, gateway)
    return NO_REASON


_put_trade_inlined = inlined(_put_trade)
_put_trade_called = kernel(_put_trade)
"""For the general walk, where a second copy of the body takes seconds to compile and wins nothing."""


@inlined
def _note_trade(notes, note, symbol, reason, index):
    """The packet's own columns are filled in by `decode_packets`."""
    notes[note, KIND] = REFUSED_TRADE
    notes[note, SYMBOL] = symbol
    notes[note, REASON] = reason
    notes[note, DETAIL] = index


@inlined
def _decode_usual(
    source, at, stop, pulled, recv_ns, gateway, row, note, wide, real, narrow, small, notes, counters, short, slots,
    entries, arena, used, markets, changes, cached_changes, us_days, days,
):  # fmt: skip
    """The body source[at:stop] as real senders write it: (outcome, next row, next note, symbol).

    Whatever is wrong is left to the general walk to judge: the outcome is _DECODED or _NOT_AS_USUAL.
    """
    size = byte_at(source, at + 1)
    symbol_at = at + 2
    at = symbol_at + size
    if byte_at(source, symbol_at - 2) != 0x0A or size >= 0x80 or at > stop:
        return _NOT_AS_USUAL, row, note, -1
    market = market_of(source, symbol_at, at)
    if market < 0:
        return _NOT_AS_USUAL, row, note, -1
    symbol = look_up(source, symbol_at, size - SUFFIX_BYTES, market, short, slots, entries, arena)
    if symbol < 0:
        return _NOT_AS_USUAL, row, note, -1
    trade_tag, sequence = 0x12, np.int64(0)
    if not pulled:
        trade_tag = 0x1A
        if byte_at(source, at) != 0x10:
            return _NOT_AS_USUAL, row, note, -1
        word, at = read_varint(source, at + 1)
        if at < 0:
            return _NOT_AS_USUAL, row, note, -1
        sequence = np.int64(word)
    ordinal = np.int64(0)
    ordinal_max = wide.shape[1] - row
    while at < stop:
        size = byte_at(source, at + 1)
        if byte_at(source, at) != trade_tag:
            return _NOT_AS_USUAL, row, note, -1
        at += 2
        if size >= 0x80:
            size = (size & 0x7F) | (byte_at(source, at) << 7)
            if byte_at(source, at) >= 0x80:
                return _NOT_AS_USUAL, row, note, -1
            at += 1
        end = at + size
        price_bytes = byte_at(source, at + 1)
        price_at = at + 2
        at = price_at + price_bytes
        if (
            end > stop
            or ordinal == ordinal_max
            or byte_at(source, price_at - 2) != 0x0A
            or price_bytes >= 0x80
            or at > end
        ):
            return _NOT_AS_USUAL, row, note, -1
        # From here on loads may pass `end`, by less than PAD_BYTES; `at != end` then sends the
        # body to the general walk.
        volume, stamp = np.uint64(0), np.uint64(0)
        condition, direction, session = np.int64(0), np.int64(0), np.int64(0)
        if byte_at(source, at) == 0x10:
            volume, at = read_varint(source, at + 1)
            if at < 0:
                return _NOT_AS_USUAL, row, note, -1
        if byte_at(source, at) == 0x18:
            stamp, at = read_varint(source, at + 1)
            if at < 0:
                return _NOT_AS_USUAL, row, note, -1
        # These three come and go at random, which a branch each cannot foresee.
        has = np.int64(byte_at(source, at) == 0x22)
        condition = byte_at(source, at + 2) * has
        wrong = np.int64(byte_at(source, at + 1) != 1) & has
        wrong |= np.int64(condition >= CONDITION_CHARACTERS) | (np.int64(condition == 0) & has)
        at += 3 * has
        has = np.int64(byte_at(source, at) == 0x28)
        direction = byte_at(source, at + 1) * has
        at += 2 * has
        has = np.int64(at < end) & np.int64(byte_at(source, at) == 0x30)
        session = byte_at(source, at + 1) * has
        at += 2 * has
        wrong |= (direction | session) & 0x80
        if at != end or wrong != 0:
            return _NOT_AS_USUAL, row, note, -1
        reason = _put_trade_inlined(
            read_decimal(source, price_at, price_at + price_bytes), np.int64(volume), np.int64(stamp), condition,
            direction, session, market, symbol, sequence, ordinal, pulled, recv_ns, gateway, row, wide, real, narrow,
            small, counters, markets, changes, cached_changes, us_days, days,
        )  # fmt: skip
        if reason == NO_REASON:
            row += 1
        elif note >= len(notes) - 1:  # the last is kept for the packet's own note
            return _NOT_AS_USUAL, row, note, -1
        else:
            _note_trade(notes, note, symbol, reason, ordinal)
            note += 1
        ordinal += 1
    if at != stop:
        return _NOT_AS_USUAL, row, note, -1
    return _DECODED, row, note, symbol


@kernel
def _decode_general(
    source, at, stop, pulled, recv_ns, gateway, row, note, wide, real, narrow, small, notes, counters, short, slots,
    entries, arena, used, markets, changes, cached_changes, us_days, days, words, words_used,
):  # fmt: skip
    """The body source[at:stop] as any legal protobuf: (outcome, next row, next note, symbol)."""
    trade_field = _PULLED_FIELD if pulled else _PUSHED_FIELD
    symbol_at, symbol_stop, sequence, trades = survey(source, at, stop, trade_field)
    if symbol_at == MALFORMED:
        return TRUNCATED_MESSAGE, row, note, -1
    if pulled:
        sequence = np.int64(0)  # the reply has no such field: what stands there is unknown
    if trades > wide.shape[1]:
        return TOO_MANY_TRADES, row, note, -1
    if row + trades > wide.shape[1]:
        return _NO_ROOM, row, note, -1
    market, symbol = intern_symbol(source, symbol_at, symbol_stop, short, slots, entries, arena, used)
    if symbol < 0:
        return (BAD_SYMBOL if symbol == BAD_CODE else TOO_MANY_SYMBOLS), row, note, -1
    ordinal = np.int64(0)
    while at < stop:
        tag, at = read_tag(source, at, stop)
        field, wire_type = tag >> 3, tag & 7
        if field != trade_field or wire_type != LENGTH_DELIMITED:
            at = skip_value(source, at, stop, tag)
            continue
        at, end = read_length(source, at, stop)
        price_at, price_stop = np.int64(0), np.int64(0)
        word_at, word_stop = np.int64(0), np.int64(0)
        volume, stamp, direction, session = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        while at < end:
            tag, at = read_tag(source, at, end)
            field, wire_type = tag >> 3, tag & 7
            if at == MALFORMED:
                return TRUNCATED_MESSAGE, row, note, -1
            if field == 1 and wire_type == LENGTH_DELIMITED:
                price_at, price_stop = read_length(source, at, end)
                at = price_stop
            elif field == 4 and wire_type == LENGTH_DELIMITED:
                word_at, word_stop = read_length(source, at, end)
                at = word_stop
            elif wire_type == VARINT and field <= 6:
                value, at = call_read_varint(source, at)
                if field == 2:
                    volume = np.int64(value)
                elif field == 3:
                    stamp = np.int64(value)
                elif field == 5:
                    direction = int32_of(value)
                elif field == 6:
                    session = int32_of(value)
            else:
                at = skip_value(source, at, end, tag)
            if at == MALFORMED or at > end:
                return TRUNCATED_MESSAGE, row, note, -1
        condition = condition_id(source, word_at, word_stop - word_at, words, words_used)
        reason = _put_trade_called(
            call_read_decimal(source, price_at, price_stop), volume, stamp, condition, direction, session, market,
            symbol, sequence, ordinal, pulled, recv_ns, gateway, row, wide, real, narrow, small, counters, markets,
            changes, cached_changes, us_days, days,
        )  # fmt: skip
        if reason == NO_REASON:
            row += 1
        elif note >= len(notes) - 1:
            return TOO_MANY_BAD_TRADES, row, note, -1
        else:
            _note_trade(notes, note, symbol, reason, ordinal)
            note += 1
        ordinal += 1
    return _DECODED, row, note, symbol


@kernel
def decode_packets(
    source: NDArray[np.uint8],
    start: int,
    stop: int,
    body_bytes_max: int,
    inflated_bytes: int,
    takes_pulls: bool,
    recv_ns: int,
    gateway: int,
    row: int,
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    narrow: NDArray[np.int32],
    small: NDArray[np.uint8],
    notes: NDArray[np.int64],
    counters: NDArray[np.int64],
    short: NDArray[np.uint8],
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    arena: NDArray[np.uint8],
    used: NDArray[np.int64],
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
    days: NDArray[np.int64],
    words: NDArray[np.uint64],
    words_used: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Read whole packets of source[start:stop] until they end, or until there is no more room.

    Parameters
    ----------
    source : (n,) uint8 with n >= stop + PAD_BYTES
        Read only; may end inside a packet, which is then left for the next call.
    body_bytes_max : a longer body stops the scan with PACKET_TOO_LARGE
    inflated_bytes : -1; or source[start:stop] is the header of one compressed packet with its body
        inflated to so many bytes
    takes_pulls : whether the trades of replies to QueryTrade become rows; else these replies are CONTROL
    recv_ns : receive time of these bytes, unix ns, written to every row
    gateway : small id written to every row
    row : first free row of the blocks
    wide, real, narrow, small : the blocks of a TickBuffer, written from `row` on; trades without a
        sequence of their own get 0
    notes : (n, NOTE_WIDTH) int64, written from 0 on; see codec/longport/notes.py
    counters : (COUNTERS,) int64, added to
    short, slots, entries, arena, used : the arrays of a SymbolTable
    markets, changes, cached_changes, us_days : the arrays of a MarketClock
    days : the day cache of this decoder
    words, words_used : the arrays of a ConditionTable

    Returns
    -------
    status : ALL_READ, ROWS_FULL, NOTES_FULL, BAD_PACKET_TYPE, PACKET_TOO_LARGE or COMPRESSED
    consumed : position behind the last packet that was dealt with; of the one in question for the last three
    row : next free row
    note : notes written
    """
    at, note = start, np.int64(0)  # a plain 0 is a type of its own, compiled once more
    status = ALL_READ
    while at < stop:
        header = header_bytes(source, at)
        if header == 0:
            status = BAD_PACKET_TYPE
            break
        body_at = at + header
        if body_at > stop:
            break
        size = body_bytes(source, body_at)
        if size > body_bytes_max:
            status = PACKET_TOO_LARGE
            break
        body_stop = body_at + size
        end = body_stop + trailer_bytes(source, at)
        if inflated_bytes >= 0:
            body_stop = body_at + inflated_bytes
            end = body_stop
        if end > stop:
            break
        if note == len(notes):
            status = NOTES_FULL
            break
        first = byte_at(source, at)
        if first & COMPRESSED_BIT and inflated_bytes < 0:
            status = COMPRESSED
            break
        kind, command = first & TYPE_BITS, byte_at(source, at + 1)
        pulled = takes_pulls and kind == _RESPONSE and command == _QUERY_TRADE and byte_at(source, at + _STATUS_AT) == 0
        outcome = _NO_TRADES
        next_row, next_note, symbol = row, note, -1
        if (kind == _PUSH and command == _PUSH_TRADE) or pulled:
            unlisted = counters[UNLISTED_NUMBERS]
            outcome = EMPTY_BODY
            if body_stop > body_at:
                outcome, next_row, next_note, symbol = _decode_usual(
                    source, body_at, body_stop, pulled, recv_ns, gateway, row, note, wide, real, narrow, small, notes,
                    counters, short, slots, entries, arena, used, markets, changes, cached_changes, us_days, days,
                )  # fmt: skip
            if outcome == _NOT_AS_USUAL:
                counters[UNLISTED_NUMBERS] = unlisted
                outcome, next_row, next_note, symbol = _decode_general(
                    source, body_at, body_stop, pulled, recv_ns, gateway, row, note, wide, real, narrow, small, notes,
                    counters, short, slots, entries, arena, used, markets, changes, cached_changes, us_days, days,
                    words, words_used,
                )  # fmt: skip
            if outcome != _DECODED:
                counters[UNLISTED_NUMBERS] = unlisted
                if outcome == _NO_ROOM:
                    status = ROWS_FULL
                    break
                if outcome == TOO_MANY_BAD_TRADES and note > 0:
                    status = NOTES_FULL
                    break
        if outcome != _DECODED or pulled or next_note > note:
            note = _note_packet(
                notes, note, next_note, outcome, pulled, at, end, body_at, body_stop, kind, command,
                request_id(source, at), byte_at(source, at + _STATUS_AT), row, next_row, symbol,
            )  # fmt: skip
        if outcome == _DECODED:
            row = next_row
        at = end
    return status, at, row, note


@kernel
def _note_packet(
    notes, note, next_note, outcome, pulled, at, end, body_at, body_stop, kind, command, number, status_code, row,
    next_row, symbol,
):  # fmt: skip
    """Write the packet's own note behind those of its trades, if it has one, and its columns in all of them.

    Returns the next note.
    """
    begin = note
    if outcome != _DECODED:
        notes[note, KIND] = CONTROL if outcome == _NO_TRADES else REFUSED_PACKET
        notes[note, REASON] = NO_REASON if outcome == _NO_TRADES else outcome
        notes[note, SYMBOL] = -1
        next_row = row
        note += 1
    else:
        note = next_note
        if pulled:
            notes[note, KIND] = PULLED
            notes[note, REASON] = NO_REASON
            notes[note, SYMBOL] = symbol
            note += 1
    for i in range(begin, note):
        notes[i, PACKET_AT] = at
        notes[i, PACKET_BYTES] = end - at
        notes[i, PACKET_TYPE] = kind
        notes[i, COMMAND] = command
        notes[i, REQUEST_ID] = number if kind != _PUSH else 0
        notes[i, STATUS_CODE] = status_code if kind == _RESPONSE else 0
        notes[i, BODY_AT] = body_at
        notes[i, BODY_BYTES] = body_stop - body_at
        notes[i, FIRST_ROW] = row
        notes[i, ROWS] = next_row - row
    return note
