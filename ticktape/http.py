"""What a daemon answers over HTTP: probes, metrics, status, and queries of the embedded store.

Rule 1: `/livez`, `/readyz` and `/metrics` name no symbol and no account, so they need no token and may
be shown to other machines by `probes_listen`.
Rule 2: on loopback, a request must name loopback as its host: a web page that was made to resolve to
127.0.0.1 in somebody's browser does not.
"""

from __future__ import annotations

import errno
import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
from aiohttp import web

from codec.errors import TicktapeError
from sinks.clickhouse_errors import ClickHouseError
from ticktape.settings.fields import Address

_SHUTDOWN_TIMEOUT_S = 1.0
"""How long a request that is being answered may go on when the daemon ends."""
_SQL_BYTES_MAX = 1 << 20
_COVERAGE_BYTES_MAX = 64 << 20
_TEXT_BY_FORMAT = {"CSV": "text/csv", "JSON": "application/json", "TabSeparated": "text/tab-separated-values"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CannotListen(TicktapeError):
    """An address of `[http]` cannot be listened on."""


class Reporter(Protocol):
    """What the endpoints ask of the process that they belong to; each is cheap and does no I/O."""

    def readiness(self) -> dict[str, Any]:
        """`{"ready": bool, "hops": {name: bool}, "gateways": {name: bool}}`."""
        ...

    def status(self) -> dict[str, Any]:
        """All that is known of each hop and gateway, as JSON."""
        ...

    def metrics(self) -> bytes:
        """Prometheus's text format."""
        ...


Query = Callable[[str, str], Awaitable[bytes]]
"""(SQL, ClickHouse format) to the answer; raises ClickHouseError."""

TakeCoverage = Callable[[bytes], Awaitable[None]]
"""Stores an Arrow stream of rows of `coverage`; raises ValueError for what is none, and ClickHouseError."""


class HttpServer:
    """The endpoints of one daemon.

    Parameters
    ----------
    key : of `[http]`, which messages name: `listen` or `sink_listen`
    token : asked of whoever wants `/status`, `/query` or `/coverage`; empty for nobody
    query : answers `POST /query`; None where the store is a server of its own
    take_coverage : stores what `ticktape audit` sends to `POST /coverage`; None as above
    """

    def __init__(
        self,
        reporter: Reporter,
        *,
        listen: Address,
        key: str = "listen",
        probes_listen: Address | None = None,
        token: str = "",
        query: Query | None = None,
        take_coverage: TakeCoverage | None = None,
    ) -> None:
        self._reporter = reporter
        self._listen, self._key, self._probes_listen = listen, key, probes_listen
        self._token = token
        self._query = query
        self._take_coverage = take_coverage
        self._runners: list[web.AppRunner] = []
        self.port = listen.port

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{Address(self._listen.host, self.port)}"

    async def start(self) -> None:
        """Listen; `port` is then the one in use, also where 0 was asked for.

        Raises
        ------
        CannotListen
        """
        try:
            self.port = await self._serve(self._application(), self._listen, self._key)
            if self._probes_listen is not None:
                await self._serve(self._probes(), self._probes_listen, "probes_listen")
        except CannotListen:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening; what is being answered gets a moment to end."""
        while self._runners:
            await self._runners.pop().cleanup()

    async def _serve(self, application: web.Application, address: Address, key: str) -> int:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            if error.errno == errno.EADDRINUSE:
                reason = "another process listens there; stop it, or configure another port"
            raise CannotListen(f"[http] {key} = {address}: {reason}") from error
        port: int = runner.addresses[0][1]
        return port

    def _probes(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        return application

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=_COVERAGE_BYTES_MAX)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/status", self._status)
        application.router.add_post("/query", self._answer_query)
        application.router.add_post("/coverage", self._store_coverage)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._listen.is_loopback and not _names_loopback(request.host):
            return _text(403, "this address answers only to requests for localhost")
        if self._token and request.path in ("/status", "/query", "/coverage"):
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return _text(401, "needs the header Authorization: Bearer <token>", {"WWW-Authenticate": "Bearer"})
        return await handler(request)

    async def _livez(self, _: web.Request) -> web.Response:
        return _text(200, "alive")

    async def _readyz(self, _: web.Request) -> web.Response:
        readiness = self._reporter.readiness()
        return _json(200 if readiness["ready"] else 503, readiness)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._reporter.metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _status(self, _: web.Request) -> web.Response:
        return _json(200, self._reporter.status())

    async def _answer_query(self, request: web.Request) -> web.Response:
        if self._query is None:
            return _text(404, "ClickHouse is a server of its own here: ask it")
        output_format = request.query.get("format", "TabSeparatedWithNames")
        if (request.content_length or 0) > _SQL_BYTES_MAX:
            return _text(413, f"a question has at most {_SQL_BYTES_MAX} bytes")
        try:
            answer = await self._query(await request.text(), output_format)
        except UnicodeDecodeError:
            return _text(400, "the body must be SQL in UTF-8")
        except ClickHouseError as error:
            return _text(503 if error.retriable else 400, str(error))
        kind = next((kind for name, kind in _TEXT_BY_FORMAT.items() if output_format.startswith(name)), None)
        return web.Response(body=answer, content_type=kind or "application/octet-stream")

    async def _store_coverage(self, request: web.Request) -> web.Response:
        if self._take_coverage is None:
            return _text(404, "ClickHouse is a server of its own here: write to it")
        try:
            await self._take_coverage(await request.read())
        except ValueError as error:
            return _text(400, str(error))
        except ClickHouseError as error:
            return _text(503 if error.retriable else 400, str(error))
        return _text(200, "stored")


def _names_loopback(host: str) -> bool:
    """Whether the Host header, `name[:port]`, names this machine."""
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    return Address(name, 0).is_loopback


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)


def _json(status: int, value: dict[str, Any]) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)
    return web.Response(status=status, body=body, content_type="application/json")
