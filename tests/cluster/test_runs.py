"""Tests of runs: a sweep that the gate rejects, and the same again, of which everything is reused."""

import pytest

from tests.cluster import kube, page, runs
from tests.cluster.conftest import CHECK, REPORT, version

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]
SWEEP = (
    "--variants train.seed=1,train.seed=2 --set train.images=2048 --set train.warmup_images=1024 "
    "--set register.rules.l1_ab.bound=0.001"
)
"""Two trainings that differ from the first run's, and a bound that no model meets."""

HERE = ("nodeName", "serviceAccount", "serviceAccountName")
"""Fields of a pod that hold in its own place alone."""


@pytest.fixture(scope="module")
def sweep(first_run: str, installed: page.Shell) -> tuple[str, int]:
    """Returns the id of a sweep one of whose trainings was killed, and the id of the killed process."""
    run = runs.submit(installed, SWEEP)
    killed = runs.kill_training(run, "train.seed=1")  # the first: a laptop's settings train one after the other
    runs.follow(installed, run, 1500)
    return run, killed


def test_a_sweep_survives_a_killed_training_and_compares_all_variants(sweep: tuple[str, int]) -> None:
    run, killed = sweep
    logs = {runs.arguments(pod)["variant"]["name"]: runs.log(pod) for pod in runs.steps(run)["train"]}
    assert logs.keys() == {"train.seed=1", "train.seed=2"}
    assert killed > 1
    assert runs.KILLED in logs["train.seed=1"]
    assert runs.KILLED not in logs["train.seed=2"]
    assert "choose" in runs.steps(run)


def test_the_gate_rejects_the_best_of_them_and_people_are_told(sweep: tuple[str, int], installed: page.Shell) -> None:
    message = runs.messages(CHECK)[sweep[0]]
    assert message["outcome"] == "rejected"
    assert "l1_ab" in message["text"]
    assert version(installed, str(message["version"]))["verdict"].startswith("reject")
    assert version(installed, "champion")["version"] != message["version"]


def test_the_same_again_is_reused_but_for_what_looks_acts_or_tells(
    sweep: tuple[str, int], installed: page.Shell
) -> None:
    run = runs.submit(installed, f"{SWEEP} --again")
    runs.follow(installed, run, 900)
    ran = runs.steps(run)
    REPORT.append(f"all cached: {len(runs.pods(run))} pods, steps {', '.join(ran)}")
    assert ran.keys() == {"resolve", "register", "report"}
    message = runs.messages(CHECK)
    assert message[run]["outcome"] == "rejected"
    assert message[run]["version"] == message[sweep[0]]["version"]


def test_the_same_without_again_ends_after_resolve(sweep: tuple[str, int], installed: page.Shell) -> None:
    run = runs.submit(installed, SWEEP)
    runs.follow(installed, run, 600)
    ran = runs.steps(run)
    REPORT.append(f"the verdict is known: {len(runs.pods(run))} pods, steps {', '.join(ran)}")
    assert ran.keys() == {"resolve", "report"}
    assert runs.messages(CHECK)[run]["outcome"] == "nothing new"


def test_every_pod_of_a_run_meets_pod_security_restricted(first_run: str) -> None:
    pods = runs.pods(first_run)
    assert pods
    for pod in pods:
        spec = {name: value for name, value in pod["spec"].items() if name not in HERE}
        copy = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "copy-", "namespace": CHECK}}
        said = kube.tried(copy | {"spec": spec})
        assert "created (server dry run)" in said, f"{pod['metadata']['name']}: {said}"
