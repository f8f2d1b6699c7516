"""Files of recipes, by name or path."""

from pathlib import Path

from model.utils.errors import UserError
from pipeline import ROOT


def recipe_files(names: str) -> tuple[Path, ...]:
    """Returns the files of recipes: names in recipes/ or paths of YAML files, with or without .yaml, comma-separated.

    Raises:
        UserError: a recipe does not exist; lists the recipes that do.
    """
    return tuple(_file(name) for name in names.split(",") if name)


def _file(name: str) -> Path:
    file = f"{name.removesuffix('.yaml')}.yaml"
    for path in (ROOT / "recipes" / file, Path(file), ROOT / file):
        if path.is_file():
            return path
    folder = ROOT / "recipes"
    known = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    raise UserError(f"There is no recipe {name} in recipes/, and no such file; there are: {', '.join(known)}.")
