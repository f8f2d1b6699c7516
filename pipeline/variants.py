"""The variants of a sweep: named on the command line, each with its whole configuration."""

from dataclasses import dataclass
from typing import Self

from model.config import Config, load_config
from model.utils.errors import UserError
from pipeline import ROOT
from pipeline.recipes import recipe_files


@dataclass(frozen=True)
class Variants:
    """What is compared: name -> configuration, which differ in section `train` alone."""

    configs: dict[str, Config]

    @classmethod
    def load(cls, listed: str, recipe: str, overrides: tuple[str, ...], by: str = "") -> Self:
        """Reads what `--sweep` says.

        Args:
            listed: comma between variants; each is a recipe of recipes/ (with or without the folder), a key=value, or
                several of these with + between, such as best+train.seed=1.
            recipe: what all share, as of `colorize run`; a variant comes on top.
            overrides: key=value, on top of that.
            by: the metric that says which is best; empty: what `choose.by` says.

        Raises:
            UserError: there are fewer than two variants, or two of a name; a recipe or key is unknown; variants differ
                in more than section `train`; `by` says nothing about better. Names key and variants.
        """
        from components.choose.step import direction  # it draws: torch and matplotlib take seconds to import

        chosen = (f"choose.by={by}",) if by else ()
        configs: dict[str, Config] = {}
        for text in filter(None, (part.strip() for part in listed.split(","))):
            parts = text.split("+")
            names = [_name(part) for part in parts if "=" not in part]
            settings = tuple(part for part in parts if "=" in part)
            name = "+".join((*names, *settings))
            if name in configs:
                raise UserError(f"--sweep names {name} twice; name each variant once.")
            files = (*recipe_files(recipe), *recipe_files(",".join(names)))
            configs[name] = load_config(ROOT / "params.yaml", files, (*overrides, *settings, *chosen))
        if len(configs) < 2:
            raise UserError("--sweep needs at least two variants, comma between, such as --sweep demo,small.")
        _require_same(configs)
        variants = cls(configs)
        direction(variants.shared.choose.by)
        return variants

    @property
    def shared(self) -> Config:
        """A configuration whose sections, all but `train`, are every variant's."""
        return next(iter(self.configs.values()))

    @property
    def names(self) -> str:
        return ",".join(self.configs)


def _name(recipe: str) -> str:
    return recipe.removeprefix("recipes/").removesuffix(".yaml")


def _require_same(configs: dict[str, Config]) -> None:
    (first, base), *others = ((name, config.sections()) for name, config in configs.items())
    for name, sections in others:
        for section in sorted(base.keys() - {"train"}):
            for key, value in base[section].items():
                if sections[section][key] != value:
                    raise UserError(
                        f"--sweep: {section}.{key} is {value} in {first} and {sections[section][key]} in {name}; "
                        "variants share data and scoring and may differ in train alone."
                    )
