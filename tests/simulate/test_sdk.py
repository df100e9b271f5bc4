"""The official SDKs accept the simulator in every mode they know: each call is answered as they expect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.simulate.sdk_session import HK_SYMBOL, US_SYMBOL
from tests.support.keys import rsa_pem
from tests.support.sdk import MODES, aes_of, run_sdk, simulator_options
from tests.support.simulator import Simulator, opend_simulator

pytestmark = pytest.mark.sdk
RET_OK, RET_ERROR = 0, -1
SYMBOLS = 40
SDKS = ("futu", "moomoo")
RUNS = [(sdk, mode) for sdk in SDKS for mode in MODES]
SERVED = ("plain", "cbc", "ecb")
"""Those that need a simulator of their own: any of them answers JSON in JSON."""


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[tuple[str, str], dict[str, Any]]]:
    """What each SDK saw in each mode, call by call; simulators at a rate that an SDK can follow."""
    folder = tmp_path_factory.mktemp("sdk")
    key_file = folder / "key.pem"
    key_file.write_bytes(rsa_pem())

    def observed(sdk: str) -> dict[str, dict[str, Any]]:
        home = folder / sdk
        home.mkdir()
        modes = [f"{mode}={simulators[aes_of(mode)].port}" for of_sdk, mode in RUNS if of_sdk == sdk]
        run_sdk("tests.simulate.sdk_session", sdk, home, str(key_file), str(home / "seen.json"), *modes)
        seen: dict[str, dict[str, Any]] = json.loads((home / "seen.json").read_text())
        return seen

    with ExitStack() as stack, ThreadPoolExecutor(3) as threads:

        def start(mode: str) -> Simulator:
            options = ("--symbols", SYMBOLS, "--rate", 300, "--seed", 3)
            return stack.enter_context(opend_simulator(*options, *simulator_options(mode, key_file)))

        simulators = dict(zip(map(aes_of, SERVED), threads.map(start, SERVED), strict=True))
        seen = dict(zip(SDKS, threads.map(observed, SDKS), strict=True))
        yield {(sdk, mode): seen[sdk][mode] for sdk, mode in RUNS}


@pytest.fixture(params=RUNS, ids=" ".join)
def seen(request: pytest.FixtureRequest, sessions: Mapping[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    """What one SDK saw in one mode."""
    return sessions[request.param]


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
