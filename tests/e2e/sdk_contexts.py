"""Keeps several connections of an official SDK and tells which ticks each handed on, as JSON.

Run as a process of its own: `python -m tests.e2e.sdk_contexts futu KEY FILE NAME=PORT...`; it ends, by
force because some connections may be past ending, when its standard input does. The handler of the
connection called `slow` takes its time.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.sdk import open_context

SYMBOL = "HK.00700"
SLOW_S = 0.2


def watch(sdk: Any, name: str, port: str, key_file: str) -> list[int]:
    """Connect, subscribe, and return the list that the sequences of pushes go into, one entry a push."""
    seen: list[int] = []

    class Handler(sdk.TickerHandlerBase):  # type: ignore[misc]
        def on_recv_rsp(self, response: Any) -> Any:
            ret, frame = super().on_recv_rsp(response)
            if ret == sdk.RET_OK:
                seen.append(int(frame["sequence"].iloc[0]))
                if name == "slow":
                    time.sleep(SLOW_S)
            return ret, frame

    context = open_context(sdk, port, "plain", key_file)
    context.set_handler(Handler())
    ret, message = context.subscribe([SYMBOL], [sdk.SubType.TICKER], is_first_push=False)
    assert ret == sdk.RET_OK, message
    return seen


if __name__ == "__main__":
    vendor_name, key, file, *wanted = sys.argv[1:]
    vendor = importlib.import_module(vendor_name)
    seen = {name: watch(vendor, name, port, key) for name, port in (each.split("=") for each in wanted)}
    sys.stdin.read()
    Path(file).write_text(json.dumps(seen))
    os._exit(0)
