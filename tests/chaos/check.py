"""Holds Kafka and ClickHouse against what the market made, row for row: equal, or lost and written down."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tests.chaos.kafka_view import KafkaView
from tests.chaos.opend import Truth
from tests.day.compare import Comparison, Sequences, by_symbol, compare
from ticktape.simulate.checksum import CHECKSUM_SQL

_QUERY_S_MAX = 60.0
_ROWS = "SELECT symbol, sequence FROM ticktape.ticks"
_SUMS = f"SELECT symbol, count() AS rows, {CHECKSUM_SQL} AS checksum FROM ticktape.ticks GROUP BY symbol"
_FINAL = "SELECT symbol, count() AS rows FROM ticktape.ticks FINAL GROUP BY symbol"
_CONFLICTS = "SELECT symbol, count() AS rows FROM ticktape.ticks WHERE ordinal != 0 GROUP BY symbol"
_GAPS = "SELECT symbol, cause, state, missing, from_sequence, to_sequence FROM ticktape.gaps FINAL WHERE feed = 'ticks'"
_DEAD_LETTERS = "SELECT reason, any(detail) AS detail, count() AS rows FROM ticktape.dead_letters GROUP BY reason"


@dataclass(frozen=True, slots=True)
class Stored:
    """What ClickHouse holds.

    Attributes
    ----------
    sums : (rows, checksum) of each symbol
    final : rows of each symbol with FINAL
    """

    sequences: Sequences
    sums: dict[str, tuple[int, int]]
    final: dict[str, int]
    conflicts: dict[str, int]
    gaps: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]


def read_stored(url: str) -> Stored:
    """Ask a ClickHouse server for all of it. Raises OSError when it does not answer."""
    sums = _ask(url, _SUMS).to_pylist()
    return Stored(
        sequences=by_symbol(_ask(url, _ROWS)),
        sums={row["symbol"]: (row["rows"], row["checksum"]) for row in sums},
        final={row["symbol"]: row["rows"] for row in _ask(url, _FINAL).to_pylist()},
        conflicts={row["symbol"]: row["rows"] for row in _ask(url, _CONFLICTS).to_pylist()},
        gaps=_ask(url, _GAPS).to_pylist(),
        dead_letters=_ask(url, _DEAD_LETTERS).to_pylist(),
    )


def check(truth: Truth, stored: Stored, kafka: KafkaView) -> Comparison:
    """All that is not as it must be is in `differences`."""
    compared = compare(truth.sequences, stored.sequences, stored.gaps)
    found = compared.differences
    seen = kafka.sequences()
    for symbol in sorted(truth.sequences.keys() | stored.sums.keys() | seen.keys()):
        rows, checksum = stored.sums.get(symbol, (0, 0))
        if (final := stored.final.get(symbol, 0)) != rows:
            found.append(f"{symbol}: {rows:,} rows, with FINAL {final:,}")
        missing = np.array(compared.missing.get(symbol, []), np.int64)
        expected = _checksum(truth, symbol) - _checksum(truth, symbol, missing)
        if checksum != expected % (1 << 64):
            found.append(f"{symbol}: its rows do not hold what the market made")
        found += _kafka_differences(symbol, stored, seen, kafka, checksum)
    found += [f"{symbol}: {rows:,} rows beside another of their sequence" for symbol, rows in stored.conflicts.items()]
    found += [f"{row['rows']:,} dead letters: {row['reason']}: {row['detail']}" for row in stored.dead_letters]
    found += kafka.differences()
    return compared


def _kafka_differences(symbol: str, stored: Stored, seen: Sequences, kafka: KafkaView, checksum: int) -> list[str]:
    """Between the ticks of a symbol in Kafka and in ClickHouse."""
    read = seen.get(symbol, np.empty(0, np.int64))
    distinct = np.unique(read)
    if repeats := len(read) - len(distinct):
        return [f"Kafka: {repeats:,} ticks of {symbol} come again"]
    kept = np.unique(stored.sequences.get(symbol, np.empty(0, np.int64)))
    if len(only := np.setdiff1d(distinct, kept)):
        return [f"{symbol}: {len(only):,} ticks are in Kafka and not in ClickHouse, first {only[0]}"]
    if len(only := np.setdiff1d(kept, distinct)):
        return [f"{symbol}: {len(only):,} ticks are in ClickHouse and not in Kafka, first {only[0]}"]
    if kafka.checksum(symbol) != checksum:
        return [f"{symbol}: Kafka's ticks do not hold what ClickHouse's do"]
    return []


def _checksum(truth: Truth, symbol: str, sequences: Any = None) -> int:
    """Of all that the market made of a symbol, or of these ticks of it."""
    checksums = truth.checksums.get(symbol, np.empty(0, np.uint64))
    if sequences is not None:
        checksums = checksums[np.searchsorted(truth.sequences.get(symbol, np.empty(0, np.int64)), sequences)]
    return int(checksums.sum())


def keep_repeats(url: str) -> None:
    """Let ClickHouse merge no ticks by itself: repeats would be gone before they are counted."""
    limits = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"
    _post(url, f"ALTER TABLE ticktape.ticks MODIFY SETTING {limits}")


def merge(url: str) -> None:
    """Merge all ticks into a part for each table partition: inserts would be refused for too many parts some time."""
    _post(url, "OPTIMIZE TABLE ticktape.ticks FINAL")


def _ask(url: str, sql: str) -> pa.Table:
    with pa.ipc.open_stream(_post(url, f"{sql} FORMAT ArrowStream")) as reader:
        return reader.read_all()


def _post(url: str, statement: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(f"{url}/", statement.encode()), timeout=_QUERY_S_MAX) as answer:
        body: bytes = answer.read()
        return body
