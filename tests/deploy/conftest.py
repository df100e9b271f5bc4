"""Every test of the manifests runs on the base and on the example of an installation."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import K8S, Installation, load_installation


@pytest.fixture(params=["base", "overlays/example"])
def installation(request: pytest.FixtureRequest) -> Installation:
    return load_installation(K8S / request.param)
