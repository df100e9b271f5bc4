"""The program itself accepts what the manifests give it: file, environment and secrets of each pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.deploy.manifests import Installation, Manifest, containers_of, pod_of
from ticktape.settings import OpenDSettings, Settings, load_settings


def test_every_pod_can_load_its_settings(installation: Installation, tmp_path: Path) -> None:
    for workload in installation.workloads:
        settings = settings_of(workload, installation, tmp_path)
        assert settings.kafka is not None, "daemons in separate pods meet in Kafka"
        assert settings.clickhouse.folder is None
        assert settings.http.listen.is_loopback


def test_a_worker_is_named_after_its_pod(installation: Installation, tmp_path: Path) -> None:
    settings = settings_of(installation.ingest, installation, tmp_path)
    assert settings.worker.name == installation.ingest_pods[0]


def test_no_password_stands_in_a_manifest(installation: Installation) -> None:
    assert not installation.of_kind("Secret")
    for workload in installation.workloads:
        for container in containers_of(workload):
            assert all(
                "valueFrom" in variable for variable in container.get("env", ()) if "PASSWORD" in variable["name"]
            )


def test_each_pod_has_every_secret_that_the_file_names(installation: Installation) -> None:
    named = {value for key, value in leaves(installation.config) if key.endswith("_file")}
    for workload in installation.workloads:
        assert named == set(secret_files(workload))


def test_the_environment_reaches_gateways(installation: Installation, tmp_path: Path) -> None:
    """So a patch can move one endpoint without replacing the file."""
    first = installation.config["gateway"][0]
    variable = f"TICKTAPE_GATEWAY__{first['name'].replace('-', '_').upper()}__URL"
    settings = settings_of(installation.ingest, installation, tmp_path, {variable: "tcp://other:11111"})
    assert isinstance(settings.gateway[0], OpenDSettings)
    assert settings.gateway[0].url == "tcp://other:11111"


def settings_of(
    workload: Manifest, installation: Installation, folder: Path, more: dict[str, str] | None = None
) -> Settings:
    """What the program reads in the first pod of `workload`, with secrets standing below `folder`."""
    for file in secret_files(workload):
        path = folder / Path(file).relative_to("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret\n", encoding="utf-8")
    (mount,) = (mount for mount in daemon_of(workload)["volumeMounts"] if mount["name"] == "secrets")
    config = folder / "ticktape.toml"
    config.write_text(
        installation.config_text.replace(mount["mountPath"], str(folder / Path(mount["mountPath"]).relative_to("/"))),
        encoding="utf-8",
    )
    pod_name = f"{workload['metadata']['name']}-0"
    environment = {variable["name"]: value_of(variable, pod_name) for variable in daemon_of(workload)["env"]}
    return load_settings(config, environment | (more or {}))


def value_of(variable: dict[str, Any], pod_name: str) -> str:
    """A variable's value as the kubelet fills it in."""
    if "value" in variable:
        return str(variable["value"])
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    return pod_name


def daemon_of(workload: Manifest) -> Manifest:
    (daemon,) = pod_of(workload)["containers"]
    return dict(daemon)


def secret_files(workload: Manifest) -> list[str]:
    """Absolute paths of the files that Secrets become in the daemon's container."""
    (volume,) = (volume for volume in pod_of(workload)["volumes"] if volume["name"] == "secrets")
    (mount,) = (mount for mount in daemon_of(workload)["volumeMounts"] if mount["name"] == "secrets")
    items = [item for source in volume["projected"]["sources"] for item in source["secret"]["items"]]
    return [f"{mount['mountPath']}/{item['path']}" for item in items]


def leaves(config: dict[str, Any]) -> list[tuple[str, Any]]:
    """(key, value) of every key of a parsed TOML file that holds no table."""
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += leaves(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            found += [leaf for table in value for leaf in leaves(table)]
        else:
            found.append((key, value))
    return found
