"""Manifests fit the Kubernetes schemas, and one another where no schema looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import (
    K8S,
    REPOSITORY,
    Installation,
    Manifest,
    containers_of,
    labels_of,
    pod_of,
)
from ticktape.settings.units import parse_bytes

KUBERNETES_VERSIONS = ("1.29", kubernetes_validate.latest_version())


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_fits_its_schema(installation: Installation, version: str) -> None:
    for manifest in installation.objects.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_notice_a_misspelt_key(installation: Installation) -> None:
    workload = installation.workloads[0]
    broken = workload | {"spec": workload["spec"] | {"replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, KUBERNETES_VERSIONS[0], strict=True)


@pytest.mark.parametrize("path", sorted(K8S.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_a_kustomization_lists_every_file_of_its_folder(path: Path) -> None:
    kustomization = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed = {
        *kustomization["resources"],
        *(patch["path"] for patch in kustomization.get("patches", ())),
        *(file for generator in kustomization["configMapGenerator"] for file in generator["files"]),
    }
    present = {file.name for file in path.parent.iterdir()} - {path.name}
    assert {name for name in listed if "/" not in name} == present
    assert all((path.parent / name).exists() for name in listed)


def test_mounts_and_volumes_match(installation: Installation) -> None:
    for workload in installation.workloads:
        volumes = {volume["name"] for volume in pod_of(workload).get("volumes", ())}
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
        mounts = {mount["name"] for container in containers_of(workload) for mount in container["volumeMounts"]}
        assert mounts == volumes | claims, workload["metadata"]["name"]
        for container in containers_of(workload):
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert len(paths) == len(set(paths))


def test_volumes_refer_to_config_maps_that_are_generated(installation: Installation) -> None:
    for workload in installation.workloads:
        named = {volume["configMap"]["name"] for volume in pod_of(workload)["volumes"] if "configMap" in volume}
        assert named == set(installation.config_maps)


def test_selectors_find_their_pods(installation: Installation) -> None:
    pods = [labels_of(workload) for workload in installation.workloads]
    for workload in installation.workloads:
        assert selects(workload["spec"]["selector"]["matchLabels"], labels_of(workload))
    own = [workload["spec"]["selector"]["matchLabels"] for workload in installation.workloads]
    assert all(sum(selects(selector, labels) for labels in pods) == 1 for selector in own), (
        "a selector of two workloads"
    )
    budgets = [budget["spec"]["selector"]["matchLabels"] for budget in installation.of_kind("PodDisruptionBudget")]
    assert sorted(budgets, key=str) == sorted(own, key=str)


def test_services_reach_ports_that_their_pods_open(installation: Installation) -> None:
    for service in installation.of_kind("Service"):
        selected = [w for w in installation.workloads if selects(service["spec"]["selector"], labels_of(w))]
        assert selected, service["metadata"]["name"]
        for workload in selected:
            opened = dict(ports_of(workload))
            for port in service["spec"]["ports"]:
                assert opened[port["targetPort"]] == port["port"]


def test_the_stateful_set_has_its_headless_service(installation: Installation) -> None:
    service = installation.objects["Service", installation.ingest["spec"]["serviceName"]]
    assert service["spec"]["clusterIP"] == "None"
    assert selects(service["spec"]["selector"], labels_of(installation.ingest))


def test_probes_ask_what_the_daemons_serve(installation: Installation) -> None:
    listen = installation.config["http"]["probes_listen"]
    host, _, port = listen.rpartition(":")
    assert host == "0.0.0.0", "the kubelet does not come over loopback"
    for workload in installation.workloads:
        (daemon,) = pod_of(workload)["containers"]
        assert dict(ports_of(workload)) == {"probes": int(port)}
        asked = {name: daemon[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {get["port"] for get in asked.values()} == {"probes"}
        assert {name: get["path"] for name, get in asked.items()} == {
            "startupProbe": "/livez",
            "livenessProbe": "/livez",
            "readinessProbe": "/readyz",
        }


def test_containers_are_confined(installation: Installation) -> None:
    for workload in installation.workloads:
        pod = pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in containers_of(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_service_links_are_off(installation: Installation) -> None:
    """They would set TICKTAPE_METRICS_SERVICE_HOST and the like, among variables that mean configuration."""
    assert all(pod_of(workload)["enableServiceLinks"] is False for workload in installation.workloads)


def test_a_pod_has_time_to_drain(installation: Installation) -> None:
    drain_s_max = 10
    assert all(pod_of(w)["terminationGracePeriodSeconds"] > drain_s_max for w in installation.workloads)


def test_the_journal_fits_its_volume(installation: Installation) -> None:
    journal = installation.config["journal"]
    (claim,) = installation.ingest["spec"]["volumeClaimTemplates"]
    (daemon,) = pod_of(installation.ingest)["containers"]
    (mount,) = (mount for mount in daemon["volumeMounts"] if mount["name"] == claim["metadata"]["name"])
    assert PurePosixPath(mount["mountPath"]) in PurePosixPath(journal["path"]).parents
    volume_bytes = parse_bytes(claim["spec"]["resources"]["requests"]["storage"] + "B")  # 30Gi is our 30GiB
    assert parse_bytes(journal["max_bytes"]) + parse_bytes(journal["min_free_bytes"]) <= volume_bytes
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_every_gateway_belongs_to_one_pod(installation: Installation) -> None:
    workers = [gateway.get("worker") for gateway in installation.config["gateway"]]
    assert set(workers) == set(installation.ingest_pods)


def test_all_containers_run_one_image(installation: Installation) -> None:
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    images = {container["image"] for workload in installation.workloads for container in containers_of(workload)}
    (image,) = images
    name, _, tag = image.partition(":")
    assert f'version = "{tag}"' in pyproject
    assert all(base == name and new.endswith(f"/{image}") for base, new in installation.images.items())


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def ports_of(workload: Manifest) -> Iterator[tuple[Any, int]]:
    for container in containers_of(workload):
        for port in container.get("ports", ()):
            yield port["name"], port["containerPort"]
