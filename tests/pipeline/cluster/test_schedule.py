"""Tests of `colorize schedule` against a Kubeflow Pipelines server: the cluster comes to match the file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT
from tests.support.kfp_server import Fault, KfpServer

Schedule = Callable[..., object]
NIGHTLY = {"name": "nightly", "cron": "0 0 3 * * *", "time_zone": "UTC", "data": "latest", "enabled": True}
PINNED = {
    "name": "weekly",
    "cron": "0 30 12 * * mon",
    "data": "f7af12c06f5a9ef9c9650dedaffa2393.dir",
    "recipe": "small",
    "set": ["train.images=40000"],
    "concurrency": 2,
    "catch_up": True,
}


@pytest.fixture
def schedule(kfp: KfpServer, colorize: Callable, tmp_path: Path) -> Schedule:
    """Returns a function that writes these schedules to a file and runs the command."""

    def run(*entries: dict, command: tuple[str, ...] = (), zone: str = "UTC") -> object:
        file = tmp_path / "schedules.yaml"
        file.write_text(yaml.safe_dump({"cluster_time_zone": zone, "schedules": list(entries)}))
        return colorize("schedule", *command, "--file", str(file))

    return run


def changing(kfp: KfpServer) -> list[str]:
    return [asked for asked in kfp.requests if not asked.startswith("GET")]


def by_name(kfp: KfpServer) -> dict[str, dict]:
    found = {run["display_name"]: run for run in kfp.recurring.values()}
    assert len(found) == len(kfp.recurring)
    return found


def test_declared_schedules_are_created(kfp: KfpServer, schedule: Schedule):
    done = schedule(NIGHTLY, PINNED)
    assert done.status == 0, done.err
    assert done.out.splitlines() == ["create: nightly", "create: weekly"]
    nightly, weekly = by_name(kfp)["nightly"], by_name(kfp)["weekly"]
    assert nightly["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert weekly["trigger"]["cron_schedule"]["cron"] == "0 30 12 * * mon"
    assert (nightly["status"], weekly["status"]) == ("ENABLED", "DISABLED")
    assert (int(nightly["max_concurrency"]), int(weekly["max_concurrency"])) == (1, 2)
    assert (nightly["no_catchup"], weekly["no_catchup"]) == (True, False)
    latest, pinned = (run["runtime_config"]["parameters"] for run in (nightly, weekly))
    assert (latest["data_version"], latest["only_if_changed"]) == ("latest", True)
    assert (pinned["data_version"], pinned["only_if_changed"]) == (PINNED["data"], True)
    assert pinned["variants"][0]["train"]["images"] == 40000
    assert nightly["service_account"] == "colorizer-steps"


@pytest.mark.parametrize("cron", ["0 */10 * * * *", "0 0 3 ? * sun", "30 0 6-8,12 1,15 jan MON-FRI", "0 0 3 * * 0,6"])
def test_a_cron_expression_is_sent_unchanged(kfp: KfpServer, schedule: Schedule, cron: str):
    done = schedule(NIGHTLY | {"cron": cron})
    assert done.status == 0, done.err
    assert by_name(kfp)["nightly"]["trigger"]["cron_schedule"]["cron"] == cron


def test_a_schedule_and_a_submission_send_the_same_arguments(kfp: KfpServer, schedule: Schedule, colorize: Callable):
    schedule(PINNED)
    colorize("submit", "--recipe", "small", "--set", "train.images=40000", "--data", PINNED["data"])
    (run,), (recurring,) = kfp.runs.values(), kfp.recurring.values()
    assert run["runtime_config"] == recurring["runtime_config"]
    assert run["pipeline_version_reference"] == recurring["pipeline_version_reference"]


def test_a_second_run_changes_nothing(kfp: KfpServer, schedule: Schedule, monkeypatch: pytest.MonkeyPatch):
    schedule(NIGHTLY, PINNED)
    kfp.requests.clear()
    monkeypatch.setattr("pipeline.arguments.git_commit", lambda: "f" * 40)  # for example a commit of documentation
    done = schedule(NIGHTLY, PINNED)
    assert done.status == 0
    assert (done.out, done.err) == ("", "The cluster matches schedules.yaml.\n")
    assert not changing(kfp)


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 0 4 * * *"},
        {"recipe": "small"},
        {"set": ["train.seed=1"]},
        {"data": PINNED["data"]},
        {"concurrency": 2},
        {"catch_up": True},
    ],
)
def test_a_changed_schedule_is_created_before_the_old_one_is_deleted(kfp: KfpServer, schedule: Schedule, change: dict):
    schedule(NIGHTLY, PINNED)
    before = by_name(kfp)
    kfp.requests.clear()
    done = schedule(NIGHTLY | change, PINNED)
    assert done.out == "replace: nightly\n"
    made, deleted = changing(kfp)
    assert made == "POST /apis/v2beta1/recurringruns"
    assert deleted == f"DELETE /apis/v2beta1/recurringruns/{before['nightly']['recurring_run_id']}"
    assert by_name(kfp)["weekly"] == before["weekly"]
    assert schedule(NIGHTLY | change, PINNED).err == "The cluster matches schedules.yaml.\n"


def test_pausing_and_enabling_keep_the_recurring_run(kfp: KfpServer, schedule: Schedule):
    schedule(NIGHTLY)
    identity = by_name(kfp)["nightly"]["recurring_run_id"]
    assert schedule(NIGHTLY | {"enabled": False}).out == "pause: nightly\n"
    assert by_name(kfp)["nightly"]["status"] == "DISABLED"
    assert schedule(NIGHTLY).out == "enable: nightly\n"
    assert by_name(kfp)["nightly"]["status"] == "ENABLED"
    assert by_name(kfp)["nightly"]["recurring_run_id"] == identity


def test_undeclared_schedules_are_deleted_and_schedules_of_others_stay(kfp: KfpServer, schedule: Schedule):
    foreign = {"display_name": "nightly", "description": "by hand", "namespace": "colorizer", "status": "ENABLED"}
    for number in range(150):  # more than a page
        kfp.recurring[str(number)] = foreign | {"recurring_run_id": str(number)}
    schedule(NIGHTLY, PINNED)
    assert schedule(PINNED).out == "delete: nightly\n"
    assert schedule().out == "delete: weekly\n"
    assert list(kfp.recurring.values()) == [foreign | {"recurring_run_id": str(number)} for number in range(150)]


def test_an_interrupted_replacement_is_completed_by_the_next_call(kfp: KfpServer, schedule: Schedule):
    schedule(NIGHTLY)
    kfp.faults = [Fault("DELETE", times=1, status=500)]
    changed = NIGHTLY | {"cron": "0 0 4 * * *"}
    assert schedule(changed).status == 1
    assert len(kfp.recurring) == 2
    assert schedule(changed).status == 0
    assert by_name(kfp)["nightly"]["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"


def test_diff_shows_the_difference_and_changes_nothing(kfp: KfpServer, schedule: Schedule):
    schedule(NIGHTLY, PINNED)
    kfp.requests.clear()
    done = schedule(NIGHTLY | {"enabled": False}, NIGHTLY | {"name": "new"}, command=("diff", "--exit-code"))
    assert done.status == 1
    assert done.out.splitlines() == ["to pause: nightly", "to create: new", "to delete: weekly"]
    assert not changing(kfp)
    assert schedule(NIGHTLY, PINNED, command=("diff", "--exit-code")).status == 0
    assert schedule(NIGHTLY, command=("diff",)).status == 0


def test_diff_also_prints_json(kfp: KfpServer, schedule: Schedule):
    assert json.loads(schedule(NIGHTLY, command=("diff", "--json")).out) == [{"change": "create", "name": "nightly"}]
    schedule(NIGHTLY)
    assert json.loads(schedule(NIGHTLY, command=("diff", "--json")).out) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cron": "0 3 * * *"}, ("schedules.0.cron", "5 fields", "six")),
        ({"cron": "@daily"}, ("schedules.0.cron", "1 fields")),
        ({"cron": "@every 1h"}, ("schedules.0.cron", "2 fields")),
        ({"cron": "0 0 3 * \u017fep *"}, ("schedules.0.cron", "not ASCII")),
        ({"cron": "0 0 3 * * fr\u0131"}, ("schedules.0.cron", "not ASCII")),
        ({"cron": "0 0 3\u00a0* * *"}, ("schedules.0.cron", "not ASCII")),
        ({"cron": "0 0 24 * * *"}, ("bad hour",)),
        ({"cron": "0 60 3 * * *"}, ("bad minute",)),
        ({"cron": "0 0 3 0 * *"}, ("bad day-of-month",)),
        ({"cron": "0 0 3 * * 7"}, ("bad day",)),
        ({"cron": "0 0 3 L * *"}, ("bad day",)),
        ({"cron": "0 0 3 * * 5#3"}, ("bad day",)),
        ({"cron": "0 0 3 * * funday"}, ("bad day-of-week",)),
        ({"cron": "0 0 5-3 * * *"}, ("bad hour",)),
        ({"cron": "0 0 */0 * * *"}, ("bad hour",)),
        ({"cron": "0 0 3, * * *"}, ("bad hour",)),
        ({"cron": "0 0 3 LW * *"}, ("bad day",)),
        ({"cron": "0 0 3 * * 5L"}, ("bad day",)),
        ({"cron": "0 0 3 * * */7"}, ("bad day",)),
        ({"cron": "0 0 3 31 2 *"}, ("schedules.0.cron", "'0 0 3 31 2 *' never fires", "no month 2 has a day 31")),
        ({"cron": "0 0 3 31 feb,apr ?"}, ("never fires", "feb,apr")),
        ({"cron": "0 0 3 30 2 */2"}, ("never fires",)),
        ({"cron": "0 0 3 31 13 *"}, ("bad month",)),
        (
            {"cron": "CRON_TZ=Europe/Berlin 0 0 3 * * *"},
            ("schedules.0.cron", "CRON_TZ=Europe/Berlin", "cluster_time_zone"),
        ),
        ({"cron": "TZ=UTC 0 0 3 * * *"}, ("schedules.0.cron", "TZ=UTC", "cluster_time_zone")),
        ({"time_zone": "Europe/Berlin"}, ("nightly: time_zone is Europe/Berlin", "UTC", "CRON_SCHEDULE_TIMEZONE")),
        ({"data": "newest"}, ("schedules.0.data", "newest")),
        ({"concurency": 2}, ("schedules.0.concurency", "docs/operate/schedules.md")),
        ({"concurrency": 11}, ("schedules.0.concurrency", "11")),
        ({"enabled": "yes"}, ("schedules.0.enabled", "yes")),
        ({"name": "Nightly run"}, ("schedules.0.name", "Nightly run")),
        ({"recipe": "nonesuch"}, ("nonesuch", "demo")),
        ({"set": ["train.imgs=3"]}, ("train.imgs", "not a known key")),
    ],
)
def test_a_wrong_entry_in_the_file_is_named_in_one_line(kfp: KfpServer, schedule: Schedule, change: dict, words: tuple):
    done = schedule(NIGHTLY | change)
    assert (done.status, done.err.count("\n")) == (1, 1), done.err
    for word in words:
        assert word in done.err
    assert not kfp.requests


def test_a_time_zone_that_does_not_exist_is_refused(schedule: Schedule):
    done = schedule(NIGHTLY | {"time_zone": "Mars/Olympus"}, zone="Mars/Olympus")
    assert "cluster_time_zone: 'Mars/Olympus' is no time zone" in done.err


@pytest.mark.parametrize("cron", ["0 0 3 29 2 *", "0 0 3 31 2 mon"])
def test_what_fires_rarely_is_accepted(schedule: Schedule, cron: str):
    assert schedule(NIGHTLY | {"cron": cron}).out == "create: nightly\n"


def test_a_duplicate_name_is_refused(schedule: Schedule):
    assert "nightly is given twice" in schedule(NIGHTLY, NIGHTLY).err


def test_the_repositorys_schedule_file_and_its_examples_are_valid(kfp: KfpServer, colorize: Callable, tmp_path: Path):
    assert "matches schedules.yaml" in colorize("schedule").err
    text = (ROOT / "schedules.yaml").read_text(encoding="utf-8")
    head, examples = text.split("schedules: []\n")
    assert examples
    file = tmp_path / "schedules.yaml"
    file.write_text(f"{head}schedules:\n" + "\n".join(line.removeprefix("# ") for line in examples.splitlines()))
    done = colorize("schedule", "--file", str(file))
    assert done.out.splitlines() == ["create: nightly", "create: weekly-of-2026"], done.err


def test_a_denied_access_is_named_in_one_line(kfp: KfpServer, schedule: Schedule):
    kfp.token = "a token"
    done = schedule(NIGHTLY)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "denies access" in done.err
