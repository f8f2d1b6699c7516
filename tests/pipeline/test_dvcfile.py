"""Tests of `dvc repro` in a clone: a change reruns only dependent stages, and runs can be compared."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.config import load_config
from tests.support.dvc_project import ROOT, Project, bare_environment
from tests.support.patience import patience

STEPS = ("code", "preprocess", "inspect", "train", "evaluate", "register")
FOLDERS = ("scratch", "tuxpaint-data", "tuxtype-data", "mate-backgrounds", "gnome-control-center-data")
TINY = {
    "preprocess": {"size": 48, "min_side": 48, "min_photographs": 20},
    "train": {
        "images": 64,
        "warmup_images": 32,
        "batch_size": 8,
        "crop": 32,
        "log_every": 16,
        "sample_every": 64,
        "checkpoint_every": 64,
        "generator": {"channels": 8, "levels": 3},
        "discriminator": {"channels": 8, "receptive_field": 16},
    },
    "register": {  # every model is promoted, so that the next evaluation has another champion
        "rules": {"l1_ab": {"change": -100.0, "bound": 1000.0}, "colorfulness_error": None, "kid_efflite0": None}
    },
}

PROGRAM = """#!{python}
import sys
sys.path.insert(0, "{root}")
from pipeline.cli.main import main
main()
"""


class Clone:
    def __init__(self, folder: Path, photos: Path) -> None:
        self.root = folder / "colorize"
        user = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self._project = Project(self.root, bare_environment(folder / "home") | user)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.root)], check=True, timeout=patience(60))
        for name in FOLDERS:
            shutil.copytree(photos / name, self.root / "data" / name)
        program = self.root / ".venv" / "bin" / "colorize"  # of the clone's code
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM.format(python=sys.executable, root=self.root))
        program.chmod(0o755)
        self.dvc("add", "--quiet", "data")
        self.recipe(TINY)
        text = (self.root / "dvc.yaml").read_text()
        assert text.count("recipes/small.yaml") == 1
        (self.root / "dvc.yaml").write_text(text.replace("recipes/small.yaml", "recipes/tiny.yaml"))
        (self.root / "dvc.lock").unlink(missing_ok=True)

    def recipe(self, values: dict[str, object]) -> None:
        (self.root / "recipes" / "tiny.yaml").write_text(yaml.safe_dump(values))

    def commit(self) -> None:
        for command in (("add", "--all"), ("commit", "--quiet", "--message", "A run")):
            self._project.run("git", *command, seconds=60)

    def dvc(self, *arguments: str) -> str:
        return self._project.run("dvc", *arguments, seconds=250)

    def repro(self) -> list[str]:
        """Runs `dvc repro`; returns the steps that ran."""
        lines = self.dvc("repro").splitlines()
        ran = [step for step in STEPS if f"Running stage '{step}':" in lines]
        assert all(f"Stage '{step}' didn't change, skipping" in lines for step in STEPS if step not in ran)
        return ran


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_repro_reruns_only_the_stages_that_a_change_reaches(tmp_path: Path, photos: Path) -> None:
    clone = Clone(tmp_path, photos)
    assert clone.repro() == list(STEPS)
    first = json.loads((clone.root / "outputs/evaluation/metrics.json").read_text())
    assert "champion" not in first
    assert json.loads((clone.root / "outputs/registration/registration.json").read_text())["version"] == 1
    assert clone.repro() == []
    clone.commit()

    # A parameter of the training: the code and the photographs stay, and the champion is there to compare with.
    clone.recipe({**TINY, "train": {**TINY["train"], "images": 128}})
    ran = clone.repro()
    assert ran[-3:] == ["train", "evaluate", "register"]
    assert "code" not in ran
    second = json.loads((clone.root / "outputs/evaluation/metrics.json").read_text())
    assert second["champion"]["l1_ab"] == pytest.approx(first["l1_ab"], rel=1e-4)

    difference = json.loads(clone.dvc("metrics", "diff", "--json"))["outputs/evaluation/figures.json"]
    assert difference["l1_ab"] == {
        "old": first["l1_ab"],
        "new": second["l1_ab"],
        "diff": pytest.approx(second["l1_ab"] - first["l1_ab"]),
    }
    parameters = json.loads(clone.dvc("params", "diff", "--json"))
    assert parameters["recipes/tiny.yaml"]["train.images"] == {"old": 64, "new": 128, "diff": 64}
    plots = json.loads(clone.dvc("plots", "diff", "--json", "--out", str(tmp_path / "plots")))
    assert not plots.get("errors")
    curve = plots["data"]["Reconstruction (ab / 110)"][0]
    assert curve["revisions"] == ["workspace", "HEAD"]
    seen = {(row["rev"], int(row["images"])) for row in curve["content"]["data"]["values"]}
    assert {("HEAD", 64), ("workspace", 128)} <= seen
    pictures = plots["data"]["outputs/evaluation/samples.png"]
    assert sorted(picture["revisions"] for picture in pictures) == [["HEAD"], ["workspace"]]

    # Code that only the evaluation reaches.
    with (clone.root / "model" / "metrics" / "ssim.py").open("a") as file:
        file.write("# a remark\n")
    assert clone.repro() == ["code", "evaluate", "register"]


def test_every_stage_and_its_recipe_exist() -> None:
    """A broken dvc.yaml would fail even `dvc pull`."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert tuple(pipeline["stages"]) == STEPS
    variables = {name: value for entry in pipeline["vars"] for name, value in entry.items()}
    config = load_config(ROOT / "params.yaml", (ROOT / variables["recipe"],))
    for step in STEPS[1:]:
        assert step in config.sections()
        assert pipeline["stages"][step]["params"][0] == step
        assert f"outputs/code/{step}.txt" in pipeline["stages"][step]["deps"]
        assert f" step {step} " in pipeline["stages"][step]["cmd"]
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=True,
    )
    assert tuple(listed.stdout.split()) == STEPS
