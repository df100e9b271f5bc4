"""The simulated OpenD: a TCP server, and the loop that lets its market live.

Rule 1: a tick is generated only for symbols that somebody holds (ticktape/simulate/opend_subscriptions.py).
Rule 2: no push is dropped because a client is slow: while one has too much waiting, the market stands still.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import structlog
import uvloop
from numpy.typing import NDArray
from pyarrow import parquet

from codec.markets import HK, MARKET_TIMES
from ticktape.simulate.checksum import mix_ticks
from ticktape.simulate.faults import (
    BACKEND_LOST,
    BAD_SHA1,
    CACHED_REPUSH,
    DROP,
    DUPLICATE,
    OUTAGES,
    REORDER,
    RESTART,
    RIGHT_LOST,
    STALL,
    UNCOUNTED,
    Faults,
    Later,
    leave_out,
    spoil_sha1,
)
from ticktape.simulate.market import Market
from ticktape.simulate.opend_calls import FIRST_PUSH_TICKS_MAX, Calls
from ticktape.simulate.opend_condition import used_quota_notice
from ticktape.simulate.opend_connection import Connection
from ticktape.simulate.opend_encode import BY_DISCONNECT, CACHED, REALTIME
from ticktape.simulate.opend_frames import Encoder, Frames
from ticktape.simulate.opend_websocket import FrontClient
from ticktape.simulate.opend_wire import GatewayKey
from ticktape.simulate.outages import OUTAGE_S, STALL_S, Outages, Turn
from ticktape.simulate.ports import PortUnavailable
from ticktape.simulate.sessions import TradingSession, opening_us
from ticktape.simulate.symbols import list_symbols
from ticktape.simulate.tick_store import Spans

STEP_S = 0.010
BY_DISCONNECT_TICKS_MAX = 50
"""Of what a symbol traded while the backend was away, no more is fetched (docs/protocols/opend.md 4)."""
_QUOTA_NOTICE_EVERY_S = 1.0
_TRUTH = ("sequence", "price_milli", "volume", "direction", "event_us")
"""What is kept of every tick for the file of the truth."""
CLOSE_TIMEOUT_S = 2.0
"""Clients get this long to take what was sent before the end."""


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; see `ticktape simulate opend --help`."""

    host: str = "127.0.0.1"
    port: int = 11111
    date: str | None = None
    seed: int = 1
    symbols: int = 200
    rate: float = 2000.0
    speed: float = 1.0
    ticks_max: int | None = None
    ticks_per_push_max: int = 50
    quota: int = 2000
    faults: Faults = field(default_factory=Faults)
    truth: Path | None = None
    key: GatewayKey | None = None
    websocket_port: int | None = None
    websocket_key: str = field(default="", repr=False)


def serve(options: Options) -> None:
    """Be an OpenD until SIGTERM or SIGINT, then print what was generated as one line of JSON.

    Raises
    ------
    PortUnavailable
        The address is in use or not available.
    """

    async def run() -> None:
        server = OpenDServer(options)
        truth = await server.run()
        if options.truth is not None:
            write_truth(options.truth, server.market)
        print(json.dumps(truth), flush=True)  # noqa: T201 - promised to whoever started us

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def write_truth(path: Path, market: Market) -> None:
    """Every tick that the market made, as a Parquet file: symbol, sequence, checksum of its content."""
    symbols, of = market.store.kept()
    names = pa.array([listing.symbol for listing in market.listings])
    price, volume = of["price_milli"] / 1000.0, of["volume"].astype(np.float64)
    turnover = of["price_milli"] * of["volume"] / 1000.0
    checksum = mix_ticks(of["sequence"], price, volume, turnover, of["direction"], of["event_us"])
    symbol = pa.DictionaryArray.from_arrays(symbols, names)
    parquet.write_table(pa.table({"symbol": symbol, "sequence": of["sequence"], "checksum": checksum}), path)


