"""The checksum that decides whether what is stored is what was generated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ticktape.simulate.checksum import CHECKSUM_SQL, CONTENT_CHECKSUM_SQL, mix_ticks

ROWS = np.dtype(
    [
        ("sequence", "<i8"),
        ("price", "<f8"),
        ("volume", "<f8"),
        ("turnover", "<f8"),
        ("direction", "u1"),
        ("ts_event", "<i8"),
    ]
)
TYPES = (
    "sequence Int64, price Float64, volume Float64, turnover Float64, "
    "direction Enum8('unknown' = 0, 'buy' = 1, 'sell' = 2, 'neutral' = 3), ts_event DateTime64(6, 'UTC')"
)


def random_rows(count: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    rng = np.random.default_rng(5)
    rows = np.zeros(count, ROWS)
    rows["sequence"] = rng.integers(-(2**63), 2**63, count)
    for name in ("price", "volume", "turnover"):
        rows[name] = rng.normal(0, 1e9, count) * 10.0 ** rng.integers(-12, 12, count)
    rows["direction"] = rng.integers(0, 4, count)
    rows["ts_event"] = rng.integers(0, 4_000_000_000_000_000, count)
    rows[0] = 0
    return rows


def mixed(rows: np.ndarray[tuple[int], np.dtype[np.void]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    columns = {name: np.ascontiguousarray(rows[name]) for name in ROWS.names or ()}
    return mix_ticks(
        columns["sequence"],
        columns["price"],
        columns["volume"],
        columns["turnover"],
        columns["direction"],
        columns["ts_event"],
    )


def test_the_sql_gives_the_same_sums(tmp_path: Path) -> None:
    rows = random_rows(5000)
    (tmp_path / "rows.bin").write_bytes(rows.tobytes())
    sql = f"SELECT {CHECKSUM_SQL}, {CONTENT_CHECKSUM_SQL} FROM file('{tmp_path}/rows.bin', RowBinary, \"{TYPES}\")"
    # In a process of its own: chdb keeps one store per process, and other tests hold theirs.
    command = [sys.executable, "-c", "import sys, chdb; print(chdb.query(sys.argv[1]))", sql]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = int(mixed(rows).sum())
    rows["sequence"] = 0
    assert [int(sum_) for sum_ in answer.stdout.split(",")] == [whole, int(mixed(rows).sum())]


@pytest.mark.parametrize("column", ROWS.names or ())
def test_every_column_counts(column: str) -> None:
    rows = random_rows(100)
    before = int(mixed(rows).sum())
    rows[column][50] = next(value for value in rows[column] if value != rows[column][50])
    assert int(mixed(rows).sum()) != before


def test_values_moved_from_one_tick_to_another_show() -> None:
    rows = random_rows(100)
    before = int(mixed(rows).sum())
    rows["price"][[10, 20]] = rows["price"][[20, 10]]
    assert int(mixed(rows).sum()) != before
