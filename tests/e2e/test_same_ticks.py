"""An official SDK and ticktape on one simulator, at the same time, in each mode: the same ticks, field by field."""

from __future__ import annotations

import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support.daemons import daemon, free_port, query_json
from tests.support.keys import rsa_pem
from tests.support.sdk import aes_of, is_json, run_sdk, simulator_options
from tests.support.simulator import opend_simulator

SYMBOLS = ["HK.00700", "US.AAPL", "HK.09988", "US.TSLA"]
TICKS = 1_000
"""No symbol then has more than the 1000 that a late client can still pull."""
_ZONES = {"HK": ZoneInfo("Asia/Hong_Kong"), "US": ZoneInfo("America/New_York")}
_DIRECTIONS = {"BUY": "buy", "SELL": "sell", "NEUTRAL": "neutral"}

_CONFIG = """
[journal]
path = "{folder}/journal"
min_free_bytes = "100MiB"

[clickhouse]
url = "chdb://{folder}/clickhouse"

[http]
listen = "127.0.0.1:{http_port}"

[[gateway]]
name = "opend-1"
kind = "opend"
source = "{source}"
url = "tcp://127.0.0.1:{port}"
{wire}

[[subscription]]
gateway = "opend-1"
symbols = {symbols}
feeds = ["ticks"]
"""


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("sdk", "mode"), [("futu", "plain"), ("moomoo", "json"), ("moomoo", "cbc"), ("futu", "ecb"), ("futu", "json-cbc")]
)
def test_the_sdk_and_we_receive_the_same_ticks(sdk: str, mode: str, tmp_path: Path) -> None:
    config, http_port, key_file = tmp_path / "ticktape.toml", free_port(), tmp_path / "key.pem"
    key_file.write_bytes(rsa_pem())
    options = ("--symbols", 6, "--rate", 400, "--ticks-max", TICKS, "--seed", 3)
    with opend_simulator(*options, *simulator_options(mode, key_file)) as opend:
        wire = [f'body_format = "{"json" if is_json(mode) else "protobuf"}"']
        if aes_of(mode):
            wire.append('rsa_key_file = "key.pem"')
        config.write_text(
            _CONFIG.format(
                folder=tmp_path,
                http_port=http_port,
                source=sdk,
                port=opend.port,
                wire="\n".join(wire),
                symbols=json.dumps(SYMBOLS),
            )
        )
        with ThreadPoolExecutor(1) as thread, daemon("up", config, http_port) as up:
            vendor = thread.submit(_sdk_ticks, sdk, mode, opend.port, tmp_path)
            up.wait_until(lambda: '"ready": true' in up.get("/readyz"), "ready")
            theirs = vendor.result()
            enough = lambda: up.metric("ticktape_rows_total", hop="stored", table="ticks") >= TICKS  # noqa: E731
            up.wait_until(enough, "every tick stored")
            truth = opend.stop()
            up.stop()
    assert truth["tables"]["ticks"]["rows"] == TICKS
    stored = query_json(
        config,
        "SELECT source, symbol, toString(sequence) AS sequence, price, volume, turnover,"
        " toString(direction) AS direction, toString(toUnixTimestamp64Milli(ts_event)) AS ms FROM ticks",
    )
    assert {row["source"] for row in stored} == {sdk}
    ours = [
        (r["symbol"], r["sequence"], r["price"], r["volume"], r["turnover"], r["direction"], int(r["ms"]))
        for r in stored
    ]
    assert len(ours) == TICKS
    assert sorted(ours) == sorted(theirs)


def _sdk_ticks(sdk: str, mode: str, port: int, folder: Path) -> list[tuple[object, ...]]:
    """What the SDK saw, in the columns and units of `ticks`."""
    file = folder / "sdk.json"
    key_file = str(folder / "key.pem")
    run_sdk("tests.e2e.sdk_ticks", sdk, folder, str(port), mode, key_file, str(TICKS), str(file), *SYMBOLS)
    return [
        (
            tick["code"],
            str(tick["sequence"]),
            tick["price"],
            tick["volume"],
            tick["turnover"],
            _DIRECTIONS[tick["ticker_direction"]],
            _unix_ms(tick["code"], tick["time"]),
        )
        for tick in json.loads(file.read_text())
    ]


def _unix_ms(symbol: str, text: str) -> int:
    local = datetime.datetime.fromisoformat(text).replace(tzinfo=_ZONES[symbol.split(".")[0]])
    return round(local.timestamp() * 1000)
