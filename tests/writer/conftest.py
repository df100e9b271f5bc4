"""ClickHouse over HTTP for the writer's tests, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.clickhouse import ClickHouse, ClickHouseConfig
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.counting import rows_and_keys


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouseHttp]:
    with ClickHouseHttp(tmp_path / "server") as started:
        yield started


@pytest.fixture
def remote(server: ClickHouseHttp) -> Iterator[ClickHouse]:
    opened = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
    yield opened
    opened.close()


def counts(clickhouse: ClickHouse, table: str = "ticks") -> tuple[int, int]:
    """Rows, and rows with different origins."""
    return rows_and_keys(clickhouse, "_topic, _partition, _offset, _row", table)
