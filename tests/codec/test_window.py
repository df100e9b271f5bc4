"""The sequence window against dictionaries."""

from __future__ import annotations

import random
from collections import defaultdict, deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bits import JIT_DISABLED
from codec.markets import HK, US
from codec.symbols import SymbolTable
from codec.window import WINDOW_KEYS, SequenceWindow
from tests.codec.examples import examples
from tests.codec.tick_rows import Tick, buffer_of, tick_of

SYMBOLS = 4


class WindowOracle:
    """The last `WINDOW_KEYS` (sequence, payload, ordinal) of each symbol, searched from end to end."""

    def __init__(self) -> None:
        self.keys: dict[int, deque[tuple[int, object, int]]] = defaultdict(lambda: deque(maxlen=WINDOW_KEYS))

    def test(self, ticks: list[Tick]) -> list[int | None]:
        """The ordinal of each fresh tick, None for a repeat; changes nothing."""
        ordinals: list[int | None] = []
        fresh: dict[int, list[tuple[int, object, int]]] = defaultdict(list)
        for tick in ticks:
            known = [*self.keys[tick.symbol_id], *fresh[tick.symbol_id]]
            same = [(payload, ordinal) for sequence, payload, ordinal in known if sequence == tick.sequence]
            if tick.payload in [payload for payload, _ in same]:
                ordinals.append(None)
                continue
            ordinals.append(max((ordinal + 1 for _, ordinal in same), default=0))
            fresh[tick.symbol_id].append((tick.sequence, tick.payload, ordinals[-1] or 0))
        return ordinals

    def mark(self, ticks: list[Tick], ordinals: list[int | None]) -> None:
        for tick, ordinal in zip(ticks, ordinals, strict=True):
            if ordinal is not None:
                self.keys[tick.symbol_id].append((tick.sequence, tick.payload, ordinal))


def table() -> SymbolTable:
    symbols = SymbolTable(12)
    for number in range(SYMBOLS):
        symbols.id_of(HK, f"{number:05d}")
    return symbols


def judge(window: SequenceWindow, ticks: list[Tick], *, mark: bool = True) -> list[int | None]:
    """The window's verdict in the oracle's form."""
    buffer = buffer_of(ticks)
    verdict = window.test(buffer)
    ordinals = [int(ordinal) if fresh else None for fresh, ordinal in zip(verdict.fresh, verdict.ordinals, strict=True)]
    assert verdict.fresh_rows == sum(ordinal is not None for ordinal in ordinals)
    assert verdict.conflicts == sum(bool(ordinal) for ordinal in ordinals)
    if mark:
        window.mark(buffer, verdict)
    return ordinals


def check(batches: list[list[Tick]], unmarked: frozenset[int] = frozenset()) -> tuple[SequenceWindow, SymbolTable]:
    """Each batch is judged as the oracle judges it; those whose place is in `unmarked` never become durable."""
    symbols, oracle = table(), WindowOracle()
    window = SequenceWindow(symbols)
    for place, batch in enumerate(batches):
        expected = oracle.test(batch)
        assert judge(window, batch, mark=place not in unmarked) == expected
        if place not in unmarked:
            oracle.mark(batch, expected)
    return window, symbols


small_ticks = st.fixed_dictionaries(
    {
        "symbol_id": st.integers(0, SYMBOLS - 1),
        "sequence": st.sampled_from([0, 1, 2, -1, 2**62, -(2**63), 2**63 - 1]),
        "price": st.sampled_from([1.0, 2.0]),
        "volume": st.sampled_from([100.0, 200.0]),
        "direction": st.sampled_from(["buy", "sell"]),
        "ts_event_us": st.sampled_from([0, 999_999, 1_000_000]),
    }
).map(tick_of)


@examples(200)
@given(batches=st.lists(st.lists(small_ticks, max_size=12), max_size=6), unmarked=st.frozensets(st.integers(0, 5)))
def test_repeats_and_conflicts(batches: list[list[Tick]], unmarked: frozenset[int]) -> None:
    check(batches, unmarked)


def test_the_four_that_make_a_payload() -> None:
    """Other values may differ: a pulled tick is the pushed one, though delivery and gateway time are not."""
    window = SequenceWindow(table())
    first = Tick(0, 7)
    assert judge(window, [first]) == [0]
    same = first._replace(
        turnover=1.0, condition="U", delivery="pull", ts_gateway_us=5, ts_recv_ns=1, ts_event_us=first.ts_event_us + 999
    )
    others = [
        first._replace(price=512.6),
        first._replace(volume=101.0),
        first._replace(direction="sell"),
        first._replace(ts_event_us=first.ts_event_us + 1_000_000),
    ]
    assert judge(window, [same, *others, *others]) == [None, 1, 2, 3, 4, None, None, None, None]
    assert judge(window, [first._replace(price=1.0)]) == [5]


