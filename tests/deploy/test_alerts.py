"""Alerts speak of metrics that exist, with labels that they have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.deploy.manifests import K8S, load_installation, load_manifests
from ticktape.metrics import Metrics
from ticktape.settings.units import parse_bytes

(_RULE,) = load_manifests(K8S / "alerts.yaml")
ALERTS: list[dict[str, Any]] = [rule for group in _RULE["spec"]["groups"] for rule in group["rules"]]

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


def exposed_names() -> dict[str, set[str]]:
    """The labels of each series, by its name as Prometheus sees it."""
    names: dict[str, set[str]] = {}
    for metric in Metrics:
        declaration = metric.value
        suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
        for suffix in suffixes[declaration.kind]:
            names[declaration.name + suffix] = {*declaration.labels, *(("le",) if suffix == "_bucket" else ())}
    return names


def series_of(alert: dict[str, Any]) -> dict[str, set[str]]:
    """(name, labels asked for) of each series in an alert's expression."""
    found: dict[str, set[str]] = {}
    for name, matchers in re.findall(r"\b(ticktape_\w+)(?:\{([^}]*)\})?", alert["expr"]):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*=", matchers))
    return found


def test_the_kind_is_the_operators() -> None:
    assert (_RULE["apiVersion"], _RULE["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)


@each_alert
def test_an_alert_asks_for_declared_metrics(alert: dict[str, Any]) -> None:
    declared = exposed_names()
    asked = series_of(alert)
    assert asked
    for name, labels in asked.items():
        assert name in declared, f"{name} is not in ticktape/metrics.py"
        assert labels <= declared[name], f"{name} has no label {labels - declared[name]}"


@each_alert
def test_an_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any]) -> None:
    assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert set(alert["annotations"]) == {"summary", "action"}
    known = {label for name in series_of(alert) for label in exposed_names()[name]}
    for text in alert["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= known


def test_the_journals_alarm_is_at_four_fifths_of_its_limit() -> None:
    (alert,) = (alert for alert in ALERTS if alert["alert"] == "TicktapeJournalFilling")
    bytes_max = parse_bytes(load_installation(K8S / "base").config["journal"]["max_bytes"])
    assert alert["expr"] == f"ticktape_journal_bytes > {bytes_max * 4 // 5}"
