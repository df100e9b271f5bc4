"""Kafka or ClickHouse away for long, at a steady rate: is memory flat, and everything there when it is back?

    python -m benchmarks.outage kafka|clickhouse [--minutes N] [--symbols N] [--rate TICKS_PER_S] [--json]

A simulated OpenD pushes at the rate into `ticktape ingest`; `ticktape sink` reads Kafka and writes to a ClickHouse
behind HTTP. One of the two servers is ended for so long and then started. Ends with 1

- when the memory of who waits for it (`ingest` for Kafka, `sink` for ClickHouse) grows by more than 5 % after the first
  minute of the outage;
- when what waited is not there within 60 s of its return;
- when a read_committed reader finds an entry of the journal missing, twice, or out of order within its partition;
- when ClickHouse does not hold each tick that the market made once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmarks.steady import (
    GROWTH_MAX,
    SAMPLE_S,
    WARM_UP_S,
    Ports,
    broken,
    growth,
    make_parser,
    report,
    rss_bytes,
    working_folder,
    write_config,
)
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from sinks.journal import JournalReader
from sinks.kafka import KafkaConfig
from sinks.topics import create, wanted_topics
from tests.kafka.support import read_topics
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.daemons import Daemon, daemon
from tests.support.kafka import KafkaServer
from tests.support.simulator import opend_simulator

BEFORE_S = 20.0
CATCH_UP_S_MAX = 60.0
_GIVE_UP_S = 10 * CATCH_UP_S_MAX
_PREFIX = "outage"


class Server(Protocol):
    """What goes away and comes back."""

    def stop(self) -> None: ...

    def start(self) -> None: ...


def measure(away: str, minutes: float, symbols: int, rate: float) -> dict[str, object]:
    """What was seen, and which of it is beyond its bounds."""
    ports = Ports()
    with (
        working_folder("outage") as folder,
        KafkaServer() as kafka_server,
        ClickHouseHttp(folder / "clickhouse") as clickhouse_server,
        opend_simulator("--symbols", symbols, "--rate", rate) as opend,
    ):
        kafka = KafkaConfig(kafka_server.bootstrap_servers, topic_prefix=_PREFIX)
        asyncio.run(create(kafka, wanted_topics(kafka)))
        more = f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\ntopic_prefix = "{_PREFIX}"\n'
        config = write_config(folder, ports, opend.port, symbols, clickhouse_server.url, more)
        with daemon("ingest", config, ports.ingest) as ingest, daemon("sink", config, ports.sink) as sink:

            def waiting_rows() -> float:
                at_kafka = ingest.metric("ticktape_lag_rows", hop="journal")
                return at_kafka if away == "kafka" else at_kafka + sink.metric("ticktape_lag_rows")

            ingest.wait_until(lambda: '"opend-1": true' in ingest.get("/readyz"), "every symbol subscribed", 300)
            sink.wait_until(lambda: sink.metric("ticktape_rows_total", hop="stored") > 0, "rows stored", 120)
            time.sleep(BEFORE_S)
            server: Server = kafka_server if away == "kafka" else clickhouse_server
            server.stop()
            rss = _watch(ingest if away == "kafka" else sink, waiting_rows, minutes * 60)
            waited_rows = waiting_rows()
            server.start()
            began_s = time.monotonic()
            while waiting_rows() > rate and time.monotonic() - began_s < _GIVE_UP_S:  # a second's worth is on its way
                time.sleep(0.1)
            caught_up_s = time.monotonic() - began_s
            made = opend.stop()["tables"]["ticks"]["rows"]
            ingest.wait_until(
                lambda: ingest.metric("ticktape_lag_rows", hop="journal") == 0, "everything in Kafka", 120
            )
            store = ClickHouse(ClickHouseConfig(clickhouse_server.url))
            sink.wait_until(lambda: _stored(store)[0] >= made, "everything stored", _GIVE_UP_S)
            sink.stop()
            ingest.stop()
        wrong = _compare(folder / "journal", kafka)
        stored, different = _stored(store)
        store.close()
    grown, memory = growth(rss[round(WARM_UP_S / SAMPLE_S) :] or rss[1:])
    failed = broken(
        {
            "memory": grown <= GROWTH_MAX,
            "time": caught_up_s <= CATCH_UP_S_MAX,
            "records": not wrong,
            "rows": made == stored == different,
        }
    )
    return {
        "away": away,
        "minutes": minutes,
        "waited_rows": round(waited_rows),
        "caught_up_s": round(caught_up_s, 1),
        "rss_mib_before": rss[0] >> 20,
        **memory,
        "made_ticks": made,
        "stored_rows": stored,
        "different_ticks": different,
        "wrong": wrong,
        "failed": failed,
    }


def _watch(waiter: Daemon, waiting_rows: Callable[[], float], duration_s: float) -> list[int]:
    """The memory of who waits, every `SAMPLE_S`."""
    began_s, sizes = time.monotonic(), []
    while (at_s := time.monotonic() - began_s) < duration_s:
        sizes.append(rss_bytes(waiter.process.pid))
        print(f"\r{at_s:6.0f} s  {sizes[-1] >> 20} MiB  {waiting_rows():,.0f} rows wait ", end="", file=sys.stderr)
        time.sleep(SAMPLE_S)
    print(file=sys.stderr)
    return sizes


def _stored(store: ClickHouse) -> tuple[int, int]:
    """Rows of ticks, and how many different ticks they are."""
    [row] = store.rows(
        "SELECT count() AS stored, uniqExact(source, symbol, sequence, ordinal) AS different FROM ticktape.ticks"
    )
    return row["stored"], row["different"]


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
    parser = make_parser("python -m benchmarks.outage", __doc__, "that it is away")
    parser.add_argument("away", choices=["kafka", "clickhouse"], help="which server")
    options: argparse.Namespace = parser.parse_args()
    result = measure(options.away, options.minutes, options.symbols, options.rate)
    return report(result, "Kafka away" if options.away == "kafka" else "ClickHouse away", options)


if __name__ == "__main__":
    sys.exit(main())
