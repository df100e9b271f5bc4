"""OpenD's capital-flow replies (3211, protobuf bodies) to columns.

First the lines are found, then each is read. Both are tried as real senders write it, fields in
number order and one-byte tags; what differs is read again by a general walk, which takes any legal
protobuf and alone judges what is wrong.

Rule 1: a reply's rows are kept all together or not at all; a refused line leaves a note instead.
Rule 2: nothing is read behind `stop + PAD_BYTES`, and nothing behind a message's end is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import byte_at, load_f64
from codec.clock import MARKET_NUMBERS_MAX, ZONE
from codec.kernel import inlined, kernel
from codec.opend.flow_lines import (
    LARGE_SENT,
    MAIN_SENT,
    MEDIUM_SENT,
    NET_SENT,
    SMALL_SENT,
    SUPER_SENT,
    put_line,
)
from codec.opend.notes import (
    NO_REASON,
    NO_RETURN_TYPE,
    TIME_DISAGREEMENTS,
    TOO_MANY_BAD_LINES,
    TOO_MANY_LINES,
    TRUNCATED_MESSAGE,
    UNLISTED_MARKETS,
)
from codec.opend.text_time import MILLISECOND_BYTES
from codec.wire import (
    FIXED64,
    LENGTH_DELIMITED,
    MALFORMED,
    VARINT,
    call_read_varint,
    read_length,
    read_tag,
    read_varint,
    skip_value,
)

# Outcomes of a reply beside the reasons of codec/opend/notes.py, which are positive.
DECODED, _NOT_AS_USUAL, REFUSED_BY_GATEWAY, NO_ROOM = 0, -1, -2, -3

# Columns of a line's note.
LINE_REASON, LINE_INDEX = range(2)
LINE_NOTES_MAX = 1024
"""The most bad lines of one reply; one with more is refused whole."""


def new_line_notes() -> NDArray[np.int64]:
    """(LINE_NOTES_MAX, 2) int64."""
    return np.zeros((LINE_NOTES_MAX, 2), np.int64)


@inlined
def _find_lines_usual(source, at, stop, spans):
    """The spans of the lines of a body as real senders write it: their number, or _NOT_AS_USUAL.

    The lines themselves are not looked at.
    """
    if byte_at(source, at) != 0x08 or byte_at(source, at + 1) != 0x00:
        return _NOT_AS_USUAL
    at += 2
    if byte_at(source, at) == 0x12 and byte_at(source, at + 1) == 0x00:  # an empty retMsg
        at += 2
    if byte_at(source, at) == 0x18 and byte_at(source, at + 1) == 0x00:  # errCode 0
        at += 2
    if byte_at(source, at) != 0x22:
        return _NOT_AS_USUAL
    length, at = read_varint(source, at + 1)
    if at < 0 or at > stop or length != np.uint64(stop - at):
        return _NOT_AS_USUAL
    lines = 0
    while at < stop and byte_at(source, at) == 0x0A:
        begin = at + 2
        at = begin + byte_at(source, at + 1)
        if at - begin >= 0x80 or lines == len(spans):
            return _NOT_AS_USUAL
        spans[lines, 0] = begin
        spans[lines, 1] = at
        lines += 1
    if at < stop and byte_at(source, at) == 0x12:  # lastValidTime
        _, at = read_length(source, at + 1, stop)
        if at == MALFORMED:
            return _NOT_AS_USUAL
    if at < stop and byte_at(source, at) == 0x19:  # lastValidTimestamp
        at += 9
    return lines if at == stop else _NOT_AS_USUAL


@kernel
def _find_lines(source, at, stop, spans):
    """The spans of the lines of any legal Response: (outcome, lines).

    Merged as protobuf merges: the last scalar wins, lines of several s2c add up.
    """
    returned, has_returned, lines = np.uint64(0), False, 0
    while at < stop:
        tag, at = read_tag(source, at, stop)
        field, wire_type = tag >> 3, tag & 7
        if at == MALFORMED:
            return TRUNCATED_MESSAGE, lines
        begin = at
        at = skip_value(source, at, stop, tag)
        if at == MALFORMED:
            return TRUNCATED_MESSAGE, lines
        if field == 1 and wire_type == VARINT:
            returned, _ = call_read_varint(source, begin)
            has_returned = True
        elif field == 4 and wire_type == LENGTH_DELIMITED:
            at, s2c_stop = read_length(source, begin, stop)
            while at < s2c_stop:
                tag, at = read_tag(source, at, s2c_stop)
                field, wire_type = tag >> 3, tag & 7
                if at == MALFORMED:
                    return TRUNCATED_MESSAGE, lines
                begin = at
                at = skip_value(source, at, s2c_stop, tag)
                if at == MALFORMED:
                    return TRUNCATED_MESSAGE, lines
                if field == 1 and wire_type == LENGTH_DELIMITED:
                    if lines < len(spans):
                        spans[lines, 0], spans[lines, 1] = read_length(source, begin, s2c_stop)
                    lines += 1
    if not has_returned:
        return NO_RETURN_TYPE, lines
    # retType is an int32: what is above its 32 bits does not count.
    if returned & np.uint64(0xFFFFFFFF) != np.uint64(0):
        return REFUSED_BY_GATEWAY, lines
    return (DECODED if lines <= len(spans) else TOO_MANY_LINES), lines


@inlined
def _read_line_usual(source, at, end):
    """The fields of the line source[at:end] as real senders write it, or `sent` _NOT_AS_USUAL.

    Loads may pass `end`, by less than PAD_BYTES; a line that does not end at `end` is not as usual.
    """
    time_bytes = byte_at(source, at + 10)
    sent, time_at = NET_SENT, at + 11
    net, stamp, main, super_, large, medium, small_orders = load_f64(source, at + 1), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if byte_at(source, at) != 0x09 or byte_at(source, at + 9) != 0x12 or time_bytes > MILLISECOND_BYTES:
        sent, time_bytes = _NOT_AS_USUAL, 0
    at = time_at + time_bytes
    if byte_at(source, at) == 0x19:
        stamp = load_f64(source, at + 1)
        at += 9
    if at < end and byte_at(source, at) == 0x21:
        main = load_f64(source, at + 1)
        sent |= MAIN_SENT
        at += 9
    if at < end and byte_at(source, at) == 0x29:
        super_ = load_f64(source, at + 1)
        sent |= SUPER_SENT
        at += 9
    if at < end and byte_at(source, at) == 0x31:
        large = load_f64(source, at + 1)
        sent |= LARGE_SENT
        at += 9
    if at < end and byte_at(source, at) == 0x39:
        medium = load_f64(source, at + 1)
        sent |= MEDIUM_SENT
        at += 9
    if at < end and byte_at(source, at) == 0x41:
        small_orders = load_f64(source, at + 1)
        sent |= SMALL_SENT
        at += 9
    if at != end:
        sent = _NOT_AS_USUAL
    return sent, time_at, time_bytes, stamp, net, main, super_, large, medium, small_orders


@kernel
def _read_line(source, at, end):
    """The fields of the line source[at:end] as any legal protobuf, or `sent` MALFORMED."""
    sent, time_at, time_end = 0, np.int64(0), np.int64(0)
    net, stamp, main, super_, large, medium, small_orders = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    while at < end:
        tag, at = read_tag(source, at, end)
        field, wire_type = tag >> 3, tag & 7
        if at == MALFORMED:
            sent = MALFORMED
            break
        begin = at
        at = skip_value(source, at, end, tag)
        if at == MALFORMED:
            sent = MALFORMED
            break
        if field == 2 and wire_type == LENGTH_DELIMITED:
            time_at, time_end = read_length(source, begin, end)
        elif field <= 8 and wire_type == FIXED64:
            number = load_f64(source, begin)
            sent |= 1 << field
            if field == 1:
                net = number
            elif field == 3:
                stamp = number
            elif field == 4:
                main = number
            elif field == 5:
                super_ = number
            elif field == 6:
                large = number
            elif field == 7:
                medium = number
            elif field == 8:
                small_orders = number
    return sent, time_at, time_end - time_at, stamp, net, main, super_, large, medium, small_orders


@kernel
def decode_flow_reply(
    source: NDArray[np.uint8],
    start: int,
    stop: int,
    wire_market: int,
    period: int,
    symbol: int,
    recv_ns: int,
    gateway: int,
    row: int,
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    narrow: NDArray[np.int32],
    small: NDArray[np.uint8],
    spans: NDArray[np.int64],
    notes: NDArray[np.int64],
    counters: NDArray[np.int64],
    markets: NDArray[np.int32],
    changes: NDArray[np.int64],
    cached_changes: NDArray[np.int64],
    us_days: NDArray[np.int32],
    minutes: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Read the lines of one reply's body, source[start:stop], which is not empty.

    Parameters
    ----------
    source : (n,) uint8 with n >= stop + PAD_BYTES; read only
    wire_market, period, symbol : what the request asked about: QotMarket number, PERIOD code, symbol id
    recv_ns, gateway : receive time, unix ns, and the gateway's small id, written to every row
    row : first free row of the blocks
    wide, real, narrow, small : the blocks of a FlowBuffer, written from `row` on
    spans : (lines_max, 2) int64, scratch
    notes : (n, 2) int64, LINE_REASON and LINE_INDEX of each refused line
    counters : (COUNTERS,) int64, added to
    markets, changes, cached_changes, us_days : the arrays of a MarketClock
    minutes : the minute cache of this decoder

    Returns
    -------
    outcome : DECODED, REFUSED_BY_GATEWAY, NO_ROOM (empty the buffer and call again), or a reason
    row : next free row; unchanged unless DECODED
    note : notes written; 0 unless DECODED
    """
    lines = _find_lines_usual(source, start, stop, spans)
    if lines == _NOT_AS_USUAL:
        outcome, lines = _find_lines(source, start, stop, spans)
        if outcome != DECODED:
            return outcome, row, 0
    if row + lines > wide.shape[1]:
        return NO_ROOM, row, 0
    market = np.int64(-1)
    if 0 <= wire_market < MARKET_NUMBERS_MAX and markets[wire_market, ZONE] >= 0:
        market = np.int64(wire_market)
    disagreements = counters[TIME_DISAGREEMENTS]
    outcome, next_row, note = DECODED, row, 0
    for index in range(lines):
        at, end = spans[index, 0], spans[index, 1]
        sent, time_at, time_bytes, stamp, net, main, super_, large, medium, small_orders = _read_line_usual(
            source, at, end
        )
        if sent == _NOT_AS_USUAL:
            sent, time_at, time_bytes, stamp, net, main, super_, large, medium, small_orders = _read_line(
                source, at, end
            )
            if sent == MALFORMED:
                outcome = TRUNCATED_MESSAGE
                break
        reason = put_line(
            source, time_at, time_bytes, stamp, net, main, super_, large, medium, small_orders, sent, market, period,
            symbol, recv_ns, gateway, next_row, wide, real, narrow, small, counters, markets, changes, cached_changes,
            us_days, minutes,
        )  # fmt: skip
        if reason == NO_REASON:
            next_row += 1
        elif note == len(notes):
            outcome = TOO_MANY_BAD_LINES
            break
        else:
            notes[note, LINE_REASON] = reason
            notes[note, LINE_INDEX] = index
            note += 1
    if outcome != DECODED:
        counters[TIME_DISAGREEMENTS] = disagreements
        return outcome, row, 0
    if market < 0:
        counters[UNLISTED_MARKETS] += lines
    return DECODED, next_row, note
