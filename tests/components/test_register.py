"""Registration, the gate's branches and the logged model, on a real SQLite store."""

import base64
import contextlib
import io
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import distribution, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from components import registry, tracking
from components.register.step import promote, register, reject
from model.checkpoint import save_generator
from model.config import RegisterConfig, Rule, load_config
from model.errors import UserError
from model.networks import Generator
from tests.tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
RULES = RegisterConfig(rules={"ab_intersection": Rule(direction="up", change=0.005, bound=0.2)})
TAGS = {
    "git_commit": "0123abc",
    "data_version": "0123456789abcdef0123456789abcdef.dir",
    "recipe": "demo",
    "pipeline_run_id": "local-1",
    "image_digest": "none",
}
PROTOCOL = {"images": 94, "size": 286, "crop": 256}


def _model(folder: Path) -> Path:
    """What train leaves: a generator of random weights, in a run of its own."""
    with tracking.run("train") as run:
        save_generator(folder, Generator(tiny_config().generator), crop=16, size=24, images=64)
        facts = {"mlflow_run_id": run.id, "data_version": TAGS["data_version"]}
        (folder / "training.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def _evaluation(model: Path, score: float | None, champion: float | None = None) -> Path:
    """What evaluate leaves: the model's score, and that of the champion of now."""
    folder = model.parent / "evaluation"
    folder.mkdir(exist_ok=True)
    protocol = PROTOCOL | {"challenger": {"weights_sha256": registry.checksum(model)}}
    metrics = {"l1_ab": 8.0, "gray": {"ab_intersection": 0.1}, "absent": {"fid": "no weights"}, "protocol": protocol}
    if score is not None:
        metrics["ab_intersection"] = score
    in_service = registry.champion()
    if champion is not None and in_service is not None:
        metrics["champion"] = {"ab_intersection": champion, "l1_ab": 8.1}
        protocol["champion"] = {"uri": in_service.uri, "weights_sha256": in_service.weights_sha256}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "report.html").write_text("<p>report", encoding="utf-8")
    (folder / "samples.png").write_bytes(b"a picture")
    return folder


@pytest.fixture
def retrain(workplace: Path) -> Callable[..., dict[str, Any]]:
    """retrain(score, champion's score) registers a new model with that evaluation and acts on the verdict."""
    count = 0

    def once(score: float | None, champion: float | None = None) -> dict[str, Any]:
        nonlocal count
        count += 1
        model, out = _model(workplace / f"model-{count}"), workplace / "registration"
        record = register(model, _evaluation(model, score, champion), out, RULES, TAGS)
        (promote if record["promote"] else reject)(out)
        return record

    return once


def _aliases() -> dict[str, int]:
    versions = {alias: registry.by_alias(alias) for alias in ("challenger", "champion", "previous")}
    return {alias: version.number for alias, version in versions.items() if version}


