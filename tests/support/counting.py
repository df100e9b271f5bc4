"""What a table holds, and how often."""

from __future__ import annotations

from sinks.clickhouse import ClickHouse


def rows_and_keys(clickhouse: ClickHouse, key: str, table: str = "ticks") -> tuple[int, int]:
    """Rows, and rows with different values of the columns `key`."""
    query = f"SELECT count() AS rows, uniqExact({key}) AS keys FROM {clickhouse.database}.{table}"
    [row] = clickhouse.rows(query)
    return row["rows"], row["keys"]
