"""The gateway's own count of ticks, where its sequences have one: what came in turn, and what did not.

OpenD's sequence is (unix second << 32) | counter, and on Hong Kong's exchange the counter grows by
one with every tick of a symbol and begins anew each day (docs/protocols/opend.md 4). A tick that is
not the next one of its day is a step, and worth a second look; all others cost a few nanoseconds.
Other markets have no counter: of them only the newest tick is remembered. Where sequences are no order
(LongPort: they may begin anew, and pulled trades have none), the exchange's time says which one that is, and
an older one is remembered too: ticks may come `LATE_S` behind newer ones.

Rule 1: what is remembered depends on the rows alone, so that records read back after a restart, in
the order of the journal, leave the same behind.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.columns import DELIVERY_CODE, GATEWAY_ID, SEQUENCE, SYMBOL_ID, TS_EVENT_US, TickBuffer
from codec.kernel import inlined, kernel
from codec.markets import HK, MARKET_PREFIXES
from codec.symbols import SYMBOLS_MAX, SymbolTable
from codec.tables import DELIVERY

DISCONNECT_TICKS_MAX = 50
"""OpenD supplies no more ticks of a time without its backend than these (docs/protocols/opend.md 4)."""

LATE_S = 2
"""Where times are the order of ticks: so much younger ones may have come before a tick does."""

_COUNTED_PREFIX = f"{MARKET_PREFIXES[HK]}."
_HK_OFFSET_S = 8 * 3600
_DAY_S = 86_400
_DAY_SPAN = _DAY_S << 32
_LOW = (1 << 32) - 1
_SECOND_US = 1_000_000
_BY_DISCONNECT, _CACHE = DELIVERY.code("by_disconnect"), DELIVERY.code("cache")

# Columns of the state, one row a symbol.
_NEWEST, _NEWEST_US, _DAY, _ROWS, _SUPPLIED, _SETTLED, _SETTLED_US, _MARK, _MARK_US = range(9)
_STATE_COLUMNS = 9
# Columns of what did not come in turn.
_KIND, _SYMBOL, _FIRST_ROW, _LAST_ROW, _BEFORE, _BEFORE_US = range(6)
_TURN_COLUMNS = 6
_FIRST, _STEP, _NEXT_DAY, _LATE, _CAPPED = range(5)


@kernel
def _day_of(sequence: int) -> int:
    """The sequence at local midnight of a tick's day."""
    second = sequence >> 32
    return (second - (second + _HK_OFFSET_S) % _DAY_S) << 32


@kernel
def _out_of_turn(
    i: int,
    symbol: int,
    sequences: NDArray[np.int64],
    symbols: NDArray[np.int32],
    state: NDArray[np.int64],
    turns: NDArray[np.int64],
    count: int,
) -> tuple[int, bool]:
    """Note that row `i` is not the next one of its symbol's day; how many notes there are now, and whether
    the row is the newest of its symbol."""
    sequence, newest, day = sequences[i], state[symbol, _NEWEST], state[symbol, _DAY]
    kind = _LATE
    if state[symbol, _ROWS] == 0:
        kind = _FIRST
    elif sequence - day >= _DAY_SPAN:
        kind = _NEXT_DAY
    elif sequence >= day and (sequence & _LOW) > (newest & _LOW):
        kind = _STEP
    if kind == _LATE and count > 0:
        last = count - 1
        follows = turns[last, _KIND] == _LATE and turns[last, _LAST_ROW] == i - 1 and symbols[i - 1] == symbol
        if (
            follows
            and (sequence & _LOW) == (sequences[i - 1] & _LOW) + 1
            and _day_of(sequence) == _day_of(sequences[i - 1])
        ):
            turns[last, _LAST_ROW] = i
            return count, False
    turns[count, _KIND] = kind
    turns[count, _SYMBOL] = symbol
    turns[count, _FIRST_ROW] = turns[count, _LAST_ROW] = i
    turns[count, _BEFORE] = newest
    turns[count, _BEFORE_US] = state[symbol, _NEWEST_US]
    if kind in (_FIRST, _NEXT_DAY):
        state[symbol, _DAY] = _day_of(sequence)
    return count + 1, kind != _LATE


