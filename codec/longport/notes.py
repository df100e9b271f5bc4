"""What the trade kernel tells of a buffer beside its rows; see codec/opend/notes.py.

A note is one row of int64 for a packet, or a trade, that Python must look at. Pushes of sound
trades leave none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Columns of a note.
(
    KIND, PACKET_AT, PACKET_BYTES, PACKET_TYPE, COMMAND, REQUEST_ID, STATUS_CODE, BODY_AT, BODY_BYTES, FIRST_ROW, ROWS,
    SYMBOL, REASON, DETAIL,
) = range(14)  # fmt: skip
NOTE_WIDTH = 14
NOTES_MAX = 4096
"""Also the most bad trades of one packet; a packet with more is refused whole."""

# Kinds.
CONTROL = 0
"""A packet for the session: any that is not a sound message of trades."""
PULLED = 1
"""A reply to QueryTrade whose `ROWS` trades begin at `FIRST_ROW`."""
REFUSED_PACKET = 2
"""A packet that yields nothing, for `REASON`."""
REFUSED_TRADE = 3
"""The trade number `DETAIL` of a packet, refused for `REASON`; its neighbours are rows."""

# Reasons, also those of replies that codec/longport/replies.py reads; their words and texts are in
# codec/longport/decoder.py.
(
    NO_REASON,
    EMPTY_BODY,
    TRUNCATED_MESSAGE,
    BAD_SYMBOL,
    TOO_MANY_SYMBOLS,
    TOO_MANY_TRADES,
    TOO_MANY_BAD_TRADES,
    PRICE_UNREADABLE,
    TIMESTAMP_UNREADABLE,
    TURNOVER_NOT_FINITE,
    CONDITION_REFUSED,
    TOO_MANY_LINES,
    TOO_MANY_BAD_LINES,
    INFLOW_UNREADABLE,
) = range(14)

# Elements of the counters: numbers made `unknown`. Trades of refused packets are not counted.
(UNLISTED_NUMBERS,) = range(1)
COUNTERS = 1

# Status of a kernel call.
ALL_READ, ROWS_FULL, NOTES_FULL, BAD_PACKET_TYPE, PACKET_TOO_LARGE, COMPRESSED = range(6)


def new_notes() -> NDArray[np.int64]:
    """(NOTES_MAX, NOTE_WIDTH) int64."""
    return np.zeros((NOTES_MAX, NOTE_WIDTH), np.int64)
