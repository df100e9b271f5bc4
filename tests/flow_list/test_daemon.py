"""A simulated flow list through `ticktape up` into the embedded ClickHouse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.daemons import daemon, free_port, query_json
from tests.support.simulator import flow_list_simulator
from ticktape.simulate.faults import Faults
from ticktape.simulate.flow_list_faults import FLOW_LIST_FAULTS, Striking
from ticktape.simulate.symbols import list_symbols

SYMBOLS = [listing.symbol for listing in list_symbols(12)]
_ROWS = """
SELECT symbol AS name, count() AS rows FROM capital_flow_summary GROUP BY symbol
UNION ALL SELECT reason AS name, count() AS rows FROM dead_letters GROUP BY reason
"""


def configuration(folder: Path, port: int, http_port: int) -> Path:
    file = folder / "ticktape.toml"
    file.write_text(
        f"""
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"

[clickhouse]
url = "chdb://{folder}/clickhouse"
flush_interval = "100ms"

[http]
listen = "127.0.0.1:{http_port}"
sink_listen = "127.0.0.1:{free_port()}"

[schedule]
calendar = "off"

[[gateway]]
name = "flows"
kind = "flow-list"
url = "http://127.0.0.1:{port}/capital-flow"
batch_max = 5

[[subscription]]
gateway = "flows"
symbols = {json.dumps(SYMBOLS)}
feeds = ["capital_flow_summary"]
poll_interval = "300ms"
"""
    )
    return file


def test_every_version_that_was_served_is_stored_once_whatever_goes_wrong(tmp_path: Path) -> None:
    faults = (
        "get-failed=0.03,http-503=0.02,html=0.08,truncated=0.08,gzip,invalid-code=0.1,missing=0.1,bad-entries=0.1,"
        "duplicates,unknown-keys,strings,nulls"
    )
    with flow_list_simulator("--symbols", 12, "--speed", 60, "--seed", 3, "--faults", faults) as flows:
        http_port = free_port()
        config = configuration(tmp_path, flows.port, http_port)
        with daemon("up", config, http_port) as up:

            def gateway() -> dict[str, Any]:
                found: dict[str, Any] = json.loads(up.get("/status") or "{}").get("gateways", {}).get("flows", {})
                return found

            up.wait_until(lambda: gateway().get("requests", {}).get("ok", 0) >= 20, "some polls")
            truth = flows.stop()
            up.wait_until(lambda: gateway()["up"] is False, "that it is gone")
            assert up.metric("ticktape_gateway_up", gateway="flows") == 0
            assert up.metric("ticktape_requests_total", gateway="flows", outcome="unreachable") >= 1
            refused = gateway()["refused"]
            up.stop()
    made = {symbol: each["rows"] for symbol, each in truth["tables"]["capital_flow_summary"]["symbols"].items()}
    found = {row["name"]: int(row["rows"]) for row in query_json(config, _ROWS)}
    dead = {reason: found.pop(reason, 0) for reason in ("bad_row", "undecodable")}
    assert found == made
    assert made
    assert set(made) <= set(SYMBOLS) - set(refused)
    assert 0 < dead["bad_row"] <= truth["faults"]["bad-entries"], "some were in answers that were cut"
    assert dead["undecodable"] == truth["requests"].get("html", 0) + truth["requests"].get("truncated", 0)


def test_a_fault_draws_from_its_own_generator() -> None:
    alone, together = (
        Striking(Faults.parse(text, 7, catalogue=FLOW_LIST_FAULTS)) for text in ("nulls=0.5", "strings=0.5,nulls=0.5")
    )
    for _ in range(50):
        together.strikes("strings")
    assert [alone.strikes("nulls") for _ in range(50)] == [together.strikes("nulls") for _ in range(50)]
