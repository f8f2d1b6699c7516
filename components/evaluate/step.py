"""The evaluate step: scores challenger, champion and baselines on the same test photographs, and writes a report."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from components.evaluate import protocol
from components.evaluate.baselines import Gray, MeanByLightness
from components.evaluate.candidates import Candidate, GeneratorCandidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.features import load_networks
from components.evaluate.pictures import Shown, choose, contact_sheet, samples_picture, show, spread
from components.evaluate.report import draw_strengths, write_report
from components.evaluate.result import examples, reasons, table
from components.evaluate.scoring import accumulate, compare
from components.shared.mlflow import registry, runs
from components.shared.s3.streaming.published import local_folder, open_shards, verify_dataset
from model.data.format import Split
from model.data.shards import Shards
from model.inference.saved import GeneratorInfo, load_generator
from model.metrics.table import METRICS
from model.utils.errors import UserError
from model.utils.files import folder_aside

NAMES = {"challenger": "challenger", "champion": "champion"}


def evaluate(
    dataset: Path | str,
    model: Path,
    output: Path,
    config: EvaluateConfig,
    champion: str = "",
    cache: Path = Path("workspace/cache/weights"),
    variant: str = "",
) -> dict[str, Any]:
    """Scores a challenger beside the champion; logs figures and report to the MLflow run that trained it.

    Takes and returns what `score` does.

    Args:
        variant: the challenger's name among the variants of a run.

    Raises:
        UserError: MLflow cannot be used; or as `score`.
    """
    with runs.start_run(f"evaluate {variant}".rstrip(), _train_run(model)) as run:
        result = score(dataset, model, output, config, champion, cache)
        run.log_dataset("photographs", result["protocol"]["data_version"], "evaluation")
        _log(run, result, output)
    return result


def score(
    dataset: Path | str,
    model: Path,
    output: Path,
    config: EvaluateConfig,
    champion: str = "",
    cache: Path = Path("workspace/cache/weights"),
    names: Mapping[str, str] = NAMES,
) -> dict[str, Any]:
    """Scores a trained model, another one and two baselines on the same photographs; writes figures and a report.

    Args:
        dataset: output folder of preprocess, or s3://bucket/prefix of a published dataset. The first
            `config.photographs` of `config.split` are scored: a random sample, as SHA-256 orders them.
        model: the challenger: output folder of train.
        output: gets metrics.json, figures.json (the challenger's numbers for `dvc metrics`), report.html, pictures,
            per_photograph.parquet, and histograms.npz and contact_sheet.npz (for choose), all at once at the end.
        config: section `evaluate`.
        champion: "models:/colorizer@champion" or the like, or a generator folder; empty when there is none.
        cache: folder for downloaded weights.
        names: names of challenger and champion in the pictures and on the page.

    Returns:
        The content of metrics.json: the challenger's figures by name, `champion` and `difference` (absent when there is
        none), `gray`, `mean_by_lightness`, `interval`, `baseline_difference`, `curve`, `equal_colorfulness`, `slices`,
        `skin`, `examples`, `absent` (reasons for figures that are missing or None, because not finite) and `protocol`.
        `difference` is challenger minus champion, with its interval. A slice has the same figures over the photographs
        of a folder or a label.

    Raises:
        UserError: a folder is not what it should be; weights cannot be had; the champion cannot be fetched.
        Damaged: a file of the dataset or of the model is not as it was written.
    """
    test, train = _photographs(dataset, config.split)
    count = min(len(test), config.photographs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    models, scored = _models(model, champion, test, config, device)
    networks = load_networks(config, cache, count, test.size, device)
    baselines: dict[str, Candidate] = {"gray": Gray(), "mean_by_lightness": MeanByLightness(train)}
    measured = accumulate(test, count, {**baselines, **models}, networks, config.batch_size, device)
    truth, figures = measured.truth, measured.colorings
    if champion and "champion" not in models:  # the same weights are scored once
        models["champion"], figures["champion"] = models["challenger"], figures["challenger"]
        measured.skin.colorings["champion"] = measured.skin.colorings["challenger"]

    columns = {name: figures[name].per_photograph() for name in models}
    l1_ab = {name: each["l1_ab"] for name, each in columns.items()}
    shown = show(test, choose(l1_ab["challenger"]), models, l1_ab, device)
    sheet = show(test, {"": spread(count)}, {"challenger": models["challenger"]}, l1_ab, device)
    result = compare(test, measured, networks, config)
    scored |= protocol.conditions(test, count, config, result.keys(), networks.weights)
    result |= {"absent": {**networks.absent, **reasons(result)}, "protocol": scored, "examples": examples(shown)}
    counted = {"photographs": truth} | {name: figures[name] for name in (*models, "mean_by_lightness")}
    histograms = {name: each.histograms.numpy() for name, each in counted.items()}
    with folder_aside(output, marker="metrics.json") as aside:
        _write(aside, result, {"histograms": histograms, "contact_sheet": contact_sheet(sheet)})
        _draw(aside, result, shown, histograms, model / "curves.png", names)
        pq.write_table(table(test, truth, columns), aside / "per_photograph.parquet")
    return result


def _photographs(dataset: Path | str, split: Split) -> tuple[Shards, Shards]:
    """Returns a split and the training split of a dataset whose files are all here and whole."""
    dataset = local_folder(dataset)
    verify_dataset(dataset)
    test, train = open_shards(dataset, split), open_shards(dataset, "train")
    for shards in (test, train):
        if not len(shards):
            raise UserError(f"{dataset} has no {shards.split} photographs; add photographs and run preprocess again.")
    return test, train


def _models(
    model: Path, champion: str, test: Shards, config: EvaluateConfig, device: torch.device
) -> tuple[dict[str, Candidate], dict[str, Any]]:
    """Loads challenger and champion; a champion with the challenger's weights is only described."""
    candidate, challenger = _candidate(model, test, config, device)
    models, described = {"challenger": candidate}, {"challenger": vars(challenger)}
    if champion:
        candidate, info = _candidate(registry.fetch(champion), test, config, device)
        described["champion"] = {"uri": champion, **vars(info)}
        if info.weights_sha256 != challenger.weights_sha256:
            models["champion"] = candidate
    return models, described


