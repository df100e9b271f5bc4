"""Repeats: the last keys of each symbol, and whether a tick is one of them.

The window holds the last `WINDOW_KEYS` keys of each (source, symbol). A tick is a repeat when its
sequence is there with the same payload check; the same sequence with another payload is another
tick, under the next ordinal (contract.md, Exact meanings). It is not a high-water mark: pulls
overlap pushes, and US sequences do not grow.

Trades of which a whole push has one sequence, and pulled ones none, are another matter:
codec/longport/trade_window.py.

Rule 1: `test` changes nothing. `mark` is called with its verdict once the batch is durable; a tick
marked earlier would be lost by a failed append.
Rule 2: two sequences are the same only when they are equal, whatever their hashes are.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.bits import bits_of, fetch_early
from codec.columns import DIRECTION, PRICE, SEQUENCE, SYMBOL_ID, TS_EVENT_US, VOLUME, TickBuffer
from codec.kernel import inlined, kernel
from codec.markets import parse_symbol
from codec.symbols import SymbolTable

WINDOW_KEYS = 4096
assert WINDOW_KEYS & (WINDOW_KEYS - 1) == 0
_SLOTS = 2 * WINDOW_KEYS
_EMPTY = -1
_SYMBOLS_FIRST = 64

# Of one remembered key, side by side: one line of memory is then all that a look at it costs.
_KEY_SEQUENCE, _KEY_CHECK, _KEY_ORDINAL = range(3)
_KEY_PARTS = 3
_ROWS_AHEAD = 12
"""A row's places in the window are asked of the memory so many rows before: each is somewhere else."""

_MIX_A, _MIX_B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_SECOND_US = 1_000_000


@inlined
def _hash(sequence: int, salt: int) -> np.uint64:
    mixed = (np.uint64(sequence) ^ (np.uint64(salt) << np.uint64(40))) * _MIX_A
    return (mixed ^ (mixed >> np.uint64(29))) * _MIX_B >> np.uint64(16)


