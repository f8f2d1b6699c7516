"""The exit task: reports how a pipeline run ended to logs, MLflow and people. It never fails the run."""

import html
import json
import math
import os
from collections.abc import Callable
from typing import Any

from components.report import kubeflow
from components.report.outcome import SUCCESSES, Outcome, of_states, of_steps
from components.report.webhook import VARIABLE, deliver
from components.shared.machine.pipeline_run import RUN_ID, pipeline_run_id
from components.shared.mlflow import connection, registry, runs, tree

KFP_UI, MLFLOW_UI = "COLORIZE_KFP_UI", "COLORIZE_MLFLOW_UI"
"""Environment variables of the addresses under which people see Kubeflow Pipelines and MLflow; pods use others."""

_HEADLINES = {
    "promoted": "succeeded; version {version} is promoted",
    "proposed": "succeeded; version {version} is proposed: `colorize promote --proposed` or `colorize reject` decides",
    "rejected": "succeeded; version {version} is rejected",
    "unchanged": "succeeded; version {version} is the champion already",
}


def report(state: str, message: str, recipe: str, data_version: str) -> dict[str, Any]:
    """Prints the outcome as one line of JSON, ends the run's tree in MLflow, and posts the outcome to the webhook.

    Kubeflow gives an exit task no outputs of the steps, so it reads their results from MLflow. Where MLflow cannot be
    used, that part stays empty.

    Args:
        state: Kubeflow's state of the run, for what it is worth (`kubeflow`).
        message: Kubeflow's error message; empty or general.
        recipe: of the run.
        data_version: of the run.

    Returns:
        The content of the line: outcome (one of `SUCCESSES`, failed, canceled, unknown), failed_step, message,
        pipeline_run, recipe, data_version, version, verdict (outcome, summary, reasons), metrics
        (name -> the version's and the champion's), data_drift (the alarm of inspect), earlier (runs that told nobody
        how they ended), links, and text, a summary in the form that Slack shows.
    """
    content: dict[str, Any] = {
        "outcome": None,
        "failed_step": None,
        "message": "",
        "pipeline_run": pipeline_run_id(),
        "recipe": recipe,
        "data_version": data_version,
        "version": None,
        "verdict": None,
        "metrics": {},
        "data_drift": "",
        "earlier": [],
        "links": {"run": page} if (page := _page(pipeline_run_id())) else {},
    }
    run = _attempt("Kubeflow's API says nothing of this run", kubeflow.this_run)
    _attempt("The results of this run cannot be read from MLflow", _add_results, content, run)
    if content["outcome"] is None:
        _add_outcome(content, of_states(state, message, run))
    if run:
        content["earlier"] = _attempt("Earlier runs cannot be looked up", _untold, run) or []
    content["text"] = _text(content)
    print(json.dumps(content), flush=True)
    url = os.environ.get(VARIABLE)
    if url:
        trouble = deliver(url, content)
        print(f"webhook: not delivered: {trouble}" if trouble else "webhook: delivered", flush=True)
    return content


