"""What the steps ask of a cluster: cluster.yaml, overridden by a team's own file, checked, frozen.

The defaults live in cluster.yaml alone; nothing here has one, but for what Kubernetes itself leaves out.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from kubernetes.utils.quantity import parse_quantity
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from model.config import NotNegative, Positive
from model.utils.settings import Section, check, merge, read_yaml

DEFAULTS = Path(__file__).with_name("settings.yaml")

Name = Annotated[str, Field(min_length=1)]
Step = Literal[
    "resolve", "partition", "preprocess", "merge", "inspect", "train", "evaluate", "choose", "register", "gate",
    "promote", "reject", "report",
]  # fmt: skip

STREAMING: tuple[Step, ...] = ("inspect", "train", "evaluate")
"""Steps that read shards where they were published."""


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
    """Of a node's label."""

    key: Name
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: Annotated[tuple[str, ...], Field(strict=False)] = ()


class Gpu(Section):
    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]
    count: Positive
    nodes: Positive
    labels: dict[str, str]
    node_selector: dict[str, str]
    affinity: list[Requirement]
    tolerations: list[Toleration]
    shared_memory: Bytes


class Attempts(Section):
    seconds: Positive
    wait: NotNegative
    pause: Positive
    retries: Annotated[int, Field(ge=0, le=10)]

    @property
    def window(self) -> int:
        """Seconds from the first attempt on, after which Argo starts no other: all attempts, waits and pauses fit."""
        return (self.retries + 1) * (self.seconds + self.wait) + self.pause * ((1 << self.retries) - 1)


class ShardsAt(Section):
    publish: Annotated[str, Field(pattern=r"^(|s3://[^/]+.*)$")]
    cache: Bytes


class Resources(Section):
    """Of a step's pod."""

    cpu: Annotated[tuple[Cores, Cores], Field(strict=False), AfterValidator(_ordered)]
    memory: Annotated[tuple[Bytes, Bytes], Field(strict=False), AfterValidator(_ordered)]
    scratch: Bytes


class Cluster(Section):
    gpu: Gpu
    attempts: Attempts
    shards: ShardsAt
    partitions: Positive
    variants: Positive
    steps: dict[Step, Resources]

    @model_validator(mode="after")
    def _shared_memory_fits(self) -> Self:
        limit = self.steps["train"].memory[1]
        if parse_quantity(self.gpu.shared_memory) >= parse_quantity(limit):
            raise ValueError(
                f"gpu.shared_memory ({self.gpu.shared_memory}) must be below steps.train.memory's limit ({limit}), of "
                "which it is a part"
            )
        return self

    @model_validator(mode="after")
    def _shards_fit(self) -> Self:
        for step in STREAMING:
            scratch = self.steps[step].scratch
            if parse_quantity(self.shards.cache) >= parse_quantity(scratch):
                raise ValueError(f"shards.cache ({self.shards.cache}) must be below steps.{step}.scratch ({scratch})")
        return self


def load_cluster(overrides: Path | None = None) -> Cluster:
    """cluster.yaml, then a file that overrides some of it.

    Raises:
        UserError: the file is missing or no YAML; a key is unknown; a value is out of range. Names the key.
    """
    values = read_yaml(DEFAULTS)
    if overrides:
        merge(values, read_yaml(overrides), source=str(overrides))
    return check(Cluster, values, str(overrides or DEFAULTS), home="pipeline/cluster/settings.yaml")
