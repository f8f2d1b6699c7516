"""One TrainJob in the cluster: created or adopted, followed to its end, deleted."""

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from components.shared.machine.api_errors import api_error_message
from model.utils.errors import UserError

PAUSE = 3.0
"""Seconds between two looks at the job. A watch would need this loop too, for when its connection breaks."""

_INDEX = "batch.kubernetes.io/job-completion-index"  # label of a pod: the number of its node
_TIMEOUT = (5, 20)  # seconds until a connection, and until each answer
_LOG_ATTEMPTS = 5
_BUSY = (408, 429, 500, 502, 503, 504)
_RETRY = Retry(15, backoff_factor=0.5, backoff_max=60, status_forcelist=_BUSY, allowed_methods=None)  # ten minutes


class Job:
    """Creates, follows and deletes the TrainJob of one name. A busy or unreachable API server is asked again."""

    def __init__(self, namespace: str, name: str) -> None:
        """Connects to the cluster by the file in KUBECONFIG, or as a pod does."""
        settings = client.Configuration()
        settings.retries = _RETRY
        if file := os.environ.get("KUBECONFIG"):
            config.load_kube_config(file, client_configuration=settings)
        else:
            config.load_incluster_config(client_configuration=settings)
        api = client.ApiClient(settings)
        self._namespace, self._name = namespace, name
        self._jobs, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        self._last, self._read_at = "", 0.0  # time stamp of the last line printed; when the log was read

    def start(self, manifest: dict[str, Any], prepare: Callable[[], None]) -> None:
        """Creates the job, or adopts a job of this name unless that has failed or is being deleted.

        Args:
            manifest: the whole TrainJob.
            prepare: called before the job is created.

        Raises:
            UserError: the cluster refuses the job.
        """
        owner = {"metadata": {"ownerReferences": manifest["metadata"]["ownerReferences"]}}
        while True:
            found = self._call("get", name=self._name)
            if found is None:
                prepare()
                if self._call("create", body=manifest):
                    print(f"TrainJob {self._name} is created.", flush=True)
                    return
            elif _condition(found, "Failed") or found["metadata"].get("deletionTimestamp"):
                self.delete()
                time.sleep(PAUSE)
            elif self._call("patch", name=self._name, body=owner):
                print(f"TrainJob {self._name} exists and is followed.", flush=True)
                return

    def follow(self) -> None:
        """Waits for the end of the job, and copies the log of the first node's pod to standard output.

        Raises:
            UserError: a process ended with a sentence for the user; the job failed; something deleted the job.
        """
        shown = ""
        while job := self._call("get", name=self._name):
            pods = self._pods()
            if first := [pod for pod in pods if pod.metadata.labels.get(_INDEX) == "0" and _has_started(pod)]:
                self._print_log(first[-1].metadata.name)
            if (state := _state(job, pods)) != shown:
                print(f"TrainJob {self._name}: {state}", flush=True)
                shown = state
            if _condition(job, "Complete"):
                return
            if message := next(filter(None, map(_termination_message, pods)), None):
                raise UserError(message)
            if failed := _condition(job, "Failed"):
                reason = f"{failed.get('reason')}: {failed.get('message')}"
                raise UserError(f"TrainJob {self._name} has failed ({reason}); see the log of its first pod above.")
            time.sleep(PAUSE)
        raise UserError(f"TrainJob {self._name} was deleted while it ran; run the same command again to resume.")

    def delete(self) -> None:
        """Deletes the job after its pods; ignores a missing job and a cluster that refuses."""
        with suppress(UserError):
            self._call("delete", name=self._name, propagation_policy="Foreground")

    def _call(self, verb: str, **options: Any) -> dict[str, Any] | None:
        """Calls the API of TrainJobs; returns None for a job that is missing, or that exists and is to be created."""
        kind = {"group": "trainer.kubeflow.org", "version": "v1alpha1", "plural": "trainjobs"}
        call = getattr(self._jobs, f"{verb}_namespaced_custom_object")
        try:
            answer: dict[str, Any] = call(**kind, namespace=self._namespace, **options, _request_timeout=_TIMEOUT)
            return answer
        except ApiException as error:
            if error.status == 409 or (error.status == 404 and "page not found" not in str(error.body)):
                return None
            raise UserError(_sentence(error)) from None
        except HTTPError as error:
            raise UserError(f"Kubernetes cannot be reached ({error}); run the same command again to resume.") from None

    def _pods(self) -> list[Any]:
        """Returns the job's pods, the newest last: Kubernetes replaces a lost pod by one of another name."""
        selector = f"jobset.sigs.k8s.io/jobset-name={self._name}"
        with suppress(ApiException, HTTPError):  # the next look tries again
            pods = self._core.list_namespaced_pod(self._namespace, label_selector=selector, _request_timeout=_TIMEOUT)
            return sorted(pods.items, key=lambda pod: pod.metadata.creation_timestamp)
        return []

    def _print_log(self, pod: str) -> None:
        """Prints each line of a pod's log once: the time stamps have nine digits and sort as text."""
        now = time.monotonic()
        options = {"container": "node", "timestamps": True, "_preload_content": False, "_request_timeout": _TIMEOUT}
        if self._read_at:
            options["since_seconds"] = int(now - self._read_at) + 60
        for _ in range(_LOG_ATTEMPTS):
            unfinished = b""
            with suppress(ApiException, HTTPError):  # the connection broke, or the pod is gone
                for chunk in self._core.read_namespaced_pod_log(pod, self._namespace, **options).stream():
                    *lines, unfinished = (unfinished + chunk).split(b"\n")
                    for line in lines:
                        stamp, _, text = line.decode(errors="replace").partition(" ")
                        if stamp > self._last:
                            print(text, flush=True)
                            self._last = stamp
                self._read_at = now
                return


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """Returns the job's condition of this type, if it holds."""
    conditions: list[dict[str, Any]] = job.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind and each["status"] == "True"), None)


def _state(job: dict[str, Any], pods: list[Any]) -> str:
    phases = sorted(Counter(pod.status.phase.lower() for pod in pods).items())
    listed = ", ".join(f"{count} {phase}" for phase, count in phases) or "none yet"
    return f"{'suspended, ' if _condition(job, 'Suspended') else ''}pods: {listed}"


def _has_started(pod: Any) -> bool:
    statuses = pod.status.container_statuses or []
    return any(status.state.waiting is None or status.last_state.terminated for status in statuses)


def _termination_message(pod: Any) -> str:
    """Returns the sentence that a process of the pod ended with; `components.train.worker` writes it."""
    for status in pod.status.container_statuses or []:
        for ended in (status.state.terminated, status.last_state.terminated):
            if ended and ended.exit_code and ended.message:
                return str(ended.message)
    return ""


def _sentence(error: ApiException) -> str:
    reason = api_error_message(error)
    if error.status in (401, 403):
        return f"Kubernetes lets the step make no TrainJobs ({reason}); add k8s/components/trainer to your overlay."
    if error.status == 404:
        return f"The cluster knows no TrainJobs ({reason}); install Kubeflow Trainer, or set gpu.nodes to 1."
    return f"Kubernetes refuses the TrainJob ({reason})."
