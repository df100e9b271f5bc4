"""Sale conditions as small integers: an ASCII character is its own id, longer words are kept here.

No market is known to use longer words; the table exists so that one that comes is stored as sent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES, load_u64
from codec.kernel import kernel

CONDITION_CHARACTERS = 128
"""Ids below are the character's own number; 0 is the empty word."""

CONDITION_BYTES_MAX = 16
CONDITIONS_MAX = 256
"""Longer words of one source, each looked for one after the other; more of them are refused."""

NO_CONDITION_ID = -1
"""Returned instead of an id for a word that is too long, or one more than the table holds."""

# Columns of ConditionTable.words.
_LOW, _HIGH, _SIZE = range(3)


@kernel
def condition_id(
    source: NDArray[np.uint8], at: int, size: int, words: NDArray[np.uint64], used: NDArray[np.int64]
) -> int:
    """The id of the word source[at : at + size], a new one if it was never seen, or NO_CONDITION_ID.

    `source` has `PAD_BYTES` readable behind the word; `words` and `used` are the table's, written in place.
    """
    if size == 0:
        return np.int64(0)
    if size == 1 and 0 < source[at] < CONDITION_CHARACTERS:
        return np.int64(source[at])
    if size > CONDITION_BYTES_MAX:
        return np.int64(NO_CONDITION_ID)
    all_bits = ~np.uint64(0)
    low, high = load_u64(source, at), np.uint64(0)
    if size < 8:
        low &= all_bits >> np.uint64(64 - 8 * size)
    elif size > 8:
        high = load_u64(source, at + 8) & (all_bits >> np.uint64(128 - 8 * size))
    count = used[0]
    for i in range(count):
        if words[i, _LOW] == low and words[i, _HIGH] == high and words[i, _SIZE] == np.uint64(size):
            return np.int64(CONDITION_CHARACTERS + i)
    if count == CONDITIONS_MAX:
        return np.int64(NO_CONDITION_ID)
    words[count, _LOW], words[count, _HIGH], words[count, _SIZE] = low, high, np.uint64(size)
    used[0] = count + 1
    return np.int64(CONDITION_CHARACTERS + count)


class ConditionTable:
    """The longer conditions of one source, shared by all its gateways in the process."""

    def __init__(self) -> None:
        self.words: NDArray[np.uint64] = np.zeros((CONDITIONS_MAX, 3), np.uint64)
        self.used: NDArray[np.int64] = np.zeros(1, np.int64)

    def names(self) -> list[str]:
        """The words of the ids from `CONDITION_CHARACTERS` on; bytes that are not UTF-8 as `\\xff`."""
        return [
            self.words[i, :_SIZE].astype("<u8").tobytes()[: int(self.words[i, _SIZE])].decode(errors="backslashreplace")
            for i in range(int(self.used[0]))
        ]

    def id_of(self, word: str) -> int:
        """The id of a word as `names` gives it, a new one if it was never met; NO_CONDITION_ID where it has no room."""
        written = word.encode()
        source = np.zeros(len(written) + PAD_BYTES, np.uint8)
        source[: len(written)] = np.frombuffer(written, np.uint8)
        return int(condition_id(source, 0, len(written), self.words, self.used))
