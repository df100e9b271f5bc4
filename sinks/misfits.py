"""Rows that no table of ours can hold, found without asking ClickHouse about each.

Asked only once ClickHouse has refused them among others. A fault that all rows share, such as a word
that a newer worker knows, would otherwise take two inserts for each row to find.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.tables import Column, EnumKind, Kind, Table

_DAYS = {Kind.DATE: (0, 2**16 - 1), Kind.EARLY_DATE: (-25_567, 120_529)}
"""What Date (1970 to 2149) and Date32 (1900 to 2299) hold, days since 1970."""


def misfits(table: Table, batch: pa.RecordBatch) -> dict[int, str]:
    """What is wrong with rows of `batch` that have a null, a word or a day that their column cannot have."""
    found: dict[int, str] = {}
    for column in table:
        if column.name not in batch.schema.names:
            continue
        for wrong, text in _wrong(column, batch.column(column.name)):
            for row in np.flatnonzero(wrong).tolist():
                found.setdefault(row, f"{column.name}: {text}")
    return found


def _wrong(column: Column, values: Any) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """(rows,) which values do not fit, and why."""
    if values.null_count and not column.nullable:
        yield values.is_null().to_numpy(zero_copy_only=False), "is null, and must not be"
    if isinstance(column.kind, EnumKind):
        known = {word for word, _ in column.kind.members}
        indices = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        for index, word in enumerate(values.dictionary.to_pylist()):
            if word not in known:
                yield indices == index, f"{word!r} is none of its words"
    elif column.kind in _DAYS:
        first, last = _DAYS[column.kind]
        days = values.view(pa.int32()).fill_null(0).to_numpy(zero_copy_only=False)
        yield (days < first) | (days > last), f"is a day that a {column.kind.name.lower()} cannot hold"
