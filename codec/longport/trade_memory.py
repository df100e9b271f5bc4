"""What is remembered of one source's trades: two rings of entries for each symbol, each with a hash table over it.

*Pushes*: a sequence, a check over the contents of its trades in their places, the highest ordinal that it left
in the journal, and whether the check is of these only. *Contents*: how many equal trades are held, how many of
these were pulled and no push has claimed yet, and the next ordinal free under the key that the content has.

What a buffer's rows change is worked out beside the memories (codec/longport/trade_judge.py), in two tables:
`touched`, a row for each content that they touch, as it will be, and `pushed`, a row for each push. Only
`remember` writes them into the memories.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.kernel import inlined, kernel
from codec.longport.content_keys import KEY_HASH_BITS

REMEMBERED = 4096
"""Pushes, and contents, of each symbol: four full replies, so that no reply goes back behind what is known."""
assert REMEMBERED & (REMEMBERED - 1) == 0
SLOTS = 2 * REMEMBERED
EMPTY = -1

# Columns of a remembered push, and of one that a buffer brings (with its symbol).
PUSH_SEQUENCE, PUSH_CHECK, PUSH_ORDINAL, PUSH_PARTIAL, PUSH_SYMBOL = range(5)
PUSH_PARTS = 4
PUSHED_PARTS = 5
# Columns of a remembered content: its hash; next ordinal << 32 | second; held << 32 | unclaimed.
CONTENT_HASH, CONTENT_NEXT, CONTENT_HELD = range(3)
CONTENT_PARTS = 3
# Columns of a content that a buffer's rows touch; of the reply that counted it last, its number and how many it had.
SYMBOL, RING, HASH, SECOND, HELD, UNCLAIMED, NEXT, REPLY, NUMBER = range(9)
TOUCHED_PARTS = 9
_LOW = (1 << 32) - 1
_TAG_BITS, _HOME_BITS = 19, 13
"""A slot of contents holds the place in the ring and the hash's highest bits: others need not be looked at. Contents
that share a key share these bits."""
assert _TAG_BITS < KEY_HASH_BITS
assert 1 << _HOME_BITS == SLOTS
_RING_BITS = 12
assert 1 << _RING_BITS == REMEMBERED
assert _TAG_BITS + _RING_BITS < 32
_MIX_A, _MIX_B = np.uint64(0x9E37_79B9_7F4A_7C15), np.uint64(0xC2B2_AE3D_27D4_EB4F)


@inlined
def mix(value: int, salt: int) -> int:
    """A hash of two numbers, not negative."""
    mixed = (np.uint64(value) ^ (np.uint64(salt) << np.uint64(40))) * _MIX_A
    return np.int64((mixed ^ (mixed >> np.uint64(29))) * _MIX_B >> np.uint64(16))


@inlined
def _tag(content: int) -> int:
    return np.int64(np.uint64(content) >> np.uint64(64 - _TAG_BITS))


@inlined
def key_bits(content: int) -> int:
    """What of a content's hash is in its key."""
    return np.int64(np.uint64(content) >> np.uint64(64 - KEY_HASH_BITS))


@inlined
def _in_ring(number: int) -> int:
    return number & (REMEMBERED - 1)


@inlined
def touch(symbol, content, second, content_slots, contents, newest_second, batch_slots, touched, count):
    """The row of `touched` for a content, read from the memory at its first touch, and how many there are now."""
    mask = np.int64(len(batch_slots) - 1)
    place = mix(key_bits(content), symbol) & mask
    while batch_slots[place] != EMPTY:
        other = np.int64(batch_slots[place])
        if touched[other, HASH] == content and touched[other, SYMBOL] == symbol:
            return other, count
        place = (place + 1) & mask
    batch_slots[place] = count
    ring, held, unclaimed, following = np.int64(EMPTY), np.int64(0), np.int64(0), np.int64(0)
    if second <= newest_second[symbol]:
        tag = _tag(content)
        slot = tag >> (_TAG_BITS - _HOME_BITS)
        while content_slots[symbol, slot] != EMPTY:
            found = np.int64(content_slots[symbol, slot])
            if found >> _RING_BITS == tag:
                at = _in_ring(found)
                other_hash, other_next = contents[symbol, at, CONTENT_HASH], contents[symbol, at, CONTENT_NEXT]
                if other_hash == content:
                    ring = at
                    held = contents[symbol, at, CONTENT_HELD] >> 32
                    unclaimed = contents[symbol, at, CONTENT_HELD] & _LOW
                if key_bits(other_hash) == key_bits(content) and other_next & _LOW == second:
                    following = max(following, other_next >> 32)
            slot = (slot + 1) & (SLOTS - 1)
    touched[count, SYMBOL], touched[count, RING] = symbol, ring
    touched[count, HASH], touched[count, SECOND] = content, second
    touched[count, HELD], touched[count, UNCLAIMED] = held, unclaimed
    touched[count, NEXT] = following
    touched[count, REPLY], touched[count, NUMBER] = EMPTY, 0
    return np.int64(count), count + 1


