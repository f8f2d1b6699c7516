"""`colorize run`: the retraining graph on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.shared.machine.root import require_checkout
from pipeline.cli import options
from pipeline.cli.output import GATE_SAID_NO

if TYPE_CHECKING:
    from pipeline.variants import Variants


def run(
    recipe: options.Recipe = "",
    overrides: options.Overrides = None,
    variants: options.Variants = "",
    by: options.By = "",
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photographs. Default: data/, fetched by DVC if missing.", file_okay=False, exists=True
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan as YAML, without running it.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit status 3 if the gate rejects the model.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Outcome, steps and files as one line of JSON, in place of the summary.")
    ] = False,
) -> None:
    """Runs the retraining graph on this machine: trains, evaluates, registers, and promotes what is better.

    With --variants it trains each of them, and the best one goes on.
    """
    from components.shared.machine.workspace import workspace
    from pipeline.variants import Variants

    if photos is None:
        require_checkout("`colorize run` without --photos FOLDER")
    chosen = Variants.load(variants, recipe, tuple(overrides or ()), by)
    if dry_run:
        _show(chosen, photos)
        return
    from pipeline.data.champion import ensure_champion
    from pipeline.local import run as local_run  # after the configuration is checked: kfp takes seconds to import
    from pipeline.local import summary

    if any(config.train.init.startswith("models:") for config in chosen.configs.values()):
        ensure_champion()
    result = local_run.run(chosen, photos)
    summary.show(result, workspace() / "latest", as_json)
    raise typer.Exit(GATE_SAID_NO if check and result.rejected else result.exit_status)


def _show(variants: "Variants", photos: Path | None) -> None:
    """Prints what a run is made of: data, workspace, and each variant's values that differ from params.yaml."""
    import yaml

    from components.shared.machine.workspace import workspace
    from pipeline import ROOT
    from pipeline.config import load_config
    from pipeline.data.versions import expected_version, folder_version

    default = load_config(ROOT / "params.yaml").sections()
    shown: dict[str, Any] = {
        "photos": str(photos or ROOT / "data"),
        "data_version": folder_version(photos) if photos else expected_version(ROOT),
        "workspace": str(workspace()),
        "variants": {
            name: _differences(default, config.sections()) or "all values of params.yaml"
            for name, config in variants.configs.items()
        },
    }
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), end="")


def _differences(default: dict[str, Any], chosen: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in chosen.items():
        if isinstance(value, dict) and isinstance(default.get(key), dict):
            found |= _differences(default[key], value, f"{prefix}{key}.")
        elif value != default.get(key):
            found[f"{prefix}{key}"] = value
    return found
