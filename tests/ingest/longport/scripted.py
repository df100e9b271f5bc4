"""A small LongPort that does what a test says, on real sockets: HTTP for the password, TCP or WebSocket for quotes."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import WSMsgType, web

from codec.longport.protocol import COMPRESSED_BIT, HANDSHAKE, REQUEST_HEADER_BYTES, Command
from ingest.longport.address import Address
from ingest.longport.signature import Credentials, signed_headers
from protos.longport import capital_flow_pb2, control_pb2, quote_profile_pb2, subscription_pb2, trade_pb2
from tests.codec.longport import packing
from tests.ingest.longport import wire

KEYS = Credentials("key-of-the-app", "secret-of-the-app", "token-of-access")
PULL_TRADES_MAX = 1000


@dataclass
class Exchange:
    """What happened so far: the numbers of each symbol's trades, as `wire.trade` makes them."""

    trades: dict[str, list[int]] = field(default_factory=dict)
    sequences: Counter[str] = field(default_factory=Counter)
    refused: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    """(status, code) that a command which names a symbol is answered with."""
    flows: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """(unix second, inflow) of each symbol."""
    profile: quote_profile_pb2.UserQuoteProfileResponse = field(
        default_factory=lambda: quote_profile_pb2.UserQuoteProfileResponse(quote_level="LV1", subscribe_limit=500)
    )
    passwords: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    issued: int = 0
    token_refusals: list[tuple[int, bytes]] = field(default_factory=list)
    """HTTP answers (status, body) before the first password is given."""

    def trade(self, symbol: str, numbers: range, **dressing: bool) -> bytes:
        """More trades; their push."""
        self.trades.setdefault(symbol, []).extend(numbers)
        self.sequences[symbol] += 7
        return wire.push(symbol, self.sequences[symbol], numbers, **dressing)


class Peer:
    """One connection, seen from the gateway's side.

    Attributes
    ----------
    asked : requests so far, by command; so are those of all connections
    """

    def __init__(self, link: Link, exchange: Exchange, asked: Counter[int]) -> None:
        self._link, self.exchange, self.asked = link, exchange, asked

    async def request(self) -> tuple[int, int, bytes]:
        """The next request: command, id, body. Raises IncompleteReadError at the client's end."""
        packet = await self._link.packet()
        command, request_id, body = wire.read_request(packet)
        self.asked[command] += 1
        return command, request_id, gzip.decompress(body) if packet[0] & COMPRESSED_BIT else body

    async def send(self, *packets: bytes) -> None:
        await self._link.send(*packets)

    async def login(self) -> None:
        """Take the login, and let it in when it is good."""
        await self.answer(*await self.request())

    async def answer(self, command: int, request_id: int, body: bytes) -> None:
        """As a sound gateway does."""
        exchange = self.exchange
        match command:
            case Command.AUTH | Command.RECONNECT:
                await self._let_in(command, request_id, body)
            case Command.HEARTBEAT:
                await self.send(packing.response(body, command, request_id))
            case Command.QUERY_USER_QUOTE_PROFILE:
                await self._reply(command, request_id, exchange.profile.SerializeToString())
            case Command.SUBSCRIBE | Command.UNSUBSCRIBE:
                names = subscription_pb2.SubscribeRequest.FromString(body).symbol
                refusals = [refusal for name in names if (refusal := exchange.refused.get((command, name)))]
                if refusals:
                    await self.send(wire.error(command, request_id, *refusals[0]))
                else:
                    await self._reply(command, request_id, b"")
            case Command.QUERY_TRADE:
                asked = trade_pb2.SecurityTradeRequest.FromString(body)
                if not await self._refused(command, request_id, asked.symbol):
                    numbers = exchange.trades.get(asked.symbol, [])[-min(asked.count, PULL_TRADES_MAX) :]
                    await self.send(wire.pulled(request_id, asked.symbol, numbers))
            case Command.QUERY_CAPITAL_FLOW_INTRADAY:
                name = capital_flow_pb2.CapitalFlowIntradayRequest.FromString(body).symbol
                if not await self._refused(command, request_id, name):
                    flow = capital_flow_pb2.CapitalFlowIntradayResponse(symbol=name)
                    for second, inflow in exchange.flows.get(name, []):
                        flow.capital_flow_lines.add(timestamp=second, inflow=inflow)
                    await self._reply(command, request_id, flow.SerializeToString())
            case Command.QUERY_CAPITAL_FLOW_DISTRIBUTION:
                name = capital_flow_pb2.SecurityRequest.FromString(body).symbol
                if not await self._refused(command, request_id, name):
                    amounts = capital_flow_pb2.CapitalDistributionResponse.CapitalDistribution(
                        large="3.5", medium="2", small="1"
                    )
                    reply = capital_flow_pb2.CapitalDistributionResponse(
                        symbol=name, timestamp=wire.EPOCH_S, capital_in=amounts, capital_out=amounts
                    )
                    await self._reply(command, request_id, reply.SerializeToString())

    async def serve(self, requests: int | None = None) -> None:
        """Answer the next requests; None until the client goes."""
        while requests is None or requests > 0:
            await self.answer(*await self.request())
            requests = None if requests is None else requests - 1

    async def close(self, code: int) -> None:
        """End a WebSocket with this code."""
        assert isinstance(self._link, MessageLink)
        await self._link.socket.close(code=code)

    async def gone(self) -> None:
        """Once the client has gone."""
        while True:
            await self.request()

    async def _reply(self, command: int, request_id: int, body: bytes) -> None:
        await self.send(packing.response(body, command, request_id))

    async def _refused(self, command: int, request_id: int, name: str) -> bool:
        refusal = self.exchange.refused.get((command, name))
        if refusal is not None:
            await self.send(wire.error(command, request_id, *refusal))
        return refusal is not None

    async def _let_in(self, command: int, request_id: int, body: bytes) -> None:
        exchange = self.exchange
        if command == Command.AUTH:
            secret, known = control_pb2.AuthRequest.FromString(body).token, exchange.passwords
        else:
            secret, known = control_pb2.ReconnectRequest.FromString(body).session_id, exchange.sessions
        if secret not in known:
            await self.send(wire.error(command, request_id, 5, 0, f"{secret} is not known"))
            return
        known.discard(secret)
        exchange.issued += 1
        session_id = f"session-{exchange.issued}"
        exchange.sessions.add(session_id)
        await self.send(wire.accepted(request_id, session_id, command=command))


