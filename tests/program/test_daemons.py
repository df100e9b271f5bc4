"""Daemons as processes: ready and unready, asked and stopped, the embedded store, the demo."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import daemon, free_port, query_json, ticktape
from tests.support.simulator import Simulator, opend_simulator
from ticktape.simulate.checksum import CHECKSUM_SQL
from ticktape.simulate.symbols import list_symbols

SYMBOLS = 6
_STORED = f"SELECT symbol, count() AS rows, toString({CHECKSUM_SQL}) AS checksum FROM ticks GROUP BY symbol"


@pytest.fixture
def opend() -> Iterator[Simulator]:
    with opend_simulator("--symbols", SYMBOLS, "--rate", 3000) as simulator:
        yield simulator


def configuration(folder: Path, opend_port: int, up_port: int, sink_port: int) -> Path:
    symbols = json.dumps([listing.symbol for listing in list_symbols(SYMBOLS)])
    file = folder / "ticktape.toml"
    file.write_text(
        f"""
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"

[clickhouse]
url = "chdb://{folder}/clickhouse"
flush_interval = "100ms"

[http]
listen = "127.0.0.1:{up_port}"
sink_listen = "127.0.0.1:{sink_port}"

[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{opend_port}"

[[subscription]]
gateway = "opend-1"
symbols = {symbols}
"""
    )
    return file


def stored(config: Path) -> dict[str, tuple[int, str]]:
    return {row["symbol"]: (row["rows"], row["checksum"]) for row in query_json(config, _STORED)}


def made(truth: dict[str, object]) -> dict[str, tuple[int, str]]:
    symbols = truth["tables"]["ticks"]["symbols"]  # type: ignore[index]
    return {symbol: (each["rows"], each["checksum"]) for symbol, each in symbols.items()}


def test_up_serves_answers_and_drains(tmp_path: Path, opend: Simulator) -> None:
    port = free_port()
    config = configuration(tmp_path, opend.port, port, free_port())
    with daemon("up", config, port) as up:
        up.wait_until(lambda: up.metric("ticktape_rows_total", hop="stored", table="ticks") > 1000, "ticks stored")
        assert json.loads(up.get("/readyz")) == {
            "ready": True,
            "hops": {"journal": True, "writer": True, "gateways": True},
            "gateways": {"opend-1": True},
        }
        assert up.metric("ticktape_gateway_up", gateway="opend-1") == 1
        assert not [listing.symbol for listing in list_symbols(SYMBOLS) if listing.symbol in up.get("/metrics")]

        # Through the daemon that holds the store.
        [row] = query_json(config, "SELECT uniqExact(symbol) AS symbols FROM ticks")
        assert row == {"symbols": SYMBOLS}
        refused = ticktape(config, "query", "TRUNCATE TABLE ticks")
        assert (refused.returncode, "only statements that read" in refused.stderr) == (1, True)
        shown = ticktape(config, "status").stdout
        assert "ticktape up" in shown
        assert f"{SYMBOLS} of {SYMBOLS}" in shown
        checked = ticktape(config, "check")
        assert checked.returncode == 0, checked.stdout

        # Another one on the same journal.
        other = tmp_path / "other.toml"
        other.write_text(config.read_text().replace(f":{port}", f":{free_port()}"))
        second = ticktape(other, "up")
        assert second.returncode == 2
        assert f"is locked by process {up.process.pid}" in second.stderr.splitlines()[-1]

        truth = opend.stop()
        up.wait_until(lambda: up.metric("ticktape_gateway_up", gateway="opend-1") == 0, "the end noticed")
        assert json.loads(up.get("/readyz"))["gateways"] == {"opend-1": False}
        assert up.get("/livez") == "alive\n"
        up.wait_until(lambda: up.metric("ticktape_lag_rows") == 0, "drained")
        up.stop()
    assert stored(config) == made(truth)


def test_ingest_and_sink_share_a_journal_without_kafka(tmp_path: Path, opend: Simulator) -> None:
    up_port, sink_port = free_port(), free_port()
    config = configuration(tmp_path, opend.port, up_port, sink_port)
    with daemon("sink", config, sink_port) as sink, daemon("ingest", config, up_port) as ingest:
        sink.wait_until(lambda: sink.metric("ticktape_rows_total", hop="stored", table="ticks") > 1000, "ticks stored")
        truth = opend.stop()
        ingest.wait_until(lambda: ingest.metric("ticktape_gateway_up") == 0, "the end noticed")
        ingest.stop()
        rows = sum(count for count, _ in made(truth).values())
        sink.wait_until(lambda: sink.metric("ticktape_rows_total", hop="stored", table="ticks") == rows, "all stored")
        sink.stop()
    assert stored(config) == made(truth)


def test_a_gateway_that_is_not_there_leaves_up_alive_and_unready(tmp_path: Path) -> None:
    port, nobody = free_port(), free_port()
    config = configuration(tmp_path, nobody, port, free_port())
    with daemon("up", config, port) as up:
        up.wait_until(lambda: "cannot connect" in up.log.read_text(), "said once")
        assert json.loads(up.get("/readyz"))["ready"] is False
        assert up.get("/livez") == "alive\n"
        assert f"127.0.0.1:{nobody}" in ticktape(config, "status").stdout
        up.stop()


def test_the_demo_compares_and_ends_with_0(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ticktape", "demo", "--seconds", "2", "--rate", "5000", "--symbols", "10"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    assert "For each symbol, count and checksum in ClickHouse equal what the market made." in done.stdout
    [repeats] = re.findall(r"repeats dropped +([\d,]+)\n", done.stdout)
    assert int(repeats.replace(",", "")) > 0
    assert query_json(tmp_path / "var/demo/ticktape.toml", "SELECT uniqExact(symbol) AS n FROM ticks") == [{"n": 10}]
