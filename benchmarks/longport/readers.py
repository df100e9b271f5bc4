"""Who reads the simulated LongPort: ours, and a socket that is read and nothing else. Each call is one process's work.

The SDK's reader is in benchmarks/longport/sdk.py.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog
import uvloop

from codec.clock import MarketClock
from codec.longport.protocol import Command
from codec.tables import TICKS
from codec.warm import warm
from ingest.longport.address import Address
from ingest.longport.gateway import LongPortConfig, LongPortGateway
from ingest.longport.limits import AccountLimits
from ingest.longport.signature import Credentials
from ingest.pipeline import TickPipeline
from ingest.poll_config import PollConfig
from sinks.journal import Journal
from tests.simulate.longport.client import TIMEOUT_S, TcpClient, WsClient, ask_token
from ticktape.simulate.longport_trades import list_longport_symbols, wire_symbol
from ticktape.simulate.market import CACHE_TICKS
from ticktape.window_store import JournalWindowStore

KEYS = Credentials("simulated-key", "simulated-secret", "simulated-token")
SYMBOLS = [listing.symbol for listing in list_longport_symbols(20)]
_POLL_S = 0.001
_WAIT_S_MAX = 60.0
_READ_BYTES = 1 << 20
_PULLS, _POLLS = 4, 1
"""Our client asks for four symbols' trades at once, and leaves the account's fifth call to others."""


class Ports(NamedTuple):
    """Of a simulator."""

    http: int
    tcp: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What went through, and how long that took."""

    count: int
    seconds: float


def pushes_of(trades: int) -> int:
    """Of all that the market makes, what is pushed: each symbol had some before it was subscribed to."""
    return trades - CACHE_TICKS * len(SYMBOLS)


@asynccontextmanager
async def gateway(
    ports: Ports,
    transport: str,
    symbols: list[str],
    polls: tuple[PollConfig, ...] = (),
    limits: AccountLimits | None = None,
) -> AsyncIterator[tuple[LongPortGateway, TickPipeline]]:
    """Ours, over a pipeline that journals on disk, started."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    url = f"tcp://127.0.0.1:{ports.tcp}" if transport == "tcp" else f"ws://127.0.0.1:{ports.http}/v2"
    with tempfile.TemporaryDirectory(prefix="ticktape-bench-") as folder:
        journal = Journal.open(Path(folder), readers=())
        pipeline = TickPipeline(journal.append, partition_count=12, windows=JournalWindowStore(journal))
        config = LongPortConfig("bench", Address(url), f"http://127.0.0.1:{ports.http}", KEYS, tuple(symbols), polls)
        ours = LongPortGateway(config, pipeline, MarketClock(), limits=limits)
        await pipeline.start()
        await ours.start()
        yield ours, pipeline
        await ours.stop()
        await pipeline.stop(5)
        journal.close()


def our_pushes(ports: Ports, transport: str, trades: int) -> Measured:
    """Trades on disk, from the first one received on."""

    async def run() -> Measured:
        async with gateway(ports, transport, SYMBOLS) as (_, pipeline):
            await until(lambda: pipeline.stats.received_rows[TICKS.name] > 0, "the first trade")
            began_s = time.perf_counter()
            await until(lambda: pipeline.stats.journaled_rows[TICKS.name] >= pushes_of(trades), "the last trade")
            return Measured(pipeline.stats.journaled_rows[TICKS.name], time.perf_counter() - began_s)

    warm(["longport"])
    return uvloop.run(run())


class WatchedLimits(AccountLimits):
    """An account's limits that remember when each call went out and when it was answered.

    Attributes
    ----------
    on_their_way : (command, when sent, monotonic ns) of calls without an answer
    together_max : the most of them that there were
    longest_ns : what the slowest of those took that were on their way when there were so many
    """

    def __init__(self) -> None:
        super().__init__(random.Random(1))
        self.on_their_way: list[tuple[int, int]] = []
        self.together_max = 0
        self.longest_ns = 0
        self._together: list[tuple[int, int]] = []

    def sent(self, command: int, now_ns: int) -> None:
        super().sent(command, now_ns)
        self.on_their_way.append((command, now_ns))
        if len(self.on_their_way) > self.together_max:
            self.together_max, self.longest_ns = len(self.on_their_way), 0
            self._together = self.on_their_way.copy()

    def ended(self, command: int, at_ns: int) -> None:
        call = next(each for each in self.on_their_way if each[0] == command)
        self.on_their_way.remove(call)
        if call in self._together:
            self._together.remove(call)
            self.longest_ns = max(self.longest_ns, at_ns - call[1])
        super().ended(command, at_ns)

    def pulls(self) -> bool:
        """Whether trades are being asked for."""
        return any(command == Command.QUERY_TRADE for command, _ in self.on_their_way)

    def are_answered(self, calls: int) -> bool:
        """Whether so many were on their way at once, and all of these are answered."""
        return self.together_max >= calls and not self._together


def our_pulls(ports: Ports, transport: str) -> Measured:
    """Four symbols' trades, and the flow of one that is asked again and again: the slowest of five calls at once."""
    polls = (PollConfig("capital_flow", tuple(SYMBOLS[:_POLLS]), interval_s=0.05),)

    async def run() -> Measured:
        limits = WatchedLimits()
        async with gateway(ports, transport, SYMBOLS[:_PULLS], polls, limits):
            await until(lambda: limits.are_answered(_PULLS + _POLLS), "five answers")
            return Measured(limits.together_max, limits.longest_ns / 1e9)

    warm(["longport"])
    return uvloop.run(run())


def our_silence(ports: Ports, transport: str) -> Measured:
    """The longest time without a new trade in our columns while pulls are on their way."""

    async def run() -> Measured:
        limits = WatchedLimits()
        async with gateway(ports, transport, SYMBOLS, limits=limits) as (ours, pipeline):
            await until(lambda: pipeline.stats.received_rows[TICKS.name] > 0 and limits.pulls(), "the first pull")
            heard_s = time.perf_counter()
            longest_s, trades, rows = 0.0, 0, ours.lane.ticks.rows
            first = limits.on_their_way[0]
            while first in limits.on_their_way:
                before, rows = rows, ours.lane.ticks.rows
                new = rows - before if rows >= before else rows  # they were taken to be stored
                if new:
                    now_s = time.perf_counter()
                    longest_s, heard_s, trades = max(longest_s, now_s - heard_s), now_s, trades + new
                await asyncio.sleep(_POLL_S)
            return Measured(trades, max(longest_s, time.perf_counter() - heard_s))

    warm(["longport"])
    return uvloop.run(run())


def raw_pushes(ports: Ports, transport: str, trades: int) -> Measured:
    """Trades that a socket has taken, none of them looked at: known by their bytes, of which none comes any more."""
    client = TcpClient(ports.tcp) if transport == "tcp" else WsClient(ports.http)
    client.log_in(ask_token(ports.http)["data"]["otp"])
    client.subscribe([wire_symbol(listing) for listing in list_longport_symbols(len(SYMBOLS))])
    buffer = bytearray(_READ_BYTES)
    began_s = ended_s = time.perf_counter()
    while client.take_raw(buffer, 0.5 if ended_s > began_s else TIMEOUT_S):
        ended_s = time.perf_counter()
    return Measured(pushes_of(trades), ended_s - began_s)


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _WAIT_S_MAX
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {_WAIT_S_MAX:.0f} s for {what}")
        await asyncio.sleep(_POLL_S)
