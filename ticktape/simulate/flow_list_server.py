"""The simulated flow list: an HTTP server whose lists grow with the market's clock."""

from __future__ import annotations

import asyncio
import html
import json
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import uvloop
from aiohttp import web

from codec.markets import HK, MARKET_TIMES, BadSymbol, normalize_symbol
from ticktape.simulate.faults import Faults
from ticktape.simulate.flow_list_faults import Striking
from ticktape.simulate.flows import Flows
from ticktape.simulate.ports import PortUnavailable
from ticktape.simulate.served import ServedRows
from ticktape.simulate.sessions import opening_us
from ticktape.simulate.symbols import Listing, list_symbols

TABLE = "capital_flow_summary"
SLOW_S = 2.0
INVALID_PARAM, INVALID_CODE, GET_FAILED = 1001, 1002, 1016
_UNKNOWN_CODE = 4242
_RETRY_AFTER_S = 1
_NO_TIME = "yesterday"
_SIZES = ("super", "large", "medium", "small")
_NAMES = {INVALID_PARAM: "INVALID_PARAM", INVALID_CODE: "INVALID_CODE", GET_FAILED: "GET_CAPITAL_FLOW_FAILED"}
_HTTP_FAULTS = {"http-401": 401, "http-429": 429, "http-503": 503}
_CODE_FAULTS = {"invalid-param": INVALID_PARAM, "get-failed": GET_FAILED, "unknown-code": _UNKNOWN_CODE}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; see `ticktape simulate flow-list --help`."""

    host: str = "127.0.0.1"
    port: int = 9000
    seed: int = 1
    symbols: int = 200
    speed: float = 1.0
    batch_max: int = 1000
    faults: Faults = field(default_factory=Faults)


def serve(options: Options) -> None:
    """Be a flow list until SIGTERM or SIGINT, then print what was served as one line of JSON.

    Raises
    ------
    PortUnavailable
        The address is in use or not available.
    """

    async def run() -> None:
        truth = await FlowListServer(options).run()
        print(json.dumps(truth), flush=True)  # noqa: T201 - promised to whoever started us

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


class FlowListServer:
    """Answers `/capital-flow`, whatever the method."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._faults = Striking(options.faults)
        self._listings = {listing.symbol: listing for listing in list_symbols(options.symbols)}
        self._flows = Flows(options.seed)
        today = datetime.now(ZoneInfo(MARKET_TIMES[HK].zone)).date().isoformat()
        self._start_us, self._started_s = opening_us(today), time.monotonic()
        self._served = ServedRows()
        self._requests: Counter[str] = Counter()
        self._entries = 0
        self._stopping = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        """Serve until a signal; returns what was served.

        Raises
        ------
        PortUnavailable
        """
        application = web.Application()
        application.router.add_route("*", "/capital-flow", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        host, port = self._options.host, self._options.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise PortUnavailable(host, port, error) from error
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        host, port = runner.addresses[0][:2]
        print(f"listening {host}:{port}", flush=True)  # noqa: T201 - promised to whoever started us
        await self._stopping.wait()
        await runner.cleanup()
        return self.truth()

    def truth(self) -> dict[str, Any]:
        """Rows that were served, a version each; requests by how they were answered; faults."""
        rows = self._served.counts(TABLE)
        of_symbols = {symbol: {"rows": count} for symbol, count in rows.items()}
        return {
            "tables": {TABLE: {"rows": sum(rows.values()), "symbols": of_symbols}},
            "requests": dict(self._requests),
            "faults": dict(self._options.faults.struck),
        }

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        for fault, status in _HTTP_FAULTS.items():
            if self._faults.strikes(fault):
                return self._refuse(status)
        if self._faults.strikes("redirect"):
            self._requests["302"] += 1
            return web.Response(status=302, headers={"Location": "http://elsewhere.invalid/login"})
        if self._faults.strikes("html"):
            self._requests["html"] += 1
            repeated = html.escape("\n".join(f"{name}: {value}" for name, value in request.headers.items()))
            return web.Response(text=f"<html><body><pre>{repeated}</pre></body></html>", content_type="text/html")
        for fault, code in _CODE_FAULTS.items():
            if self._faults.strikes(fault):
                return self._error(code)
        symbols = await self._asked(request)
        if symbols is None or len(symbols) > self._options.batch_max:
            return self._error(INVALID_PARAM)
        listings = [self._listing(symbol) for symbol in symbols]
        if any(listing is None for listing in listings):
            return self._error(INVALID_CODE)
        return await self._list(request, [listing for listing in listings if listing is not None])

    async def _asked(self, request: web.Request) -> list[str] | None:
        """The symbols of a request, however it lists them; None where it does not."""
        if request.method == "POST":
            try:
                symbols = (await request.json())["stock_list"]
            except (ValueError, TypeError, KeyError):
                return None
        else:
            symbols = [symbol for text in request.query.getall("stock_list", []) for symbol in _listed(text)]
        right = isinstance(symbols, list) and symbols and all(isinstance(symbol, str) for symbol in symbols)
        return symbols if right else None

    def _listing(self, symbol: str) -> Listing | None:
        """The symbol as listed; None where its code is refused."""
        try:
            listing = self._listings.get(normalize_symbol(symbol))
        except BadSymbol:
            return None
        return None if listing is None or self._faults.marks("invalid-code", listing.symbol) else listing

    async def _list(self, request: web.Request, listings: list[Listing]) -> web.StreamResponse:
        if self._faults.strikes("slow"):
            await asyncio.sleep(SLOW_S)
        now_us = self._start_us + int((time.monotonic() - self._started_s) * self._options.speed * 1e6)
        entries: list[dict[str, Any]] = []
        for listing in listings:
            if not self._faults.marks("missing", listing.symbol):
                entries += self._entries_of(listing, now_us)
        answer = {"ret_code": 0, "ret_msg": "SUCCESS", "data": {"capital_flow_list": entries}}
        body = json.dumps(answer).encode()
        if self._faults.strikes("truncated"):
            self._requests["truncated"] += 1
            return web.Response(body=body[: len(body) // 2], content_type="application/json")
        if self._faults.strikes("close"):
            self._requests["closed"] += 1
            return await self._close_in_the_middle(request, body)
        self._requests["ok"] += 1
        self._serve(entries)
        response = web.Response(body=body, content_type="application/json")
        if self._faults.strikes("gzip"):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    def _entries_of(self, listing: Listing, now_us: int) -> list[dict[str, Any]]:
        """What the list has of a symbol: the newest line of its day, as the page describes it."""
        self._entries += 1
        if self._faults.comes_round("bad-entries", self._entries):
            return [{"code": listing.symbol, "update_time": _NO_TIME, "main_net_inflow": 1}]
        lines = self._flows.intraday(listing, now_us)
        newest = self._entry(listing, lines[-1].at, lines[-1].sizes)
        if len(lines) > 1 and self._faults.strikes("duplicates"):
            older = self._entry(listing, lines[-1].at, lines[-2].sizes)
            return [older, newest]
        return [newest]

    def _entry(self, listing: Listing, at: datetime, sizes: tuple[float, ...]) -> dict[str, Any]:
        whole = sum(abs(size) for size in sizes) or 1.0
        amounts = dict(zip(_SIZES, sizes, strict=True))
        amounts = {"main": sizes[0] + sizes[1], "retail": sizes[2] + sizes[3], **amounts}
        entry: dict[str, Any] = {"code": listing.symbol, "update_time": f"{at:%Y-%m-%d %H:%M:%S}"}
        for size, amount in amounts.items():
            entry[f"{size}_net_inflow"] = self._number(round(amount, 3))
            entry[f"{size}_net_inflow_ratio"] = self._number(round(amount / whole, 6))
        if self._faults.strikes("unknown-keys"):
            entry["currency"] = "HKD"
        return entry

    def _number(self, value: float) -> float | str | None:
        if self._faults.strikes("nulls"):
            return None
        return str(value) if self._faults.strikes("strings") else value

    def _serve(self, entries: list[dict[str, Any]]) -> None:
        """Count what a client can store of a list: of entries with one code and time, the last."""
        for (code, update_time), entry in {(entry["code"], entry["update_time"]): entry for entry in entries}.items():
            numbers = [number for name, number in entry.items() if name not in ("code", "update_time", "currency")]
            if update_time != _NO_TIME and any(number is not None for number in numbers):
                values = tuple(None if number is None else float(number) for number in numbers)
                self._served.add(TABLE, code, (update_time,), values)

    def _refuse(self, status: int) -> web.Response:
        self._requests[str(status)] += 1
        headers = {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503) else None
        return web.Response(status=status, headers=headers)

    def _error(self, code: int) -> web.Response:
        self._requests[str(code)] += 1
        return web.json_response({"ret_code": code, "ret_msg": _NAMES.get(code, "NO_SUCH_ERROR"), "data": None})

    async def _close_in_the_middle(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response


def _listed(text: str) -> list[str]:
    """The symbols of one parameter: a JSON array, or words between commas."""
    return json.loads(text) if text.startswith("[") else text.split(",")
