"""Trades pushed and pulled, in any order and any cut, against an oracle that takes one event after the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bits import JIT_DISABLED
from codec.columns import ORDINAL, SEQUENCE, TickBuffer
from codec.conditions import ConditionTable
from codec.longport.content_keys import KEY_HASH_BITS, content_hashes
from codec.longport.trade_memory import REMEMBERED
from codec.longport.trade_window import TradeWindow
from codec.markets import US
from codec.symbols import SymbolTable
from codec.tables import DELIVERY
from codec.window import Reply
from tests.codec.examples import examples
from tests.codec.tick_rows import Tick, buffer_of

SECOND_US = 1_000_000
BEGIN_US = 1_795_138_200 * SECOND_US
PULL = DELIVERY.code("pull")


def trade(price: float, second: int = 0, symbol: int = 0) -> Tick:
    return Tick(symbol, 0, price, ts_event_us=BEGIN_US + second * SECOND_US)


def hash_of(tick: Tick) -> int:
    return int(content_hashes(buffer_of([tick]), ConditionTable())[0])


def key_of(tick: Tick) -> int:
    bits = hash_of(tick) >> (64 - KEY_HASH_BITS)
    return -(tick.ts_event_us // SECOND_US << KEY_HASH_BITS | bits)


def colliding_prices() -> tuple[float, float]:
    """Two prices whose trades share a key in the first second."""
    prices = np.arange(1, 20_000) / 100
    buffer = TickBuffer(len(prices))
    buffer.rows = len(prices)
    ticks = buffer_of([trade(1.0)])
    for name in ("ts_event", "volume", "direction", "session"):
        buffer.column(name)[:] = ticks.column(name)[0]
    buffer.column("price")[:] = prices
    bits = content_hashes(buffer, ConditionTable()) >> np.uint64(64 - KEY_HASH_BITS)
    _, firsts, counts = np.unique(bits, return_index=True, return_counts=True)
    first = int(firsts[np.argmax(counts)])
    second = int(np.flatnonzero(bits == bits[first])[1])
    return float(prices[first]), float(prices[second])


ONE, OTHER = colliding_prices()
TRADES = [trade(ONE), trade(OTHER), trade(7.0), trade(7.0, 1), trade(8.0, 1), trade(7.0, 2)]


@dataclass(frozen=True)
class Push:
    symbol: int
    sequence: int
    trades: tuple[Tick, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Pull:
    symbol: int
    trades: tuple[Tick, ...]
    is_full: bool


Event = Push | Pull
Row = tuple[int, int]
"""Sequence and ordinal."""


@dataclass
class Known:
    """A push that is remembered: its trades at their places, and those of them that are rows under its sequence."""

    trades: frozenset[tuple[int, Tick]]
    left: frozenset[tuple[int, Tick]]
    last: int
    is_partial: bool = False


@dataclass
class Oracle:
    """One symbol. Nothing is forgotten."""

    held: Counter[Tick] = field(default_factory=Counter)
    unclaimed: Counter[Tick] = field(default_factory=Counter)
    free: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    pushes: defaultdict[int, list[Known]] = field(default_factory=lambda: defaultdict(list))
    journal: list[tuple[Event, list[Row | None]]] = field(default_factory=list)

    def take(self, event: Event) -> list[Row | None]:
        match event:
            case Pull():
                rows = self.pull(event)
            case Push() if event.sequence <= 0:
                rows = [self.pushed_without(each) for each in event.trades]
            case Push():
                rows = self.push(event)
        self.journal.append((event, rows))
        return rows

    def keyed(self, tick: Tick, wished: int) -> Row:
        sequence = key_of(tick)
        ordinal = max(wished, self.free[sequence])
        self.free[sequence] = ordinal + 1
        self.held[tick] += 1
        return sequence, ordinal

    def claims(self, tick: Tick) -> bool:
        if not self.unclaimed[tick]:
            return False
        self.unclaimed[tick] -= 1
        return True

    def pushed_without(self, tick: Tick) -> Row | None:
        return None if self.claims(tick) else self.keyed(tick, self.held[tick])

    def push(self, event: Push) -> list[Row | None]:
        known = self.pushes[event.sequence]
        trades = frozenset(zip(event.places, event.trades, strict=True))
        if any(each.trades == trades for each in known):
            return [None] * len(trades)
        base = max((each.last + 1 for each in known), default=0)
        rows: list[Row | None] = []
        left = set()
        for place, tick in zip(event.places, event.trades, strict=True):
            if self.claims(tick):
                rows.append(None)
            else:
                rows.append((event.sequence, base + place))
                left.add((place, tick))
        if 0 < len(left) < len(trades) and any(each.is_partial and each.left == left for each in known):
            known.append(Known(trades, frozenset(), -1))
            return [None] * len(rows)
        self.held.update(tick for _, tick in left)
        known.append(Known(trades, frozenset(left), max((row[1] for row in rows if row), default=-1)))
        return rows

    def pull(self, event: Pull) -> list[Row | None]:
        first = min(each.ts_event_us for each in event.trades)
        used = [each for each in event.trades if not event.is_full or each.ts_event_us > first]
        counts, met, before = Counter(used), Counter[Tick](), Counter(self.held)
        rows: list[Row | None] = []
        for tick in event.trades:
            if tick not in counts:
                rows.append(None)
                continue
            number = met[tick]
            met[tick] += 1
            smaller = [each for each in counts if key_of(each) == key_of(tick) and hash_of(each) < hash_of(tick)]
            if number < before[tick]:
                rows.append(None)
            else:
                rows.append(self.keyed(tick, number + sum(counts[each] for each in smaller)))
                self.unclaimed[tick] += 1
        return rows

    def restarted(self) -> Oracle:
        """What the journal tells: who claimed what is forgotten."""
        other = Oracle(journal=list(self.journal))
        for event, rows in self.journal:
            left = [(row, tick) for row, tick in zip(rows, event.trades, strict=True) if row is not None]
            for row, tick in left:
                other.held[tick] += 1
                if row[0] < 0:
                    other.unclaimed[tick] += isinstance(event, Pull)
                    other.free[row[0]] = max(other.free[row[0]], row[1] + 1)
            if isinstance(event, Push) and event.sequence > 0 and left:
                base = max((each.last + 1 for each in other.pushes[event.sequence]), default=0)
                trades = frozenset((row[1] - base, tick) for row, tick in left)
                other.pushes[event.sequence].append(Known(trades, trades, left[-1][0][1], is_partial=True))
        return other


SYMBOLS = 2
REFUSED = 3
"""The sequence of pushes whose first trade was refused."""
_ticks = st.sampled_from(TRADES)
_pushes = st.builds(
    lambda symbol, sequence, trades: Push(
        symbol, sequence, tuple(trades), tuple(range(sequence == REFUSED, (sequence == REFUSED) + len(trades)))
    ),
    st.integers(0, SYMBOLS - 1),
    st.sampled_from([0, 0, -5, 1, 2, REFUSED]),
    st.lists(_ticks, min_size=1, max_size=3),
)
_pulls = st.builds(
    lambda symbol, trades, full: Pull(symbol, tuple(sorted(trades, key=lambda each: each.ts_event_us)), full),
    st.integers(0, SYMBOLS - 1),
    st.lists(_ticks, min_size=1, max_size=8),
    st.booleans(),
)
_events: st.SearchStrategy[Event] = st.one_of(_pushes, _pulls)


def filled(events: list[Event], clock: list[int] | None = None) -> tuple[TickBuffer, list[Reply]]:
    """A buffer with these events, each read at its own time, and which rows are replies."""
    ticks: list[Tick] = []
    places: list[int] = []
    replies = []
    for number, event in enumerate(events):
        first = len(ticks)
        moment = clock[number] if clock else number
        for place, each in enumerate(event.trades):
            word = "pull" if isinstance(event, Pull) else "realtime"
            sequence = 0 if isinstance(event, Pull) else event.sequence
            ticks.append(each._replace(symbol_id=event.symbol, sequence=sequence, delivery=word, ts_recv_ns=moment))
            places.append(place if isinstance(event, Pull) else event.places[place])
        if isinstance(event, Pull):
            replies.append(Reply(first, len(ticks), event.is_full))
    buffer = buffer_of(ticks)
    buffer.narrow[ORDINAL, : buffer.rows] = places
    return buffer, replies


def table() -> SymbolTable:
    symbols = SymbolTable(4)
    for number in range(SYMBOLS):
        symbols.id_of(US, f"T{number}")
    return symbols


class Client:
    """A window and its journal."""

    def __init__(self) -> None:
        self.window = TradeWindow(table(), ConditionTable())
        self.journal: list[tuple[TickBuffer, np.ndarray]] = []
        self.reads = 0

    def judge(self, events: list[Event], *, mark: bool = True) -> list[list[Row | None]]:
        clock = [self.reads + number for number in range(len(events))]
        buffer, replies = filled(events, clock)
        self.reads += len(events)
        verdict = self.window.test(buffer, replies)
        assert verdict.fresh_rows == int(verdict.fresh.sum())
        rows: list[Row | None] = [
            (sequence, ordinal) if fresh else None
            for fresh, sequence, ordinal in zip(
                verdict.fresh.tolist(), buffer.wide[SEQUENCE, : buffer.rows].tolist(), verdict.ordinals.tolist(),
                strict=True,
            )
        ]  # fmt: skip
        again = self.window.test(buffer, replies)
        assert (again.fresh.tolist(), again.ordinals.tolist()) == (verdict.fresh.tolist(), verdict.ordinals.tolist())
        if mark:
            self.window.mark(buffer, verdict)
            self.journal.append((rows_of(buffer, verdict.fresh), verdict.ordinals[verdict.fresh]))
        found, at = [], 0
        for event in events:
            found.append(rows[at : at + len(event.trades)])
            at += len(event.trades)
        return found

    def restart(self, *, from_snapshot: bool) -> None:
        other = TradeWindow(table(), ConditionTable())
        if from_snapshot:
            other.restore(self.window.export())
        else:
            for buffer, ordinals in self.journal:
                other.mark_journaled(buffer, ordinals)
        self.window = other


def rows_of(buffer: TickBuffer, fresh: np.ndarray) -> TickBuffer:
    """The fresh rows, as they are read back from the journal."""
    kept = TickBuffer(max(1, int(fresh.sum())))
    kept.rows = int(fresh.sum())
    for block in ("wide", "real", "narrow", "small"):
        getattr(kept, block)[:, : kept.rows] = getattr(buffer, block)[:, : buffer.rows][:, fresh]
    return kept


_steps = st.lists(
    st.tuples(st.lists(_events, max_size=5), st.sampled_from(["mark", "mark", "fail", "snapshot", "replay"])),
    max_size=6,
)


@examples(300)
@given(steps=_steps)
def test_as_one_event_after_the_other(steps: list[tuple[list[Event], str]]) -> None:
    client, oracles = Client(), [Oracle() for _ in range(SYMBOLS)]
    for events, end in steps:
        if end == "fail":
            client.judge(events, mark=False)
            continue
        found = client.judge(events)
        assert found == [oracles[event.symbol].take(event) for event in events]
        if end == "replay":
            oracles = [oracle.restarted() for oracle in oracles]
        if end in ("snapshot", "replay"):
            client.restart(from_snapshot=end == "snapshot")
    rows = [(event.symbol, row) for oracle in oracles for event, rows in oracle.journal for row in rows if row]
    assert len(rows) == len(set(rows)), "no two trades share a key"


def push(sequence: int, *trades: Tick) -> Push:
    return Push(0, sequence, trades, tuple(range(len(trades))))


def pull(*trades: Tick, full: bool = False) -> Pull:
    return Pull(0, trades, full)


def test_a_trade_that_is_pushed_after_the_pull_that_showed_it_is_a_repeat_once() -> None:
    client = Client()
    [[first, second]] = client.judge([pull(TRADES[2], TRADES[2])])
    assert first == (key_of(TRADES[2]), 0)
    assert second == (key_of(TRADES[2]), 1)
    assert client.judge([push(1, TRADES[2]), push(2, TRADES[2]), push(3, TRADES[2])]) == [[None], [None], [(3, 0)]]


def test_of_a_reply_only_what_is_not_held_is_new_and_a_second_one_changes_nothing() -> None:
    client = Client()
    client.judge([push(1, TRADES[2])])
    assert client.judge([pull(TRADES[2], TRADES[2])]) == [[None, (key_of(TRADES[2]), 1)]]
    assert client.judge([pull(TRADES[2], TRADES[2])]) == [[None, None]]


def test_the_first_second_of_a_full_reply_is_not_used() -> None:
    reply = TRADES[2], TRADES[3]
    assert Client().judge([pull(*reply, full=True)]) == [[None, (key_of(TRADES[3]), 0)]]
    assert Client().judge([pull(*reply)]) == [[(key_of(TRADES[2]), 0), (key_of(TRADES[3]), 0)]]


def test_trades_that_differ_and_share_a_key_are_numbered_together_whatever_came_first() -> None:
    for first in (TRADES[0], TRADES[1]):
        client = Client()
        rows = client.judge([push(0, first), pull(TRADES[0], TRADES[1]), push(-1, first), push(0, TRADES[1])])
        keys = [row for of_event in rows for row in of_event if row]
        assert len({sequence for sequence, _ in keys}) == 1
        assert sorted(ordinal for _, ordinal in keys) == [0, 1, 2] + [3] * (first == TRADES[1])


def test_a_push_some_of_whose_trades_had_claimed_is_known_after_a_restart() -> None:
    one, other = TRADES[2], TRADES[3]
    client = Client()
    assert client.judge([pull(one), push(1, one, other)]) == [[(key_of(one), 0)], [None, (1, 1)]]
    client.restart(from_snapshot=False)
    for _ in range(2):
        assert client.judge([push(1, one, other)]) == [[None, None]]
    assert client.judge([push(2, one)]) == [[(2, 0)]], "the pulled one is claimed again"
    assert client.judge([pull(one, one, other, other)]) == [[None, None, None, (key_of(other), 1)]]


def test_a_push_with_more_trades_is_another_one_whatever_of_it_was_pulled() -> None:
    client = Client()
    client.judge([Push(0, 1, (TRADES[3],), (1,)), pull(TRADES[2])])
    assert client.judge([push(1, TRADES[2], TRADES[3])]) == [[None, (1, 3)]]


def test_a_trade_pushed_without_a_sequence_is_claimed_after_a_restart_too() -> None:
    client = Client()
    assert client.judge([push(0, TRADES[2])]) == [[(key_of(TRADES[2]), 0)]]
    client.restart(from_snapshot=False)
    assert client.judge([push(1, TRADES[2])]) == [[(1, 0)]]


def test_two_pushes_of_one_sequence_are_two_after_a_restart() -> None:
    client = Client()
    client.judge([push(1, TRADES[2]), push(1, TRADES[3])])
    client.restart(from_snapshot=False)
    assert client.judge([push(1, TRADES[2]), push(1, TRADES[3])]) == [[None], [None]]
    assert client.judge([push(1, TRADES[2], TRADES[3])]) == [[(1, 2), (1, 3)]]


long_run = pytest.mark.skipif(JIT_DISABLED, reason="thousands of trades take long as plain Python")


def crowd(count: int, begin: int = 0) -> list[Event]:
    """So many pushes of one trade each, each trade another one."""
    return [push(begin + number + 1, trade(1.0 + (begin + number) / 100, 1)) for number in range(count)]


@long_run
def test_trades_and_pushes_are_known_for_exactly_as_long_as_the_window_is() -> None:
    for following, is_known in ((REMEMBERED - 1, True), (REMEMBERED, False)):
        client = Client()
        client.judge(crowd(1))
        client.judge(crowd(following, begin=1))
        [of_pull, of_push] = client.judge([pull(trade(1.0, 1)), *crowd(1)], mark=False)
        assert (of_pull == [None], of_push == [None]) == (is_known, True)
        # What the pull brought is claimed by the push.
        [of_push] = client.judge(crowd(1), mark=False)
        assert (of_push == [None]) == is_known


@long_run
def test_what_makes_room_next_survives_a_snapshot() -> None:
    client = Client()
    client.judge(crowd(REMEMBERED + 50))
    exported = client.window.export()
    client.restart(from_snapshot=True)
    assert client.window.export() == exported
    client.judge(crowd(1, begin=REMEMBERED + 50))
    known = [client.judge([event], mark=False) == [[None]] for event in crowd(53, begin=0)]
    assert known == [False] * 51 + [True] * 2


@long_run
def test_many_batches_with_what_is_pushed_out_in_between() -> None:
    """Contents that are touched again while their entry leaves the ring in the same batch."""
    client, oracle = Client(), Oracle()
    for begin in range(0, 3 * REMEMBERED, 500):
        again = [push(10**6 + begin + each, trade(1.0 + max(0, begin - each) / 100, 1)) for each in range(0, 900, 3)]
        events = [*crowd(500, begin), *again]
        assert client.judge(events) == [oracle.take(event) for event in events]


def test_a_window_without_anything_and_bytes_that_are_no_export() -> None:
    window = TradeWindow(SymbolTable(4), ConditionTable())
    window.restore(window.export())
    assert (window.newest_sequence(0), window.extent(0)) == (None, (0, 0, 0))
    for kept in (slice(0), slice(100), slice(1, None)):
        with pytest.raises(ValueError, match="no export"):
            window.restore(window.export()[kept])


def test_how_busy_a_symbol_is() -> None:
    client = Client()
    client.judge([push(5, *TRADES[2:])])
    assert client.window.newest_sequence(0) == 5
    begin_s = BEGIN_US // SECOND_US
    assert client.window.extent(0) == (4, begin_s, begin_s + 2)
    assert client.window.extent(1) == (0, 0, 0)
