"""Asks a flow list over HTTP: one request, one outcome. Nothing that a server does leaves here as an exception.

Rule 1: what a server sends is bounded while it is read, before and after inflating; nothing is followed
to another place; no cookie is kept.
Rule 2: headers and the URL's query may hold secrets: whatever of an answer is shown or stored is rid of them.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

import aiohttp
from yarl import URL

from codec.clock import MarketClock
from codec.flow_list import LIST_BYTES_MAX, DeadBatch, FlowList, FlowListDecoder, ListRefused
from codec.flow_list_entry import Notice
from codec.hidden import Hidden
from ingest.flow_list.outcomes import (
    HttpRefused,
    Listed,
    NoAnswer,
    Outcome,
    Refused,
    Unreadable,
    retry_after_s,
)
from ingest.flow_list.plan import ListWish
from ingest.letters import PAYLOAD_BYTES_MAX

TIMEOUT_S, CONNECT_TIMEOUT_S = 30.0, 10.0
_READ_BYTES = 64 << 10
_TEXT_CHARACTERS_MAX = 200
_GZIP_WBITS = 31


@dataclass(frozen=True, slots=True)
class FlowListConfig:
    """One flow list and what to get from it.

    Attributes
    ----------
    batch_max : symbols a request
    list_format : of a GET: one parameter with commas, one for each symbol, or a JSON array
    headers : names and values to send; secrets
    wanted : the subscriptions, in file order
    """

    name: str
    url: str
    method: Literal["POST", "GET"] = "POST"
    market: str = ""
    batch_max: int = 100
    list_format: Literal["comma", "repeat", "json"] = "comma"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    wanted: tuple[ListWish, ...] = ()
    source: str = "flow-list"

    @property
    def address(self) -> str:
        """Where it is, without what may be secret."""
        url = URL(self.url)
        return f"{url.host}:{url.port}"

    def hidden(self) -> Hidden:
        """The secrets of a request."""
        return Hidden([self.url, *(value for _, value in self.headers), *URL(self.url).query.values()])


class _TooLarge(Exception):
    """More than the limit."""


class _BadContent(Exception):
    """The content is not what its encoding says."""


class FlowListClient:
    """Asks one flow list, one request at a time. Use as an async context.

    Parameters
    ----------
    clock : nobody else's; answers are decoded beside the loop
    """

    def __init__(
        self,
        config: FlowListConfig,
        clock: MarketClock,
        *,
        timeout_s: float = TIMEOUT_S,
        body_bytes_max: int = LIST_BYTES_MAX,
    ) -> None:
        self._config = config
        self._url = URL(config.url)
        self._hidden = config.hidden()
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        self._body_bytes_max = body_bytes_max
        self._decoder = FlowListDecoder(clock, source=config.source, gateway=config.name, body_bytes_max=body_bytes_max)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> FlowListClient:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            headers=[("User-Agent", "ticktape"), *self._config.headers],
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=1),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def ask(self, symbols: tuple[str, ...]) -> Outcome:
        """Ask for these symbols."""
        try:
            return await self._ask(symbols)
        except TimeoutError:
            return NoAnswer(f"no answer within {self._timeout.total:g} s", timed_out=True)
        except aiohttp.ClientConnectorError as error:
            return NoAnswer(f"cannot connect to {self._url.host}:{self._url.port}: {self._shown(error.os_error)}")
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            return NoAnswer(f"no HTTP answer: {self._shown(error) or type(error).__name__}")

    def noticed(self) -> dict[str, int]:
        """How often each oddity was met; also while an answer is being decoded in its thread."""
        notices = self._decoder.notices
        return {notice.name.lower(): count for notice in Notice if (count := notices[notice])}

    def hide(self, text: str) -> str:
        """`text` without secrets."""
        return self._hidden.hide_text(text)

    def hide_bytes(self, payload: bytes) -> bytes:
        """The beginning of `payload`, as it may be stored."""
        return self._hidden.cut(payload, PAYLOAD_BYTES_MAX)

    async def _ask(self, symbols: tuple[str, ...]) -> Outcome:
        assert self._session is not None, "used as an async context"
        config, body, params = self._config, None, None
        if config.method == "POST":
            body = {"stock_list": list(symbols), "market": config.market}
        else:
            params = [*_listed(symbols, config.list_format), *([("market", config.market)] if config.market else ())]
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        async with self._session.request(
            config.method, self._url, json=body, params=params, headers=headers, allow_redirects=False
        ) as response:
            if not 200 <= response.status < 300:
                response.close()  # its body is not looked at
                return self._http_refused(response)
            received = bytearray()
            try:
                await self._read(response, received)
            except _TooLarge:
                detail = f"an answer of more than {self._body_bytes_max} B"
                return self._unreadable("undecodable", detail, received, response)
            except _BadContent as error:
                return self._unreadable("bad_gzip", str(error), received, response)
            except aiohttp.ClientPayloadError:
                return self._unreadable("undecodable", "the answer was cut off", received, response)
        return await self._decoded(bytes(received), symbols)

    async def _decoded(self, body: bytes, symbols: tuple[str, ...]) -> Outcome:
        recv_ns = time.time_ns()
        answer = await asyncio.to_thread(self._decoder.decode, body, frozenset(symbols), recv_ns)
        match answer:
            case FlowList():
                return Listed(answer, recv_ns)
            case ListRefused():
                return Refused(ListRefused(answer.ret_code, self.hide(answer.text), answer.reaction))
            case DeadBatch():
                return self._unreadable(answer.reason, answer.detail, body)

    async def _read(self, response: aiohttp.ClientResponse, received: bytearray) -> None:
        """Read and inflate the body into `received`."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise _BadContent(f"its content is encoded as {encoding[:20]!a}, which was not asked for")
        inflator = zlib.decompressobj(_GZIP_WBITS) if "gzip" in encoding else None
        size = 0
        async for chunk in response.content.iter_chunked(_READ_BYTES):
            size += len(chunk)
            room = self._body_bytes_max - len(received)
            if inflator is None:
                received += chunk[:room]
            else:
                try:
                    received += inflator.decompress(chunk, room + 1)
                except zlib.error as error:
                    raise _BadContent(f"it does not inflate: {error}") from None
            if size > self._body_bytes_max or len(received) > self._body_bytes_max:
                raise _TooLarge
        if inflator is not None and (not inflator.eof or inflator.unused_data):
            raise _BadContent("its gzip content ends early" if not inflator.eof else "bytes follow its gzip content")

    def _http_refused(self, response: aiohttp.ClientResponse) -> HttpRefused:
        leads_to = ""
        if 300 <= response.status < 400 and (location := response.headers.get("Location")):
            try:
                leads_to = self.hide(str(self._url.join(URL(location)).origin()))
            except ValueError:
                leads_to = "a place that is no URL"
        wait_s = retry_after_s(response.headers.get("Retry-After"), time.time())
        return HttpRefused(response.status, wait_s, leads_to)

    def _unreadable(
        self, reason: str, detail: str, received: bytes | bytearray, response: aiohttp.ClientResponse | None = None
    ) -> Unreadable:
        if response is not None:
            response.close()  # what else it has to say is not read
        dead = DeadBatch(reason, self.hide(detail))
        return Unreadable(dead, self.hide_bytes(bytes(received)), len(received))

    def _shown(self, error: BaseException) -> str:
        text = getattr(error, "strerror", None) or str(error)
        return self.hide(" ".join(text.split()))[:_TEXT_CHARACTERS_MAX]


def _listed(symbols: tuple[str, ...], list_format: Literal["comma", "repeat", "json"]) -> list[tuple[str, str]]:
    """The list as parameters of a query."""
    match list_format:
        case "comma":
            return [("stock_list", ",".join(symbols))]
        case "repeat":
            return [("stock_list", symbol) for symbol in symbols]
        case "json":
            return [("stock_list", json.dumps(symbols))]
