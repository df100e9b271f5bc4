"""`ticktape demo`: a simulated market through the same hops as `ticktape up`, then a comparison.

The market is stopped first and says what it made; the hops drain; then each symbol's count and
checksum in ClickHouse must equal the market's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop
from rich.console import Console

from codec.errors import TicktapeError
from sinks.folder_lock import FolderLock
from ticktape.daemon import Daemon, Role, stop_signals
from ticktape.demo_market import MarketFailed, MarketTruth, SimulatedMarket
from ticktape.demo_screen import Figures, Screen, figures_table, latency_text
from ticktape.exits import Exit
from ticktape.logs import OUR_PACKAGES
from ticktape.settings import BadSettings, Settings, load_settings
from ticktape.simulate.checksum import CHECKSUM_SQL
from ticktape.simulate.symbols import list_symbols

FOLDER = Path("var/demo")
_CONFIG = "ticktape.toml"
_SHOW_EVERY_S = 0.25
_SUBSCRIBE_TIMEOUT_S = 60.0
_DRAIN_TIMEOUT_S = 60.0
_POLL_S = 0.05
_RATE_OVER_S = 2.0
_DIFFERENT_SHOWN_MAX = 10
_STORED_QUERY = f"SELECT symbol, count(), {CHECKSUM_SQL} FROM ticks GROUP BY symbol"


Stored = dict[str, tuple[int, int]]
"""(rows, checksum of their content) of each symbol."""


class DemoFailed(TicktapeError):
    """The demo came to no comparison."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says; `seconds` None means: until Ctrl-C."""

    rate: int
    symbols: int
    seconds: float | None


def run_demo(options: DemoOptions) -> Exit:
    """Run it; FAILED when what is stored is not what the market made.

    Raises
    ------
    TicktapeError
        It came to no comparison.
    """
    # The figures say it all; a warning would tear them.
    for ours in OUR_PACKAGES:
        logging.getLogger(ours).setLevel(logging.ERROR)
    folder = _fresh_folder(FOLDER.absolute())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Demo(options, folder, Console(width=None if Console().is_terminal else 120)).run())


def _fresh_folder(folder: Path) -> Path:
    """`folder`, emptied. Raises BadSettings when it is not an earlier demo's."""
    if folder.exists():
        if not (folder / _CONFIG).is_file():
            raise BadSettings([f"{folder} was not made by a demo: move it away, or run the demo elsewhere"])
        FolderLock.take(folder / "clickhouse").release()  # raises while another demo runs there
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


