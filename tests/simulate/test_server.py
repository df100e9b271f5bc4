"""The simulator as others use it: a process, a port, a line of JSON at the end.

What a client received must be what the simulator says it generated, whatever goes wrong on the way.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from codec.opend.protocol import FRAME_BYTES_MAX, HEADER, MAGIC, ProtoId, pack_frame
from protos.opend import ticker_pb2
from tests.simulate.wire_client import WireClient
from tests.support.keys import rsa_pem
from tests.support.simulator import Simulator, opend_simulator
from ticktape.simulate.checksum import mix_ticks
from ticktape.simulate.symbols import list_symbols

ZONES = {"HK": ZoneInfo("Asia/Hong_Kong"), "US": ZoneInfo("America/New_York")}
QUIET_S = 1.0
SYMBOLS = [listing.symbol for listing in list_symbols(6)]

Ticks = dict[str, dict[int, ticker_pb2.Ticker]]


def connected(simulator: Simulator, symbols: Iterable[str] = SYMBOLS, **fields: Any) -> WireClient:
    client = WireClient(simulator.port)
    assert client.init_connect().retType == 0
    reply = client.subscribe(symbols, **fields)
    assert reply.retType == 0, reply.retMsg
    return client


def by_sequence(pushed: Iterable[tuple[str, ticker_pb2.Ticker]], ticks: Ticks | None = None) -> Ticks:
    """Unique ticks; a repeat must be the same trade."""
    ticks = {} if ticks is None else ticks
    for symbol, tick in pushed:
        known = ticks.setdefault(symbol, {}).setdefault(tick.sequence, tick)
        assert (known.price, known.volume, known.dir, known.time) == (tick.price, tick.volume, tick.dir, tick.time)
    return ticks


def event_us(symbol: str, tick: ticker_pb2.Ticker) -> int:
    """The string's time, as the pipeline reads it."""
    local = datetime.fromisoformat(tick.time).replace(tzinfo=ZONES[symbol.partition(".")[0]])
    assert int(local.timestamp()) == tick.timestamp
    return int(local.timestamp()) * 1_000_000 + local.microsecond


def checksum(symbol: str, ticks: Iterable[ticker_pb2.Ticker]) -> str:
    rows = [(t.sequence, t.price, float(t.volume), t.turnover, t.dir, event_us(symbol, t)) for t in ticks]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    columns[4] = columns[4].astype(np.uint8)
    return str(int(mix_ticks(*columns).sum()))


def assert_whole(ticks: Ticks, truth: dict[str, Any]) -> None:
    told = truth["tables"]["ticks"]["symbols"]
    assert {symbol: len(rows) for symbol, rows in ticks.items()} == {s: entry["rows"] for s, entry in told.items()}
    for symbol, rows in ticks.items():
        assert checksum(symbol, rows.values()) == told[symbol]["checksum"], symbol
        assert str(max(rows)) == told[symbol]["last_sequence"]


@pytest.mark.parametrize(
    "options",
    [
        ("--rate", 0, "--ticks-max", 40_000),
        ("--rate", 20_000, "--ticks-max", 15_000, "--ticks-per-push-max", 1),
        ("--rate", 0, "--ticks-max", 20_000, "--faults", "duplicate=0.2,split,cached-repush=20"),
    ],
)
def test_what_is_pushed_is_what_was_generated(options: tuple[str | int, ...]) -> None:
    with opend_simulator("--symbols", 6, *options) as simulator:
        client = connected(simulator)
        client.receive(quiet_s=QUIET_S, seconds_max=6.0)
        truth = simulator.stop()
        client.receive(quiet_s=QUIET_S)
        assert truth["tables"]["ticks"]["rows"] == options[3]
        ticks = by_sequence(client.pushed)
        assert_whole(ticks, truth)
        received, unique = len(client.pushed), sum(map(len, ticks.values()))
        assert received == unique + truth["repeats"]
        if "--faults" in options:
            assert truth["repeats"] > 0.15 * unique
        else:
            assert truth["repeats"] == 0
            sequences = [tick.sequence for symbol, tick in client.pushed if symbol == "HK.00700"]
            assert [sequence & 0xFFFFFFFF for sequence in sequences] == list(range(1, len(sequences) + 1))
        client.close()


def test_two_clients_get_the_same_ticks_of_what_each_wants() -> None:
    with opend_simulator("--symbols", 6, "--rate", 3000, "--ticks-max", 4000) as simulator:
        everything = connected(simulator)
        one = connected(simulator, ["HK.09988"])
        for client in (everything, one):
            client.receive(quiet_s=QUIET_S)
        truth = simulator.stop()
        assert_whole(by_sequence(everything.pushed), truth)
        assert {symbol for symbol, _ in one.pushed} == {"HK.09988"}
        ticks = by_sequence(one.pushed)
        assert len(ticks["HK.09988"]) > 100
        by_sequence(one.pushed, by_sequence(everything.pushed))


