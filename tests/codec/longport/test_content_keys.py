"""Keys of trades that have no sequence of their own."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codec.columns import TickBuffer
from codec.conditions import CONDITION_CHARACTERS, ConditionTable, condition_id
from codec.longport.content_keys import content_hashes, key_by_content
from tests.codec.examples import examples
from tests.codec.longport.feeding import padded
from tests.codec.tick_rows import Tick, buffer_of, tick_of

TIME_US = 1_700_000_000_000_000

_CHOICES: dict[str, list[Any]] = {
    "price": [1.5, 2.5],
    "volume": [100.0, 200.0],
    "direction": ["buy", "sell"],
    "ts_event_us": [TIME_US, TIME_US + 1_000_000],
    "condition": ["", "U"],
    "session": ["regular", "pre"],
}
_trades = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in _CHOICES.items()}).map(
    lambda values: tick_of({"symbol_id": 0, "sequence": 0, **values})
)


def content(tick: Tick) -> tuple[object, ...]:
    return (*tick.payload, tick.condition, tick.session)


def keys_of(buffer: TickBuffer) -> list[tuple[int, int, int]]:
    columns = (buffer.column(name).tolist() for name in ("symbol", "sequence", "ordinal"))
    return [(int(a), int(b), int(c)) for a, b, c in zip(*columns, strict=True)]


def keyed(ticks: list[Tick]) -> list[tuple[int, int, int]]:
    buffer = buffer_of(ticks)
    key_by_content(buffer, 0, buffer.rows, content_hashes(buffer, ConditionTable()))
    return keys_of(buffer)


@examples(200)
@given(ticks=st.lists(_trades, max_size=30), shuffled=st.randoms())
def test_equal_trades_are_numbered_and_others_have_other_keys(ticks: list[Tick], shuffled: random.Random) -> None:
    keys = keyed(ticks)
    assert len(set(keys)) == len(ticks)
    numbers: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for key, tick in zip(keys, ticks, strict=True):
        assert -key[1] >> 20 == tick.ts_event_us // 1_000_000
        numbers[content(tick)].append(key[2])
    # The few contents drawn here share no 20 bits within a second, so each is numbered from 0.
    assert all(sorted(found) == list(range(len(found))) for found in numbers.values())
    by_content = {content(tick): key[:2] for key, tick in zip(keys, ticks, strict=True)}
    assert len(set(by_content.values())) == len(by_content)

    mixed = list(ticks)
    shuffled.shuffle(mixed)
    assert Counter(keyed(mixed)) == Counter(keyed(ticks))


def test_rows_outside_are_left_alone() -> None:
    buffer = buffer_of([Tick(0, 0), Tick(0, 0), Tick(0, 0)])
    key_by_content(buffer, 1, 2, content_hashes(buffer, ConditionTable()))
    assert [sequence != 0 for _, sequence, _ in keys_of(buffer)] == [False, True, False]


def test_the_keys_of_stored_trades_never_change() -> None:
    """Computed once: tables that are already written hold them."""
    ticks = [
        Tick(0, 0, 388.4, 100.0, "buy", TIME_US, condition="U"),
        Tick(0, 0, 388.4, 100.0, "buy", TIME_US, condition="U"),
        Tick(0, 0, 0.5, 1e9, "neutral", TIME_US + 1_000_000, session="overnight"),
    ]
    assert keyed(ticks) == [
        (0, -1782579200229196, 0),
        (0, -1782579200229196, 1),
        (0, -1782579201819909, 0),
    ]


def test_a_long_condition_counts_by_its_word_not_by_its_id() -> None:
    def sequence_of(words: list[bytes]) -> int:
        """The sequence of a trade whose condition is the last of `words`, met in this order."""
        table = ConditionTable()
        for word in words:
            id_ = condition_id(padded(word), 0, len(word), table.words, table.used)
        buffer = buffer_of([Tick(0, 0)])
        buffer.column("condition")[:] = id_
        assert id_ >= CONDITION_CHARACTERS
        key_by_content(buffer, 0, 1, content_hashes(buffer, table))
        return keys_of(buffer)[0][1]

    assert sequence_of([b"@ TI"]) == sequence_of([b"other", b"@ TI"])
    assert sequence_of([b"@ TI"]) != sequence_of([b"@ TJ"])


def test_two_trades_that_share_the_20_bits_are_numbered_together() -> None:
    """The first two of a second are found by trying prices."""
    seen: dict[int, float] = {}
    prices = np.arange(1, 5000) / 100
    for price, (_, sequence, _) in zip(prices, keyed([Tick(0, 0, float(price)) for price in prices]), strict=True):
        if sequence in seen:
            break
        seen[sequence] = float(price)
    else:
        raise AssertionError("5000 hashes of 20 bits are all different: no longer likely")
    keys = keyed([Tick(0, 0, float(price)), Tick(0, 0, seen[sequence]), Tick(0, 0, float(price))])
    assert {key[1] for key in keys} == {sequence}
    assert sorted(key[2] for key in keys) == [0, 1, 2]
    assert abs(keys[0][2] - keys[2][2]) == 1
