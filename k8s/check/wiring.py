"""Rule for the wiring of the compiled pipeline: what Kubeflow's drivers refuse, and the compiler does not."""

from collections.abc import Iterator
from typing import Any

from k8s.check.compiled import Object
from k8s.check.manifests import Finding, Manifests


def types(manifests: Manifests) -> Iterator[Finding]:
    """Requires that each parameter has the type that its task declares; a driver turns only strings into others.

    The items of a loop over an output without an item type, such as `list`, are strings to the compiler.
    """
    if manifests.pipeline is None:
        return
    spec = manifests.pipeline.spec
    graphs = {"root": spec["root"]} | spec["components"]
    for name, graph in graphs.items():
        for task, parameter, wanted, given in _mismatches(graph, spec["components"]):
            text = f"the task declares {wanted}, and gets {given}; Kubeflow's driver fails it"
            yield Finding(manifests.pipeline.source, name, f"dag.tasks.{task}.inputs.parameters.{parameter}", text)


def _mismatches(graph: Object, components: dict[str, Object]) -> Iterator[tuple[str, str, str, str]]:
    """Yields the task, the parameter, the type that it declares, and the type that it gets."""
    tasks = graph.get("dag", {}).get("tasks", {})
    for name, task in tasks.items():
        declared = _types(components[task["componentRef"]["name"]], "input")
        for parameter, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                given = _types(graph, "input")[source["componentInputParameter"]]
            elif output := source.get("taskOutputParameter"):
                producer = components[tasks[output["producerTask"]]["componentRef"]["name"]]
                given = _types(producer, "output")[output["outputParameterKey"]]
            else:  # a constant, or the state of the run
                continue
            if declared[parameter] not in ("STRING", given):
                yield name, parameter, declared[parameter], given


def _types(component: Object, direction: str) -> dict[str, Any]:
    """Returns the types of the parameters of a component by name; `direction` is input or output."""
    parameters = component.get(f"{direction}Definitions", {}).get("parameters", {})
    return {name: parameter["parameterType"] for name, parameter in parameters.items()}
