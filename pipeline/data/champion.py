"""The champion of the repository, champion/ in DVC, for a registry that has none."""

from components.register.shipped import adopt, find_adopted
from components.shared.machine.verbosity import note
from components.shared.mlflow import connection, promotion, registry
from pipeline import ROOT
from pipeline.data.checkout import located
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
        ensure_data(ROOT, "champion")
        note(f"The registry was empty: imported the champion of the repository as version {adopt(here).number}.")
    elif not promotion.history() and (here / "version.json").is_file() and find_adopted(here):
        note(f"An import was cut off: the repository's champion is in service now, as version {adopt(here).number}.")
    else:
        numbers = ", ".join(str(version.number) for version in registered)
        note(
            f"MLflow at {connection.shown_uri()} has versions ({numbers}), and none is the champion; "
            "`colorize promote V` puts one in service."
        )
