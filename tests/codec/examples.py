"""How many Hypothesis examples a property gets, compiled and as plain Python."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from codec.bits import JIT_DISABLED

PLAIN_PYTHON_FACTOR = 20
"""Kernels as plain Python are some hundred times slower; fewer examples keep the run short."""


def examples(count: int) -> settings:
    """Settings of a property that gets `count` examples when kernels are compiled."""
    return settings(
        max_examples=max(5, count // PLAIN_PYTHON_FACTOR) if JIT_DISABLED else count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
