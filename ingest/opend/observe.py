"""A longer visit to an OpenD: subscribe a few symbols, watch their ticks for a while, and leave."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.markets import US, symbol_name
from codec.opend.decoder import OpenDDecoder
from codec.opend.notes import TIME_DISAGREEMENTS
from codec.opend.protocol import ProtoId, SessionChoice, SubType
from codec.symbols import SymbolTable
from ingest.opend.encryption import PLAIN, WireMode
from ingest.opend.events import Closed, Failed, Pulled, Ready, Replied
from ingest.opend.observation import Observation, Observed
from ingest.opend.probe import GatewayUnreachable
from ingest.opend.requests import Security, pull_request, sub_request, unsub_request
from ingest.opend.session import OpenDSession
from ingest.opend.streams import Stream, open_stream
from protos.opend import subscription_pb2

UNSUBSCRIBE_AFTER_S = 61.0
"""OpenD refuses to unsubscribe within a minute (docs/protocols/opend.md 4)."""
_GREETING_S_MAX = 10.0
_REQUEST_S_MAX = 15.0
_READ_BYTES = 256 << 10
_READ_S = 0.25


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visit saw.

    Attributes
    ----------
    symbols : that were watched
    left_out : for which the login had no quota left, or which were refused
    keep_alive_s : the interval that the gateway asks for
    silence_s : the longest time without a byte
    still_held : whether OpenD keeps our subscriptions until their minute is over
    """

    symbols: tuple[str, ...]
    left_out: tuple[str, ...]
    keep_alive_s: float
    silence_s: float
    still_held: bool
    observed: Observed


async def observe_gateway(
    host: str,
    port: int,
    wanted: Sequence[Security],
    *,
    source: str,
    duration_s: float,
    quota_reserve: int,
    tell: Callable[[float, int], None],
    wire: WireMode = PLAIN,
) -> Visit:
    """Watch as many of `wanted` as the login's quota allows beside `quota_reserve`; tells (seconds, ticks) as it goes.

    Raises
    ------
    GatewayUnreachable
        No connection, a refusal, or an end before `duration_s` was over.
    """
    try:
        async with asyncio.timeout(_GREETING_S_MAX):
            stream = await open_stream(host, port, wire)
    except TimeoutError:
        raise GatewayUnreachable(f"{host}:{port} takes no connection within {_GREETING_S_MAX:g} s") from None
    except OSError as error:
        raise GatewayUnreachable(f"cannot connect to {host}:{port}: {error.strerror or error}") from error
    try:
        return await _Visitor(stream, source, wire).visit(wanted, duration_s, quota_reserve, tell)
    except OSError as error:
        raise GatewayUnreachable(f"the connection broke: {error.strerror or error}") from error
    finally:
        stream.abort()


