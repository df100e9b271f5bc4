"""One request, one outcome: over real HTTP, whatever the server does."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from codec.clock import MarketClock
from codec.flow_list import LIST_BYTES_MAX
from ingest.flow_list.client import FlowListClient, FlowListConfig
from ingest.flow_list.outcomes import HttpRefused, Listed, NoAnswer, Outcome, Refused, Unreadable
from tests.flow_list.server import AT_US, Server, entry, error, listed, serving, status

SYMBOLS = ("HK.00700", "US.BRK.B")
SECRET = "s3cret-t0ken-of-the-desk"
HEADERS = (("Authorization", f"Bearer {SECRET}"), ("X-Desk", "seven"))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


async def ask(
    server: Server, timeout_s: float = 10.0, body_bytes_max: int = LIST_BYTES_MAX, **config: object
) -> Outcome:
    made = FlowListConfig(**{"name": "flows", "url": server.url, "headers": HEADERS, **config})  # type: ignore[arg-type]
    async with FlowListClient(made, MarketClock(), timeout_s=timeout_s, body_bytes_max=body_bytes_max) as client:
        return await client.ask(SYMBOLS)


async def test_a_post_has_the_list_the_market_and_our_headers(server: Server) -> None:
    server.always = listed(entry())
    outcome = await ask(server, market="HK")
    assert isinstance(outcome, Listed)
    [row] = outcome.flows.rows
    assert (row["symbol"], row["ts_event"], row["main_net_inflow"]) == ("HK.00700", AT_US, 1e6)
    assert server.bodies == [{"stock_list": list(SYMBOLS), "market": "HK"}]
    [request] = server.requests
    assert request.method == "POST"
    assert request.content_type == "application/json"
    assert {name: request.headers[name] for name, _ in HEADERS} == dict(HEADERS)


async def test_market_is_sent_empty_unless_it_is_configured(server: Server) -> None:
    await ask(server)
    assert server.bodies == [{"stock_list": list(SYMBOLS), "market": ""}]


@pytest.mark.parametrize(
    ("list_format", "expected"),
    [
        ("comma", ["HK.00700,US.BRK.B"]),
        ("repeat", ["HK.00700", "US.BRK.B"]),
        ("json", ['["HK.00700", "US.BRK.B"]']),
    ],
)
async def test_a_get_has_the_list_in_its_query(server: Server, list_format: str, expected: list[str]) -> None:
    outcome = await ask(server, method="GET", list_format=list_format, url=f"{server.url}?version=2", market="US")
    assert isinstance(outcome, Listed)
    [request] = server.requests
    assert request.query.getall("stock_list") == expected
    assert (request.query["version"], request.query["market"]) == ("2", "US")


@pytest.mark.parametrize("code", [1001, 1002, 1016, 4242])
async def test_an_error_of_the_servers_own(server: Server, code: int) -> None:
    server.always = error(code, "BECAUSE", "an error text")
    outcome = await ask(server)
    assert isinstance(outcome, Refused)
    assert (outcome.error.ret_code, outcome.error.text) == (code, "BECAUSE")


@pytest.mark.parametrize("code", [400, 401, 403, 404, 408, 429, 500, 502, 503])
async def test_another_status_than_2xx_is_not_decoded(server: Server, code: int) -> None:
    server.always = status(code, listed(entry()), Retry_After="17")
    outcome = await ask(server)
    assert outcome == HttpRefused(code, 17.0)
    assert isinstance(outcome, HttpRefused)
    assert outcome.permanent == (code in (400, 401, 403, 404))


async def test_any_2xx_is_a_success(server: Server) -> None:
    server.always = status(203, listed(entry()))
    assert isinstance(await ask(server), Listed)


async def test_a_redirect_is_not_followed(server: Server) -> None:
    async with serving() as elsewhere:
        for code in (301, 302, 307, 308):
            server.answers = [status(code, Location=f"{elsewhere.url}?session={SECRET}")]
            outcome = await ask(server)
            assert outcome == HttpRefused(code, leads_to=f"http://127.0.0.1:{elsewhere.port}")
            assert "a redirect to" in str(outcome)
        server.answers = [status(302, Location="http://[")]
        assert "no URL" in str(await ask(server))
        assert elsewhere.requests == []
    assert len(server.requests) == 5


async def test_no_cookie_is_kept(server: Server) -> None:
    server.answers = [status(200, listed(), Set_Cookie="session=1")]
    config = FlowListConfig("flows", server.url)
    async with FlowListClient(config, MarketClock()) as client:
        for _ in range(2):
            await client.ask(SYMBOLS)
    assert all("Cookie" not in request.headers for request in server.requests)


async def test_gzip_is_taken(server: Server) -> None:
    body = gzip.compress(listed(entry()))
    server.always = status(200, body, Content_Encoding="gzip")
    outcome = await ask(server)
    assert isinstance(outcome, Listed)
    assert len(outcome.flows.rows) == 1
    assert server.requests[0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (b"no gzip at all", "gzip", "it does not inflate"),
        (gzip.compress(listed(entry()))[:-9], "gzip", "its gzip content ends early"),
        (gzip.compress(listed(entry())) + b"more", "gzip", "bytes follow its gzip content"),
        (zlib.compress(listed(entry())), "deflate", "encoded as 'deflate', which was not asked for"),
    ],
)
async def test_content_that_is_not_what_its_encoding_says(
    server: Server, body: bytes, encoding: str, says: str
) -> None:
    server.always = status(200, body, Content_Encoding=encoding)
    outcome = await ask(server)
    assert isinstance(outcome, Unreadable)
    assert outcome.batch.reason == "bad_gzip"
    assert says in outcome.batch.detail


async def test_an_answer_beyond_the_limit_is_not_read_to_its_end(server: Server) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 50_000_000:
                await response.write(b" " * 50_000)
                sent += 50_000
        except ConnectionError:
            pass
        return response

    server.always = endless
    outcome = await ask(server, body_bytes_max=100_000)
    assert isinstance(outcome, Unreadable)
    assert outcome.batch.detail == "an answer of more than 100000 B"
    assert outcome.payload_bytes <= 100_000
    assert len(outcome.payload) == 4096
    assert sent < 20_000_000, "the rest of it was never taken"


async def test_a_bomb_is_inflated_no_further_than_the_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.always = status(200, gzip.compress(bytes(200_000_000), 1), Content_Encoding="gzip")
    outcome = await ask(server, body_bytes_max=100_000)
    assert isinstance(outcome, Unreadable)
    assert "more than 100000 B" in outcome.batch.detail
    assert outcome.payload_bytes == 100_001


async def test_an_answer_that_takes_too_long(server: Server) -> None:
    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    for answer in (drips, silent):
        server.always = answer
        outcome = await ask(server, timeout_s=0.3)
        assert outcome == NoAnswer("no answer within 0.3 s", timed_out=True)


async def test_a_connection_that_ends_in_the_middle(server: Server) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"ret_code": 0')
        assert request.transport is not None
        request.transport.close()
        return response

    async def at_once(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    server.always = cut
    outcome = await ask(server)
    assert isinstance(outcome, Unreadable)
    assert outcome.batch.detail == "the answer was cut off"
    assert outcome.payload == b'{"ret_code": 0'
    server.always = at_once
    outcome = await ask(server)
    assert isinstance(outcome, NoAnswer)
    assert "no HTTP answer" in outcome.text


async def test_nobody_is_there() -> None:
    async with serving() as server:
        gone = server
    outcome = await ask(gone)
    assert isinstance(outcome, NoAnswer)
    assert f"cannot connect to 127.0.0.1:{gone.port}: " in outcome.text


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 20x \xff\r\n\r\n", b"\0" * 70_000])
async def test_what_answers_is_no_http_server(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(said + SECRET.encode())
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listener:
        server = Server(port=listener.sockets[0].getsockname()[1])
        outcome = await ask(server)
    assert isinstance(outcome, NoAnswer)
    assert len(outcome.text) < 300
    assert SECRET not in outcome.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><title>503</title></html>",
        listed(entry())[:-1],
        b"\xff\xfe",
        listed() + b"x",
        b"[]",
        b'{"data": {}}',
        error(0, "", None),
        error(0, "", "an error text"),
    ],
)
async def test_a_dead_batch_keeps_its_bytes(server: Server, body: bytes) -> None:
    server.always = body
    outcome = await ask(server)
    assert isinstance(outcome, Unreadable)
    assert (outcome.batch.reason, outcome.payload, outcome.payload_bytes) == ("undecodable", body, len(body))


async def test_secrets_that_the_server_repeats_are_hidden(server: Server) -> None:
    echo = f'<p>no right for "Bearer {SECRET}" ({SECRET.replace("-", "%2D")} {SECRET}) at ?token=query-secret</p>'
    bodies = [echo.encode(), error(4242, f"unknown token {SECRET}"), error(0, "", f"token {SECRET}")]
    bodies += [f"{'x' * 4090}{SECRET}".encode(), f"cut at its end: {SECRET[:-5]}".encode()]
    server.answers = [*bodies, listed(entry(code=SECRET), entry(amount=SECRET))]
    for _ in bodies:
        outcome = await ask(server, url=f"{server.url}?token=query-secret")
        text = str(outcome) + str(getattr(outcome, "payload", ""))
        assert SECRET[:8] not in text, text
        assert "query-secret" not in text
    config = FlowListConfig("flows", server.url, headers=HEADERS)
    async with FlowListClient(config, MarketClock()) as client:
        outcome = await client.ask(SYMBOLS)
        assert isinstance(outcome, Listed)
        assert len(outcome.flows.dead) == 2
        assert all(SECRET not in client.hide(dead.detail) for dead in outcome.flows.dead)
        assert all(SECRET.encode() not in client.hide_bytes(dead.payload) for dead in outcome.flows.dead)
    assert SECRET not in repr(config)
