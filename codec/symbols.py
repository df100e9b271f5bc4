"""Symbols as small integers: a hash table over the bytes on the wire, filled by kernels.

A kernel meets (market number, code) and needs an id. A code that was never seen is added by the
kernel itself; its name is made afterwards, outside, once (`SymbolTable.resolve`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES, load_u64, stay_apart, store_u64
from codec.kernel import inlined, kernel
from codec.markets import CODE_BYTES_MAX, symbol_name
from codec.partition import partition_of

SYMBOLS_MAX = 1 << 16
"""Ids of one table; a gateway that sends more is broken or hostile."""

_SLOTS = 4 * SYMBOLS_MAX
_ARENA_BYTES = SYMBOLS_MAX * 16
"""Codes longer than 16 bytes on average would fill the arena before the ids: TABLE_FULL too."""

# Columns of SymbolTable.entries.
_MARKET, _CODE_AT, _CODE_BYTES, CANONICAL = range(4)
# Elements of SymbolTable.used.
COUNT, _ARENA_USED = range(2)

TABLE_FULL, BAD_CODE = -1, -2
"""Returned by `intern` instead of an id."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW_HALF = np.uint64(0xFFFFFFFF)


@inlined
def _mixed(value: np.uint64) -> np.uint64:
    value = value ^ (value >> np.uint64(32))
    return value * _MIX


@kernel
def find(
    source: NDArray[np.uint8],
    code_at: int,
    code_bytes: int,
    market: int,
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    arena: NDArray[np.uint8],
) -> tuple[int, int]:
    """The id of (market, code), or -1; and the slot where it is, or would go.

    Parameters
    ----------
    source : (n,) uint8 with `PAD_BYTES` readable behind the code
    code_at, code_bytes : the code's span in `source`
    market : QotMarket number
    slots, entries, arena : the table's arrays
    """
    stay_apart()
    digest = np.uint64(np.int64(market)) + np.uint64(code_bytes << 32)
    at, left = code_at, code_bytes
    while left > 0:
        word = load_u64(source, at)
        if left < 8:
            word &= (np.uint64(1) << np.uint64(8 * left)) - np.uint64(1)
        digest = _mixed(digest ^ word)
        at += 8
        left -= 8
    place = np.int64(_mixed(digest) >> np.uint64(40)) & (_SLOTS - 1)
    while slots[place] >= 0:
        known = slots[place]
        if entries[known, _MARKET] == market and entries[known, _CODE_BYTES] == code_bytes:
            arena_at = np.int64(entries[known, _CODE_AT])
            at, left = code_at, code_bytes
            differs = np.uint64(0)
            while left > 0:
                word = load_u64(source, at) ^ load_u64(arena, arena_at)
                if left < 8:
                    word &= (np.uint64(1) << np.uint64(8 * left)) - np.uint64(1)
                differs |= word
                at += 8
                arena_at += 8
                left -= 8
            if differs == np.uint64(0):
                return np.int64(entries[known, CANONICAL]), place
        place = (place + 1) & (_SLOTS - 1)
    return np.int64(-1), place


