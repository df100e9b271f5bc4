"""Kafka away for long, at a steady rate: does memory stay flat, and does everything arrive in order when it is back?

    python -m benchmarks.outage [--minutes N] [--symbols N] [--rate TICKS_PER_S] [--json]

A simulated OpenD pushes at the rate into `ticktape ingest`, whose Kafka is stopped for so long and then started.
Ends with 1 when the worker's memory grows by more than 5 % after the first minute of the outage, when what waited
is not in Kafka within 60 s of its return, or when a read_committed reader finds an entry of the journal missing,
twice, or out of order within its partition.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from sinks.journal import JournalReader
from sinks.kafka import KafkaConfig
from sinks.topics import create, wanted_topics
from tests.kafka.support import read_topics
from tests.support.daemons import Daemon, daemon, free_port
from tests.support.kafka import KafkaServer
from tests.support.simulator import opend_simulator
from ticktape.simulate.symbols import list_symbols

BEFORE_S = 20.0
SAMPLE_S = 5.0
WARM_UP_S = 60.0
GROWTH_MAX = 0.05
CATCH_UP_S_MAX = 60.0


def measure(minutes: float, symbols: int, rate: float) -> dict[str, object]:
    """What was seen, and which of it is beyond its bounds."""
    folder, http_port = Path(tempfile.mkdtemp(prefix="ticktape-outage-")), free_port()
    with KafkaServer() as server, opend_simulator("--symbols", symbols, "--rate", rate) as opend:
        kafka = KafkaConfig(server.bootstrap_servers, topic_prefix="outage")
        asyncio.run(create(kafka, wanted_topics(kafka)))
        config = _config(folder, opend.port, http_port, server.bootstrap_servers, symbols)
        with daemon("ingest", config, http_port) as ingest:
            ingest.wait_until(lambda: '"opend-1": true' in ingest.get("/readyz"), "every symbol subscribed", 300)
            time.sleep(BEFORE_S)
            server.stop()
            rss = _watch(ingest, minutes * 60)
            waiting_rows = _waiting(ingest)
            server.start()
            began_s = time.monotonic()
            while _waiting(ingest) > rate:  # a second's worth: what comes now is on its way
                time.sleep(0.1)
                if time.monotonic() - began_s > 10 * CATCH_UP_S_MAX:
                    break
            caught_up_s = time.monotonic() - began_s
            opend.stop()
            ingest.wait_until(lambda: _waiting(ingest) == 0, "everything in Kafka", 120)
            ingest.stop()
        wrong = _compare(folder / "journal", kafka)
    steady = rss[round(WARM_UP_S / SAMPLE_S) :] or rss[1:]
    first, last = (statistics.median(part) for part in (steady[:6], steady[-6:]))
    failed = [
        word
        for word, holds in (
            ("memory", last / first - 1 <= GROWTH_MAX),
            ("time", caught_up_s <= CATCH_UP_S_MAX),
            ("records", not wrong),
        )
        if not holds
    ]
    return {
        "minutes": minutes,
        "waiting_rows": round(waiting_rows),
        "caught_up_s": round(caught_up_s, 1),
        "rss_mib_first": round(first / 2**20),
        "rss_mib_last": round(last / 2**20),
        "rss_growth": round(last / first - 1, 4),
        "wrong": wrong,
        "failed": failed,
    }


def _config(folder: Path, port: int, http_port: int, servers: str, symbols: int) -> Path:
    (folder / "symbols.txt").write_text("\n".join(listing.symbol for listing in list_symbols(symbols)))
    config = folder / "ticktape.toml"
    config.write_text(f"""
[worker]
name = "w-0"
[journal]
path = "{folder}/journal"
[kafka]
bootstrap_servers = "{servers}"
topic_prefix = "outage"
[clickhouse]
url = "chdb://{folder}/clickhouse"
[http]
listen = "127.0.0.1:{http_port}"
[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{port}"
[[subscription]]
gateway = "opend-1"
symbols_file = "{folder}/symbols.txt"
feeds = ["ticks"]
""")
    return config


def _waiting(ingest: Daemon) -> float:
    return ingest.metric("ticktape_lag_rows", hop="journal")


def _watch(ingest: Daemon, duration_s: float) -> list[int]:
    """The worker's memory every `SAMPLE_S`."""
    began_s, sizes = time.monotonic(), []
    while (at_s := time.monotonic() - began_s) < duration_s:
        pages = int(Path(f"/proc/{ingest.process.pid}/statm").read_text().split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE"))
        print(f"\r{at_s:6.0f} s  {sizes[-1] >> 20} MiB  {_waiting(ingest):,.0f} rows wait ", end="", file=sys.stderr)
        time.sleep(SAMPLE_S)
    print(file=sys.stderr)
    return sizes


def _compare(journal: Path, kafka: KafkaConfig) -> list[str]:
    """Where what Kafka's readers see is not each entry of the journal once and in order."""
    expected: dict[tuple[str, int], list[int]] = {}
    reader = JournalReader(journal, "compare")
    reader.seek(0)
    while entries := reader.read():
        for entry in entries:
            place = (kafka.topic_of(entry.record.table), entry.record.partition)
            expected.setdefault(place, []).append(entry.offset)
    reader.close()
    first = min((offsets[0] for offsets in expected.values()), default=0)
    wrong = []
    for place, records in read_topics(kafka, values=False).items():
        offsets = [int(dict(each.headers)["ticktape-journal-offset"]) for each in records]
        total, before = 0, -1
        for each, offset in zip(records, offsets, strict=True):
            headers = dict(each.headers)
            total += int(headers["ticktape-rows"])
            if offset <= before or total != int(headers["ticktape-rows-total"]):
                wrong.append(f"{place}: offset {offset} after {before}, {total} rows")
                break
            before = offset
        # What was trimmed can only be counted; what is still there must be there one by one.
        if [offset for offset in offsets if offset >= first] != expected.pop(place, []):
            wrong.append(f"{place}: not the journal's entries")
    return wrong + [f"{place}: nothing" for place in expected]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.outage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="that Kafka is away (default 10)")
    parser.add_argument("--symbols", type=int, default=2000, help="subscribed (default 2000)")
    parser.add_argument("--rate", type=float, default=20_000.0, help="ticks a second (default 20000)")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    options = parser.parse_args()
    result = measure(options.minutes, options.symbols, options.rate)
    if options.json:
        print(json.dumps(result))
    else:
        table = RichTable("figure", "value", title=f"Kafka away, {options.rate:,.0f} ticks/s")
        for name, value in result.items():
            table.add_row(name, str(value))
        Console().print(table)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