def test_the_first_model_becomes_champion_with_everything_said(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    record = retrain(0.5)
    assert _aliases() == {"challenger": 1, "champion": 1}
    version = registry.get(1)
    assert TAGS.items() <= version.tags.items()
    assert json.loads(version.tags["metrics"]) == {"ab_intersection": 0.5, "l1_ab": 8.0}
    assert PROTOCOL.items() <= json.loads(version.tags["metrics_protocol"]).items()
    assert version.tags["gate"] == "promote"
    assert version.tags["gate.ab_intersection"].startswith("holds: 0.5 is within the bound (at least 0.2)")
    assert version.tags["promotion_reason"].startswith("gate: All 1 rules hold: the first model")
    assert json.loads((workplace / "registration" / "registration.json").read_bytes()) == record
    assert record["weights_sha256"] == version.weights_sha256 == registry.checksum(workplace / "model-1")
    assert (record["version"], record["model_uri"], record["champion"]) == (1, "models:/colorizer/1", None)
    assert "no champion to compare with" in (workplace / "registration" / "verdict.md").read_text(encoding="utf-8")

    trained = json.loads((workplace / "model-1" / "training.json").read_bytes())["mlflow_run_id"]
    assert version.run_id == record["run_id"] == trained
    client = tracking.connect()
    assert client.get_run(trained).info.status == "FINISHED"
    logged = [Path(file.path).name for file in client.list_artifacts(trained, "evaluation")]
    assert logged == ["metrics.json", "report.html", "samples.png"]


def test_a_better_model_takes_over_and_a_worse_one_does_not(retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    assert retrain(0.51, 0.5)["champion"] == 1
    assert _aliases() == {"challenger": 2, "champion": 2, "previous": 1}
    assert registry.get(2).tags["promoted_from"] == "1"

    record = retrain(0.512, 0.51)
    assert _aliases() == {"challenger": 3, "champion": 2, "previous": 1}
    rejected = registry.get(3)
    assert (record["promote"], rejected.tags["gate"]) == (False, "reject")
    assert rejected.tags["gate.ab_intersection"].startswith("fails: 0.512 is better by 0.002 than the champion's 0.51")
    assert rejected.tags["rejection_reason"] == "gate: 1 of 1 rules failed: ab_intersection."
    assert "promoted_at" not in rejected.tags


@pytest.mark.parametrize("score", [None, math.nan, 0.1])
def test_a_first_model_without_a_sound_figure_is_no_champion(
    retrain: Callable[..., dict[str, Any]], score: float | None
) -> None:
    assert retrain(score)["outcome"] == "reject"
    assert _aliases() == {"challenger": 1}


def test_registering_again_gives_the_same_version(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    retrain(0.4, 0.5)
    model = workplace / "model-2"
    again = register(model, _evaluation(model, 0.6, 0.5), workplace / "again", RULES, TAGS)
    assert (again["version"], again["promote"]) == (2, True)
    assert registry.get(2).tags["gate"] == "promote"
    assert json.loads(registry.get(2).tags["metrics"])["ab_intersection"] == 0.6
    with pytest.raises(UserError, match="no version 3"):
        registry.get(3)
    other = RegisterConfig(rules={"l1_ab": Rule(direction="down", change=0.0, bound=20.0)})
    register(model, workplace / "evaluation", workplace / "again", other, TAGS)
    reasons = {name for name in registry.get(2).tags if name.startswith("gate.")}
    assert reasons == {"gate.summary", "gate.l1_ab"}  # and not what another rule said before


def test_other_data_make_another_version(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    other = register(
        workplace / "model-1", workplace / "evaluation", workplace / "other", RULES, TAGS | {"data_version": "d2"}
    )
    assert other["version"] == 2
    assert (other["outcome"], other["promote"]) == ("unchanged", False)


def test_the_champion_again_stays_and_keeps_its_reasons(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    before = registry.get(1)
    model = workplace / "model-1"
    again = register(model, _evaluation(model, 0.5, 0.5), workplace / "again", RULES, TAGS)
    reject(workplace / "again")
    assert (again["outcome"], again["promote"], again["version"]) == ("unchanged", False, 1)
    assert "champion's already (version 1)" in again["summary"]
    renewed = {"metrics", "metrics_protocol"}
    after = registry.get(1)
    assert {n: v for n, v in after.tags.items() if n not in renewed} == {
        n: v for n, v in before.tags.items() if n not in renewed
    }
    assert _aliases() == {"challenger": 1, "champion": 1}


def test_a_champion_that_was_not_scored_stays(retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    record = retrain(0.9)
    assert record["outcome"] == "reject"
    assert "champion (version 1) was not scored" in record["summary"]
    assert _aliases() == {"challenger": 2, "champion": 1}


def test_scores_beside_a_former_champion_do_not_count(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.5)
    slow = _model(workplace / "slow")
    late = _evaluation(slow, 0.9, 0.5).rename(workplace / "late")
    retrain(0.6, 0.5)
    record = register(slow, late, workplace / "out", RULES, TAGS)
    assert record["outcome"] == "reject"
    assert "champion (version 2) was not scored" in record["summary"]


def test_scores_of_another_model_are_refused(workplace: Path) -> None:
    evaluation = _evaluation(_model(workplace / "one"), 0.5)
    with pytest.raises(UserError, match=r"metrics\.json is of another model"):
        register(_model(workplace / "other"), evaluation, workplace / "out", RULES, TAGS)
    assert registry.by_alias("challenger") is None


def test_a_verdict_against_a_former_champion_is_not_acted_on(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    stale, slow = workplace / "stale", _model(workplace / "slow")
    register(slow, _evaluation(slow, 0.6, 0.5), stale, RULES, TAGS)
    retrain(0.7, 0.5)
    with pytest.raises(UserError, match="champion is version 3, but version 2 was compared with 1"):
        promote(stale)
    assert _aliases()["champion"] == 3


def test_only_a_promotion_is_promoted(workplace: Path, retrain: Callable[..., dict[str, Any]]) -> None:
    retrain(0.1)
    with pytest.raises(UserError, match="not to be promoted"):
        promote(workplace / "registration")
    assert registry.champion() is None


@pytest.mark.parametrize("at", ["log_model_artifacts", "create_model_version", "set_registered_model_alias"])
def test_a_crash_leaves_no_alias_on_a_half_made_version_and_is_mended(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    model = _model(workplace / "model")
    evaluation = _evaluation(model, 0.5)
    with monkeypatch.context() as crashing:

        def crash(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        crashing.setattr(f"mlflow.MlflowClient.{at}", crash)
        with pytest.raises(KeyboardInterrupt):
            register(model, evaluation, workplace / "out", RULES, TAGS)
    assert _aliases() == {}
    assert not (workplace / "out").exists()
    record = register(model, evaluation, workplace / "out", RULES, TAGS)
    assert record["version"] == 1
    assert _aliases() == {"challenger": 1}
    assert registry.checksum(registry.fetch("models:/colorizer@challenger")) == record["weights_sha256"]


def test_damaged_or_missing_input_is_refused(workplace: Path) -> None:
    model = _model(workplace / "model")
    evaluation = _evaluation(model, 0.5)
    with pytest.raises(UserError, match="recipe missing"):
        register(model, evaluation, workplace / "out", RULES, {n: v for n, v in TAGS.items() if n != "recipe"})
    (evaluation / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"metrics\.json: No such file"):
        register(model, evaluation, workplace / "out", RULES, TAGS)
    with (model / "generator.safetensors").open("ab") as file:
        file.write(b"!")
    with pytest.raises(UserError, match=r"generator\.safetensors is missing or damaged"):
        register(model, evaluation, workplace / "out", RULES, TAGS)
    assert registry.by_alias("challenger") is None


def test_the_logged_model_holds_no_pickle_and_nothing_of_training(
    workplace: Path, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    (root,) = (path.parent for path in workplace.glob("workspace/mlartifacts/**/MLmodel"))
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    code = {name for name in files if name.startswith("code/model/")}
    assert {Path(name).suffix for name in code} == {".py"}
    assert files - code == {
        "MLmodel",
        "artifacts/generator/generator.json",
        "artifacts/generator/generator.safetensors",
        "conda.yaml",
        "input_example.json",
        "pyfunc_model.py",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    }
    assert "python_model" not in (root / "MLmodel").read_text(encoding="utf-8")  # the key of a pickled model


def _site(folder: Path, names: list[str]) -> Path:
    """A site-packages folder with links to these distributions and all that they require, and to nothing else."""
    folder.mkdir()
    waiting, done = [Requirement(name) for name in names], set()
    while waiting:
        wanted = waiting.pop()
        if (wanted.marker and not wanted.marker.evaluate({"extra": ""})) or wanted.name in done:
            continue
        done.add(wanted.name)
        waiting += [Requirement(text) for text in requires(wanted.name) or ()]
        found = distribution(wanted.name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
    return folder


_STRANGER = """
import sys, base64
sys.path.append(sys.argv[1])
import mlflow, pandas
loaded = mlflow.pyfunc.load_model("models:/colorizer@champion")
photographs = pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]})
for seed in (1, 1, 2):
    for content in loaded.predict(photographs, params={"seed": seed})["image"]:
        print(base64.b64encode(content).decode())
assert "components" not in sys.modules
assert sys.modules["model"].__file__.endswith("code/model/__init__.py"), sys.modules["model"].__file__
"""


def test_the_champion_loads_and_colors_where_only_its_requirements_are(
    workplace: Path, tmp_path_factory: pytest.TempPathFactory, retrain: Callable[..., dict[str, Any]]
) -> None:
    retrain(0.5)
    (recorded,) = workplace.glob("workspace/mlartifacts/**/requirements.txt")
    names = recorded.read_text(encoding="utf-8").split()
    assert all("==" in name for name in names)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    site = _site(elsewhere / "site", names)
    assert not (site / "kfp").exists()
    assert not (site / "typer").exists()
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (20, 31, 3)), ("b.jpg", (33, 18))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(elsewhere / name)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _STRANGER, str(site), "a.png", "b.jpg"],
        cwd=elsewhere,
        env={"PATH": os.environ["PATH"], "HOME": str(elsewhere), "MLFLOW_TRACKING_URI": tracking.uri()}
        | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0:2] == lines[2:4]
    assert lines[0:2] != lines[4:6]
    colored = [Image.open(io.BytesIO(base64.b64decode(line))) for line in lines[:2]]
    assert [(image.format, image.size, image.mode) for image in colored] == [
        ("PNG", (31, 20), "RGB"),
        ("JPEG", (18, 33), "RGB"),
    ]
    assert np.ptp(np.asarray(colored[1]).astype(int), axis=2).max() > 0, "the gray photograph is still gray"


def test_the_command_line_registers_judges_and_promotes(workplace: Path) -> None:
    model = _model(workplace / "model")
    evaluation = _evaluation(model, 0.5)
    command = [sys.executable, "-m", "components.register", "--params", str(ROOT / "params.yaml")]
    command += ["--model", str(model), "--evaluation", str(evaluation), "--out", "registration"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, *reasons = done.stdout.splitlines()
    assert first == "version 1: promote. All 2 rules hold: the first model, within all bounds."
    rules = load_config(ROOT / "params.yaml").register_.rules
    assert [line.split()[:2] for line in reasons] == [["holds", f"{metric}:"] for metric in rules]
    assert registry.get(1).tags["data_version"] == TAGS["data_version"]
    assert len(registry.get(1).tags["git_commit"].removesuffix("-dirty")) in (7, 40)
    assert _aliases() == {"challenger": 1, "champion": 1}
    (evaluation / "metrics.json").unlink()
    failed = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server on loopback that keeps the artifacts itself."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.1)
        else:
            pytest.fail((home / "log").read_text(encoding="utf-8"))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@pytest.mark.slow
def test_a_server_serves_as_well_as_a_file(
    workplace: Path, server: str, retrain: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert registry.champion() is None
    retrain(0.5)
    retrain(0.6, 0.5)
    assert retrain(0.4, 0.6)["outcome"] == "reject"
    assert _aliases() == {"challenger": 3, "champion": 2, "previous": 1}
    assert registry.find({"weights_sha256": registry.get(2).weights_sha256}) == registry.get(2)
    model = workplace / "model-2"
    again = register(model, _evaluation(model, 0.6, 0.6), workplace / "again", RULES, TAGS)
    assert (again["version"], again["outcome"]) == (2, "unchanged")
    folder = registry.fetch("models:/colorizer@champion")
    assert registry.checksum(folder) == registry.checksum(workplace / "model-2")
    with pytest.raises(UserError, match="no version 9"):
        registry.fetch("models:/colorizer/9")
    assert not (workplace / "workspace" / "mlartifacts").exists()
