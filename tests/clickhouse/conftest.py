"""The same tests on the embedded engine and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks import schema
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from tests.support.clickhouse_http import ClickHouseHttp


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    """A server for the whole run; use a database of your own."""
    with ClickHouseHttp(tmp_path_factory.mktemp("clickhouse-server")) as server:
        yield server


@pytest.fixture(params=["embedded", "http"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> ClickHouseConfig:
    """An empty database of each kind."""
    if request.param == "embedded":
        return ClickHouseConfig(f"chdb://{tmp_path / 'clickhouse'}", database="ticktape")
    server: ClickHouseHttp = request.getfixturevalue("clickhouse_server")
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    return ClickHouseConfig(server.url, database=f"t_{name}"[:60])


@pytest.fixture
def clickhouse(config: ClickHouseConfig) -> Iterator[ClickHouse]:
    """A ClickHouse with all tables and no rows."""
    opened = ClickHouse(config)
    schema.prepare(opened)
    yield opened
    opened.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ClickHouse]:
    """An embedded ClickHouse without anything in it."""
    opened = ClickHouse(ClickHouseConfig(f"chdb://{tmp_path / 'clickhouse'}"))
    yield opened
    opened.close()
