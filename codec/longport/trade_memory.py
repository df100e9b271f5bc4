"""What is remembered of one source's trades: two rings of entries for each symbol, each with a hash table over it.

*Pushes*: a sequence, a check over the contents of its trades in their places, the highest ordinal that it left
in the journal, and whether the check is of these only. *Contents*: how many equal trades are held, how many of
these were pulled and no push has claimed yet, and the next ordinal free under the key that the content has.

What a buffer's rows change is worked out beside the memories (codec/longport/trade_judge.py), in two tables:
`touched`, a row for each content that they touch, as it will be, and `pushed`, a row for each push. Only
`remember_pushes` and `remember_contents` write them into the memories.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import fetch_early
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
_TAG_BITS, _HOME_BITS, _RING_BITS = 19, 13, 12
"""A slot holds an entry's place in the ring and its tag, bits of a hash whose highest ones are the slot's own number:
an entry with another tag need not be looked at. Contents that share a key share their tag."""
assert _TAG_BITS < KEY_HASH_BITS
assert 1 << _HOME_BITS == SLOTS
assert 1 << _RING_BITS == REMEMBERED
assert _TAG_BITS + _RING_BITS < 32
_AHEAD = 12
"""An entry's places are asked of the memory so many entries before, and what tells them twice as many."""
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
def _push_tag(sequence: int) -> int:
    return mix(sequence, 0) & ((1 << _TAG_BITS) - 1)


@inlined
def _home(tag: int) -> int:
    return tag >> (_TAG_BITS - _HOME_BITS)


@inlined
def key_bits(content: int) -> int:
    """What of a content's hash is in its key."""
    return np.int64(np.uint64(content) >> np.uint64(64 - KEY_HASH_BITS))


@inlined
def _in_ring(number: int) -> int:
    return number & (REMEMBERED - 1)


@inlined
def fetch_content(symbol, content, content_slots):
    """Ask the memory for the slot of a content that will be touched soon: each is somewhere else."""
    fetch_early(content_slots, symbol * SLOTS + _home(_tag(content)))


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
        slot = _home(tag)
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


@inlined
def known_push(symbol, sequence, check, rest, push_slots, pushes, newest_sequence):
    """What is remembered of a sequence: whether a push with this check is, whether one that left `rest` in the journal
    is, and the first ordinal behind all of them."""
    is_known, left_rest, base = False, False, np.int64(0)
    if sequence <= newest_sequence[symbol]:
        tag = _push_tag(sequence)
        slot = _home(tag)
        while push_slots[symbol, slot] != EMPTY:
            found = np.int64(push_slots[symbol, slot])
            at = _in_ring(found)
            if found >> _RING_BITS == tag and pushes[symbol, at, PUSH_SEQUENCE] == sequence:
                is_known |= pushes[symbol, at, PUSH_CHECK] == check
                left_rest |= pushes[symbol, at, PUSH_PARTIAL] != 0 and pushes[symbol, at, PUSH_CHECK] == rest
                base = max(base, pushes[symbol, at, PUSH_ORDINAL] + 1)
            slot = (slot + 1) & (SLOTS - 1)
    return is_known, left_rest, base


@inlined
def _put_in(symbol, ring_at, tag, slots):
    """Enter the entry at `ring_at` into the symbol's hash table."""
    slot = _home(tag)
    while slots[symbol, slot] != EMPTY:
        slot = (slot + 1) & (SLOTS - 1)
    slots[symbol, slot] = tag << _RING_BITS | ring_at


