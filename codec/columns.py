"""Columns of ticks between the wire and Arrow: fixed blocks that kernels fill.

A `TickBuffer` holds one row a tick in four blocks, one for each width of value, because a kernel
call pays for each array that it is handed. Words (symbol, condition, gateway) are small integers
here; `codec/encode.py` turns them into dictionaries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.records import RECORD_BYTES_MAX
from codec.tables import TICKS, EnumKind, Kind

# Rows of `wide`, int64.
TS_EVENT_US, SEQUENCE, TS_GATEWAY_US, TS_RECV_NS = range(4)
# Rows of `real`, float64.
PRICE, VOLUME, TURNOVER = range(3)
# Rows of `narrow`, int32.
SYMBOL_ID, TRADE_DATE, CONDITION_ID, ORDINAL = range(4)
# Rows of `small`, uint8.
DIRECTION, TRADE_TYPE, SESSION_CODE, DELIVERY_CODE, GATEWAY_ID = range(5)

BLOCK_ROWS: dict[str, tuple[str, int]] = {
    "ts_event": ("wide", TS_EVENT_US),
    "sequence": ("wide", SEQUENCE),
    "ts_gateway": ("wide", TS_GATEWAY_US),
    "ts_recv": ("wide", TS_RECV_NS),
    "price": ("real", PRICE),
    "volume": ("real", VOLUME),
    "turnover": ("real", TURNOVER),
    "symbol": ("narrow", SYMBOL_ID),
    "trade_date": ("narrow", TRADE_DATE),
    "condition": ("narrow", CONDITION_ID),
    "ordinal": ("narrow", ORDINAL),
    "direction": ("small", DIRECTION),
    "trade_type": ("small", TRADE_TYPE),
    "session": ("small", SESSION_CODE),
    "delivery": ("small", DELIVERY_CODE),
    "gateway": ("small", GATEWAY_ID),
}
"""Where each column of `ticks` is. `source` is one for the whole buffer; `ordinal` is the index within
the gateway's own group of ticks under one sequence (LongPort's push), from which deduplication makes the
final one."""

assert set(BLOCK_ROWS) | {"source"} == {column.name for column in TICKS}

NULL_TIME = np.iinfo(np.int64).min
"""A time that was not sent, in `wide`."""

BATCH_TICKS_MAX = 1 << 16
"""Rows of one buffer; also the most ticks that one frame may hold."""

_STORED_BYTES: dict[Kind, int] = {
    Kind.WORD: 4,
    Kind.DATE: 4,
    Kind.TIME_US: 8,
    Kind.TIME_NS: 8,
    Kind.UINT8: 1,
    Kind.UINT32: 4,
    Kind.INT64: 8,
    Kind.FLOAT64: 8,
}
TICK_ROW_BYTES = sum(1 if isinstance(column.kind, EnumKind) else _STORED_BYTES[column.kind] for column in TICKS)
_RECORD_OVERHEAD_BYTES = 1 << 20
"""Schema, dictionaries and validity: 65,536 symbols of a dozen bytes at the very most."""

# A full buffer whose ticks all fall to one partition is one record.
assert BATCH_TICKS_MAX * (TICK_ROW_BYTES + 1) + _RECORD_OVERHEAD_BYTES < RECORD_BYTES_MAX


class TickBuffer:
    """Room for `capacity` ticks of one source, filled from row 0.

    A decoder that has nothing to say of a column never writes it: zeros stay there (OpenD's `ordinal`).

    Attributes
    ----------
    wide, real, narrow, small : (k, capacity) int64, float64, int32, uint8, C-contiguous
    rows : rows filled so far; the next is written there
    """

    def __init__(self, capacity: int = BATCH_TICKS_MAX) -> None:
        self.capacity = capacity
        self.wide: NDArray[np.int64] = np.zeros((4, capacity), np.int64)
        self.real: NDArray[np.float64] = np.zeros((3, capacity), np.float64)
        self.narrow: NDArray[np.int32] = np.zeros((4, capacity), np.int32)
        self.small: NDArray[np.uint8] = np.zeros((5, capacity), np.uint8)
        self.rows = 0

    def column(self, name: str) -> NDArray[np.int64] | NDArray[np.float64] | NDArray[np.int32] | NDArray[np.uint8]:
        """(rows,) view of one column of `ticks`, as kernels hold it."""
        block, row = BLOCK_ROWS[name]
        values: NDArray[np.int64] = getattr(self, block)[row, : self.rows]
        return values
