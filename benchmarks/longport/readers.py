"""Who reads the simulated LongPort: ours, and a socket that is read and nothing else. Each call is one process's work.

The SDK's reader is in benchmarks/longport/sdk.py.
"""

from __future__ import annotations

import asyncio
import logging
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
from codec.tables import CAPITAL_FLOW, TICKS
from codec.warm import warm
from ingest.longport.address import Address
from ingest.longport.gateway import LongPortConfig, LongPortGateway
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
    ports: Ports, transport: str, symbols: list[str], polls: tuple[PollConfig, ...] = ()
) -> AsyncIterator[tuple[LongPortGateway, TickPipeline]]:
    """Ours, over a pipeline that journals on disk, started."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    url = f"tcp://127.0.0.1:{ports.tcp}" if transport == "tcp" else f"ws://127.0.0.1:{ports.http}/v2"
    with tempfile.TemporaryDirectory(prefix="ticktape-bench-") as folder:
        journal = Journal.open(Path(folder), readers=())
        pipeline = TickPipeline(journal.append, partition_count=12, windows=JournalWindowStore(journal))
        config = LongPortConfig("bench", Address(url), f"http://127.0.0.1:{ports.http}", KEYS, tuple(symbols), polls)
        ours = LongPortGateway(config, pipeline, MarketClock())
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


def our_pulls(ports: Ports, transport: str) -> Measured:
    """Four symbols' trades and another's flow, asked for at once: until the last of them is answered."""
    polls = (PollConfig("capital_flow", tuple(SYMBOLS[:_POLLS]), interval_s=600.0),)

    async def run() -> Measured:
        async with gateway(ports, transport, SYMBOLS[:_PULLS], polls) as (ours, pipeline):
            await until(lambda: ours.ready, "the subscription")
            began_s = time.perf_counter()
            answered = lambda: (  # noqa: E731
                ours.stats.requests["query_trade", "ok"] >= _PULLS
                and pipeline.stats.received_rows[CAPITAL_FLOW.name] > 0
            )
            await until(answered, "five answers")
            return Measured(_PULLS + _POLLS, time.perf_counter() - began_s)

    warm(["longport"])
    return uvloop.run(run())


def our_silence(ports: Ports, transport: str, pull_s: float) -> Measured:
    """The longest time without a new trade while the first pulls are on their way."""

    async def run() -> Measured:
        async with gateway(ports, transport, SYMBOLS) as (ours, pipeline):
            await until(lambda: ours.ready and pipeline.stats.received_rows[TICKS.name] > 0, "the first trade")
            began_s = heard_s = time.perf_counter()
            longest_s, rows = 0.0, 0
            while (now_s := time.perf_counter()) < began_s + pull_s * 0.9:
                received = pipeline.stats.received_rows[TICKS.name]
                if received > rows:
                    longest_s, heard_s, rows = max(longest_s, now_s - heard_s), now_s, received
                await asyncio.sleep(_POLL_S)
            assert not ours.stats.requests["query_trade", "ok"], "a pull was answered already"
            return Measured(rows, longest_s)

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
