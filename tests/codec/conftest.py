"""Kernels are compiled before the first test, or the first one to call them would look slow."""

from __future__ import annotations

import pytest

from codec.warm import warm


@pytest.fixture(scope="session", autouse=True)
def warm_kernels() -> None:
    warm()
