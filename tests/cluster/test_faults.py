"""Tests of what breaks a run: an image that is not there, a killed process, a lost pod."""

from pathlib import Path

import pytest
import yaml

from tests.cluster import kube, page, runs
from tests.cluster.conftest import CHECK, REPORT, version

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]
ELSEWHERE = "--again --checkpoints s3://colorizer-checkpoints/again"
"""Another place of checkpoints: the same training begins from nothing, and nothing before it is reused."""
SHORT = {
    "retry": {"limit": 0, "timeout": 60, "max_pending": 0, "backoff": 1},
    "deadline": {"run": 300, "step": 60, "report": 60},
}
"""Settings with which a run that cannot begin ends soon."""


@pytest.fixture(scope="module")
def without_image(first_run: str, installed: page.Shell) -> str:
    """Returns the id of a run none of whose images can be pulled, as soon as it was sent."""
    folder = installed.folder.with_name("without-image")
    installed.run(f"git clone --quiet . {folder}")
    images = folder / "k8s" / "images" / "kustomization.yaml"
    named = yaml.safe_load(images.read_text())
    named["images"] = [{"name": one["name"], "newTag": "of-no-registry"} for one in named["images"]]
    images.write_text(yaml.safe_dump(named))
    settings = yaml.safe_load(Path(installed.variable("COLORIZE_CLUSTER")).read_text())
    (folder / "short.yaml").write_text(yaml.safe_dump(settings | SHORT))
    there = f"cd {folder} && export PYTHONPATH={folder} COLORIZE_CLUSTER=short.yaml"
    return runs.run_id(installed.run(f"({there} && colorize compile && colorize submit --recipe $RECIPE)"))


def test_a_training_killed_then_deleted_ends_with_the_same_weights(
    without_image: str, first_run: str, installed: page.Shell
) -> None:
    undisturbed = version(installed, "champion")
    run = runs.submit(installed, ELSEWHERE)
    assert runs.kill_training(run) > 1
    killed = runs.running(run, "train")
    kube.until("the training to go on", lambda: runs.RESUMED in runs.log(killed), 300, pause=1)
    name, uid = killed["metadata"]["name"], killed["metadata"]["uid"]
    kube.kubectl("-n", runs.NAMESPACE, "delete", "pod", name, "--grace-period=0", "--force")
    runs.follow(installed, run, 1200)
    attempts = runs.steps(run)["train"]
    assert uid not in [pod["metadata"]["uid"] for pod in attempts]  # the next one may have its name
    assert runs.RESUMED in runs.log(attempts[-1])
    message = runs.messages(CHECK)[run]
    assert (message["outcome"], message["version"]) == ("unchanged", undisturbed["version"])
    assert version(installed, "champion")["weights_sha256"] == undisturbed["weights_sha256"]
    REPORT.append(f"killed, then deleted: the same weights, {undisturbed['weights_sha256'][:16]}")


def test_a_run_whose_images_cannot_be_pulled_ends_and_the_next_run_tells_people(
    without_image: str, installed: page.Shell
) -> None:
    def ended() -> str:
        state = runs.state(without_image)
        return state if state not in ("PENDING", "RUNNING") else ""

    def told() -> list[str]:
        earlier = [one for message in runs.messages(CHECK).values() for one in message["earlier"]]
        return [one["outcome"] for one in earlier if one["pipeline_run"] == without_image]

    assert kube.until("the run without images to end", ended, 900) == "FAILED"
    assert without_image not in runs.messages(CHECK)
    if not told():
        runs.follow(installed, runs.submit(installed, ""), 900)
    assert told() == ["failed"]
