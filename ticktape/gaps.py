"""`ticktape gaps`: the loss ledger as a table."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

from codec.markets import normalize_symbol
from ticktape.options import GapState, QueryFormat
from ticktape.query import run_query
from ticktape.settings import Settings

_SHOWN = (
    "symbol, cause, state, missing, certainty, filled, from_ts, to_ts, opened_at, updated_at, gateway, source, feed, "
    "from_sequence, to_sequence, gap_id"
)


def gaps_sql(
    symbol: str | None, state: GapState | None, since: datetime.datetime | None, zone: datetime.tzinfo, *, whole: bool
) -> str:
    """The statement that reads the ledger: the newest version of each hole, in the order in which they opened.

    `since` without a zone is in `zone`; `whole` tells every column, otherwise what a person looks at.
    Raises BadSymbol.
    """
    conditions = []
    if symbol is not None:
        conditions.append(f"symbol = '{_escaped(normalize_symbol(symbol))}'")
    if state is not None:
        conditions.append(f"state = '{state}'")
    if since is not None:
        local = since if since.tzinfo is not None else since.replace(tzinfo=zone)
        conditions.append(f"opened_at >= fromUnixTimestamp64Micro({round(local.timestamp() * 1_000_000)})")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    columns = _SHOWN if whole else _SHOWN.partition(", gateway")[0]
    return f"SELECT {columns} FROM gaps FINAL{where} ORDER BY opened_at, symbol"


def run_gaps(
    settings: Settings,
    symbol: str | None,
    state: GapState | None,
    since: datetime.datetime | None,
    output: QueryFormat,
    zone: ZoneInfo,
) -> None:
    """Write the ledger to standard output; raises as `run_query` does, and BadSymbol."""
    sql = gaps_sql(symbol, state, since, zone, whole=output is not QueryFormat.TABLE)
    run_query(settings, sql, output, zone)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
