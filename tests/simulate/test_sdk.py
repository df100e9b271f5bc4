"""The official SDKs accept the simulator: every call they make is answered as they expect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulate.sdk_session import HK_SYMBOL, US_SYMBOL
from tests.support.simulator import Simulator, opend_simulator

pytestmark = pytest.mark.sdk
RET_OK, RET_ERROR = 0, -1
SYMBOLS = 40
SESSION_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """One for both SDKs, at a rate that they can follow."""
    with opend_simulator("--symbols", SYMBOLS, "--rate", 300, "--seed", 3) as running:
        yield running


@pytest.fixture(scope="module", params=["futu", "moomoo"])
def seen(
    request: pytest.FixtureRequest, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What one SDK saw, call by call."""
    home: Path = tmp_path_factory.mktemp(request.param)
    environment = os.environ | {"HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
    command = [
        sys.executable,
        "-m",
        "tests.simulate.sdk_session",
        request.param,
        str(simulator.port),
        str(home / "seen.json"),
    ]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SESSION_TIMEOUT_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads((home / "seen.json").read_text())
    return result


def accepted(answer: list[Any]) -> Any:
    ret, value = answer
    assert ret == RET_OK, value
    return value


def refused(answer: list[Any]) -> str:
    ret, message = answer
    assert ret == RET_ERROR, message
    return str(message)


def test_it_connects_and_knows_the_state_of_the_markets(seen: dict[str, Any]) -> None:
    state = accepted(seen["global_state"])
    assert (state["market_hk"], state["market_us"]) == ("MORNING", "OVERNIGHT")
    assert state["qot_logined"] is True
    assert state["program_status_type"] == "READY"


def test_the_first_push_is_cached_and_then_ticks_come_as_they_happen(seen: dict[str, Any]) -> None:
    accepted(seen["subscribe"])
    for symbol in (HK_SYMBOL, US_SYMBOL):
        kinds = [tick["push_data_type"] for tick in seen["pushed"] if tick["code"] == symbol]
        cached = kinds.count("CACHE")
        assert cached == 10
        assert kinds == ["CACHE"] * cached + ["REALTIME"] * (len(kinds) - cached)
        assert len(kinds) > 2 * cached


def test_sequences_of_hong_kong_count_on(seen: dict[str, Any]) -> None:
    sequences = [tick["sequence"] for tick in seen["pushed"] if tick["code"] == HK_SYMBOL]
    low = [sequence & 0xFFFFFFFF for sequence in sequences]
    assert low == list(range(low[0], low[0] + len(low)))


@pytest.mark.parametrize(
    ("answer", "symbol", "name"), [("ticker_hk", HK_SYMBOL, "TENCENT"), ("ticker_us", US_SYMBOL, "Apple")]
)
def test_pulled_ticks_are_the_pushed_ones(seen: dict[str, Any], answer: str, symbol: str, name: str) -> None:
    pulled = accepted(seen[answer])
    pushed = {tick["sequence"]: tick for tick in seen["pushed"] if tick["code"] == symbol}
    common = [tick for tick in pulled if tick["sequence"] in pushed]
    assert len(common) > 20
    for tick in common:
        assert tick["name"] == name
        for column in ("time", "price", "volume", "turnover", "ticker_direction", "type"):
            assert tick[column] == pushed[tick["sequence"]][column]


def test_a_pull_without_a_subscription_is_an_error(seen: dict[str, Any]) -> None:
    assert "subscribe to TICKER of HK.00700 first" in refused(seen["unsubscribed_ticker"])
    assert "unknown stock HK.99999" in refused(seen["unknown_symbol"])


def test_unsubscribing_within_a_minute_is_an_error(seen: dict[str, Any]) -> None:
    assert "1 minute" in refused(seen["unsubscribe_early"])


def test_subscriptions_are_told(seen: dict[str, Any]) -> None:
    told = accepted(seen["subscription"])
    assert told["sub_list"] == {"TICKER": [HK_SYMBOL, US_SYMBOL]}
    assert told["own_used"] == 2
    assert told["remain"] == 2000 - told["total_used"]


def test_money_flows(seen: dict[str, Any]) -> None:
    lines = accepted(seen["capital_flow"])
    assert lines[0]["capital_flow_item_time"].endswith("09:30:00")
    assert lines[0]["main_in_flow"] == "N/A"
    days = accepted(seen["capital_flow_days"])
    assert len(days) > 300
    assert isinstance(days[0]["main_in_flow"], float)
    money = accepted(seen["capital_distribution"])[0]
    net = sum(money[f"capital_in_{size}"] - money[f"capital_out_{size}"] for size in ("super", "big", "mid", "small"))
    # The minute is still running: between the two calls it may have gone on.
    assert net == pytest.approx(lines[-1]["in_flow"], rel=0.8)


def test_ark_moves_basic_info_and_market_state(seen: dict[str, Any]) -> None:
    assert set(accepted(seen["ark"])) == {"dynamic_type", "transaction_count", "net_shares", "last_transaction_time"}
    info = accepted(seen["basicinfo"])[0]
    assert (info["code"], info["lot_size"], info["stock_type"], info["exchange_type"]) == (
        HK_SYMBOL,
        100,
        "STOCK",
        "HK_MAINBOARD",
    )
    states = {entry["code"]: entry["market_state"] for entry in accepted(seen["market_state"])}
    assert states == {HK_SYMBOL: "MORNING", US_SYMBOL: "OVERNIGHT"}
