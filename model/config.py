"""Every knob of every step: read from params.yaml, overridden by a recipe and by --set, checked, frozen.

The defaults live in params.yaml alone; nothing here has one.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import UserError

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
S = TypeVar("S", bound=BaseModel)


class _Section(BaseModel):
    """Frozen; unknown keys are errors; no silent conversion (a string is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, values: Any) -> Any:
        """96.0 is 96: on its way through Kubeflow every number becomes a float."""
        if not isinstance(values, dict):
            return values
        return {
            key: int(value) if isinstance(value, float) and value.is_integer() else value
            for key, value in values.items()
        }


class PreprocessConfig(_Section):
    size: Annotated[int, Field(ge=16, le=2048)]
    min_side: Positive
    min_chroma: Annotated[float, Field(ge=0, le=128)]
    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)]
    val_percent: Annotated[int, Field(ge=0, le=50)]
    test_percent: Annotated[int, Field(ge=1, le=50)]
    labels: Annotated[str, Field(pattern=r"^(|folder|.+\.csv)$")]
    min_photographs: Positive


class GeneratorConfig(_Section):
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


class DiscriminatorConfig(_Section):
    channels: Annotated[int, Field(ge=8, le=256, multiple_of=8)]
    receptive_field: Literal[1, 16, 34, 70, 142, 286]
    conditional: bool
    norm: Literal["none", "group", "batch", "instance", "spectral"]


class ObjectiveConfig(_Section):
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


class HealthConfig(_Section):
    d_accuracy: Limits
    ab_spread: Limits
    z_sensitivity: Weight
    patience: Positive
    returns: NotNegative
    learning_rate_factor: Rate


class TrainConfig(_Section):
    seed: NotNegative
    init: str
    images: Positive
    warmup_images: NotNegative
    batch_size: Positive
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


class EvaluateConfig(_Section):
    batch_size: Positive
    samples: Annotated[int, Field(ge=2, le=64)]
    seed: NotNegative
    inception_weights: str
    lpips_weights: str


class Rule(_Section):
    direction: Literal["up", "down"]
    change: Annotated[float, Field(allow_inf_nan=False)]
    bound: Annotated[float, Field(allow_inf_nan=False)]


class RegisterConfig(_Section):
    rules: dict[str, Rule]


class Config(_Section):
    """All sections. `config.train.model_dump()` is the plain mapping that travels to a step."""

    preprocess: PreprocessConfig
    train: TrainConfig
    evaluate: EvaluateConfig
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
        """{"preprocess": {...}, "train": {...}, "evaluate": {...}, "register": {...}}, of JSON's types only."""
        return self.model_dump(mode="json", by_alias=True)


def load_config(params: Path, recipes: tuple[Path, ...] = (), overrides: tuple[str, ...] = ()) -> Config:
    """params.yaml, then the overrides of each recipe in turn, then `key=value` overrides such as "train.images=2000".

    Raises:
        UserError: a file is missing or no YAML; a key is unknown; a value is out of range. Names the key, the value
            and what is allowed.
    """
    values = _read_yaml(params)
    for recipe in recipes:
        _merge(values, _read_yaml(recipe), source=str(recipe))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise UserError(f"--set {override}: write it as key=value, for example train.images=2000.")
        nested: Any = _parse_yaml(text, f"--set {override}")
        for part in reversed(key.split(".")):
            nested = {part: nested}
        _merge(values, nested, source=f"--set {override}")
    return check(Config, values, str(recipes[-1] if recipes else params))


def check(section: type[S], values: Mapping[str, Any], source: str) -> S:
    """Validates a mapping as a section.

    Raises:
        UserError: names the first offending key, its value and what is allowed.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(_sentence(error, source)) from None


def _sentence(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{source}: {key} is not a known key; params.yaml lists them all."
    if first["type"] == "missing":
        return f"{source}: {key} is missing; params.yaml lists every key."
    if first["type"] == "value_error":
        return f"{source}: {key + ': ' if key else ''}{message}."
    return f"{source}: {key} is {first['input']!r}; {message[0].lower() + message[1:]}."


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    values = _parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values at the top level.")
    return values


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number, as YAML 1.2 does, and refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{source}: not valid YAML: {problem}.") from None


def _merge(base: dict[str, Any], overrides: dict[str, Any], source: str) -> None:
    """Nested mappings merge key by key, anything else replaces."""
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value, source)
        elif isinstance(base.get(key), dict):
            raise UserError(f"{source}: {key} is a group of keys; give one of: {', '.join(base[key])}.")
        else:
            base[key] = value
