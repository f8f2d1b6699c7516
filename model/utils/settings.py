"""Settings in YAML: read, one file merged over another, checked; a mistake becomes a sentence that names the key."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from model.utils.errors import UserError

S = TypeVar("S", bound=BaseModel)


class Section(BaseModel):
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


def check(section: type[S], values: Mapping[str, Any], source: str, home: str = "params.yaml") -> S:
    """Validates a mapping as a section; `home` is the file that lists every key.

    Raises:
        UserError: names the first offending key, its value and what is allowed.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(_sentence(error, source, home)) from None


def _sentence(error: ValidationError, source: str, home: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{source}: {key} is not a known key; {home} lists them all."
    if first["type"] == "missing":
        return f"{source}: {key} is missing; {home} lists every key."
    if first["type"] == "value_error":
        return f"{source}: {key + ': ' if key else ''}{message}."
    return f"{source}: {key} is {first['input']!r}; {message[0].lower() + message[1:]}."


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a file; empty where the file is.

    Raises:
        UserError: it is missing, no YAML, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    values = parse_yaml(text, str(path))
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


def parse_yaml(text: str, source: str) -> Any:
    """Raises UserError, with the source, when the text is no YAML."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{source}: not valid YAML: {problem}.") from None


def merge(base: dict[str, Any], overrides: dict[str, Any], source: str) -> None:
    """Nested mappings merge key by key, anything else replaces."""
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value, source)
        elif isinstance(base.get(key), dict):
            raise UserError(f"{source}: {key} is a group of keys; give one of: {', '.join(base[key])}.")
        else:
            base[key] = value
