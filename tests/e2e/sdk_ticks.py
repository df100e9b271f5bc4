"""Collects the ticks of some symbols with an official SDK, pushes and a last pull, as JSON.

Run as a process of its own: `python -m tests.e2e.sdk_ticks futu|moomoo PORT MODE KEY TICKS FILE SYMBOL...`
(tests/support/sdk.py); it ends when it has seen TICKS different ticks.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.sdk import open_context

WAIT_S_MAX = 60.0


def collect(context: Any, sdk: Any, wanted: int, symbols: list[str]) -> list[dict[str, Any]]:
    """Every tick that the SDK handed on, each once."""
    seen: dict[tuple[str, int], dict[str, Any]] = {}
    lock = threading.Lock()

    def keep(frame: Any) -> None:
        with lock:
            for tick in frame.to_dict("records"):
                seen[tick["code"], tick["sequence"]] = tick

    class Handler(sdk.TickerHandlerBase):  # type: ignore[misc]
        def on_recv_rsp(self, response: Any) -> Any:
            ret, frame = super().on_recv_rsp(response)
            if ret == sdk.RET_OK:
                keep(frame)
            return ret, frame

    try:
        context.set_handler(Handler())
        ret, message = context.subscribe(symbols, [sdk.SubType.TICKER], session=sdk.Session.ALL)
        assert ret == sdk.RET_OK, message
        deadline_s = time.monotonic() + WAIT_S_MAX
        while len(seen) < wanted and time.monotonic() < deadline_s:
            time.sleep(0.5)
            for symbol in symbols:
                ret, frame = context.get_rt_ticker(symbol, 1000)
                assert ret == sdk.RET_OK, frame
                keep(frame)
    finally:
        context.close()
    return list(seen.values())


if __name__ == "__main__":
    name, port, mode, key_file, wanted, file, *symbols = sys.argv[1:]
    vendor = importlib.import_module(name)
    ticks = collect(open_context(vendor, port, mode, key_file), vendor, int(wanted), symbols)
    Path(file).write_text(json.dumps(ticks, default=str))
