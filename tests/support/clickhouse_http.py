"""A ClickHouse server for tests: HTTP in front of the embedded engine, in a process of its own.

It speaks the part of ClickHouse's HTTP interface that clickhouse-connect uses: statement in the URL
or the body, settings and query parameters in the URL, errors by header. Its inserts can be made to
fail in the ways a real server's do (`Fault`).

`python -m tests.support.clickhouse_http FOLDER [PORT]` runs one by hand.
"""

from __future__ import annotations

import enum
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import chdb
import pyarrow as pa
import pyarrow.compute as pc

from tests.support.tether import tethered

PROJECT = Path(__file__).resolve().parents[2]

_TRANSPORT = {
    "query",
    "database",
    "query_id",
    "wait_end_of_query",
    "client_protocol_version",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
}
_INSERT = re.compile(r"\s*(INSERT INTO .*) FORMAT (\w+)\s*", re.DOTALL)
_CODE = re.compile(r"Code: (\d+)\.")


class Fault(enum.Enum):
    """What goes wrong with an insert."""

    ERROR_BEFORE = "an error, and nothing stored"
    ERROR_AFTER = "stored, then an error"
    CUT_BEFORE = "the connection closed, and nothing stored"
    CUT_AFTER = "stored, then the connection closed without a word"
    DELAY = "stored after a second"
    HOLD = "stored once `release` is called, whoever waits for the answer by then"
    SILENT_AFTER = "stored, and no answer as long as the server runs"
    KILLED_INSIDE = "the first of its months stored, then the connection closed, as when the server dies there"
    DIES_INSIDE = "the first of its months stored, then the server killed"


class ClickHouseHttp:
    """The server as tests see it: a process on a port of this machine that may be stopped and started.

    Start it from a thread that lasts: it dies with it.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, on the port of the last time."""
        command = [sys.executable, "-m", "tests.support.clickhouse_http", str(self._folder), str(self.port)]
        self._process = subprocess.Popen(tethered(command), cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().removeprefix("listening "))

    def stop(self) -> None:
        """End the process as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    kill = stop

    def freeze(self, *, frozen: bool) -> None:
        """Stop or resume the process: connections stay open and nothing is answered."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def ended(self) -> int | None:
        """The code with which it ended by itself; None while it runs, and when we ended it."""
        return self._process.poll() if self._process is not None else None

    def fail_inserts(self, fault: Fault, *, count: int = 1, code: int = 0) -> None:
        """Make the next `count` inserts fail; `code` is ClickHouse's error number, 0 for an error without one."""
        self._control("/faults", {"fault": fault.name, "count": count, "code": code})

    def release(self) -> None:
        """Let the inserts that are held go on."""
        self._control("/release", {})

    def faults_left(self, *, forget: bool = False) -> int:
        """How many inserts are still to fail; with `forget` none from now on."""
        left: int = self._control("/faults-left", {"forget": forget})
        return left

    def tokens(self) -> list[str]:
        """The deduplication tokens of all inserts that came, in order, whatever became of them."""
        tokens: list[str] = self._control("/tokens", {})
        return tokens

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _control(self, path: str, message: dict[str, object]) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(message).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())


