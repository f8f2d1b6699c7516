"""Runs one step of the graph by itself, over folders; the signature of its component says what it takes."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from kfp.dsl.component_factory import extract_component_interface
from kfp.dsl.structures import ComponentSpec

from components.shared.machine.workspace import workspace
from components.shared.mlflow import registry
from pipeline.arguments import arguments
from pipeline.steps import Step, is_folder
from pipeline.variants import Variants

OUTPUTS = Path("outputs")
_FROM_CONFIG = ("config", "code", "variant", "variants", "tags", "origins")  # and <step>_config, <step>_code
LOOKED_UP = {
    "data_version": "Default: that of the .dvc file beside the photographs; in S3 the latest.",
    "champion": 'Default: the champion of the registry; "" for none.',
    "checkpoints": "Default: checkpoints in the workspace.",
    "store": "Default: checkpoints in the workspace.",
}
"""Inputs whose default is looked up when the step runs."""

_DEFAULTS: dict[str, Any] = {"photos": "data", "publish": "", "partitions": 1, "only_if_changed": False}


@dataclass
class _Folder:
    """Stands for a KFP artifact: kfp would rewrite a path that is s3://bucket/prefix."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def log_metric(self, name: str, value: float) -> None:
        """Does nothing: the step's folder has every figure."""


@dataclass(frozen=True)
class Alone:
    """Holds a step that runs by itself."""

    step: Step

    @cached_property
    def function(self) -> Callable[..., Any]:
        """Returns the component's function; of a folder with several components its function `alone`."""
        function: Callable[..., Any] = self.step.component.python_func
        alone: Callable[..., Any] = function.__globals__.get("alone", function)
        return alone if self.step.name == self.step.folder else function

    @cached_property
    def spec(self) -> ComponentSpec:
        return extract_component_interface(self.function)

    @property
    def options(self) -> dict[str, Any]:
        """Returns the inputs that a command line may name, each with its default; ... where one must be given.

        None stands for a default that is looked up when the step runs.
        """
        found: dict[str, Any] = {}
        for name, spec in (self.spec.inputs or {}).items():
            if is_folder(spec.type):
                found[name] = ... if spec.is_artifact_list else str(OUTPUTS / name)
            elif name in LOOKED_UP:
                found[name] = None
            elif name not in _FROM_CONFIG and not name.endswith(("_config", "_code")):
                found[name] = _DEFAULTS.get(name, ...)
        return found

    @property
    def outputs(self) -> list[str]:
        """Returns the names of the folders that the step leaves."""
        return [name for name, spec in (self.spec.outputs or {}).items() if is_folder(spec.type)]

    def run(self, given: Mapping[str, Any], out: str | None, variants: Variants) -> None:
        """Runs the step in this process.

        Args:
            given: values of some of `options`.
            out: folder for the output, or for a folder of each where there are several; outputs/<output> by default.
            variants: one, but for steps that take several.

        Raises:
            SystemExit: the step failed, with the exit status of `components.shared.step`.
        """
        options = {**self.options, **given}
        with tempfile.TemporaryDirectory() as aside:
            values: dict[str, Any] = {}
            for name, spec in (self.spec.inputs or {}).items():
                if spec.is_artifact_list:
                    values[name] = [_Folder(path) for path in options[name]]
                elif is_folder(spec.type):
                    values[name] = _Folder(options[name])
                else:
                    values[name] = self._value(name, options, variants)
            for name, output in (self.spec.outputs or {}).items():
                if name == "Output":  # what the function returns
                    continue
                if not is_folder(output.type):  # pages and figures for Kubeflow, and values
                    path = Path(aside, name)
                elif len(self.outputs) == 1:
                    path = Path(out or OUTPUTS / name)
                else:
                    path = Path(out or OUTPUTS / self.step.name, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                values[name] = _Folder(str(path)) if output.type.startswith("system.") else str(path)
            self.function(**values)
        for name in self.outputs:
            for page in sorted(Path(values[name].path).glob("*.html")):
                print(f"Report: {page}")

    def _value(self, name: str, options: Mapping[str, Any], variants: Variants) -> Any:
        """Returns a parameter: as given, or what the graph's arguments would be on this machine."""
        if options.get(name) is not None:
            return options[name]
        if name in ("checkpoints", "store"):
            return str(workspace() / "checkpoints")
        if name == "data_version":
            return _data_version(options["photos"])
        if name == "champion":
            champion = registry.champion()
            return champion.uri if champion else ""
        known = arguments(variants, "", "", "", "none: no image")
        known["tags"] = {**known["tags"], "pipeline_run_id": "none: a step run by itself"}
        known["variant"] = known["variants"][0]
        known["origins"] = [{**known["tags"], "recipe": variant["name"]} for variant in known["variants"]]
        if name == "tags":
            return known["origins"][0]
        return known[name] if name in known else known[f"{self.step.folder}_{name}"]


def _data_version(photos: str) -> str:
    """Returns the MD5 in the .dvc file beside the folder; in S3 the latest version."""
    if photos.startswith("s3://"):
        from components.shared.photos.source import remote  # which needs boto3

        with remote(photos) as found:
            return found.latest()
    try:
        tracked = yaml.safe_load(Path(f"{photos.rstrip('/')}.dvc").read_text(encoding="utf-8"))
        return str(tracked["outs"][0]["md5"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return "not under DVC"
