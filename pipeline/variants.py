"""Variants of a run: one recipe, or several that are compared, each with its whole configuration."""

from dataclasses import dataclass
from typing import Self

from model.utils.errors import UserError
from pipeline.config import PARAMS, Config, load_config, recipe_files, recipe_name


@dataclass(frozen=True)
class Variants:
    """Holds the configuration of each variant by name: at least one; they differ in section `train` alone."""

    configs: dict[str, Config]

    @classmethod
    def load(cls, listed: str = "", recipe: str = "", overrides: tuple[str, ...] = (), by: str = "") -> Self:
        """Reads the options of `colorize run`.

        Args:
            listed: `--variants`, separated by commas: each is a recipe of recipes/ (with or without the folder), a
                key=value, or several of these joined by +, such as best+train.seed=1. Empty: one variant, the recipe.
            recipe: `--recipe`, which all variants share; a variant comes on top.
            overrides: `--set`, each key=value, on top of that.
            by: `--by`, the metric that decides which variant is best; empty: `choose.by` of params.yaml.

        Raises:
            UserError: two variants have the same name; a recipe or key is unknown; variants differ in more than
                section `train`; `by` has no better direction. Names key and variants.
        """
        chosen = (f"choose.by={by}",) if by else ()
        configs: dict[str, Config] = {}
        for text in filter(None, (part.strip() for part in listed.split(","))):
            parts = text.split("+")
            names = [recipe_name(part) for part in parts if "=" not in part]
            settings = tuple(part for part in parts if "=" in part)
            name = "+".join((*names, *settings))
            if name in configs:
                raise UserError(f"--variants: {name} stands there twice; name each variant once.")
            files = (*recipe_files(recipe), *recipe_files(",".join(names)))
            configs[name] = load_config(PARAMS, files, (*overrides, *settings, *chosen))
        if not configs:
            name = ",".join(recipe_name(part) for part in recipe.split(",")) or PARAMS.name
            configs[name] = load_config(PARAMS, recipe_files(recipe), (*overrides, *chosen))
        _require_same(configs)
        return cls(configs)

    @property
    def shared(self) -> Config:
        """Returns the configuration that all variants share, except for its section `train`."""
        return next(iter(self.configs.values()))

    @property
    def names(self) -> str:
        """Returns the names, separated by commas."""
        return ",".join(self.configs)


def _require_same(configs: dict[str, Config]) -> None:
    (first, base), *others = ((name, config.sections()) for name, config in configs.items())
    for name, sections in others:
        for section in sorted(base.keys() - {"train"}):
            for key, value in base[section].items():
                if sections[section][key] != value:
                    raise UserError(
                        f"--variants: {section}.{key} is {value} in {first} and {sections[section][key]} in {name}; "
                        "variants share data and scoring and may differ in train alone."
                    )
