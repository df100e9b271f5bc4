"""`ticktape ingest` and `ticktape sink`, a real Kafka between them, against the simulator's own account."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemons import daemon, free_port, query_json, ticktape
from tests.support.simulator import opend_simulator
from ticktape.simulate.checksum import CHECKSUM_SQL
from ticktape.simulate.symbols import list_symbols

TICKS = 2_000_000
SYMBOLS = 200

_CONFIG = """
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"

[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "e2e-two"
group_id = "e2e-two"

[clickhouse]
url = "chdb://{folder}/clickhouse"

[http]
listen = "127.0.0.1:{ingest_port}"
sink_listen = "127.0.0.1:{sink_port}"

[[gateway]]
name = "opend-1"
kind = "opend"
source = "futu"
url = "tcp://127.0.0.1:{port}"

[[subscription]]
gateway = "opend-1"
symbols = [{symbols}]
feeds = ["ticks"]
"""


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_two_million_ticks_arrive_once_each(tmp_path: Path, kafka_bootstrap: str) -> None:
    config = tmp_path / "ticktape.toml"
    ingest_port, sink_port = free_port(), free_port()
    options = ("--symbols", SYMBOLS, "--rate", 0, "--ticks-max", TICKS, "--faults", "duplicate=0.05", "--seed", 7)
    with opend_simulator(*options) as opend:
        config.write_text(
            _CONFIG.format(
                folder=tmp_path,
                bootstrap=kafka_bootstrap,
                ingest_port=ingest_port,
                sink_port=sink_port,
                port=opend.port,
                symbols=", ".join(f'"{listing.symbol}"' for listing in list_symbols(SYMBOLS)),
            )
        )
        applied = ticktape(config, "schema", "apply")
        assert applied.returncode == 0, applied.stderr
        with daemon("ingest", config, ingest_port) as ingest, daemon("sink", config, sink_port) as sink:
            stored = lambda: sink.metric("ticktape_rows_total", hop="stored", table="ticks") >= TICKS  # noqa: E731
            sink.wait_until(stored, "every tick stored", 180)
            truth = opend.stop()
            assert ingest.metric("ticktape_rows_total", hop="repeat", table="ticks") > 0.03 * TICKS
            ingest.stop()
            sink.stop()
    rows = query_json(
        config,
        f"SELECT symbol, toString(count()) AS rows, toString({CHECKSUM_SQL}) AS checksum FROM ticks GROUP BY symbol",
    )
    found = {row["symbol"]: (int(row["rows"]), row["checksum"]) for row in rows}
    generated = truth["tables"]["ticks"]["symbols"]
    assert found == {symbol: (each["rows"], each["checksum"]) for symbol, each in generated.items()}
    assert len(found) == SYMBOLS
    assert sum(count for count, _ in found.values()) == TICKS == truth["tables"]["ticks"]["rows"]
    merged = query_json(config, "SELECT symbol, toString(count()) AS rows FROM ticks FINAL GROUP BY symbol")
    assert {row["symbol"]: int(row["rows"]) for row in merged} == {symbol: n for symbol, (n, _) in found.items()}
    [kept] = query_json(config, "SELECT toString(count()) AS rows FROM dead_letters")
    assert kept["rows"] == "0"
