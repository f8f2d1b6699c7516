"""Settings in YAML: reading, merging and checking; an error names the file, the key and the value."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from model.utils.errors import UserError

S = TypeVar("S", bound=BaseModel)

_LIMITS = {
    "gt": "greater than", "ge": "greater than or equal to", "lt": "less than", "le": "less than or equal to",
}  # fmt: skip

_SHOWN = 60  # characters of a value in an error


class Section(BaseModel):
    """Holds settings: frozen, without unknown keys, and without conversions such as a string to a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, values: Any) -> Any:
        """Converts whole floats to int: Kubeflow passes every number as a float."""
        return whole_numbers(values)


def whole_numbers(values: Any) -> Any:
    """Returns YAML's or JSON's values with 96 in place of 96.0, at any depth."""
    if isinstance(values, dict):
        return {key: whole_numbers(value) for key, value in values.items()}
    if isinstance(values, list):
        return [whole_numbers(value) for value in values]
    return int(values) if isinstance(values, float) and values.is_integer() else values


def check(
    section: type[S], values: Mapping[str, Any], source: str | Callable[[str], str], home: str = "params.yaml"
) -> S:
    """Validates a mapping as a section.

    Args:
        section: the class of the section.
        values: key -> value.
        source: name of the mapping's origin for error messages; or what returns that of a key such as train.images.
        home: the file that lists every key.

    Raises:
        UserError: names the first invalid key, its value and what is allowed.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(_sentence(section, error, source, home)) from None


def _sentence(section: type[BaseModel], error: ValidationError, origin: str | Callable[[str], str], home: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    source = origin(key) if callable(origin) else origin
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{source}: {key} is not a known key; {home} lists them all."
    if first["type"] == "missing":
        return f"{source}: {key} is missing; {home} lists every key."
    if first["type"] == "value_error":
        return f"{source}: {key + ': ' if key else ''}{message}."
    if first["type"].startswith(("greater_than", "less_than")):
        message = f"input should be {' and '.join(limits(section, first['loc']))}"
    if first["type"] == "string_type":  # YAML reads no, 12 and 2026-01-01 as other things
        message = "input should be a string; put it in quotes"
    value = repr(first["input"])
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
    return f"{source}: {key} is {shown}; {message[0].lower() + message[1:]}."


def limits(section: Any, key: Sequence[int | str]) -> list[str]:
    """Returns in words the limits of the number at a key of a section, such as "greater than 0"."""
    annotation, found = section, list[Any]()
    for part in key:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = {one.alias or name: one for name, one in annotation.model_fields.items()}[str(part)]
            annotation, found = field.annotation, field.metadata
        else:  # an element of a tuple, or a value of a mapping
            annotation = get_args(annotation)[part if isinstance(part, int) else -1]
            found = [limit for one in getattr(annotation, "__metadata__", ()) for limit in one.metadata]
    return [f"{words} {getattr(one, name)}" for one in found for name, words in _LIMITS.items() if hasattr(one, name)]


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads the mapping in a YAML file; an empty file gives an empty mapping.

    Raises:
        UserError: the file is missing, is not YAML, or holds no mapping.
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


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")


class _Loader(yaml.SafeLoader):
    """Loads safe YAML; reads 1e-4 as a number, as YAML 1.2 does, and refuses duplicate keys and old numbers."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = str(node.value)
        if node.tag in _NUMBERS and (":" in text or _OCTAL.fullmatch(text)):
            problem = (
                f"YAML 1.1 reads {text} as {'sexagesimal' if ':' in text else 'octal'}; "
                "write a decimal number, or put it in quotes"
            )
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)

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
    """Parses YAML text.

    Raises:
        UserError: the text is not valid YAML; names the source.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        problem = ": ".join(" ".join(part.split()) for part in (error.context, error.problem) if part)
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark and "\n" in text else ""
        raise UserError(f"{source}: not valid YAML{where}: {problem}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}.") from None


def merge(base: dict[str, Any], overrides: dict[str, Any], source: str) -> None:
    """Merges overrides into `base` in place: nested mappings key by key, anything else replaces; null replaces a group.

    Raises:
        UserError: an override replaces a group of keys by a value; names the source and the keys.
    """
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value, source)
        elif isinstance(base.get(key), dict) and value is not None:
            raise UserError(f"{source}: {key} is a group of keys; give one of: {', '.join(base[key])}.")
        else:
            base[key] = value