@inlined
def _settle(symbol: int, sequence: int, event_us: int, state: NDArray[np.int64]) -> None:
    """A symbol has one more tick: the one marked last is settled once it is old enough, and the newest marked; while
    none is, the oldest of all is the settled one."""
    if state[symbol, _ROWS] == 0:
        state[symbol, _SETTLED], state[symbol, _SETTLED_US] = sequence, event_us
        state[symbol, _MARK], state[symbol, _MARK_US] = sequence, event_us
    elif (
        event_us < state[symbol, _SETTLED_US]
        and state[symbol, _NEWEST_US] - state[symbol, _SETTLED_US] < LATE_S * _SECOND_US
    ):
        state[symbol, _SETTLED], state[symbol, _SETTLED_US] = sequence, event_us
    elif state[symbol, _NEWEST_US] - state[symbol, _MARK_US] >= LATE_S * _SECOND_US:
        state[symbol, _SETTLED], state[symbol, _SETTLED_US] = state[symbol, _MARK], state[symbol, _MARK_US]
        state[symbol, _MARK], state[symbol, _MARK_US] = state[symbol, _NEWEST], state[symbol, _NEWEST_US]


@kernel
def follow(
    symbols: NDArray[np.int32],
    sequences: NDArray[np.int64],
    events_us: NDArray[np.int64],
    deliveries: NDArray[np.uint8],
    fresh: NDArray[np.bool_],
    begin: int,
    end: int,
    by_time: bool,
    counted: NDArray[np.bool_],
    state: NDArray[np.int64],
    turns: NDArray[np.int64],
) -> int:
    """Take in the fresh ones of rows `begin` to `end` of a TickBuffer.

    Parameters
    ----------
    symbols, sequences, events_us, deliveries, fresh : (>= end,) read only
    by_time : whether the newest tick is the one that the exchange dated last, not the one of the greatest sequence
    counted : (symbols,) whether a symbol's sequences have a counter
    state : (symbols, _STATE_COLUMNS), changed in place
    turns : (2 * (end - begin), 6), written from its beginning

    Returns
    -------
    How many rows of `turns` were written: what did not come in turn, in the order of the rows
    """
    count = 0
    run_first, run_rows, run_before, run_before_us = 0, 0, 0, 0
    for i in range(begin, end):
        symbol, delivery = int(symbols[i]), deliveries[i]
        if delivery == _BY_DISCONNECT:
            if run_rows == 0 or symbols[i - 1] != symbol:
                run_first, run_rows = i, 0
                run_before, run_before_us = state[symbol, _NEWEST], state[symbol, _NEWEST_US]
            run_rows += 1
            if run_rows == DISCONNECT_TICKS_MAX:
                turns[count, _KIND] = _CAPPED
                turns[count, _SYMBOL] = symbol
                turns[count, _FIRST_ROW], turns[count, _LAST_ROW] = run_first, i
                turns[count, _BEFORE], turns[count, _BEFORE_US] = run_before, run_before_us
                count += 1
        else:
            run_rows = 0
        if not fresh[i]:
            continue
        sequence, newest = sequences[i], state[symbol, _NEWEST]
        if by_time:
            is_newest = state[symbol, _ROWS] == 0 or events_us[i] >= state[symbol, _NEWEST_US]
        elif not counted[symbol]:
            is_newest = state[symbol, _ROWS] == 0 or sequence > newest
        elif (
            (sequence & _LOW) == (newest & _LOW) + 1
            and 0 <= sequence - state[symbol, _DAY] < _DAY_SPAN
            and state[symbol, _ROWS] > 0
        ):
            is_newest = True
        else:
            count, is_newest = _out_of_turn(i, symbol, sequences, symbols, state, turns, count)
        if is_newest:
            state[symbol, _NEWEST], state[symbol, _NEWEST_US] = sequence, events_us[i]
        if by_time:
            _settle(symbol, sequence, events_us[i], state)
        state[symbol, _ROWS] += 1
        if delivery == _BY_DISCONNECT:
            state[symbol, _SUPPLIED] += 1
        if delivery == _CACHE:
            state[symbol, _SUPPLIED] += 1
    return count


class Turn(enum.IntEnum):
    """In which way rows did not come in turn."""

    FIRST = _FIRST
    """Nothing was known of the symbol."""
    STEP = _STEP
    """Counters between it and the newest tick of its day are missing."""
    NEXT_DAY = _NEXT_DAY
    """A later day than any before."""
    LATE = _LATE
    """Older than what is there already: consecutive ticks, one behind the other."""
    CAPPED = _CAPPED
    """As many ticks of a time without backend as OpenD gives at most, of any market, fresh or not."""


@dataclass(frozen=True, slots=True)
class TickAt:
    """One tick that is known: where it stands."""

    sequence: int
    ts_us: int


@dataclass(frozen=True, slots=True)
class OutOfTurn:
    """Rows that did not come in turn; `before` was the symbol's newest tick then."""

    turn: Turn
    symbol_id: int
    gateway_id: int
    first_row: int
    first: TickAt
    last: TickAt
    before: TickAt | None


