"""Compile every kernel, or load it from the cache: `python -m codec.warm`.

The first call of a kernel compiles it for the types of its arguments, which takes seconds. Programs
call `warm` before they connect, an image is built with its result inside. It goes through the same
classes as they do, so that the types are theirs.
"""

from __future__ import annotations

import numpy as np

from codec.bits import PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.encode import TickEncoder
from codec.markets import HK
from codec.opend.decoder import OpenDDecoder
from codec.symbols import SymbolTable
from codec.window import SequenceWindow


def warm() -> None:
    """Return once every kernel can be called without compiling it: at once when that is so already."""
    symbols = SymbolTable(partition_count=1)
    symbols.id_of(HK, "00700")
    ticks = TickBuffer(capacity=1)
    OpenDDecoder(symbols, MarketClock()).decode(np.zeros(PAD_BYTES, np.uint8), 0, 0, 0, ticks)
    ticks.rows = 1  # a row of zeros: types matter here, values do not
    window = SequenceWindow(symbols)
    verdict = window.test(ticks)
    window.mark(ticks, verdict)
    TickEncoder("", symbols, [""]).encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows)


if __name__ == "__main__":
    warm()
