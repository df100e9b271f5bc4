"""What the simulated LongPort made, for whoever compares it with what was stored.

Its trades have no number of their own: the truth of a symbol is the multiset of their contents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from ticktape.simulate.longport_trades import TradeEncoder
from ticktape.simulate.market import Market
from ticktape.simulate.served import ServedRows

KEPT = ("event_us", "price_milli", "volume", "direction", "sign")
"""Columns of the rings that the file is made of."""

_DIRECTIONS = ("unknown", "buy", "sell", "neutral")
_SESSIONS = ("regular", "pre", "post", "overnight")
"""Words of table `ticks`, by the number in the rings and by TradeSession."""


def tables(market: Market, served: ServedRows) -> dict[str, dict[str, Any]]:
    """Rows of each table and symbol, and of ticks the checksum of their contents (checksum.py)."""
    store = market.store
    symbols = {
        market.listings[index].symbol: {
            "rows": int(store.state.ticks[index]),
            "checksum": str(int(store.checksum[index])),
        }
        for index in np.flatnonzero(store.state.ticks)
    }
    made: dict[str, dict[str, Any]] = {"ticks": {"rows": store.total, "symbols": symbols}}
    for table in ("capital_flow", "capital_distribution"):
        rows = served.counts(table)
        made[table] = {
            "rows": sum(rows.values()),
            "symbols": {symbol: {"rows": count} for symbol, count in rows.items()},
        }
    return made


def write_truth(path: Path, market: Market, encoder: TradeEncoder) -> None:
    """Every trade that the market made, as a Parquet file with columns of table `ticks`."""
    symbols, columns = market.store.kept()
    sign = columns["sign"].astype(np.int32)
    characters = [""] + [chr(number) for number in range(33, 127)]
    table = {
        "symbol": _words(symbols, [listing.symbol for listing in market.listings]),
        "ts_event": pa.array(columns["event_us"], pa.timestamp("us", "UTC")),
        "price": columns["price_milli"] / 1000.0,
        "volume": columns["volume"].astype(np.float64),
        "direction": _words(columns["direction"].astype(np.int32), _DIRECTIONS),
        "condition": _words(sign - ord(" "), characters),
        "session": _words(encoder.sessions(symbols, columns["event_us"]).astype(np.int32), _SESSIONS),
    }
    parquet.write_table(pa.table(table), path)


def _words(numbers: NDArray[np.int32], words: list[str] | tuple[str, ...]) -> Any:
    return pa.DictionaryArray.from_arrays(numbers, pa.array(words))
