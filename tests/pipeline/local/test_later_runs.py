"""Tests of `colorize run` after a first run: another seed, more photographs, drift, a failure, a moved champion.

The tests share one workspace and run in order. Their processes have no network.
"""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.support.local_runs import Story
from tests.support.small_run import EASY, HARD

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def champion(story: Story) -> None:
    first = story.run()
    assert story.aliases() == {"challenger": 1, "champion": 1}, first.output


def test_another_seed_reruns_training_and_the_gate_rejects_a_model_without_gain(story: Story):
    run = story.run("train.seed=1", *HARD, options=("--check", "--quiet"))
    assert run.status == 3, run.output
    assert run.out.startswith(
        "Version 2 is not promoted, and version 1 stays the champion. 1 of 1 rules failed: l1_ab."
    )
    assert run.output == run.out, "--quiet leaves no remark and no progress"
    assert len(run.out.splitlines()) == 1
    run = story.run("train.seed=1", *HARD)
    assert run.status == 0, run.output
    assert "  l1_ab fails: " in run.out
    assert run.outcomes["preprocess"] == run.outcomes["train"] == "reused"
    assert run.outcomes["promote"] == "not run"
    assert story.aliases() == {"challenger": 2, "champion": 1}


def test_one_more_photograph_reruns_everything(story: Story, photos: Path):
    added = story.photos / "added.jpg"
    shutil.copy(next((photos / "mate-backgrounds").rglob("*.jpg")), added)
    run = story.run()
    added.unlink()
    assert run.status == 0, run.output
    assert all(run.outcomes[step] == "done" for step in ("preprocess", "merge", "train", "evaluate"))
    count = len(list(story.photos.iterdir()))
    assert f"{count + 1} photographs: {count} known, 1 new" in run.output


def test_photographs_with_drift_beyond_psi_stop_are_not_trained_on(story: Story):
    night = story.folder / "night"
    night.mkdir()
    for photograph in story.photos.iterdir():
        if photograph.suffix == ".jpg":
            with Image.open(photograph) as image:
                image.convert("RGB").point(lambda level: level // 3).save(night / photograph.name, quality=95)
    run = story.run("inspect.psi_stop=0.25", photos=night)
    assert run.status == 1
    assert (run.outcomes["preprocess"], run.outcomes["inspect"], run.outcomes["train"]) == ("done", "failed", "not run")
    last, champion = run.last_line, f"models:/colorizer/{story.aliases()['champion']}"
    assert last.startswith(f"inspect failed: The photographs differ from those of {champion} by more than ")
    assert "lightness (PSI " in last
    assert "Traceback" not in run.output


def test_finished_steps_are_reused_after_a_failure(story: Story):
    failed = story.run("evaluate.lpips_weights=/nowhere/alexnet.pth", "train.seed=2")
    assert failed.status == 1
    assert failed.outcomes["train"] == "done"
    assert failed.outcomes["evaluate"] == "failed"
    mended = story.run("train.seed=2")
    assert mended.status == 0, mended.output
    assert mended.outcomes["train"] == "reused"


def test_training_from_the_champion_is_reused_after_it_produced_the_new_champion(story: Story):
    begin = ("train.init=models:/colorizer@champion", *EASY)
    run = story.run(*begin)
    assert run.status == 0, run.output
    assert run.outcomes["train"] == run.outcomes["promote"] == "done"
    champion = story.aliases()["champion"]
    assert champion != 1
    again = story.run(*begin)
    assert again.status == 0, again.output
    assert again.outcomes["train"] == "reused"
    assert story.aliases()["champion"] == champion


def test_a_version_is_judged_again_beside_a_champion_that_has_come_since(story: Story):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{story.workspace / 'mlflow.db'}")
    before = client.get_model_version("colorizer", "2").tags
    run = story.run("train.seed=1", *HARD)  # as version 2 was made
    assert run.status == 0, run.output
    assert (run.outcomes["train"], run.outcomes["evaluate"], run.outcomes["register"]) == ("reused", "done", "done")
    after = client.get_model_version("colorizer", "2").tags
    assert after["pipeline_run_id"] == before["pipeline_run_id"] != after["judged_in"]
    assert after["metrics_champion"] != before["metrics_champion"]
    assert after["judged"] == "reject"


def test_the_webhook_got_the_verdicts_and_the_failed_steps(story: Story):
    told = story.hook.messages
    assert told[1]["verdict"]["outcome"] == "reject"
    failures = [(message["failed_step"], message["version"]) for message in told if message["outcome"] == "failed"]
    assert failures == [("inspect", None), ("evaluate small", None)]


def test_where_people_decide_a_run_ends_with_a_proposal_and_a_command_decides(story: Story):
    before = story.aliases()
    settings = ("train.seed=2", "register.promotion=proposed", *EASY)
    run = story.run(*settings, options=("--check",))
    new = story.aliases()["proposed"]
    assert run.status == 0, run.output
    assert run.out.startswith(
        f"Version {new} is proposed: `colorize promote --proposed` promotes it, `colorize reject`"
    )
    assert run.outcomes["promote"] == "not run"
    assert story.hook.messages[-1]["outcome"] == "proposed"
    assert story.aliases() == before | {"challenger": new, "proposed": new}
    refused = story.command("promote", "--proposed")
    assert (refused.status, "--reason" in refused.output) == (2, True)
    rejected = story.command("reject", "--reason", "the skies are green")
    assert (rejected.status, rejected.out) == (0, f"version {new} is rejected.\n"), rejected.output
    assert story.aliases() == before | {"challenger": new}
    story.run(*settings, "register.proposal_days=1")
    assert story.aliases()["proposed"] == new
    promoted = story.command("promote", str(new), "--proposed", "--reason", "the skies are blue after all")
    assert (promoted.status, promoted.out) == (0, f"champion is version {new}.\n"), promoted.output
    assert story.aliases() == {"challenger": new, "champion": new, "previous": before["champion"]}


def test_no_run_tried_to_use_the_network(story: Story):
    log = story.folder / "network.log"
    assert not log.exists(), log.read_text(encoding="utf-8")
