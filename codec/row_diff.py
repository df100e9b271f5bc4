"""What is new in a poll of a small table: the rows that were never published, or not with these values.

For tables that keep every version and get one row a reply or an entry: capital_distribution,
capital_flow_summary, ark_dynamic, symbols. Flow lines, which come hundreds at a time, have codec/flow_diff.py.

Rule 1: `fresh` changes nothing. `mark` is called once the rows are durable.
Rule 2: memory is bounded: of each symbol `KEYS_MIN` keys, or twice as many as came at once; the one that
changed longest ago goes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import orjson

from codec.tables import LATEST_VIEWS, Table

KEYS_MIN = 64
"""A key is a symbol and, but for ark_dynamic and symbols, a ts_event; polls repeat only the last few as a rule."""

_Row = Mapping[str, object]
_Values = tuple[object, ...]

_VIEWS = {view.table.name: view for view in LATEST_VIEWS}


class RowDiff:
    """The rows last published of one table. Not thread-safe."""

    def __init__(self, table: Table) -> None:
        view = _VIEWS[table.name]
        self._key_names, self._version = view.line_key, view.newest_by
        # When and by whom a row was fetched does not make it another row.
        not_values = {*self._key_names, self._version, "gateway"}
        self._value_names = tuple(column.name for column in table if column.name not in not_values)
        self._published: dict[str, dict[_Values, _Values]] = {}
        self._at_once: dict[str, int] = {}
        """The most keys of a symbol at once, where that is more than half of `KEYS_MIN`."""

    def fresh(self, rows: Iterable[_Row]) -> list[_Row]:
        """Those of `rows` that say something new, in order; changes nothing that is remembered (rule 1).

        Of rows with one key and one time of receipt, which are one row to the table, the last counts.
        """
        last_ones = {(self._key(row), row[self._version]): row for row in rows}
        self._note_counts(str(row["symbol"]) for row in last_ones.values())
        latest: dict[_Values, _Values] = {}
        kept = []
        for (key, _), row in last_ones.items():
            values = self._values(row)
            known = latest.get(key, self._published.get(str(row["symbol"]), {}).get(key))
            if known != values:
                latest[key] = values
                kept.append(row)
        return kept

    def knows(self, row: _Row) -> bool:
        """Whether a row with the key of this one was published, whatever it said."""
        return self._key(row) in self._published.get(str(row["symbol"]), {})

    def mark(self, rows: Iterable[_Row]) -> None:
        """Remember rows that are durable now, or were read back from the journal, oldest first."""
        rows = list(rows)
        self._note_counts(str(row["symbol"]) for row in rows)
        for row in rows:
            self._remember(str(row["symbol"]), self._key(row), self._values(row))

    def export(self) -> bytes:
        """The whole state, for `restore` in another process."""
        return orjson.dumps(
            [[symbol, *pair] for symbol, of_symbol in self._published.items() for pair in of_symbol.items()]
        )

    def restore(self, exported: bytes) -> None:
        """Add what `export` gave, oldest first.

        Raises
        ------
        ValueError
            These are not the bytes of an export.
        """
        rows = orjson.loads(exported)
        self._note_counts(symbol for symbol, _, _ in rows[::2])  # half of what was kept
        for symbol, key, values in rows:
            self._remember(symbol, tuple(key), tuple(values))

    def _note_counts(self, symbols: Iterable[str]) -> None:
        """These came at once, a symbol for each row."""
        for symbol, count in Counter(symbols).items():
            if 2 * count > KEYS_MIN:
                self._at_once[symbol] = max(count, self._at_once.get(symbol, 0))

    def _remember(self, symbol: str, key: _Values, values: _Values) -> None:
        of_symbol = self._published.setdefault(symbol, {})
        of_symbol.pop(key, None)
        of_symbol[key] = values
        if len(of_symbol) > max(KEYS_MIN, 2 * self._at_once.get(symbol, 0)):
            del of_symbol[next(iter(of_symbol))]

    def _key(self, row: _Row) -> _Values:
        return tuple(row[name] for name in self._key_names)

    def _values(self, row: _Row) -> _Values:
        return tuple(row[name] for name in self._value_names)
