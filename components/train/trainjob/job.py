"""A TrainJob in the cluster: made or adopted, followed to its end, deleted. Kubernetes' client, and its refusals."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from components.shared.machine.api_errors import api_error_message
from components.train.trainjob.pod_log import PodLog
from model.utils.errors import UserError

PAUSE = 3.0
"""Seconds between two looks. A watch would need this loop as well, for when it breaks off or falls silent."""

_CONTAINER = "node"  # of the runtime's pods

_INDEX = "batch.kubernetes.io/job-completion-index"  # label of a pod: which node it is
_KIND = {"group": "trainer.kubeflow.org", "version": "v1alpha1", "plural": "trainjobs"}
_TIMEOUT = (5, 20)  # seconds until a connection, and until each answer
_BUSY = (408, 429, 500, 502, 503, 504)

_log = logging.getLogger(__name__)


class Job:
    """One TrainJob, by its name."""

    def __init__(self, namespace: str, name: str) -> None:
        """Reaches the cluster by KUBECONFIG's file, or as a pod does."""
        if file := os.environ.get("KUBECONFIG"):
            config.load_kube_config(file)
        else:
            config.load_incluster_config()
        self._namespace, self._name = namespace, name
        self._here: dict[str, Any] = {**_KIND, "namespace": namespace, "_request_timeout": _TIMEOUT}
        self._jobs, self._core = client.CustomObjectsApi(), client.CoreV1Api()

    def start(self, manifest: dict[str, Any], prepare: Callable[[], None]) -> None:
        """Makes the job; or adopts the one that is there, unless that has failed or is being deleted.

        Args:
            manifest: the whole TrainJob.
            prepare: called before it is made.

        Raises:
            UserError: the cluster refuses it.
        """
        while True:
            found = self._read()
            if found is None:
                prepare()
                with suppress(_Exists):
                    self._ask(self._jobs.create_namespaced_custom_object, **self._here, body=manifest)
                    print(f"TrainJob {self._name} is made.", flush=True)
                    return
            elif _condition(found, "Failed") or found["metadata"].get("deletionTimestamp"):
                self.delete()
                time.sleep(PAUSE)
            else:
                owner = {"metadata": {"ownerReferences": manifest["metadata"]["ownerReferences"]}}
                patch = self._jobs.patch_namespaced_custom_object
                if self._ask(patch, **self._here, name=self._name, body=owner, missing=True):
                    print(f"TrainJob {self._name} is there already, and followed.", flush=True)
                    return

    def follow(self) -> None:
        """Waits for the job's end, and meanwhile copies its first pod's log to standard output.

        Raises:
            UserError: a pod ended with a sentence for the user; the job has failed, or was deleted.
        """
        with PodLog(self._core, self._namespace, _CONTAINER) as log:
            last = ""
            while True:
                found, pods = self._read(), self._pods()
                if found is None:
                    raise UserError(f"TrainJob {self._name} was deleted while it ran; start again to go on.")
                if first := [pod for pod in pods if pod.metadata.labels.get(_INDEX) == "0" and _has_begun(pod)]:
                    log.follow(first[-1].metadata.name)
                if (state := _state(found, pods)) != last:
                    last = state
                    print(f"TrainJob {self._name}: {state}", flush=True)
                if _condition(found, "Complete"):
                    return
                if sentence := next(filter(None, map(_last_words, pods)), None):
                    raise UserError(sentence)
                if failed := _condition(found, "Failed"):
                    raise UserError(
                        f"TrainJob {self._name} has failed ({failed.get('reason')}: {failed.get('message')}); "
                        "its first pod's log is above."
                    )
                time.sleep(PAUSE)

    def delete(self) -> None:
        """Deletes the job, its pods first; when it is not there, or the cluster does not answer, nothing happens."""
        with suppress(ApiException, HTTPError):
            self._jobs.delete_namespaced_custom_object(**self._here, name=self._name, propagation_policy="Foreground")

    def _read(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None
        found = self._ask(self._jobs.get_namespaced_custom_object, **self._here, name=self._name, missing=True)
        return found

    def _pods(self) -> list[Any]:
        """The newest last: a pod that is lost is made anew, under another name."""
        selector = f"jobset.sigs.k8s.io/jobset-name={self._name}"
        listed = self._ask(
            self._core.list_namespaced_pod, self._namespace, label_selector=selector, _request_timeout=_TIMEOUT
        )
        return sorted(listed.items, key=lambda pod: pod.metadata.creation_timestamp)

    def _ask(self, what: Callable[..., Any], *place: str, missing: bool = False, **options: Any) -> Any:
        """The cluster's answer, asked again for as long as it is busy or cannot be reached.

        Args:
            missing: whether None is the answer where there is no such object.
        """
        pause = PAUSE
        while True:
            try:
                return what(*place, **options)
            except ApiException as error:
                if error.status == 404 and missing and "page not found" not in str(error.body):
                    return None
                if error.status == 409:
                    raise _Exists from None
                if error.status not in _BUSY:
                    raise UserError(_sentence(error)) from None
                trouble = api_error_message(error)
            except HTTPError as error:
                trouble = " ".join(str(error).split())
            _log.warning("Kubernetes does not answer (%s); asking again in %.0f s.", trouble, pause)
            time.sleep(pause)
            pause = min(2 * pause, 60)


class _Exists(Exception):  # noqa: N818 - an answer
    """There is an object of this name."""


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The job's condition of this type, if it holds."""
    conditions: list[dict[str, Any]] = job.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind and each["status"] == "True"), None)


def _state(job: dict[str, Any], pods: list[Any]) -> str:
    phases = Counter(pod.status.phase for pod in pods)
    listed = ", ".join(f"{count} {phase.lower()}" for phase, count in sorted(phases.items()))
    return f"{'suspended, ' if _condition(job, 'Suspended') else ''}pods: {listed or 'none yet'}"


def _has_begun(pod: Any) -> bool:
    return any(status.state.waiting is None or status.last_state.terminated for status in _statuses(pod))


def _last_words(pod: Any) -> str:
    """What a process of the pod ended with, for the user; `components.train.trainjob.node` writes it."""
    for status in _statuses(pod):
        for state in (status.state, status.last_state):
            if state.terminated and state.terminated.message:
                return str(state.terminated.message)
    return ""


def _statuses(pod: Any) -> list[Any]:
    return pod.status.container_statuses or []


def _sentence(error: ApiException) -> str:
    words = api_error_message(error)
    if error.status in (401, 403):
        return f"Kubernetes lets the step make no TrainJobs ({words}); add k8s/components/trainer to your overlay."
    if error.status == 404:
        return f"The cluster knows no TrainJobs ({words}); install Kubeflow Trainer, or set gpu.nodes to 1."
    return f"Kubernetes refuses the TrainJob ({words})."