@kernel
def _forget_push(symbol: int, ring_at: int, slots: NDArray[np.int16], pushes: NDArray[np.int64]) -> None:
    """Take the push at `ring_at` out of the symbol's hash table, closing the gap behind it."""
    place = mix(pushes[symbol, ring_at, PUSH_SEQUENCE], 0) & (SLOTS - 1)
    while slots[symbol, place] != ring_at:
        place = (place + 1) & (SLOTS - 1)
    hole = place
    while True:
        place = (place + 1) & (SLOTS - 1)
        held = np.int64(slots[symbol, place])
        if held == EMPTY:
            break
        home = mix(pushes[symbol, held, PUSH_SEQUENCE], 0) & (SLOTS - 1)
        # An entry may move back to the hole unless its home lies behind it.
        if ((place - home) & (SLOTS - 1)) >= ((place - hole) & (SLOTS - 1)):
            slots[symbol, hole] = held
            hole = place
    slots[symbol, hole] = EMPTY


@kernel
def _forget_content(symbol: int, ring_at: int, slots: NDArray[np.int32], contents: NDArray[np.int64]) -> None:
    """Take the content at `ring_at` out of the symbol's hash table, closing the gap behind it."""
    tag = _tag(contents[symbol, ring_at, CONTENT_HASH])
    place = tag >> (_TAG_BITS - _HOME_BITS)
    while slots[symbol, place] != (tag << _RING_BITS | ring_at):
        place = (place + 1) & (SLOTS - 1)
    hole = place
    while True:
        place = (place + 1) & (SLOTS - 1)
        held = np.int64(slots[symbol, place])
        if held == EMPTY:
            break
        home = held >> (_RING_BITS + _TAG_BITS - _HOME_BITS)
        if ((place - home) & (SLOTS - 1)) >= ((place - hole) & (SLOTS - 1)):
            slots[symbol, hole] = held
            hole = place
    slots[symbol, hole] = EMPTY


@kernel
def remember(
    touched: NDArray[np.int64],
    contents_touched: int,
    pushed: NDArray[np.int64],
    pushes_new: int,
    push_slots: NDArray[np.int16],
    pushes: NDArray[np.int64],
    newest_sequence: NDArray[np.int64],
    pushes_marked: NDArray[np.int64],
    content_slots: NDArray[np.int32],
    contents: NDArray[np.int64],
    newest_second: NDArray[np.int64],
    contents_marked: NDArray[np.int64],
) -> None:
    """Write into the memories what `judge` or `recall` worked out; the oldest entries of their symbols make room."""
    for i in range(pushes_new):
        symbol, sequence = pushed[i, PUSH_SYMBOL], pushed[i, PUSH_SEQUENCE]
        ring_at = _in_ring(pushes_marked[symbol])
        if pushes_marked[symbol] >= REMEMBERED:
            _forget_push(symbol, ring_at, push_slots, pushes)
        for part in range(PUSH_PARTS):
            pushes[symbol, ring_at, part] = pushed[i, part]
        place = mix(sequence, 0) & (SLOTS - 1)
        while push_slots[symbol, place] != EMPTY:
            place = (place + 1) & (SLOTS - 1)
        push_slots[symbol, place] = ring_at
        newest_sequence[symbol] = max(newest_sequence[symbol], sequence)
        pushes_marked[symbol] += 1
    for i in range(contents_touched):
        symbol, content, ring_at = touched[i, SYMBOL], touched[i, HASH], touched[i, RING]
        if touched[i, HELD] == 0:
            continue
        if ring_at == EMPTY or contents[symbol, ring_at, CONTENT_HASH] != content:  # new, or pushed out meanwhile
            ring_at = _in_ring(contents_marked[symbol])
            if contents_marked[symbol] >= REMEMBERED:
                _forget_content(symbol, ring_at, content_slots, contents)
            tag = _tag(content)
            place = tag >> (_TAG_BITS - _HOME_BITS)
            while content_slots[symbol, place] != EMPTY:
                place = (place + 1) & (SLOTS - 1)
            content_slots[symbol, place] = tag << _RING_BITS | ring_at
            contents[symbol, ring_at, CONTENT_HASH] = content
            newest_second[symbol] = max(newest_second[symbol], touched[i, SECOND])
            contents_marked[symbol] += 1
        contents[symbol, ring_at, CONTENT_NEXT] = touched[i, NEXT] << 32 | touched[i, SECOND]
        contents[symbol, ring_at, CONTENT_HELD] = touched[i, HELD] << 32 | touched[i, UNCLAIMED]


def as_touched(symbol_ids: NDArray[np.int64], contents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Remembered contents of symbols as `remember` takes them."""
    touched = np.full((len(contents), TOUCHED_PARTS), EMPTY, np.int64)
    touched[:, SYMBOL], touched[:, HASH] = symbol_ids, contents[:, CONTENT_HASH]
    touched[:, SECOND], touched[:, NEXT] = contents[:, CONTENT_NEXT] & _LOW, contents[:, CONTENT_NEXT] >> 32
    touched[:, HELD], touched[:, UNCLAIMED] = contents[:, CONTENT_HELD] >> 32, contents[:, CONTENT_HELD] & _LOW
    return touched


def second_of(content: NDArray[np.int64]) -> int:
    """The unix second of a remembered content."""
    return int(content[CONTENT_NEXT]) & _LOW
