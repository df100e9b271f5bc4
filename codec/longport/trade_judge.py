"""Which trades were seen before: rows judged by what is remembered, one after the other in the order of the wire.

Rule 1: nothing that is remembered changes here (codec/longport/trade_memory.py).
Rule 2: the verdict depends on nothing that rows in the journal don't tell, save which pulled trades were claimed. A
push that claimed is therefore known in two ways: by all of its trades, and, once its rows were read back from the
journal, by these alone, when the rest of it claims again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.kernel import inlined, kernel
from codec.longport.content_keys import content_key
from codec.longport.trade_memory import (
    EMPTY,
    HASH,
    HELD,
    NEXT,
    NUMBER,
    PUSH_CHECK,
    PUSH_ORDINAL,
    PUSH_PARTIAL,
    PUSH_SEQUENCE,
    PUSH_SYMBOL,
    REPLY,
    SECOND,
    SYMBOL,
    UNCLAIMED,
    fetch_content,
    key_bits,
    known_push,
    mix,
    touch,
)
from codec.longport.wire import SECOND_US

# Columns of a reply: its rows, and the first second of which it has all trades.
REPLY_FIRST, REPLY_STOP, REPLY_FROM_SECOND = range(3)
REPLY_PARTS = 3

_ROWS_AHEAD = 16
"""A row's place in the memory is asked for so many rows before."""
_CHECK_A, _CHECK_B = np.uint64(0xC2B2_AE3D_27D4_EB4F), np.uint64(0x9E37_79B9_7F4A_7C15)


@inlined
def _part_of_check(content: int, place: int) -> int:
    """What a trade at a place in its push adds to the push's check."""
    mixed = (np.uint64(content) ^ (np.uint64(place) * _CHECK_A)) * _CHECK_B
    return np.int64(mixed ^ (mixed >> np.uint64(32)))


@kernel
def _take_ordinal(which, wished, batch_slots, touched):
    """An ordinal for a trade without a sequence, as wished or else the next one free under its key."""
    symbol, second, bits = touched[which, SYMBOL], touched[which, SECOND], key_bits(touched[which, HASH])
    ordinal = max(wished, touched[which, NEXT])
    mask = np.int64(len(batch_slots) - 1)
    place = mix(bits, symbol) & mask
    while batch_slots[place] != EMPTY:
        other = np.int64(batch_slots[place])
        if (
            touched[other, SYMBOL] == symbol
            and touched[other, SECOND] == second
            and key_bits(touched[other, HASH]) == bits
        ):
            ordinal = max(ordinal, touched[other, NEXT])
        place = (place + 1) & mask
    touched[which, NEXT] = ordinal + 1
    return ordinal


@inlined
def _stop_of_push(i, rows, symbols, sequences, places):
    """The row behind the push that begins at row `i`."""
    stop = i + 1
    while (
        stop < rows
        and places[stop] > places[stop - 1]
        and sequences[stop] == sequences[i]
        and symbols[stop] == symbols[i]
    ):
        stop += 1
    return stop


@inlined
def _known_push(symbol, sequence, check, rest, push_slots, pushes, newest_sequence, batch_pushes, pushed):
    """As `known_push`, of the pushes in this buffer too."""
    is_known, left_rest, base = known_push(symbol, sequence, check, rest, push_slots, pushes, newest_sequence)
    mask = np.int64(len(batch_pushes) - 1)
    place = mix(sequence, symbol) & mask
    while batch_pushes[place] != EMPTY:
        other = np.int64(batch_pushes[place])
        if pushed[other, PUSH_SEQUENCE] == sequence and pushed[other, PUSH_SYMBOL] == symbol:
            is_known |= pushed[other, PUSH_CHECK] == check
            base = max(base, pushed[other, PUSH_ORDINAL] + 1)
        place = (place + 1) & mask
    return is_known, left_rest, base


@inlined
def _add_push(symbol, sequence, check, last, is_partial, batch_pushes, pushed, count):
    """One more row of `pushed`; how many there are now."""
    mask = np.int64(len(batch_pushes) - 1)
    place = mix(sequence, symbol) & mask
    while batch_pushes[place] != EMPTY:
        place = (place + 1) & mask
    batch_pushes[place] = count
    pushed[count, PUSH_SEQUENCE], pushed[count, PUSH_CHECK] = sequence, check
    pushed[count, PUSH_ORDINAL], pushed[count, PUSH_PARTIAL] = last, is_partial
    pushed[count, PUSH_SYMBOL] = symbol
    return count + 1


