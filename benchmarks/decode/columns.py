"""What decoders hand over, as plain arrays, so that two of them can be compared value by value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]
"""A name and an array of one length for each column."""


class Reader(ABC):
    """One who reads a case's bytes."""

    def prepare(self) -> None:  # noqa: B027 -- many have nothing to prepare
        """What comes before a pass and is no part of it."""

    @abstractmethod
    def read(self) -> None:
        """One pass over all frames."""

    @abstractmethod
    def columns(self) -> Columns:
        """What a pass hands over."""


class Different(AssertionError):
    """Two decoders do not agree on the same bytes: no ratio of theirs means anything."""


def check_equal(case: str, peer: str, ours: Columns, theirs: Columns) -> None:
    """Raise Different unless `theirs` are, value by value, the first rows of `ours`, column by column."""
    for name, values in theirs.items():
        mine = ours[name][: len(values)]
        if len(mine) != len(values) or not np.array_equal(mine, values):
            at = int(np.flatnonzero(mine != values)[0]) if len(mine) == len(values) else min(len(mine), len(values))
            raise Different(f"{case}, {peer}: column {name} differs from ours at row {at}")


def joined(parts: Sequence[Columns]) -> Columns:
    """Batches one behind the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def words_of(codes: NDArray[Any], words: Mapping[int, str]) -> NDArray[Any]:
    """The word of each code."""
    table: NDArray[Any] = np.array([words.get(code, "") for code in range(int(codes.max(initial=0)) + 1)], object)
    words_in_rows: NDArray[Any] = table[codes]
    return words_in_rows
