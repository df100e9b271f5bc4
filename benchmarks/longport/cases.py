"""What is measured on the simulated LongPort, and what is promised of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.longport import readers
from benchmarks.longport.readers import SYMBOLS, Measured, Ports
from tests.support.simulator import Simulator, longport_simulator
from ticktape.simulate.longport_server import STEP_S

TRADES, ROUNDS = 2_000_000, 3
SDK_PART = 10
"""The SDK reads so much less: it is slower by about this."""
TRANSPORTS = ("tcp", "ws")
PULL_S, LONG_PULL_S = 0.3, 1.0
RATIO_MIN = {"push_tcp": 10.0, "push_ws": 2.0}
PULLS_S_MAX, SILENCE_S_MAX = 0.4, 0.020 + STEP_S
"""A push is there within 20 ms; the simulator itself is silent for the time of a step between two of them."""
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes
    ----------
    ours, sdk : trades a second, or seconds
    limit : trades a second of a socket that is only read; None where there is no such thing
    simulator_shares : of a core, while ours, the SDK and the limit were measured
    """

    name: str
    ours: float
    sdk: float
    limit: float | None = None
    simulator_shares: tuple[float, ...] = ()

    @property
    def is_rate(self) -> bool:
        return self.limit is not None

    @property
    def ratio(self) -> float:
        """How much better ours is."""
        return self.ours / self.sdk if self.is_rate else self.sdk / self.ours

    def result(self) -> dict[str, object]:
        """As the results' file has it."""
        result: dict[str, object] = {"case": f"longport_{self.name}", "peer": "sdk", "ratio": round(self.ratio, 2)}
        if self.limit is None:
            return result | {"ours_s": round(self.ours, 4), "peer_s": round(self.sdk, 4)}
        return result | {
            "ours_per_s": round(self.ours),
            "peer_per_s": round(self.sdk),
            "limit_per_s": round(self.limit),
            "simulator_shares": [round(share, 2) for share in self.simulator_shares],
        }


def measure(trades: int, rounds: int, seed: int) -> list[Case]:
    """Every case: medians over `rounds`."""
    seeds = range(seed, seed + rounds)
    fewer = trades // SDK_PART
    sdk = _median(partial(_rate, trades=fewer, read=_sdk("pushes", readers.pushes_of(fewer))), seeds)
    cases = []
    for transport in TRANSPORTS:
        ours, limit = (
            _median(partial(_rate, trades=trades, read=_here(read, transport, trades)), seeds)
            for read in (readers.our_pushes, readers.raw_pushes)
        )
        cases.append(Case(f"push_{transport}", ours[0], sdk[0], limit[0], (ours[1], sdk[1], limit[1])))
    slow = ("--symbols", len(SYMBOLS), "--rate", 3000, "--ticks-per-push-max", 1, "--faults")
    for name, seconds, ours_of in (
        ("pulls", PULL_S, _here(readers.our_pulls, "ws")),
        ("silence", LONG_PULL_S, _here(readers.our_silence, "ws")),
    ):
        options = (*slow, f"slow-reply={seconds}")
        each_ours, each_sdk = (
            statistics.median(_on(of, (*options, "--seed", number)).seconds for number in seeds)
            for of in (ours_of, _sdk(name))
        )
        cases.append(Case(name, each_ours, each_sdk))
    return cases


def failures(cases: list[Case]) -> list[str]:
    """What is worse than promised."""
    found = []
    for case in cases:
        least = RATIO_MIN.get(case.name)
        if least is not None and case.ratio < least:
            found.append(f"{case.name}: {case.ratio:.1f} times the SDK; at least {least:g} are promised")
        most_s = {"pulls": PULLS_S_MAX, "silence": SILENCE_S_MAX}.get(case.name)
        if most_s is not None and case.ours > most_s:
            found.append(f"{case.name}: {case.ours * 1000:.0f} ms; at most {most_s * 1000:g} are promised")
    return found


def print_tables(cases: list[Case]) -> None:
    """What `measure` found, to read."""
    rates = RichTable(
        *("case", "ours, trades/s", "SDK, trades/s", "ratio", "limit, trades/s", "simulator: ours, SDK, limit"),
        title="LongPort: one trade a push, as fast as they are read",
    )
    times = RichTable("case", "ours, ms", "SDK, ms", "ratio", title="LongPort: while answers take their time")
    for case in cases:
        if case.limit is None:
            times.add_row(case.name, f"{case.ours * 1000:.1f}", f"{case.sdk * 1000:.1f}", f"{case.ratio:.1f}")
        else:
            shares = ", ".join(f"{share:.0%}" for share in case.simulator_shares)
            rates.add_row(
                case.name, f"{case.ours:,.0f}", f"{case.sdk:,.0f}", f"{case.ratio:.1f}", f"{case.limit:,.0f}", shares
            )
    for table in (rates, times):
        Console().print(table)


Read = Callable[[Ports], Measured]


def _here(read: Callable[..., Measured], *arguments: object) -> Read:
    """A reader of ours in a fresh process: nobody's leftovers."""

    def alone(ports: Ports) -> Measured:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            return process.submit(read, ports, *arguments).result(_TIMEOUT_S)

    return alone


def _sdk(case: str, number: int = 0) -> Read:
    """The SDK's reader of a case; `number` is how many trades it waits for."""

    def alone(ports: Ports) -> Measured:
        with tempfile.TemporaryDirectory(prefix="ticktape-bench-") as home:
            command = [sys.executable, "-m", "benchmarks.longport.sdk", case, str(ports.http), str(number)]
            ended = subprocess.run(
                command,
                env={**os.environ, "HOME": home, "NO_PROXY": "127.0.0.1,localhost"},
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=True,
            )
        return Measured(*json.loads(ended.stdout.splitlines()[-1]))

    return alone


def _rate(seed: int, trades: int, read: Read) -> tuple[float, float]:
    """Trades a second that a reader takes, and the simulator's share of a core meanwhile."""
    options = ("--symbols", len(SYMBOLS), "--rate", 0, "--ticks-max", trades, "--ticks-per-push-max", 1)
    with longport_simulator(*options, "--seed", seed) as longport:
        before_s = _cpu_s(longport)
        measured = read(Ports(longport.port, longport.tcp_port))
        used_s = _cpu_s(longport) - before_s
    return measured.count / measured.seconds, used_s / measured.seconds


def _on(read: Read, options: tuple[str | int | float, ...]) -> Measured:
    with longport_simulator(*options) as longport:
        return read(Ports(longport.port, longport.tcp_port))


def _median(of: Callable[[int], tuple[float, float]], seeds: range) -> tuple[float, float]:
    """The median rate, and the share that belongs to it."""
    measured = sorted(of(seed) for seed in seeds)
    return measured[len(measured) // 2]


def _cpu_s(simulator: Simulator) -> float:
    fields = Path(f"/proc/{simulator.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
