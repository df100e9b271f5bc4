"""The metrics bear the contract's names and labels, whatever the hops count."""

from __future__ import annotations

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from codec.histogram import LatencyHistogram
from ticktape.metrics import Exposition, Metrics, Sample

CONTRACT = {
    "ticktape_rows_total": {"hop", "table"},
    "ticktape_lag_rows": {"hop"},
    "ticktape_lag_seconds": {"hop"},
    "ticktape_latency_seconds": {"hop"},
    "ticktape_gateway_up": {"gateway"},
    "ticktape_gateway_logged_in": {"gateway"},
    "ticktape_requests_total": {"gateway", "call", "outcome"},
    "ticktape_quota_used_ratio": {"gateway", "call"},
    "ticktape_gaps": {"state"},
    "ticktape_dead_letters_total": {"feed", "reason"},
    "ticktape_sequence_conflicts_total": {"gateway"},
    "ticktape_journal_bytes": set(),
    "ticktape_build_info": {"version", "python"},
}


def test_names_and_labels_are_those_of_the_contract() -> None:
    declared = {
        metric.value.name + ("_total" if metric.value.kind == "counter" else ""): set(metric.value.labels)
        for metric in Metrics
    }
    assert declared == CONTRACT
    assert all(metric.value.meaning.endswith(".") for metric in Metrics)


def test_the_exposition_holds_every_sample() -> None:
    latency = LatencyHistogram()
    latency.observe_ns(np.array([1_000_000, 20_000_000, 3_000_000_000_000]))

    def read() -> list[Sample]:
        return [
            (metric, tuple("x" for _ in metric.value.labels), latency if metric is Metrics.LATENCY else 3.0)
            for metric in Metrics
            if metric is not Metrics.BUILD_INFO
        ]

    families = {family.name: family for family in text_string_to_metric_families(Exposition(read).text().decode())}
    samples = {sample.name: sample for family in families.values() for sample in family.samples}
    for name, labels in CONTRACT.items():
        if name != "ticktape_latency_seconds":
            assert set(samples[name].labels) == labels
    buckets = [s for s in families["ticktape_latency_seconds"].samples if s.name.endswith("_bucket")]
    values = [bucket.value for bucket in buckets]
    assert values == sorted(values)
    assert buckets[-1].labels == {"hop": "x", "le": "+Inf"}
    assert values[-1] == samples["ticktape_latency_seconds_count"].value == 3
    assert values[-2] == 2
    assert samples["ticktape_latency_seconds_sum"].value == latency.sum_s


def test_hops_are_asked_only_when_prometheus_asks() -> None:
    asked = []

    def read() -> list[Sample]:
        asked.append(1)
        return []

    exposition = Exposition(read)
    assert asked == []
    exposition.text()
    assert len(asked) == 1
