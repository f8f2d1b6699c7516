"""The inspect step: writes a report on a dataset, with its drift from the data of the champion."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.inspect import drift
from components.inspect.config import InspectConfig
from components.inspect.distributions import SCHEMA_VERSION, Distributions, measure
from components.inspect.drift import Drift, Verdict
from components.inspect.rejected import rejected
from components.inspect.report import write_report
from components.shared.mlflow import evaluations, registry, runs
from model.utils.errors import UserError
from model.utils.files import folder_aside

FILE = "distributions.json"


def inspect(
    dataset: Path, photos: Path | None, output: Path, config: InspectConfig, champion: str = ""
) -> dict[str, Any]:
    """Describes a dataset, compares it with the champion's, and raises an error on a large drift.

    Args:
        dataset: output folder of preprocess.
        photos: the folder of photographs, for pictures of what was rejected; None where it is not on this machine.
        output: gets data.html, distributions.json and drift.json, all at once, also when the drift ends the run.
        config: section `inspect`.
        champion: models:/colorizer/N; empty when there is none.

    Returns:
        The content of drift.json: data_version, champion (its URI), champions_data_version, not_compared (the reason
        why figures are missing, else empty), psi (distribution -> psi, chance, photographs, champions, verdict) and
        alarm (a sentence that names the distributions above a limit, else empty).

    Raises:
        UserError: a distribution has drifted by more than `psi_stop`; the dataset is damaged; MLflow cannot be used.
    """
    ours = measure(dataset)
    theirs, why = _champions(champion)
    found = drift.compare(ours, theirs, config) if theirs else {}
    alarm = _alarm(found, config, champion)
    result = {
        "schema_version": 1,
        "data_version": ours.data_version,
        "champion": champion,
        "champions_data_version": theirs.data_version if theirs else "",
        "not_compared": why,
        "psi": {name: vars(each) for name, each in found.items()},
        "alarm": alarm,
    }
    with runs.start_run("inspect") as run:
        with folder_aside(output, marker="drift.json") as aside:
            for name, content in ((FILE, ours.to_json()), ("drift.json", result)):
                (aside / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            write_report(aside / "data.html", ours, theirs, found, result, rejected(dataset, photos), config)
        run.log_dataset("photographs", ours.data_version, "inspection")
        run.log_metrics({f"psi_{name}": each.psi for name, each in found.items()}, step=0)
        if alarm:
            run.set_tags({"data_drift": alarm})
        for name in (FILE, "drift.json", "data.html"):
            run.log_artifact(output / name, "inspection")
    if beyond := drift.named(found, "stop"):
        raise UserError(
            f"The photographs differ from those of {champion} by more than inspect.psi_stop ({config.psi_stop:g}) in "
            f"{beyond}; look at {output / 'data.html'}, then correct the photographs, or raise inspect.psi_stop "
            "(0: never stop) to train on them."
        )
    return result


def _champions(champion: str) -> tuple[Distributions | None, str]:
    """Returns the distributions of the champion's photographs; or None and the reason."""
    if not champion:
        return None, "There is no champion yet."
    file = evaluations.read(registry.resolve(champion), FILE)
    if file is None:
        return None, f"{champion} was registered without {FILE}: its photographs' distributions are unknown."
    try:
        content = json.loads(file)
        if content["schema_version"] != SCHEMA_VERSION:
            return None, f"{FILE} of {champion} counts by other bins (schema version {content['schema_version']})."
        return Distributions.from_json(content), ""
    except (ValueError, KeyError, TypeError):
        return None, f"{FILE} of {champion} in MLflow is damaged."


def _alarm(found: Mapping[str, Drift], config: InspectConfig, champion: str) -> str:
    limits: dict[Verdict, float] = {"stop": config.psi_stop, "warn": config.psi_warn}
    parts = [
        f"{far} above inspect.psi_{verdict} ({limit:g})"
        for verdict, limit in limits.items()
        if (far := drift.named(found, verdict))
    ]
    return f"The photographs differ from those of {champion}: {'; '.join(parts)}." if parts else ""
