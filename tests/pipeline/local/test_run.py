"""Tests of `colorize run` on real photographs, end to end: promotion, reuse, rejection, failure and resuming.

The tests share one workspace and run in order. Their processes have no network.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.support.small_run import SMALL, outcomes
from tests.support.webhook import Receiver, receiver

COLORIZE = Path(sys.executable).with_name("colorize")
GUARD = Path(__file__).resolve().parents[2] / "support" / "no_network"


@dataclass(frozen=True)
class Run:
    status: int
    output: str

    @property
    def outcomes(self) -> dict[str, str]:
        return outcomes(self.output)


@dataclass(frozen=True)
class Story:
    folder: Path
    hook: Receiver

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def run(self, *overrides: str, photos: Path | None = None) -> Run:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "COLORIZE"))}
        environment |= {
            "COLORIZE_WORKSPACE": str(self.workspace),
            "COLORIZE_WEBHOOK_URL": self.hook.url,
            "NO_NETWORK_LOG": str(self.folder / "network.log"),
            "PYTHONPATH": f"{GUARD}:{GUARD.parents[2]}",
        }
        settings = [part for override in (*SMALL, *overrides) for part in ("--set", override)]
        command = [COLORIZE, "run", "--recipe", "small", "--photos", photos or self.photos, *settings]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=280
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def aliases(self) -> dict[str, int]:
        from mlflow import MlflowClient

        model = MlflowClient(f"sqlite:///{self.workspace / 'mlflow.db'}").get_registered_model("colorizer")
        return {alias: int(version) for alias, version in model.aliases.items()}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Story]:
    with receiver(200) as hook:
        story = Story(tmp_path_factory.mktemp("run"), hook)
        story.photos.mkdir()
        for photograph in sorted((photos / "scratch").iterdir()):
            shutil.copy(photograph, story.photos)
        yield story


def test_the_first_model_is_promoted(story: Story):
    run = story.run()
    assert run.status == 0, run.output
    assert run.outcomes["promote"] == "done"
    assert all(
        run.outcomes[step] == "done"
        for step in ("partition", "preprocess", "merge", "inspect", "train", "evaluate", "choose", "register", "report")
    )
    assert story.aliases() == {"challenger": 1, "champion": 1}
    assert "Version 1 of colorizer: " in run.output
    latest = story.workspace / "latest"
    assert (latest / "samples.png").read_bytes().startswith(b"\x89PNG")
    for page in ("report.html", "data.html"):
        assert "<html" in (latest / page).read_text(encoding="utf-8")


def test_an_unchanged_run_reuses_every_step(story: Story):
    story.run()  # scores the champion, which is new since the first run
    run = story.run()
    assert run.status == 0, run.output
    steps = ("partition", "preprocess", "merge", "inspect", "train", "evaluate")
    assert all(run.outcomes[step] == "reused" for step in steps)
    assert story.aliases() == {"challenger": 1, "champion": 1}


def test_another_seed_reruns_training_and_the_gate_rejects_a_model_without_gain(story: Story):
    run = story.run("train.seed=1", "register.rules.ab_intersection.change=1.0")
    assert run.status == 0, run.output
    assert run.outcomes["preprocess"] == "reused"
    assert run.outcomes["train"] == run.outcomes["evaluate"] == "done"
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


def test_a_failing_step_ends_the_run_with_its_error_message(story: Story):
    run = story.run("preprocess.min_photographs=5000")
    assert run.status == 1
    assert run.outcomes["preprocess"] == "done"
    assert run.outcomes["merge"] == "failed"
    assert run.outcomes["train"] == "not run"
    last = run.output.strip().splitlines()[-1]
    assert last.startswith("merge failed: ")
    assert "min_photographs" in run.output
    assert "Traceback" not in run.output


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
    last = run.output.strip().splitlines()[-1]
    assert last.startswith("inspect failed: The photographs differ from those of models:/colorizer/1 by more than ")
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
    easy = ("register.rules.ab_intersection.change=-1.0", "register.rules.l1_ab.change=-100.0")
    begin = ("train.init=models:/colorizer@champion", *easy)
    run = story.run(*begin)
    assert run.status == 0, run.output
    assert run.outcomes["train"] == run.outcomes["promote"] == "done"
    champion = story.aliases()["champion"]
    assert champion != 1
    again = story.run(*begin)
    assert again.status == 0, again.output
    assert again.outcomes["train"] == "reused"
    assert story.aliases()["champion"] == champion


def test_mlflow_has_a_run_tree_per_pipeline_run_with_the_executed_steps(story: Story):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{story.workspace / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("colorizer").experiment_id], order_by=["start_time ASC"])
    parents = {run.info.run_id: run for run in runs if "mlflow.parentRunId" not in run.data.tags}
    trees = [
        (
            parent.info.status,
            [run.info.run_name for run in runs if run.data.tags.get("mlflow.parentRunId") == parent_id],
        )
        for parent_id, parent in parents.items()
    ]
    assert len(runs) == len(parents) + sum(len(steps) for _, steps in trees)
    assert trees[:3] == [
        ("FINISHED", ["inspect", "train small", "evaluate small", "register"]),
        ("FINISHED", ["inspect", "evaluate small", "register"]),
        ("FINISHED", ["register"]),
    ]
    assert [steps for status, steps in trees if status == "FAILED"] == [
        ["merge"],
        ["inspect"],
        ["train small", "evaluate small"],
    ]
    assert len(trees) == len(list((story.workspace / "runs").iterdir()))


def test_the_webhook_got_a_message_for_each_run(story: Story):
    told = story.hook.messages
    assert len(told) == len(list((story.workspace / "runs").iterdir()))
    assert (told[0]["outcome"], told[0]["version"], told[0]["verdict"]["outcome"]) == ("promoted", 1, "promote")
    assert told[2]["verdict"]["outcome"] == "unchanged"
    assert told[3]["verdict"]["outcome"] == "reject"
    failures = [(message["failed_step"], message["version"]) for message in told if message["outcome"] == "failed"]
    assert failures == [("merge", None), ("inspect", None), ("evaluate small", None)]
    secret = story.hook.url.rpartition("/")[2]
    assert not any(secret in log.read_text(encoding="utf-8") for log in story.workspace.glob("runs/*/*"))


def test_every_version_has_tags_of_its_origin(story: Story):
    from mlflow import MlflowClient

    tags = MlflowClient(f"sqlite:///{story.workspace / 'mlflow.db'}").get_model_version("colorizer", "1").tags
    for tag in ("git_commit", "data_version", "recipe", "pipeline_run_id", "image_digest", "made_by"):
        assert tags[tag], tag
    assert tags["pipeline_run_id"].startswith("local-")
    assert tags["recipe"] == "small"
    assert tags["data_version"].endswith(".dir")


def test_journal_holds_a_line_for_each_step_that_ran(story: Story):
    journals = sorted((story.workspace / "runs").glob("*/journal.jsonl"))
    first = [json.loads(line)["step"] for line in journals[0].read_text(encoding="utf-8").splitlines()]
    assert first == [
        "resolve", "partition", "preprocess", "merge", "inspect", "train small", "evaluate small", "choose", "register",
        "promote", "report",
    ]  # fmt: skip


def test_no_run_tried_to_use_the_network(story: Story):
    log = story.folder / "network.log"
    assert not log.exists(), log.read_text(encoding="utf-8")


def test_the_network_guard_blocks_and_logs_a_connection(tmp_path: Path):
    program = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/', timeout=5)"
    environment = {"PYTHONPATH": str(GUARD), "NO_NETWORK_LOG": str(tmp_path / "log")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "192.0.2.1" in (tmp_path / "log").read_text(encoding="utf-8")
