"""Tests of adding a step: a folder, a call in graph.py and a section in params.yaml suffice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT
from tests.support.patience import patience
from tests.support.tiny import tiny_dataset

CALL = """
                toy(dataset=dataset, config=toy_config, code=toy_code)

                with dsl.ParallelFor(settled"""
JOURNAL = "from pipeline.local.journal import expected; print(*expected(['small']))"


class Checkout:
    """Holds a copy of this tree."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "colorize"
        for name in ("model", "components", "pipeline", "serving", "recipes", "k8s"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__", "tried"))
        for name in ("params.yaml", "requirements.txt", "Makefile", "requirements-uv.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        (self.root / ".venv").mkdir()
        (self.root / ".venv" / "ready").write_text(f"{self.root.resolve()}\n")
        (self.root / ".venv" / "bin").symlink_to(Path(sys.executable).parent)

    def change(self, file: str, before: str, after: str) -> None:
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, before
        path.write_text(text.replace(before, after), encoding="utf-8")

    def run(self, *command: str | Path) -> str:
        done = self.attempt(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def attempt(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "COLORIZE"))}
        environment["PYTHONPATH"] = str(self.root)
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=patience(120)
        )

    def colorize(self, *arguments: str | Path) -> str:
        return self.run(sys.executable, "-m", "pipeline.cli.main", *arguments)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Returns a copy of the tree with one more step, `toy`, after inspect."""
    made = Checkout(tmp_path_factory.mktemp("tree"))
    assert "components/toy is made" in made.run("make", "step", "NAME=toy")
    graph = "pipeline/graph.py"
    made.change(graph, "from components.train.component import train\n", "from components.toy.component import toy\n"
                "from components.train.component import train\n")  # fmt: skip
    made.change(graph, "        train_code: str,\n", "        train_code: str,\n        toy_config: dict,\n"
                "        toy_code: str,\n")  # fmt: skip
    made.change(graph, "\n                with dsl.ParallelFor(settled", CALL)
    with (made.root / "params.yaml").open("a", encoding="utf-8") as params:
        params.write("\ntoy:\n  at_least: 1\n")
    made.colorize("compile")
    return made


def test_the_compiled_files_hold_the_new_step(checkout: Checkout) -> None:
    assert "is current" in checkout.colorize("compile", "--check")
    spec, platform = yaml.safe_load_all((checkout.root / "pipeline" / "retraining.yaml").read_text(encoding="utf-8"))
    resources = spec["deploymentSpec"]["executors"]["exec-toy"]["container"]["resources"]
    assert resources["resourceMemoryLimit"] == "2Gi"  # the default
    assert platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-toy"]["secretAsEnv"]
    stages = yaml.safe_load((checkout.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(stages) == ["code", "preprocess", "inspect", "toy", "train", "evaluate", "register"]
    assert stages["toy"]["cmd"].endswith(" step toy --recipe ${recipe}")
    assert stages["toy"]["deps"] == ["outputs/dataset", "outputs/code/toy.txt"]
    assert stages["toy"]["params"][0] == "toy"
    assert stages["toy"]["outs"] == [{"outputs/toy_result": {"cache": False}}]
    assert "outputs/code/toy.txt" in stages["code"]["outs"]
    table = (checkout.root / "docs" / "reference" / "steps.md").read_text(encoding="utf-8")
    assert "\n| toy | dataset | toy_result | yes |" in table


def test_the_commands_list_the_new_step(checkout: Checkout) -> None:
    listed = {row["step"]: row for row in json.loads(checkout.colorize("steps", "--json"))}
    assert listed["toy"]["inputs"] == ["dataset"]
    order = checkout.run(sys.executable, "-c", JOURNAL).split()
    assert order.index("inspect") < order.index("toy") < order.index("train")
    checkout.colorize("steps", "--code", "outputs/code")
    assert len((checkout.root / "outputs" / "code" / "toy.txt").read_text().strip()) == 16


def test_the_new_step_runs_alone(checkout: Checkout, tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "dataset", train=5, val=2, test=1)
    checkout.colorize("step", "toy", "--dataset", dataset, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == {"train": 5, "val": 2, "test": 1}
    command = (sys.executable, "-m", "pipeline.cli.main", "step", "toy", "--dataset", dataset)
    failed = checkout.attempt(*command, "--set", "toy.at_least=9")
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert failed.stderr.startswith("error: toy.at_least is 9")
    assert checkout.attempt(*command, "--no-such-option").returncode == 2
    unknown = checkout.attempt(*command, "--set", "toy.most=9")
    assert "toy.most is not a known key" in unknown.stderr
