"""LongPort's capital-flow replies (cmd 24) to columns.

A body is tried twice, as codec/longport/trades.py does it: as real senders write it, then by the
general walk, which alone judges what is wrong.

Rule 1: a reply's rows are kept all together or not at all; a refused line leaves a note instead.
Rule 2: nothing is read behind `stop + PAD_BYTES`, and nothing behind a message's end is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at, put
from codec.clock import UTC_S_MAX, UTC_S_MIN
from codec.decimal_text import call_read_decimal, read_decimal
from codec.flow_columns import (
    FLOW_GATEWAY_ID,
    FLOW_SYMBOL_ID,
    FLOW_TRADE_DATE,
    FLOW_TS_EVENT_US,
    FLOW_TS_RECV_NS,
    INFLOWS,
    INTRADAY,
    NET,
    PERIOD_CODE,
)
from codec.kernel import inlined, kernel
from codec.longport.notes import (
    BAD_SYMBOL,
    INFLOW_UNREADABLE,
    NO_REASON,
    TIMESTAMP_UNREADABLE,
    TOO_MANY_BAD_LINES,
    TOO_MANY_LINES,
    TOO_MANY_SYMBOLS,
    TRUNCATED_MESSAGE,
)
from codec.longport.wire import SECOND_US, survey, trade_day_at
from codec.longport.wire_symbols import intern_symbol
from codec.symbols import BAD_CODE
from codec.wire import (
    LENGTH_DELIMITED,
    MALFORMED,
    VARINT,
    call_read_varint,
    read_length,
    read_tag,
    read_varint,
    skip_value,
)

# Outcomes of a reply beside the reasons of codec/longport/notes.py, which are positive.
DECODED, _NOT_AS_USUAL, NO_ROOM = 0, -1, -2

_LINES_FIELD = 2

# Columns of a line's note.
LINE_REASON, LINE_INDEX = range(2)
LINE_NOTES_MAX = 1024
"""The most bad lines of one reply; one with more is refused whole."""


def new_line_notes() -> NDArray[np.int64]:
    """(LINE_NOTES_MAX, 2) int64."""
    return np.zeros((LINE_NOTES_MAX, 2), np.int64)


def _put_line(
    net, stamp, market, symbol, recv_ns, gateway, row, wide, real, narrow, small, markets, changes, cached_changes,
    us_days, days,
):  # fmt: skip
    """Check one line's values and write them to `row`; returns NO_REASON, or why the line is refused."""
    if np.isnan(net):
        return INFLOW_UNREADABLE
    if stamp < UTC_S_MIN or stamp >= UTC_S_MAX:
        return TIMESTAMP_UNREADABLE
    put(wide, FLOW_TS_EVENT_US, row, stamp * SECOND_US)
    put(wide, FLOW_TS_RECV_NS, row, recv_ns)
    put(real, NET, row, net)
    for amount in range(NET + 1, INFLOWS):
        put(real, amount, row, np.nan)
    put(narrow, FLOW_SYMBOL_ID, row, symbol)
    trade_day = trade_day_at(stamp, market, markets, changes, cached_changes, us_days, days)
    put(narrow, FLOW_TRADE_DATE, row, trade_day)
    put(small, PERIOD_CODE, row, INTRADAY)
    put(small, FLOW_GATEWAY_ID, row, gateway)
    return NO_REASON


_put_line_inlined = inlined(_put_line)
_put_line_called = kernel(_put_line)


@inlined
def _note_line(notes, note, reason, index):
    notes[note, LINE_REASON] = reason
    notes[note, LINE_INDEX] = index


@inlined
def _decode_usual(
    source, at, stop, recv_ns, gateway, row, wide, real, narrow, small, notes, short, slots, entries, arena, used,
    markets, changes, cached_changes, us_days, days,
):  # fmt: skip
    """The body source[at:stop] as real senders write it: (outcome, next row, notes, symbol).

    Whatever is wrong is left to the general walk to judge: the outcome is DECODED or _NOT_AS_USUAL.
    """
    note = np.int64(0)
    size = byte_at(source, at + 1)
    symbol_at = at + 2
    at = symbol_at + size
    if byte_at(source, symbol_at - 2) != 0x0A or size >= 0x80 or at > stop:
        return _NOT_AS_USUAL, row, note, -1
    market, symbol = intern_symbol(source, symbol_at, at, short, slots, entries, arena, used)
    if symbol < 0:
        return _NOT_AS_USUAL, row, note, -1
    index = np.int64(0)
    lines_max = wide.shape[1] - row
    while at < stop:
        # 12 <size> 0a <size> <decimal> 10 <seconds>
        end = at + 2 + byte_at(source, at + 1)
        text_bytes = byte_at(source, at + 3)
        text_at = at + 4
        text_stop = text_at + text_bytes
        if (
            byte_at(source, at) != 0x12
            or end - at >= 0x82
            or byte_at(source, at + 2) != 0x0A
            or text_bytes >= 0x80
            or end > stop
            or text_stop >= end
            or byte_at(source, text_stop) != 0x10
            or index == lines_max
        ):
            return _NOT_AS_USUAL, row, note, -1
        stamp, at = read_varint(source, text_stop + 1)
        if at != end:
            return _NOT_AS_USUAL, row, note, -1
        reason = _put_line_inlined(
            read_decimal(source, text_at, text_stop), np.int64(stamp), market, symbol, recv_ns, gateway, row, wide,
            real, narrow, small, markets, changes, cached_changes, us_days, days,
        )  # fmt: skip
        if reason == NO_REASON:
            row += 1
        elif note == len(notes):
            return _NOT_AS_USUAL, row, note, -1
        else:
            _note_line(notes, note, reason, index)
            note += 1
        index += 1
    return DECODED, row, note, symbol


