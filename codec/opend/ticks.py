"""OpenD tick frames (3010 replies and 3011 pushes, protobuf bodies) to columns.

One call reads many frames. A frame is tried twice: first as real senders write it
(codec/opend/usual_ticks.py); when anything differs, again by the general walk, which takes any legal
protobuf (codec/opend/any_ticks.py).

Rule 1: a frame's rows are kept all together or not at all; a refused tick leaves a note instead.
Rule 2: nothing is read behind `stop + PAD_BYTES`, and nothing behind a message's end is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import FETCH_AHEAD_BYTES, fetch_early, load_u32, load_u64, stay_apart
from codec.columns import GATEWAY_ID, TS_RECV_NS
from codec.kernel import inlined, kernel
from codec.opend.any_ticks import DECODED, NO_ROOM, REFUSED_BY_GATEWAY, decode_any
from codec.opend.notes import (
    ALL_READ,
    BAD_MAGIC,
    BAD_SHA1,
    BODY_FORMAT,
    CONTROL,
    EMPTY_BODY,
    FIRST_ROW,
    FRAME_AT,
    FRAME_BYTES,
    FRAME_TOO_LARGE,
    JSON_TICKS,
    KIND,
    NO_REASON,
    NOTES_FULL,
    PROTO_ID,
    PULLED,
    REASON,
    REFUSED_FRAME,
    ROWS,
    ROWS_FULL,
    SERIAL,
    SYMBOL,
    TOO_MANY_BAD_TICKS,
    TOO_MANY_TICKS,
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
from codec.opend.usual_ticks import NOT_AS_USUAL, decode_usual
from codec.sha1 import sha1_matches

_PULL, _PUSH = int(ProtoId.GET_TICKER), int(ProtoId.UPDATE_TICKER)
_PROTOBUF, _JSON = int(BodyFormat.PROTOBUF), int(BodyFormat.JSON)

# The first seven bytes of a frame as a word: magic, protocol id, protobuf as the format.
_HEAD = np.uint64(0x00FF_FFFF_FFFF_FFFF)
_PULL_HEAD, _PUSH_HEAD = (np.uint64(MAGIC_WORD | proto_id << 16) for proto_id in (_PULL, _PUSH))
assert (PROTO_ID_AT, FORMAT_AT) == (2, 6)

GOES_ON = -1
"""Status of a frame after which the next may be read."""


@inlined
def _note_frame(source, at, frame_bytes, kind, reason, first_row, rows, symbol, notes, note):
    notes[note, KIND] = kind
    notes[note, REASON] = reason
    notes[note, FRAME_AT] = at
    notes[note, FRAME_BYTES] = frame_bytes
    notes[note, PROTO_ID] = np.int64(load_u32(source, at + PROTO_ID_AT))
    notes[note, SERIAL] = np.int64(load_u32(source, at + SERIAL_AT))
    notes[note, BODY_FORMAT] = source[at + FORMAT_AT]
    notes[note, FIRST_ROW] = first_row
    notes[note, ROWS] = rows
    notes[note, SYMBOL] = symbol


@kernel
def _judge_frame(
    source, at, stop, body_bytes_max, checks_sha1, row, wide, real, narrow, small, notes, note, counters, short,
    slots, entries, arena, used, markets, changes, cached_changes, us_days, minutes,
):  # fmt: skip
    """Deal with one frame, whatever it is: (status, position behind it, next row, next note)."""
    stay_apart()
    if at + 2 > stop:
        return ALL_READ, at, row, note
    if np.int64(source[at]) | (np.int64(source[at + 1]) << 8) != MAGIC_WORD:
        return BAD_MAGIC, at, row, note
    if at + HEADER_BYTES > stop:
        return ALL_READ, at, row, note
    body_bytes = np.int64(load_u32(source, at + BODY_BYTES_AT))
    if body_bytes > body_bytes_max:
        return FRAME_TOO_LARGE, at, row, note
    body_at = at + HEADER_BYTES
    end = body_at + body_bytes
    if end > stop:
        return ALL_READ, at, row, note
    if note == len(notes):
        return NOTES_FULL, at, row, note
    proto_id = np.int64(load_u32(source, at + PROTO_ID_AT))
    serial = np.int64(load_u32(source, at + SERIAL_AT))
    carries_ticks = proto_id in (_PUSH, _PULL)
    outcome, next_row, next_note, symbol = np.int64(REFUSED_BY_GATEWAY), row, note, np.int64(-1)
    if body_bytes == 0:
        outcome = np.int64(EMPTY_BODY)
    elif checks_sha1 and not sha1_matches(source, body_at, end, at + SHA1_AT):
        outcome = np.int64(BAD_SHA1)
    elif carries_ticks and source[at + FORMAT_AT] == _PROTOBUF:
        disagreements, numbers, unlisted = counters[0], counters[1], counters[2]
        outcome, next_row, next_note, symbol = decode_any(
            source, body_at, end, at, end - at, proto_id, serial, proto_id == _PULL, row, note, wide, real, narrow,
            small, notes, counters, short, slots, entries, arena, used, markets, changes, cached_changes, us_days,
            minutes,
        )  # fmt: skip
        if outcome != DECODED:
            next_row, next_note = row, note
            counters[0], counters[1], counters[2] = disagreements, numbers, unlisted
        if outcome == NO_ROOM and row > 0:
            return ROWS_FULL, at, row, note
        if outcome == NO_ROOM:
            outcome = np.int64(TOO_MANY_TICKS)
        if outcome == TOO_MANY_BAD_TICKS and note > 0:
            return NOTES_FULL, at, row, note
    kind, reason = np.int64(PULLED), np.int64(NO_REASON)
    if outcome == REFUSED_BY_GATEWAY:
        kind = np.int64(CONTROL)
    elif outcome != DECODED:
        kind, reason = np.int64(REFUSED_FRAME), outcome
    if outcome != DECODED or proto_id == _PULL:
        _note_frame(source, at, end - at, kind, reason, row, next_row - row, symbol, notes, next_note)
        next_note += 1
    status = GOES_ON
    if carries_ticks and outcome == REFUSED_BY_GATEWAY and source[at + FORMAT_AT] == _JSON:
        status = JSON_TICKS
    return status, end, next_row, next_note


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
    short: NDArray[np.uint8],
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
    status = GOES_ON
    while status == GOES_ON:
        while at + HEADER_BYTES <= stop:
            fetch_early(source, at + FETCH_AHEAD_BYTES)
            head = load_u64(source, at) & _HEAD
            body_at = at + HEADER_BYTES
            end = body_at + np.int64(load_u32(source, at + BODY_BYTES_AT))
            pulled = head == _PULL_HEAD
            if (head != _PUSH_HEAD and not pulled) or end > stop or end - body_at > body_bytes_max:
                break
            if checks_sha1 and not sha1_matches(source, body_at, end, at + SHA1_AT):
                break
            next_row, symbol = decode_usual(
                source, body_at, end, pulled, row, wide, real, narrow, small, short, slots, entries, arena, markets,
                changes, cached_changes, us_days, minutes,
            )  # fmt: skip
            if next_row == NOT_AS_USUAL:
                break
            if pulled:
                if note == len(notes):
                    break
                _note_frame(source, at, end - at, PULLED, NO_REASON, row, next_row - row, symbol, notes, note)
                note += 1
            row, at = next_row, end
        status, at, row, note = _judge_frame(
            source, at, stop, body_bytes_max, checks_sha1, row, wide, real, narrow, small, notes, note, counters,
            short, slots, entries, arena, used, markets, changes, cached_changes, us_days, minutes,
        )  # fmt: skip
    for each in range(rows_before, row):
        wide[TS_RECV_NS, each] = recv_ns
    for each in range(rows_before, row):
        small[GATEWAY_ID, each] = gateway
    return status, at, row, note
