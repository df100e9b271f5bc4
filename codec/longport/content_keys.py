"""Keys for trades that have no sequence of their own: pulled ones, and those pushed with sequence 0.

The key is made of the trade itself, so that it is the same whenever the trade is pulled: sequence =
-(unix second * 2**20 + 20 bits of a hash of its content), ordinal = its number among equal trades of that
second. Two trades of a second that differ and share the 20 bits are numbered together, in the
order of their whole hashes: they must not share a key either.

Rule 1: the hash never changes, and knows no id of this process: keys are stored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import bits_of
from codec.columns import (
    CONDITION_ID,
    DIRECTION,
    ORDINAL,
    PRICE,
    SEQUENCE,
    SESSION_CODE,
    TS_EVENT_US,
    VOLUME,
    TickBuffer,
)
from codec.conditions import CONDITION_CHARACTERS, ConditionTable
from codec.kernel import inlined, kernel
from codec.longport.wire import SECOND_US

KEY_HASH_BITS = 20
"""Of a content's hash, its highest: so many are in its key."""
_MIX_A, _MIX_B = np.uint64(0xBF58_476D_1CE4_E5B9), np.uint64(0x94D0_49BB_1331_11EB)


@inlined
def _mixed(digest: np.uint64, value: np.uint64) -> np.uint64:
    """splitmix64's last steps over what came before and one more value."""
    digest = (digest ^ value) * _MIX_A
    digest = (digest ^ (digest >> np.uint64(27))) * _MIX_B
    return digest ^ (digest >> np.uint64(31))


@kernel
def _content_hashes(
    rows: int,
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    narrow: NDArray[np.int32],
    small: NDArray[np.uint8],
    words: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
) -> None:
    """Write to `hashes` a 64-bit hash of each of the first `rows` rows: second, price, volume, direction,
    condition, session."""
    for row in range(rows):
        digest = _mixed(np.uint64(1), np.uint64(wide[TS_EVENT_US, row] // SECOND_US))
        digest = _mixed(digest, bits_of(real[PRICE, row]))
        digest = _mixed(digest, bits_of(real[VOLUME, row]))
        digest = _mixed(
            digest, (np.uint64(small[DIRECTION, row]) << np.uint64(8)) | np.uint64(small[SESSION_CODE, row])
        )
        condition = np.int64(narrow[CONDITION_ID, row])
        if condition < CONDITION_CHARACTERS:
            digest = _mixed(digest, np.uint64(condition))
        else:
            for part in range(words.shape[1]):
                digest = _mixed(digest, words[condition - CONDITION_CHARACTERS, part])
        hashes[row] = digest


def content_hashes(ticks: TickBuffer, conditions: ConditionTable) -> NDArray[np.uint64]:
    """(rows,) 64-bit hashes of what makes two trades equal: those that differ have, in practice, different ones."""
    hashes = np.empty(ticks.rows, np.uint64)
    _content_hashes(ticks.rows, ticks.wide, ticks.real, ticks.narrow, ticks.small, conditions.words, hashes)
    return hashes


@inlined
def content_key(second: int, content: int) -> int:
    """The sequence of a trade without one: of its unix second and its content's hash, as a signed number."""
    return -((second << KEY_HASH_BITS) | np.int64(np.uint64(content) >> np.uint64(64 - KEY_HASH_BITS)))


def key_by_content(ticks: TickBuffer, first_row: int, stop_row: int, hashes: NDArray[np.uint64]) -> None:
    """Give the trades of one reply, the given rows of `ticks`, their sequence and ordinal, in place.

    For equal trades to get the same ordinals each time, the rows must hold all such trades of each
    second that they touch. `hashes` are the buffer's (`content_hashes`).
    """
    span = slice(first_row, stop_row)
    own = hashes[span]
    seconds = ticks.wide[TS_EVENT_US, span] // SECOND_US
    sequences = -((seconds << KEY_HASH_BITS) | (own >> np.uint64(64 - KEY_HASH_BITS)).astype(np.int64))
    order = np.lexsort((own, sequences))  # stable: equal trades stay in their order
    is_first = np.ones(len(own), np.bool_)
    is_first[1:] = np.diff(sequences[order]) != 0
    firsts = np.flatnonzero(is_first)
    numbers = np.arange(len(own)) - np.repeat(firsts, np.diff(np.append(firsts, len(own))))
    ticks.wide[SEQUENCE, span] = sequences
    ticks.narrow[ORDINAL, first_row + order] = numbers
