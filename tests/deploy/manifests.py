"""Reads k8s/ as kustomize would, for the few of its rules that are used there.

Anything else in a kustomization.yaml is an error here, so that these tests never judge a picture
that differs from what a cluster gets.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
K8S = REPOSITORY / "k8s"

Manifest = dict[str, Any]

_PLAIN_KEYS = {"apiVersion", "kind"}
_READ_KEYS = {"resources", "patches", "images", "namespace", "configMapGenerator"}


@dataclass(frozen=True, slots=True)
class Installation:
    """What one kustomization.yaml puts on a cluster, before names get their hash."""

    folder: Path
    objects: dict[tuple[str, str], Manifest]
    """By (kind, name)."""
    config_maps: dict[str, dict[str, str]]
    """Of each generated ConfigMap: its files by name."""
    images: dict[str, str]
    """What takes the place of each image name of the base."""

    def of_kind(self, *kinds: str) -> list[Manifest]:
        return [manifest for (kind, _), manifest in self.objects.items() if kind in kinds]

    @property
    def workloads(self) -> list[Manifest]:
        return self.of_kind("StatefulSet", "Deployment")

    @property
    def ingest(self) -> Manifest:
        return self.objects["StatefulSet", "ticktape-ingest"]

    @property
    def config_text(self) -> str:
        return self.config_maps["ticktape-config"]["ticktape.toml"]

    @property
    def config(self) -> dict[str, Any]:
        return tomllib.loads(self.config_text)

    @property
    def ingest_pods(self) -> list[str]:
        """The pods of the StatefulSet: each is a worker of that name."""
        return [f"{self.ingest['metadata']['name']}-{ordinal}" for ordinal in range(self.ingest["spec"]["replicas"])]


def load_installation(folder: Path) -> Installation:
    """Read the kustomization of `folder` and everything that it refers to."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    unread = kustomization.keys() - _PLAIN_KEYS - _READ_KEYS
    assert not unread, f"{folder}: these tests do not know {unread}"
    installation = Installation(folder, {}, {}, {})
    for resource in kustomization["resources"]:
        path = (folder / resource).resolve()
        if path.is_dir():
            base = load_installation(path)
            installation.objects.update(base.objects)
            installation.config_maps.update(base.config_maps)
        else:
            installation.objects.update({key_of(manifest): manifest for manifest in load_manifests(path)})
    for generator in kustomization.get("configMapGenerator", ()):
        _generate(installation, folder, generator)
    for patch in kustomization.get("patches", ()):
        assert set(patch) == {"path"}, patch
        for change in load_manifests(folder / patch["path"]):
            installation.objects[key_of(change)] = merged(installation.objects[key_of(change)], change)
    for image in kustomization.get("images", ()):
        installation.images[image["name"]] = f"{image['newName']}:{image['newTag']}"
    return installation


def load_manifests(path: Path) -> list[Manifest]:
    """The documents of one YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def key_of(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def merged(manifest: Manifest, change: Manifest) -> Manifest:
    """`manifest` with a strategic merge patch: mappings merge, a StatefulSet's volumeClaimTemplates are replaced."""
    result = dict(manifest)
    for key, value in change.items():
        if isinstance(value, dict):
            result[key] = merged(manifest.get(key, {}), value)
        else:
            assert not isinstance(value, list) or key == "volumeClaimTemplates", (
                f"{key}: lists merge by their own rules"
            )
            result[key] = value
    return result


def pod_of(workload: Manifest) -> Manifest:
    """The pod's spec."""
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def containers_of(workload: Manifest) -> Iterator[Manifest]:
    """Every container, those of the start first."""
    pod = pod_of(workload)
    yield from (*pod.get("initContainers", ()), *pod["containers"])


def labels_of(workload: Manifest) -> dict[str, str]:
    """The labels that its pods carry."""
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def _generate(installation: Installation, folder: Path, generator: dict[str, Any]) -> None:
    assert set(generator) <= {"name", "files", "behavior"}, generator
    name = generator["name"]
    expected = "replace" if name in installation.config_maps else "create"
    assert generator.get("behavior", "create") == expected, f"{folder}: ConfigMap {name} needs behavior {expected}"
    installation.config_maps[name] = {file: (folder / file).read_text(encoding="utf-8") for file in generator["files"]}
