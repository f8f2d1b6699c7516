"""Runs on a cluster: following one until its end, canceling one, and starting one again."""

import os
import re
import time
from typing import Any

import kfp_server_api
import urllib3
from kfp_server_api import ApiException

from components.shared.machine.verbosity import note
from components.shared.mlflow import connection, registry, runs, tree
from model.utils.errors import Interrupted, UserError
from pipeline.cluster import kubectl
from pipeline.cluster import workflow as argo
from pipeline.cluster.client import Client
from pipeline.cluster.submit import run_name
from pipeline.steps import steps

POLL_SECONDS = 10
PATIENCE = 600
"""Seconds without an answer after which `follow` gives up."""

_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_SENTENCE = re.compile(r"^(?:error|interrupted): (.+)$", re.MULTILINE)
_FATAL = re.compile(r"^F\d{4} [\d:.]+ +\d+ \S+\] (?:KFP driver: .*\) failed: )?(.+)$", re.MULTILINE)  # glog's
_EXCEPTION = re.compile(r"^(\w+(?:\.\w+)*(?:Error|Exception|Interrupt|Exit)\b.*)$", re.MULTILINE)


def follow(client: Client, run_id: str, timeout: float = 0) -> None:
    """Prints a line on stderr whenever a step changes its state, until the run ends.

    It asks on when Kubeflow does not answer: a server that starts again, or a port-forward that was lost, comes back.

    Args:
        client: of the cluster.
        run_id: id of the run.
        timeout: seconds after which it stops to look; 0: none.

    Raises:
        UserError: the run failed or was canceled (it names the step and the step's own error); it has not ended after
            `timeout`; Kubeflow gave no answer for `PATIENCE` seconds.
        Interrupted: somebody pressed Ctrl-C. The run goes on.
    """
    try:
        run, workflow = _until_it_ends(client, run_id, timeout)
    except KeyboardInterrupt:
        raise Interrupted(f"the run goes on; `colorize follow {run_id}` shows it again.") from None
    address = client.run_address(run_id)
    if run.state == "SUCCEEDED":
        print(f"The run succeeded: {address}")
        return
    ended = "was canceled" if run.state == "CANCELED" or argo.was_canceled(workflow) else run.state.lower()
    namespace = str((workflow.get("metadata") or {}).get("namespace", ""))
    failed = argo.failed_pods(argo.nodes(workflow))
    reasons = [f"{pod.step}: {_reason(client, run_id, pod, namespace)}" for pod in failed]
    reason = "; ".join(reasons) or (workflow.get("status") or {}).get("message") or "no step says why"
    raise UserError(f"The run {ended} ({reason.rstrip('.')}); see {address}.")


def cancel(client: Client, run: kfp_server_api.V2beta1Run) -> None:
    """Stops a run; its exit task still tells people.

    Raises:
        UserError: it has ended already.
    """
    if run.state in _ENDED:
        raise UserError(f"The run {run.run_id} has ended already: {run.state.lower()}.")
    client.terminate_run(run.run_id)


def retry(client: Client, run: kfp_server_api.V2beta1Run) -> str:
    """Starts a run that failed again, with the same pipeline version and the same arguments; returns the new run's id.

    Kubeflow's cache gives what had been finished, and the training goes on from its last checkpoint. Kubeflow's own
    retry would start no exit task, keep the deadline of the first start, and not fit a run of many variants.

    Raises:
        UserError: the run has not ended, or has succeeded.
    """
    if run.state not in _ENDED:
        raise UserError(f"The run {run.run_id} has not ended; `colorize cancel {run.run_id}` stops it.")
    if run.state == "SUCCEEDED":
        raise UserError(f"The run {run.run_id} succeeded; there is nothing to try again.")
    return _start_again(client, run, {})


def evaluate(client: Client, number: int) -> str:
    """Starts the run that made a version again, so that it is scored beside today's champion; returns its id.

    Everything up to the evaluation comes from Kubeflow's cache. So it takes the data and the beginning of the training
    that the names `latest` and `champion` stood for then.

    Raises:
        UserError: there is no such version; Kubeflow no longer has the run that made it; MLflow cannot be reached.
    """
    version = registry.get(number)
    run = _origin(client, version)
    began_with = version.tags.get("began_with")
    changed: dict[str, Any] = {"data_version": version.tags["data_version"], "only_if_changed": False}
    changed["variants"] = [
        {**variant, "train": {**variant["train"], "init": began_with}}
        if began_with and variant["train"]["init"].startswith("models:")
        else variant
        for variant in run.runtime_config.parameters["variants"]
    ]
    return _start_again(client, run, changed)


