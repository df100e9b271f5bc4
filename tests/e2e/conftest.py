"""Compiled kernels: a daemon that had to compile them first would not be ready in time."""

from __future__ import annotations

import pytest

from codec.warm import warm


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Those of an OpenD gateway, into the cache on disk that daemons share."""
    warm(["opend"])