class _Demo:
    def __init__(self, options: DemoOptions, folder: Path, console: Console) -> None:
        self._options = options
        self._folder = folder
        self._console = console
        self._stopping = asyncio.Event()
        self._started_s = 0.0
        self._received: deque[tuple[float, int]] = deque()

    async def run(self) -> Exit:
        with stop_signals(self._stopping):
            self._say("starting a simulated OpenD: a seeded market behind a real TCP port …")
            try:
                market = await SimulatedMarket.start(
                    symbols=self._options.symbols, rate=self._options.rate, log=self._folder / "simulator.log"
                )
            except MarketFailed:
                if self._stopping.is_set():
                    return Exit.DONE  # Ctrl-C reaches both of us
                raise
            daemon = Daemon(self._write_settings(market, http_port=0), Role.UP)
            try:
                return await self._run_daemon(daemon, market)
            finally:
                await market.kill()
                await daemon.stop()

    async def _run_daemon(self, daemon: Daemon, market: SimulatedMarket) -> Exit:
        self._say("starting gateway, journal and embedded ClickHouse …")
        await daemon.start()
        self._write_settings(market, http_port=daemon.http.port)
        await self._until_subscribed(daemon)
        self._say(
            f"{self._options.symbols} symbols subscribed; status and metrics at {daemon.http.url}/status, /metrics"
        )
        return await self._watch(daemon, market)

    def _write_settings(self, market: SimulatedMarket, *, http_port: int) -> Settings:
        """The demo's own configuration, also for the commands that are tried afterwards."""
        file = self._folder / _CONFIG
        symbols = [listing.symbol for listing in list_symbols(self._options.symbols)]
        file.write_text(
            f"""\
[journal]
path = {json.dumps(str(self._folder / "journal"))}
max_bytes = "8GiB"
min_free_bytes = "256MiB"

[clickhouse]
url = {json.dumps(f"chdb://{self._folder / 'clickhouse'}")}

[http]
listen = "127.0.0.1:{http_port}"

[[gateway]]
name = "demo"
kind = "opend"
url = "tcp://{market.host}:{market.port}"

[[subscription]]
gateway = "demo"
symbols = {json.dumps(symbols)}
feeds = ["ticks"]
"""
        )
        return load_settings(file, {})

    async def _until_subscribed(self, daemon: Daemon) -> None:
        deadline_s = time.monotonic() + _SUBSCRIBE_TIMEOUT_S
        while not (daemon.readiness()["ready"] or self._stopping.is_set()):
            if time.monotonic() > deadline_s:
                raise DemoFailed(f"not ready after {_SUBSCRIBE_TIMEOUT_S:g} s: {daemon.readiness()}")
            await asyncio.sleep(_SHOW_EVERY_S)
        self._started_s = time.monotonic()

    async def _watch(self, daemon: Daemon, market: SimulatedMarket) -> Exit:
        """Show figures until it is time to stop; then stop the market, drain, compare."""
        assert daemon.clickhouse is not None, "`up` has a store"
        with Screen(self._console) as screen:
            while not self._is_over():
                if not market.is_running:
                    raise DemoFailed("the simulated market ended by itself")
                screen.show(self._figures(daemon))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _SHOW_EVERY_S)
            traded_s = time.monotonic() - self._started_s
            truth = await market.stop()
            await self._drain(daemon, screen)
        answer = await daemon.clickhouse.query_async(_STORED_QUERY, "JSONCompactEachRow")
        stored = {
            symbol: (int(rows), int(checksum)) for symbol, rows, checksum in map(orjson.loads, answer.splitlines())
        }
        self._summarize(self._figures(daemon), traded_s, truth, stored)
        return Exit.DONE if stored == truth.symbols else Exit.FAILED

    def _is_over(self) -> bool:
        seconds = self._options.seconds
        timed_out = seconds is not None and time.monotonic() - self._started_s >= seconds
        return timed_out or self._stopping.is_set()

    async def _drain(self, daemon: Daemon, screen: Screen) -> None:
        """The market has hung up: take what it sent to the journal, and all of that to ClickHouse."""
        assert daemon.gateways is not None
        assert daemon.writer is not None
        deadline_s = time.monotonic() + _DRAIN_TIMEOUT_S
        while any(gateway["up"] for gateway in daemon.gateways.gateways_status().values()):
            await self._not_beyond(deadline_s)
        await daemon.gateways.stop(_DRAIN_TIMEOUT_S)
        while any(daemon.writer.lag_rows().values()):
            screen.show(self._figures(daemon))
            await self._not_beyond(deadline_s)

    async def _not_beyond(self, deadline_s: float) -> None:
        if time.monotonic() > deadline_s:
            raise DemoFailed(f"what was received was not stored within {_DRAIN_TIMEOUT_S:g} s")
        await asyncio.sleep(_POLL_S)

    def _figures(self, daemon: Daemon) -> Figures:
        hops, now_s = daemon.status()["hops"], time.monotonic()
        received = hops["gateways"]["received"].get("ticks", 0)
        self._received.append((now_s, received))
        while now_s - self._received[0][0] > _RATE_OVER_S:
            self._received.popleft()
        first_s, first = self._received[0]
        span_s = now_s - first_s
        return Figures(
            elapsed_s=now_s - self._started_s,
            received=received,
            repeats=hops["gateways"]["repeats"].get("ticks", 0),
            stored=hops["writer"]["rows"].get("ticks", 0),
            rate=(received - first) / span_s if span_s else 0.0,
            latency_p50_s=hops["writer"]["latency_s"]["p50"],
            latency_p99_s=hops["writer"]["latency_s"]["p99"],
        )

    def _summarize(self, figures: Figures, traded_s: float, truth: MarketTruth, stored: Stored) -> None:
        rows = [
            ("market open", f"{traded_s:.1f} s, {len(truth.symbols)} symbols"),
            ("ticks made by the market", f"{truth.ticks:,}"),
            ("ticks received", f"{figures.received:,}"),
            ("repeats dropped", f"{figures.repeats:,}"),
            ("rows in ClickHouse", f"{sum(count for count, _ in stored.values()):,}"),
            ("ticks a second", f"{figures.received / traded_s:,.0f}"),
            ("socket to queryable, p50 / p99", latency_text(figures)),
        ]
        self._console.print()
        self._console.print(figures_table(rows), highlight=False)
        self._console.print()
        different = sorted(
            symbol for symbol in truth.symbols.keys() | stored.keys() if truth.symbols.get(symbol) != stored.get(symbol)
        )
        if different:
            self._console.print(f"{len(different)} symbols differ from what the market made:", style="bold red")
            for symbol in different[:_DIFFERENT_SHOWN_MAX]:
                made, kept = truth.symbols.get(symbol, (0, 0)), stored.get(symbol, (0, 0))
                what = f"made {made[0]:,}, stored {kept[0]:,}" if made[0] != kept[0] else "same count, other content"
                self._say(f"  {symbol}: {what}")
        else:
            same = "For each symbol, count and checksum in ClickHouse equal what the market made."
            self._console.print(same, style="bold green")
        config = FOLDER / _CONFIG
        self._say("\nTry next:")
        self._say(
            f"  ticktape query -c {config} 'SELECT symbol, count(), max(price) FROM ticks GROUP BY symbol LIMIT 5'"
        )
        self._say(
            f"  ticktape query -c {config} --tz Asia/Hong_Kong 'SELECT * FROM ticks ORDER BY ts_recv DESC LIMIT 5'"
        )
        self._say("  ticktape init        # then name your own OpenD in ticktape.toml: ticktape check, ticktape up")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