def _until_it_ends(client: Client, run_id: str, timeout: float) -> tuple[kfp_server_api.V2beta1Run, dict[str, Any]]:
    shown: dict[str, argo.State] = {}
    began = answered = time.monotonic()
    silent = False
    while True:
        try:
            run, workflow = client.get_run(run_id), client.workflow(run_id)
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            if isinstance(error, ApiException) and error.status != 429 and error.status < 500:
                raise
            if time.monotonic() - answered > PATIENCE:
                raise
            if not silent:
                note(f"Kubeflow Pipelines does not answer; asking again for {PATIENCE // 60} minutes.")
            silent = True
        else:
            if silent:
                note("Kubeflow Pipelines answers again.")
            answered, silent = time.monotonic(), False
            _show(argo.nodes(workflow), shown)
            if run.state in _ENDED:
                return run, workflow
        if timeout and time.monotonic() - began > timeout:
            raise UserError(
                f"The run has not ended after {timeout:g} s; it goes on, and `colorize follow {run_id}` shows it again."
            )
        time.sleep(POLL_SECONDS)


def _show(nodes: list[argo.Node], shown: dict[str, argo.State]) -> None:
    for step in steps():
        state = argo.states(nodes, step.name)
        if state and shown.get(step.name) != state:
            shown[step.name] = state
            note(f"{step.name}: {state.word}{state.detail and f', {state.detail}'}")


def _reason(client: Client, run_id: str, pod: argo.Node, namespace: str) -> str:
    """Returns why a step failed: the sentence in its log; else in MLflow; else what Argo says of its pod.

    Kubeflow without profiles finds only logs that Argo has archived, and none of a workflow with compressed nodes.
    """
    try:
        said = _sentence(client.log(run_id, pod.pod))
    except (ApiException, urllib3.exceptions.HTTPError):
        said = ""
    said = said or _sentence(kubectl.log(namespace, pod.pod)) or _noted(run_id, pod.step)
    return said or f"{pod.message or 'no reason is known'}, and its log holds no error or is gone"


def _sentence(log: str) -> str:
    """Returns the last error in a log; empty when there is none."""
    found = _SENTENCE.findall(log) or _EXCEPTION.findall(log) or _FATAL.findall(log)
    return found[-1].strip() if found else ""


def _noted(run_id: str, step: str) -> str:
    """Returns what a step noted of its failure in MLflow; empty where MLFLOW_TRACKING_URI is not set."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return ""
    try:
        with connection.explained():
            client = connection.connect()
            experiment = runs.experiment_id(client)
            parent = tree.find(client, experiment, run_id)
            failed = tree.failure(client, experiment, parent, step) if parent else None
    except UserError:
        return ""
    return failed.reason if failed and failed.reason != tree.KILLED else ""


def _origin(client: Client, version: registry.Version) -> kfp_server_api.V2beta1Run:
    """Returns the run that made a version, or the one that judged it last."""
    for tag in ("pipeline_run_id", "judged_in"):
        if version.tags.get(tag):
            try:
                return client.get_run(version.tags[tag])
            except ApiException as error:
                if error.status not in (400, 404):
                    raise
    raise UserError(
        f"Kubeflow has no run {version.tags.get('pipeline_run_id')}, which made version {version.number}: it was "
        "deleted or ran elsewhere. `colorize submit` with the same data and recipe trains and judges again."
    )


def _start_again(client: Client, run: kfp_server_api.V2beta1Run, changed: dict[str, Any]) -> str:
    arguments = {**run.runtime_config.parameters, **changed}
    wanted = kfp_server_api.V2beta1Run(
        experiment_id=run.experiment_id,
        display_name=run_name(arguments),
        pipeline_version_reference=run.pipeline_version_reference,
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(
            parameters=arguments, pipeline_root=run.runtime_config.pipeline_root
        ),
        service_account=run.service_account,
    )
    return client.create_run(wanted)
