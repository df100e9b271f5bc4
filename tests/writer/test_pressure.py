"""A quiet partition beside busy ones, and a ClickHouse that is full, read-only or slow.

Times are only bounded from the side that a loaded machine cannot reach: the quickest of several, or
a sum of pauses that were surely made.
"""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from structlog.testing import capture_logs

from codec.tables import TICKS
from sinks.blocks import PlaceQueue
from sinks.clickhouse import ClickHouse, ClickHouseConfig
from sinks.record_log import LoggedRecord
from sinks.writer import Writer
from tests.support.batches import make_table_record
from tests.support.clickhouse_http import ClickHouseHttp, Fault
from tests.support.scripted_log import ScriptedLog
from tests.support.waiting import until
from tests.writer.conftest import counts

TAIL_S_MAX = 1.0
BUSY = range(4)
QUIET = 4


def logged(partition: int, number: int, rows: int = 10) -> LoggedRecord:
    record = make_table_record(TICKS, rows, seed=number, first=10_000 * partition + number * rows)
    return LoggedRecord("t", partition, 2 * number, 2 * number + 2, record)


def test_a_lone_record_is_due_within_its_flush_interval_whatever_comes_after_it() -> None:
    interval_ns = int(ClickHouseConfig().flush_interval_s * 1e9)
    assert interval_ns <= TAIL_S_MAX * 1e9 / 2, "the other half is for fetching and inserting it"
    queue = PlaceQueue(("t", QUIET))
    for number in range(10):
        queue.append(logged(QUIET, number), now_ns=1000 + number * interval_ns // 2)
        assert queue.due_ns(interval_ns) == 1000 + interval_ns


async def test_a_quiet_partitions_tail_is_stored_within_a_second_while_others_are_busy(server: ClickHouseHttp) -> None:
    remote = ClickHouse(ClickHouseConfig(server.url))
    log = ScriptedLog([])
    writer = Writer(log, remote)
    writer.start()
    await until(lambda: writer.stats.ready)

    async def keep_busy() -> None:
        for number in itertools.count():
            log.waiting += [logged(partition, number, rows=100) for partition in BUSY]
            await asyncio.sleep(0.02)

    server.fail_inserts(Fault.HOLD)  # the first of a busy one takes as long as all of this
    busy = asyncio.create_task(keep_busy())
    await until(lambda: len(server.tokens()) > len(BUSY))
    took_s = []
    for number in range(3):
        await asyncio.sleep(0.1)
        appended_s = time.monotonic()
        log.waiting.append(logged(QUIET, number))
        await until(lambda of=number: log.stored.get(("t", QUIET)) == 2 * of + 2)  # type: ignore[misc]
        took_s.append(time.monotonic() - appended_s)
    busy.cancel()
    server.release()
    assert min(took_s) < TAIL_S_MAX
    [row] = remote.rows("SELECT count() AS rows FROM ticktape.ticks WHERE _partition = {quiet:UInt16}", quiet=QUIET)
    assert row["rows"] == 30
    await writer.stop(10.0)
    assert all(log.stored[("t", partition)] for partition in BUSY)
    remote.close()


@pytest.mark.parametrize("code", [164, 243, 252], ids=["read-only", "out of disk", "too many parts"])
async def test_a_clickhouse_that_takes_nothing_is_waited_for_with_patience_and_one_line(
    server: ClickHouseHttp, remote: ClickHouse, code: int
) -> None:
    log = ScriptedLog([])
    writer = Writer(log, remote)
    with capture_logs() as logs:
        writer.start()
        await until(lambda: writer.stats.ready)
        server.fail_inserts(Fault.ERROR_BEFORE, count=10, code=code)
        began_s = time.monotonic()
        log.waiting = [logged(partition, number) for number in range(3) for partition in (0, 1)]
        await until(lambda: f"Code: {code}" in (writer.stats.clickhouse.trouble or ""))
        assert not writer.stats.ready
        assert set(log.stored.values()) <= {0}, "committed before it was stored"
        await until(lambda: sum(writer.stats.stored_rows.values()) == 60)
        # Of two places one failed five times: five pauses of at least half of 0.1, 0.2, 0.4, 0.8, 1.6 s.
        assert time.monotonic() - began_s > 1.55
        await until(lambda: writer.stats.ready)
        await writer.stop(5.0)
    told = [line for line in logs if line["event"] in ("not available, trying again", "available again")]
    assert [(line["log_level"], line["neighbour"]) for line in told] == [
        ("warning", "clickhouse"),
        ("info", "clickhouse"),
    ]
    assert f"Code: {code}" in told[0]["error"]
    assert log.stored == {("t", 0): 6, ("t", 1): 6}
    assert counts(remote) == (60, 60)
    assert counts(remote, "dead_letters") == (0, 0)


async def test_a_slow_clickhouse_is_no_trouble_and_its_position_follows_what_is_stored(
    server: ClickHouseHttp, remote: ClickHouse
) -> None:
    log = ScriptedLog([])
    writer = Writer(log, remote)
    with capture_logs() as logs:
        writer.start()
        await until(lambda: writer.stats.ready)
        server.fail_inserts(Fault.HOLD)
        log.waiting = [logged(0, 0)]
        await until(lambda: len(server.tokens()) == 1)
        log.waiting = [logged(0, 1), logged(0, 2)]
        await until(lambda: writer.stats.held_rows == 30)
        assert log.stored == {("t", 0): 0}
        assert writer.stats.ready
        assert writer.lag_s(time.time_ns()) > 0
        server.release()
        await until(lambda: log.stored == {("t", 0): 6})
        await writer.stop(5.0)
    assert len(set(server.tokens())) == len(server.tokens()), "nothing was sent twice"
    assert not [line for line in logs if line["log_level"] == "warning"]
    assert counts(remote) == (30, 30)
