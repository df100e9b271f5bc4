"""A small OpenD that does what a test says, on a real socket: for everything that no sound one does."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from codec.markets import symbol_name
from codec.opend.protocol import HEADER, HEADER_BYTES, ProtoId
from protos.opend import common_pb2, static_info_pb2, subscription_pb2, ticker_pb2
from tests.ingest import wire

PULL_TICKS_MAX = 1000


@dataclass
class Exchange:
    """What happened so far: the numbers of each symbol's ticks, as `wire.make_tick` makes them."""

    ticks: dict[str, list[int]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Symbols that no Sub may name."""
    nameless: set[str] = field(default_factory=set)
    """Symbols that no request for static information may name."""
    logged_in: bool = True
    program: common_pb2.ProgramStatusType = common_pb2.ProgramStatusType_Ready
    market_states: dict[str, int] = field(default_factory=dict)
    """By GetGlobalState's field, such as `marketHK`; else closed."""
    rights: dict[str, int] = field(default_factory=dict)
    """By GetUserInfo's field, such as `hkQotRight`."""
    quota: tuple[int, int] = (100, 1900)
    """Units used, by whomever, and left."""
    build: int = 1

    def trade(self, symbol: str, numbers: range) -> bytes:
        """More ticks; their push."""
        self.ticks.setdefault(symbol, []).extend(numbers)
        return wire.push_frame(symbol, wire.make_ticks(numbers))

    def about_itself(self, proto_id: int, serial: int, body: bytes) -> bytes | None:
        """The answer to what is asked about the gateway, or about names; None for other requests."""
        match proto_id:
            case ProtoId.GET_GLOBAL_STATE:
                states = dict.fromkeys(wire.MARKETS, wire.CLOSED) | self.market_states
                return wire.state_frame(serial, self.logged_in, self.program, states, build=self.build)
            case ProtoId.GET_USER_INFO:
                return wire.user_frame(serial, self.rights)
            case ProtoId.GET_SUB_INFO:
                return wire.quota_frame(serial, *self.quota)
            case ProtoId.GET_STATIC_INFO:
                asked = static_info_pb2.GetStaticInfoRequest.FromString(body).c2s.securityList
                if self.nameless.intersection(map(_name, asked)):
                    return wire.refusal_frame(proto_id, serial, "unknown stock")
                return wire.names_frame(serial, [_name(security) for security in asked])
        return None

    def latest(self, symbol: str) -> list[ticker_pb2.Ticker]:
        """As a pull gives them."""
        return wire.make_ticks(self.ticks.get(symbol, [])[-PULL_TICKS_MAX:], push_type=None)


class Peer:
    """One connection, seen from the gateway's side.

    Attributes
    ----------
    asked : requests so far, by protocol id
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange, asked: Counter[int]
    ) -> None:
        self._reader, self._writer = reader, writer
        self.exchange = exchange
        self.asked = asked

    async def heard(self) -> tuple[int, int, bytes]:
        """The next request: protocol id, serial, body. Raises IncompleteReadError at the client's end."""
        _, proto_id, _, _, serial, body_bytes, _, _ = HEADER.unpack(await self._reader.readexactly(HEADER_BYTES))
        self.asked[proto_id] += 1
        return proto_id, serial, await self._reader.readexactly(body_bytes)

    async def request(self) -> tuple[int, int, bytes]:
        """The next request for ticks, as `heard`.

        What a client asks about the gateway itself, and about names, is answered on the way.
        """
        while True:
            proto_id, serial, body = await self.heard()
            if (answer := self.exchange.about_itself(proto_id, serial, body)) is None:
                return proto_id, serial, body
            self.send(answer)

    def send(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))

    def keep_little(self) -> None:
        """Let few bytes wait on this side, so that `sent` tells how far the client has read."""
        self._writer.transport.set_write_buffer_limits(high=0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)

    async def sent(self) -> None:
        """Once the client has taken what was sent, but for what the kernels hold."""
        await self._writer.drain()

    async def greet(self) -> None:
        """Take InitConnect and accept."""
        _, serial, _ = await self.request()
        self.send(wire.accept_frame(serial=serial))

    def answer(self, proto_id: int, serial: int, body: bytes) -> None:
        """As a sound OpenD does."""
        match proto_id:
            case ProtoId.INIT_CONNECT:
                self.send(wire.accept_frame(serial=serial))
            case ProtoId.KEEP_ALIVE:
                self.send(wire.alive_frame(serial))
            case ProtoId.SUB:
                wanted = subscription_pb2.SubRequest.FromString(body).c2s.securityList
                refused = [name for name in map(_name, wanted) if name in self.exchange.refused]
                text = f"no right for {', '.join(refused)}"
                self.send(wire.refusal_frame(proto_id, serial, text) if refused else wire.subscribed_frame(serial))
            case ProtoId.GET_TICKER:
                symbol = _name(ticker_pb2.GetTickerRequest.FromString(body).c2s.security)
                self.send(wire.pull_frame(symbol, self.exchange.latest(symbol), serial=serial))

    async def serve(self, requests: int | None = None) -> None:
        """Answer so many requests, or all until the client goes."""
        while requests is None or requests > 0:
            self.answer(*await self.request())
            requests = None if requests is None else requests - 1

    async def gone(self) -> None:
        """Until the client closes."""
        while await self._reader.read(1 << 16):
            pass


def _name(security: common_pb2.Security) -> str:
    return symbol_name(security.market, security.code)


Script = Callable[[Peer], Awaitable[None]]
"""Plays one connection; the connection closes when it returns."""


async def sound(peer: Peer) -> None:
    """Nothing out of the ordinary."""
    await peer.serve()


class ScriptedOpenD(AbstractAsyncContextManager["ScriptedOpenD"]):
    """Listens; each connection is played by the next script, and from the last one on by the last.

    Attributes
    ----------
    connections : accepted so far
    open : of these, those that still stand
    asked : requests of all connections, by protocol id
    """

    def __init__(self, *scripts: Script, exchange: Exchange | None = None) -> None:
        self.exchange = exchange or Exchange()
        self.asked: Counter[int] = Counter()
        self.connections = 0
        self.open = 0
        self.errors: list[BaseException] = []
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None and self.errors:
            raise self.errors[0]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        self.open += 1
        try:
            await script(Peer(reader, writer, self.exchange, self.asked))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went: scripts need not care
        except Exception as error:  # a test's own mistake: raised where the test sees it
            self.errors.append(error)
        finally:
            self.open -= 1
            writer.close()
            self._tasks.discard(task)
