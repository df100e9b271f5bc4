"""Recognisable secrets, servers that repeat whatever they are sent, and where a secret must never be seen."""

from __future__ import annotations

import base64
import hashlib
import html
import http.server
import json
import os
import random
import signal
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.keys import rsa_pem

KEYS = {
    "app_key": "leak-app-key-4f1d7c",
    "app_secret": "leak-app-secret-9b2e",
    "access_token": "leak-access-token-77aa",
    "websocket_key": "leak-websocket-key-c0de",
    "kafka": "leak-kafka-password-51",
    "clickhouse": "leak-clickhouse-password-52",
    "http": "leak-http-token-53",
    "headers": "leak-header-value-54",
    "query": "leak-query-value-55",
}
RSA_KEY = rsa_pem()
SEED = 7
_AT_DEBUG = """
import logging, sys
set_level = logging.Logger.setLevel
logging.Logger.setLevel = lambda self, _: set_level(self, logging.DEBUG)
set_level(logging.getLogger("numba"), logging.WARNING)  # it has nothing but its compiler's steps to tell, a lot
from ticktape.cli import main
"""
_END = "\n=== end ===\n"
_EACH = f"""
import json
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ticktape", *arguments]
    try:
        main()
    except SystemExit:
        pass
    print({_END!r}, end="", flush=True)
"""


def secrets() -> list[bytes]:
    """Every secret, in each form that somebody could turn back."""
    drawn = random.Random(f"{SEED}/account")  # the simulated account's one-time passwords and session ids
    words = [*KEYS.values(), *(f"{drawn.getrandbits(128):032x}" for _ in range(200))]
    forms = [form.encode() for word in words for form in (word, quote(word, ""), html.escape(word))]
    forms += [line for line in RSA_KEY.splitlines() if not line.startswith(b"-")]
    forms.append(hashlib.md5(KEYS["websocket_key"].encode()).hexdigest().encode())  # what is sent of it
    for user in ("ticktape", ""):
        forms += [
            base64.b64encode(f"{user}:{KEYS[name]}".encode()).rstrip(b"=")[:-1] for name in ("clickhouse", "kafka")
        ]
    return sorted(set(forms))


class Shown:
    """All that processes said and stored, by where."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, bytes]] = []

    def add(self, where: str, text: bytes | str) -> bytes:
        text = text.encode() if isinstance(text, str) else text
        self._texts.append((where, text))
        return text

    def add_folder(self, folder: Path) -> None:
        """Every file, as it is on disk."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.add(str(file), file.read_bytes())

    def run(self, env: dict[str, str], *commands: list[str]) -> list[str]:
        """Commands, one after the other, with everything that libraries say; the output of each."""
        done = subprocess.run(
            [sys.executable, "-c", _AT_DEBUG + _EACH, json.dumps(commands)],
            capture_output=True,
            timeout=120,
            check=False,
            env={**os.environ, "NO_PROXY": "127.0.0.1,localhost", **env},
        )
        self.add(f"errors of {commands}", done.stderr)
        return self.add(f"output of {commands}", done.stdout).decode().split(_END)[:-1]

    def get(self, url: str, token: str | None = None, body: bytes | None = None) -> str:
        """The body of what an endpoint answers, whatever its status; empty where nobody does."""
        request = urllib.request.Request(url, data=body)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                text, headers = reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            text, headers = error.read(), error.headers
        except OSError:
            return ""
        self.add(f"{url}: headers", str(headers))
        return self.add(url, text).decode()

    def leaks(self) -> list[str]:
        """Where a secret is seen, and which."""
        return [
            f"{secret.decode()} in {where}: …{text[max(text.index(secret) - 150, 0) : text.index(secret) + 80]!r}"
            for where, text in self._texts
            for secret in secrets()
            if secret in text
        ]

    @property
    def size_bytes(self) -> int:
        return sum(len(text) for _, text in self._texts)

    def of(self, where: str) -> str:
        """All texts from places so called."""
        return "\n".join(text.decode(errors="replace") for place, text in self._texts if where in place)


class Running:
    """A daemon whose log goes to `shown`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def wait_until(self, holds: Callable[[], object], what: str, timeout_s: float = 120.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"{what}: not within {timeout_s:g} s\n{self.says()[-3000:]}")
            time.sleep(0.4)

    def says(self) -> str:
        return self._log.read_text(errors="replace")

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def daemon(shown: Shown, role: str, config: Path, env: dict[str, str]) -> Iterator[Running]:
    """`ticktape ROLE` with everything that a library says; ended by SIGTERM."""
    log = config.parent / f"{role}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", f"{_AT_DEBUG}main()", "-c", str(config), role],
            stdout=sink,
            stderr=sink,
            env={**os.environ, "NO_PROXY": "127.0.0.1,localhost", **env},
        )
        try:
            yield Running(process, log)
            process.terminate()
            assert process.wait(20) == 0, log.read_text(errors="replace")[-3000:]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            shown.add(f"log of {role}", log.read_bytes())


class _RepeatingHttp(http.server.BaseHTTPRequestHandler):
    """Answers each request with a page that repeats it, Basic's words in clear; a list with 200, others in turn."""

    protocol_version = "HTTP/1.1"
    answered = 0

    def do_GET(self) -> None:
        cls = type(self)
        cls.answered += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        words = f"{self.requestline}\n{self.headers}\n"
        if (basic := self.headers.get("Authorization", "")).startswith("Basic "):
            words += base64.b64decode(basic.removeprefix("Basic ")).decode()
        page = f"<html>{words}".encode() + body + json.dumps(dict(self.headers)).encode() + b"</html>"
        self.send_response(200 if "capital-flow" in self.path else (200, 401, 500)[cls.answered % 3])
        self.send_header("Content-Length", str(len(page)))
        self.send_header("X-Repeated", " ".join(words.split())[:4000])
        self.end_headers()
        self.wfile.write(page)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class _RepeatingTcp(socketserver.BaseRequestHandler):
    """Sends back whatever comes."""

    def handle(self) -> None:
        try:
            while data := self.request.recv(65_536):
                self.request.sendall(data)
        except OSError:
            pass


@contextmanager
def repeaters() -> Iterator[tuple[int, int]]:
    """Ports of an HTTP server and of a TCP server that repeat what they are sent."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _RepeatingHttp)
    socketserver.ThreadingTCPServer.daemon_threads = True
    tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _RepeatingTcp)
    for server in (web, tcp):
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        yield web.server_port, tcp.server_address[1]
    finally:
        for server in (web, tcp):
            server.shutdown()
            server.server_close()
