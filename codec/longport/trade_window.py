"""Repeats among trades, pushed and pulled: which of them were seen before.

A push has one sequence for all of its trades and is judged as a whole: again with the same trades it is a
repeat, and with others its ordinals go on from the highest one used (contract.md, Exact meanings). Pulled trades
have no sequence, so equal trades are counted. *Equal* is the same second, price, volume, direction, condition
and session, and the exchange makes several such.

- A reply has all trades of every second but the first one of a full reply. Where it holds N equal ones and
  H are held, the last max(0, N - H) are new. They get a key made of their content, and nobody has claimed them.
- A pushed trade whose equal was pulled and is not claimed claims that: it is the same one, pushed late. Whichever
  of the two comes first, the trade is a row once.
- A trade pushed without a sequence (0, or less: ours are below 0) gets such a key too, claimed from the beginning.

Why it is exact: of seconds that ended before a reply was made N is all there were; of those that began after the
subscription stood all are pushed. So max(N, pushed) is all there were in each second, as long as no second holds
both, which whoever pulls sees to.

Rule 1: `test` changes nothing that is remembered. `mark` is called with its verdict once the batch is durable.
Rule 2: rows read back from the journal leave the same behind, save who claimed what (codec/longport/trade_judge.py).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.columns import DELIVERY_CODE, ORDINAL, SEQUENCE, SYMBOL_ID, TS_EVENT_US, TS_RECV_NS, TickBuffer
from codec.conditions import ConditionTable
from codec.longport.content_keys import content_hashes, key_by_content
from codec.longport.trade_judge import REPLY_PARTS, judge, recall
from codec.longport.trade_memory import (
    CONTENT_PARTS,
    EMPTY,
    PUSH_PARTS,
    PUSHED_PARTS,
    REMEMBERED,
    SLOTS,
    TOUCHED_PARTS,
    as_touched,
    remember_contents,
    remember_pushes,
    second_of,
)
from codec.longport.wire import SECOND_US
from codec.markets import parse_symbol
from codec.symbols import SymbolTable
from codec.tables import DELIVERY
from codec.window import Reply, Verdict

_SYMBOLS_FIRST = 64
_NEVER = np.iinfo(np.int64).min
_PULL = DELIVERY.code("pull")


@dataclass(frozen=True, slots=True)
class TradeVerdict(Verdict):
    """What `TradeWindow.test` found, with what `mark` has to remember of it."""

    touched: NDArray[np.int64]
    pushed: NDArray[np.int64]


class TradeWindow:
    """The last `REMEMBERED` pushes and contents of each symbol of one source. Not thread-safe."""

    def __init__(self, symbols: SymbolTable, conditions: ConditionTable) -> None:
        self._table = symbols
        self._conditions = conditions
        self._capacity = 0
        self._arrays: tuple[NDArray[Any], ...] = ()
        self._grow(_SYMBOLS_FIRST)

    def _grow(self, capacity: int) -> None:
        """Room for `capacity` symbols. All of it is written, so that memory does not grow later."""
        shapes = ((SLOTS,), (REMEMBERED, PUSH_PARTS), (), (), (SLOTS,), (REMEMBERED, CONTENT_PARTS), (), ())
        kinds = (np.int32, *(np.int64,) * 3) * 2
        fills = (EMPTY, 0, _NEVER, 0) * 2
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

    def test(self, ticks: TickBuffer, replies: Sequence[Reply] = ()) -> TradeVerdict:
        """Tell repeats in `ticks`, of which `replies` were pulled, from fresh rows; changes nothing (rule 1).

        Trades that have no sequence of their own get their keys, in the buffer.
        """
        self._make_room()
        rows = ticks.rows
        hashes = content_hashes(ticks, self._conditions)
        for reply in replies:
            key_by_content(ticks, reply.first_row, reply.stop_row, hashes)
        fresh, ordinals = np.empty(rows, np.bool_), np.zeros(rows, np.uint32)
        touched, pushed, scratch = _scratch(rows)
        push_slots, pushes, newest_sequence, _, content_slots, contents, newest_second, _ = self._arrays
        count, conflicts, contents_touched, pushes_new = judge(
            ticks.narrow[SYMBOL_ID], ticks.wide[SEQUENCE], ticks.narrow[ORDINAL], ticks.wide[TS_EVENT_US],
            hashes.view(np.int64), rows, _spans(ticks, replies), push_slots, pushes, newest_sequence, content_slots,
            contents, newest_second, scratch[0], touched, scratch[1], pushed, np.empty(rows, np.int32), fresh, ordinals,
        )  # fmt: skip
        return TradeVerdict(
            fresh, ordinals, hashes, int(count), int(conflicts), touched[:contents_touched], pushed[:pushes_new]
        )

    def mark(self, ticks: TickBuffer, verdict: Verdict) -> None:
        """Remember what the verdict on `ticks`, the last one given, found: its rows are durable now."""
        assert isinstance(verdict, TradeVerdict)
        self._remember(verdict.touched, len(verdict.touched), verdict.pushed, len(verdict.pushed))

    def mark_journaled(self, ticks: TickBuffer, ordinals: NDArray[np.uint32]) -> None:
        """Remember rows that were read back from the journal with their (rows,) `ordinals`."""
        self._make_room()
        rows = ticks.rows
        touched, pushed, scratch = _scratch(rows)
        push_slots, pushes, newest_sequence, _, content_slots, contents, newest_second, _ = self._arrays
        contents_touched, pushes_new = recall(
            ticks.narrow[SYMBOL_ID], ticks.wide[SEQUENCE], ordinals, ticks.wide[TS_EVENT_US], ticks.wide[TS_RECV_NS],
            ticks.small[DELIVERY_CODE, :rows] == _PULL, content_hashes(ticks, self._conditions).view(np.int64), rows,
            push_slots, pushes, newest_sequence, content_slots, contents, newest_second, scratch[0], touched,
            scratch[1], pushed,
        )  # fmt: skip
        self._remember(touched, int(contents_touched), pushed, int(pushes_new))

    def _remember(
        self, touched: NDArray[np.int64], contents_touched: int, pushed: NDArray[np.int64], pushes_new: int
    ) -> None:
        remember_pushes(pushed, pushes_new, *self._arrays[:4])
        remember_contents(touched, contents_touched, *self._arrays[4:])

    def newest_sequence(self, symbol_id: int) -> int | None:
        """The greatest sequence of a push of a symbol, or None when there is none yet."""
        _, _, newest, marked, *_ = self._arrays
        if symbol_id >= self._capacity or marked[symbol_id] == 0:
            return None
        return int(newest[symbol_id])

    def extent(self, symbol_id: int) -> tuple[int, int, int]:
        """How many contents of a symbol are held, the second of the one marked first, and the greatest one ever."""
        *_, contents, newest, marked = self._arrays
        if symbol_id >= len(marked) or marked[symbol_id] == 0:
            return 0, 0, 0
        count = int(marked[symbol_id])
        first = count % REMEMBERED if count > REMEMBERED else 0
        return min(count, REMEMBERED), second_of(contents[symbol_id, first]), int(newest[symbol_id])

    def export(self) -> bytes:
        """The whole state, for `restore` in another process, each symbol's oldest entries first."""
        self._make_room()
        names = self._table.names
        push_counts, pushes = _unrolled(self._arrays[1], self._arrays[3], len(names))
        content_counts, contents = _unrolled(self._arrays[5], self._arrays[7], len(names))
        present = np.flatnonzero(content_counts + push_counts)
        sink = io.BytesIO()
        np.savez(
            sink,
            names=np.array([names[id_] for id_ in present.tolist()], np.str_),
            push_counts=push_counts[present],
            pushes=pushes,
            content_counts=content_counts[present],
            contents=contents,
        )
        return sink.getvalue()

    def restore(self, exported: bytes) -> None:
        """Put what `export` gave into a window that knows nothing yet of its symbols.

        Raises
        ------
        ValueError
            These are not the bytes of an export.
        """
        try:
            with np.load(io.BytesIO(exported), allow_pickle=False) as state:
                names, push_counts, content_counts = (
                    state["names"].tolist(),
                    state["push_counts"],
                    state["content_counts"],
                )
                pushes, contents = state["pushes"], state["contents"]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"these {len(exported)} bytes are no export of a window: {error}") from error
        ids = np.array([self._table.id_of(*parse_symbol(name)) for name in names], np.int64)
        self._make_room()
        pushed = np.column_stack((pushes, np.repeat(ids, push_counts)))
        touched = as_touched(np.repeat(ids, content_counts), contents)
        self._remember(touched, len(touched), pushed, len(pushed))