def place_of(sequence: int) -> int:
    """The place of a counted tick: days apart, and within a day dense from one tick to the next."""
    day = ((sequence >> 32) + _HK_OFFSET_S) // _DAY_S
    return day << 32 | (sequence & _LOW)


def day_of_place(place: int) -> int:
    """The number of the day of a place."""
    return place >> 32


def counter_of_place(place: int) -> int:
    """The gateway's counter at a place."""
    return place & _LOW


class TickFollower:
    """The newest tick of each symbol of one source. Not thread-safe but for `rows_of`.

    `has_counter` says whether the source's sequences hold the counter on Hong Kong's exchange, `by_time` whether
    they are no order of ticks at all (LongPort).
    """

    def __init__(self, symbols: SymbolTable, *, has_counter: bool, by_time: bool = False) -> None:
        self._symbols = symbols
        self._has_counter = has_counter
        self._by_time = by_time
        self._known = 0
        # Not written until a symbol is met: the system gives pages as they are touched.
        self._state: NDArray[np.int64] = np.zeros((SYMBOLS_MAX, _STATE_COLUMNS), np.int64)
        self._counted: NDArray[np.bool_] = np.zeros(SYMBOLS_MAX, np.bool_)
        self._turns: NDArray[np.int64] = np.empty((0, _TURN_COLUMNS), np.int64)

    def follow(self, ticks: TickBuffer, fresh: NDArray[np.bool_], begin: int, end: int) -> list[OutOfTurn]:
        """Take in the fresh rows among `begin` to `end`; what did not come in turn, in order."""
        self._meet()
        if begin == end:
            return []
        if len(self._turns) < 2 * (end - begin):
            self._turns = np.empty((2 * ticks.capacity, _TURN_COLUMNS), np.int64)
        sequences, events_us = ticks.wide[SEQUENCE], ticks.wide[TS_EVENT_US]
        count = follow(
            ticks.narrow[SYMBOL_ID], sequences, events_us, ticks.small[DELIVERY_CODE], fresh, begin, end,
            self._by_time, self._counted, self._state, self._turns,
        )  # fmt: skip
        turns = []
        for kind, symbol_id, first, last, before, before_us in self._turns[:count].tolist():
            turns.append(
                OutOfTurn(
                    Turn(kind),
                    symbol_id,
                    int(ticks.small[GATEWAY_ID, first]),
                    first,
                    TickAt(int(sequences[first]), int(events_us[first])),
                    TickAt(int(sequences[last]), int(events_us[last])),
                    None if kind == _FIRST or before == 0 else TickAt(before, before_us),
                )
            )
        return turns

    def _meet(self) -> None:
        for id_ in range(self._known, len(self._symbols.names)):
            self._counted[id_] = self._has_counter and self._symbols.names[id_].startswith(_COUNTED_PREFIX)
        self._known = len(self._symbols.names)

    def counts(self, symbol_id: int) -> bool:
        """Whether the symbol's sequences have a counter."""
        self._meet()
        return bool(self._counted[symbol_id])

    def newest(self, symbol_id: int) -> TickAt | None:
        """The symbol's newest tick."""
        sequence, ts_us, _, rows, *_ = self._state[symbol_id].tolist()
        return TickAt(sequence, ts_us) if rows else None

    def settled(self, symbol_id: int) -> TickAt | None:
        """The symbol's newest tick behind all that can still come by itself: an older one where times are the order."""
        if not self._by_time or self.rows(symbol_id) == 0:
            return self.newest(symbol_id)
        return TickAt(*self._state[symbol_id, _SETTLED : _SETTLED_US + 1].tolist())

    def rows(self, symbol_id: int) -> int:
        """How many rows of the symbol were taken in."""
        return int(self._state[symbol_id, _ROWS])

    def rows_of(self, symbol_ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """The same of several symbols, for another thread to watch."""
        rows: NDArray[np.int64] = self._state[symbol_ids, _ROWS]
        return rows

    def supplied(self, symbol_id: int) -> int:
        """How many of these came from the gateway's cache, or for a time without its backend."""
        return int(self._state[symbol_id, _SUPPLIED])

    def export(self) -> tuple[list[str], NDArray[np.int64]]:
        """The symbols of which anything is known, and a row of state each, for `restore`."""
        ids = np.flatnonzero(self._state[: len(self._symbols.names), _ROWS])
        return [self._symbols.names[id_] for id_ in ids.tolist()], self._state[ids]

    def restore(self, symbol_ids: NDArray[np.int32], state: NDArray[np.int64]) -> None:
        """Put back what `export` gave, its symbols under these ids; it may be of before there were all columns."""
        self._state[symbol_ids, : state.shape[1]] = state
