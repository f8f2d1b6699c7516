"""Asks Kubernetes itself, as far as kubectl's configuration allows: for Argo's defaults, and for a pod's log."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from kubernetes import client, config

CONFIG_MAP, NAMESPACE = "workflow-controller-configmap", "kubeflow"
_SECONDS = 5
_LINES = 1000
_OTHERS = ("OnError", "OnTransientError")
"""Policies that try a pod again that was lost, and none whose process was killed."""


def retry_warning() -> str:
    """Returns a sentence when the cluster of kubectl tries no killed process again; empty else, or where it is secret.

    Kubeflow gives a step a number of retries but no policy, so that the policy of the controller's defaults holds.
    """
    try:
        with _api() as api:
            found = api.read_namespaced_config_map(CONFIG_MAP, NAMESPACE, _request_timeout=_SECONDS)
        defaults = yaml.safe_load((found.data or {}).get("workflowDefaults") or "{}")
        policy = defaults["spec"]["templateDefaults"]["retryStrategy"]["retryPolicy"]
    except Exception:  # no kubectl, no right to read it, no answer, no such setting: nothing to say
        return ""
    if policy not in _OTHERS:
        return ""
    return (
        f"Argo on the cluster of kubectl does not try a step again whose container was killed (retryPolicy {policy} in "
        f"{NAMESPACE}/{CONFIG_MAP}); k8s/components/retry changes that."
    )


def log(namespace: str, pod: str) -> str:
    """Returns the end of a pod's log; empty where it cannot be read."""
    try:
        with _api() as api:
            return str(
                api.read_namespaced_pod_log(
                    pod, namespace, container="main", tail_lines=_LINES, _request_timeout=_SECONDS
                )
            )
    except Exception:  # as above, or the pod is gone
        return ""


@contextmanager
def _api() -> Iterator[client.CoreV1Api]:
    settings = client.Configuration()
    config.load_kube_config(client_configuration=settings)
    settings.retries = False
    with client.ApiClient(settings) as found:
        yield client.CoreV1Api(found)