@inlined
def _judge_reply(
    begin, stop, from_second, reply, symbols, places, events_us, hashes, content_slots, contents, newest_second,
    batch_slots, touched, count, fresh, ordinals,
):  # fmt: skip
    """Judge the trades of one reply: how many are fresh, and rows of `touched`.

    Of N in the reply and H held the last N - H are new: those with a number of at least H.
    """
    fresh_rows = 0
    for k in range(begin, stop):
        second = events_us[k] // SECOND_US
        fresh[k] = False
        if second < from_second:
            continue
        at, count = touch(
            np.int64(symbols[k]), hashes[k], second, content_slots, contents, newest_second, batch_slots, touched, count
        )
        if touched[at, REPLY] != reply:
            touched[at, REPLY], touched[at, NUMBER] = reply, 0
        if touched[at, NUMBER] >= touched[at, HELD]:
            fresh[k] = True
            ordinals[k] = places[k] = _take_ordinal(at, np.int64(places[k]), batch_slots, touched)
            touched[at, HELD] += 1
            touched[at, UNCLAIMED] += 1
            fresh_rows += 1
        touched[at, NUMBER] += 1
    return fresh_rows, count


@inlined
def _judge_without_sequence(
    i, symbols, sequences, places, events_us, hashes, content_slots, contents, newest_second, batch_slots, touched,
    count, fresh, ordinals,
):  # fmt: skip
    """Judge a trade that was pushed without a sequence, and give it its key; returns rows of `touched`."""
    second = events_us[i] // SECOND_US
    at, count = touch(
        np.int64(symbols[i]), hashes[i], second, content_slots, contents, newest_second, batch_slots, touched, count
    )
    sequences[i] = content_key(second, hashes[i])
    fresh[i] = touched[at, UNCLAIMED] == 0
    if fresh[i]:
        ordinals[i] = places[i] = _take_ordinal(at, touched[at, HELD], batch_slots, touched)
        touched[at, HELD] += 1
    else:
        touched[at, UNCLAIMED] -= 1
    return count


@inlined
def _judge_push(
    begin, stop, base, symbols, places, events_us, hashes, content_slots, contents, newest_second, batch_slots, touched,
    count, which, fresh, ordinals,
):  # fmt: skip
    """Judge the trades of a push one by one: how many are fresh, the check over these, the last one's ordinal, and
    rows of `touched`."""
    left, rest, last = 0, np.int64(0), np.int64(-1)
    for k in range(begin, stop):
        at, count = touch(
            np.int64(symbols[k]), hashes[k], events_us[k] // SECOND_US, content_slots, contents, newest_second,
            batch_slots, touched, count,
        )  # fmt: skip
        which[k] = at
        fresh[k] = touched[at, UNCLAIMED] == 0
        if fresh[k]:
            last = base + places[k]
            ordinals[k] = last
            touched[at, HELD] += 1
            rest += _part_of_check(hashes[k], np.int64(places[k]))
            left += 1
        else:
            touched[at, UNCLAIMED] -= 1
    return left, rest, last, count


