"""The one-time password that a session begins with: one signed HTTP call.

Rule: nothing that is raised, logged or shown from here holds a key or a password.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import orjson

from codec.errors import TicktapeError
from ingest.longport.signature import Credentials, signed_headers

PATH = "/v1/socket/token"
ATTEMPTS_MAX = 5
_RETRY_FIRST_S, _RETRY_GROWTH = 0.1, 2.0
_TIMEOUT_S = 10.0
"""Of one attempt."""
REPLY_BYTES_MAX = 64 << 10
_TEXT_CHARACTERS_MAX = 200

_KEYS_REMEDY = (
    "check app_key, app_secret and access_token in the vendor's developer center, where a token that has expired is "
    "renewed, and this machine's clock, which the signature holds"
)
_FULL_REMEDY = "close another program that uses the account; one that has just ended counts for a while"


@dataclass(frozen=True, slots=True)
class OneTimePassword:
    """Opens one session. `limit` and `online` count the account's connections."""

    text: str = field(repr=False)
    limit: int
    online: int


class TokenUnavailable(TicktapeError):
    """The HTTP side gives no password just now."""

    retriable = True

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.remedy = remedy


class TokenRefused(TokenUnavailable):
    """It answers, and says no: somebody has to do something."""


class TokenUnreadable(TokenUnavailable):
    """Its answer is not what the vendor describes."""

    def __init__(self, why: str, *, status_line: str, body_bytes: int) -> None:
        super().__init__(why)
        self.status_line, self.body_bytes = status_line, body_bytes


async def fetch_password(http_url: str, credentials: Credentials, rng: random.Random) -> OneTimePassword:
    """Ask for a password; where the gateway is busy or not there, some times more.

    Raises
    ------
    TokenUnavailable
        There is none.
    """
    url = f"{http_url.rstrip('/')}{PATH}"
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    delay_s = _RETRY_FIRST_S
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await _ask(http, url, credentials)
            except _Busy as busy:
                if attempt == ATTEMPTS_MAX:
                    raise TokenUnavailable(f"no one-time password from {http_url}: {busy}") from None
            await asyncio.sleep(rng.uniform(delay_s / 2, delay_s))
            delay_s *= _RETRY_GROWTH
    raise AssertionError("the last attempt returns or raises")


class _Busy(Exception):
    """Worth another attempt at once."""


async def _ask(http: aiohttp.ClientSession, url: str, credentials: Credentials) -> OneTimePassword:
    headers = signed_headers(credentials, "GET", urlsplit(url).path, int(time.time()))
    try:
        async with http.get(url, headers=headers, allow_redirects=False) as reply:
            body = await reply.content.read(REPLY_BYTES_MAX + 1)
            while len(body) <= REPLY_BYTES_MAX and not reply.content.at_eof():
                body += await reply.content.read(REPLY_BYTES_MAX + 1 - len(body))
            status_line = f"HTTP {reply.status} {reply.reason or ''}".strip()
    except TimeoutError:
        raise _Busy(f"no answer within {_TIMEOUT_S:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise _Busy(f"cannot be reached: {credentials.hidden_in(text)}") from None
    if reply.status == 429 or reply.status >= 500:
        raise _Busy(status_line)
    return read_reply(status_line, body, credentials)


def read_reply(status_line: str, body: bytes, credentials: Credentials) -> OneTimePassword:
    """The password in an answer.

    Raises
    ------
    TokenUnavailable
        There is none.
    """
    try:
        if len(body) > REPLY_BYTES_MAX:
            raise ValueError
        reply = orjson.loads(body)
        code = int(reply["code"])
        text = credentials.hidden_in(str(reply.get("message") or reply.get("msg") or ""))[:_TEXT_CHARACTERS_MAX]
        if code != 0:
            why = f"the one-time password is refused: {' '.join(text.split()) or 'no reason given'} ({code})"
            raise TokenRefused(why, _KEYS_REMEDY)
        data = reply["data"]
        password = OneTimePassword(str(data["otp"]), int(data.get("limit", 0)), int(data.get("online", 0)))
        if not password.text:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        why = f"{status_line}, {len(body)} B that are no answer to a request for a password: is http_url right?"
        raise TokenUnreadable(why, status_line=status_line, body_bytes=len(body)) from None
    if password.limit and password.online >= password.limit:
        why = f"{password.online} of the account's {password.limit} connections are in use"
        raise TokenRefused(why, _FULL_REMEDY)
    return password