def _candidate(
    folder: Path, test: Shards, config: EvaluateConfig, device: torch.device
) -> tuple[Candidate, GeneratorInfo]:
    generator, info = load_generator(folder)
    generator.to(memory_format=torch.channels_last).to(device)
    return GeneratorCandidate(generator, test, config.samples, config.seed, config.photographs), info


def _write(folder: Path, result: Mapping[str, Any], arrays: Mapping[str, Mapping[str, Any]]) -> None:
    figures = {name: value for name, value in result.items() if isinstance(value, float)}
    for name, values in (("metrics.json", result), ("figures.json", figures)):
        (folder / name).write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for name, named in arrays.items():
        np.savez_compressed(folder / f"{name}.npz", **named)


def _draw(
    folder: Path,
    result: Mapping[str, Any],
    shown: Sequence[Shown],
    histograms: Mapping[str, Any],
    curves: Path,
    names: Mapping[str, str],
) -> None:
    samples_picture(shown, {"challenger": "colored"}).save(folder / "samples.png")
    if "champion" in result:
        samples_picture(shown, names).save(folder / "side_by_side.png")
    if strengths := draw_strengths(result, names):
        (folder / "strengths.svg").write_bytes(strengths)
    drawn = curves if curves.is_file() else None
    write_report(folder / "report.html", result, shown, histograms, drawn, strengths, names)


def _train_run(model: Path) -> str | None:
    """Returns the MLflow run that trained the model, where its scores belong, too; None for a bare generator."""
    path = model / "training.json"
    try:
        run_id = json.loads(path.read_bytes())["mlflow_run_id"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is no training.json; train again or fetch the model again.") from None
    return str(run_id) if run_id else None


def _log(run: runs.Run, result: Mapping[str, Any], output: Path) -> None:
    images = result["protocol"]["challenger"]["images"]
    for who in ("challenger", "champion", "gray", "mean_by_lightness"):
        figures = result if who == "challenger" else result.get(who, {})
        prefix = "" if who == "challenger" else f"{who}/"
        known = {name: figures[name] for name in METRICS if name in figures}
        run.log_metrics({prefix + n: math.nan if value is None else value for n, value in known.items()}, step=images)
    run.log_metrics(_slice_metrics(result["slices"]), step=images)
    for name in ("metrics.json", "report.html", "samples.png", "strengths.svg"):
        if (output / name).is_file():
            run.log_artifact(output / name, "evaluation")


def _slice_metrics(slices: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Returns the figures of each slice, their intervals and the number of photographs by their names in MLflow."""
    found: dict[str, float] = {}
    for name, part in slices.items():
        prefix = runs.valid_name(f"slice/{name}")
        found[f"{prefix}/photographs"] = part["photographs"]
        for metric in (metric for metric in METRICS if metric in part):
            value, ends = part[metric], part["interval"].get(metric, {})
            found[f"{prefix}/{metric}"] = math.nan if value is None else value
            found |= {f"{prefix}/{metric}/{end}": ends[end] for end in ends}
    return found