def _attempt(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function returns; prints its error and returns None where it raises one."""
    try:
        return function(*arguments)
    except Exception as error:
        print(f"{what}: {error}", flush=True)
        return None


def _add_outcome(content: dict[str, Any], outcome: Outcome) -> None:
    content["outcome"], content["failed_step"], content["message"] = outcome.word, outcome.step or None, outcome.message


@connection.explained()
def _add_results(content: dict[str, Any], run: kubeflow.Run | None) -> None:
    """Adds outcome and results of the steps from MLflow, and ends the run's tree there."""
    if not content["pipeline_run"]:
        raise LookupError(f"{RUN_ID} is not set")
    client = connection.connect()
    experiment = runs.experiment_id(client)
    parent = client.get_run(tree.ensure_parent_run(client, experiment))  # resolve may not have come so far
    _add_outcome(content, of_steps(client, experiment, parent, run))
    address = os.environ.get(MLFLOW_UI) or connection.shown_uri()
    ui = address.rstrip("/") if address.startswith("http") else None
    version = registry.find({"judged_in": content["pipeline_run"]})
    if version:
        content["version"] = version.number
        content["data_version"] = version.tags["data_version"]  # the run may have been given another name for it
        content["verdict"] = _verdict(version)
        content["metrics"] = _metrics(version)
        content["data_drift"] = version.tags.get("data_drift", "")
        if ui:
            judged = version.tags.get("judged_with", version.run_id)
            content["links"]["version"] = f"{ui}/#/models/{registry.MODEL}/versions/{version.number}"
            content["links"]["pictures"] = f"{ui}/get-artifact?path=evaluation/samples.png&run_uuid={judged}"
    if ui:
        content["links"]["mlflow"] = f"{ui}/#/experiments/{experiment}/runs/{parent.info.run_id}"
    tags = {name: content[name] for name in ("recipe", "data_version")} | {tree.REPORTED: content["outcome"]}
    tree.close(client, experiment, parent, content["outcome"] in SUCCESSES, tags)


@connection.explained()
def _untold(run: kubeflow.Run) -> list[dict[str, str]]:
    """Returns the earlier runs whose end nobody was told, and marks them as told.

    Such a run had no exit task, or one whose pod could not start; or it was reported as failed, and succeeded when it
    was started again, for Kubeflow does not repeat an exit task.
    """
    client = connection.connect()
    experiment = runs.experiment_id(client)
    found = []
    for other in kubeflow.ended_before(run):
        parent = tree.find(client, experiment, other.id)
        told = tree.told(parent) if parent else ""
        if told and not (told in ("failed", "canceled") and other.state == "SUCCEEDED"):
            continue
        concluded = tree.conclusion(parent) if parent else None
        outcome = concluded[0] if concluded else other.state.lower()
        client.set_tag(tree.ensure_parent_run(client, experiment, other.id), tree.REPORTED, outcome)
        found.append({"pipeline_run": other.id, "name": other.name, "outcome": outcome, "link": _page(other.id)})
    return found


def _page(run: str) -> str:
    """Returns the address of a run's page; empty where none is known."""
    ui = os.environ.get(KFP_UI)
    return f"{ui.rstrip('/')}/#/runs/details/{run}" if ui else ""


def _verdict(version: registry.Version) -> dict[str, Any]:
    """Returns the latest verdict; the tags of a champion keep the verdict that put it in service."""
    judged = version.tags["judged"]
    if judged == "unchanged":
        return {"outcome": judged, "summary": "These weights are the champion's already.", "reasons": {}}
    reasons = {name.removeprefix("gate."): text for name, text in version.tags.items() if name.startswith("gate.")}
    return {"outcome": judged, "summary": reasons.pop("summary"), "reasons": reasons}


def _metrics(version: registry.Version) -> dict[str, dict[str, float | None]]:
    own, champion = (_figures(version.tags.get(tag, "{}")) for tag in ("metrics", "metrics_champion"))
    return {name: {"version": value, "champion": champion.get(name)} for name, value in own.items()}


def _figures(tag: str) -> dict[str, float]:
    """Returns the finite figures of a tag; none where they are so many that the tag is their checksum."""
    figures = {} if tag.startswith("sha256:") else json.loads(tag)
    return {name: value for name, value in figures.items() if isinstance(value, float) and math.isfinite(value)}


def _text(content: dict[str, Any]) -> str:
    """Returns lines for people; &, < and > are escaped as Slack requires."""
    outcome, verdict, number = content["outcome"], content["verdict"], content["version"]
    how = _HEADLINES.get(outcome, outcome).format(version=number)
    if content["failed_step"]:
        how += f" in {content['failed_step']}"
    lines = [f"Retraining of {registry.MODEL} ({content['recipe']}): {how}", content["message"], content["data_drift"]]
    if verdict:
        if outcome not in SUCCESSES:
            lines.append(f"The gate had judged version {number}: {verdict['summary']}")
        lines += [f"{name} {reason}" for name, reason in verdict["reasons"].items()]
    for run in content["earlier"]:
        said = f"An earlier run, {run['name']}, told nobody how it ended: {run['outcome']}. {run['link']}"
        lines.append(said.rstrip())
    return html.escape("\n".join(filter(None, [*lines, *content["links"].values()])), quote=False)
