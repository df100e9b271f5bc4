"""How near each hop is to its raw limit on the same bytes, in one run.

    python -m benchmarks.pipeline [--ticks N] [--rounds N] [--seed S] [--json]

gateway_to_kafka: a simulated OpenD sends as fast as it is read; rows a second from the first one
received to the last one that Kafka acknowledged, through socket, decoding, deduplication, journal
and relay. Its limit: aiokafka, with the relay's settings, sending those very records ready-made.

kafka_to_clickhouse: rows a second from asking Kafka to the last one that ClickHouse acknowledged.
Its limit: inserting the same Arrow bytes, block by block, ready-made, and nothing else.

Each measurement runs in a fresh process; ours and the limit take turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table as RichTable

from codec.clock import MarketClock
from codec.records import Record
from codec.tables import TICKS
from codec.warm import warm
from ingest.gateway import GatewayConfig, OpenDGateway
from ingest.pipeline import TickPipeline
from sinks import schema, topics
from sinks.block_encoding import EncodedBlock
from sinks.blocks import BLOCK_BYTES_GOOD, BLOCK_ROWS_GOOD, Block, PlaceQueue
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from sinks.journal import Journal, JournalReader
from sinks.kafka import KafkaConfig, client_options, headers_of
from sinks.kafka_log import KafkaRecordLog
from sinks.record_log import LoggedRecord, Place
from sinks.relay import RELAY_READER_NAME, Relay
from sinks.relay_kafka import connected_producers
from sinks.writer import Writer
from tests.support.kafka import KafkaServer
from tests.support.simulator import opend_simulator
from ticktape.simulate.symbols import list_symbols
from ticktape.window_store import JournalWindowStore

SYMBOLS = 200
TICKS_A_ROUND = 4_000_000
ROUNDS = 3
_POLL_S = 0.002
_WAIT_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Rows that went through, and how long they took."""

    rows: int
    seconds: float

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds


def gateway_to_kafka(kafka: KafkaConfig, port: int, ticks: int) -> Measured:
    """The first half of the pipeline, as `ticktape ingest` runs it."""
    return uvloop.run(_gateway_to_kafka(kafka, port, ticks))


async def _gateway_to_kafka(kafka: KafkaConfig, port: int, ticks: int) -> Measured:
    warm(["opend"])
    with tempfile.TemporaryDirectory(prefix="ticktape-bench-") as folder:
        journal = Journal.open(Path(folder), readers=(RELAY_READER_NAME,))
        relay = Relay(JournalReader(Path(folder), RELAY_READER_NAME), kafka, journal.worker)
        pipeline = TickPipeline(journal.append, partition_count=kafka.partitions, windows=JournalWindowStore(journal))
        symbols = tuple(listing.symbol for listing in list_symbols(SYMBOLS))
        gateway = OpenDGateway(GatewayConfig("bench", "futu", "127.0.0.1", port, symbols), pipeline, MarketClock())
        relay.start()
        await _until(lambda: relay.stats.ready, "Kafka")
        await pipeline.start()
        await gateway.start()
        await _until(lambda: pipeline.stats.received_rows[TICKS.name] > 0, "the first tick")
        began_s = time.perf_counter()
        await _until(lambda: relay.stats.published_rows[TICKS.name] >= ticks, "the last acknowledgement")
        measured = Measured(relay.stats.published_rows[TICKS.name], time.perf_counter() - began_s)
        await gateway.stop()
        await pipeline.stop(5)
        relay.stop(5)
        journal.close()
        return measured


def ready_made_to_kafka(source: KafkaConfig, target: KafkaConfig, ticks: int) -> Measured:
    """aiokafka alone: the records of `source` sent to the topics of `target`."""
    return uvloop.run(_ready_made_to_kafka(source, target, ticks))


async def _ready_made_to_kafka(source: KafkaConfig, target: KafkaConfig, ticks: int) -> Measured:
    records = await _records_of(source, ticks)
    topic = target.topic_of(TICKS.name)
    ready = [
        (logged, headers_of(logged.record, "bench", "0" * 32, logged.offset, 0))
        for logged in records
        if isinstance(logged.record, Record)
    ]
    async with connected_producers(target, client_options(target, "bench-limit"), [None]) as (producer,):
        began_s = time.perf_counter()
        acknowledgements = [
            await producer.send(
                topic,
                logged.record.value,
                partition=logged.partition,
                timestamp_ms=logged.record.recv_ns // 1_000_000,
                headers=headers,
            )
            for logged, headers in ready
        ]
        await asyncio.gather(*acknowledgements)
        return Measured(sum(logged.rows for logged in records), time.perf_counter() - began_s)


def kafka_to_clickhouse(kafka: KafkaConfig, ticks: int) -> Measured:
    """The second half of the pipeline, as `ticktape sink` runs it."""
    return uvloop.run(_kafka_to_clickhouse(kafka, ticks))


async def _kafka_to_clickhouse(kafka: KafkaConfig, ticks: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="ticktape-bench-") as folder:
        clickhouse = _empty_clickhouse(folder, kafka)
        writer = Writer(KafkaRecordLog(kafka), clickhouse)
        stats = writer.stats
        writer.start()
        # Joining a consumer group is a wait for the broker, not work: the clock starts with the first record.
        await _until(lambda: stats.held_rows > 0, "the first record")
        began_s = time.perf_counter()
        await _until(lambda: stats.stored_rows[TICKS.name] >= ticks, "the last stored row")
        measured = Measured(stats.stored_rows[TICKS.name], time.perf_counter() - began_s)
        await writer.stop(5)
        clickhouse.close()
        return measured


