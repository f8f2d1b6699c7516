"""The champion of the repository, champion/ in DVC, for a registry that has none."""

from importlib.util import find_spec
from pathlib import Path

from components.shared.machine.root import INSTALLED
from components.shared.machine.verbosity import note
from components.shared.mlflow import connection, promotion, registry
from model.utils.errors import UserError
from pipeline import ROOT
from pipeline.data.checkout import filled, located
from pipeline.data.shipped import copy_champion
from pipeline.data.versions import ensure_data

CHAMPION = "models:/colorizer@champion"


def ensure_champion() -> None:
    """Imports the champion of the repository if nothing was ever registered, or completes an import that was cut off.

    If other versions are there and none is the champion, it says so.

    Raises:
        UserError: champion/ cannot be fetched or is damaged; MLflow cannot be used.
    """
    if registry.champion():
        return
    registered = registry.find_all({})
    here = located(ROOT, "champion")
    if not registered:
        if not find_spec("torch"):
            raise UserError(
                f"MLflow at {connection.shown_uri()} has no model; call `colorize models import` with the same "
                "MLFLOW_TRACKING_URI where the group serve is installed (docs/install.md)."
            )
        bring_champion()
        note(f"The registry was empty: imported the champion of the repository as version {_adopt(here)}.")
    elif not promotion.history() and (here / "version.json").is_file() and _was_begun(here):
        note(f"An import was cut off: the repository's champion is in service now, as version {_adopt(here)}.")
    else:
        numbers = ", ".join(str(version.number) for version in registered)
        note(
            f"MLflow at {connection.shown_uri()} has versions ({numbers}), and none is the champion; "
            "`colorize promote V` puts one in service."
        )


def bring_champion() -> Path:
    """Brings the files of champion/ if they are missing, and returns the folder.

    DVC brings them, from whatever remote has them. Without DVC they come from the repository; a package carries them.

    Raises:
        UserError: they cannot be fetched.
    """
    here = located(ROOT, "champion")
    if not INSTALLED and find_spec("dvc"):
        return ensure_data(ROOT, "champion").folder
    if not filled(here):
        copy_champion(ROOT, here)
    return here


def _adopt(folder: Path) -> int:
    from components.register.shipped import adopt  # here, for it needs packages that the group cluster lacks

    return adopt(folder).number


def _was_begun(folder: Path) -> bool:
    from components.register.shipped import find_adopted

    return find_adopted(folder) is not None