class OpenDServer:
    """Market, calls and connections, and the loop over them."""

    def __init__(self, options: Options) -> None:
        self._options = options
        today = datetime.now(ZoneInfo(MARKET_TIMES[HK].zone)).date().isoformat()
        self.market = Market(
            list_symbols(options.symbols),
            seed=options.seed,
            start_us=opening_us(options.date or today),
            rate=options.rate,
            speed=options.speed,
            ticks_max=options.ticks_max,
            uncounted=options.faults.strength.get(UNCOUNTED, 0.0),
            keeps=_TRUTH if options.truth is not None else (),
        )
        self._encoder = Encoder(self.market.listings, self.market.store.rings, options.ticks_per_push_max)
        self.calls = Calls(self.market, self._encoder, options.seed, options.quota, options.key)
        self._faults = options.faults
        self._repeats, self._late = self._make_later(DUPLICATE), self._make_later(REORDER)
        self._drops = np.random.default_rng(self._faults.random(DROP).getrandbits(64))
        self._counted = np.array([listing.market == HK for listing in self.market.listings])
        self._repeated = 0
        self._connections: set[Connection] = set()
        self._outages = Outages(options.faults, OUTAGES, OUTAGE_S)
        self._stalls = Outages(options.faults, (STALL,), STALL_S)
        self._ticks_received = self.market.store.state.ticks
        self._used_told = (0, 0.0)
        self._stopping = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        """Serve until `stop`; returns what was generated.

        Raises
        ------
        PortUnavailable
            The address is in use or not available.
        """
        loop = asyncio.get_running_loop()
        self._warm_up()
        servers = await self._listen()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        addresses = ["{}:{}".format(*server.sockets[0].getsockname()[:2]) for server in servers]
        print("listening", " websocket ".join(addresses), flush=True)  # noqa: T201 - promised to whoever started us
        try:
            await self._live()
            self._push_late(all_of_them=True)
        finally:
            for server in servers:
                server.close()
            await self._close_connections()
        return self.truth()

    def stop(self) -> None:
        """End the loop at its next step."""
        self._stopping.set()

    def truth(self) -> dict[str, Any]:
        """What was generated: unique ticks by symbol, rows of the polled tables, repeats; requests, faults."""
        store = self.market.store
        symbols = {
            self.market.listings[index].symbol: {
                "rows": int(store.state.ticks[index]),
                "checksum": str(int(store.checksum[index])),
                "last_sequence": str(int(store.last_sequence[index])),
            }
            for index in np.flatnonzero(store.state.ticks)
        }
        tables: dict[str, Mapping[str, Any]] = {"ticks": {"rows": store.total, "symbols": symbols}}
        for table in ("capital_flow", "capital_distribution", "ark_dynamic"):
            rows = self.calls.quotes.served.counts(table)
            tables[table] = {
                "rows": sum(rows.values()),
                "symbols": {symbol: {"rows": count} for symbol, count in rows.items()},
            }
        return {
            "tables": tables,
            "repeats": self._repeated,
            "requests": dict(self.calls.requests),
            "faults": dict(self._faults.struck),
            "frequency": self.calls.frequency.report(),
        }

    async def _listen(self) -> list[asyncio.Server]:
        """On the TCP port, and where asked for on the WebSocket port."""
        servers = [await self._listen_on(self._options.port, "--port", self._make_connection)]
        if (port := self._options.websocket_port) is not None:
            servers.append(await self._listen_on(port, "--websocket-port", self._make_front))
        return servers

    async def _listen_on(self, port: int, option: str, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        host = self._options.host
        try:
            return await asyncio.get_running_loop().create_server(factory, host, port)
        except OSError as error:
            raise PortUnavailable(host, port, error, option) from error

    def _make_front(self) -> FrontClient:
        return FrontClient(self._options.websocket_key, lambda: self._make_connection(by_front=True))

    def _make_connection(self, *, by_front: bool = False) -> Connection:
        return Connection(
            self.calls,
            self._faults,
            push_cached=self._push_cached,
            joined=self._joined,
            left=self._connections.discard,
            by_front=by_front,
        )

    def _joined(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self.calls.condition.outage == RESTART:
            connection.abort()

    def _make_later(self, fault: str) -> Later:
        return Later(np.random.default_rng(self._faults.random(fault).getrandbits(64)))

    def _warm_up(self) -> None:
        """Compile the kernels before anybody waits for them, on a market that is thrown away."""
        listings = self.market.listings[:1]
        market = Market(listings, seed=0, start_us=self.market.now_us)
        market.fill_cache(np.zeros(1, np.int64), TradingSession.REGULAR)
        Encoder(listings, market.store.rings, 1).pushes(market.store.last(np.zeros(1, np.int64), 1), REALTIME)

    async def _live(self) -> None:
        """Steps until told to stop: at a rate, one each `STEP_S`; at full speed, as clients take them."""
        loop = asyncio.get_running_loop()
        start_s, start_us = loop.time(), self.market.now_us
        stepped_s = start_s
        while not self._stopping.is_set():
            now_s = loop.time()
            self.calls.book.expire(now_s)
            if self.calls.book.held.any():
                self._faults.arm(now_s)
            elapsed_s, anybody = now_s - stepped_s, bool(self.calls.book.held.any())
            for turn in self._outages.step(now_s, elapsed_s, anybody=anybody):
                self._turn(turn)
            for turn in self._stalls.step(now_s, elapsed_s, anybody=anybody):
                self._stall(turn)
            self._tell_used_quota(now_s)
            generated = 0
            if not any(connection.is_congested for connection in self._connections):
                behind_s = now_s - start_s - (self.market.now_us - start_us) / (self._options.speed * 1e6)
                generated = self._step(now_s - stepped_s, max(behind_s, 0.0))
                stepped_s = now_s
            at_full_speed = self._options.rate == 0 and generated > 0
            pause_s = 0.0 if at_full_speed else max(STEP_S - (loop.time() - now_s), 0.001)
            await asyncio.sleep(pause_s)

    def _step(self, elapsed_s: float, behind_s: float) -> int:
        """One step of the market and what it pushes; returns the ticks generated.

        `elapsed_s` is real time since the last step, for what comes so often a second; `behind_s` is
        how far the market's clock has to move, in real seconds.
        """
        self._push_again()
        self._push_late()
        sessions = self.market.sessions_now()
        book = self.calls.book
        # At full speed nothing but the clients' reading limits what is generated: only for those who read.
        wanted = book.pushed if self._options.rate == 0 else book.held
        spans = self.market.step(elapsed_s, behind_s, wanted)
        pushed = spans.only(((book.pushed & sessions) != 0) & self._sees())
        if len(pushed) and DROP in self._faults:
            pushed = leave_out(pushed, self._faults.strength[DROP], self._drops, self._counted)
        if len(pushed):
            pushed = self._late.choose(pushed, self._faults.share(REORDER))
        if len(pushed):
            if DUPLICATE in self._faults:
                self._repeats.choose(pushed, self._faults.strength[DUPLICATE])
            frames = self._encoder.pushes(pushed, REALTIME)
            if self._faults.strikes(BAD_SHA1, elapsed_s):
                spoil_sha1(frames, self._faults.random(BAD_SHA1))
            for connection in tuple(self._connections):
                wants = (book.pushed_to(connection.client.connection) & sessions) != 0
                connection.send_pushes(frames.of(wants), elapsed_s)
        if self._faults.strikes(CACHED_REPUSH, elapsed_s):
            self._push_cached_again()
        return spans.ticks

    def _sees(self) -> NDArray[np.bool_]:
        """(n_symbols,) whose quotes reach us now; (1,) when that is the same for all."""
        condition = self.calls.condition
        if condition.outage != RIGHT_LOST:
            return np.array([condition.has_backend])
        return np.array([not condition.lacks_right(listing.market) for listing in self.market.listings])

    def _turn(self, turn: Turn) -> None:
        """An outage begins or ends: tell the clients, or drop them."""
        condition, ticks = self.calls.condition, self.market.store.state.ticks
        condition.outage = turn.outage if turn.begins else None
        _log.info("outage", outage=turn.outage, begins=turn.begins)
        for connection in tuple(self._connections):
            if turn.outage == RESTART and turn.begins:
                connection.abort()
            elif connection.client.takes_notices:
                connection.send(condition.notices(turn.outage))
        if turn.begins:
            self._ticks_received = ticks.copy()
        elif turn.outage == RESTART:
            self.calls.book.forget()
            self.market.forget_cache()
        elif turn.outage == BACKEND_LOST:
            self._push_missed()

    def _push_missed(self) -> None:
        """The backend is there again: what it sent meanwhile is fetched, the last few of each symbol."""
        missed = np.minimum(self.market.store.state.ticks - self._ticks_received, BY_DISCONNECT_TICKS_MAX)
        symbols = np.flatnonzero((missed > 0) & (self.calls.book.pushed != 0))
        if len(symbols):
            first = self.market.store.state.ticks[symbols] - missed[symbols]
            self._send_all(self._encoder.pushes(Spans(symbols, first, missed[symbols]), BY_DISCONNECT))

    def _tell_used_quota(self, now_s: float) -> None:
        """Once a second at most, when subscriptions have changed."""
        changes, told_s = self._used_told
        if self.calls.book.changes == changes or now_s - told_s < _QUOTA_NOTICE_EVERY_S:
            return
        self._used_told = (self.calls.book.changes, now_s)
        notice = used_quota_notice(self.calls.book.used())
        for connection in tuple(self._connections):
            if connection.client.takes_notices:
                connection.send(notice)

    def _stall(self, turn: Turn) -> None:
        """The links that there are fall silent, or go on; new ones are sound."""
        for connection in tuple(self._connections):
            if turn.begins:
                connection.stall()
            else:
                connection.go_on()

    def _push_again(self) -> None:
        due = self._repeats.due(self.market.store.state.ticks).only(self.calls.book.pushed != 0)
        if len(due):
            self._repeated += due.ticks
            self._send_all(self._encoder.pushes(due, REALTIME))

    def _push_late(self, *, all_of_them: bool = False) -> None:
        ticks = self.market.store.state.ticks
        due = self._late.due(ticks, all_of_them=all_of_them).only(self.calls.book.pushed != 0)
        if len(due):
            self._send_all(self._encoder.pushes(due, REALTIME))

    def _push_cached_again(self) -> None:
        pushed = np.flatnonzero(self.calls.book.pushed)
        if len(pushed):
            chosen: NDArray[np.int64] = pushed[[self._faults.random(CACHED_REPUSH).randrange(len(pushed))]]
            cached = self.market.cached(chosen, FIRST_PUSH_TICKS_MAX)
            self._repeated += cached.ticks
            self._send_all(self._encoder.pushes(cached, CACHED))

    def _send_all(self, frames: Frames) -> None:
        for connection in tuple(self._connections):
            connection.send(frames.of(self.calls.book.pushed_to(connection.client.connection) != 0))

    def _push_cached(self, connection: Connection, spans: Spans) -> None:
        connection.send(self._encoder.pushes(spans, CACHED).data.tobytes())

    async def _close_connections(self) -> None:
        for connection in tuple(self._connections):
            connection.close()
        if self._connections:
            await asyncio.wait([connection.closed for connection in self._connections], timeout=CLOSE_TIMEOUT_S)
        for connection in tuple(self._connections):
            connection.abort()
