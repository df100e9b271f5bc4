"""A simulated LongPort that breaks off again and again, the whole of `ticktape up` behind it, and the comparison.

LongPort's trades have no number: what is compared is the multiset of their contents, and each that is missing
must lie inside a `lost` row of the ledger.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pyarrow import parquet

from tests.support.daemons import Daemon, daemon, free_port, query_json
from tests.support.simulator import Simulator, longport_simulator
from ticktape.simulate.faults import DUPLICATE, REORDER, SPLIT
from ticktape.simulate.longport_faults import (
    CLOSE_PACKET,
    DISCONNECT,
    EXPIRE,
    GZIP,
    MID_PACKET_CLOSE,
    REGRESS,
    REUSE,
    SIGN,
    UNSEQUENCED,
    WS_CLOSE,
)
from ticktape.simulate.symbols import list_symbols

SYMBOLS = [listing.symbol for listing in list_symbols(4)]
BREAKS = (DISCONNECT, MID_PACKET_CLOSE, CLOSE_PACKET, WS_CLOSE)
FAULTS = (
    f"{DUPLICATE}=0.2,{REORDER}=0.05,{REGRESS}=1,{REUSE}=0.02,{UNSEQUENCED}=0.05,{GZIP}=0.2,{SIGN}=0.2,{SPLIT}=0.01"
)
EXPIRES_EVERY = 8
"""Of so many breaks one ends every session too."""
CALM_S = 5.0
"""Behind the last break: for pulls, which wait for late pushes."""
SETTLE_S_MAX = 60.0
COLUMNS = ("symbol", "ts_event", "price", "volume", "direction", "condition", "session")

_CONFIG = """
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"
[clickhouse]
url = "chdb://{folder}/clickhouse"
[http]
listen = "127.0.0.1:{http_port}"
[schedule]
calendar = "off"
[[gateway]]
name = "lp"
kind = "longport"
url = "{url}"
http_url = "http://127.0.0.1:{port}"
app_key_file = "key"
app_secret_file = "secret"
access_token_file = "token"
[[subscription]]
gateway = "lp"
symbols = {symbols}
feeds = ["ticks", "capital_flow", "capital_distribution"]
poll_interval = "10s"
"""


class Trade(NamedTuple):
    """A trade's content, as table `ticks` has it."""

    symbol: str
    second: int
    price: float
    volume: float
    direction: str
    condition: str
    session: str


