"""Push and pull frames of the simulated OpenD, made many at a time and handed out by symbol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bits import PAD_BYTES
from codec.clock import ZONE, MarketClock
from codec.opend.protocol import ProtoId
from protos.opend import common_pb2
from ticktape.simulate.opend_encode import (
    FRAME_OVERHEAD_BYTES_MAX,
    PULLED,
    TICK_BYTES_MAX,
    Labels,
    encode_frames,
)
from ticktape.simulate.symbols import Listing
from ticktape.simulate.tick_kernel import RING_TICKS, Rings
from ticktape.simulate.tick_store import Spans


@dataclass(frozen=True, slots=True)
class Frames:
    """Encoded frames, symbol after symbol.

    Attributes
    ----------
    data : (n_bytes,) uint8
    symbol : (n_spans,) int64, the symbol of each span
    span_at : (n_spans + 1,) int64, where each span's frames begin; the last is the end
    frame_at : (n_frames + 1,) int64, where each frame begins; the last is the end
    """

    data: NDArray[np.uint8]
    symbol: NDArray[np.int64]
    span_at: NDArray[np.int64]
    frame_at: NDArray[np.int64]

    def of(self, wanted: NDArray[np.bool_]) -> bytes:
        """The frames of the symbols whose entry in `wanted`, (n_symbols,), is true."""
        keep = wanted[self.symbol]
        if keep.all():
            return self.data.tobytes()
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
        view = self.data.data
        return b"".join(
            view[begin:end] for begin, end in zip(self.span_at[edges[::2]], self.span_at[edges[1::2]], strict=True)
        )


class Encoder:
    """Owns what the kernel needs beside the ticks: constant bytes, zones, the push serial."""

    def __init__(self, listings: Sequence[Listing], rings: Rings, ticks_per_push_max: int) -> None:
        self._rings = rings
        self._clock = MarketClock()
        self._ticks_per_push_max = ticks_per_push_max
        self._labels = self._make_labels(listings)
        self._label_bytes_max = self._labels.security.shape[1] + self._labels.name.shape[1]
        self._serial = 0

    def pushes(self, spans: Spans, delivery: int) -> Frames:
        """Push frames of at most `ticks_per_push_max` ticks each."""
        frames = self._encode(spans, ProtoId.UPDATE_TICKER, self._serial, delivery, self._ticks_per_push_max)
        self._serial = (self._serial + len(frames.frame_at) - 1) & 0xFFFFFFFF
        return frames

    def reply(self, spans: Spans, serial: int) -> bytes:
        """The reply to a pull: one span, one frame; a span of 0 ticks is an empty list."""
        assert len(spans) == 1
        frames = self._encode(spans, ProtoId.GET_TICKER, serial, PULLED, RING_TICKS)
        return frames.data.tobytes()

    def _encode(self, spans: Spans, proto_id: int, serial: int, delivery: int, ticks_max: int) -> Frames:
        frame_count = int(np.maximum(-(-spans.count // ticks_max), 1).sum())
        frame_bytes_max = FRAME_OVERHEAD_BYTES_MAX + self._label_bytes_max
        out = np.empty(frame_count * frame_bytes_max + spans.ticks * TICK_BYTES_MAX + PAD_BYTES, np.uint8)
        span_at, frame_at = np.empty(len(spans) + 1, np.int64), np.empty(frame_count + 1, np.int64)
        size = encode_frames(
            spans.symbol,
            spans.first,
            spans.count,
            ticks_max,
            int(proto_id),
            serial,
            delivery,
            self._rings,
            self._labels,
            self._clock.changes,
            self._clock.cached,
            out,
            span_at,
            frame_at,
        )
        span_at[-1] = frame_at[-1] = size
        return Frames(out[:size], spans.symbol, span_at, frame_at)

    def _make_labels(self, listings: Sequence[Listing]) -> Labels:
        securities, names = [], []
        for listing in listings:
            security = common_pb2.Security(market=listing.market, code=listing.code).SerializeToString()
            name = listing.name.encode()
            assert max(len(security), len(name)) < 128
            securities.append(bytes([0x0A, len(security)]) + security)
            names.append(bytes([0x1A, len(name)]) + name)
        zones = [int(self._clock.markets[listing.market, ZONE]) for listing in listings]
        return Labels(
            *_padded(securities),
            *_padded(names),
            np.array(zones, np.int64),
            np.array([listing.with_millis for listing in listings]),
        )


def _padded(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as rows of one array, and the bytes used in each."""
    width = max(map(len, texts))
    rows = np.frombuffer(b"".join(text.ljust(width, b"\0") for text in texts), np.uint8).reshape(len(texts), width)
    return rows, np.array([len(text) for text in texts], np.int64)