@kernel
def intern(
    source: NDArray[np.uint8],
    code_at: int,
    code_bytes: int,
    market: int,
    short: NDArray[np.uint8],
    slots: NDArray[np.int32],
    entries: NDArray[np.int32],
    arena: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> int:
    """The id of (market, code), a new one if it was never seen; `look_up` may know it from here on.

    Parameters
    ----------
    source, code_at, code_bytes, market : as in `find`
    short, slots, entries, arena, used : the table's arrays, written in place

    Returns
    -------
    id >= 0, or TABLE_FULL, or BAD_CODE for a code that is empty, longer than `CODE_BYTES_MAX` or
    not printable ASCII
    """
    stay_apart()
    if code_bytes < 1 or code_bytes > CODE_BYTES_MAX:
        return BAD_CODE
    id_, place = find(source, code_at, code_bytes, market, slots, entries, arena)
    if id_ < 0:
        for i in range(code_bytes):
            if source[code_at + i] <= 0x20 or source[code_at + i] >= 0x7F:
                return BAD_CODE
        new, arena_at = used[COUNT], used[_ARENA_USED]
        if new >= SYMBOLS_MAX or arena_at + code_bytes > _ARENA_BYTES:
            return TABLE_FULL
        for i in range(code_bytes):
            arena[arena_at + i] = source[code_at + i]
        entries[new, _MARKET] = market
        entries[new, _CODE_AT] = arena_at
        entries[new, _CODE_BYTES] = code_bytes
        entries[new, CANONICAL] = new
        slots[place] = new
        used[COUNT] = new + 1
        used[_ARENA_USED] = arena_at + code_bytes
        id_ = new
    if code_bytes <= SHORT_CODE_BYTES_MAX and 0 <= market < _SHORT_MARKETS:
        _keep_short(source, code_at, code_bytes, market, id_, short)
    return id_


SHORT_CODE_BYTES_MAX = 8
_SHORT_MARKETS = 256
_SHORT_SIZE_SHIFT = 16
_SHORT_PLACES = 1 << 13
_SHORT_PROBES = 8
_SHORT_BYTES = 16
"""Of one place: the code, zeros behind it; the market's number, the code's size, and in the high half the id."""


@inlined
def _short_key(
    source: NDArray[np.uint8], code_at: int, code_bytes: int, market: int
) -> tuple[np.uint64, np.uint64, int]:
    code = load_u64(source, code_at) & (_ALL >> np.uint64(64 - 8 * code_bytes))
    described = np.uint64(market | code_bytes << _SHORT_SIZE_SHIFT)
    mixed = (code ^ (described << np.uint64(40))) * _MIX
    return code, described, np.int64(mixed >> np.uint64(40)) & (_SHORT_PLACES - 1)


@inlined
def _keep_short(source, code_at, code_bytes, market, id_, short):
    """Put a code and its id into the first free place near its own, if there is one."""
    code, described, place = _short_key(source, code_at, code_bytes, market)
    for _ in range(_SHORT_PROBES):
        at = place * _SHORT_BYTES
        known = load_u64(short, at + 8)
        if known == np.uint64(0) or (known & _LOW_HALF == described and load_u64(short, at) == code):
            store_u64(short, at, code)
            store_u64(short, at + 8, described | (np.uint64(id_) << np.uint64(32)))
            return
        place = (place + 1) & (_SHORT_PLACES - 1)


@inlined
def _find_short(source: NDArray[np.uint8], code_at: int, code_bytes: int, market: int, short: NDArray[np.uint8]) -> int:
    """The id of (market, code) for a code of 1 to SHORT_CODE_BYTES_MAX bytes, or -1: then ask `find`.

    A table before the table: small enough for the processor's cache, and one comparison a code.
    """
    code, described, place = _short_key(source, code_at, code_bytes, market)
    for _ in range(_SHORT_PROBES):
        at = place * _SHORT_BYTES
        known = load_u64(short, at + 8)
        if load_u64(short, at) == code and known & _LOW_HALF == described:
            return np.int64(known >> np.uint64(32))
        if known == np.uint64(0):
            break
        place = (place + 1) & (_SHORT_PLACES - 1)
    return np.int64(-1)


@inlined
def look_up(source, code_at, code_bytes, market, short, slots, entries, arena):
    """The id of (market, code), or -1 for one that `intern` has yet to see."""
    id_ = np.int64(-1)
    if 1 <= code_bytes <= SHORT_CODE_BYTES_MAX:
        id_ = _find_short(source, code_at, code_bytes, market, short)
    if id_ < 0:
        id_, _ = find(source, code_at, code_bytes, market, slots, entries, arena)
    return id_


class SymbolTable:
    """The symbols of one source, shared by all its gateways in the process.

    Attributes
    ----------
    names : the `MARKET.CODE` of each resolved id
    partitions : (len(names),) int32, the Kafka partition of each
    """

    def __init__(self, partition_count: int) -> None:
        self.partition_count = partition_count
        self.slots: NDArray[np.int32] = np.full(_SLOTS, -1, np.int32)
        self.entries: NDArray[np.int32] = np.zeros((SYMBOLS_MAX, 4), np.int32)
        self.arena: NDArray[np.uint8] = np.zeros(_ARENA_BYTES + PAD_BYTES, np.uint8)
        self.used: NDArray[np.int64] = np.zeros(2, np.int64)
        self.short: NDArray[np.uint8] = np.zeros(_SHORT_PLACES * _SHORT_BYTES, np.uint8)
        self.names: list[str] = []
        self._partitions: NDArray[np.int32] = np.zeros(SYMBOLS_MAX, np.int32)
        self._ids: dict[str, int] = {}
        self._has_aliases = False

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What `intern` reads and writes, in its order."""
        return self.short, self.slots, self.entries, self.arena, self.used

    @property
    def partitions(self) -> NDArray[np.int32]:
        return self._partitions[: len(self.names)]

    @property
    def markets(self) -> NDArray[np.int32]:
        """(len(names),) the market number of each."""
        return self.entries[: len(self.names), _MARKET]

    def resolve(self) -> range:
        """Name the ids that kernels added since the last call; returns those ids.

        Two spellings of one symbol (`700` and `00700`) get two ids at first; from here on the
        kernel returns the older one for both.
        """
        new = range(len(self.names), int(self.used[COUNT]))
        for id_ in new:
            market, at, size = (int(self.entries[id_, part]) for part in (_MARKET, _CODE_AT, _CODE_BYTES))
            name = symbol_name(market, self.arena[at : at + size].tobytes().decode("ascii"))
            self.entries[id_, CANONICAL] = self._ids.setdefault(name, id_)
            self._has_aliases |= self._ids[name] != id_
            self._partitions[id_] = partition_of(name, self.partition_count)
            self.names.append(name)
        if self._has_aliases and new:
            self.short[:] = 0  # it may hold an alias's own id
        return new

    def canonicalize(self, ids: NDArray[np.int32]) -> None:
        """Give rows that were decoded under an alias, before `resolve` knew it, the older id, in place."""
        if self._has_aliases:
            ids[:] = self.entries[ids, CANONICAL]

    def id_of(self, market: int, code: str) -> int:
        """The id of a security, adding it if need be.

        Raises
        ------
        ValueError
            The code is not one that a symbol can have, or the table is full.
        """
        raw = code.encode("ascii")
        padded = np.frombuffer(bytearray(raw.ljust(len(raw) + PAD_BYTES, b"\0")), np.uint8)
        id_ = int(intern(padded, 0, len(raw), market, *self.arrays))
        if id_ < 0:
            raise ValueError(f"no id for {market}/{code!r}")
        self.resolve()
        return int(self.entries[id_, CANONICAL])
