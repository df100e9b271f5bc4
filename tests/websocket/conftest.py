"""Compiled kernels, and both event loops for what uses sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from codec.warm import warm


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Compile once: the first call would otherwise trip Hypothesis's deadline."""
    warm(["opend"])


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Daemons run on uvloop, whose transports differ from asyncio's."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
