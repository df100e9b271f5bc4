"""Threads for calls that block, apart from asyncio's own so that one kind never starves another."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Threads:
    """A fixed number of threads that run blocking calls for event loops.

    They are daemons, unlike a ThreadPoolExecutor's: a call that hangs on a dead server must not
    keep the process from ending.
    """

    def __init__(self, count: int, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{index}", daemon=True) for index in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, call: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        """Run `call(*arguments)` in one of the threads; cancelling the future does not stop the call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result, error = None, None
            try:
                result = call(*arguments)
            except BaseException as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        self._calls.put(work)
        return future

    def close(self) -> None:
        """Let each thread end after what it is doing; does not wait."""
        for _ in self._threads:
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
