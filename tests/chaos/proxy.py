"""A TCP proxy in a process of its own, whose links can be made bad: `python -m tests.chaos.proxy NAME…`.

It listens on a port for each link, prints them, and then takes commands, a line of JSON each:
`{"link": …, "target": port}` to say where the link leads, `{"link": …, "mode": …, "delay_s": …}`
to make it bad or whole again. It answers each with a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.plan import Kind
from tests.support.ports import steady_ports
from tests.support.tether import tethered

PROJECT = Path(__file__).resolve().parents[2]
WHOLE = "whole"
_CHUNK_BYTES = 1 << 16


class Connection:
    """One client's connection, and ours to the server on its behalf.

    Attributes
    ----------
    mode : `WHOLE`, or how it is half open
    """

    def __init__(self, link: Link, client: asyncio.StreamWriter) -> None:
        self.mode: str = WHOLE
        self._link = link
        self._writers = [client]
        self._gone = asyncio.Event()

    async def run(self, reader: asyncio.StreamReader, port: int) -> None:
        """Pass everything on both ways until one side ends, or, half open, until it is cut."""
        [writer] = self._writers
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(server_writer)
        pumps = [
            asyncio.create_task(self._pump(reader, server_writer, answers=False)),
            asyncio.create_task(self._pump(server_reader, writer, answers=True)),
        ]
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait([*pumps, gone], return_when=asyncio.FIRST_COMPLETED)
            if self.mode != WHOLE:
                await gone  # the other side of a half-open connection is not told
        finally:
            for task in (*pumps, gone):
                task.cancel()
            await asyncio.gather(*pumps, gone, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self._link.mode is Kind.DELAY:
                await asyncio.sleep(self._link.delay_s)
            if self.mode is Kind.HALF_OPEN or (self.mode is Kind.MUTE and answers):
                await self._gone.wait()
            writer.write(chunk)
            await writer.drain()

    def cut(self) -> None:
        """Reset both sides."""
        for writer in self._writers:
            if (sock := writer.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._gone.set()

    def close(self) -> None:
        """End both sides in order, with what is still to be written."""
        for writer in self._writers:
            writer.close()


class Link:
    """Who connects to whom, and how well."""

    def __init__(self) -> None:
        self.target = 0
        self.mode: str = WHOLE
        self.delay_s = 0.0
        self.connections: set[Connection] = set()

    def change(self, mode: str, delay_s: float = 0.0) -> None:
        """What is half open stays so until the link is whole: then it is cut. New connections are sound meanwhile."""
        self.mode, self.delay_s = mode, delay_s
        for connection in tuple(self.connections):
            if mode in (Kind.HALF_OPEN, Kind.MUTE):
                connection.mode = mode
            elif mode is Kind.CUT or connection.mode != WHOLE:
                connection.cut()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, to the end of either side."""
        connection = Connection(self, writer)
        if self.mode is Kind.CUT:
            connection.cut()
            return
        self.connections.add(connection)
        try:
            await connection.run(reader, self.target)
        except OSError:
            pass  # the server is not there: the client is told by the end of its connection
        finally:
            self.connections.discard(connection)
            connection.close()


class Proxy:
    """The proxy as the harness sees it, from any thread. A context manager.

    Attributes
    ----------
    ports : where each link is entered
    """

    def __init__(self, links: Sequence[str]) -> None:
        self._links = tuple(links)
        self._guard = threading.Lock()
        self.ports: dict[str, int] = {}

    def lead(self, link: str, target: int) -> None:
        """Say to which port of this machine a link leads."""
        self._say(link=link, target=target)

    def change(self, link: str, mode: str, delay_s: float = 0.0) -> None:
        """Make a link bad, or `WHOLE` again."""
        self._say(link=link, mode=mode, delay_s=delay_s)

    def __enter__(self) -> Self:
        command = tethered([sys.executable, "-m", "tests.chaos.proxy", *self._links])
        self._process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.ports = self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def _say(self, **command: Any) -> None:
        assert self._process.stdin is not None
        with self._guard:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


async def _obey(links: dict[str, Link]) -> None:
    """Do what standard input says until it ends."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command = json.loads(line)
        link = links[command["link"]]
        if "target" in command:
            link.target = command["target"]
        else:
            mode = command["mode"]
            link.change(WHOLE if mode == WHOLE else Kind(mode), command["delay_s"])
        _print({})


def _print(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main() -> None:
    links = {name: Link() for name in sys.argv[1:]}
    ports = dict(zip(links, steady_ports(len(links)), strict=True))
    for name, link in links.items():
        await asyncio.start_server(link.serve, "127.0.0.1", ports[name])
    _print(ports)
    await _obey(links)


if __name__ == "__main__":
    asyncio.run(main())
