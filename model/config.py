"""Every knob of every step: read from params.yaml, overridden by a recipe and by --set, checked, frozen.

The defaults live in params.yaml alone; nothing here has one.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from model.utils.errors import UserError
from model.utils.settings import Section, merge, parse_yaml, read_yaml
from model.utils.settings import check as check  # of a section, for the steps

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the first limit ({limits[0]:g}) must not exceed the second ({limits[1]:g})")
    return limits


Limits = Annotated[tuple[Weight, Weight], Field(strict=False), AfterValidator(_ordered)]


class PreprocessConfig(Section):
    size: Annotated[int, Field(ge=16, le=2048)]
    min_side: Positive
    min_chroma: Annotated[float, Field(ge=0, le=128)]
    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)]
    val_percent: Annotated[int, Field(ge=0, le=50)]
    test_percent: Annotated[int, Field(ge=1, le=50)]
    labels: Annotated[str, Field(pattern=r"^(|folder|.+\.csv)$")]
    min_photographs: Positive


class InspectConfig(Section):
    psi_warn: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    psi_stop: Weight

    @model_validator(mode="after")
    def _warns_before_it_stops(self) -> Self:
        if self.psi_stop and self.psi_stop < self.psi_warn:
            raise ValueError(f"psi_stop ({self.psi_stop:g}) must be 0 or at least psi_warn ({self.psi_warn:g})")
        return self


class GeneratorConfig(Section):
    encoder: Literal["none", "efficientnet_lite0", "resnet18", "resnet34", "convnext_tiny"]
    channels: Annotated[int, Field(ge=8, le=256, multiple_of=8)]
    levels: Annotated[int, Field(ge=2, le=9)]
    skip: bool
    noise: Literal["none", "dropout", "gaussian"]
    noise_size: Annotated[int, Field(ge=1, le=512)]
    norm: Literal["group", "batch", "instance"]
    upsample: Literal["resize", "transposed"]
    test_time_augmentation: bool
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
    channels: Annotated[int, Field(ge=8, le=256, multiple_of=8)]
    receptive_field: Literal[1, 16, 34, 70, 142, 286]
    conditional: bool
    norm: Literal["none", "group", "batch", "instance", "spectral"]


class ObjectiveConfig(Section):
    adversarial: Literal["vanilla", "lsgan", "hinge", "none"]
    adversarial_weight: Weight
    reconstruction: Literal["l1", "l2", "none"]
    reconstruction_weight: Weight
    diversity_weight: Weight
    diversity_limit: Weight

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.adversarial == "none" and self.reconstruction == "none":
            raise ValueError("adversarial and reconstruction cannot both be none")
        return self


class ShuffleConfig(Section):
    lanes: Positive
    window: NotNegative


class HealthConfig(Section):
    d_accuracy: Limits
    ab_spread: Limits
    z_sensitivity: Weight
    patience: Positive


class TrainConfig(Section):
    seed: NotNegative
    init: str
    images: Positive
    warmup_images: NotNegative
    batch_size: Positive
    shuffle: ShuffleConfig
    crop: Annotated[int, Field(ge=16, le=2048)]
    zoom: Annotated[float, Field(ge=1, le=8)]
    damage: Share
    learning_rate: Rate
    encoder_learning_rate: Share
    encoder_weights: str
    discriminator_learning_rate: Rate
    betas: Annotated[tuple[Share, Share], Field(strict=False)]
    decay: Literal["none", "linear", "cosine"]
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_images > self.images:
            raise ValueError(f"warmup_images ({self.warmup_images}) must not exceed images ({self.images})")
        if self.warmup_images and self.objective.reconstruction == "none":
            raise ValueError("warmup_images must be 0 when objective.reconstruction is none")
        if self.batch_size % self.shuffle.lanes:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of shuffle.lanes ({self.shuffle.lanes})"
            )
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


class EvaluateConfig(Section):
    batch_size: Positive
    photographs: Positive
    samples: Annotated[int, Field(ge=2, le=64)]
    seed: NotNegative
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    inception_weights: str
    lpips_weights: str


class ChooseConfig(Section):
    by: str


class Rule(Section):
    direction: Literal["up", "down"]
    change: Annotated[float, Field(allow_inf_nan=False)]
    bound: Annotated[float, Field(allow_inf_nan=False)]


class RegisterConfig(Section):
    rules: dict[str, Rule]


class Config(Section):
    """All sections. `config.train.model_dump()` is the plain mapping that travels to a step."""

    preprocess: PreprocessConfig
    inspect: InspectConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    choose: ChooseConfig
    register_: Annotated[RegisterConfig, Field(alias="register")]

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if int(self.train.crop * self.train.zoom) > self.preprocess.size:
            raise ValueError(
                f"train.crop ({self.train.crop}) times train.zoom ({self.train.zoom:g}) must not exceed "
                f"preprocess.size ({self.preprocess.size})"
            )
        return self

    def sections(self) -> dict[str, dict[str, Any]]:
        """Section -> its values, of JSON's types only; `register` is named as in params.yaml."""
        return self.model_dump(mode="json", by_alias=True)


def load_config(params: Path, recipes: tuple[Path, ...] = (), overrides: tuple[str, ...] = ()) -> Config:
    """params.yaml, then the overrides of each recipe in turn, then `key=value` overrides such as "train.images=2000".

    Raises:
        UserError: a file is missing or no YAML; a key is unknown; a value is out of range. Names the key, the value
            and what is allowed.
    """
    values = read_yaml(params)
    for recipe in recipes:
        merge(values, read_yaml(recipe), source=str(recipe))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise UserError(f"--set {override}: write it as key=value, for example train.images=2000.")
        nested: Any = parse_yaml(text, f"--set {override}")
        for part in reversed(key.split(".")):
            nested = {part: nested}
        merge(values, nested, source=f"--set {override}")
    return check(Config, values, str(recipes[-1] if recipes else params))
