"""The compiled pipeline as the rules see it: pods of its steps, its TrainJob, and how many run at once."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
Amounts = dict[str, Decimal]
"""Quantities by the keys of a ResourceQuota, such as requests.cpu."""


@dataclass(frozen=True)
class Step:
    """Holds what a step asks for: its container, and Kubeflow's settings of its pod."""

    name: str
    container: Object
    settings: Object

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.settings.get("podMetadata", {}).get("labels", {})
        return labels

    @property
    def train_job(self) -> Object | None:
        """Returns the TrainJob that the step creates, under a name that the step would give it."""
        for value in self.settings.get("podMetadata", {}).get("annotations", {}).values():
            if value.startswith("{"):
                job: Object = json.loads(value)
                return job | {"metadata": job["metadata"] | {"name": "colorizer"}}
        return None


@dataclass(frozen=True)
class Compiled:
    """Holds the two documents of a compiled pipeline."""

    source: str
    spec: Object
    executors: Object

    def steps(self) -> Iterator[Step]:
        for name, executor in self.spec["deploymentSpec"]["executors"].items():
            yield Step(name, executor["container"], self.executors.get(name, {}))

    def at_once(self, cost: Callable[[Step], Amounts]) -> Amounts:
        """Returns the most that the pods of one run ask for at the same time, of each resource.

        Args:
            cost: what the pods of a step ask for.
        """
        steps = {step.name: step for step in self.steps()}

        def of_component(name: str) -> Amounts:
            component = self.spec["components"][name]
            return (
                of_tasks(component["dag"]["tasks"]) if "dag" in component else cost(steps[component["executorLabel"]])
            )

        def of_tasks(tasks: dict[str, Object]) -> Amounts:
            costs = {
                name: times(of_component(task["componentRef"]["name"]), self._copies(task))
                for name, task in tasks.items()
            }
            return most(*(plus(*(costs[name] for name in group)) for group in _independent(tasks)))

        return of_tasks(self.spec["root"]["dag"]["tasks"])

    def _copies(self, task: Object) -> int:
        """Returns how many iterations of a loop run at once; a parameter of the pipeline has the name of a loop."""
        if "parameterIterator" not in task:
            return 1
        limit = task.get("iteratorPolicy", {}).get("parallelismLimit")
        return int(
            limit or self.spec["root"]["inputDefinitions"]["parameters"][task["taskInfo"]["name"]]["defaultValue"]
        )


def read(path: Path) -> Compiled:
    """Reads a compiled pipeline."""
    return parse(path.read_text(encoding="utf-8"), path.name)


def parse(text: str, source: str) -> Compiled:
    """Reads a compiled pipeline from its text; `source` names it in findings."""
    spec, *platform = yaml.safe_load_all(text)
    return Compiled(
        source, spec, platform[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
    )


def plus(*parts: Amounts) -> Amounts:
    """Adds amounts, resource by resource."""
    return {key: sum((part.get(key, Decimal(0)) for part in parts), Decimal(0)) for key in _keys(parts)}


def most(*parts: Amounts) -> Amounts:
    """Returns the largest amount of each resource."""
    return {key: max(part.get(key, Decimal(0)) for part in parts) for key in _keys(parts)}


def times(part: Amounts, number: int) -> Amounts:
    """Multiplies every amount."""
    return {key: value * number for key, value in part.items()}


def _keys(parts: tuple[Amounts, ...]) -> list[str]:
    return sorted({key for part in parts for key in part})


def _independent(tasks: dict[str, Object]) -> Iterator[tuple[str, ...]]:
    """Yields every group of tasks of which none waits for another, directly or not."""

    def before(name: str) -> set[str]:
        direct = set(tasks[name].get("dependentTasks", []))
        return direct.union(*map(before, direct))

    waits = {name: before(name) for name in tasks}
    for size in range(1, len(tasks) + 1):
        for group in itertools.combinations(tasks, size):
            if not any(one in waits[other] for one in group for other in group):
                yield group
