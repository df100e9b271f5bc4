"""The simulated LongPort: the token over HTTP and the WebSocket on one port, the raw protocol on another, and
the loop that lets its market live.

Rule 1: a tick is generated only for symbols that somebody has subscribed to, and then until he unsubscribes.
Rule 2: no push is dropped because a client is slow: while one has too much waiting, the market stands still.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import uvloop
from aiohttp import web

from codec.markets import HK, MARKET_TIMES
from protos.longport.control_pb2 import Close
from ticktape.simulate.faults import Faults
from ticktape.simulate.longport_account import Account, Keys, RateLimit
from ticktape.simulate.longport_calls import Calls
from ticktape.simulate.longport_link import Link, TcpLink, WsLink
from ticktape.simulate.longport_packets import Packets
from ticktape.simulate.longport_pushes import Pushes
from ticktape.simulate.longport_trades import TradeEncoder, list_longport_symbols
from ticktape.simulate.longport_trouble import Trouble
from ticktape.simulate.longport_truth import KEPT, tables, write_truth
from ticktape.simulate.market import EVERY_SESSION, Market
from ticktape.simulate.ports import PortUnavailable
from ticktape.simulate.sessions import opening_us

STEP_S = 0.010
CLOSE_TIMEOUT_S = 2.0
"""Clients get this long to take what was sent before the end."""
TOKEN_PATH = "/v1/socket/token"
_HANDSHAKE_QUERY = {"version": "1", "codec": "1", "platform": "9"}
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; see `ticktape simulate longport --help`."""

    host: str = "127.0.0.1"
    port: int = 8080
    tcp_port: int | None = None
    seed: int = 1
    symbols: int = 200
    rate: float = 2000.0
    speed: float = 1.0
    ticks_max: int | None = None
    ticks_per_push_max: int = 10
    keys: Keys = field(default_factory=Keys)
    session_s: float = 86_400.0
    connections_max: int = 10
    one_connection: bool = False
    rate_limits: tuple[RateLimit, ...] = ()
    faults: Faults = field(default_factory=Faults)
    truth: Path | None = None


def serve(options: Options) -> None:
    """Be LongPort until SIGTERM or SIGINT, then print what was generated as one line of JSON.

    Raises
    ------
    PortUnavailable
        An address is in use or not available.
    """

    async def run() -> None:
        server = LongportServer(options)
        truth = await server.run()
        if options.truth is not None:
            write_truth(options.truth, server.market, server.encoder)
        print(json.dumps(truth), flush=True)  # noqa: T201 - promised to whoever started us

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


