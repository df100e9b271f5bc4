"""A flow list that says what the test wants, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

AT = "2024-03-20 10:00:00"
AT_US = 1_710_900_000_000_000

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def entry(code: str = "HK.00700", amount: object = 1000000, at: object = AT, **more: object) -> dict[str, object]:
    return {"code": code, "update_time": at, "main_net_inflow": amount, **more}


def listed(*entries: object, **more: object) -> bytes:
    return json.dumps({"ret_code": 0, "ret_msg": "SUCCESS", "data": {"capital_flow_list": entries}, **more}).encode()


def error(ret_code: object, ret_msg: object = "", data: object = None) -> bytes:
    return json.dumps({"ret_code": ret_code, "ret_msg": ret_msg, "data": data}).encode()


@dataclass
class Server:
    """What the tests set and look at.

    Attributes
    ----------
    answers : next ones, each for one request; then `always` for every further one
    asked : the symbols of each request
    requests : method, query and headers of each
    """

    port: int = 0
    always: bytes | Answer = field(default_factory=listed)
    answers: list[bytes | Answer] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/capital-flow"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        body = await request.json() if request.method == "POST" else None
        self.bodies.append(body)
        self.asked.append(body["stock_list"] if body else request.query.getall("stock_list", []))
        answer = self.answers.pop(0) if self.answers else self.always
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return await answer(request)


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer with this status; `_` in the names of headers stands for `-`."""

    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, body=body, headers=named)

    return answer


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()