@inlined
def _take_out(symbol, ring_at, tag, slots):
    """Take the entry at `ring_at` out of the symbol's hash table, closing the gap behind it."""
    slot = _home(tag)
    while slots[symbol, slot] != (tag << _RING_BITS | ring_at):
        slot = (slot + 1) & (SLOTS - 1)
    hole = slot
    while True:
        slot = (slot + 1) & (SLOTS - 1)
        held = np.int64(slots[symbol, slot])
        if held == EMPTY:
            break
        # An entry may move back to the hole unless its home lies behind it.
        if ((slot - _home(held >> _RING_BITS)) & (SLOTS - 1)) >= ((slot - hole) & (SLOTS - 1)):
            slots[symbol, hole] = held
            hole = slot
    slots[symbol, hole] = EMPTY


@kernel
def remember_pushes(
    pushed: NDArray[np.int64],
    count: int,
    slots: NDArray[np.int32],
    pushes: NDArray[np.int64],
    newest: NDArray[np.int64],
    marked: NDArray[np.int64],
) -> None:
    """Write the first `count` rows of `pushed` into the memory; the oldest pushes of their symbols make room."""
    for i in range(count):
        if i + 2 * _AHEAD < count:
            symbol = pushed[i + 2 * _AHEAD, PUSH_SYMBOL]
            fetch_early(pushes, (symbol * REMEMBERED + _in_ring(marked[symbol])) * PUSH_PARTS)
        if i + _AHEAD < count:
            symbol = pushed[i + _AHEAD, PUSH_SYMBOL]
            oldest = pushes[symbol, _in_ring(marked[symbol]), PUSH_SEQUENCE]
            fetch_early(slots, symbol * SLOTS + _home(_push_tag(pushed[i + _AHEAD, PUSH_SEQUENCE])))
            fetch_early(slots, symbol * SLOTS + _home(_push_tag(oldest)))
        symbol, sequence = pushed[i, PUSH_SYMBOL], pushed[i, PUSH_SEQUENCE]
        ring_at = _in_ring(marked[symbol])
        if marked[symbol] >= REMEMBERED:
            _take_out(symbol, ring_at, _push_tag(pushes[symbol, ring_at, PUSH_SEQUENCE]), slots)
        for part in range(PUSH_PARTS):
            pushes[symbol, ring_at, part] = pushed[i, part]
        _put_in(symbol, ring_at, _push_tag(sequence), slots)
        newest[symbol] = max(newest[symbol], sequence)
        marked[symbol] += 1


@kernel
def remember_contents(
    touched: NDArray[np.int64],
    count: int,
    slots: NDArray[np.int32],
    contents: NDArray[np.int64],
    newest: NDArray[np.int64],
    marked: NDArray[np.int64],
) -> None:
    """Write the first `count` rows of `touched` into the memory; the oldest contents of their symbols make room."""
    for i in range(count):
        if i + 2 * _AHEAD < count:
            symbol, ring_at = touched[i + 2 * _AHEAD, SYMBOL], touched[i + 2 * _AHEAD, RING]
            ring_at = _in_ring(marked[symbol]) if ring_at == EMPTY else ring_at
            fetch_early(contents, (symbol * REMEMBERED + ring_at) * CONTENT_PARTS)
        if i + _AHEAD < count:
            symbol = touched[i + _AHEAD, SYMBOL]
            fetch_content(symbol, touched[i + _AHEAD, HASH], slots)
            fetch_content(symbol, contents[symbol, _in_ring(marked[symbol]), CONTENT_HASH], slots)
        symbol, content, ring_at = touched[i, SYMBOL], touched[i, HASH], touched[i, RING]
        if touched[i, HELD] == 0:
            continue
        if ring_at == EMPTY or contents[symbol, ring_at, CONTENT_HASH] != content:  # new, or pushed out meanwhile
            ring_at = _in_ring(marked[symbol])
            if marked[symbol] >= REMEMBERED:
                _take_out(symbol, ring_at, _tag(contents[symbol, ring_at, CONTENT_HASH]), slots)
            _put_in(symbol, ring_at, _tag(content), slots)
            contents[symbol, ring_at, CONTENT_HASH] = content
            newest[symbol] = max(newest[symbol], touched[i, SECOND])
            marked[symbol] += 1
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
