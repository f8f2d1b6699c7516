"""`colorize step` and `colorize steps`: one step alone, and the table of all."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.cli import options
from pipeline.cli.options import App
from pipeline.cli.output import print_json, print_table

if TYPE_CHECKING:
    from pipeline.alone import Alone

_KINDS: dict[str, type] = {"Integer": int, "Boolean": bool, "Double": float}


class _Steps(TyperGroup):
    """Makes a command for each step of the graph."""

    def list_commands(self, ctx: Any) -> list[str]:
        from pipeline.steps import steps

        return [step.name for step in steps() if step.name != "report"]  # which Kubeflow tells how the run ended

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        from pipeline.alone import Alone
        from pipeline.steps import steps

        return _command(Alone(next(step for step in steps() if step.name == cmd_name)))


app = App(cls=_Steps, no_args_is_help=True)


@app.callback()
def step() -> None:
    """Runs one step by itself, over folders: what DVC calls."""


def _command(alone: "Alone") -> Any:
    """Returns the command of a step; its options are the inputs of its component."""
    from pipeline.alone import LOOKED_UP

    def run(**given: Any) -> None:
        from pipeline.variants import Variants

        recipe, overrides, out = given.pop("recipe"), tuple(given.pop("overrides") or ()), given.pop("out", None)
        variants = Variants.load(given.pop("variants", ""), recipe, overrides)
        alone.run({name: value for name, value in given.items() if value is not None}, out, variants)

    listed: dict[str, tuple[Any, Any]] = {"recipe": (options.Recipe, ""), "overrides": (options.Overrides, None)}
    for name, default in alone.options.items():
        spec = alone.spec.inputs[name]
        kind: Any = list[str] if spec.is_artifact_list else _KINDS.get(spec.type, str)
        kind = kind | None if default is None else kind
        meaning = f"{spec.description} {LOOKED_UP.get(name, '')}".strip()
        listed[name] = (Annotated[kind, typer.Option(help=meaning)], default)
    if "variants" in alone.spec.inputs:
        listed["variants"] = (options.Variants, "")
    if alone.outputs:
        listed["out"] = (Annotated[str | None, typer.Option(help=f"Folder for {', '.join(alone.outputs)}.")], None)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in listed.items()
        ]
    )
    run.__annotations__ = {name: kind for name, (kind, _) in listed.items()}
    single = App(add_completion=False)
    single.command(alone.step.name, help=alone.spec.description)(run)
    return typer.main.get_command(single)


def steps(
    code: Annotated[
        Path | None, typer.Option(help="Folder for the hash of the code behind each step, for DVC.", file_okay=False)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Lists the steps of the graph: inputs, outputs, reused or not, GPU, requests."""
    from rich.table import Table

    from components.images.hashes import code_version
    from model.utils.files import write_aside
    from pipeline.dvcfile import stages
    from pipeline.steps import rows, table

    if code:
        code.mkdir(parents=True, exist_ok=True)
        for stage in stages():
            write_aside(code / f"{stage.step.name}.txt", f"{code_version(stage.step.folder)}\n".encode())
    elif as_json:
        print_json(rows())
    else:
        titles, *lines = table()
        shown = Table(*titles)
        for line in lines:
            shown.add_row(*line)
        print_table(shown)
