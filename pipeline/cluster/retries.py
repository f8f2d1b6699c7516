"""Tells what a cluster's Argo tries again by default, as far as kubectl's configuration lets one read it."""

import yaml
from kubernetes import client, config

CONFIG_MAP, NAMESPACE = "workflow-controller-configmap", "kubeflow"
_SECONDS = 5
_OTHERS = ("OnError", "OnTransientError")
"""Policies that try a pod again that was lost, and none whose process was killed."""


def warning() -> str:
    """Returns a sentence when the cluster of kubectl tries no killed process again; empty else, or where it is secret.

    Kubeflow gives a step a number of retries but no policy, so that the policy of the controller's defaults holds.
    """
    try:
        settings = client.Configuration()
        config.load_kube_config(client_configuration=settings)
        settings.retries = False
        with client.ApiClient(settings) as api:
            found = client.CoreV1Api(api).read_namespaced_config_map(CONFIG_MAP, NAMESPACE, _request_timeout=_SECONDS)
        defaults = yaml.safe_load((found.data or {}).get("workflowDefaults") or "{}")
        policy = defaults["spec"]["templateDefaults"]["retryStrategy"]["retryPolicy"]
    except Exception:  # no kubectl, no right to read it, no answer, no such setting: nothing to say
        return ""
    if policy not in _OTHERS:
        return ""
    return (
        f"Argo on the cluster of kubectl does not try a step again whose process was killed (retryPolicy {policy} in "
        f"{NAMESPACE}/{CONFIG_MAP}); k8s/components/retry changes that."
    )
