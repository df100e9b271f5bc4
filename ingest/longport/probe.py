"""A one-shot visit to LongPort: do we get a password, are we let in, what may we subscribe and ask?"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.conditions import ConditionTable
from codec.errors import TicktapeError
from codec.longport.decoder import LongportDecoder
from codec.longport.protocol import Command
from codec.symbols import SymbolTable
from ingest.longport.address import Address
from ingest.longport.connection import PACKET_BYTES_MAX, SPARE_BYTES
from ingest.longport.events import Closed, Event, Failed, Ready, Replied
from ingest.longport.session import Login, LongportSession
from ingest.longport.signature import Credentials
from ingest.longport.token import fetch_password
from ingest.receive_buffer import ReceiveBuffer
from ingest.transport import TcpTransport
from ingest.websocket import WebSocketTransport
from protos.longport import quote_profile_pb2


class QuotesUnreachable(TicktapeError):
    """There is a password, and the quote gateway does not let us in by it."""

    retriable = True


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What one visit learned.

    Attributes
    ----------
    limit, online : connections that the account may have, and has
    symbols_max : that it may subscribe to; 0 where it does not say
    limits : calls a second and burst of some commands, by their number
    round_trip_s : of the profile
    """

    limit: int
    online: int
    quote_level: str
    symbols_max: int
    limits: dict[int, tuple[int, int]]
    round_trip_s: float


async def probe_longport(
    address: Address, http_url: str, credentials: Credentials, timeout_s: float = 5.0
) -> ProbeReport:
    """Get a password, connect, log in, ask for the profile, and leave.

    Raises
    ------
    TokenUnavailable
        There is no password.
    QuotesUnreachable
        No connection, no answer within `timeout_s`, or a refusal.
    """
    password = await fetch_password(http_url, credentials, random.Random())
    visit = _Visit(Login(password.text, goes_on=False), address)
    try:
        async with asyncio.timeout(timeout_s):
            return await visit.report()
    except TimeoutError:
        raise QuotesUnreachable(f"{address.url} did not answer as LongPort does within {timeout_s:g} s") from None
    except OSError as error:
        raise QuotesUnreachable(f"cannot connect to {address.url}: {error.strerror or error}") from error
    finally:
        visit.leave()


class _Visit:
    """A `TransportOwner` with a session, whose events are awaited."""

    def __init__(self, login: Login, address: Address) -> None:
        self._address = address
        decoder = LongportDecoder(SymbolTable(1), ConditionTable(), MarketClock(), holds_pulls=True)
        self._session = LongportSession(decoder, login, is_stream=address.is_stream, now_ns=time.monotonic_ns())
        self._buffer = ReceiveBuffer(capacity_max=PACKET_BYTES_MAX + SPARE_BYTES)
        self._ticks = TickBuffer(1)
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._websocket: WebSocketTransport | None = None
        self._transport: TcpTransport | WebSocketTransport | None = None

    async def report(self) -> ProbeReport:
        await self._connect()
        self._session.begin(time.monotonic_ns())
        self._send()
        ready: Ready | None = None
        asked_s = 0.0
        while True:
            match await self._events.get():
                case Ready() as ready:
                    asked_s, message = time.monotonic(), quote_profile_pb2.UserQuoteProfileRequest(language="en")
                    self._session.request(Command.QUERY_USER_QUOTE_PROFILE, message, time.monotonic_ns())
                    self._send()
                case Replied() as reply if ready is not None:
                    profile = quote_profile_pb2.UserQuoteProfileResponse.FromString(reply.body)
                    return ProbeReport(
                        limit=ready.limit,
                        online=ready.online,
                        quote_level=profile.quote_level,
                        symbols_max=profile.subscribe_limit,
                        limits={each.command: (each.limit, each.burst) for each in profile.rate_limit},
                        round_trip_s=time.monotonic() - asked_s,
                    )
                case Failed() as failed:
                    raise QuotesUnreachable(f"the account's profile cannot be had: {failed.text} ({failed.code})")
                case Closed() as closed:
                    raise QuotesUnreachable(closed.reason)
                case _:
                    pass

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        ends: NDArray[np.int64] | None = self._websocket.message_ends if self._websocket is not None else None
        received = self._session.receive(
            buffer.data,
            buffer.start,
            buffer.stop,
            now_ns=time.monotonic_ns(),
            recv_ns=recv_ns,
            ticks=self._ticks,
            message_ends=ends,
        )
        buffer.start = received.consumed
        self._tell(received.events)
        self._send()

    def ended(self, reason: str) -> None:
        self._tell(self._session.end(reason))

    async def _connect(self) -> None:
        if self._address.is_stream:
            stream = self._transport = TcpTransport(self, self._buffer)
            await stream.connect(self._address.host, self._address.port)
        else:
            websocket = self._websocket = self._transport = WebSocketTransport(
                self, self._buffer, message_bytes_max=PACKET_BYTES_MAX
            )
            await websocket.connect(self._address.websocket_url)

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._events.put_nowait(event)

    def _send(self) -> None:
        assert self._transport is not None
        for packet in self._session.take_outgoing():
            self._transport.send(packet)