@pytest.mark.parametrize("fault", ["mid-frame-close=2", "bad-sha1=10"])
def test_what_a_fault_took_is_there_to_be_pulled(fault: str) -> None:
    with opend_simulator("--symbols", 6, "--rate", 1500, "--ticks-max", 3000, "--faults", fault) as simulator:
        ticks: Ticks = {}
        connections, bad_frames, pulled = 0, 0, 0
        deadline_s = time.monotonic() + 30
        while sum(map(len, ticks.values())) < 3000 and time.monotonic() < deadline_s:
            client = connected(simulator)
            connections += 1
            try:
                for symbol in SYMBOLS:
                    replied = client.pull(symbol).s2c.tickerList
                    pulled += len(replied)
                    by_sequence(((symbol, tick) for tick in replied), ticks)
                client.receive(quiet_s=QUIET_S, seconds_max=0.5)
            except (ConnectionError, TimeoutError):
                pass
            by_sequence(client.pushed, ticks)
            bad_frames += client.bad_frames
            client.close()
        truth = simulator.stop()
    assert connections > 1
    assert pulled > 0
    assert bad_frames > 0 or fault.startswith("mid")
    assert_whole(ticks, truth)


def test_without_push_ticks_are_made_and_wait_for_the_pull() -> None:
    with opend_simulator("--symbols", 6, "--rate", 500) as simulator:
        client = connected(simulator, ["HK.00700", "US.AAPL"], isRegOrUnRegPush=False)
        time.sleep(1.0)
        ticks: Ticks = {}
        for symbol in ("HK.00700", "US.AAPL"):
            by_sequence(((symbol, tick) for tick in client.pull(symbol).s2c.tickerList), ticks)
        client.close()
        truth = simulator.stop()
    assert not client.pushed
    for symbol, rows in ticks.items():
        assert 10 < len(rows) <= truth["tables"]["ticks"]["symbols"][symbol]["rows"]
    assert set(truth["tables"]["ticks"]["symbols"]) == set(ticks)


def test_a_client_that_does_not_read_stops_the_market_not_the_memory() -> None:
    with opend_simulator("--symbols", 6, "--rate", 0) as simulator:
        client = connected(simulator)
        resident_bytes = []
        for _ in range(3):
            time.sleep(0.5)
            with open(f"/proc/{simulator.pid}/statm") as statm:
                resident_bytes.append(int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        client.close()
        truth = simulator.stop()
    assert resident_bytes[-1] - resident_bytes[0] < 4 << 20
    assert truth["tables"]["ticks"]["rows"] < 1_000_000


def test_bytes_that_are_no_request_do_not_disturb_others() -> None:
    with opend_simulator("--symbols", 6, "--rate", 500) as simulator:
        good = connected(simulator)
        ignored = WireClient(simulator.port)
        ignored.send(pack_frame(3006, 1, b"\x0a\x00"))  # a call that is not simulated
        frame = bytearray(pack_frame(ProtoId.KEEP_ALIVE, 2, b"\x0a\x02\x08\x01"))
        frame[20] ^= 1  # its SHA-1
        ignored.send(bytes(frame))
        assert ignored.init_connect().retType == 0, "it goes on after both"
        too_long = HEADER.pack(MAGIC, 1004, 0, 0, 1, FRAME_BYTES_MAX + 1, bytes(20), bytes(8))
        for violation in (b"GET / HTTP/1.1\r\n" * 4, too_long):
            bad = WireClient(simulator.port)
            bad.send(violation)
            assert list(bad.frames()) == [], "closed without an answer"
        before = len(good.pushed)
        assert good.receive(quiet_s=QUIET_S, seconds_max=0.5)
        assert len(good.pushed) > before
        truth = simulator.stop()
        assert truth["requests"]["unknown:3006"] == 1


def command(*options: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "ticktape.simulate", "opend", *options]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = command("--port", str(port), "--symbols", "2")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}: the port is in use" in ended.stderr


def test_an_unknown_fault_is_one_clear_line() -> None:
    ended = command("--port", "0", "--faults", "duplicate,rain")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "'rain'" in ended.stderr
    assert "mid-frame-close" in ended.stderr


def test_a_key_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "long.pem").write_bytes(rsa_pem(2048))
    for name, says in (("none.pem", "No such file"), ("long.pem", "the key has 2048 bit; OpenD takes 1024")):
        ended = command("--port", "0", "--rsa-key", str(tmp_path / name))
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert says in ended.stderr


def test_an_interrupt_ends_it_as_a_termination_does() -> None:
    with opend_simulator("--symbols", 2) as simulator:
        client = connected(simulator, ["HK.00700"])
        os.kill(simulator.pid, signal.SIGINT)
        truth = simulator.stop()
        assert truth["tables"]["ticks"]["symbols"]["HK.00700"]["rows"] >= 10
        assert set(truth["tables"]) == {"ticks", "capital_flow", "capital_distribution", "ark_dynamic"}
        client.close()


def test_the_file_of_the_truth_holds_every_tick_of_the_wanted_day(tmp_path: Path) -> None:
    file = tmp_path / "truth.parquet"
    with opend_simulator("--symbols", 6, "--ticks-max", 500, "--date", "2026-05-29", "--truth", file) as simulator:
        client = connected(simulator)
        client.receive(quiet_s=QUIET_S)
        truth = simulator.stop()
        client.close()
    told = truth["tables"]["ticks"]["symbols"]
    made = parquet.read_table(file)
    symbols = np.array(made.column("symbol").cast(pa.utf8()).to_pylist())
    sequences, checksums = (made.column(name).to_numpy() for name in ("sequence", "checksum"))
    assert set(symbols) == set(told)
    for symbol, entry in told.items():
        assert int((symbols == symbol).sum()) == entry["rows"]
        assert str(int(checksums[symbols == symbol].sum())) == entry["checksum"]
    morning = datetime(2026, 5, 29, 9, 30, tzinfo=ZoneInfo("Asia/Hong_Kong")).timestamp()
    assert all(-60 < (sequence >> 32) - morning < 60 for sequence in sequences.tolist())
