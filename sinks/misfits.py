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

_DAYS = {Kind.DATE: (0, 2**16 - 1), Kind.EARLY_DATE: (-719_528, 2_932_896)}
"""What Date (1970 to 2149) and ClickHouse 26.9's Date32 (year 0 to 9999) hold, days since 1970.
An older one's Date32 spans 1900 to 2299: what only some refuse, trying tells."""


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
    if not column.nullable:
        # A word may be null as well as the index that names it.
        plain = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
        if plain.null_count:
            yield plain.is_null().to_numpy(zero_copy_only=False), "is null, and must not be"
    if isinstance(column.kind, EnumKind):
        known = {word for word, _ in column.kind.members}
        indices = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        for index, word in enumerate(values.dictionary.to_pylist()):
            if word is not None and word not in known:
                yield indices == index, f"{word!r} is none of its words"
    elif column.kind in _DAYS:
        first, last = _DAYS[column.kind]
        days = values.view(pa.int32()).fill_null(0).to_numpy(zero_copy_only=False)
        yield (days < first) | (days > last), f"is a day that no {column.kind.name.lower()} holds"
