"""A simulated trading day with planned faults through a real daemon, then an exact comparison.

Rule 1: what happens is in the plan; what differs is told with its seed.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import parquet

from tests.audit.running import audited, by_hand, delete, symbols_of, unexplained
from tests.day.compare import Comparison, Sequences, by_symbol, compare
from tests.day.plan import KILL, Plan
from tests.support.daemons import Daemon, daemon, free_port, query_json
from tests.support.simulator import Simulator, opend_simulator
from ticktape.simulate.symbols import list_symbols

_SETTLE_S_MAX = 180.0
_GAPS = "SELECT symbol, cause, state, missing, from_sequence, to_sequence FROM gaps FINAL WHERE feed = 'ticks'"

_CONFIG = """
[journal]
path = "{folder}/journal"
max_bytes = "4GiB"
min_free_bytes = "100MiB"

[clickhouse]
url = "chdb://{folder}/clickhouse"

[http]
listen = "127.0.0.1:{port}"

[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{opend_port}"

[[subscription]]
gateway = "opend-1"
symbols = {symbols}
"""


@dataclass(slots=True)
class DayReport:
    """How a day went; `differences` is empty when all is as it must be."""

    plan: Plan
    comparison: Comparison
    struck: Counter[str]
    ledger: Counter[tuple[str, str]]
    audit: list[str] = field(default_factory=list)

    @property
    def differences(self) -> list[str]:
        return [*self.comparison.differences, *self.audit]


def run_day(plan: Plan, folder: Path, say: Callable[[str], None]) -> DayReport:
    """Live through `plan` in `folder`, which keeps everything, and compare."""
    truth_file = folder / "truth.parquet"
    port = free_port()
    with opend_simulator(*plan.simulator_options, "--truth", str(truth_file)) as opend:
        begin_s = 0.0
        config = _configure(folder, plan, opend, port)
        killed = 0
        for until_s in (*plan.kills_s, plan.duration_s):
            with daemon("up", config, port) as up:
                up.wait_until(lambda: up.metric("ticktape_gateway_up") == 1, "connected", _SETTLE_S_MAX)
                begin_s = begin_s or time.monotonic()
                _wait_ready(up)
                say(f"{time.monotonic() - begin_s:6.1f} s  ready, until {until_s:.1f} s")
                time.sleep(max(begin_s + until_s - time.monotonic(), 0.0))
                if until_s != plan.duration_s:
                    up.process.send_signal(signal.SIGKILL)
                    up.process.wait()
                    killed += 1
                    continue
                say("the day is over; waiting until holes are filled and rows are stored")
                truth = _end(up, opend)
    made = by_symbol(parquet.read_table(truth_file))
    gaps = query_json(config, _GAPS)
    compared = compare(made, _stored(config), gaps)
    struck = Counter(truth["faults"]) + Counter({KILL: killed})
    ledger = Counter((gap["cause"], gap["state"]) for gap in gaps)
    report = DayReport(plan, compared, struck, ledger)
    for fault, times in Counter(fault for _, fault in plan.faults).items():
        if struck[fault] < times:
            report.audit.append(f"{fault} was planned {times} times and struck {struck[fault]} times")
    report.audit += list(_coverage(config, compared, {symbol: len(of) for symbol, of in made.items()}))
    say("auditing")
    report.audit += list(_audit(config, compared, {symbol: len(of) for symbol, of in made.items()}))
    say("deleting two rows by hand and auditing again")
    report.audit += list(_audit_after_hands(config, folder))
    return report


def _configure(folder: Path, plan: Plan, opend: Simulator, port: int) -> Path:
    config = folder / "ticktape.toml"
    symbols = json.dumps([listing.symbol for listing in list_symbols(plan.symbols)])
    config.write_text(_CONFIG.format(folder=folder, port=port, opend_port=opend.port, symbols=symbols))
    return config


def _wait_ready(up: Daemon) -> None:
    up.wait_until(lambda: '"ready": true' in up.get("/readyz"), "subscribed", _SETTLE_S_MAX)


def _end(up: Daemon, opend: Simulator) -> dict[str, Any]:
    """Let holes close, then the market, then the daemon; what the market says it made."""
    settled = lambda: up.metric("ticktape_gaps", state="open") == 0  # noqa: E731
    _wait_ready(up)
    up.wait_until(settled, "every hole ended", _SETTLE_S_MAX)
    truth = opend.stop()
    up.wait_until(lambda: up.metric("ticktape_gateway_up") == 0, "the end noticed")
    up.wait_until(lambda: up.metric("ticktape_lag_rows") == 0, "drained", _SETTLE_S_MAX)
    up.stop()
    return truth


def _stored(config: Path) -> Sequences:
    sql = "SELECT symbol, sequence FROM ticks"
    command = [sys.executable, "-m", "ticktape", "-c", str(config), "query", sql, "--format", "parquet"]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=_SETTLE_S_MAX).stdout
    return by_symbol(parquet.read_table(io.BytesIO(answer)))


def _coverage(config: Path, compared: Comparison, made: dict[str, int]) -> Iterator[str]:
    """Differences between what the daemon told `coverage` after a close, if there was one, and the market."""
    sql = "SELECT symbol, toInt64(rows) AS rows, missing FROM coverage FINAL WHERE feed = 'ticks'"
    for row in query_json(config, sql):
        symbol, missing = row["symbol"], len(compared.missing.get(row["symbol"], []))
        if symbol.startswith("HK.") and (int(row["rows"]), int(row["missing"])) != (made[symbol] - missing, missing):
            yield f"coverage: tells of {row['rows']} rows of {symbol} and {row['missing']} missing, not {missing}"


def _audit(config: Path, compared: Comparison, made: dict[str, int]) -> Iterator[str]:
    """Differences between what an audit says and what the market says."""
    code, report = audited(config)
    if code != 0:
        yield from (f"audit: {line}" for line in unexplained(report))
    told = Counter[str]()
    for day in report["days"]:
        told.update({each["symbol"]: each["stored"] for each in day["symbols"]})
    for symbol, rows in made.items():
        stored = rows - len(compared.missing.get(symbol, []))
        if told[symbol] != stored:
            yield f"audit: says {told[symbol]:,} of {symbol}, it is {stored:,}"


def _audit_after_hands(config: Path, folder: Path) -> Iterator[str]:
    """Take one row of each market away: an audit must name both."""
    rows = query_json(
        config,
        "SELECT symbol, toString(arraySort(groupArray(sequence))[toUInt32(count() / 2)]) AS sequence FROM ticks"
        " WHERE symbol IN (SELECT argMax(symbol, rows) FROM (SELECT symbol, count() AS rows FROM ticks GROUP BY symbol)"
        " GROUP BY substring(symbol, 1, 2)) GROUP BY symbol",
    )
    gone = [f"symbol = '{row['symbol']}' AND sequence = {row['sequence']}" for row in rows]
    by_hand(folder / "clickhouse", *map(delete, gone))
    code, report = audited(config)
    told = unexplained(report)
    if code != 1:
        yield "audit: ends with 0 though rows were deleted"
    for row in rows:
        symbol = row["symbol"]
        # By its sequence where the journal still has it; by the count of what was journaled where it was trimmed.
        if not any(line.startswith(f"{symbol}: ") and "1 row" in line for line in told):
            yield f"audit: does not tell of the deleted row of {symbol}: {told}"
        if symbols_of(report)[symbol]["stored"] == 0:
            yield f"audit: {symbol} is said to be empty"
