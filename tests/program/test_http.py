"""The endpoints over a real socket: what each says, to whom, and what a port in use gets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sinks.clickhouse_errors import ClickHouseUnavailable, QueryRefused
from ticktape.http import CannotListen, HttpServer
from ticktape.settings.fields import Address

LOOPBACK = Address("127.0.0.1", 0)


class Daemon:
    """A process as its endpoints see it."""

    def __init__(self) -> None:
        self.ready = True
        self.asked: list[tuple[str, str]] = []
        self.covered: list[bytes] = []

    def readiness(self) -> dict[str, Any]:
        return {"ready": self.ready, "hops": {"journal": self.ready}, "gateways": {}}

    def status(self) -> dict[str, Any]:
        return {"version": "1"}

    def metrics(self) -> bytes:
        return b"ticktape_build_info 1.0\n"

    async def query(self, sql: str, output_format: str) -> bytes:
        self.asked.append((sql, output_format))
        if sql == "down":
            raise ClickHouseUnavailable("ClickHouse does not answer")
        if sql != "SELECT 1":
            raise QueryRefused("only statements that read", code=164)
        return b'"1"\n1\n'

    async def take_coverage(self, stream: bytes) -> None:
        if stream == b"garbage":
            raise ValueError("not rows of coverage")
        self.covered.append(stream)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def server(daemon: Daemon) -> AsyncIterator[HttpServer]:
    server = HttpServer(daemon, listen=LOOPBACK, query=daemon.query)
    await server.start()
    yield server
    await server.stop()


async def get(client: aiohttp.ClientSession, port: int, path: str, **headers: str) -> tuple[int, str, str]:
    async with client.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response:
        return response.status, response.content_type, await response.text()


async def test_probes_and_metrics(client: aiohttp.ClientSession, server: HttpServer, daemon: Daemon) -> None:
    assert await get(client, server.port, "/livez") == (200, "text/plain", "alive\n")
    status, kind, text = await get(client, server.port, "/readyz")
    assert (status, kind) == (200, "application/json")
    assert '"journal": true' in text
    daemon.ready = False
    assert (await get(client, server.port, "/readyz"))[0] == 503
    assert (await get(client, server.port, "/livez"))[0] == 200
    assert await get(client, server.port, "/metrics") == (200, "text/plain", "ticktape_build_info 1.0\n")
    assert (await get(client, server.port, "/status"))[1:] == ("application/json", '{\n  "version": "1"\n}\n')


@pytest.mark.parametrize(
    ("sql", "path", "expected"),
    [
        ("SELECT 1", "/query?format=CSVWithNames", (200, "text/csv", '"1"\n1\n')),
        ("SELECT 1", "/query?format=Parquet", (200, "application/octet-stream", '"1"\n1\n')),
        ("DROP TABLE ticks", "/query", (400, "text/plain", "only statements that read\n")),
        ("down", "/query", (503, "text/plain", "ClickHouse does not answer\n")),
        (b"\xff", "/query", (400, "text/plain", "the body must be SQL in UTF-8\n")),
    ],
)
async def test_queries(
    client: aiohttp.ClientSession, server: HttpServer, sql: str | bytes, path: str, expected: tuple[int, str, str]
) -> None:
    async with client.post(f"http://127.0.0.1:{server.port}{path}", data=sql) as response:
        assert (response.status, response.content_type, await response.text()) == expected


async def test_a_query_takes_the_format_asked_for(
    client: aiohttp.ClientSession, server: HttpServer, daemon: Daemon
) -> None:
    for path in ("/query", "/query?format=JSON"):
        await client.post(f"http://127.0.0.1:{server.port}{path}", data="SELECT 1")
    assert daemon.asked == [("SELECT 1", "TabSeparatedWithNames"), ("SELECT 1", "JSON")]


async def test_without_an_embedded_store_there_is_nothing_to_ask(client: aiohttp.ClientSession, daemon: Daemon) -> None:
    server = HttpServer(daemon, listen=LOOPBACK)
    await server.start()
    for path in ("/query", "/coverage"):
        async with client.post(f"http://127.0.0.1:{server.port}{path}", data="SELECT 1") as response:
            assert response.status == 404
    await server.stop()


async def test_verdicts_of_an_audit_are_taken_with_the_token_only(
    client: aiohttp.ClientSession, daemon: Daemon
) -> None:
    server = HttpServer(daemon, listen=LOOPBACK, token="s3cret", take_coverage=daemon.take_coverage)
    await server.start()
    url, token = f"http://127.0.0.1:{server.port}/coverage", {"Authorization": "Bearer s3cret"}
    rows = bytes(2 << 20)  # more than a question may have
    codes = []
    for body, headers in ((rows, {}), (rows, token), (b"garbage", token)):
        async with client.post(url, data=body, headers=headers) as response:
            codes.append(response.status)
    assert (codes, daemon.covered) == ([401, 200, 400], [rows])
    await server.stop()


async def test_an_overlong_question_is_refused(client: aiohttp.ClientSession, server: HttpServer) -> None:
    async with client.post(f"http://127.0.0.1:{server.port}/query", data=bytes(2 << 20)) as response:
        assert response.status == 413


async def test_a_token_guards_what_may_name_symbols(client: aiohttp.ClientSession, daemon: Daemon) -> None:
    server = HttpServer(daemon, listen=LOOPBACK, token="s3cret")
    await server.start()
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await get(client, server.port, path))[0] == 200
    assert (await get(client, server.port, "/status"))[0] == 401
    assert (await get(client, server.port, "/status", Authorization="Bearer wrong"))[0] == 401
    assert (await get(client, server.port, "/status", Authorization="Bearer s3cret"))[0] == 200
    await server.stop()


async def test_a_web_page_that_resolves_to_loopback_is_refused(
    client: aiohttp.ClientSession, server: HttpServer
) -> None:
    assert (await get(client, server.port, "/status", Host="evil.example"))[0] == 403
    for host in (f"localhost:{server.port}", "127.0.0.1", f"[::1]:{server.port}"):
        assert (await get(client, server.port, "/status", Host=host))[0] == 200


async def test_the_probes_address_serves_probes_and_metrics_only(
    client: aiohttp.ClientSession, daemon: Daemon, free_port: int
) -> None:
    probes = Address("0.0.0.0", free_port)
    server = HttpServer(daemon, listen=LOOPBACK, probes_listen=probes, query=daemon.query)
    await server.start()
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await get(client, free_port, path, Host="pod.example"))[0] == 200
    assert (await get(client, free_port, "/status"))[0] == 404
    assert (await client.post(f"http://127.0.0.1:{free_port}/query", data="SELECT 1")).status == 404
    await server.stop()


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_a_port_in_use_is_named_with_its_key(daemon: Daemon, client: aiohttp.ClientSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = Address("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(CannotListen, match=rf"\[http\] sink_listen = {taken}: another process listens there"):
            await HttpServer(daemon, listen=taken, key="sink_listen").start()
        server = HttpServer(daemon, listen=LOOPBACK, probes_listen=taken)
        with pytest.raises(CannotListen, match=r"\[http\] probes_listen"):
            await server.start()
        with pytest.raises(aiohttp.ClientConnectorError):  # the address that was free is given up again
            await get(client, server.port, "/livez")


async def test_an_address_that_is_not_ours(daemon: Daemon) -> None:
    with pytest.raises(CannotListen, match=r"\[http\] listen = 192\.0\.2\.1:0: Cannot assign requested address"):
        await HttpServer(daemon, listen=Address("192.0.2.1", 0)).start()
