"""Compiled kernels, and readers of what the pipeline journaled."""

from __future__ import annotations

import pytest

from codec.warm import warm


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Compile once: the first call would otherwise trip Hypothesis's deadline."""
    warm()