class _State:
    """What the requests of one server share."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.faults: list[tuple[Fault, int]] = []
        self.released = threading.Event()
        self.tokens: list[str] = []

    def next_fault(self, token: str) -> tuple[Fault | None, int]:
        with self.lock:
            self.tokens.append(token)
            return self.faults.pop(0) if self.faults else (None, 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ClassVar[_State]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        if url.path == "/faults":
            message = json.loads(body)
            fault = (Fault[message["fault"]], message["code"])
            with self.state.lock:
                self.state.faults += [fault] * message["count"]
                if fault[0] is Fault.HOLD:
                    self.state.released = threading.Event()
            self._reply(200, b"{}")
        elif url.path == "/release":
            self.state.released.set()
            self._reply(200, b"{}")
        elif url.path == "/faults-left":
            with self.state.lock:
                self._reply(200, json.dumps(len(self.state.faults)).encode())
                if json.loads(body)["forget"]:
                    self.state.faults.clear()
        elif url.path == "/tokens":
            self._reply(200, json.dumps(self.state.tokens).encode())
        else:
            self._answer(dict(parse_qsl(url.query, keep_blank_values=True)), body)

    def _answer(self, parameters: dict[str, str], body: bytes) -> None:
        if insert := _INSERT.fullmatch(parameters.get("query", "")):
            fault, code = self.state.next_fault(parameters.get("insert_deduplication_token", ""))
            if fault is Fault.CUT_BEFORE:
                self.close_connection = True
                return
            if fault is Fault.ERROR_BEFORE:
                self._fail(code)
                return
            if fault in (Fault.KILLED_INSIDE, Fault.DIES_INSIDE):
                _run(self.state.folder, parameters, insert, _first_month(body))
                if fault is Fault.DIES_INSIDE:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.close_connection = True
                return
            if fault is Fault.HOLD:
                self.state.released.wait()
            time.sleep(1.0 if fault is Fault.DELAY else 0.0)
            self._execute(parameters, insert, body, fault, code)
        else:
            self._execute(parameters, None, body, None, 0)

    def _execute(
        self, parameters: dict[str, str], insert: re.Match[str] | None, body: bytes, fault: Fault | None, code: int
    ) -> None:
        try:
            result = _run(self.state.folder, parameters, insert, body)
        except RuntimeError as error:
            found = _CODE.search(str(error))
            self._reply(500, str(error).encode(), {"X-ClickHouse-Exception-Code": found[1] if found else "1002"})
            return
        if fault is Fault.CUT_AFTER:
            self.close_connection = True
        elif fault is Fault.SILENT_AFTER:
            threading.Event().wait()
        elif fault is Fault.ERROR_AFTER:
            self._fail(code)
        else:
            self._reply(200, result, {"X-ClickHouse-Summary": "{}", "X-ClickHouse-Format": "TabSeparated"})

    def _fail(self, code: int) -> None:
        text = f"Code: {code}. DB::Exception: made to fail" if code else "no healthy upstream"
        self._reply(500, text.encode(), {"X-ClickHouse-Exception-Code": str(code)} if code else {})

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests' own output is what counts."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed or cut off are no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _first_month(body: bytes) -> bytes:
    """The rows of an insert into `ticks` that belong to the first of its months; those of ours are all of one."""
    table = pa.ipc.open_stream(body).read_all()
    if "trade_date" not in table.column_names:
        return body
    months = pc.strftime(table.column("trade_date"), format="%Y-%m")
    first = table.filter(pc.equal(months, pc.min(months)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_table(first)
    return sink.getvalue().to_pybytes()


def _run(folder: str, parameters: dict[str, str], insert: re.Match[str] | None, body: bytes) -> bytes:
    """One request in a session of its own, as over HTTP: settings first, the strictest last."""
    settings = {k: v for k, v in parameters.items() if k not in _TRANSPORT and not k.startswith("param_")}
    bound = {k.removeprefix("param_"): v for k, v in parameters.items() if k.startswith("param_")}
    connection = chdb.connect(folder)
    try:
        if "database" in parameters:
            connection.query(f"USE `{parameters['database']}`", "Null")
        readonly = settings.pop("readonly", None)
        for name, value in {"compile_expressions": "0", **settings}.items():
            connection.query(f"SET {name} = '{value}'", "Null")
        if readonly is not None:
            connection.query(f"SET readonly = {readonly}", "Null")
        if insert is None:
            statement = parameters.get("query", "") + body.decode()
            return connection.query(statement, "TabSeparated", params=bound).bytes() or b""
        with tempfile.NamedTemporaryFile() as data:
            data.write(body)
            data.flush()
            connection.query(f"{insert[1]} FROM INFILE '{data.name}' FORMAT {insert[2]}", "Null")
            return b""
    finally:
        connection.close()


def main() -> None:
    folder, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    os.makedirs(folder, exist_ok=True)
    _Handler.state = _State(folder)
    keep = chdb.connect(folder)
    server = _Server(("127.0.0.1", port), _Handler)
    print("listening", server.server_address[1], flush=True)  # noqa: T201 -- for whoever started us
    server.serve_forever()
    keep.close()


if __name__ == "__main__":
    main()
