"""Comparison of trainings: the working tree and another commit train the same, and must agree to the bit.

`make same` compares with the last commit, `make same BASE=main` with another one. The exit status is 1 at the first
difference of a row of history.jsonl (images_per_second aside) or of a tensor of the generator.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from tests.support.tiny import ROOT, tiny_dataset, tiny_overrides

_EVERYTHING = (
    "train.log_every=8",
    "train.validate_every=16",
    "train.select=balance",
    "train.damage=0.5",
    "train.calibrate=true",
    "train.discriminator.norm=spectral",
)
"""Overrides that make as much of the training count as 64 images can."""


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """Checks a commit out into a folder, as a temporary worktree."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def train(tree: Path, dataset: Path, folder: Path) -> Path:
    """Runs the train step of a tree by its command line; returns its output."""
    old = tree / "components" / "train" / "__main__.py"  # before there was `colorize step`
    program = ["components.train", "--params", str(tree / "params.yaml")] if old.exists() else ["pipeline.cli.main"]
    command = [sys.executable, "-m", *program, *([] if old.exists() else ["step", "train"])]
    command += ["--dataset", str(dataset), "--out", str(folder / "model"), "--checkpoints", str(folder / "checkpoints")]
    command += [*tiny_overrides(), *(part for override in _EVERYTHING for part in ("--set", override))]
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    folder.mkdir()
    result = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{tree}: the train step ended with status {result.returncode}:\n{result.stderr}")
    return next((folder / "model").rglob("generator.safetensors")).parent


def rows(output: Path) -> list[dict[str, Any]]:
    """Returns the rows of history.jsonl without images_per_second, which depends on the clock."""
    found = [json.loads(line) for line in (output / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in found]


def difference(old: Path, new: Path) -> str:
    """Describes the first difference of two outputs; empty without one."""
    histories = rows(old), rows(new)
    for before, after in zip(*histories, strict=False):
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                images = before["images"]
                return f"history.jsonl at {images} images: {name} was {before.get(name)}, is {after.get(name)}"
    if len(histories[0]) != len(histories[1]):
        return f"history.jsonl had {len(histories[0])} rows, has {len(histories[1])}"
    weights = [safetensors.torch.load_file(output / "generator.safetensors") for output in (old, new)]
    for name in sorted(weights[0].keys() | weights[1].keys()):
        if name not in weights[0] or name not in weights[1] or not torch.equal(weights[0][name], weights[1][name]):
            return f"generator.safetensors: {name} differs"
    return ""


def main() -> None:
    """Prints one line: the same, or the first difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="HEAD", help="commit to compare the working tree with")
    base = parser.parse_args().base
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = tiny_dataset(folder / "dataset")
        with checked_out(base, folder / "tree") as tree:
            old = train(tree, dataset, folder / "old")
        found = difference(old, train(ROOT, dataset, folder / "new"))
        if found:
            sys.exit(f"different from {base}: {found}")
        tensors = len(safetensors.torch.load_file(old / "generator.safetensors"))
        print(
            f"the same as {base} to the bit: {len(rows(old))} rows of history.jsonl, {tensors} tensors of the generator"
        )


if __name__ == "__main__":
    main()
