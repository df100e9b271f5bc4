"""Drives one official SDK against a simulator and writes what it saw as JSON.

Run as a process of its own: `python -m tests.simulate.sdk_session futu|moomoo KEY FILE MODE=PORT...`
(tests/support/sdk.py): one connection after another. An SDK's threads print to standard output at
any time, so the result goes to a file.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.sdk import open_context

HK_SYMBOL, US_SYMBOL = "HK.00700", "US.AAPL"
PUSHES_MIN = 60
"""Of each symbol, before the calls: cached ones and then some that came as they happened."""
PUSHES_WAIT_S = 30.0


def observe(sdk: Any, port: str, mode: str, key_file: str) -> dict[str, Any]:
    """What the SDK returns, call by call."""
    pushed: list[dict[str, Any]] = []
    lock = threading.Lock()

    class Handler(sdk.TickerHandlerBase):  # type: ignore[misc]
        def on_recv_rsp(self, response: Any) -> Any:
            ret, frame = super().on_recv_rsp(response)
            if ret == sdk.RET_OK:
                with lock:
                    pushed.extend(frame.to_dict("records"))
            return ret, frame

    context = open_context(sdk, port, mode, key_file)
    try:
        context.set_handler(Handler())
        seen: dict[str, Any] = {"global_state": context.get_global_state()}
        seen["unsubscribed_ticker"] = context.get_rt_ticker(HK_SYMBOL, 10)
        seen["unknown_symbol"] = context.subscribe(["HK.99999"], [sdk.SubType.TICKER])
        symbols = [HK_SYMBOL, US_SYMBOL]
        seen["subscribe"] = context.subscribe(symbols, [sdk.SubType.TICKER], session=sdk.Session.ALL)
        deadline_s = time.monotonic() + PUSHES_WAIT_S
        while time.monotonic() < deadline_s:
            time.sleep(0.1)
            with lock:
                codes = Counter(tick["code"] for tick in pushed)
            if min(codes[symbol] for symbol in symbols) >= PUSHES_MIN:
                break
        for name, symbol in (("ticker_hk", HK_SYMBOL), ("ticker_us", US_SYMBOL)):
            ret, frame = context.get_rt_ticker(symbol, 1000)
            seen[name] = (ret, frame.to_dict("records") if ret == sdk.RET_OK else frame)
        for name, method, arguments in (
            ("capital_flow", context.get_capital_flow, (HK_SYMBOL,)),
            ("capital_flow_days", context.get_capital_flow, (US_SYMBOL, sdk.PeriodType.DAY)),
            ("capital_distribution", context.get_capital_distribution, (HK_SYMBOL,)),
            ("basicinfo", context.get_stock_basicinfo, (sdk.Market.HK, sdk.SecurityType.STOCK, [HK_SYMBOL])),
            ("market_state", context.get_market_state, (symbols,)),
        ):
            ret, frame = method(*arguments)
            seen[name] = (ret, frame.to_dict("records") if ret == sdk.RET_OK else frame)
        seen["ark"] = context.get_ark_stock_dynamic(US_SYMBOL)
        seen["subscription"] = context.query_subscription()
        seen["unsubscribe_early"] = context.unsubscribe([HK_SYMBOL], [sdk.SubType.TICKER])
    finally:
        context.close()
    with lock:
        seen["pushed"] = list(pushed)
    return seen


if __name__ == "__main__":
    name, key_file, file, *wanted = sys.argv[1:]
    vendor = importlib.import_module(name)
    result = {mode: observe(vendor, port, mode, key_file) for mode, port in (each.split("=") for each in wanted)}
    Path(file).write_text(json.dumps(result, default=str))
