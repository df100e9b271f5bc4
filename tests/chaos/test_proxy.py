"""Links through the proxy: whole, slow, cut, half open."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.plan import Kind
from tests.chaos.proxy import WHOLE, Proxy

SILENCE_S = 0.3


class Echo:
    """A server that answers what it is told, in capitals, and keeps it."""

    def __init__(self) -> None:
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                self.heard += data
                client.sendall(data.upper())


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with Proxy(["one", "other"]) as proxy:
        yield proxy


@pytest.fixture
def echo(proxy: Proxy) -> Iterator[Echo]:
    server = Echo()
    for link in proxy.ports:
        proxy.lead(link, server.port)
        proxy.change(link, WHOLE)
    yield server
    server.close()


def client_of(proxy: Proxy, link: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.ports[link]), timeout=5)


def asked(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return client.recv(1 << 16)


def assert_silent(client: socket.socket) -> None:
    client.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(5)


def assert_ended(client: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""


def test_a_whole_link_passes_everything_on(proxy: Proxy, echo: Echo) -> None:
    with client_of(proxy, "one") as client:
        sent = b"x" * 1_000_000
        threading.Thread(target=client.sendall, args=(sent,)).start()
        received = 0
        while received < len(sent):
            received += len(client.recv(1 << 16))
    assert echo.heard == sent


def test_a_delay_holds_each_piece_up(proxy: Proxy, echo: Echo) -> None:
    with client_of(proxy, "one") as client:
        assert asked(client, b"a") == b"A"
        proxy.change("one", Kind.DELAY, 0.2)
        began_s = time.monotonic()
        assert asked(client, b"b") == b"B"
        assert time.monotonic() - began_s >= 0.4


def test_a_cut_link_lets_nobody_in_until_it_is_whole(proxy: Proxy, echo: Echo) -> None:
    with client_of(proxy, "one") as client, client_of(proxy, "other") as untouched:
        assert asked(client, b"a") == b"A"
        assert asked(untouched, b"a") == b"A"
        proxy.change("one", Kind.CUT)
        assert_ended(client)
        with client_of(proxy, "one") as refused:
            assert_ended(refused)
        assert asked(untouched, b"b") == b"B"
        proxy.change("one", WHOLE)
        with client_of(proxy, "one") as again:
            assert asked(again, b"c") == b"C"


@pytest.mark.parametrize(("kind", "heard"), [(Kind.HALF_OPEN, b"a"), (Kind.MUTE, b"ab")])
def test_a_half_open_link_stays_up_and_is_cut_in_the_end(proxy: Proxy, echo: Echo, kind: Kind, heard: bytes) -> None:
    with client_of(proxy, "one") as client:
        assert asked(client, b"a") == b"A"
        proxy.change("one", kind)
        client.sendall(b"b")
        assert_silent(client)
        assert echo.heard == heard
        with client_of(proxy, "one") as later:
            assert asked(later, b"c") == b"C"
        proxy.change("one", WHOLE)
        assert_ended(client)


def test_a_server_that_is_not_there_ends_the_connection(proxy: Proxy, echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    proxy.lead("one", port)
    with client_of(proxy, "one") as client:
        assert_ended(client)
