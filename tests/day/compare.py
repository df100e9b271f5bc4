"""What is stored against what the market made, by nothing but sets and the ledger's own words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Sequences = dict[str, NDArray[np.int64]]
"""Ascending, by symbol."""


def by_symbol(table: pa.Table) -> Sequences:
    """The sequences of a table of (symbol, sequence)."""
    symbols: Any = table.column("symbol").cast(pa.utf8()).combine_chunks().dictionary_encode()
    names, numbers = symbols.dictionary.to_pylist(), symbols.indices.to_numpy()
    sequences = table.column("sequence").to_numpy()
    order = np.lexsort((sequences, numbers))
    numbers, sequences = numbers[order], sequences[order]
    bounds = np.searchsorted(numbers, np.arange(len(names) + 1))
    return {
        str(name): sequences[begin:end]
        for name, begin, end in zip(names, bounds[:-1], bounds[1:], strict=True)
        if end > begin
    }


@dataclass(slots=True)
class Comparison:
    """How a stored day differs from the made one.

    Attributes
    ----------
    made, stored, repeats : ticks; `repeats` are stored beyond the first
    missing : sequences that were made and are not stored, by symbol
    differences : whatever must not be, one line each
    """

    made: int
    stored: int
    repeats: int
    missing: dict[str, list[int]] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    @property
    def missing_ticks(self) -> int:
        return sum(map(len, self.missing.values()))


def compare(made: Sequences, stored: Sequences, gaps: list[dict[str, Any]]) -> Comparison:
    """`gaps` are the newest versions of the ledger's rows."""
    total = sum(map(len, made.values()))
    rows = sum(map(len, stored.values()))
    distinct = {symbol: np.unique(sequences) for symbol, sequences in stored.items()}
    result = Comparison(total, rows, rows - sum(map(len, distinct.values())))
    if result.repeats:
        result.differences.append(f"{result.repeats:,} rows are stored again")
    for symbol in sorted(made.keys() | distinct.keys()):
        ours, theirs = distinct.get(symbol, np.empty(0, np.int64)), made.get(symbol, np.empty(0, np.int64))
        if extra := np.setdiff1d(ours, theirs).tolist():
            result.differences.append(f"{symbol}: {len(extra):,} rows that the market never made, first {extra[0]}")
        lost = [gap for gap in gaps if gap["symbol"] == symbol and gap["state"] == "lost"]
        missing = np.setdiff1d(theirs, ours).tolist()
        if missing:
            result.missing[symbol] = missing
            bare = [sequence for sequence in missing if not any(_covers(gap, sequence) for gap in lost)]
            if bare:
                text = f"{symbol}: {len(bare):,} of {len(missing):,} missing ticks lie in no lost row of the ledger"
                result.differences.append(f"{text}, first {bare[0]}")
        if symbol.startswith("HK."):
            told = [int(gap["missing"]) for gap in lost if gap["missing"] is not None]
            if len(told) == len(lost) and sum(told) != len(missing):
                result.differences.append(f"{symbol}: {len(missing):,} are missing, the ledger says {sum(told):,}")
            if len(told) < len(lost):
                result.differences.append(f"{symbol}: a lost row of the ledger does not say how many")
    if open_ones := Counter(gap["cause"] for gap in gaps if gap["state"] == "open"):
        result.differences.append(f"ledger rows that never ended: {dict(open_ones)}")
    return result


def _covers(gap: dict[str, Any], sequence: int) -> bool:
    begin, end = gap["from_sequence"], gap["to_sequence"]
    return (begin is None or int(begin) < sequence) and (end is None or sequence < int(end))
