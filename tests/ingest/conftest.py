"""Compiled kernels, and the event loop of daemons for what depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from codec.warm import warm


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Compile once: the first call would otherwise trip Hypothesis's deadline."""
    warm()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Sockets are tested on both loops: daemons run on uvloop, and its transports differ from asyncio's."""
    if item.path.stem in ("test_gateway", "test_gateway_conditions"):
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