@kernel
def payload_checks(
    wide: NDArray[np.int64],
    real: NDArray[np.float64],
    small: NDArray[np.uint8],
    rows: int,
    checks: NDArray[np.uint64],
) -> None:
    """Write to `checks` what makes two ticks of one sequence the same: a 64-bit mix of price, volume,
    direction and second of the first `rows` rows of a TickBuffer's blocks."""
    for i in range(rows):
        second = np.uint64(wide[TS_EVENT_US, i] // _SECOND_US)
        mixed = (bits_of(real[PRICE, i]) ^ (second << np.uint64(1))) * _MIX_A
        mixed = (mixed ^ (mixed >> np.uint64(32)) ^ bits_of(real[VOLUME, i])) * _MIX_B
        mixed = (mixed ^ (mixed >> np.uint64(29)) ^ np.uint64(small[DIRECTION, i])) * _MIX_A
        checks[i] = mixed ^ (mixed >> np.uint64(32))


@kernel
def _test(
    symbols: NDArray[np.int32],
    sequences: NDArray[np.int64],
    checks: NDArray[np.int64],
    rows: int,
    slots: NDArray[np.int16],
    known: NDArray[np.int64],
    newest: NDArray[np.int64],
    batch_slots: NDArray[np.int32],
    fresh: NDArray[np.bool_],
    ordinals: NDArray[np.uint32],
) -> tuple[int, int]:
    """Judge each row against the window and against the rows before it.

    `batch_slots` is scratch: a power of two of at least 2 * rows, all _EMPTY. Writes `fresh` and,
    for fresh rows, `ordinals`; returns how many rows are fresh, and how many of these share a
    sequence with another tick.
    """
    count, conflicts = 0, 0
    batch_mask = np.int64(len(batch_slots) - 1)
    for i in range(rows):
        symbol, sequence, check = np.int64(symbols[i]), sequences[i], checks[i]
        repeat, ordinal = False, np.int64(0)
        if sequence <= newest[symbol]:
            place = np.int64(_hash(sequence, 0)) & (_SLOTS - 1)
            while slots[symbol, place] != _EMPTY:
                held = np.int64(slots[symbol, place])
                if known[symbol, held, _KEY_SEQUENCE] == sequence:
                    if known[symbol, held, _KEY_CHECK] == check:
                        repeat = True
                        break
                    ordinal = max(ordinal, known[symbol, held, _KEY_ORDINAL] + 1)
                place = (place + 1) & (_SLOTS - 1)
        place = np.int64(_hash(sequence, symbol)) & batch_mask
        while not repeat and batch_slots[place] != _EMPTY:
            other = np.int64(batch_slots[place])
            if sequences[other] == sequence and symbols[other] == symbol:
                if checks[other] == check:
                    repeat = True
                    break
                ordinal = max(ordinal, np.int64(ordinals[other]) + 1)
            place = (place + 1) & batch_mask
        fresh[i] = not repeat
        if not repeat:
            batch_slots[place] = i
            ordinals[i] = ordinal
            count += 1
            conflicts += ordinal > 0
    return count, conflicts


@kernel
def _forget(symbol: int, ring_at: int, slots: NDArray[np.int16], known: NDArray[np.int64]) -> None:
    """Take the entry at `ring_at` out of the symbol's hash table, closing the gap behind it."""
    place = np.int64(_hash(known[symbol, ring_at, _KEY_SEQUENCE], 0)) & (_SLOTS - 1)
    while slots[symbol, place] != ring_at:
        place = (place + 1) & (_SLOTS - 1)
    hole = place
    while True:
        place = (place + 1) & (_SLOTS - 1)
        held = np.int64(slots[symbol, place])
        if held == _EMPTY:
            break
        home = np.int64(_hash(known[symbol, held, _KEY_SEQUENCE], 0)) & (_SLOTS - 1)
        # An entry may move back to the hole unless its home lies behind it.
        if ((place - home) & (_SLOTS - 1)) >= ((place - hole) & (_SLOTS - 1)):
            slots[symbol, hole] = held
            hole = place
    slots[symbol, hole] = _EMPTY


@kernel
def _mark(
    symbols: NDArray[np.int32],
    sequences: NDArray[np.int64],
    checks: NDArray[np.int64],
    ordinals: NDArray[np.uint32],
    fresh: NDArray[np.bool_],
    rows: int,
    slots: NDArray[np.int16],
    known: NDArray[np.int64],
    newest: NDArray[np.int64],
    marked: NDArray[np.int64],
) -> None:
    """Add the fresh rows to the window; the oldest keys of their symbols make room."""
    for i in range(rows):
        if i + _ROWS_AHEAD < rows:
            later = np.int64(symbols[i + _ROWS_AHEAD])
            fetch_early(known, (later * WINDOW_KEYS + (marked[later] & (WINDOW_KEYS - 1))) * _KEY_PARTS)
            fetch_early(slots, later * _SLOTS + (np.int64(_hash(sequences[i + _ROWS_AHEAD], 0)) & (_SLOTS - 1)))
        if not fresh[i]:
            continue
        symbol, sequence = np.int64(symbols[i]), sequences[i]
        ring_at = marked[symbol] & (WINDOW_KEYS - 1)
        if marked[symbol] >= WINDOW_KEYS:
            _forget(symbol, ring_at, slots, known)
        known[symbol, ring_at, _KEY_SEQUENCE] = sequence
        known[symbol, ring_at, _KEY_CHECK] = checks[i]
        known[symbol, ring_at, _KEY_ORDINAL] = ordinals[i]
        place = np.int64(_hash(sequence, 0)) & (_SLOTS - 1)
        while slots[symbol, place] != _EMPTY:
            place = (place + 1) & (_SLOTS - 1)
        slots[symbol, place] = ring_at
        newest[symbol] = max(newest[symbol], sequence)
        marked[symbol] += 1


@kernel
def _unroll(
    known: NDArray[np.int64],
    marked: NDArray[np.int64],
    counts: NDArray[np.int64],
    sequences: NDArray[np.int64],
    checks: NDArray[np.int64],
    ordinals: NDArray[np.uint32],
) -> None:
    """Write the keys of the first len(counts) symbols one behind the other, each symbol's oldest first."""
    place = 0
    for symbol in range(len(counts)):
        for number in range(counts[symbol]):
            ring_at = (marked[symbol] - counts[symbol] + number) & (WINDOW_KEYS - 1)
            sequences[place] = known[symbol, ring_at, _KEY_SEQUENCE]
            checks[place] = known[symbol, ring_at, _KEY_CHECK]
            ordinals[place] = known[symbol, ring_at, _KEY_ORDINAL]
            place += 1


class Reply(NamedTuple):
    """Rows `first_row` to `stop_row` of a buffer answer a pull; `is_full` when the reply held all that one may."""

    first_row: int
    stop_row: int
    is_full: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a window's `test` found of the rows of a buffer.

    Attributes
    ----------
    fresh : (rows,) bool, False for repeats
    ordinals : (rows,) uint32, meant only where `fresh`
    checks : (rows,) uint64 payload checks
    fresh_rows, conflicts : how many are fresh, and how many ticks or pushes share the sequence of another
    """

    fresh: NDArray[np.bool_]
    ordinals: NDArray[np.uint32]
    checks: NDArray[np.uint64]
    fresh_rows: int
    conflicts: int


class SequenceWindow:
    """The last `WINDOW_KEYS` keys of each symbol of one source. Not thread-safe."""

    def __init__(self, symbols: SymbolTable) -> None:
        self._table = symbols
        self._capacity = 0
        self._arrays: tuple[NDArray[Any], ...] = ()
        self._grow(_SYMBOLS_FIRST)

    def _grow(self, capacity: int) -> None:
        """Room for `capacity` symbols. All of it is written, so that memory does not grow later."""
        shapes = ((_SLOTS,), (WINDOW_KEYS, _KEY_PARTS), (), ())
        kinds = (np.int16, np.int64, np.int64, np.int64)
        fills = (_EMPTY, 0, np.iinfo(np.int64).min, 0)
        grown = [
            np.full((capacity, *shape), fill, kind) for shape, fill, kind in zip(shapes, fills, kinds, strict=True)
        ]
        for new, old in zip(grown, self._arrays, strict=False):
            new[: self._capacity] = old
        self._arrays = tuple(grown)
        self._capacity = capacity

    def _make_room(self) -> None:
        needed = len(self._table.names)
        if needed > self._capacity:
            self._grow(max(needed, self._capacity + self._capacity // 2))

    def test(self, ticks: TickBuffer, replies: Sequence[Reply] = ()) -> Verdict:
        """Tell repeats in `ticks` from fresh rows; changes nothing (rule 1).

        Pulled ticks have their sequences as pushed ones do, so `replies` says nothing new.
        """
        self._make_room()
        rows = ticks.rows
        checks = np.empty(rows, np.uint64)
        payload_checks(ticks.wide, ticks.real, ticks.small, rows, checks)
        fresh, ordinals = np.empty(rows, np.bool_), np.zeros(rows, np.uint32)
        scratch = np.full(1 << max(4, (2 * rows - 1).bit_length()), _EMPTY, np.int32)
        symbol_ids, sequences = _keys(ticks)
        slots, known, newest, _ = self._arrays
        count, conflicts = _test(
            symbol_ids, sequences, checks.view(np.int64), rows, slots, known, newest, scratch, fresh, ordinals
        )
        return Verdict(fresh, ordinals, checks, int(count), int(conflicts))

    def mark(self, ticks: TickBuffer, verdict: Verdict) -> None:
        """Remember the fresh rows of `ticks`: they are durable now."""
        self._mark(*_keys(ticks), verdict.checks, verdict.ordinals, verdict.fresh)

    def mark_journaled(self, ticks: TickBuffer, ordinals: NDArray[np.uint32]) -> None:
        """Remember rows that were read back from the journal with their (rows,) `ordinals`."""
        rows = ticks.rows
        checks = np.empty(rows, np.uint64)
        payload_checks(ticks.wide, ticks.real, ticks.small, rows, checks)
        self._mark(*_keys(ticks), checks, ordinals, np.ones(rows, np.bool_))

    def _mark(
        self,
        symbol_ids: NDArray[np.int32],
        sequences: NDArray[np.int64],
        checks: NDArray[np.uint64],
        ordinals: NDArray[np.uint32],
        fresh: NDArray[np.bool_],
    ) -> None:
        self._make_room()
        _mark(symbol_ids, sequences, checks.view(np.int64), ordinals, fresh, len(sequences), *self._arrays)

    def newest_sequence(self, symbol_id: int) -> int | None:
        """The greatest sequence marked for a symbol, or None when there is none yet."""
        _, _, newest, marked = self._arrays
        if symbol_id >= self._capacity or marked[symbol_id] == 0:
            return None
        return int(newest[symbol_id])

    def extent(self, symbol_id: int) -> tuple[int, int, int]:
        """How many keys of a symbol are held, the second of the one marked first, and the greatest one ever.

        An OpenD's sequences begin with the unix second; other numbers give other units.
        """
        _, known, newest, marked = self._arrays
        if symbol_id >= len(marked) or marked[symbol_id] == 0:
            return 0, 0, 0
        count = int(marked[symbol_id])
        first = count % WINDOW_KEYS if count > WINDOW_KEYS else 0
        return min(count, WINDOW_KEYS), int(known[symbol_id, first, _KEY_SEQUENCE]) >> 32, int(newest[symbol_id]) >> 32

    def export(self) -> bytes:
        """The whole state, for `restore` in another process.

        Each part is one piece of memory, got and given back whole: thousands of small ones would stay with the
        process.
        """
        self._make_room()
        _, known, _, marked = self._arrays
        counts = np.minimum(marked[: len(self._table.names)], WINDOW_KEYS)
        held = int(counts.sum())
        sequences, checks, ordinals = np.empty(held, np.int64), np.empty(held, np.int64), np.empty(held, np.uint32)
        _unroll(known, marked, counts, sequences, checks, ordinals)
        present = np.flatnonzero(counts)
        sink = io.BytesIO()
        np.savez(
            sink,
            names=np.array([self._table.names[id_] for id_ in present.tolist()], np.str_),
            counts=counts[present],
            sequences=sequences,
            checks=checks.view(np.uint64),
            ordinals=ordinals,
        )
        return sink.getvalue()

    def restore(self, exported: bytes) -> None:
        """Add what `export` gave, oldest first.

        Raises
        ------
        ValueError
            These are not the bytes of an export.
        """
        try:
            with np.load(io.BytesIO(exported), allow_pickle=False) as state:
                names, counts = state["names"].tolist(), state["counts"]
                sequences, checks, ordinals = state["sequences"], state["checks"], state["ordinals"]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"these {len(exported)} bytes are no export of a window: {error}") from error
        ids = [self._table.id_of(*parse_symbol(name)) for name in names]
        symbol_ids = np.repeat(np.array(ids, np.int32), counts)
        self._mark(symbol_ids, sequences, checks, ordinals, np.ones(len(symbol_ids), np.bool_))


def _keys(ticks: TickBuffer) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(rows,) symbol ids and sequences."""
    rows = slice(ticks.rows)
    return ticks.narrow[SYMBOL_ID, rows], ticks.wide[SEQUENCE, rows]
