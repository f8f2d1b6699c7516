"""What the environment says of how the train step starts; the graph sets it by what cluster.yaml says of `gpu`."""

PROCESSES = "COLORIZE_PROCESSES"
"""How many processes train together on this node, each with a GPU of its own if there are any."""

TRAINJOB = "COLORIZE_TRAINJOB"
"""The TrainJob that trains instead, as JSON, but for what only the step knows."""

POD = {
    "POD_NAME": "metadata.name",
    "POD_UID": "metadata.uid",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_SERVICE_ACCOUNT": "spec.serviceAccountName",
}
"""Of the step's own pod, and the fields that say it: the TrainJob's owner, namespace and account."""
