"""What `check` and `status` say when a login cannot have every symbol."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.daemons import daemon, free_port, ticktape
from tests.support.simulator import opend_simulator

SYMBOLS = ("HK.00700", "HK.TCH261230C500000", "US.AAPL", "HK.09988", "US.NVDA")


def test_symbols_beyond_quota_and_rights_are_refused_and_said(tmp_path: Path) -> None:
    config, port = tmp_path / "ticktape.toml", free_port()
    with opend_simulator("--symbols", 4, "--rate", 200, "--quota", 3) as opend:
        config.write_text(
            f"""
[journal]
path = "{tmp_path}/journal"
min_free_bytes = "100MiB"

[http]
listen = "127.0.0.1:{port}"
sink_listen = "127.0.0.1:{free_port()}"

[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{opend.port}"
subscription_quota_reserve = 1

[[subscription]]
gateway = "opend-1"
symbols = {json.dumps(SYMBOLS)}
"""
        )
        done = ticktape(config, "check")
        assert done.returncode == 1, done.stdout
        said = " ".join(done.stdout.split())
        assert "5 symbols are wanted, its login may subscribe 2: the last 2 of the file are refused" in said
        assert "1 of 5 symbols are refused: Hong Kong options have no ticks under LV1: the login needs LV2" in said
        with daemon("ingest", config, port) as ingest:
            ingest.wait_until(lambda: json.loads(ingest.get("/readyz") or "{}").get("ready") is True, "ready")
            gateway = json.loads(ingest.get("/status"))["gateways"]["opend-1"]
            assert (gateway["symbols"], gateway["subscribed"], gateway["logged_in"]) == (5, 2, True)
            assert (gateway["quota"]["total"], gateway["quota"]["reserve"]) == (3, 1)
            assert gateway["refused"].pop("HK.TCH261230C500000").startswith("Hong Kong options")
            assert gateway["refused"] == {"HK.09988": "quota", "US.NVDA": "quota"}
            assert ingest.metric("ticktape_gateway_logged_in", gateway="opend-1") == 1
            shown = ticktape(config, "status").stdout
            assert "opend-1 refused US.NVDA: quota" in shown
        assert set(opend.stop()["tables"]["ticks"]["symbols"]) == {"HK.00700", "US.AAPL"}
