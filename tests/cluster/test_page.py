"""Tests of the page up to the first schedule: each section as it is written, and what it leaves behind."""

import pytest

from tests.cluster import kube, page, runs
from tests.cluster.conftest import CHECK, REPORT, version

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def test_images_and_settings_leave_a_clean_checkout(walk: page.Walk) -> None:
    walk.reach("2. Settings")
    assert walk.shell.run("git status --porcelain") == ""


def test_the_services_start(walk: page.Walk) -> None:
    assert "successfully rolled out" in walk.reach("4. Apply")


def test_mlflows_user_is_no_administrator(walk: page.Walk) -> None:
    walk.reach("5. MLflow's user")
    assert walk.shell.run(page.MAKE_ADMINISTRATOR) == "403"


def test_the_photographs_and_the_champion_are_in_the_store(walk: page.Walk) -> None:
    assert "pushed" in walk.reach("6. Photographs")
    assert "in sync" in walk.shell.run("dvc status --cloud --remote cluster")
    assert walk.shell.run("git status --porcelain") == ""


def test_the_champion_of_the_repository_is_served(installed: page.Shell) -> None:
    assert version(installed, "champion")["version"] == 1
    installed.run("kubectl -n colorizer wait deployment/colorizer-web --for=condition=Available --timeout=5m", 320)


@pytest.mark.timeout(1500)
def test_the_first_run_promotes_its_model_and_tells_people(first_run: str, installed: page.Shell) -> None:
    assert runs.state(first_run) == "SUCCEEDED"
    champion = version(installed, "champion")
    assert champion["pipeline_run"] == first_run
    assert not champion["git_commit"].endswith("-dirty")
    assert version(installed, "previous")["version"] == 1
    message = runs.messages(CHECK)[first_run]
    assert (message["outcome"], message["version"]) == ("promoted", champion["version"])
    REPORT.append(f"the first run: {len(runs.pods(first_run))} pods, steps {', '.join(runs.steps(first_run))}")


def test_a_step_says_little_that_nobody_can_act_on(first_run: str) -> None:
    for name, pods in runs.steps(first_run).items():
        assert "GitPython" not in runs.log(pods[-1]), name


def test_the_server_serves_the_new_champion(first_run: str, walk: page.Walk) -> None:
    champion = version(walk.shell, "champion")["version"]
    wanted = f"champion is version {champion}"
    kube.until(wanted, lambda: wanted in walk.shell.run("curl -s http://localhost:8080/readyz || true"), 60)


def test_no_schedule_is_declared_and_the_photographs_are_published(first_run: str, walk: page.Walk) -> None:
    printed = walk.reach("9. The schedule")
    assert "The cluster matches schedules.yaml" in printed
    assert "Published" in printed


def test_the_newest_run_is_found_with_its_pods(first_run: str, walk: page.Walk) -> None:
    printed = walk.reach("A run")
    newest = walk.shell.variable("run").partition("/")[2]
    assert newest in {pod["metadata"]["labels"]["workflows.argoproj.io/workflow"] for pod in runs.pods(first_run)}
    assert newest in printed


def test_the_request_is_shown_before_it_is_sent(first_run: str, walk: page.Walk) -> None:
    assert f"namespace: {runs.NAMESPACE}" in walk.reach("8. The run")
