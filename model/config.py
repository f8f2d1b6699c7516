"""Settings of a training: section `train` of params.yaml, checked and frozen.

params.yaml alone holds the defaults.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from model.utils.settings import Section

EXACT = 2**53 - 1
"""Largest whole number that Kubeflow passes on unchanged, for it passes every number as a float."""

Seed = Annotated[int, Field(ge=0, le=EXACT)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1, le=10**12)]
NotNegative = Annotated[int, Field(ge=0, le=10**12)]
Rate = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the first limit ({limits[0]:g}) must not exceed the second ({limits[1]:g})")
    return limits


Limits = Annotated[tuple[Weight, Weight], Field(strict=False), AfterValidator(_ordered)]


class GeneratorConfig(Section):
    """Checks `train.generator`; the U-Net has `levels`, of which a pretrained encoder sets five."""

    encoder: Literal["none", "efficientnet_lite0", "resnet18", "resnet34", "convnext_tiny"]
    channels: Annotated[int, Field(ge=8, le=256, multiple_of=8)]
    levels: Annotated[int, Field(ge=2, le=9)]
    skip: bool
    noise: Literal["none", "dropout", "gaussian"]
    noise_size: Annotated[int, Field(ge=1, le=512)]
    norm: Literal["group", "batch", "instance"]
    upsample: Literal["resize", "transposed"]
    output: Literal["regression", "classes"]
    temperature: Rate
    test_time_augmentation: bool
    hints: bool
    labels: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]

    @model_validator(mode="after")
    def _pretrained_levels(self) -> Self:
        if self.encoder != "none" and self.levels != 5:
            raise ValueError(f"levels ({self.levels}) must be 5 with the encoder {self.encoder}, which has so many")
        return self

    @model_validator(mode="after")
    def _each_label_once(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels ({', '.join(self.labels)}) must not repeat a name")
        return self


class DiscriminatorConfig(Section):
    """Checks `train.discriminator`; `receptive_field` is the side of a patch in pixels."""

    channels: Annotated[int, Field(ge=8, le=256, multiple_of=8)]
    receptive_field: Literal[1, 16, 34, 70, 142, 286]
    conditional: bool
    norm: Literal["none", "group", "batch", "instance", "spectral"]


class ObjectiveConfig(Section):
    """Checks `train.objective`: the losses and their weights, of which one must remain."""

    adversarial: Literal["vanilla", "lsgan", "hinge", "none"]
    adversarial_weight: Weight
    adversarial_weighting: Literal["loss", "gradient"]
    reconstruction: Literal["l1", "l2", "none"]
    reconstruction_weight: Weight
    diversity_weight: Weight
    diversity_limit: Weight
    classes_weight: Weight
    classes_uniform: Rate

    @property
    def reconstructs(self) -> bool:
        """Says whether the reconstruction counts."""
        return self.reconstruction != "none" and self.reconstruction_weight > 0

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.adversarial == "none" and self.reconstruction == "none":
            raise ValueError("adversarial and reconstruction cannot both be none")
        if self.adversarial_weighting == "gradient" and not self.reconstructs:
            raise ValueError("adversarial_weighting must be loss when there is no reconstruction")
        return self


class ShuffleConfig(Section):
    """Checks `train.shuffle`: how a set that is streamed is shuffled."""

    lanes: Positive
    window: NotNegative


class HealthConfig(Section):
    """Checks `train.health`: limits of the figures in each row of the history."""

    d_accuracy: Limits
    ab_spread: Limits
    z_sensitivity: Weight
    patience: Positive


class TrainConfig(Section):
    """Checks section `train`, and that its values fit together; params.yaml tells what each means."""

    seed: Seed
    init: str
    images: Positive
    warmup_images: NotNegative
    critic_images: NotNegative
    batch_size: Positive
    shuffle: ShuffleConfig
    crop: Annotated[int, Field(ge=16, le=2048)]
    zoom: Annotated[float, Field(ge=1, le=8)]
    damage: Share
    hints: Share
    learning_rate: Rate
    encoder_learning_rate: Share
    encoder_weights: str
    discriminator_learning_rate: Rate
    game_rate: Rate
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)]
    decay: Literal["none", "linear", "cosine"]
    game_decay: Literal["none", "linear", "cosine"]
    decay_from: Share
    ema_half_life: NotNegative
    calibrate: bool
    clip_gradient: Weight
    precision: Literal["auto", "float32", "bfloat16"]
    checkpoint_every: Positive
    sample_every: Positive
    log_every: Positive
    validate_every: NotNegative
    select: Literal["last", "l1_ab", "balance"]
    health: HealthConfig
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    objective: ObjectiveConfig

    @property
    def game_begins(self) -> int:
        """Number of images before the adversarial phase."""
        return self.warmup_images + self.critic_images

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.game_begins > self.images:
            raise ValueError(
                f"warmup_images ({self.warmup_images}) and critic_images ({self.critic_images}) together must not "
                f"exceed images ({self.images})"
            )
        if self.warmup_images and self.objective.reconstruction == "none":
            raise ValueError("warmup_images must be 0 when objective.reconstruction is none")
        if self.critic_images and self.objective.adversarial == "none":
            raise ValueError("critic_images must be 0 when objective.adversarial is none")
        if self.hints and not self.generator.hints:
            raise ValueError(f"hints ({self.hints:g}) above 0 needs generator.hints true")
        if self.batch_size % self.shuffle.lanes:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of shuffle.lanes ({self.shuffle.lanes})"
            )
        if self.objective.classes_weight and self.generator.output != "classes":
            raise ValueError("objective.classes_weight must be 0 unless generator.output is classes")
        if self.validate_every % self.log_every:
            raise ValueError(
                f"validate_every ({self.validate_every}) must be a multiple of log_every ({self.log_every}), to whose "
                "rows it adds"
            )
        if self.select != "last" and not self.validate_every:
            raise ValueError(f"select ({self.select}) needs validate_every above 0")
        if self.crop % 2**self.generator.levels:
            raise ValueError(
                f"crop ({self.crop}) must be a multiple of 2 ** generator.levels ({2**self.generator.levels})"
            )
        return self
