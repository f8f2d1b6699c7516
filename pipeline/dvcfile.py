"""Writes dvc.yaml from the graph: a stage for each step that has a section in params.yaml and compares no variants."""

import textwrap
from functools import cache
from typing import Any

import yaml

from pipeline.alone import OUTPUTS, Alone
from pipeline.config import load_config
from pipeline.steps import steps

_HEAD = """\
# `dvc repro`: the steps of `colorize run`, over the same code. `colorize compile` writes this file.
# An output without a cache is made again in less time than it takes to keep, or tells of this machine's registry.
vars:
  - recipe: recipes/small.yaml  # overrides of params.yaml: minutes on a laptop. params.yaml: none, days without a GPU
  - colorize: PATH=$PWD/.venv/bin:$PATH colorize  # whether or not .venv is activated

stages:
"""

_TAIL = """
metrics:
  - outputs/evaluation/figures.json

plots:
  - Reconstruction (ab / 110):
      x: images
      y:
        outputs/model/history.csv: reconstruction
  - Share of patches D judges right:
      x: images
      y:
        outputs/model/history.csv: d_accuracy
  - Spread of a and b (CIELAB units; 0 is gray):
      x: images
      y:
        outputs/model/history.csv: ab_spread
  - outputs/evaluation/samples.png
"""

_KEPT = ("model", "evaluation")
"""Outputs that DVC caches."""

_AFTER = {"train": ["outputs/inspection/distributions.json"]}
"""Dependencies that no input shows. The file follows from the dataset alone: inspect may stop a run before training."""


class _Dumper(yaml.SafeDumper):
    """Indents the items of a list below its key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


@cache
def stages() -> tuple[Alone, ...]:
    """Returns the steps that are stages of DVC, in order."""
    sections = load_config().sections()
    alone = (Alone(step) for step in steps() if step.name == step.folder and step.name in sections)
    return tuple(one for one in alone if not any(spec.is_artifact_list for spec in one.spec.inputs.values()))


def text() -> str:
    """Returns the content of dvc.yaml."""
    folders = [f"outputs/code/{stage.step.name}.txt" for stage in stages()]
    code = {
        "desc": "Hashes the code behind each step, so that a change reruns the steps that can reach it and no others",
        "cmd": "${colorize} steps --code outputs/code",
        "deps": ["components", "model", "requirements.txt"],
        "outs": folders,
    }
    listed = {"code": code, **{stage.step.name: _stage(stage) for stage in stages()}}
    parts = [yaml.dump({name: stage}, Dumper=_Dumper, sort_keys=False, width=1000) for name, stage in listed.items()]
    return _HEAD + "\n".join(textwrap.indent(part, "  ") for part in parts) + _TAIL


def _stage(stage: Alone) -> dict[str, Any]:
    name = stage.step.name
    inputs = [path for path in stage.options.values() if str(path).startswith(f"{OUTPUTS}/")]
    outs = [f"{OUTPUTS}/{output}" for output in stage.outputs]
    return {
        "desc": stage.spec.description.split("\n")[0].rstrip("."),
        "cmd": f"${{colorize}} step {name} --recipe ${{recipe}}",
        "deps": [*(inputs or ["data"]), *_AFTER.get(name, ()), f"{OUTPUTS}/code/{name}.txt"],
        "params": [name, {"${recipe}": None}],
        "outs": [out if out.rpartition("/")[2] in _KEPT else {out: {"cache": False}} for out in outs],
    }
