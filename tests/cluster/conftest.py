"""Fixtures: a cluster that is checked, the page walked as far as a test needs, and everything removed again."""

import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.images.names import CPU_IMAGE, FILE
from tests.cluster import kube, page, runs
from tests.support.dvc_project import ROOT

CHECK = "colorizer-check"
"""Namespace of the suite's own pods: the webhook's receiver, and clients from outside. It enforces `restricted`."""
NEEDS = (
    "make cluster-check needs KUBECONFIG: the configuration of a cluster that has Kubeflow Pipelines 2.17, without "
    "profiles, and the images that k8s/images/kustomization.yaml names."
)
ORDER = ("test_page", "test_runs", "test_faults", "test_network", "test_operations")
REPORT: list[str] = []
_OURS = ("AWS_", "DVC_", "GIT_", "MLFLOW_", "KF_PIPELINES_", "COLORIZE_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the files in the order of the page; within a file the tests stay as they are."""
    rank = {name: number for number, name in enumerate(ORDER)}
    items.sort(key=lambda item: rank.get(item.path.stem, -1) if item.path.parent == Path(__file__).parent else -1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in REPORT:
        terminalreporter.write_line(line)


@dataclass
class Site:
    """Holds the cluster while the suite uses it: its port-forwards, and what it had before."""

    forwards: dict[int, kube.Forward] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)

    def forward(self, namespace: str, target: str, here: int, there: int) -> None:
        """Forwards a port of this machine until the end."""
        if here not in self.forwards:
            self.forwards[here] = kube.Forward(namespace, target, here, there)
        self.forwards[here].wait()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Yields a cluster that has what the suite needs, with the webhook's receiver; removes everything at the end."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit(NEEDS, returncode=2)
    deployment = json.loads(kube.kubectl("-n", runs.NAMESPACE, "get", "deployment", "ml-pipeline", "-o", "json"))
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert ":2.17" in image, f"this cluster has {image}; {NEEDS}"
    there = kube.kubectl("get", "namespaces", "-o", "name").split()
    taken = [name for name in ("colorizer", CHECK) if f"namespace/{name}" in there]
    assert not taken, f"the cluster has a namespace {taken[0]} already, and the suite makes and removes its own"
    started, site = time.monotonic(), Site()
    try:
        site.forward(runs.NAMESPACE, "service/ml-pipeline", runs.API, 8888)
        site.before = set(kept())
        _receive()
        yield site
    finally:
        _remove(site)
        REPORT.append(f"all of it took {(time.monotonic() - started) / 60:.0f} min")


def _receive() -> None:
    """Starts the webhook's receiver, which is also the client from another namespace."""
    labels = {"app.kubernetes.io/name": "receiver"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "receiver", "namespace": CHECK},
        "spec": {"selector": labels, "ports": [{"port": 8000}]},
    }
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CHECK, "labels": restricted}})
    kube.apply(kube.pod("receiver", CHECK, CPU_IMAGE, kube.script("receiver.py", "8000"), labels, "1Gi"), service)
    kube.kubectl("-n", CHECK, "wait", "pod/receiver", "--for=condition=Ready", "--timeout=3m", seconds=200)


def kept() -> dict[str, tuple[str, str]]:
    """Returns what Kubeflow keeps beyond its namespace, by id: the kind, and the id of the pipeline of a version."""
    found: dict[str, tuple[str, str]] = {}
    with runs.api() as client:
        for schedule in client.all_recurring_runs():
            found[schedule.recurring_run_id] = "recurring_run", ""
        for run in client.list_runs(page_size=200).runs or []:
            found[run.run_id] = "run", ""
        for pipeline in client.list_pipelines(page_size=200, namespace=client.get_user_namespace()).pipelines or []:
            versions = client.list_pipeline_versions(pipeline.pipeline_id, page_size=200).pipeline_versions or []
            found |= {version.pipeline_version_id: ("version", pipeline.pipeline_id) for version in versions}
            found[pipeline.pipeline_id] = "pipeline", ""
        for experiment in client.list_experiments(page_size=200).experiments or []:
            found[experiment.experiment_id] = "experiment", ""
    return found


