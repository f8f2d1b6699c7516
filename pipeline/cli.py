"""`colorize`: the one program of this project."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.workspace import VARIABLE, workspace
from model.errors import UserError
from pipeline import ROOT

app = typer.Typer(
    help="Retrains an image colorizer, promotes it if it has earned it, and colors photographs with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: a user's mistake ends in one line on stderr and exit status 1."""
    os.environ.setdefault(VARIABLE, str(ROOT / "workspace"))
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


@app.command()
def run(
    recipe: Annotated[
        str, typer.Option(help="Name of a file in recipes/, without .yaml; several, comma between.")
    ] = "",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key, such as train.images=2000."),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of photographs; default: data/, brought by DVC.", file_okay=False, exists=True),
    ] = None,
) -> None:
    """Runs the whole retraining graph on this machine."""
    from model.config import load_config
    from pipeline import local_run, summary
    from pipeline.shipped import ensure_champion

    config = load_config(ROOT / "params.yaml", recipe_files(recipe), tuple(overrides or ()))
    if config.train.init.startswith("models:"):
        ensure_champion()
    result = local_run.run(config, recipe or "params.yaml", photos)
    summary.show(result, workspace() / "latest")
    raise typer.Exit(result.exit_status)


@app.command()
def photo(
    files: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>-colorized.<ext>.", file_okay=False)],
    model: Annotated[
        str, typer.Option(help="models:/colorizer@champion, models:/colorizer/3, or a generator folder.")
    ] = "models:/colorizer@champion",
    samples: Annotated[int, typer.Option(min=1, max=100, help="Colorings of each photograph.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same colorings.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="What they show, such as dusk, for a model that was trained with labels.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures that exist.")] = False,
) -> None:
    """Colors photographs with the champion; goes on past those that it cannot color, and lists them at the end."""
    from components import registry
    from pipeline.shipped import CHAMPION, ensure_champion
    from serving.batch import color_photographs

    def generator() -> Path:
        if model == CHAMPION:
            ensure_champion()
        return registry.fetch(model)

    failures = color_photographs(files, out, generator, samples=samples, seed=seed, label=label, overwrite=overwrite)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    raise typer.Exit(1 if failures else 0)


@app.command()
def sweep(
    variants: Annotated[list[str], typer.Argument(help="Recipes to compare, each on top of --recipe.")],
    out: Annotated[Path, typer.Option(help="Folder for table, histograms and pictures.")],
    recipe: Annotated[str, typer.Option(help="What all share; several, comma between.")] = "small",
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="On top of it all.")] = None,
) -> None:
    """Trains and scores several variants on the same photographs and compares them; registers nothing."""
    from pipeline.sweep import sweep

    files = {variant: recipe_files(variant)[0] for variant in variants}
    sweep(recipe_files(recipe), files, overrides or [], out)
    print((out / "table.md").read_text(encoding="utf-8"))


@app.command("compile")
def compile_(
    check: Annotated[bool, typer.Option(help="Only say whether the YAML in the repository is current.")] = False,
    cluster: Annotated[
        Path | None, typer.Option(help="YAML that overrides some of pipeline/cluster.yaml.", dir_okay=False)
    ] = None,
) -> None:
    """Writes the compiled pipeline, pipeline/retraining.yaml."""
    from pipeline import compiled

    if check:
        compiled.check(cluster)
        print(f"{compiled.COMPILED.relative_to(ROOT)} is current.")
    else:
        compiled.write(cluster=cluster)
        print(f"{compiled.COMPILED.relative_to(ROOT)} is written.")


def recipe_files(names: str) -> tuple[Path, ...]:
    """Recipe names, comma between, to their files in recipes/.

    Raises:
        UserError: there is no such recipe; lists those that there are.
    """
    files = tuple(ROOT / "recipes" / f"{name}.yaml" for name in names.split(",") if name)
    for file in files:
        if not file.is_file():
            known = sorted(str(path.relative_to(ROOT / "recipes").with_suffix("")) for path in known_recipes())
            raise UserError(f"There is no recipe {file.stem} in recipes/; there are: {', '.join(known)}.")
    return files


def known_recipes() -> list[Path]:
    """Every recipe file."""
    return list((ROOT / "recipes").rglob("*.yaml"))


if __name__ == "__main__":
    main()
