"""The readers of `python -m benchmarks.longport` read the same, without a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.longport import readers
from benchmarks.longport.cases import Case, failures
from benchmarks.longport.readers import SYMBOLS, Ports, pushes_of
from codec.warm import warm
from tests.support.simulator import longport_simulator

REPOSITORY = Path(__file__).parents[2]
TRADES = 3_000


@pytest.fixture(scope="module", autouse=True)
def compiled_kernels() -> None:
    warm(["longport"])


def test_everyone_reads_every_trade(tmp_path: Path) -> None:
    options = ("--symbols", len(SYMBOLS), "--rate", 0, "--ticks-max", TRADES, "--ticks-per-push-max", 1)
    with longport_simulator(*options) as longport:
        measured = readers.our_pushes(Ports(longport.port, longport.tcp_port), "ws", TRADES)
        told = longport.stop()["tables"]["ticks"]
    assert told["rows"] == TRADES
    assert measured.count >= pushes_of(TRADES)
    with longport_simulator(*options) as longport:
        command = [
            sys.executable,
            "-m",
            "benchmarks.longport.sdk",
            "pushes",
            str(longport.port),
            str(pushes_of(TRADES)),
        ]
        environment = {**os.environ, "HOME": str(tmp_path)}
        ended = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        count, _ = json.loads(ended.stdout.splitlines()[-1])
        assert longport.stop()["tables"]["ticks"]["rows"] == TRADES
    assert count == pushes_of(TRADES)


def test_five_calls_are_on_their_way_together() -> None:
    """The gateway would refuse a sixth one."""
    options = ("--symbols", len(SYMBOLS), "--rate", 100, "--faults", "slow-reply=1.5")
    with longport_simulator(*options) as longport:
        measured = readers.our_pulls(Ports(longport.port, longport.tcp_port), "tcp")
        told = longport.stop()
    assert measured.count == 5
    assert 1.5 <= measured.seconds < 2 * 1.5, "one after another the last one would take five times as long"
    assert told["requests"]["query_trade"] == 4


def test_what_is_promised() -> None:
    good = [Case("push_tcp", 15.0, 1.0, 99.0), Case("push_ws", 2.5, 1.0, 99.0), Case("pulls", 0.3, 1.5)]
    assert [case.ratio for case in good] == [15.0, 2.5, 5.0]
    assert failures([*good, Case("silence", 0.011, 1.0)]) == []
    bad = [Case("push_tcp", 9.0, 1.0, 99.0), Case("push_ws", 1.5, 1.0, 99.0), Case("pulls", 0.5, 1.5)]
    assert [text.split(":")[0] for text in failures([*bad, Case("silence", 0.05, 1.0)])] == [
        "push_tcp",
        "push_ws",
        "pulls",
        "silence",
    ]
