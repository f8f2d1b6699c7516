"""Configuration of a run: params.yaml, recipes and `key=value` overrides, checked by the steps' own sections.

params.yaml alone holds the defaults. `components/<step>/config.py` holds the class that checks section `<step>`.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, create_model, model_validator

from components.shared.machine.root import CODE
from model.utils.errors import UserError
from model.utils.settings import Section, check, merge, parse_yaml, read_yaml
from pipeline import ROOT

PARAMS = ROOT / "params.yaml"
RECIPES = ROOT / "recipes"


class Config(Section):
    """Holds one section for each step that has settings; `config.train.images` is a key of params.yaml.

    `register` is named `register_` here, for pydantic's models have a method `register`.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if int(self.train.crop * self.train.zoom) > self.preprocess.size:
            raise ValueError(
                f"train.crop ({self.train.crop}) times train.zoom ({self.train.zoom:g}) must not exceed "
                f"preprocess.size ({self.preprocess.size})"
            )
        return self

    def sections(self) -> dict[str, dict[str, Any]]:
        """Returns the values of each section, by the names of params.yaml, in JSON's types only."""
        return self.model_dump(mode="json", by_alias=True)


@cache
def _model() -> type[Config]:
    """Builds the class whose fields are the sections of all steps."""
    fields: dict[str, Any] = {}
    for file in sorted((CODE / "components").glob("*/config.py")):
        step = file.parent.name
        section = getattr(import_module(f"components.{step}.config"), f"{step.title().replace('_', '')}Config")
        name = f"{step}_" if hasattr(Section, step) else step
        fields[name] = Annotated[section, Field(alias=step)]
    return create_model("Config", __base__=Config, **fields)


def load_config(params: Path = PARAMS, recipes: tuple[Path, ...] = (), overrides: tuple[str, ...] = ()) -> Config:
    """Reads params.yaml, then the overrides of each recipe in turn, then those such as "train.images=2000".

    Raises:
        UserError: a file is missing or no YAML; a key is unknown; a value is out of range. Names the key, the value
            and what is allowed.
    """
    values = read_yaml(params)
    given: list[tuple[str, Any]] = []
    for recipe in recipes:
        given.append((str(recipe), read_yaml(recipe)))
        merge(values, given[-1][1], source=str(recipe))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise UserError(f"--set {override}: write it as key=value, for example train.images=2000.")
        nested: Any = parse_yaml(text, f"--set {override}")
        for part in reversed(key.split(".")):
            nested = {part: nested}
        given.append(("--set", nested))
        merge(values, nested, source=f"--set {override}")

    def origin(key: str) -> str:
        return next((source for source, part in reversed(given) if _sets(part, key)), str(params))

    return check(_model(), values, origin)


def _sets(values: Any, key: str) -> bool:
    """Tells whether nested values have a key such as train.images, or a part of it; an empty key is in all."""
    for part in filter(None, key.split(".")):
        if not isinstance(values, dict):
            break
        if part not in values:
            return False
        values = values[part]
    return True


def recipe_name(recipe: str) -> str:
    """Returns the name of a recipe that is given as name or as path: small, small.yaml and recipes/small.yaml."""
    return recipe.removeprefix("recipes/").removesuffix(".yaml")


def recipe_files(names: str) -> tuple[Path, ...]:
    """Returns the files of recipes: names in recipes/ or paths of YAML files, with or without .yaml, comma-separated.

    params.yaml stands for no recipe.

    Raises:
        UserError: a recipe does not exist; lists the recipes that do.
    """
    return tuple(_recipe_file(name) for name in names.split(",") if name not in ("", PARAMS.name))


def _recipe_file(name: str) -> Path:
    file = f"{name.removesuffix('.yaml')}.yaml"
    for path in (RECIPES / file, Path(file), ROOT / file):
        if path.is_file():
            return path
    known = sorted(str(path.relative_to(RECIPES).with_suffix("")) for path in RECIPES.rglob("*.yaml"))
    raise UserError(f"There is no recipe {name} in recipes/, and no such file; there are: {', '.join(known)}.")
