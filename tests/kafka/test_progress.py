"""Acknowledgements in any order become one position."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sinks.journal import Entry
from sinks.relay_progress import RelayProgress, Sent
from tests.support.records import make_record

ROWS = [3, 1, 7, 2, 5, 4, 6, 9]
OFFSETS = [0, 1, 2, 5, 6, 7, 8, 20]  # a journal that lost some entries
PLACES = ["a/0", "b/0", "a/0", "a/1", "b/0", "a/0", "a/1", "a/0"]
ENTRIES = [Entry(offset, sum(ROWS[: i + 1]), make_record(rows=ROWS[i])) for i, offset in enumerate(OFFSETS)]


def state_after(done: int) -> tuple[int, int, Counter[str]]:
    """Position, journal rows and rows of each place when the first `done` entries are acknowledged."""
    rows_of_place: Counter[str] = Counter()
    for place, rows in zip(PLACES[:done], ROWS, strict=False):
        rows_of_place[place] += rows
    return (OFFSETS[done - 1] + 1 if done else 0), sum(ROWS[:done]), rows_of_place


@given(seed=st.integers(0, 2**32), restarts=st.integers(0, 4))
def test_the_position_moves_over_what_is_acknowledged_without_a_hole(seed: int, restarts: int) -> None:
    rng = random.Random(seed)
    progress = RelayProgress(0)
    acked: set[int] = set()
    rows_total_of: dict[int, int] = {}
    for _ in range(restarts + 1):
        start = next((i for i, offset in enumerate(OFFSETS) if offset >= progress.position), len(OFFSETS))
        on_the_way: list[tuple[int, Sent]] = []
        for i in range(start, len(ENTRIES)):
            noted = progress.send(ENTRIES[i], PLACES[i])
            assert (noted is None) == (i in acked), "what Kafka has is not sent again"
            if noted:
                on_the_way.append((i, noted[0]))
                assert rows_total_of.setdefault(i, noted[1]) == noted[1], "sent again, it says the same"
        rng.shuffle(on_the_way)
        for i, sent in on_the_way[: rng.randrange(len(on_the_way) + 1)]:
            progress.ack(sent)
            acked.add(i)
            done = next((k for k in range(len(ENTRIES)) if k not in acked), len(ENTRIES))
            assert (progress.position, progress.journal_rows, progress.rows_of_place) == state_after(done)
        assert progress.in_flight_rows == sum(rows for i, rows in enumerate(ROWS) if i not in acked)
        progress.restart()
        assert (progress.in_flight_rows, progress.in_flight_bytes, progress.oldest) == (0, 0, None)


def test_it_goes_on_from_what_was_kept() -> None:
    progress = RelayProgress(0)
    for entry, place in zip(ENTRIES[:3], PLACES, strict=False):
        noted = progress.send(entry, place)
        assert noted
        progress.ack(noted[0])
    kept = RelayProgress.decode(progress.position, progress.encode())
    assert (kept.position, kept.journal_rows, kept.rows_of_place) == state_after(3)
    noted = kept.send(ENTRIES[3], "a/0")
    assert noted
    assert noted[1] == 3 + 7 + 2
