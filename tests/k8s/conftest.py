"""Overlays, rendered once for all tests, beside the pipelines of several clusters."""

import pytest

from k8s.check import compiled
from k8s.check.__main__ import SETTINGS
from k8s.check.compiled import Compiled
from k8s.check.manifests import ROOT, Manifests, render, render_with
from pipeline.compile import COMPILED, to_yaml


@pytest.fixture(scope="package")
def pipelines() -> dict[str, Compiled]:
    """Returns the compiled pipeline of every settings file of the check, and of the repository (default)."""
    made = {name: compiled.parse(to_yaml(path), path.name) for name, path in SETTINGS.items()}
    return made | {"default": compiled.read(COMPILED)}


@pytest.fixture(scope="package")
def rendered(pipelines: dict[str, Compiled]) -> dict[str, Manifests]:
    """Returns each overlay beside the pipeline that runs there, and production with Kubeflow Trainer."""
    overlays = ROOT / "k8s" / "overlays"
    found = {
        "local": (render(overlays / "local"), "local"),
        "production": (render(overlays / "production"), "default"),
        "trainer": (render_with(overlays / "production", "trainer"), "trainer"),
    }
    return {name: Manifests(each.source, each.objects, pipelines[key]) for name, (each, key) in found.items()}
