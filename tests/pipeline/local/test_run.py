"""Tests of `colorize run` on real photographs, end to end: promotion, reuse and failure.

The tests share one workspace and run in order. Their processes have no network.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.support.local_runs import GUARD, Story


def test_the_first_model_is_promoted(story: Story):
    run = story.run()
    assert run.status == 0, run.output
    assert run.outcomes["promote"] == "done"
    assert all(
        run.outcomes[step] == "done"
        for step in ("partition", "preprocess", "merge", "inspect", "train", "evaluate", "choose", "register", "report")
    )
    assert story.aliases() == {"challenger": 1, "champion": 1}
    latest = story.workspace / "latest"
    (log,) = story.workspace.glob("runs/*/log.txt")
    assert run.out.splitlines() == [
        "Version 1 is the champion now. All 1 rules hold: the first model, within all bounds.",
        f"report:      {latest.relative_to(story.folder)}/report.html",
        f"pictures:    {latest.relative_to(story.folder)}/samples.png",
        f"photographs: {latest.relative_to(story.folder)}/data.html",
        f"log:         {log.relative_to(story.folder)}",
    ]
    assert '"outcome": "promoted"' in log.read_text(encoding="utf-8")
    assert "\x1b" not in run.output
    assert (latest / "samples.png").read_bytes().startswith(b"\x89PNG")
    for page in ("report.html", "data.html"):
        assert "<html" in (latest / page).read_text(encoding="utf-8")


def test_an_unchanged_run_reuses_every_step(story: Story):
    story.run()  # scores the champion, which is new since the first run
    run = story.run(options=("--json", "--check"))
    assert run.status == 0, run.output
    told = json.loads(run.out)
    assert (told["outcome"], told["version"]) == ("unchanged", 1)
    assert {step["step"]: step["outcome"] for step in told["steps"]}["train"] == "reused"
    assert all(Path(file).is_file() for file in (*told["files"].values(), told["log"]))
    steps = ("partition", "preprocess", "merge", "inspect", "train", "evaluate", "choose")
    assert all(run.outcomes[step] == "reused" for step in steps)
    assert story.aliases() == {"challenger": 1, "champion": 1}


def test_a_failing_step_ends_the_run_with_its_error_message(story: Story):
    run = story.run("preprocess.min_photographs=5000", options=("--verbose",))
    assert re.search(r"│ train +│ not run +│", run.output), "the table of the steps"
    assert run.status == 1
    assert run.outcomes["preprocess"] == "done"
    assert run.outcomes["merge"] == "failed"
    assert run.outcomes["train"] == "not run"
    last = run.last_line
    assert last.startswith("merge failed: ")
    assert "min_photographs" in run.output
    assert "Traceback" not in run.output


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
    assert trees == [
        ("FINISHED", ["inspect", "train small", "evaluate small", "register"]),
        ("FINISHED", ["inspect", "evaluate small", "register"]),
        ("FINISHED", ["register"]),
        ("FAILED", ["merge"]),
    ]
    assert len(trees) == len(list((story.workspace / "runs").iterdir()))


def test_the_webhook_got_a_message_for_each_run(story: Story):
    told = story.hook.messages
    assert len(told) == len(list((story.workspace / "runs").iterdir()))
    assert (told[0]["outcome"], told[0]["version"], told[0]["verdict"]["outcome"]) == ("promoted", 1, "promote")
    assert told[2]["verdict"]["outcome"] == "unchanged"
    assert (told[3]["outcome"], told[3]["failed_step"], told[3]["version"]) == ("failed", "merge", None)
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