@kernel
def judge(
    symbols: NDArray[np.int32],
    sequences: NDArray[np.int64],
    places: NDArray[np.int32],
    events_us: NDArray[np.int64],
    hashes: NDArray[np.int64],
    rows: int,
    replies: NDArray[np.int64],
    push_slots: NDArray[np.int32],
    pushes: NDArray[np.int64],
    newest_sequence: NDArray[np.int64],
    content_slots: NDArray[np.int32],
    contents: NDArray[np.int64],
    newest_second: NDArray[np.int64],
    batch_slots: NDArray[np.int32],
    touched: NDArray[np.int64],
    batch_pushes: NDArray[np.int32],
    pushed: NDArray[np.int64],
    which: NDArray[np.int32],
    fresh: NDArray[np.bool_],
    ordinals: NDArray[np.uint32],
) -> tuple[int, int, int, int]:
    """Judge each row of a TickBuffer by the memories and the rows before it.

    Parameters
    ----------
    symbols, sequences, places, events_us : (>= rows,) of the buffer; trades pushed without a sequence get their keys
        here, in place, as those of replies have got theirs
    hashes : (rows,) of the contents, signed
    replies : (n, REPLY_PARTS), in the order of their rows
    push_slots, pushes, newest_sequence, content_slots, contents, newest_second : the memories, read only
    batch_slots, batch_pushes : scratch, powers of two of at least 2 * rows, all EMPTY
    touched, pushed : (rows, TOUCHED_PARTS) and (rows, PUSHED_PARTS), written from their beginnings, to be remembered
    which : (rows,) scratch
    fresh, ordinals : (rows,) written, ordinals where fresh

    Returns
    -------
    How many rows are fresh, pushes that share their sequence with another, rows of `touched`, rows of `pushed`.
    """
    fresh_rows, conflicts, count, pushes_new = 0, 0, 0, 0
    reply, i, fetched = 0, 0, 0
    while i < rows:
        while fetched < min(i + _ROWS_AHEAD, rows):
            fetch_content(np.int64(symbols[fetched]), hashes[fetched], content_slots)
            fetched += 1
        if reply < len(replies) and i == replies[reply, REPLY_FIRST]:
            stop = replies[reply, REPLY_STOP]
            left, count = _judge_reply(
                i, stop, replies[reply, REPLY_FROM_SECOND], reply, symbols, places, events_us, hashes, content_slots,
                contents, newest_second, batch_slots, touched, count, fresh, ordinals,
            )  # fmt: skip
            fresh_rows += left
            reply += 1
            i = stop
            continue
        if sequences[i] <= 0:
            count = _judge_without_sequence(
                i, symbols, sequences, places, events_us, hashes, content_slots, contents, newest_second, batch_slots,
                touched, count, fresh, ordinals,
            )  # fmt: skip
            fresh_rows += fresh[i]
            i += 1
            continue
        symbol, sequence = np.int64(symbols[i]), sequences[i]
        stop, check = _stop_of_push(i, rows, symbols, sequences, places), np.int64(0)
        for k in range(i, stop):
            check += _part_of_check(hashes[k], np.int64(places[k]))
        is_known, _, base = _known_push(
            symbol, sequence, check, np.int64(0), push_slots, pushes, newest_sequence, batch_pushes, pushed
        )
        if is_known:
            for k in range(i, stop):
                fresh[k] = False
            i = stop
            continue
        left, rest, last, count = _judge_push(
            i, stop, base, symbols, places, events_us, hashes, content_slots, contents, newest_second, batch_slots,
            touched, count, which, fresh, ordinals,
        )  # fmt: skip
        if 0 < left < stop - i:
            _, left_rest, _ = _known_push(
                symbol, sequence, check, rest, push_slots, pushes, newest_sequence, batch_pushes, pushed
            )
            if left_rest:
                for k in range(i, stop):
                    touched[which[k], HELD] -= fresh[k]
                    fresh[k] = False
                left, last = 0, np.int64(-1)
        fresh_rows += left
        conflicts += left > 0 and base > 0
        pushes_new = _add_push(symbol, sequence, check, last, 0, batch_pushes, pushed, pushes_new)
        i = stop
    return fresh_rows, conflicts, count, pushes_new


@kernel
def recall(
    symbols: NDArray[np.int32],
    sequences: NDArray[np.int64],
    ordinals: NDArray[np.uint32],
    events_us: NDArray[np.int64],
    recv_ns: NDArray[np.int64],
    pulled: NDArray[np.bool_],
    hashes: NDArray[np.int64],
    rows: int,
    push_slots: NDArray[np.int32],
    pushes: NDArray[np.int64],
    newest_sequence: NDArray[np.int64],
    content_slots: NDArray[np.int32],
    contents: NDArray[np.int64],
    newest_second: NDArray[np.int64],
    batch_slots: NDArray[np.int32],
    touched: NDArray[np.int64],
    batch_pushes: NDArray[np.int32],
    pushed: NDArray[np.int64],
) -> tuple[int, int]:
    """Work out what rows read back from the journal change: rows of `touched`, rows of `pushed`.

    Parameters as those of `judge`; `pulled` says which rows came by a pull, and `recv_ns` tells two pushes of one
    sequence apart that follow one another.
    """
    contents_touched, pushes_new, i = 0, 0, 0
    while i < rows:
        symbol, sequence = np.int64(symbols[i]), sequences[i]
        base, check, begin, k = np.int64(0), np.int64(0), i, i
        if sequence > 0:
            _, _, base = _known_push(
                symbol, sequence, np.int64(0), np.int64(0), push_slots, pushes, newest_sequence, batch_pushes, pushed
            )
        while k < rows and (
            k == begin
            or (
                sequence > 0
                and sequences[k] == sequence
                and symbols[k] == symbol
                and recv_ns[k] == recv_ns[begin]
                and ordinals[k] > ordinals[k - 1]
            )
        ):
            at, contents_touched = touch(
                symbol, hashes[k], events_us[k] // SECOND_US, content_slots, contents, newest_second, batch_slots,
                touched, contents_touched,
            )  # fmt: skip
            touched[at, HELD] += 1
            if sequence < 0:
                touched[at, UNCLAIMED] += pulled[k]
                touched[at, NEXT] = max(touched[at, NEXT], np.int64(ordinals[k]) + 1)
            else:
                check += _part_of_check(hashes[k], np.int64(ordinals[k]) - base)
            k += 1
        if sequence > 0:
            pushes_new = _add_push(
                symbol, sequence, check, np.int64(ordinals[k - 1]), 1, batch_pushes, pushed, pushes_new
            )
        i = k
    return contents_touched, pushes_new
