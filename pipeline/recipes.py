"""The files of recipes/, by name."""

from pathlib import Path

from model.utils.errors import UserError
from pipeline import ROOT


def recipe_files(names: str) -> tuple[Path, ...]:
    """Recipe names, comma between, to their files in recipes/.

    Raises:
        UserError: there is no such recipe; lists those that there are.
    """
    folder = ROOT / "recipes"
    files = tuple(folder / f"{name}.yaml" for name in names.split(",") if name)
    for file in files:
        if not file.is_file():
            known = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
            raise UserError(f"There is no recipe {file.stem} in recipes/; there are: {', '.join(known)}.")
    return files
