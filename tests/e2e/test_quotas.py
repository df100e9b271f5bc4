"""In no window of the gateway's more requests than its quota, over a kill -9 and a restart; as the simulator counts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, daemon, free_port
from tests.support.simulator import opend_simulator
from ticktape.simulate.symbols import list_symbols

SYMBOLS = 40
"""More than a window holds: each start asks for all of them as fast as it may."""
CALLS = {"get_capital_flow": 30, "get_capital_distribution": 30, "get_ark_stock_dynamic": 60}

_CONFIG = """
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"

[http]
listen = "127.0.0.1:{http_port}"

[[gateway]]
name = "opend-1"
kind = "opend"
url = "tcp://127.0.0.1:{port}"

[[gateway]]
name = "opend-2"                  # the same login
kind = "opend"
url = "tcp://127.0.0.1:{port}"

[[subscription]]
gateway = "opend-1"
symbols = [{first}]
feeds = ["capital_flow", "capital_distribution", "ark_dynamic"]

[[subscription]]
gateway = "opend-2"
symbols = [{others}]
feeds = ["capital_flow", "capital_distribution", "ark_dynamic"]
"""


def _asked(ingest: Daemon, call: str) -> float:
    return ingest.metric("ticktape_requests_total", call=call)


@pytest.mark.timeout(240)
def test_a_kill_and_a_restart_keep_within_the_quotas(tmp_path: Path) -> None:
    config, http_port = tmp_path / "ticktape.toml", free_port()
    with opend_simulator("--symbols", SYMBOLS, "--rate", 20, "--speed", 60) as opend:
        names = [f'"{listing.symbol}"' for listing in list_symbols(SYMBOLS)]
        config.write_text(
            _CONFIG.format(
                folder=tmp_path,
                http_port=http_port,
                port=opend.port,
                first=", ".join(names[:30]),
                others=", ".join(names[30:]),
            )
        )
        with daemon("ingest", config, http_port) as ingest:
            ingest.wait_until(lambda: _asked(ingest, "get_capital_flow") >= 28, "nearly all of the quota used")
            ingest.process.send_signal(signal.SIGKILL)
            ingest.process.wait()
        with daemon("ingest", config, http_port) as ingest:
            # More than the first one left of the window: some of these waited for it to pass.
            ingest.wait_until(lambda: _asked(ingest, "get_capital_flow") >= 15, "polls went on", 90)
            ingest.stop()
        truth = opend.stop()
    for call, most in CALLS.items():
        asked = truth["frequency"][call]
        assert asked["refused"] == 0
        assert asked["most_in_30_s"] <= most
        assert asked["most_in_1_s"] <= 10
    assert truth["requests"]["get_capital_flow"] > 40
