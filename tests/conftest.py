"""What every test shares; an area's own fixtures are in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support import kafka


def pytest_report_header() -> str:
    return f"kafka: {kafka.kind_of_kafka()}"


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> None:
    """Servers of the tests are on this machine, whatever proxy the environment names."""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Bootstrap servers of a Kafka for the whole run; use topic prefixes of your own."""
    with kafka.bootstrap() as servers:
        yield servers
