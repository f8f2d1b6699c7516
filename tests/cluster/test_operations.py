"""Tests of day two, in the order of the page: schedule, rollback, credentials, backup, restore, and the removal."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import kube, page, runs
from tests.cluster.conftest import CHECK, REPORT, version

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
NIGHTLY = {"name": "cluster-check", "cron": "0 * * * * *", "data": "latest", "recipe": "tests/cluster/tiny"}


def declare(shell: page.Shell, folder: Path, *schedules: dict[str, Any]) -> str:
    """Makes the cluster match a file of these schedules; returns what `colorize schedule apply` prints."""
    file = folder / "schedules.yaml"
    file.write_text(yaml.safe_dump({"cluster_time_zone": "UTC", "schedules": list(schedules)}))
    return shell.run(f"colorize schedule apply --file {file}")


def fired() -> list[str]:
    """Returns the ids of the runs that the schedule started, the newest first."""
    with runs.api() as client:
        ours = [one.recurring_run_id for one in client.all_recurring_runs() if one.display_name == NIGHTLY["name"]]
        found = client.list_runs(page_size=100, sort_by="created_at desc").runs or []
    return [run.run_id for run in found if run.recurring_run_id in ours]


def test_a_schedule_fires_says_that_nothing_is_new_is_paused_and_removed(
    first_run: str, walk: page.Walk, tmp_path: Path
) -> None:
    walk.reach("9. The schedule")
    shell = walk.shell
    assert "create: cluster-check" in declare(shell, tmp_path, NIGHTLY | {"enabled": True})

    run = kube.until("the schedule to fire", fired, 180)[-1]
    assert "pause: cluster-check" in declare(shell, tmp_path, NIGHTLY)
    runs.follow(shell, run, 600)
    assert set(runs.steps(run)) == {"resolve", "report"}
    message = runs.messages(CHECK)[run]
    assert (message["outcome"], message["version"]) == ("nothing new", None)
    assert "Nothing is new" in message["text"]
    count = len(fired())
    assert "delete: cluster-check" in declare(shell, tmp_path)
    assert "delete" not in declare(shell, tmp_path)
    assert count <= 2


def test_the_server_follows_a_rollback_and_no_request_fails(first_run: str, walk: page.Walk) -> None:
    champion, previous = (version(walk.shell, alias)["version"] for alias in ("champion", "previous"))
    before = walk.printed.keys()
    url = "http://colorizer-web.colorizer:8080"
    command = ["kubectl", "-n", CHECK, "exec", "receiver", "--", *kube.script("load.py", url, "90")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kube.ENVIRONMENT) as load:
        assert "Roll back to the previous model" not in before
        walk.reach("Roll back to the previous model")
        printed, _ = load.communicate(timeout=200)
    found = json.loads(printed.splitlines()[-1])
    sent, failed = found["requests"], len(found["failures"])
    REPORT.append(f"rollback: {sent} requests, {failed} failed, answered by versions {', '.join(found['versions'])}")
    assert found["failures"] == []
    assert found["versions"] == [str(champion), str(previous)]
    assert version(walk.shell, "champion")["version"] == previous


def test_new_credentials_leave_everything_at_work(first_run: str, walk: page.Walk) -> None:
    walk.reach("New credentials")
    assert version(walk.shell, "champion")
    ready = "curl -s http://localhost:8080/readyz || true"
    kube.until("the server to be ready", lambda: "champion is version" in walk.shell.run(ready), 60)


def test_a_damaged_database_is_restored(first_run: str, walk: page.Walk) -> None:
    assert "SHA-256" in walk.reach("Back up the database")
    before = walk.shell.run("colorize models history --json")
    sql = "drop table registered_model_aliases cascade; drop table model_versions cascade"
    command = f'psql --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --command="{sql}"'
    kube.kubectl("-n", "colorizer", "exec", "statefulset/postgres", "--", "sh", "-c", command)
    assert "error" in walk.shell.run("colorize models 2>&1 || true")
    assert "SHA-256" in walk.reach("Restore the database")
    assert walk.shell.run("colorize models history --json") == before


def test_the_page_ends_with_nothing_left_of_it(first_run: str, walk: page.Walk) -> None:
    walk.reach("Remove everything")
    assert "colorizer" not in kube.kubectl("get", "namespaces", "-o", "name").replace(CHECK, "")
    left = kube.kubectl("-n", runs.NAMESPACE, "get", "secrets,configmaps,roles,serviceaccounts", "-o", "name")
    assert [name for name in left.splitlines() if "colorizer" in name] == []
