"""Settings of a cluster: settings.yaml, overridden by a team's own file, checked and frozen.

settings.yaml alone holds the defaults, except for those of Kubernetes itself.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from kubernetes.utils.quantity import parse_quantity
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from model.config import NotNegative, Positive
from model.utils.settings import Section, check, merge, read_yaml

DEFAULTS = Path(__file__).with_name("settings.yaml")

Name = Annotated[str, Field(min_length=1)]

STREAMING = ("inspect", "train", "evaluate")
"""Steps that read shards where they were published."""

DEFAULT = "default"
"""Key of `steps`: the resources of every step that has none of its own."""


def _above_zero(text: str) -> str:
    if parse_quantity(text) <= 0:
        raise ValueError(f"{text} must be above 0")
    return text


def _ordered(pair: tuple[str, str]) -> tuple[str, str]:
    if parse_quantity(pair[0]) > parse_quantity(pair[1]):
        raise ValueError(f"the request ({pair[0]}) must not exceed the limit ({pair[1]})")
    return pair


# Of Kubernetes' quantities, those that kfp takes too.
Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]  # cpu: 0.5
Cores = Annotated[Text, Field(pattern=r"^(\d+m|\d+(\.\d+)?)$"), AfterValidator(_above_zero)]
Bytes = Annotated[Text, Field(pattern=r"^\d+(M|G|T|Ki|Mi|Gi|Ti)?$"), AfterValidator(_above_zero)]


class Toleration(Section):
    key: str = ""
    operator: Literal["Equal", "Exists"]
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class Requirement(Section):
    """Requires something of a node's label."""

    key: Name
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: Annotated[tuple[str, ...], Field(strict=False)] = ()


class Gpu(Section):
    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]
    count: NotNegative
    nodes: Positive
    labels: dict[str, str]
    annotations: dict[str, str]
    node_selector: dict[str, str]
    affinity: list[Requirement]
    tolerations: list[Toleration]
    shared_memory: Bytes

    @model_validator(mode="after")
    def _several_nodes_have_gpus(self) -> Self:
        if self.nodes > 1 and not self.count:
            raise ValueError(f"gpu.count is 0, which trains on the CPU of one node; gpu.nodes is {self.nodes}")
        return self


class Retry(Section):
    """Retries of train and of a partition; all durations are in seconds."""

    timeout: Positive
    max_pending: NotNegative
    backoff: Positive
    limit: Annotated[int, Field(ge=0, le=10)]

    @property
    def window(self) -> int:
        """Returns the seconds after the first attempt in which Argo starts others: all attempts and pauses fit in."""
        return (self.limit + 1) * (self.timeout + self.max_pending) + self.backoff * ((1 << self.limit) - 1)


class Deadline(Section):
    """Holds the longest lives of a run, of a step's pod that is not retried, and of the exit task's; in seconds."""

    run: Annotated[int, Field(ge=60, le=2**31 - 1)]
    step: Annotated[int, Field(ge=60)]
    report: Annotated[int, Field(ge=60)]


class ShardsAt(Section):
    publish: Annotated[str, Field(pattern=r"^(|s3://[^/]+.*)$")]
    cache: Bytes


class Resources(Section):
    """Holds requests and limits of a step's pod."""

    cpu: Annotated[tuple[Cores, Cores], Field(strict=False), AfterValidator(_ordered)]
    memory: Annotated[tuple[Bytes, Bytes], Field(strict=False), AfterValidator(_ordered)]
    scratch: Bytes


class Cluster(Section):
    gpu: Gpu
    retry: Retry
    deadline: Deadline
    shards: ShardsAt
    partitions: Positive
    variants: Positive
    steps: dict[str, Resources]

    def resources(self, step: str) -> Resources:
        """Returns the resources of a step's pod."""
        return self.steps.get(step) or self.steps[DEFAULT]

    @model_validator(mode="after")
    def _every_step_has_resources(self) -> Self:
        if DEFAULT not in self.steps:
            raise ValueError(f"steps.{DEFAULT} is missing")
        return self

    @model_validator(mode="after")
    def _attempts_fit_into_a_run(self) -> Self:
        if self.retry.window >= self.deadline.run:
            raise ValueError(
                f"deadline.run ({self.deadline.run}) must exceed {self.retry.window} s, what retry allows train"
            )
        return self

    @model_validator(mode="after")
    def _shared_memory_fits(self) -> Self:
        limit = self.resources("train").memory[1]
        if parse_quantity(self.gpu.shared_memory) >= parse_quantity(limit):
            raise ValueError(
                f"gpu.shared_memory ({self.gpu.shared_memory}) must be below steps.train.memory's limit ({limit}), of "
                "which it is a part"
            )
        return self

    @model_validator(mode="after")
    def _shards_fit(self) -> Self:
        for step in STREAMING:
            scratch = self.resources(step).scratch
            if parse_quantity(self.shards.cache) >= parse_quantity(scratch):
                raise ValueError(f"shards.cache ({self.shards.cache}) must be below steps.{step}.scratch ({scratch})")
        return self


def load_cluster(overrides: Path | None = None) -> Cluster:
    """Reads settings.yaml, then a file that overrides some of it.

    Raises:
        UserError: the file is missing or no YAML; a key is unknown; a value is out of range. Names the key.
    """
    values = read_yaml(DEFAULTS)
    if overrides:
        merge(values, read_yaml(overrides), source=str(overrides))
    return check(Cluster, values, str(overrides or DEFAULTS), home="pipeline/cluster/settings.yaml")
