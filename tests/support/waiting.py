"""Waiting for what other tasks, threads and processes do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 30.0


async def until(condition: Callable[[], bool], *, patience_s: float = PATIENCE_S, must: bool = True) -> None:
    """Return once `condition` holds; TimeoutError when it does not within `patience_s`, unless it need not."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            if must:
                raise TimeoutError(f"waited {patience_s:.0f} s")
            return
        await asyncio.sleep(0.02)
