"""Environment variables of the train step, which the graph sets from the cluster's settings of `gpu`."""

PROCESSES = "COLORIZE_PROCESSES"
"""Number of processes that train together on this node, each with its own GPU if there are GPUs."""

TRAINJOB = "COLORIZE_TRAINJOB"
"""JSON of the TrainJob that trains instead of this pod, without what only the step knows."""

POD = {
    "POD_NAME": "metadata.name",
    "POD_UID": "metadata.uid",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_SERVICE_ACCOUNT": "spec.serviceAccountName",
}
"""Variable -> field of the step's own pod: owner, namespace and account of the TrainJob."""