def test_a_tick_is_a_repeat_only_once_it_is_marked() -> None:
    window = SequenceWindow(table())
    for _ in range(2):
        assert judge(window, [Tick(0, 1)], mark=False) == [0]
    assert judge(window, [Tick(0, 1)]) == [0]
    assert judge(window, [Tick(0, 1)]) == [None]


def test_the_greatest_marked_sequence() -> None:
    window = SequenceWindow(table())
    assert window.newest_sequence(0) is None
    judge(window, [Tick(0, 5), Tick(0, -3)], mark=False)
    assert window.newest_sequence(0) is None
    judge(window, [Tick(0, 5), Tick(0, -3)])
    assert (window.newest_sequence(0), window.newest_sequence(1), window.newest_sequence(10**6)) == (5, None, None)


long_run = pytest.mark.skipif(JIT_DISABLED, reason="tens of thousands of keys take long as plain Python")


@long_run
@pytest.mark.parametrize("seed", range(4))
def test_the_oldest_keys_make_room(seed: int) -> None:
    """Many times the window's size, with repeats at every distance; compared by dictionaries of the last keys."""
    chance = random.Random(seed)
    window, last = SequenceWindow(table()), dict[int, dict[int, None]]()
    step = chance.choice([1, 8192, -1, 2**40 + 1])
    for batch_number in range(30):
        batch = []
        for _ in range(1000):
            newest = batch_number * 400 + chance.randrange(600)
            batch.append(Tick(chance.randrange(2), step * max(0, newest - chance.randrange(5000))))
        expected: list[int | None] = []
        seen = set[tuple[int, int]]()
        for tick in batch:
            known = tick.sequence in last.setdefault(tick.symbol_id, {}) or (tick.symbol_id, tick.sequence) in seen
            seen.add((tick.symbol_id, tick.sequence))
            expected.append(None if known else 0)
        assert judge(window, batch) == expected
        for tick, ordinal in zip(batch, expected, strict=True):
            if ordinal is not None:
                keys = last[tick.symbol_id]
                keys[tick.sequence] = None
                if len(keys) > WINDOW_KEYS:
                    del keys[next(iter(keys))]
    assert all(len(keys) == WINDOW_KEYS for keys in last.values())


@long_run
def test_a_key_is_known_for_exactly_as_long_as_the_window_is() -> None:
    for following, verdict in ((WINDOW_KEYS - 1, [None]), (WINDOW_KEYS, [0])):
        window = SequenceWindow(table())
        judge(window, [Tick(0, 10**9)])
        judge(window, [Tick(0, sequence) for sequence in range(following)])
        judge(window, [Tick(1, sequence) for sequence in range(WINDOW_KEYS)])  # another symbol's do not matter
        assert judge(window, [Tick(0, 10**9)], mark=False) == verdict


@long_run
def test_a_batch_larger_than_the_window() -> None:
    window = SequenceWindow(table())
    batch = [Tick(0, sequence) for sequence in range(3 * WINDOW_KEYS)]
    assert judge(window, batch) == [0] * len(batch)
    again = judge(window, batch, mark=False)
    assert again == [0] * (2 * WINDOW_KEYS) + [None] * WINDOW_KEYS


def colliding_sequences(count: int) -> list[int]:
    """Sequences whose hashes agree in the 13 bits that choose a slot of the window."""
    sequences = np.arange(1, 1 << 22, dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = sequences * np.uint64(0x9E3779B97F4A7C15)
        hashed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xC2B2AE3D27D4EB4F) >> np.uint64(16)
    same = sequences[hashed & np.uint64(8191) == hashed[0] & np.uint64(8191)]
    assert len(same) >= count
    return [int(sequence) for sequence in same[:count]]


@pytest.mark.parametrize("seed", range(3))
def test_sequences_of_equal_hash_stay_different(seed: int) -> None:
    """All in one run of slots, so that every look-up and every eviction walks through the others."""
    chance = random.Random(seed)
    sequences = colliding_sequences(300)
    batches = [
        [Tick(0, chance.choice(sequences), price=float(chance.randrange(3))) for _ in range(100)] for _ in range(8)
    ]
    check(batches)


