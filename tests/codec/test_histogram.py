"""The latency histogram against sorted values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.histogram import LatencyHistogram
from tests.codec.examples import examples


@examples(200)
@given(
    batches=st.lists(st.lists(st.integers(0, 900 * 10**9), max_size=30), min_size=1, max_size=4),
    quantile=st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]),
)
def test_a_quantile_is_the_bound_above_the_true_one(batches: list[list[int]], quantile: float) -> None:
    histogram = LatencyHistogram()
    for batch in batches:
        histogram.observe_ns(np.array(batch, np.int64))
    values_s = sorted(latency_ns * 1e-9 for batch in batches for latency_ns in batch)
    assert int(histogram.counts.sum()) == len(values_s)
    assert histogram.sum_s == pytest.approx(sum(values_s))
    if not values_s:
        assert histogram.quantile_s(quantile) is None
        return
    true_s = values_s[max(0, int(np.ceil(quantile * len(values_s))) - 1)]
    found_s = histogram.quantile_s(quantile)
    assert found_s is not None
    assert true_s <= found_s <= max(true_s * 1.22, histogram.bounds_s[0])


def test_a_clock_set_back_counts_as_no_latency() -> None:
    histogram = LatencyHistogram()
    histogram.observe_ns(np.array([-5, -(2**62)], np.int64))
    assert (histogram.counts[0], histogram.sum_s) == (2, 0.0)


def test_what_is_above_the_last_bound_is_counted_there() -> None:
    histogram = LatencyHistogram()
    histogram.observe_ns(np.array([10**13], np.int64))
    assert histogram.counts[-1] == 1
    assert histogram.quantile_s(0.5) == histogram.bounds_s[-1]
