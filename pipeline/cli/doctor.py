"""`colorize doctor`: what a bug report needs."""

from pipeline.cli.options import Json
from pipeline.cli.output import print_json


def doctor(as_json: Json = False) -> None:
    """Prints what a bug report needs: versions, machine, threads, devices, files, locks and endpoints; no secrets."""
    from pipeline.doctor import examine

    found = examine()
    if as_json:
        print_json(found)
        return
    for section, facts in found.items():
        print(section)
        for name, fact in facts.items():
            print(f"  {name}: {fact}")
