"""Every metric, declared once: its name, kind, labels and meaning (contract: Metrics).

Rule 1: never a symbol label, never an account.
Rule 2: hops count in plain attributes; they are read here, when Prometheus asks, and nowhere else.
"""

from __future__ import annotations

import enum
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from codec.histogram import LatencyHistogram

_BOUNDS_STEP = 3
"""Of a histogram's bounds every third is shown: 4 a decade."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A metric before it has values. A counter's name is without `_total`, which the format adds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


class Metrics(enum.Enum):
    """All of them."""

    ROWS = Declaration(
        "ticktape_rows",
        "counter",
        ("hop", "table"),
        "Rows that passed a hop: received, repeat, journaled, published, stored.",
    )
    LAG_ROWS = Declaration(
        "ticktape_lag_rows", "gauge", ("hop",),
        "Rows waiting: journal = journaled, not acknowledged by the next hop; kafka = in Kafka, not stored; "
        "clickhouse = fetched, not acknowledged. All 0 = drained.",
    )  # fmt: skip
    LAG_SECONDS = Declaration(
        "ticktape_lag_seconds", "gauge", ("hop",), "Age of the oldest row that waits behind a hop."
    )
    LATENCY = Declaration(
        "ticktape_latency_seconds", "histogram", ("hop",), "From our socket to durable in a hop, a row each."
    )
    GATEWAY_UP = Declaration("ticktape_gateway_up", "gauge", ("gateway",), "1 while the gateway's session streams.")
    GATEWAY_LOGGED_IN = Declaration(
        "ticktape_gateway_logged_in", "gauge", ("gateway",), "1 while the gateway says that it is logged in to quotes."
    )
    REQUESTS = Declaration(
        "ticktape_requests", "counter", ("gateway", "call", "outcome"), "Requests sent, by call and how they ended."
    )
    QUOTA_USED = Declaration(
        "ticktape_quota_used_ratio", "gauge", ("gateway", "call"), "Share of a call's quota that is used in its window."
    )
    GAPS = Declaration("ticktape_gaps", "gauge", ("state",), "Rows of the loss ledger.")
    DEAD_LETTERS = Declaration(
        "ticktape_dead_letters", "counter", ("feed", "reason"), "What could not be decoded or stored."
    )
    SEQUENCE_CONFLICTS = Declaration(
        "ticktape_sequence_conflicts",
        "counter",
        ("gateway",),
        "Ticks with the sequence of an earlier one and another content.",
    )
    JOURNAL_BYTES = Declaration("ticktape_journal_bytes", "gauge", (), "Size of the journal's segments.")
    BUILD_INFO = Declaration("ticktape_build_info", "gauge", ("version", "python"), "1; its labels say what runs.")


Sample = tuple[Metrics, tuple[str, ...], float | LatencyHistogram]
"""(metric, a value for each of its labels, what it counts now)."""

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class _HopCollector(Collector):
    """Asks the hops when Prometheus asks us. Every metric is declared, also those that no hop of ours has."""

    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Family]:
        families = {metric: _family(metric.value) for metric in Metrics}
        numbers: dict[tuple[Metrics, tuple[str, ...]], float] = {}
        for metric, labels, value in (*self._read(), _build_info()):
            assert len(labels) == len(metric.value.labels), f"{metric.value.name}: {labels}"
            family = families[metric]
            if isinstance(value, LatencyHistogram):
                assert isinstance(family, HistogramMetricFamily)
                family.add_metric(labels, _buckets(value), value.sum_s)
            else:
                # Two hops may count the same thing: dead letters of one reason.
                numbers[metric, labels] = numbers.get((metric, labels), 0.0) + value
        for (metric, labels), number in numbers.items():
            family = families[metric]
            assert not isinstance(family, HistogramMetricFamily)
            family.add_metric(labels, number)
        yield from families.values()

    def describe(self) -> Iterator[Family]:
        return iter(())  # spares the registry a first reading, before the hops are there


def _family(declaration: Declaration) -> Family:
    families = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    family: Family = families[declaration.kind](declaration.name, declaration.meaning, labels=declaration.labels)
    return family


def _buckets(histogram: LatencyHistogram) -> list[tuple[str, float]]:
    """(upper bound in seconds, rows up to it) of each bucket shown; the last one is without bound."""
    up_to = np.cumsum(histogram.counts)
    shown = range(0, len(histogram.bounds_s), _BOUNDS_STEP)
    return [(f"{histogram.bounds_s[i]:.4g}", float(up_to[i])) for i in shown] + [("+Inf", float(up_to[-1]))]


def _build_info() -> Sample:
    return Metrics.BUILD_INFO, (version("ticktape"), platform.python_version()), 1.0


class Exposition:
    """`/metrics` of one process: what `read` yields, and what the system says of the process itself."""

    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_HopCollector(read))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)