def _scratch(rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Room for what `rows` rows touch, for the pushes that they bring, and two hash tables over these."""
    slots = 1 << max(4, (2 * rows - 1).bit_length())
    return (
        np.empty((rows, TOUCHED_PARTS), np.int64),
        np.empty((rows, PUSHED_PARTS), np.int64),
        (np.full(slots, EMPTY, np.int32), np.full(slots, EMPTY, np.int32)),
    )


def _spans(ticks: TickBuffer, replies: Sequence[Reply]) -> NDArray[np.int64]:
    """Replies as the kernel takes them; empty ones say nothing."""
    spans = np.empty((len(replies), REPLY_PARTS), np.int64)
    count = 0
    for reply in replies:
        if reply.first_row < reply.stop_row:
            oldest_us = int(ticks.wide[TS_EVENT_US, reply.first_row : reply.stop_row].min())
            from_second = oldest_us // SECOND_US + 1 if reply.is_full else 0
            spans[count] = reply.first_row, reply.stop_row, from_second
            count += 1
    return spans[:count]


def _unrolled(
    rings: NDArray[np.int64], marked: NDArray[np.int64], symbols: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many entries each of the first `symbols` symbols has, and all of them, each symbol's oldest first."""
    counts = np.minimum(marked[:symbols], REMEMBERED)
    stops = np.cumsum(counts)
    ids = np.repeat(np.arange(symbols), counts)
    places = np.arange(len(ids)) + np.repeat(marked[:symbols] - stops, counts)
    return counts, rings[ids, places % REMEMBERED]
