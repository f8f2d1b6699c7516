"""Test of the page without a cluster: MLflow with its users, S3 and Kubeflow's API on loopback, in place of kubectl a
stand-in that keeps the Secrets."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import conftest, page, runs
from tests.support.dvc_project import ROOT, bare_environment
from tests.support.kfp_server import KfpServer, kfp_server
from tests.support.mlflow_server import mlflow_server
from tests.support.patience import patience
from tests.support.s3 import S3Server, seaweedfs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FORMS = "class CSRFProtect:\n    def init_app(self, app): pass\n"
"""The part of Flask-WTF that MLflow imports for its sign-up form; the environment of the tests has no such package."""
BUCKETS = ("colorizer-data", "colorizer-checkpoints", "colorizer-mlflow", "colorizer-backups")


@dataclass
class Loopback:
    """Holds the walk over the page, and the servers and files that it meets."""

    walk: page.Walk
    kubectl: Path
    s3: S3Server
    kfp: KfpServer
    forwarded: list[tuple[str, str, int, int]]

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """Returns the values of a Secret that the page has made."""
        held = json.loads((self.kubectl / f"{namespace}.{name}.json").read_text())["data"]
        return {key: base64.b64decode(value).decode() for key, value in held.items()}


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("page")
    checkout, kubectl = folder / "colorize", folder / "kubectl"
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True, timeout=patience(120))
    program = kubectl / "bin" / "kubectl"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n" + (ROOT / "tests" / "support" / "fake_kubectl.py").read_text())
    program.chmod(0o755)
    environment = bare_environment(folder) | {
        "FAKE_KUBECTL_STATE": str(kubectl),
        "FAKE_KUBECTL_REAL": str(Path(sys.executable).with_name("kubectl")),
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
    }
    environment["PATH"] = f"{kubectl / 'bin'}{os.pathsep}{environment['PATH']}"
    user = {f"GIT_{role}_{key}": "ada" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    with seaweedfs(folder / "s3") as s3, kfp_server() as kfp:
        kfp.multi_user = False
        for bucket in BUCKETS:
            s3.client().create_bucket(Bucket=bucket)
        words = {
            "AWS_ACCESS_KEY_ID=colorizer": f"AWS_ACCESS_KEY_ID={s3.access_key}",
            'AWS_SECRET_ACCESS_KEY="$(openssl rand -hex 24)"': f"AWS_SECRET_ACCESS_KEY='{s3.secret_key}'",
            "http://localhost:8333": s3.endpoint,
            "http://localhost:8888": kfp.url,
        }
        forwarded: list[tuple[str, str, int, int]] = []
        shell = page.Shell(checkout, environment | user, folder / "state")
        blocks = page.blocks(page.PAGE.read_text(encoding="utf-8"))
        walk = page.Walk(blocks, shell, words, lambda *one: forwarded.append(one))
        found = Loopback(walk, kubectl, s3, kfp, forwarded)
        walk.reach("4. Apply")
        with _mlflow_with_users(folder / "mlflow", found) as mlflow:
            words |= {"http://localhost:5000": mlflow, "http://localhost:8080/readyz": f"{mlflow}/health"}
            yield found


@contextmanager
def _mlflow_with_users(folder: Path, there: Loopback) -> Iterator[str]:
    """Yields the address of an MLflow server with the page's administrator and the manifests' rules for users."""
    (folder / "flask_wtf").mkdir(parents=True)
    (folder / "flask_wtf" / "csrf.py").write_text(FORMS)
    auth = folder / "auth.ini"
    ours = (ROOT / "k8s" / "base" / "mlflow" / "basic_auth.ini").read_text()
    auth.write_text(ours.replace("postgresql+psycopg2:///", f"sqlite:///{folder / 'auth.db'}"))
    given = there.secret("colorizer", "mlflow-server") | there.s3.environment
    given |= {"MLFLOW_AUTH_CONFIG_PATH": str(auth), "AWS_ENDPOINT_URL_S3": there.s3.endpoint, "PYTHONPATH": str(folder)}
    options = ("--app-name", "basic-auth")
    with mlflow_server(folder, store="s3://colorizer-mlflow", options=options, **given) as mlflow:
        yield mlflow


def test_secrets_are_the_same_in_both_namespaces(loopback: Loopback) -> None:
    for name in ("colorizer-mlflow", "colorizer-s3", "colorizer-webhook"):
        assert loopback.secret("kubeflow", name) == loopback.secret("colorizer", name)
    assert len(loopback.secret("colorizer", "mlflow-server")["MLFLOW_AUTH_ADMIN_PASSWORD"]) == 32


def test_the_checkout_is_clean_after_the_settings_and_after_the_photographs(loopback: Loopback) -> None:
    loopback.walk.reach("6. Photographs")
    assert loopback.walk.shell.run("git status --porcelain") == ""
    log = loopback.walk.shell.run("git log --format=%s -1")
    assert log == "Images and settings of the cluster\n"


def test_mlflows_user_is_no_administrator(loopback: Loopback) -> None:
    loopback.walk.reach("5. MLflow's user")
    assert loopback.walk.shell.run(page.MAKE_ADMINISTRATOR) == "403"


def test_photographs_and_champion_are_in_the_store_and_in_the_registry(loopback: Loopback) -> None:
    loopback.walk.reach("7. The champion of the repository")
    shell = loopback.walk.shell
    assert "in sync" in shell.run("dvc status --cloud --remote cluster")
    champion = json.loads(shell.run("colorize models show champion --json"))
    assert (champion["version"], champion["aliases"]) == (1, ["champion"])
    kept = loopback.s3.client().list_objects_v2(Bucket="colorizer-mlflow")["Contents"]
    assert any(item["Key"].endswith("generator.safetensors") for item in kept)


def test_a_run_is_sent_and_followed_with_the_settings_of_a_laptop(loopback: Loopback) -> None:
    loopback.walk.reach("9. The schedule")
    (run,) = loopback.kfp.runs.values()
    assert run["runtime_config"]["parameters"]["recipe"] == "demo"
    assert "nvidia" not in json.dumps(list(loopback.kfp.versions.values()))
    published = loopback.s3.client().get_object(Bucket="colorizer-data", Key="latest")["Body"].read()
    assert published.decode().strip() == run["runtime_config"]["parameters"]["data_version"]


def test_all_that_kubeflow_got_to_keep_is_deleted(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback.walk.reach("9. The schedule")
    monkeypatch.setattr(runs, "API", int(loopback.kfp.url.rpartition(":")[2]))
    kept = conftest.kept()
    assert {kind for kind, _ in kept.values()} == {"run", "version", "pipeline", "experiment"}
    conftest.forget({next(iter(kept))})
    assert list(conftest.kept()) == [next(iter(kept))]


def test_port_forwards_are_those_of_the_page(loopback: Loopback) -> None:
    loopback.walk.reach("9. The schedule")
    assert [(target, here) for _, target, here, _ in loopback.forwarded] == [
        ("service/mlflow", 5000),
        ("service/seaweedfs", 8333),
        ("service/ml-pipeline", 8888),
        ("service/colorizer-web", 8080),
    ]


def test_a_new_password_is_in_force_and_in_both_namespaces(loopback: Loopback) -> None:
    loopback.walk.reach("9. The schedule")
    before = loopback.secret("colorizer", "colorizer-mlflow")
    day_two = [block for block in page.blocks(page.PAGE.read_text()) if block.section == "New credentials"]
    page.Walk(day_two, loopback.walk.shell, {}, lambda *one: None).reach("New credentials")
    after = loopback.secret("colorizer", "colorizer-mlflow")
    assert after["MLFLOW_TRACKING_PASSWORD"] != before["MLFLOW_TRACKING_PASSWORD"]
    assert loopback.secret("kubeflow", "colorizer-mlflow") == after
    assert "champion" in loopback.walk.shell.run("colorize models --json")
    old = before["MLFLOW_TRACKING_PASSWORD"]
    assert "denies access" in loopback.walk.shell.run(f"MLFLOW_TRACKING_PASSWORD={old} colorize models 2>&1 || true")