class _Visitor:
    """One connection, read until told otherwise; whatever ticks it brings are observed."""

    def __init__(self, stream: Stream, source: str, wire: WireMode) -> None:
        symbols = SymbolTable(1)
        self._stream = stream
        self._decoder = OpenDDecoder(symbols, MarketClock(), checks_sha1=wire.has_sha1)
        self._session = OpenDSession(self._decoder, now_ns=time.monotonic_ns(), wire=wire)
        self._observation = Observation(symbols, source)
        self._ticks = TickBuffer()
        self._waiting = b""
        self._ready: Ready | None = None
        self._wire = wire
        self._answers: dict[int, Replied | Pulled | Failed] = {}
        self._heard_s = time.monotonic()
        self._silence_s = 0.0
        self.seen = 0

    async def visit(
        self, wanted: Sequence[Security], duration_s: float, quota_reserve: int, tell: Callable[[float, int], None]
    ) -> Visit:
        await self._read_until(lambda: self._ready is not None, _GREETING_S_MAX)
        assert self._ready is not None, "read until it is there"
        chosen = await self._within_quota(wanted, quota_reserve)
        taken = [security for security in chosen if await self._subscribe(security)]
        begin_s = time.monotonic()
        while (now_s := time.monotonic()) - begin_s < duration_s:
            tell(now_s - begin_s, self.seen)
            await self._read(min(_READ_S, duration_s - (now_s - begin_s)))
        for security in taken:  # a hole is no proof against the counter: what is there fills it
            await self._ask(ProtoId.GET_TICKER, pull_request(security))
        still_held = time.monotonic() - begin_s < UNSUBSCRIBE_AFTER_S
        if taken and not still_held:
            await self._ask(ProtoId.SUB, unsub_request(taken))
        return Visit(
            tuple(symbol_name(*security) for security in taken),
            tuple(symbol_name(*security) for security in wanted if security not in taken),
            self._ready.keep_alive_s,
            self._silence_s,
            still_held,
            self._observation.observed(int(self._decoder.counters[TIME_DISAGREEMENTS])),
        )

    @property
    def _hint(self) -> str:
        """What a greeting that fails may be due to."""
        return f"; {self._wire.hint}" if self._ready is None else ""

    async def _within_quota(self, wanted: Sequence[Security], quota_reserve: int) -> list[Security]:
        """Those that some connection of the login holds already, which cost nothing, and as many more as may be had."""
        c2s = subscription_pb2.GetSubInfoC2S(isReqAllConn=True)
        answer = await self._ask(ProtoId.GET_SUB_INFO, subscription_pb2.GetSubInfoRequest(c2s=c2s))
        if not isinstance(answer, Replied):
            raise GatewayUnreachable("the gateway does not say how much of its subscription quota is left")
        reply = answer.reply
        assert isinstance(reply, subscription_pb2.GetSubInfoResponse)
        held = {
            (security.market, security.code)
            for connection in reply.s2c.connSubInfoList
            for info in connection.subInfoList
            if info.subType == SubType.TICKER
            for security in info.securityList
        }
        left = max(reply.s2c.remainQuota - quota_reserve, 0)
        chosen = []
        for security in wanted:
            if security not in held:
                if left == 0:
                    continue
                left -= 1
            chosen.append(security)
        return chosen

    async def _subscribe(self, security: Security) -> bool:
        session = SessionChoice.ALL if security[0] == US else None
        return isinstance(await self._ask(ProtoId.SUB, sub_request([security], session, push=True)), Replied)

    async def _ask(self, proto_id: ProtoId, message: object) -> Replied | Pulled | Failed:
        serial = self._session.request(proto_id, message, time.monotonic_ns())  # type: ignore[arg-type]
        await self._read_until(lambda: serial in self._answers, _REQUEST_S_MAX)
        return self._answers.pop(serial)

    async def _read_until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise GatewayUnreachable(f"no answer within {timeout_s:g} s{self._hint}")
            await self._read(min(_READ_S, left_s))

    async def _read(self, timeout_s: float) -> None:
        """Read once, for no longer than `timeout_s`, and do what the session is due to do."""
        self._handle(self._session.tick(time.monotonic_ns(), int(time.time())))
        self._stream.write(self._session.take_outgoing())
        chunk = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                chunk = await self._stream.read(_READ_BYTES)
                if not chunk:
                    raise GatewayUnreachable(f"the gateway closed the connection{self._hint}")
        now_s = time.monotonic()
        self._silence_s = max(self._silence_s, now_s - self._heard_s)
        if not chunk:
            return
        self._heard_s = now_s
        self._waiting += chunk
        source = np.frombuffer(bytearray(self._waiting + bytes(PAD_BYTES)), np.uint8)
        start, size, recv_ns = 0, len(self._waiting), time.time_ns()
        needs_room = True
        while needs_room:
            received = self._session.receive(
                source, start, size, now_ns=time.monotonic_ns(), recv_ns=recv_ns, ticks=self._ticks
            )
            start, needs_room = received.consumed, received.needs_room
            self.seen += self._ticks.rows
            self._observation.add(self._ticks)
            self._ticks.rows = 0
            self._handle(received.events)
        self._waiting = self._waiting[start:]

    def _handle(self, events: Sequence[object]) -> None:
        for event in events:
            match event:
                case Ready():
                    self._ready = event
                case Replied() | Pulled() | Failed():
                    self._answers[event.serial] = event
                case Closed():
                    raise GatewayUnreachable(event.reason)
                case _:
                    pass
