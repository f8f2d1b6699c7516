"""Describes the wiring of a compiled pipeline by what each step gets, whatever groups stand around it."""

from typing import Any


def wiring(spec: dict[str, Any], platform: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns for each step of a compiled pipeline: inputs, source by source, caching, retries, resources and pod.

    A source is an argument of the pipeline (`photos`), the output of a step (`merge.dataset`), an item of a loop
    (`each(resolve.settled)`) or all outputs of a loop (`all(train.model)`).
    """
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found: dict[str, dict[str, Any]] = {}
    _walk(spec, pods, spec["root"]["dag"], {}, found)
    return dict(sorted(found.items()))


def _walk(spec: Any, pods: Any, dag: Any, outside: dict[str, str], found: dict[str, dict[str, Any]]) -> None:
    for name, task in dag["tasks"].items():
        definition = spec["components"][task["componentRef"]["name"]]
        inputs: dict[str, str] = {}
        for kind in ("parameters", "artifacts"):
            for key, source in task.get("inputs", {}).get(kind, {}).items():
                inputs[key] = _source(spec, dag, source, outside)
        if "dag" in definition:
            if "parameterIterator" in task:
                iterator = task["parameterIterator"]
                inputs[iterator["itemInput"]] = f"each({inputs[iterator['items']['inputParameter']]})"
            _walk(spec, pods, definition["dag"], inputs, found)
            continue
        label = definition["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        found[name] = {
            "inputs": dict(sorted(inputs.items())),
            "cached": task["cachingOptions"].get("enableCache", False),
            "retry": task.get("retryPolicy"),
            "resources": container["resources"],
            "env": container.get("env", []),
            "image": container["image"].partition(":")[0].partition("@")[0],
            "pod": _pod(pods[label]),
        }


def _pod(pod: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a pod; `environment` tells for each variable the field, ConfigMap or Secret behind it."""
    rest = {name: value for name, value in pod.items() if not name.endswith("AsEnv")}
    environment = {entry["name"]: entry["fieldPath"] for entry in pod["fieldPathAsEnv"]}
    for kind, name in (("configMapAsEnv", "configMapName"), ("secretAsEnv", "secretName")):
        for source in pod[kind]:
            assert source["optional"]
            environment |= {pair["envVar"]: source[name] for pair in source["keyToEnv"]}
    return {"environment": environment, **rest}


def _source(spec: Any, dag: Any, source: dict[str, Any], outside: dict[str, str]) -> str:
    if "runtimeValue" in source:
        return repr(source["runtimeValue"]["constant"])
    if "taskFinalStatus" in source:
        return "the end"
    for given in ("componentInputParameter", "componentInputArtifact"):
        if given in source:
            name = source[given]
            found = outside.get(name, name.removeprefix("pipelinechannel--"))
            key = source.get("parameterExpressionSelector", "").removeprefix('parseJson(string_value)["')
            return f"{found}.{key[:-2]}" if key else found
    made = source.get("taskOutputParameter") or source["taskOutputArtifact"]
    key = made.get("outputParameterKey") or made["outputArtifactKey"]
    definition = spec["components"][dag["tasks"][made["producerTask"]]["componentRef"]["name"]]
    if "dag" not in definition:
        return f"{made['producerTask']}.{key}"
    (selector,) = definition["dag"]["outputs"]["artifacts"][key]["artifactSelectors"]
    return f"all({selector['producerSubtask']}.{selector['outputArtifactKey']})"
