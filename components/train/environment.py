"""Environment variables of the train step, which the graph sets from the cluster's settings of `gpu`."""

PROCESSES = "COLORIZE_PROCESSES"
"""Number of processes that train together on this node, each with its own GPU if there are GPUs."""

RETRIES = "COLORIZE_RETRIES"
"""Number of times that the step starts a training again when a signal, such as SIGKILL, has ended it."""

ENDED = "COLORIZE_ENDED"
"""Sentences of how the earlier attempts in this step ended, for the processes of the next one."""

SUPERVISOR = "COLORIZE_SUPERVISOR"
"""Process that starts those that train; they end with it."""

TRAINJOB = "COLORIZE_TRAINJOB"
"""JSON of the TrainJob that trains instead of this pod, without what only the step knows."""

POD = {
    "POD_NAME": "metadata.name",
    "POD_UID": "metadata.uid",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_SERVICE_ACCOUNT": "spec.serviceAccountName",
}
"""Variable -> field of the step's own pod: owner, namespace and account of the TrainJob."""