def forget(before: set[str]) -> None:
    """Deletes what Kubeflow got to keep since then; a run takes its workflow and its pods along."""
    there = kept()
    with runs.api() as client:
        for one, (kind, pipeline) in there.items():
            if one in before:
                continue
            if kind == "version":
                client.delete_pipeline_version(pipeline, one)
            else:
                getattr(client, f"delete_{kind}")(one)


def _remove(site: Site) -> None:
    """Removes what the page and the suite have made, whatever happened before; reports what it cannot remove."""
    if runs.API in site.forwards:
        _attempt("runs, pipelines, experiments", lambda: forget(site.before))
    wait = ("--ignore-not-found", "--timeout=5m")
    for words in (
        ("delete", "-k", "k8s/overlays/local", *wait),
        ("-n", runs.NAMESPACE, "delete", "secret", "colorizer-mlflow", "colorizer-s3", "colorizer-webhook", *wait),
        ("delete", "namespace", CHECK, *wait),
    ):
        _attempt(" ".join(words), functools.partial(kube.kubectl, *words, seconds=320))
    for forward in site.forwards.values():
        forward.close()
    lost = sum(forward.starts - 1 for forward in site.forwards.values())
    REPORT.append(f"{len(site.forwards)} port-forwards, started again {lost} times")


def _attempt(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:
        REPORT.append(f"not removed: {what}: {error}")


@pytest.fixture(scope="session")
def shell(site: Site, tmp_path_factory: pytest.TempPathFactory) -> page.Shell:
    """Returns a shell in a fresh checkout of the last commit, which knows the names of the images."""
    folder = tmp_path_factory.mktemp("cluster")
    checkout = folder / "colorize"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True, timeout=120)
    shutil.copyfile(FILE, checkout / FILE.relative_to(ROOT))
    user = {f"GIT_{role}_{key}": "cluster-check" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    given = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    config = os.pathsep.join(str(Path(part).resolve()) for part in os.environ["KUBECONFIG"].split(os.pathsep))
    ours = {"PATH": kube.PATH, "KUBECONFIG": config, "PYTHONPATH": str(checkout), "GIT_CONFIG_GLOBAL": os.devnull}
    return page.Shell(checkout, given | user | ours, folder / "state")


@pytest.fixture(scope="session")
def walk(site: Site, shell: page.Shell) -> page.Walk:
    """Returns a walk over the page, with the suite's recipe, settings and receiver in place of the page's."""
    settings = shell.folder.with_name("settings.yaml")
    settings.write_text(yaml.safe_dump(_small(yaml.safe_load((ROOT / "pipeline/cluster/local.yaml").read_text()))))
    words = {
        page.RECIPE: "RECIPE=tests/cluster/tiny",
        page.SETTINGS: f"COLORIZE_CLUSTER={settings}",
        page.WEBHOOK: f"http://receiver.{CHECK}.svc:8000/",
    }
    return page.Walk(page.blocks(page.PAGE.read_text(encoding="utf-8")), shell, words, site.forward)


def _small(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns a laptop's settings with requests for two CPUs, and with a short pause before a retry."""
    for needs in settings["steps"].values():
        needs["cpu"][0], needs["memory"][0] = "50m", "256Mi"
    return settings | {"retry": {"backoff": 5}}


@pytest.fixture(scope="session")
def installed(walk: page.Walk) -> page.Shell:
    """Returns the shell after the page's installation, with the champion of the repository in service."""
    walk.reach("7. The champion of the repository")
    return walk.shell


@pytest.fixture(scope="session")
def first_run(walk: page.Walk) -> str:
    """Returns the id of the run that the page makes."""
    return runs.run_id(walk.reach("8. The run", seconds=1200))


def version(shell: page.Shell, named: str) -> dict[str, str]:
    """Returns what the registry says about a version, given by its number or an alias."""
    found: dict[str, str] = json.loads(shell.run(f"colorize models show {named} --json"))
    return found
