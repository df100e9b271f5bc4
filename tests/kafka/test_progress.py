"""Entries go out, are cut into transactions, and become one position."""

from __future__ import annotations

import random
from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.journal import Entry
from sinks.relay_progress import Position, RelayProgress
from tests.support.records import make_record

ROWS = [3, 1, 7, 2, 5, 4, 6, 9]
OFFSETS = [0, 1, 2, 5, 6, 7, 8, 20]  # a journal that lost some entries
PLACES = ["a/0", "b/0", "a/0", "a/1", "b/0", "a/0", "a/1", "a/0"]
RECORDS = [make_record(b"%d" % rows, rows=rows) for rows in ROWS]
ENTRIES = [Entry(offset, sum(ROWS[: i + 1]), RECORDS[i]) for i, offset in enumerate(OFFSETS)]


def position_after(done: int) -> Position:
    """The position behind the first `done` entries."""
    if not done:
        return Position(0)
    rows_of_place: Counter[str] = Counter()
    for place, rows in zip(PLACES[:done], ROWS, strict=False):
        rows_of_place[place] += rows
    return Position(OFFSETS[done - 1] + 1, sum(ROWS[:done]), rows_of_place, RECORDS[done - 1].crc32c)


@given(seed=st.integers(0, 2**32), restarts=st.integers(0, 4))
def test_the_position_is_behind_what_was_committed_last(seed: int, restarts: int) -> None:
    rng = random.Random(seed)
    progress = RelayProgress(Position(0))
    rows_total_of: dict[int, int] = {}
    done = 0
    for _ in range(restarts + 1):
        sent, cuts = done, []
        while sent < len(ENTRIES) and rng.random() < 0.8:
            for i in range(sent, sent := rng.randint(sent, len(ENTRIES))):
                rows_total = progress.send(ENTRIES[i], PLACES[i])
                assert rows_total_of.setdefault(i, rows_total) == rows_total, "sent again, it says the same"
            cuts.append((sent, progress.cut()))
            assert cuts[-1][1] == position_after(sent)
        for count, position in cuts[: rng.randint(0, len(cuts))]:
            progress.commit(position)
            done = count
        assert progress.committed == position_after(done)
        assert progress.in_flight_rows == sum(ROWS[done:sent])
        progress.restart(progress.committed)
        assert progress.in_flight_rows == 0


def test_a_position_is_read_as_it_was_written() -> None:
    position = position_after(5)
    kept = orjson.loads(position.encode(holder="me"))
    assert (Position.of(kept), kept["holder"]) == (position, "me")
    with pytest.raises(KeyError):
        Position.of({"offset": 1})


def test_suspects_are_forgotten_once_they_are_through() -> None:
    progress = RelayProgress(Position(0))
    progress.suspects = range(2, 6)
    progress.commit(position_after(3))
    assert progress.suspects
    progress.commit(position_after(4))
    assert not progress.suspects
