"""The official JavaScript SDK and our gateway on the simulator's WebSocket port: the same ticks, field by field."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from codec.markets import symbol_name
from ingest.opend.encryption import WireMode
from ingest.opend.front import WebSocketPort
from tests.ingest.journal import until
from tests.ingest.running import running
from tests.support.javascript import collect_ticks, why_not
from tests.support.simulator import opend_simulator

SYMBOLS = ["HK.00700", "US.AAPL", "HK.09988", "US.TSLA"]
TICKS = 600
"""No symbol then has more than the 1000 that a late client can still pull."""
KEY = "a key, with : and ü"
_SENT_DIRECTIONS = {1: "buy", 2: "sell", 3: "neutral"}
_NO_SIGN = 32
_ZONES = {"HK": ZoneInfo("Asia/Hong_Kong"), "US": ZoneInfo("America/New_York")}

pytestmark = [pytest.mark.sdk, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


async def test_the_javascript_sdk_and_we_receive_the_same_ticks(tmp_path: Path) -> None:
    options = ("--symbols", 6, "--rate", 400, "--ticks-max", TICKS, "--seed", 3)
    with opend_simulator(*options, "--websocket-port", 0, "--websocket-key", KEY) as opend:
        port = opend.websocket_port
        wire = WireMode(websocket=WebSocketPort(f"ws://127.0.0.1:{port}", KEY))
        async with running(opend.port, *SYMBOLS, wire=wire) as run:
            told = await asyncio.to_thread(collect_ticks, port, KEY, TICKS, SYMBOLS, tmp_path / "ticks.json")
            await until(lambda: run.pipeline.stats.journaled_rows["ticks"] >= TICKS, timeout_s=40)
            ours = [_ours(row) for row in run.journal.rows("ticks")]
            assert run.gateway.stats.connects == 1
        refused = await asyncio.to_thread(collect_ticks, port, "another key", 1, SYMBOLS, tmp_path / "refused.json")
        truth = opend.stop()
    assert truth["tables"]["ticks"]["rows"] == TICKS == len(ours)
    assert told["loggedIn"]
    assert told["deliveries"]["pushed"] > 0
    assert told["deliveries"]["pulled"] >= TICKS
    assert told["flowLines"] > 0
    assert sorted(ours) == sorted(_theirs(tick) for tick in told["ticks"])
    assert refused == {"loggedIn": False, "error": -1}


def _ours(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["symbol"],
        row["sequence"],
        row["price"],
        row["volume"],
        row["turnover"],
        row["direction"],
        row["trade_type"],
        row["condition"],
        row["ts_event"] // 1000,
    )


def _theirs(tick: dict[str, Any]) -> tuple[object, ...]:
    symbol = symbol_name(tick["market"], tick["code"])
    local = datetime.datetime.fromisoformat(tick["time"]).replace(tzinfo=_ZONES[symbol[:2]])
    assert local.replace(microsecond=0).timestamp() == tick["timestamp"] // 1
    return (
        symbol,
        int(tick["sequence"]),
        tick["price"],
        float(tick["volume"]),
        tick["turnover"],
        _SENT_DIRECTIONS[tick["dir"]],
        tick["type"],
        "" if tick["typeSign"] in (0, _NO_SIGN) else chr(tick["typeSign"]),
        round(local.timestamp() * 1000),
    )
