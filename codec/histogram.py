"""Latencies counted in logarithmic buckets, without a Python step per row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BUCKETS_PER_DECADE = 12
_FIRST_S, _DECADES = 1e-4, 7
"""From 100 µs to 1,000 s: neighbouring bounds differ by 21 %, which is the error of a quantile."""


class LatencyHistogram:
    """How long rows took between two named points.

    Attributes
    ----------
    bounds_s : (n,) upper bounds of the buckets, seconds, ascending; one more bucket is above them
    counts : (n + 1,) rows counted in each bucket
    sum_s : total of all observed latencies, seconds
    """

    def __init__(self) -> None:
        steps = np.arange(_BUCKETS_PER_DECADE * _DECADES + 1)
        self.bounds_s: NDArray[np.float64] = _FIRST_S * 10.0 ** (steps / _BUCKETS_PER_DECADE)
        self.counts: NDArray[np.int64] = np.zeros(len(steps) + 1, np.int64)
        self.sum_s = 0.0

    def observe_ns(self, latencies_ns: NDArray[np.int64]) -> None:
        """Count each of `latencies_ns`; a negative one (a clock set back) counts as 0."""
        latencies_s = np.maximum(latencies_ns, 0) * 1e-9
        places = np.searchsorted(self.bounds_s, latencies_s)
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.sum_s += float(latencies_s.sum())

    def quantile_s(self, quantile: float) -> float | None:
        """The upper bound of the bucket that holds `quantile`, or None when nothing was counted."""
        total = int(self.counts.sum())
        if total == 0:
            return None
        place = int(np.searchsorted(np.cumsum(self.counts), quantile * total))
        return float(self.bounds_s[min(place, len(self.bounds_s) - 1)])