def ready_made_to_clickhouse(kafka: KafkaConfig, ticks: int) -> Measured:
    """The blocks that the writer would insert, made beforehand, inserted and nothing else."""
    encoded = [EncodedBlock(block) for block in _blocks(uvloop.run(_records_of(kafka, ticks)))]
    with tempfile.TemporaryDirectory(prefix="ticktape-bench-") as folder:
        clickhouse = _empty_clickhouse(folder, kafka)
        with ThreadPoolExecutor(clickhouse.inserts_max) as inserters:
            began_s = time.perf_counter()
            list(inserters.map(lambda each: clickhouse.insert(each.table.name, each.stream, each.block.token), encoded))
            measured = Measured(sum(each.rows for each in encoded), time.perf_counter() - began_s)
        clickhouse.close()
        return measured


def _empty_clickhouse(folder: str, kafka: KafkaConfig) -> ClickHouse:
    """An embedded ClickHouse with our tables, made before the clock starts."""
    clickhouse = ClickHouse(ClickHouseConfig(url=f"chdb://{folder}/clickhouse", partitions=kafka.partitions))
    schema.prepare(clickhouse)
    return clickhouse


def _blocks(records: list[LoggedRecord]) -> Iterator[Block]:
    """`records` in blocks of the size that the writer cuts when it has much at hand."""
    queues: dict[Place, PlaceQueue] = {}
    for logged in records:
        queue = queues.setdefault(logged.place, PlaceQueue(logged.place))
        queue.append(logged, 0)
        if queue.rows >= BLOCK_ROWS_GOOD or queue.size_bytes >= BLOCK_BYTES_GOOD:
            yield queue.cut()
    for queue in queues.values():
        while queue.rows:
            yield queue.cut()


async def _records_of(kafka: KafkaConfig, ticks: int) -> list[LoggedRecord]:
    """All tick records of the topic, in memory."""
    log = KafkaRecordLog(replace(kafka, group_id=f"{kafka.group_id}-copy-{time.time_ns()}"))

    async def nothing_revoked(_: Collection[Place]) -> None:
        return

    async def nothing_stored(_: Mapping[Place, str]) -> Mapping[Place, int]:
        return {}

    await log.start(nothing_revoked, nothing_stored)
    records: list[LoggedRecord] = []
    rows = 0
    while rows < ticks:
        fetched = [
            each for each in await log.fetch(0.2) if isinstance(each.record, Record) and each.record.table == TICKS.name
        ]
        records += fetched
        rows += sum(each.rows for each in fetched)
    await log.stop()
    return records


async def _until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _WAIT_S_MAX
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {_WAIT_S_MAX:.0f} s for {what}")
        await asyncio.sleep(_POLL_S)


def _alone(measure: Callable[..., Measured], *arguments: object) -> Measured:
    """`measure` in a fresh process: one embedded ClickHouse each, and nobody's leftovers."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def _round(kafka: KafkaServer, number: int, ticks: int, seed: int) -> dict[tuple[str, str], Measured]:
    """One measurement of each, on topics of its own."""
    ours = KafkaConfig(
        bootstrap_servers=kafka.bootstrap_servers, topic_prefix=f"ours-{number}", group_id=f"ours-{number}"
    )
    limit = replace(ours, topic_prefix=f"limit-{number}", group_id=f"limit-{number}")
    for config in (ours, limit):
        asyncio.run(topics.create(config, topics.wanted_topics(config)))
    with opend_simulator("--symbols", SYMBOLS, "--rate", 0, "--ticks-max", ticks, "--seed", seed + number) as opend:
        relayed = _alone(gateway_to_kafka, ours, opend.port, ticks)
    return {
        ("gateway_to_kafka", "ours"): relayed,
        ("gateway_to_kafka", "limit"): _alone(ready_made_to_kafka, ours, limit, ticks),
        ("kafka_to_clickhouse", "ours"): _alone(kafka_to_clickhouse, ours, ticks),
        ("kafka_to_clickhouse", "limit"): _alone(ready_made_to_clickhouse, ours, ticks),
    }


def measure(ticks: int, rounds: int, seed: int) -> list[dict[str, object]]:
    """A result a case: medians over `rounds`, and the ratio of the medians."""
    with KafkaServer() as kafka:
        measured = [_round(kafka, number, ticks, seed) for number in range(rounds)]
    results: list[dict[str, object]] = []
    for case in ("gateway_to_kafka", "kafka_to_clickhouse"):
        ours, limit = (statistics.median(each[case, who].rows_per_s for each in measured) for who in ("ours", "limit"))
        results.append(
            {
                "case": case,
                "peer": "limit",
                "ratio": round(ours / limit, 3),
                "ours_per_s": round(ours),
                "peer_per_s": round(limit),
            }
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--ticks", type=int, default=TICKS_A_ROUND, help=f"ticks a round (default {TICKS_A_ROUND:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds; medians are compared (default {ROUNDS})")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated market (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    results = measure(options.ticks, options.rounds, options.seed)
    if options.json:
        for result in results:
            print(json.dumps(result))
        return
    print_table(results, options.ticks)


def print_table(results: list[dict[str, object]], ticks: int) -> None:
    """What `measure` found, to read."""
    table = RichTable("case", "rows/s", "limit, rows/s", "ratio", title=f"{ticks:,} ticks, {SYMBOLS} symbols")
    for result in results:
        table.add_row(
            str(result["case"]), f"{result['ours_per_s']:,}", f"{result['peer_per_s']:,}", str(result["ratio"])
        )
    Console().print(table)


if __name__ == "__main__":
    main()
