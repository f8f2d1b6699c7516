"""Test of a run's cost on a cluster: its pods, and how many of them run one after the other, drivers included.

Kubeflow gives each step a driver's pod and, unless the cache has its outputs, one more; each graph, condition, loop and
round of a loop has a driver. docs/operate/scaling.md holds the table.
"""

import re
from collections.abc import Collection
from graphlib import TopologicalSorter

import pytest
import yaml

from pipeline import ROOT
from pipeline import compile as compiled

PARTITIONS = 2
SPEC = next(iter(yaml.safe_load_all(compiled.COMPILED.read_text(encoding="utf-8"))))


def pods(tasks: dict, cached: bool, skipped: Collection[str]) -> tuple[int, int]:
    """Returns the number of pods of a graph, and of those on its longest way.

    Args:
        tasks: of the graph.
        cached: Kubeflow's cache has the outputs of every step that may be cached.
        skipped: conditions that do not hold.
    """
    count, ways = 0, {}
    depends = {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()}
    for name in TopologicalSorter(depends).static_order():
        task = tasks[name]
        component = SPEC["components"][task["componentRef"]["name"]]
        if "dag" not in component:
            mine = way = 1 if cached and task["cachingOptions"].get("enableCache") else 2
        elif task["taskInfo"]["name"] in skipped:
            mine = way = 1
        else:
            mine, way = (number + 1 for number in pods(component["dag"]["tasks"], cached, skipped))
            if "parameterIterator" in task:
                mine, way = 1 + mine * (PARTITIONS if task["taskInfo"]["name"] == "partitions" else 1), 1 + way
        count += mine
        ways[name] = way + max((ways[before] for before in depends[name]), default=0)
    return count, max(ways.values())


@pytest.mark.parametrize(
    ("what", "cached", "skipped"),
    [
        ("everything new, and promoted", False, ()),
        ("everything cached but the verdict", True, ("better",)),
        ("nothing new", True, ("something-new",)),
    ],
)
def test_the_table_of_a_runs_pods_is_right(what: str, cached: bool, skipped: tuple[str, ...]):
    count, way = (
        number + 1 for number in pods(SPEC["root"]["dag"]["tasks"], cached, skipped)
    )  # with the root's driver
    page = (ROOT / "docs" / "operate" / "scaling.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {what} \| {count} \| {way} \|$", page, re.MULTILINE), (count, way)