class Link:
    """What a peer sends and receives packets by."""

    async def packet(self) -> bytes:
        raise NotImplementedError

    async def send(self, *packets: bytes) -> None:
        raise NotImplementedError


class StreamLink(Link):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def packet(self) -> bytes:
        header = await self._reader.readexactly(1)
        assert header[0] & 0x0F in (1, 2)
        header += await self._reader.readexactly((REQUEST_HEADER_BYTES if header[0] & 0x0F == 1 else 10) - 1)
        return header + await self._reader.readexactly(int.from_bytes(header[-3:], "big"))

    async def send(self, *packets: bytes) -> None:
        self.writer.write(b"".join(packets))


class MessageLink(Link):
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket

    async def packet(self) -> bytes:
        message = await self.socket.receive()
        if message.type is not WSMsgType.BINARY:
            raise asyncio.IncompleteReadError(b"", None)
        data: bytes = message.data
        return data

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            await self.socket.send_bytes(packet)


Script = Callable[[Peer], Awaitable[None]]


async def sound(peer: Peer) -> None:
    """A gateway without faults."""
    await peer.serve()


class ScriptedLongPort:
    """Each connection is handled by the next script, the last one by all that follow.

    Attributes
    ----------
    connections : so far
    asked : requests so far, by command
    calls : token calls so far
    """

    def __init__(self, *scripts: Script, exchange: Exchange | None = None, websocket: bool = False) -> None:
        self._scripts = scripts
        self.exchange = exchange or Exchange()
        self.connections = 0
        self.calls = 0
        self.asked: Counter[int] = Counter()
        self._websocket = websocket
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/socket/token", self._token)
        app.router.add_get("/v2", self._message_connection)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._http_port = self._runner.addresses[0][1]
        self._server = await asyncio.start_server(self._stream_connection, "127.0.0.1", 0)
        self._tcp_port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._runner is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()

    @property
    def address(self) -> Address:
        if self._websocket:
            return Address(f"ws://127.0.0.1:{self._http_port}/v2")
        return Address(f"tcp://127.0.0.1:{self._tcp_port}")

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._http_port}"

    async def _token(self, request: web.Request) -> web.Response:
        self.calls += 1
        exchange = self.exchange
        if exchange.token_refusals:
            status, body = exchange.token_refusals.pop(0)
            return web.Response(status=status, body=body)
        expected = signed_headers(KEYS, "GET", request.path, int(request.headers["X-Timestamp"]))
        assert request.headers["X-Api-Signature"] == expected["X-Api-Signature"]
        password = f"password-{self.calls}"
        exchange.passwords.add(password)
        reply = {"code": 0, "message": "success", "data": {"otp": password, "limit": 10, "online": 0}}
        return web.json_response(reply)

    async def _stream_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(2) == HANDSHAKE
        try:
            await self._serve(StreamLink(reader, writer))
        finally:
            writer.close()

    async def _message_connection(self, request: web.Request) -> web.WebSocketResponse:
        assert request.query_string == "version=1&codec=1&platform=9"
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self._serve(MessageLink(socket))
        await socket.close()
        return socket

    async def _serve(self, link: Link) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await script(Peer(link, self.exchange, self.asked))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test has ended
        finally:
            self._tasks.discard(task)
