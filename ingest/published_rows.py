"""The last version of each polled row that was published: only new or changed ones go out.

For tables with one row a reply (capital_distribution, ark_dynamic). Two versions are the same when
all their values are, other than when and through which gateway they came.

Rule 1: `changed` remembers nothing; `mark` does, once the rows are durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from codec.tables import ARK_DYNAMIC, CAPITAL_DISTRIBUTION

POLLED_TABLES = frozenset({CAPITAL_DISTRIBUTION.name, ARK_DYNAMIC.name})
_NOT_COMPARED = frozenset({"ts_recv", "gateway", "source", "symbol"})

TableRow = tuple[str, Mapping[str, object]]
"""(table, row)."""


class PublishedRows:
    """What was published last, by (table, source, symbol): a symbol's newest line is all that polls return."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, object, object], dict[str, object]] = {}

    def changed(self, rows: Iterable[TableRow]) -> list[TableRow]:
        """Those of `rows`, in order, that differ from the last of their key; rows of other tables all pass."""
        seen: dict[tuple[str, object, object], dict[str, object]] = {}
        kept = []
        for table, row in rows:
            if table in POLLED_TABLES:
                key, values = _key(table, row), _values(row)
                if seen.get(key, self._latest.get(key)) == values:
                    continue
                seen[key] = values
            kept.append((table, row))
        return kept

    def mark(self, rows: Iterable[TableRow]) -> None:
        """`rows` are durable now."""
        for table, row in rows:
            if table in POLLED_TABLES:
                self._latest[_key(table, row)] = _values(row)

    def export(self) -> bytes:
        """The whole state, for `restore`."""
        return orjson.dumps([[*key, values] for key, values in self._latest.items()])

    def restore(self, exported: bytes) -> None:
        """Add what `export` gave. Raises orjson.JSONDecodeError when it is something else."""
        for table, source, symbol, values in orjson.loads(exported):
            self._latest[table, source, symbol] = values


def _key(table: str, row: Mapping[str, object]) -> tuple[str, object, object]:
    return table, row["source"], row["symbol"]


def _values(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in _NOT_COMPARED}
