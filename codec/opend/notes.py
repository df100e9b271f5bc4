"""What the tick kernel tells of a buffer beside its rows.

A note is one row of int64 for a frame, or a tick, that Python must look at. Pushes of sound ticks
leave none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Columns of a note.
KIND, FRAME_AT, FRAME_BYTES, PROTO_ID, SERIAL, BODY_FORMAT, FIRST_ROW, ROWS, SYMBOL, REASON, DETAIL = range(11)
NOTE_WIDTH = 11
NOTES_MAX = 4096
"""One more than the bad ticks that one frame may have; a frame with more is refused whole."""

# Kinds.
CONTROL = 0
"""A frame for the session: any message that is not a sound tick message."""
PULLED = 1
"""A 3010 reply whose `ROWS` ticks begin at `FIRST_ROW`."""
REFUSED_FRAME = 2
"""A frame that yields nothing, for `REASON`."""
REFUSED_TICK = 3
"""The tick number `DETAIL` of a frame, refused for `REASON`; its neighbours are rows."""

# Reasons; their words and texts are in codec/opend/decoder.py.
(
    NO_REASON,
    BAD_SHA1,
    EMPTY_BODY,
    TRUNCATED_MESSAGE,
    NO_RETURN_TYPE,
    NO_SECURITY,
    BAD_SYMBOL_CODE,
    TOO_MANY_SYMBOLS,
    TOO_MANY_TICKS,
    TOO_MANY_BAD_TICKS,
    FIELD_MISSING,
    TIME_UNREADABLE,
    TIMESTAMP_UNREADABLE,
    PRICE_NOT_FINITE,
    AMOUNT_NOT_FINITE,
    TOO_MANY_LINES,
    TOO_MANY_BAD_LINES,
    INFLOW_NOT_FINITE,
) = range(18)

# Elements of the counters: ticks whose text and timestamp differ, numbers made `unknown`, ticks of
# markets that are not listed. Ticks of refused frames are not counted.
TIME_DISAGREEMENTS, UNLISTED_NUMBERS, UNLISTED_MARKETS = range(3)
COUNTERS = 3

# Status of a kernel call.
ALL_READ, ROWS_FULL, NOTES_FULL, BAD_MAGIC, FRAME_TOO_LARGE, JSON_TICKS = range(6)


def new_notes() -> NDArray[np.int64]:
    """(NOTES_MAX, NOTE_WIDTH) int64."""
    return np.zeros((NOTES_MAX, NOTE_WIDTH), np.int64)
