"""Tests of `colorize submit --evaluate`: a version is judged again by the run that made it."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from components.shared.machine.workspace import VARIABLE
from components.shared.mlflow import registry
from tests.support.kfp_server import KfpServer
from tests.support.retrained import TAGS

Colorize = Callable[..., Any]
ALIASED, PLAIN = "models:/colorizer@champion", ""


@pytest.fixture
def made(kfp: KfpServer, retrain: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the id of a run that has made version 2, which began with version 1."""
    monkeypatch.setenv(VARIABLE, "workspace")
    retrain(0.5)
    retrain(0.9)  # without scores of the champion: rejected
    identity = str(uuid.uuid4())
    registry.set_tags(2, {"pipeline_run_id": identity, "began_with": "models:/colorizer/1"})
    variants = [{"name": name, "train": {"init": init, "seed": 1}} for name, init in (("a", ALIASED), ("b", PLAIN))]
    given = {
        "recipe": "a,b",
        "variants": variants,
        "data_version": "latest",
        "only_if_changed": True,
        "tags": {"x": "y"},
    }
    kfp.keep_run(identity, given)
    return identity


def test_the_run_of_a_version_starts_again_with_the_data_and_the_beginning_of_then(
    kfp: KfpServer, colorize: Colorize, made: str
):
    done = colorize("submit", "--evaluate", "2")
    assert done.status == 0, done.err
    first, second = kfp.runs.values()
    assert second["run_id"] in done.out
    assert second["pipeline_version_reference"] == first["pipeline_version_reference"]
    before, after = (run["runtime_config"]["parameters"] for run in (first, second))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"data_version", "only_if_changed", "variants"}
    assert after["data_version"] == TAGS["data_version"]
    assert after["only_if_changed"] is False
    assert [variant["train"] for variant in after["variants"]] == [
        {"init": "models:/colorizer/1", "seed": 1},
        {"init": PLAIN, "seed": 1},
    ]


def test_a_version_whose_run_is_gone_or_was_elsewhere_is_refused(kfp: KfpServer, colorize: Colorize, made: str):
    kfp.runs.clear()
    done = colorize("submit", "--evaluate", "2")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert f"Kubeflow has no run {made}, which made version 2" in done.err
    assert "Kubeflow has no run local-1, which made version 1" in colorize("submit", "--evaluate", "1").err
    assert "no version 3" in colorize("submit", "--evaluate", "3").err
    assert not kfp.runs


@pytest.mark.parametrize("option", [("--recipe", "demo"), ("--set", "train.seed=1"), ("--no-cache",), ("--dry-run",)])
def test_evaluate_takes_no_option_that_changes_the_run(kfp: KfpServer, colorize: Colorize, option: tuple[str, ...]):
    done = colorize("submit", "--evaluate", "2", *option)
    assert done.status == 1
    assert "leave out what would change the run" in done.err
    assert not kfp.requests
