"""Columns of capital-flow lines between the wire and Arrow: fixed blocks that kernels fill.

A `FlowBuffer` is to lines what a TickBuffer is to ticks (codec/columns.py). A null is a NaN in
`real`: no line with a NaN of its own gets here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.records import RECORD_BYTES_MAX
from codec.tables import CAPITAL_FLOW, PERIOD

# Rows of `wide`, int64.
FLOW_TS_EVENT_US, FLOW_TS_RECV_NS = range(2)
# Rows of `real`, float64.
NET, MAIN, SUPER, LARGE, MEDIUM, SMALL = range(6)
INFLOWS = 6
# Rows of `narrow`, int32.
FLOW_SYMBOL_ID, FLOW_TRADE_DATE = range(2)
# Rows of `small`, uint8.
PERIOD_CODE, FLOW_GATEWAY_ID = range(2)

FLOW_BLOCK_ROWS: dict[str, tuple[str, int]] = {
    "ts_event": ("wide", FLOW_TS_EVENT_US),
    "ts_recv": ("wide", FLOW_TS_RECV_NS),
    "net_inflow": ("real", NET),
    "main_net_inflow": ("real", MAIN),
    "super_net_inflow": ("real", SUPER),
    "large_net_inflow": ("real", LARGE),
    "medium_net_inflow": ("real", MEDIUM),
    "small_net_inflow": ("real", SMALL),
    "symbol": ("narrow", FLOW_SYMBOL_ID),
    "trade_date": ("narrow", FLOW_TRADE_DATE),
    "period": ("small", PERIOD_CODE),
    "gateway": ("small", FLOW_GATEWAY_ID),
}
"""Where each column of `capital_flow` is. `source` is one for the whole buffer."""

assert set(FLOW_BLOCK_ROWS) | {"source"} == {column.name for column in CAPITAL_FLOW}

INTRADAY, DAY, WEEK, MONTH = (PERIOD.code(word) for word in ("intraday", "day", "week", "month"))

FLOW_LINES_MAX = 1 << 14
"""Rows of one buffer; also the most lines that one reply may hold: 60 years of days."""

_ROW_BYTES_MAX = 128
# A full buffer whose lines all fall to one partition is one record.
assert FLOW_LINES_MAX * _ROW_BYTES_MAX < RECORD_BYTES_MAX


class FlowBuffer:
    """Room for `capacity` lines of one source, filled from row 0.

    Attributes
    ----------
    wide, real, narrow, small : (k, capacity) int64, float64, int32, uint8, C-contiguous
    rows : rows filled so far; the next is written there
    """

    def __init__(self, capacity: int = FLOW_LINES_MAX) -> None:
        self.capacity = capacity
        self.wide: NDArray[np.int64] = np.zeros((2, capacity), np.int64)
        self.real: NDArray[np.float64] = np.zeros((INFLOWS, capacity), np.float64)
        self.narrow: NDArray[np.int32] = np.zeros((2, capacity), np.int32)
        self.small: NDArray[np.uint8] = np.zeros((2, capacity), np.uint8)
        self.rows = 0

    def column(self, name: str) -> NDArray[np.int64] | NDArray[np.float64] | NDArray[np.int32] | NDArray[np.uint8]:
        """(rows,) view of one column of `capital_flow`, as kernels hold it."""
        block, row = FLOW_BLOCK_ROWS[name]
        values: NDArray[np.int64] = getattr(self, block)[row, : self.rows]
        return values
