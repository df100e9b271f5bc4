"""Compiled kernels."""

from __future__ import annotations

import pytest

from codec.warm import warm


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Compile once, not within a test's time."""
    warm(["flow-list"])
