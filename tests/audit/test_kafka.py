"""`ticktape audit` over a real Kafka and a ClickHouse server."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.audit.running import audited, delete, symbols_of, unexplained
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.daemons import daemon, free_port
from tests.support.simulator import opend_simulator
from ticktape.simulate.symbols import list_symbols

SYMBOLS, TICKS = 20, 60_000
US = "US.AAPL"

_CONFIG = """
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"

[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "audit"
group_id = "audit"
partitions = 4

[clickhouse]
url = "{clickhouse}"
flush_interval = "100ms"

[http]
listen = "127.0.0.1:{ingest_port}"
sink_listen = "127.0.0.1:{sink_port}"

[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{port}"

[[subscription]]
gateway = "opend-1"
symbols = [{symbols}]
"""


def execute(clickhouse: ClickHouseHttp, statement: str) -> str:
    with urllib.request.urlopen(clickhouse.url, data=statement.encode(), timeout=30) as answer:
        text: bytes = answer.read()
        return text.decode()


@pytest.mark.kafka
def test_every_hop_counts_the_same_until_a_row_is_deleted(tmp_path: Path, kafka_bootstrap: str) -> None:
    config = tmp_path / "ticktape.toml"
    ingest_port, sink_port = free_port(), free_port()
    options = ("--symbols", SYMBOLS, "--rate", 0, "--ticks-max", TICKS)
    with ClickHouseHttp(tmp_path / "clickhouse") as clickhouse:
        with opend_simulator(*options) as opend:
            config.write_text(
                _CONFIG.format(
                    folder=tmp_path,
                    bootstrap=kafka_bootstrap,
                    clickhouse=clickhouse.url,
                    ingest_port=ingest_port,
                    sink_port=sink_port,
                    port=opend.port,
                    symbols=", ".join(f'"{listing.symbol}"' for listing in list_symbols(SYMBOLS)),
                )
            )
            with daemon("ingest", config, ingest_port) as ingest, daemon("sink", config, sink_port) as sink:
                stored = lambda: sink.metric("ticktape_rows_total", hop="stored", table="ticks") >= TICKS  # noqa: E731
                sink.wait_until(stored, "every tick stored", 120)
                truth = opend.stop()
                ingest.stop()
                sink.stop()
        code, report = audited(config)
        assert (code, unexplained(report)) == (0, [])
        made = {symbol: facts["rows"] for symbol, facts in truth["tables"]["ticks"]["symbols"].items()}
        for hop in ("journaled", "logged", "stored"):
            assert {symbol: each[hop] for symbol, each in symbols_of(report).items()} == made, hop
        assert execute(clickhouse, "SELECT count() FROM ticktape.coverage FINAL").strip() == str(len(made))

        last = f"(SELECT max(sequence) FROM ticktape.ticks WHERE symbol = '{US}')"
        execute(clickhouse, delete(f"symbol = '{US}' AND sequence = {last}"))
        code, report = audited(config)
        assert code == 1
        [told] = unexplained(report)
        assert told.startswith(f"{US}: 1 row stored no more: sequence ")
        assert "(audit.ticks/" in told