@kernel
def _decode_general(
    source, at, stop, recv_ns, gateway, row, wide, real, narrow, small, notes, short, slots, entries, arena, used,
    markets, changes, cached_changes, us_days, days,
):  # fmt: skip
    """The body source[at:stop] as any legal protobuf: (outcome, next row, notes, symbol)."""
    note = np.int64(0)
    symbol_at, symbol_stop, _, lines = survey(source, at, stop, _LINES_FIELD)
    if symbol_at == MALFORMED:
        return TRUNCATED_MESSAGE, row, note, -1
    if lines > wide.shape[1]:
        return TOO_MANY_LINES, row, note, -1
    if row + lines > wide.shape[1]:
        return NO_ROOM, row, note, -1
    market, symbol = intern_symbol(source, symbol_at, symbol_stop, short, slots, entries, arena, used)
    if symbol < 0:
        return (BAD_SYMBOL if symbol == BAD_CODE else TOO_MANY_SYMBOLS), row, note, -1
    index = np.int64(0)
    while at < stop:
        tag, at = read_tag(source, at, stop)
        field, wire_type = tag >> 3, tag & 7
        if field != _LINES_FIELD or wire_type != LENGTH_DELIMITED:
            at = skip_value(source, at, stop, tag)
            continue
        at, end = read_length(source, at, stop)
        text_at, text_stop, stamp = np.int64(0), np.int64(0), np.int64(0)
        while at < end:
            tag, at = read_tag(source, at, end)
            field, wire_type = tag >> 3, tag & 7
            if at == MALFORMED:
                return TRUNCATED_MESSAGE, row, note, -1
            if field == 1 and wire_type == LENGTH_DELIMITED:
                text_at, text_stop = read_length(source, at, end)
                at = text_stop
            elif field == 2 and wire_type == VARINT:
                value, at = call_read_varint(source, at)
                stamp = np.int64(value)
            else:
                at = skip_value(source, at, end, tag)
            if at == MALFORMED or at > end:
                return TRUNCATED_MESSAGE, row, note, -1
        reason = _put_line_called(
            call_read_decimal(source, text_at, text_stop), stamp, market, symbol, recv_ns, gateway, row, wide, real,
            narrow, small, markets, changes, cached_changes, us_days, days,
        )  # fmt: skip
        if reason == NO_REASON:
            row += 1
        elif note == len(notes):
            return TOO_MANY_BAD_LINES, row, note, -1
        else:
            _note_line(notes, note, reason, index)
            note += 1
        index += 1
    return DECODED, row, note, symbol


@kernel
def decode_flow_reply(
    source: NDArray[np.uint8],
    start: int,
    stop: int,
    recv_ns: int,
    gateway: int,
    row: int,
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    narrow: NDArray[np.int32],
    small: NDArray[np.uint8],
    notes: NDArray[np.int64],
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
) -> tuple[int, int, int, int]:
    """Read the lines of one reply's body, source[start:stop].

    Parameters
    ----------
    source : (n,) uint8 with n >= stop + PAD_BYTES; read only
    recv_ns, gateway : receive time, unix ns, and the gateway's small id, written to every row
    row : first free row of the blocks
    wide, real, narrow, small : the blocks of a FlowBuffer, written from `row` on
    notes : (n, 2) int64, LINE_REASON and LINE_INDEX of each refused line
    short, slots, entries, arena, used : the arrays of a SymbolTable
    markets, changes, cached_changes, us_days : the arrays of a MarketClock
    days : the day cache of this decoder

    Returns
    -------
    outcome : DECODED, NO_ROOM (empty the buffer and call again), or a reason
    row : next free row; unchanged unless DECODED
    note : notes written; 0 unless DECODED
    symbol : id of the reply's symbol; -1 unless DECODED
    """
    outcome, next_row, note, symbol = _decode_usual(
        source, start, stop, recv_ns, gateway, row, wide, real, narrow, small, notes, short, slots, entries, arena,
        used, markets, changes, cached_changes, us_days, days,
    )  # fmt: skip
    if outcome == _NOT_AS_USUAL:
        outcome, next_row, note, symbol = _decode_general(
            source, start, stop, recv_ns, gateway, row, wide, real, narrow, small, notes, short, slots, entries, arena,
            used, markets, changes, cached_changes, us_days, days,
        )  # fmt: skip
    if outcome != DECODED:
        return outcome, row, 0, -1
    return DECODED, next_row, note, symbol
