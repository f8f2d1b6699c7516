"""Lists the graph's steps, derived from the compiled graph and the components' signatures."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from typing import Any

from docstring_parser import parse
from google.protobuf.json_format import MessageToDict
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.graph_component import GraphComponent

from pipeline import graph
from pipeline.cluster.settings import load_cluster


@dataclass(frozen=True)
class Step:
    """Describes a step of the graph.

    Attributes:
        name: of its task and of its component.
        component: as graph.py calls it.
        cached: whether an earlier output is reused when inputs and code are the same.
        per_variant: whether it runs once for each variant.
        resources: requests and limits of its pod, by Kubeflow's names; empty on this machine.
    """

    name: str
    component: BaseComponent
    cached: bool
    per_variant: bool
    resources: dict[str, Any]

    @property
    def folder(self) -> str:
        """Returns the name of its folder below components/, which is also the name of its section of params.yaml."""
        return str(self.component.python_func.__module__.split(".")[1])

    @property
    def description(self) -> str:
        """Returns the first sentence of the component's docstring."""
        return str(self.component.description).split("\n")[0]

    @property
    def contents(self) -> dict[str, str]:
        """Returns what each folder that the step writes holds, as the component's docstring says."""
        said = {param.arg_name: param.description or "" for param in parse(self.component.python_func.__doc__).params}
        return {name: " ".join(said[name].split()) for name, folder in self.outputs.items() if folder}

    @property
    def inputs(self) -> dict[str, bool]:
        """Returns the names of all inputs; whether each is a folder of an earlier step."""
        specs = self.component.component_spec.inputs or {}
        return {name: is_folder(spec.type) for name, spec in specs.items()}

    @property
    def outputs(self) -> dict[str, bool]:
        """Returns the names of all outputs; whether each is a folder, and neither a value nor a page for Kubeflow."""
        specs = self.component.component_spec.outputs or {}
        return {name: is_folder(spec.type) for name, spec in specs.items()}


def is_folder(kind: str) -> bool:
    """Returns whether a type of kfp stands for a folder that a step reads or writes."""
    return kind.startswith("system.") and not kind.startswith(("system.HTML", "system.Markdown", "system.Metrics"))


@cache
def steps(pipeline: GraphComponent = graph.retraining) -> tuple[Step, ...]:
    """Returns the steps in the order in which they run."""
    spec = MessageToDict(pipeline.pipeline_spec)
    known = {one.name: one for one in vars(graph).values() if isinstance(one, BaseComponent)}

    def walk(tasks: dict[str, Any], per_variant: bool) -> Iterator[Step]:
        order = TopologicalSorter({name: sorted(tasks[name].get("dependentTasks", ())) for name in sorted(tasks)})
        for name in order.static_order():
            task = tasks[name]
            called = task["componentRef"]["name"]
            definition = spec["components"][called]
            if "dag" in definition:
                yield from walk(definition["dag"]["tasks"], per_variant or task["taskInfo"]["name"] == "variants")
                continue
            container = spec["deploymentSpec"]["executors"][definition["executorLabel"]]["container"]
            cached = task["cachingOptions"].get("enableCache", False)
            yield Step(name, known[name], cached, per_variant, container.get("resources", {}))

    return tuple(walk(spec["root"]["dag"]["tasks"], False))


def rows() -> list[dict[str, Any]]:
    """Returns what is known of each step: its folders, whether it is reused, and what its pod asks for by default."""
    return [
        {
            "step": step.name,
            "inputs": [name for name, folder in step.inputs.items() if folder],
            "outputs": [name for name, folder in step.outputs.items() if folder],
            "reused": step.cached,
            "gpus": int(step.resources.get("accelerator", {}).get("resourceCount", 0)),
            "cpu": [step.resources["resourceCpuRequest"], step.resources["resourceCpuLimit"]],
            "memory": [step.resources["resourceMemoryRequest"], step.resources["resourceMemoryLimit"]],
        }
        for step in steps(graph.build(load_cluster()))
    ]


def table() -> list[list[str]]:
    """Returns `rows` as text, below a line of titles."""
    titles = ["step", "inputs", "outputs", "reused", "GPU", "CPU", "memory"]
    lines = [
        [
            row["step"],
            ", ".join(row["inputs"]),
            ", ".join(row["outputs"]),
            "yes" if row["reused"] else "",
            str(row["gpus"] or ""),
            " to ".join(row["cpu"]),
            " to ".join(row["memory"]),
        ]
        for row in rows()
    ]
    return [titles, *lines]
