"""A small market to look into."""

from __future__ import annotations

import numpy as np
import pytest

from ticktape.simulate.market import Market
from ticktape.simulate.opend_encode import REALTIME
from ticktape.simulate.opend_frames import Encoder
from ticktape.simulate.sessions import opening_us
from ticktape.simulate.symbols import list_symbols
from ticktape.simulate.tick_store import TickStore


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """Compile once: the first call would otherwise trip Hypothesis's deadline."""
    listings, one = list_symbols(1), np.array([1], np.int64)
    store = TickStore(listings, 1)
    spans = store.generate(one - 1, one, 0, 1)
    Encoder(listings, store.rings, 1).pushes(spans, REALTIME)


@pytest.fixture
def market() -> Market:
    """Eight symbols at 2,000 ticks a second on an ordinary day."""
    return Market(list_symbols(8), seed=1, start_us=opening_us("2026-11-20"), rate=2000)
