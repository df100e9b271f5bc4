"""The call for a one-time password, against an HTTP server that does what a test says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web

from ingest.longport import token as token_module
from ingest.longport.signature import Credentials, signed_headers
from ingest.longport.token import (
    ATTEMPTS_MAX,
    REPLY_BYTES_MAX,
    TokenRefused,
    TokenUnavailable,
    TokenUnreadable,
    fetch_password,
)

KEYS = Credentials("key-of-app", "secret-of-app", "access-token")
GOOD = {"code": 0, "message": "success", "data": {"otp": "the-password", "limit": 10, "online": 1, "more": []}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "_RETRY_FIRST_S", 0.001)


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], web.StreamResponse], path: str = "/v1/socket/token"
) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application()
    app.router.add_get(path, handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def fetch(url: str) -> str:
    return (await fetch_password(url, KEYS, random.Random(1))).text


async def failure(answer: Callable[[web.Request], web.StreamResponse]) -> TokenUnavailable:
    """What is raised; it never holds a key."""
    async with serving(answer) as url:
        with pytest.raises(TokenUnavailable) as raised:
            await fetch(url)
    said = f"{raised.value} {raised.value!r} {raised.value.remedy}"
    assert not any(key in said for key in (KEYS.app_key, KEYS.app_secret, KEYS.access_token, "the-password"))
    return raised.value


async def test_the_request_is_signed() -> None:
    seen = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response(GOOD)

    async with serving(answer) as url:
        password = await fetch_password(f"{url}/", KEYS, random.Random(1))
    assert (password.text, password.limit, password.online) == ("the-password", 10, 1)
    assert "the-password" not in repr(password)
    [request] = seen
    expected = signed_headers(KEYS, "GET", "/v1/socket/token", int(request.headers["X-Timestamp"]))
    assert {name: request.headers[name] for name in expected} == expected


async def test_a_path_before_the_call_is_signed_too() -> None:
    def answer(request: web.Request) -> web.Response:
        expected = signed_headers(KEYS, "GET", "/proxy/v1/socket/token", int(request.headers["X-Timestamp"]))
        good = request.headers["X-Api-Signature"] == expected["X-Api-Signature"]
        return web.json_response(GOOD) if good else web.Response(status=403)

    async with serving(answer, "/proxy/v1/socket/token") as url:
        assert await fetch(f"{url}/proxy") == "the-password"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_server_is_asked_some_times_more(status: int) -> None:
    asked = 0

    def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response(GOOD) if asked == ATTEMPTS_MAX else web.Response(status=status, text="busy")

    async with serving(answer) as url:
        assert await fetch(url) == "the-password"
    asked = -1_000
    error = await failure(answer)
    assert str(status) in str(error)
    assert error.retriable
    assert asked == -1_000 + ATTEMPTS_MAX


async def test_nobody_is_there() -> None:
    async with serving(lambda request: web.Response()) as url:
        pass
    with pytest.raises(TokenUnavailable, match="cannot be reached"):
        await fetch(url)


async def test_an_answer_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "_TIMEOUT_S", 0.05)
    monkeypatch.setattr(token_module, "ATTEMPTS_MAX", 1)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    with pytest.raises(TokenUnavailable, match="no answer within"):
        await fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize("word", ["message", "msg"])
async def test_a_refusal_says_the_servers_words_without_our_keys(status: int, word: str) -> None:
    body = {"code": 403201, word: f"signature invalid for {KEYS.app_key}\n{KEYS.access_token}"}
    error = await failure(lambda request: web.json_response(body, status=status))
    assert isinstance(error, TokenRefused)
    assert "signature invalid for *** *** (403201)" in str(error)
    assert "access_token" in error.remedy


async def test_an_account_whose_connections_are_all_in_use() -> None:
    full = {"code": 0, "message": "", "data": {"otp": "the-password", "limit": 2, "online": 2}}
    error = await failure(lambda request: web.json_response(full))
    assert isinstance(error, TokenRefused)
    assert "2 of the account's 2 connections are in use" in str(error)
    assert error.remedy


@pytest.mark.parametrize(
    "body",
    [
        b"<html>not found</html>",
        b"",
        b"[]",
        b"null",
        orjson.dumps({"code": 0}),
        orjson.dumps({"code": 0, "data": None}),
        orjson.dumps({"code": 0, "data": {"otp": ""}}),
        orjson.dumps({"code": 0, "data": {"otp": "the-password", "limit": "many"}}),
        orjson.dumps({"data": {"otp": "the-password"}}),
        b" " * (REPLY_BYTES_MAX + 1),
    ],
)
async def test_an_answer_that_makes_no_sense(body: bytes) -> None:
    error = await failure(lambda request: web.Response(body=body))
    assert isinstance(error, TokenUnreadable)
    assert error.status_line == "HTTP 200 OK"
    assert "is http_url right?" in str(error)
    assert error.body_bytes == len(body)


async def test_no_more_is_read_than_may_be() -> None:
    error = await failure(lambda request: web.Response(body=b"x" * (8 << 20)))
    assert isinstance(error, TokenUnreadable)
    assert error.body_bytes == REPLY_BYTES_MAX + 1


async def test_a_redirect_is_not_followed_with_our_keys() -> None:
    error = await failure(lambda request: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}))
    assert "302" in str(error)
