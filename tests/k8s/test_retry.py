"""Tests of k8s/components/retry: patched by kustomize, Argo's defaults keep what Kubeflow Pipelines ships."""

import shutil
from pathlib import Path

import pytest

from k8s.check import argo


def test_the_component_keeps_what_kubeflow_ships() -> None:
    assert not list(argo.findings())


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("secondsAfterFailure: 3600", "secondsAfterFailure: 60", "loses the shipped ttlStrategy"),
        ("retryPolicy: Always", "retryPolicy: OnError", "set retryPolicy: Always"),
        ('limit: "0"', 'limit: "2"', "multiplies"),
        ("data:\n", "data:\n  executor: null\n", "leave it alone"),
    ],
)
def test_a_fault_of_the_component_is_found(tmp_path: Path, before: str, after: str, said: str) -> None:
    folder = tmp_path / "retry"
    shutil.copytree(argo.RETRY, folder)
    defaults = folder / "defaults.yaml"
    text = defaults.read_text(encoding="utf-8")
    assert before in text
    defaults.write_text(text.replace(before, after), encoding="utf-8")
    (found,) = argo.findings(folder)
    assert said in str(found)
