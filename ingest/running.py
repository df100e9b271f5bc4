"""The tasks of a gateway, from its start to its stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Running:
    """Tasks that go on until they are stopped: whatever else ends one is a mistake of ours."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, work: Coroutine[None, None, None], name: str) -> None:
        """Do `work` in the background."""
        self._tasks.append(asyncio.create_task(work, name=name))

    async def wait(self) -> None:
        """Return once stopped; raises what ended a task."""
        assert self._tasks, "started before it is waited for"
        await asyncio.gather(*(asyncio.shield(task) for task in self._tasks))

    async def stop(self) -> None:
        """End all tasks, whatever they are doing; also where none was begun."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
