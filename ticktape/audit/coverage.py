"""An audit's verdicts on their way into `coverage`: straight to ClickHouse, or through the daemon that holds it.

Not through the journal, which has one appender: an audit must work where none runs.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from codec.arrow import arrow_schema, batch_of_rows
from codec.tables import COVERAGE
from sinks.block_encoding import origin_columns, stream_of, with_origin
from sinks.clickhouse import ClickHouse
from sinks.clickhouse_errors import ClickHouseFolderLocked
from ticktape.audit.stored import Store
from ticktape.settings import Settings
from ticktape.wiring import clickhouse_config, revealed

_PLACE = ("audit", 0)
"""`_topic` and `_partition` of rows that came by no record; their `_offset` is when they were judged."""
_ANSWER_TIMEOUT_S = 30.0


class NotCoverage(ValueError):
    """Bytes that are no stream of `coverage` rows."""


def polled_rows(store: Store, trade_day: int, now_ns: int) -> list[dict[str, object]]:
    """Rows of `coverage` for the polled feeds: how many lines there are, and that nothing says how many should."""
    return [
        {
            "source": row["source"],
            "symbol": row["symbol"],
            "feed": row["feed"],
            "trade_date": trade_day,
            "rows": row["rows"],
            "first_ts": row["first_us"],
            "last_ts": row["last_us"],
            "missing": None,
            "gaps": 0,
            "condition": "unknown",
            "audited_at": now_ns,
        }
        for row in store.polled()
    ]


def write_coverage(settings: Settings, rows: Sequence[dict[str, object]]) -> list[str]:
    """Store `rows`; returns what to tell when that was not possible."""
    if not rows:
        return []
    stream = coverage_stream(rows)
    store = ClickHouse(clickhouse_config(settings))
    try:
        store_coverage(store, stream)
    except ClickHouseFolderLocked:
        return _send_to_daemon(settings, stream)
    finally:
        store.close()
    return []


def coverage_stream(rows: Sequence[dict[str, object]]) -> pa.Buffer:
    """`rows`, all judged at once, as ClickHouse takes them."""
    batch = batch_of_rows(COVERAGE, rows)
    judged_ns = rows[0]["audited_at"]
    assert isinstance(judged_ns, int)
    origin = origin_columns(_PLACE, np.full(len(rows), judged_ns, np.uint64), np.arange(len(rows), dtype=np.uint32))
    return stream_of(pa.RecordBatch.from_arrays([*batch.columns, *origin], schema=with_origin(batch.schema)))


def store_coverage(store: ClickHouse, stream: pa.Buffer) -> None:
    """Insert what `coverage_stream` made; blocks.

    Raises
    ------
    NotCoverage
    ClickHouseError
    """
    try:
        table = pa.ipc.open_stream(stream).read_all()
    except (pa.ArrowException, OSError) as error:
        raise NotCoverage(f"not an Arrow stream: {error}") from error
    if not table.schema.equals(with_origin(arrow_schema(COVERAGE))) or table.num_rows == 0:
        raise NotCoverage("not rows of coverage")
    store.insert(COVERAGE.name, stream, f"audit/{table.column('_offset')[0].as_py()}/{table.num_rows}")


def _send_to_daemon(settings: Settings, stream: pa.Buffer) -> list[str]:
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    if token := revealed(settings.http.token):
        headers["Authorization"] = f"Bearer {token}"
    why = "no daemon with the store answers"
    for address in (settings.http.listen, settings.http.sink_listen):
        url = f"http://{address}/coverage"
        request = urllib.request.Request(url, data=stream.to_pybytes(), headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S):
                return []
        except urllib.error.HTTPError as error:
            if error.code != 404:  # a daemon without an embedded store
                why = error.read().decode(errors="replace").strip()
        except OSError:
            continue  # nobody there
    return [f"the verdicts were not written to coverage: {why}"]
