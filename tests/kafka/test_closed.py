"""Connections that close at the wrong moment, and a group routine that ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from codec.tables import TICKS
from sinks import kafka_closed
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from sinks.kafka_log import KafkaRecordLog
from sinks.record_log import RecordLogBroken
from tests.support.batches import make_table_record
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.counting import rows_and_keys
from tests.support.guards import with_and_without
from tests.support.logs import KafkaTopics, ignore, nothing_stored
from tests.support.waiting import until
from ticktape import hops


class ClosedWriter:
    """A stream's writer whose transport uvloop has closed."""

    def write(self, data: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None:
        """It is."""


@with_and_without
async def test_a_request_on_a_closed_connection_fails_as_on_a_broken_one(
    monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    monkeypatch.setattr(AIOKafkaConnection, "send", kafka_closed._send)
    if guarded:
        kafka_closed.install()
    connection = AIOKafkaConnection("127.0.0.1", 1)
    connection._writer, connection._reader = ClosedWriter(), asyncio.StreamReader()
    connection._read_task = asyncio.get_running_loop().create_future()
    connection._versions = {MetadataRequest([]).API_KEY: (0, 0)}
    with pytest.raises(KafkaConnectionError if guarded else RuntimeError):
        connection.send(MetadataRequest([]))
    assert connection.connected() is not guarded


async def end_routine(log: KafkaRecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """End it as an error does that it does not know: whatever is asked of the consumer then, it says so again."""
    coordinator = log._started()[1]._coordinator

    async def fail() -> None:
        raise RuntimeError("the handler is closed")

    monkeypatch.setattr(coordinator, "ensure_coordinator_known", fail)
    coordinator.request_rejoin()
    await until(coordinator._coordination_task.done)


@pytest.mark.kafka
async def test_a_group_routine_that_ended_is_told(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    topics = KafkaTopics(kafka_bootstrap)
    await topics.put([make_table_record(TICKS, 10, seed=1)])
    log = KafkaRecordLog(topics.config)
    await log.start(ignore, nothing_stored)
    while not await log.fetch(0.2):
        pass
    await end_routine(log, monkeypatch)
    with pytest.raises(RecordLogBroken, match=r"group routine has ended .*the handler is closed"):
        await log.fetch(0.2)
    with pytest.raises(RecordLogBroken):
        await log.measure_lag()
    await log.stop()
    await topics.close()


@pytest.mark.kafka
async def test_a_sink_whose_group_routine_ended_joins_anew(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "_RESTART_S", 0.1)
    topics = KafkaTopics(kafka_bootstrap)
    await topics.put([make_table_record(TICKS, 10, seed=1)])
    with ClickHouseHttp(tmp_path / "server") as server:
        clickhouse = ClickHouse(ClickHouseConfig(server.url, flush_interval_s=0.05))
        hop = hops.WriterHop(lambda: KafkaRecordLog(topics.config), clickhouse, journal=None, ends_with_it=True)
        await hop.start()
        await until(lambda: sum(hop._writer.stats.stored_rows.values()) == 10)
        before = hop._writer
        log = hop._log
        assert isinstance(log, KafkaRecordLog)
        await end_routine(log, monkeypatch)
        await until(lambda: hop._writer is not before)
        await topics.put([make_table_record(TICKS, 10, seed=1, first=10)])
        # What was not committed yet is stored again, as it was: the table tells when the new rows are there.
        await until(lambda: rows_and_keys(clickhouse, "sequence")[0] >= 20)
        assert rows_and_keys(clickhouse, "sequence") == (20, 20)
        await hop.stop(5.0)
    await topics.close()