@dataclass(slots=True)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    made, stored : trades
    reconnects : sessions beyond the first
    missing : made and not stored
    unexplained : of these, the ones that lie in no `lost` row
    extra : stored and not made, or stored again
    faults : how often each struck
    rows : of the other tables: made, and stored
    """

    made: int
    stored: int
    reconnects: int
    missing: int
    unexplained: list[Trade]
    extra: list[Trade]
    faults: dict[str, int]
    repeats: int
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)


def write_config(folder: Path, longport: Simulator, transport: str, http_port: int, symbols: list[str]) -> Path:
    """A configuration of `up` for a simulated LongPort with its usual keys."""
    for name in ("key", "secret", "token"):
        (folder / name).write_text(f"simulated-{name}")
    url = f"tcp://127.0.0.1:{longport.tcp_port}" if transport == "tcp" else f"ws://127.0.0.1:{longport.port}/v2"
    names = "[" + ", ".join(f'"{symbol}"' for symbol in symbols) + "]"
    config = folder / "ticktape.toml"
    config.write_text(_CONFIG.format(folder=folder, http_port=http_port, url=url, port=longport.port, symbols=names))
    return config


def plan(breaks: int, every_s: float, seed: int) -> str:
    """Breaks of each kind in turn, at times around every `every_s`, for `--faults-at`."""
    rng = random.Random(f"{seed}/plan")
    planned = []
    for number, kind in zip(range(breaks), itertools.cycle(BREAKS), strict=False):
        at_s = (number + rng.uniform(0.6, 1.4)) * every_s
        planned.append(f"{at_s:.2f}:{kind}")
        if number % EXPIRES_EVERY == EXPIRES_EVERY - 1:
            planned.append(f"{at_s:.2f}:{EXPIRE}")
    return ",".join(planned)


def run(folder: Path, *, transport: str, breaks: int, every_s: float, rate: float, seed: int) -> Outcome:
    """Let it break `breaks` times, wait until everything has come, compare."""
    truth_file, http_port = folder / "truth.parquet", free_port()
    options = ("--symbols", len(SYMBOLS), "--rate", rate, "--ticks-per-push-max", 3, "--seed", seed)
    faults = ("--faults", FAULTS, "--faults-at", plan(breaks, every_s, seed), "--truth", truth_file)
    with longport_simulator(*options, *faults) as longport:
        config = write_config(folder, longport, transport, http_port, SYMBOLS)
        with daemon("up", config, http_port, "tests.longport.hasty") as up:
            up.wait_until(lambda: '"ready": true' in up.get("/readyz"), "ready")
            time.sleep(breaks * every_s + CALM_S)
            up.wait_until(lambda: up.metric("ticktape_gaps", state="open") == 0, "no hole is open", SETTLE_S_MAX)
            truth = longport.stop()
            _wait_until_stored(up)
            up.stop()
    return _outcome(config, truth, truth_file)


def _wait_until_stored(up: Daemon) -> None:
    """Once nothing moves any more; what was received and is no repeat is in ClickHouse."""
    time.sleep(1.0)

    def rows(hop: str) -> float:
        return up.metric("ticktape_rows_total", hop=hop, table="ticks")

    up.wait_until(lambda: rows("stored") >= rows("journaled") > 0, "everything is stored")


def _outcome(config: Path, truth: dict[str, Any], truth_file: Path) -> Outcome:
    table: dict[str, list[Any]] = parquet.read_table(truth_file).to_pydict()
    made = Counter(
        Trade(symbol, int(at.timestamp()), *others)
        for symbol, at, *others in zip(*(table[name] for name in COLUMNS), strict=True)
    )
    rows = query_json(
        config,
        "SELECT symbol, toInt64(toUnixTimestamp64Micro(ts_event)) AS us, price, volume,"
        " toString(direction) AS direction, condition, toString(session) AS session FROM ticks",
    )
    stored = Counter(
        Trade(
            row["symbol"],
            int(row["us"]) // 1_000_000,
            float(row["price"]),
            float(row["volume"]),
            row["direction"],
            row["condition"],
            row["session"],
        )
        for row in rows
    )
    lost = query_json(config, "SELECT symbol, from_ts, to_ts FROM gaps FINAL WHERE state = 'lost' AND feed = 'ticks'")
    missing = made - stored
    counts = {
        each["name"]: int(each["rows"])
        for each in query_json(
            config,
            "SELECT 'capital_flow' AS name, count() AS rows FROM capital_flow UNION ALL"
            " SELECT 'capital_distribution', count() FROM capital_distribution",
        )
    }
    logins = truth["requests"].get("auth", 0) + truth["requests"].get("reconnect", 0)
    return Outcome(
        made=sum(made.values()),
        stored=sum(stored.values()),
        reconnects=logins - 1,
        missing=sum(missing.values()),
        unexplained=[trade for trade in missing if not any(covers(row, trade) for row in lost)],
        extra=list(stored - made),
        faults=truth["faults"],
        repeats=truth["repeats"],
        rows={name: (truth["tables"][name]["rows"], rows) for name, rows in counts.items()},
    )


def covers(row: dict[str, Any], trade: Trade) -> bool:
    """Whether a trade lies in a row of the ledger; its ends are seconds that are shared with known trades."""
    if row["symbol"] != trade.symbol:
        return False
    first, last = (_unix_s(row[name]) for name in ("from_ts", "to_ts"))
    return (first is None or trade.second >= first) and (last is None or trade.second <= last)


def _unix_s(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
