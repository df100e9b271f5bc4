"""What was served of polled tables, so that the final truth can say how many rows a reader must hold.

A reader stores each version of a line once.
"""

from __future__ import annotations

from collections import Counter
from typing import Any


class ServedRows:
    """Counts versions: a line served again unchanged is no new row."""

    def __init__(self) -> None:
        self._newest: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._rows: dict[str, Counter[str]] = {}

    def add(self, table: str, symbol: str, key: tuple[Any, ...], values: tuple[Any, ...]) -> None:
        """One line as served; `key` names it within its table and symbol."""
        line = (table, symbol, *key)
        if self._newest.get(line) != values:
            self._newest[line] = values
            self._rows.setdefault(table, Counter())[symbol] += 1

    def counts(self, table: str) -> dict[str, int]:
        """Rows by symbol."""
        return dict(self._rows.get(table, {}))
