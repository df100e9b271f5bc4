"""The demo's simulated OpenD, in a process of its own as a real one would be."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from codec.errors import TicktapeError

_START_TIMEOUT_S = 120.0
"""Compiling its kernels on a slow machine, for the first time."""
_STOP_TIMEOUT_S = 10.0
_REPEATS = "duplicate=0.05"
"""Ticks sent twice, as gateways do: the demo shows that they are dropped."""


class MarketFailed(TicktapeError):
    """The simulator did not start, or did not say what it made."""


@dataclass(frozen=True, slots=True)
class MarketTruth:
    """What the market made.

    Attributes
    ----------
    symbols : (ticks, checksum of their content) of each symbol that traded
    repeats : ticks that it sent once more than needed, that it knows of
    """

    symbols: dict[str, tuple[int, int]]
    repeats: int

    @property
    def ticks(self) -> int:
        return sum(ticks for ticks, _ in self.symbols.values())


class SimulatedMarket:
    """A running simulator; `host` and `port` are where its OpenD listens."""

    def __init__(self, process: Process, host: str, port: int) -> None:
        self._process = process
        self.host, self.port = host, port

    @classmethod
    async def start(cls, *, symbols: int, rate: int, log: Path) -> Self:
        """Start it and wait until it listens; what it says besides goes to `log`. Raises MarketFailed."""
        options = ["--port", "0", "--symbols", str(symbols), "--rate", str(rate), "--faults", _REPEATS]
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ticktape.simulate", "opend", *options, stdout=PIPE, stderr=stderr
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                line = (await process.stdout.readline()).decode().strip()
            if not line.startswith("listening "):
                raise MarketFailed(f"the simulator did not start, see {log}")
        except BaseException as error:
            await _kill(process)
            if isinstance(error, TimeoutError):
                raise MarketFailed(f"the simulator did not listen within {_START_TIMEOUT_S:g} s, see {log}") from None
            raise
        host, _, port = line.removeprefix("listening ").rpartition(":")
        return cls(process, host, int(port))

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def stop(self) -> MarketTruth:
        """Close the market and ask what it made. Raises MarketFailed."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                output, _ = await self._process.communicate()
            told = json.loads(output.splitlines()[-1])
            made = told["tables"]["ticks"]["symbols"]
            symbols = {name: (facts["rows"], int(facts["checksum"])) for name, facts in made.items()}
            return MarketTruth(symbols, told["repeats"])
        except (TimeoutError, IndexError, ValueError, KeyError) as error:
            raise MarketFailed("the simulator ended without saying what it made") from error

    async def kill(self) -> None:
        """End it, whatever it does."""
        await _kill(self._process)


async def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