@long_run
def test_evictions_among_sequences_of_equal_hash() -> None:
    crowd = colliding_sequences(200)
    window = SequenceWindow(table())
    judge(window, [Tick(0, sequence) for sequence in crowd])
    filling = [Tick(0, -sequence) for sequence in range(1, WINDOW_KEYS - len(crowd) + 1)]
    assert judge(window, filling) == [0] * len(filling)
    for evicted in range(0, len(crowd), 20):
        judge(window, [Tick(0, -(10**6) - number) for number in range(evicted, evicted + 20)])
        known = judge(window, [Tick(0, sequence) for sequence in crowd], mark=False)
        assert known == [0] * (evicted + 20) + [None] * (len(crowd) - evicted - 20)


@examples(50)
@given(batches=st.lists(st.lists(small_ticks, max_size=12), max_size=4), probe=st.lists(small_ticks, max_size=12))
def test_a_restored_window_judges_as_the_one_exported(batches: list[list[Tick]], probe: list[Tick]) -> None:
    window, symbols = check(batches)
    exported = window.export()
    other = SymbolTable(3)
    names = [symbols.names[id_] for id_ in reversed(range(SYMBOLS))]
    for name in names:  # ids differ from those of the exporter
        other.id_of(HK, name.removeprefix("HK."))
    restored = SequenceWindow(other)
    restored.restore(exported)
    moved = [tick._replace(symbol_id=SYMBOLS - 1 - tick.symbol_id) for tick in probe]
    assert judge(restored, moved) == judge(window, probe)
    assert [restored.newest_sequence(SYMBOLS - 1 - id_) for id_ in range(SYMBOLS)] == [
        window.newest_sequence(id_) for id_ in range(SYMBOLS)
    ]


@long_run
def test_the_order_of_keys_survives_an_export() -> None:
    """What is evicted next is the same; an export of the restored window is the same bytes."""
    symbols = table()
    window = SequenceWindow(symbols)
    judge(window, [Tick(0, sequence) for sequence in range(WINDOW_KEYS + 100)])
    judge(window, [Tick(2, sequence, price=float(sequence)) for sequence in (5, 5, 3, 5)])
    restored = SequenceWindow(symbols)
    restored.restore(window.export())
    assert restored.export() == window.export()
    for each in (window, restored):
        judge(each, [Tick(0, -1), Tick(0, -2)])
        oldest = [Tick(0, sequence) for sequence in (100, 101, 102)]
        assert judge(each, oldest, mark=False) == [0, 0, None]


def test_any_market_survives_an_export() -> None:
    symbols = SymbolTable(12)
    ids = [symbols.id_of(market, code) for market, code in ((US, ".DJI"), (300, "A.US"), (-5, "X"), (HK, "700"))]
    window = SequenceWindow(symbols)
    judge(window, [Tick(id_, 1) for id_ in ids])
    other = SymbolTable(12)
    restored = SequenceWindow(other)
    restored.restore(window.export())
    assert other.names == ["US..DJI", "MARKET300.A.US", "MARKET-5.X", "HK.00700"]
    assert judge(restored, [Tick(id_, 1) for id_ in range(4)]) == [None] * 4


def test_an_empty_window_is_exported_and_restored() -> None:
    window = SequenceWindow(SymbolTable(1))
    window.restore(window.export())
    assert window.newest_sequence(0) is None


@pytest.mark.parametrize("kept", [slice(0), slice(3), slice(100), slice(-30), slice(1, None)])
def test_bytes_that_are_no_export(kept: slice) -> None:
    window = SequenceWindow(table())
    judge(window, [Tick(0, 1)])
    with pytest.raises(ValueError, match="no export"):
        window.restore(window.export()[kept])
    assert judge(window, [Tick(0, 1)]) == [None]


def test_symbols_that_no_batch_had_yet_do_not_matter_to_an_export() -> None:
    symbols = SymbolTable(1)
    window = SequenceWindow(symbols)
    for number in range(100):
        symbols.id_of(US, f"S{number}")
    window.restore(window.export())
    assert window.newest_sequence(99) is None


@long_run
def test_there_is_room_for_many_symbols() -> None:
    symbols = SymbolTable(12)
    window = SequenceWindow(symbols)
    judge(window, [Tick(symbols.id_of(US, "FIRST"), 1)])
    ids = [symbols.id_of(US, f"S{number}") for number in range(150)]
    assert judge(window, [Tick(id_, 1) for id_ in ids]) == [0] * 150
    assert judge(window, [Tick(id_, 1) for id_ in range(151)]) == [None] * 151
