"""Arrow arrays over numpy's, without copying and without what pyarrow asks of pandas on the way.

`Array.from_buffers` costs a microsecond; `pa.array` two to nine for the same thing, which is what a record of
few rows consists of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codec.arrow import ENUM_TYPE, WORD_TYPE, enum_words
from codec.tables import EnumKind


def _buffer(values: Any) -> pa.Buffer:
    """An array's memory, shared; of any type, as pyarrow's stubs know no arrays here."""
    return pa.py_buffer(values)


def plain_array(kind: pa.DataType, values: NDArray[Any]) -> pa.Array[Any]:
    """Numbers, dates or times of the Arrow type `kind`, stored as (n,) `values` are; no nulls."""
    return pa.Array.from_buffers(kind, len(values), [None, _buffer(values)])


def nullable_array(kind: pa.DataType, values: NDArray[Any], known: NDArray[np.bool_]) -> pa.Array[Any]:
    """The same with nulls where `known`, (n,), is False."""
    if known.all():
        return plain_array(kind, values)
    valid = np.packbits(known, bitorder="little")
    return pa.Array.from_buffers(kind, len(values), [_buffer(valid), _buffer(values)])


def word_array(words: pa.StringArray, numbers: NDArray[np.int32]) -> pa.Array[Any]:
    """A column of words from (n,) numbers into `words`."""
    return pa.DictionaryArray.from_buffers(WORD_TYPE, len(numbers), [None, _buffer(numbers)], words)


def enum_array(kind: EnumKind, codes: NDArray[np.uint8]) -> pa.Array[Any]:
    """An enum column from its (n,) codes, each one that `kind` lists."""
    places = codes - np.uint8(kind.members[0][1])
    return pa.DictionaryArray.from_buffers(ENUM_TYPE, len(places), [None, _buffer(places)], enum_words(kind))


def constant_word(word: pa.StringArray, rows: int) -> pa.Array[Any]:
    """A column that says the one word of `word` in each of `rows` rows."""
    return word_array(word, np.zeros(rows, np.int32))
