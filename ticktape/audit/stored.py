"""What ClickHouse holds of a day: each question once, through whoever holds the store."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Sequence

import pyarrow as pa

from sinks.ddl import quoted
from ticktape.audit.model import CounterHole, StoredDay
from ticktape.query import Asker

Key = tuple[str, str]
"""(source, symbol)."""

_SEQUENCES_ASKED_MAX = 5_000
_COUNTER = "bitAnd(reinterpretAsUInt64(sequence), 4294967295)"
_POLLED = ("capital_flow", "capital_distribution", "capital_flow_summary")


class Store:
    """Asks about one trading day."""

    def __init__(self, asker: Asker, trade_date: datetime.date) -> None:
        self._asker = asker
        self._day = f"trade_date = '{trade_date}'"

    def days(self) -> dict[Key, StoredDay]:
        """Each symbol's rows, without those that a merge would still replace."""
        table = self._ask(
            "SELECT source, symbol, count() AS rows, countIf(ordinal = 0) AS sequences,"
            " toUnixTimestamp64Micro(min(ts_event)) AS first_us, toUnixTimestamp64Micro(max(ts_event)) AS last_us,"
            f" min({_COUNTER}) AS low, max({_COUNTER}) AS high, sum(volume) AS volume, sum(turnover) AS turnover"
            f" FROM ticks FINAL WHERE {self._day} GROUP BY source, symbol"
        )
        return {
            (row["source"], row["symbol"]): StoredDay(
                row["rows"], row["sequences"], row["first_us"], row["last_us"], row["low"], row["high"],
                row["volume"], row["turnover"],
            )
            for row in table.to_pylist()
        }  # fmt: skip

    def rows_by_topic(self) -> dict[tuple[str, str, str], int]:
        """(source, symbol, topic) to rows."""
        table = self._ask(
            f"SELECT source, symbol, _topic, count() AS rows FROM ticks FINAL WHERE {self._day} GROUP BY ALL"
        )
        return {(row["source"], row["symbol"], row["_topic"]): row["rows"] for row in table.to_pylist()}

    def not_merged(self) -> int:
        """Rows that are there twice until a merge replaces the older one."""
        [row] = self._ask(
            f"SELECT (SELECT count() FROM ticks WHERE {self._day}) AS there,"
            f" (SELECT count() FROM ticks FINAL WHERE {self._day}) AS rows"
        ).to_pylist()
        return int(row["there"]) - int(row["rows"])

    def holes(self, source: str, symbol: str) -> list[CounterHole]:
        """Where a symbol's counter steps by more than one, in its order."""
        table = self._ask(
            "SELECT before, after, toInt64(bitAnd(after, 4294967295)) - toInt64(bitAnd(before, 4294967295)) - 1 AS"
            " missing FROM (SELECT sequence AS after, lagInFrame(sequence, 1, sequence - 1) OVER w AS before"
            " FROM (SELECT sequence FROM ticks FINAL"
            f" WHERE {self._day} AND source = {quoted(source)} AND symbol = {quoted(symbol)} AND ordinal = 0)"
            " WINDOW w AS (ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))"
            " WHERE missing > 0 ORDER BY after"
        )
        return [CounterHole(row["before"], row["after"], row["missing"]) for row in table.to_pylist()]

    def records(self) -> dict[tuple[str, int], dict[int, int]]:
        """(topic, partition) to the day's rows of each record there, by its offset."""
        table = self._ask(
            f"SELECT _topic, _partition, _offset, count() AS rows FROM ticks FINAL WHERE {self._day} GROUP BY ALL"
        )
        held: dict[tuple[str, int], dict[int, int]] = {}
        columns = (table.column(name).to_pylist() for name in ("_topic", "_partition", "_offset", "rows"))
        for topic, partition, offset, rows in zip(*columns, strict=True):
            held.setdefault((topic, partition), {})[offset] = rows
        return held

    def twice(self) -> list[tuple[str, int, int, int]]:
        """(topic, partition, offset, rows too many) of records whose rows are there more than once."""
        table = self._ask(
            "SELECT _topic, _partition, _offset, count() - uniqExact(_row) AS extra FROM ticks"
            f" WHERE {self._day} GROUP BY _topic, _partition, _offset HAVING extra > 0"
        )
        return [(row["_topic"], row["_partition"], row["_offset"], row["extra"]) for row in table.to_pylist()]

    def broken_records(self) -> list[tuple[str, int, int, int]]:
        """(topic, partition, offset, rows) of records that lack a row before their last stored one.

        A record may hold rows of other days, so those that look broken are looked at whole.
        """
        table = self._ask(
            "SELECT _topic, _partition, groupArray(_offset) AS offsets FROM (SELECT _topic, _partition, _offset FROM"
            f" ticks FINAL WHERE {self._day} GROUP BY _topic, _partition, _offset"
            " HAVING max(_row) + 1 != uniqExact(_row)) GROUP BY _topic, _partition"
        )
        broken = []
        for row in table.to_pylist():
            place = f"_topic = {quoted(row['_topic'])} AND _partition = {row['_partition']}"
            whole = self._ask(
                "SELECT _offset, toInt64(max(_row)) + 1 - toInt64(uniqExact(_row)) AS lacks FROM ticks FINAL"
                f" WHERE {place} AND _offset IN {_list(row['offsets'])} GROUP BY _offset HAVING lacks > 0"
            )
            broken += [(row["_topic"], row["_partition"], each["_offset"], each["lacks"]) for each in whole.to_pylist()]
        return broken

    def rows_of_records(self, topic: str, partition: int, offsets: Sequence[int]) -> dict[int, set[int]]:
        """The day's stored rows of these records: offset to indexes."""
        table = self._ask(
            f"SELECT _offset, groupArray(_row) AS rows FROM ticks FINAL WHERE {self._day}"
            f" AND _topic = {quoted(topic)} AND _partition = {partition} AND _offset IN {_list(offsets)}"
            " GROUP BY _offset"
        )
        return {row["_offset"]: set(row["rows"]) for row in table.to_pylist()}

    def keys(self, source: str, symbol: str, sequences: Sequence[int]) -> set[tuple[int, int]]:
        """Which (sequence, ordinal) of these sequences are stored, in whatever record."""
        found: set[tuple[int, int]] = set()
        for begin in range(0, len(sequences), _SEQUENCES_ASKED_MAX):
            table = self._ask(
                f"SELECT DISTINCT sequence, ordinal FROM ticks WHERE {self._day} AND source = {quoted(source)}"
                f" AND symbol = {quoted(symbol)}"
                f" AND sequence IN {_list(sequences[begin : begin + _SEQUENCES_ASKED_MAX])}"
            )
            found |= {(row["sequence"], row["ordinal"]) for row in table.to_pylist()}
        return found

    def gaps(self, begin_s: int) -> list[dict[str, object]]:
        """The ledger's rows for ticks, times as integers, but for those that ended before `begin_s`."""
        table = self._ask(
            "SELECT gap_id, source, symbol, cause, state, missing, from_sequence, to_sequence,"
            " toUnixTimestamp64Micro(from_ts) AS from_ts, toUnixTimestamp64Micro(to_ts) AS to_ts,"
            " toUnixTimestamp64Nano(opened_at) AS opened_at, toUnixTimestamp64Nano(updated_at) AS updated_at"
            " FROM (SELECT * FROM gaps FINAL"
            f" WHERE feed = 'ticks' AND updated_at >= toDateTime64({begin_s}, 9))"
        )
        return table.to_pylist()

    def set_aside(self) -> set[tuple[str, int, int, int]]:
        """(topic, partition, offset, row) of ticks that ClickHouse refused."""
        table = self._ask(
            "SELECT _topic, _partition, _offset, _row FROM dead_letters"
            " WHERE feed = 'ticks' AND reason = 'refused_by_clickhouse'"
        )
        return {(row["_topic"], row["_partition"], row["_offset"], row["_row"]) for row in table.to_pylist()}

    def refused(self, begin_s: int, end_s: int) -> list[dict[str, object]]:
        """Dead letters of the wire that came between two unix seconds: gateway, reason, how many."""
        table = self._ask(
            f"SELECT gateway, reason, count() AS letters FROM dead_letters WHERE {_wire(begin_s, end_s)}"
            " GROUP BY gateway, reason ORDER BY gateway, reason"
        )
        return table.to_pylist()

    def refused_ticks(self, begin_s: int, end_s: int) -> list[tuple[str, bytes]]:
        """(detail, frame with its header) of each single tick that was refused then; of frames that are whole."""
        table = self._ask(
            "SELECT DISTINCT detail, base64Encode(payload) AS payload FROM dead_letters"
            f" WHERE {_wire(begin_s, end_s)} AND reason = 'bad_row' AND payload_bytes = length(payload)"
        )
        return [(row["detail"], base64.b64decode(row["payload"])) for row in table.to_pylist()]

    def polled(self) -> list[dict[str, object]]:
        """feed, source, symbol, rows, first_us and last_us of the polled tables."""
        parts = (
            f"SELECT '{table}' AS feed, source, symbol, count() AS rows,"
            " toUnixTimestamp64Micro(min(ts_event)) AS first_us, toUnixTimestamp64Micro(max(ts_event)) AS last_us"
            f" FROM {table} FINAL WHERE {self._day} GROUP BY source, symbol"
            for table in _POLLED
        )
        return self._ask(" UNION ALL ".join(parts)).to_pylist()

    def _ask(self, sql: str) -> pa.Table:
        return answer_to(self._asker, sql)


def answer_to(asker: Asker, sql: str) -> pa.Table:
    """The answer to `sql` as an Arrow table; raises as `ask` does."""
    table: pa.Table = pa.ipc.open_stream(asker.ask(sql, "ArrowStream")).read_all()
    return table


def newest_days(asker: Asker) -> list[datetime.date]:
    """The last trading day of each market that had ticks within a week of the newest one, ascending."""
    table = answer_to(
        asker,
        "SELECT DISTINCT day FROM (SELECT max(trade_date) AS day FROM ticks"
        " WHERE trade_date > (SELECT max(trade_date) FROM ticks) - 7"
        " GROUP BY source, substring(symbol, 1, position(symbol, '.'))) ORDER BY day",
    )
    return [row["day"] for row in table.to_pylist()]


def _wire(begin_s: int, end_s: int) -> str:
    return (
        "feed = 'ticks' AND reason != 'refused_by_clickhouse'"
        f" AND ts_recv >= toDateTime64({begin_s}, 9) AND ts_recv < toDateTime64({end_s}, 9)"
    )


def _list(numbers: Iterable[int]) -> str:
    return f"({', '.join(map(str, numbers))})"
