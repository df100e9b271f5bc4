"""After `warm`, nothing that the product does compiles anything."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher as Dispatcher

from codec.bits import JIT_DISABLED, PAD_BYTES
from codec.clock import MarketClock
from codec.columns import TickBuffer
from codec.encode import TickEncoder
from codec.markets import HK, US
from codec.opend.decoder import OpenDDecoder
from codec.opend.protocol import ProtoId, pack_frame
from codec.symbols import SymbolTable
from codec.warm import warm
from codec.window import SequenceWindow
from tests.vectors import frame_vectors, tick_samples

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="there is nothing to compile")


def signatures() -> dict[str, int]:
    """How many types of arguments each kernel of ours is ready for: compiled, or loaded from the cache."""
    return {
        f"{name}.{kernel.py_func.__name__}": len(kernel.overloads)
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] == "codec"
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
    }


def test_nothing_is_compiled_after_warm() -> None:
    """Receive buffers as sockets fill them: writable, from a bytearray or made by numpy, of any length."""
    warm()
    pull = b"".join(
        pack_frame(ProtoId.GET_TICKER, 1, sample.message().SerializeToString()) for sample in tick_samples()
    )
    stream = pull + b"".join(vector.frame for vector in frame_vectors()) + pull[:-1] + b"XX"
    buffers = [
        np.frombuffer(bytearray(stream + bytes(PAD_BYTES)), np.uint8),
        np.concatenate([np.frombuffer(stream, np.uint8), np.zeros(PAD_BYTES, np.uint8)]),
    ]
    before = signatures()
    symbols = SymbolTable(12)
    symbols.id_of(HK, "700")
    decoder = OpenDDecoder(symbols, MarketClock(), gateway_id=1)
    window, encoder = SequenceWindow(symbols), TickEncoder("futu", symbols, ["a", "b"])
    ticks = TickBuffer()
    for source in buffers:
        decoded = decoder.decode(source, 0, len(stream), 1_795_138_200_123_456_789, ticks)
        decoder.decode(source, decoded.consumed, len(stream), 2**62, ticks)
    assert ticks.rows == 2 * (9 + 1 + 6)
    symbols.canonicalize(ticks.narrow[0, : ticks.rows])
    verdict = window.test(ticks)
    assert encoder.encode(ticks, verdict.fresh, verdict.ordinals, verdict.fresh_rows)
    window.mark(ticks, verdict)
    window.mark_journaled(ticks, verdict.ordinals)
    other = SequenceWindow(SymbolTable(1))
    other.restore(window.export())
    symbols.id_of(US, "NEW")
    assert signatures() == before
    assert sum(before.values()) >= 6


def test_a_second_call_changes_nothing() -> None:
    before = signatures()
    warm()
    assert signatures() == before
