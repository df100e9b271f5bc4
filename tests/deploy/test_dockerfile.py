"""The Dockerfile, as far as it can be judged without an engine: what it refers to exists and agrees."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from importlib.util import find_spec

import pytest

from tests.deploy.dockerfile import Instruction, Stage, read_stages
from tests.deploy.manifests import REPOSITORY, Installation, containers_of, pod_of
from ticktape.settings.model import HttpSettings

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return read_stages(REPOSITORY / "Dockerfile")


def test_both_stages_are_the_python_that_the_project_asks_for(stages: list[Stage]) -> None:
    """One image for both: the virtual environment is copied, and links to its interpreter."""
    assert [stage.name for stage in stages] == ["build", None]
    version = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert {stage.image for stage in stages} == {f"python:{version}-slim"}


def test_copied_files_exist_and_reach_the_build(stages: list[Stage]) -> None:
    sources = [word for copy in stages[0].all_of("COPY") for word in copy.words[:-1]]
    kept = [line.removeprefix("!") for line in ignore_lines() if line.startswith("!")]
    assert sorted(sources) == sorted(kept), "what .dockerignore lets through and what is copied"
    assert ignore_lines()[0] == "*", ".dockerignore names what enters, not what stays out"
    for source in sources:
        assert (REPOSITORY / source).exists(), source


def test_every_package_of_the_project_is_copied(stages: list[Stage]) -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {
        path.parent.name
        for path in REPOSITORY.glob("*/__init__.py")
        if any(fnmatch(path.parent.name, pattern) for pattern in patterns)
    }
    copied = {word for copy in stages[0].all_of("COPY") for word in copy.words[:-1]}
    assert packages <= copied
    assert {PYPROJECT["project"]["readme"], *PYPROJECT["project"]["license-files"]} <= copied


def test_pip_installs_only_locked_versions(stages: list[Stage]) -> None:
    installs = [command for command in commands_of(stages) if re.search(r"\bpip install\b", command)]
    assert installs
    for install in installs:
        assert "-c constraints.txt" in install
        assert not re.search(r"--(index-url|extra-index-url|find-links|trusted-host)|://", install)
    of_project = [install for install in installs if re.search(r"""\s["']?\.""", install.split("constraints.txt")[1])]
    assert len(of_project) == 2
    assert all("--no-build-isolation" in install for install in of_project), "build tools must be locked too"


def test_modules_that_are_run_exist(stages: list[Stage]) -> None:
    modules = [match[1] for command in commands_of(stages) for match in re.finditer(r"python -m (\S+)", command)]
    assert "codec.warm" in modules
    for module in modules:
        assert find_spec(module) is not None, module


def test_kernels_are_warmed_where_the_image_looks_for_them(stages: list[Stage]) -> None:
    build, image = stages
    cache = image.environment["NUMBA_CACHE_DIR"]
    assert build.environment["NUMBA_CACHE_DIR"] == cache
    copied = {copy.words[-1]: copy for copy in image.all_of("COPY")}
    assert copied[cache].options == {"from": "build", "chown": image.the("USER").text}
    assert [copy.words for copy in copied.values()] == [[path, path] for path in copied], (
        "paths are in the cache's keys"
    )


def test_the_image_runs_the_program_as_nobody_special(stages: list[Stage]) -> None:
    image = stages[-1]
    assert image.the("ENTRYPOINT").text == '["ticktape"]'
    assert "ticktape" in PYPROJECT["project"]["scripts"]
    uid, _, gid = image.the("USER").text.partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    after_user = image.instructions[image.instructions.index(image.the("USER")) :]
    assert not [instruction for instruction in after_user if instruction.name in ("RUN", "COPY")]


def test_the_health_check_asks_the_port_of_the_default_command(stages: list[Stage]) -> None:
    image = stages[-1]
    assert image.the("CMD").text == '["up"]'
    assert image.environment["HEALTH_URL"] == f"http://{HttpSettings().listen}/livez"
    assert "os.environ['HEALTH_URL']" in image.the("HEALTHCHECK").text


def test_manifests_agree_with_the_image(stages: list[Stage], installation: Installation) -> None:
    image = stages[-1]
    for workload in installation.workloads:
        pod = pod_of(workload)
        owner = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        assert owner == image.the("USER").text
        (warmed,) = pod["initContainers"]
        (daemon,) = pod["containers"]
        environment = {variable["name"]: variable.get("value") for variable in daemon["env"]}
        cache = environment["NUMBA_CACHE_DIR"]
        assert warmed["command"] == ["cp", "-R", f"{image.environment['NUMBA_CACHE_DIR']}/.", cache]
        for container in containers_of(workload):
            assert cache in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert environment["TICKTAPE_CONFIG"] == image.environment["TICKTAPE_CONFIG"]


def test_the_reader_of_dockerfiles_joins_lines() -> None:
    run = Instruction("RUN", "--mount=type=cache pip install x")
    assert run.options == {"mount": "type=cache"}
    assert run.words == ["pip", "install", "x"]


def commands_of(stages: list[Stage]) -> list[str]:
    """Each command of each RUN."""
    return [command for stage in stages for run in stage.all_of("RUN") for command in run.text.split(" && ")]


def ignore_lines() -> list[str]:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