class LongportServer:
    """Market, calls and links, and the loop over them."""

    def __init__(self, options: Options) -> None:
        self._options, self._faults = options, options.faults
        today = datetime.now(ZoneInfo(MARKET_TIMES[HK].zone)).date().isoformat()
        self.market = Market(
            list_longport_symbols(options.symbols),
            seed=options.seed,
            start_us=opening_us(today),
            rate=options.rate,
            speed=options.speed,
            ticks_max=options.ticks_max,
            keeps=KEPT if options.truth is not None else (),
            sequenced=False,
        )
        self.encoder = TradeEncoder(
            self.market.listings,
            self.market.store.rings,
            options.ticks_per_push_max,
            np.random.default_rng([options.seed, 5]),
        )
        account = Account(
            options.keys,
            options.seed,
            session_s=options.session_s,
            connections_max=options.connections_max,
            rate_limits=options.rate_limits,
        )
        self.calls = Calls(
            self.market, self.encoder, account, options.faults, options.seed, kick_older=self._kick_older
        )
        self._pushes = Pushes(self.encoder, options.faults)
        self._links: set[Link] = set()
        self._trouble = Trouble(options.faults, self._links, self.calls, self.encoder.sequences)
        self._stopping = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        """Serve until `stop`; returns what was generated.

        Raises
        ------
        PortUnavailable
            An address is in use or not available.
        """
        loop = asyncio.get_running_loop()
        self._warm_up()
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=CLOSE_TIMEOUT_S)
        await runner.setup()
        try:
            listening = await self._listen(runner)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            print(f"listening {listening}", flush=True)  # noqa: T201 - promised to whoever started us
            await self._live()
            self._send(self._pushes.due(all_of_them=True))
        finally:
            await self._close_links()
            await runner.cleanup()
        return self.truth()

    def stop(self) -> None:
        """End the loop at its next step."""
        self._stopping.set()

    def truth(self) -> dict[str, Any]:
        """What was generated: unique ticks by symbol, rows of the polled tables, repeats; requests, faults."""
        return {
            "tables": tables(self.market, self.calls.served),
            "repeats": self._pushes.repeats,
            "requests": dict(self.calls.requests),
            "faults": dict(self._faults.struck),
            "frequency": self.calls.frequency(),
        }

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get(TOKEN_PATH, self._token)
        application.router.add_get("/{path:.*}", self._websocket)
        return application

    async def _listen(self, runner: web.AppRunner) -> str:
        """Listen on both ports; what to print of them."""
        host, port, tcp_port = self._options.host, self._options.port, self._options.tcp_port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise PortUnavailable(host, port, error) from error
        listening = ":".join(map(str, runner.addresses[0][:2]))
        if tcp_port is None:
            return listening
        try:
            server = await asyncio.get_running_loop().create_server(self._make_tcp_link, host, tcp_port)
        except OSError as error:
            raise PortUnavailable(host, tcp_port, error, "--tcp-port") from error
        return f"{listening} tcp {':'.join(map(str, server.sockets[0].getsockname()[:2]))}"

    def _make_tcp_link(self) -> TcpLink:
        return TcpLink(self.calls, self._faults, joined=self._joined, left=self._links.discard)

    def _joined(self, link: Link) -> None:
        if self._trouble.is_away or self._stopping.is_set():
            link.outlet.abort()
        else:
            self._links.add(link)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        if self._trouble.is_away and request.transport is not None:
            request.transport.abort()
        self.calls.requests["token"] += 1
        headers = {name.lower(): value for name, value in request.headers.items()}
        account = self.calls.account
        body = await request.read()
        wrong = account.knows(request.method, request.path, request.query_string, headers, body)
        if wrong is not None:
            return web.json_response({"code": 403_201, "message": wrong}, status=_UNAUTHORIZED)
        data = {
            "otp": account.issue_otp(time.time()),
            "limit": account.connections_max,
            "online": len(account.online),
        }
        return web.json_response({"code": 0, "message": "success", "data": data})

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if any(request.query.get(name) != value for name, value in _HANDSHAKE_QUERY.items()):
            raise web.HTTPBadRequest(text="version=1&codec=1&platform=9 are wanted")
        return await WsLink(self.calls, self._faults, joined=self._joined, left=self._links.discard).serve(request)

    def _kick_older(self, connection: int) -> None:
        """A login closes the account's other connections, if there may be only one."""
        for link in tuple(self._links) if self._options.one_connection else ():
            if link.client.session is not None and link.client.connection != connection:
                link.close(Close.CONNECT_DUPLICATE, "logged in elsewhere")

    def _warm_up(self) -> None:
        """Compile the kernels before anybody waits for them, on a market that is thrown away."""
        listings, first = self.market.listings[:1], np.zeros(1, np.int64)
        market = Market(listings, seed=0, start_us=self.market.now_us, sequenced=False)
        market.fill_cache(first, EVERY_SESSION)
        encoder = TradeEncoder(listings, market.store.rings, 1, np.random.default_rng(0))
        encoder.pushes(market.store.last(first, 2)).messages()
        encoder.pulled(market.store.last(first, 1), 0)

    async def _live(self) -> None:
        """Steps until told to stop: at a rate, one each `STEP_S`; at full speed, as clients take them."""
        loop = asyncio.get_running_loop()
        start_s, start_us = loop.time(), self.market.now_us
        stepped_s = struck_s = start_s
        while not self._stopping.is_set():
            now_s = loop.time()
            for link in tuple(self._links):
                self._watch(link, now_s)
            if self.calls.book.held.any():
                self._faults.arm(now_s)
            self._trouble.strike(now_s, now_s - struck_s)
            struck_s = now_s
            generated = 0
            if not any(link.outlet.is_congested for link in self._links):
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
        self._send(self._pushes.due())
        book = self.calls.book
        # At full speed nothing but the clients' reading limits what is generated: only for those who read.
        spans = self.market.step(elapsed_s, behind_s, book.pushed if self._options.rate == 0 else book.held)
        pushed = spans.only(book.pushed != 0)
        if len(pushed):
            packets = self._pushes.of(pushed)
            self._trouble.break_off(packets, elapsed_s)
            self._send(packets)
        return spans.ticks

    def _send(self, packets: Packets) -> None:
        if len(packets):
            for link in tuple(self._links):
                link.send(packets.of(self.calls.book.wanted_by(link.client.connection)))

    def _watch(self, link: Link, now_s: float) -> None:
        """Heartbeats, silence, and sessions that have run out."""
        link.tick(now_s)
        session = link.client.session
        if session is not None and not self.calls.account.is_valid(session, time.time()):
            link.close(Close.SESSION_EXPIRED, "the session has expired")

    async def _close_links(self) -> None:
        for link in tuple(self._links):
            link.close(Close.SERVER_SHUTDOWN, "the simulator ends")
        if self._links:
            await asyncio.wait([link.closed for link in self._links], timeout=CLOSE_TIMEOUT_S)
        for link in tuple(self._links):
            link.outlet.abort()
