"""The transport on real sockets, against the library's own server, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from ingest.receive_buffer import ReceiveBuffer
from ingest.websocket import WebSocketTransport
from ingest.websocket_handshake import HandshakeFailed
from tests.support.waiting import until

WAIT_S = 20.0
Handler = Callable[[ServerConnection], Awaitable[None]]


class Owner:
    """Gathers messages; wants no more after `pause_after` of them."""

    def __init__(self, *, message_bytes_max: int = 1 << 20, pause_after: int = 1 << 60) -> None:
        self.buffer = ReceiveBuffer(capacity_max=2 << 20)
        self.transport = WebSocketTransport(self, self.buffer, message_bytes_max=message_bytes_max)
        self.messages: list[bytes] = []
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pause_after = pause_after

    def received(self, buffer: ReceiveBuffer, recv_ns: int) -> None:
        assert recv_ns > 1_700_000_000_000_000_000
        at = self.transport.message_start
        for end in self.transport.message_ends.tolist():
            self.messages.append(buffer.data[at:end].tobytes())
            at = end
        buffer.start = buffer.stop
        if len(self.messages) >= self.pause_after:
            self.pause_after = 1 << 60
            self.transport.pause()

    def ended(self, reason: str) -> None:
        self.over.set_result(reason)

    async def has(self, count: int) -> None:
        await until(lambda: len(self.messages) >= count)


@contextlib.asynccontextmanager
async def served(handler: Handler, **options: object) -> AsyncIterator[int]:
    async with serve(handler, "127.0.0.1", 0, compression=None, **options) as server:  # type: ignore[arg-type]
        yield server.sockets[0].getsockname()[1]


async def echo(peer: ServerConnection) -> None:
    async for message in peer:
        await peer.send(message)


async def test_messages_go_both_ways_one_by_one() -> None:
    sent = [bytes((number % 256,)) * size for number, size in enumerate((1, 125, 126, 65_535, 65_536, 500_000))]
    async with served(echo) as port:
        owner = Owner()
        await owner.transport.connect(f"ws://127.0.0.1:{port}/v2?version=1")
        for message in sent:
            owner.transport.send(message)
        await owner.has(len(sent))
        assert owner.messages == sent
        owner.transport.close()


async def test_the_server_sees_path_headers_and_our_goodbye() -> None:
    seen: list[object] = []

    async def handler(peer: ServerConnection) -> None:
        assert peer.request is not None
        seen.extend((peer.request.path, peer.request.headers["Accept-Language"]))
        async for _ in peer:
            pass
        seen.append(peer.close_code)

    async with served(handler) as port:
        owner = Owner()
        await owner.transport.connect(
            f"ws://127.0.0.1:{port}/v2?version=1&codec=1&platform=9", {"Accept-Language": "en"}
        )
        owner.transport.close()
        await until(lambda: len(seen) == 3)
    assert seen == ["/v2?version=1&codec=1&platform=9", "en", 1000]
    assert not owner.over.done(), "who closes knows it"


async def test_a_close_is_told_with_its_code_behind_the_last_message() -> None:
    async def handler(peer: ServerConnection) -> None:
        await peer.send(b"last")
        await peer.close(4005, "session expired")

    async with served(handler) as port:
        owner = Owner()
        await owner.transport.connect(f"ws://127.0.0.1:{port}")
        assert await asyncio.wait_for(owner.over, WAIT_S) == (
            "the gateway closed the WebSocket: 4005 (private use) session expired"
        )
    assert owner.messages == [b"last"]
    assert owner.transport.close_code == 4005
    owner.transport.send(b"late")
    owner.transport.close()


async def test_a_connection_that_breaks_without_a_close() -> None:
    async def handler(peer: ServerConnection) -> None:
        peer.transport.abort()

    async with served(handler) as port:
        owner = Owner()
        await owner.transport.connect(f"ws://127.0.0.1:{port}")
        reason = await asyncio.wait_for(owner.over, WAIT_S)
    assert reason.startswith(("the connection broke", "the gateway closed the connection"))
    assert owner.transport.close_code is None


async def test_fragments_and_pings() -> None:
    async def handler(peer: ServerConnection) -> None:
        await peer.send([b"a", b"b", b"c"])
        await (await peer.ping(b"are you there"))
        await peer.send(b"answered")
        await peer.wait_closed()

    async with served(handler) as port:
        owner = Owner()
        await owner.transport.connect(f"ws://127.0.0.1:{port}")
        await owner.has(2)
        assert owner.messages == [b"abc", b"answered"]
        owner.transport.close()


async def test_pause_slows_the_server_and_resume_loses_nothing() -> None:
    sent = 0

    async def handler(peer: ServerConnection) -> None:
        nonlocal sent
        for number in range(4000):
            await peer.send(number.to_bytes(4, "big") * 1000)
            sent += 1
        await peer.wait_closed()

    async with served(handler) as port:
        owner = Owner(pause_after=10)
        await owner.transport.connect(f"ws://127.0.0.1:{port}")
        await owner.has(10)
        before = -1
        while before != (before := sent):  # noqa: ASYNC110 - until TCP takes no more
            await asyncio.sleep(0.3)
        held = len(owner.messages)
        assert held <= before < 4000
        owner.transport.resume()
        await owner.has(4000)
        owner.transport.close()
    assert [int.from_bytes(message[:4], "big") for message in owner.messages] == list(range(4000))


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS])
async def test_a_handshake_that_is_refused(status: HTTPStatus) -> None:
    def refuse(peer: ServerConnection, request: Request) -> Response:
        return peer.respond(status, "x" * 100_000)

    async with served(echo, process_request=refuse) as port:
        owner = Owner()
        with pytest.raises(HandshakeFailed, match=f"the server answers '{status.value} {status.phrase}'") as caught:
            await owner.transport.connect(f"ws://127.0.0.1:{port}")
    assert caught.value.status == status
    assert not owner.over.done()


async def test_something_that_is_no_websocket_server() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(4))  # an echo server
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with pytest.raises(HandshakeFailed, match=r"speaks no HTTP/1\.1"):
            await Owner().transport.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def test_a_server_that_closes_during_the_handshake_and_none_at_all() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 10")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(HandshakeFailed, match="the gateway closed the connection during the WebSocket's handshake"):
            await Owner().transport.connect(f"ws://127.0.0.1:{port}")
    with pytest.raises(ConnectionRefusedError):
        await Owner().transport.connect(f"ws://127.0.0.1:{port}")


async def test_a_handshake_that_takes_too_long_leaves_nothing_behind() -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await Owner().transport.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.wait_for(gone.wait(), WAIT_S)


async def test_aiohttp_is_understood_too() -> None:
    async def handler(request: web.Request) -> web.WebSocketResponse:
        peer = web.WebSocketResponse(compress=True)
        await peer.prepare(request)
        async for message in peer:
            await peer.send_bytes(message.data)
        return peer

    app = web.Application()
    app.router.add_get("/v2", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    owner = Owner()
    await owner.transport.connect(f"ws://127.0.0.1:{runner.addresses[0][1]}/v2?version=1")
    owner.transport.send(b"hello" * 100)
    await owner.has(1)
    assert owner.messages == [b"hello" * 100]
    owner.transport.close()
    await runner.cleanup()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-made certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate_file, key_file


async def test_tls(certificate: tuple[Path, Path]) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*certificate)
    async with served(echo, ssl=theirs) as port:
        url = f"wss://127.0.0.1:{port}/v2"
        with pytest.raises(ssl.SSLCertVerificationError):
            await Owner().transport.connect(url)
        owner = Owner()
        await owner.transport.connect(url, tls=ssl.create_default_context(cafile=certificate[0]))
        sent = [bytes(size) for size in (1, 300, 200_000)]
        for message in sent:
            owner.transport.send(message)
        await owner.has(3)
        assert owner.messages == sent
        owner.transport.close()
