"""The evaluate step: challenger, champion and baselines scored on the same test photographs, with a report."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from components.evaluate import bootstrap, protocol
from components.evaluate.accumulate import Tally, look
from components.evaluate.baselines import Gray, MeanByLightness
from components.evaluate.candidates import Contestant, GeneratorContestant
from components.evaluate.features import Instruments, prepare
from components.evaluate.pictures import Shown, choose, contact_sheet, samples_picture, show, spread
from components.evaluate.report import write_report
from components.shared.machine.progress import progress
from components.shared.mlflow import registry, runs
from components.shared.s3.streaming.published import local_folder, open_shards, verify_dataset
from model.color import decode_lab
from model.config import EvaluateConfig
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
    """`score` of a challenger beside the champion, with figures and report in the MLflow run that trained it.

    Takes what `score` does, and `variant`: its name in a sweep.

    Returns and raises what `score` does.

    Raises:
        UserError: MLflow cannot be used.
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
    """Scores a trained model, another one and two baselines, in one go and on the same photographs.

    Args:
        dataset: what preprocess wrote, or s3://bucket/prefix, where a dataset was published; its test split is scored,
            up to `config.photographs`, which are a random sample as SHA-256 orders them; its training split feeds a
            baseline.
        model: the challenger: what train wrote.
        output: gets metrics.json, figures.json (of these, the challenger's numbers alone, as `dvc metrics` likes them),
            report.html, samples.png, side_by_side.png, per_photograph.parquet, histograms.npz and contact_sheet.npz
            (what choose compares variants by), all at once at the end.
        config: section `evaluate`.
        champion: "models:/colorizer@champion" or the like, or a generator folder; empty when there is none.
        cache: folder for downloaded weights.
        names: what the pictures and the page call the two.

    Returns:
        What metrics.json holds: the challenger's figures by name, `champion` and `difference` (absent when there is
        none), `gray`, `mean_by_lightness`, `examples`, `absent` (why a figure is missing) and `protocol`. A figure that
        is no finite number is None, with its reason in `absent`. `difference` is challenger minus champion, with the
        interval that holds it with `confidence`.

    Raises:
        UserError: a folder is not what it should be; weights cannot be had; the champion cannot be fetched.
        Damaged: a file of the dataset or of the model is not as it was written.
    """
    dataset = local_folder(dataset)
    verify_dataset(dataset)
    test, train = open_shards(dataset, "test"), open_shards(dataset, "train")
    for shards in (test, train):
        if not len(shards):
            raise UserError(f"{dataset} has no {shards.split} photographs; add photographs and run preprocess again.")
    count = min(len(test), config.photographs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    contestants: dict[str, Contestant] = {"gray": Gray(), "mean_by_lightness": MeanByLightness(train)}
    contestants["challenger"], challenger = _contestant(model, test, config, device)
    conditions: dict[str, Any] = {"challenger": vars(challenger)}
    if champion:
        rival, info = _contestant(registry.fetch(champion), test, config, device)
        conditions["champion"] = {"uri": champion, **vars(info)}
        if info.weights_sha256 != challenger.weights_sha256:
            contestants["champion"] = rival
    instruments = prepare(config, cache, count, test.size, device)

    truth, tallies = _score(test, count, contestants, instruments, config.batch_size, device)
    if champion and "champion" not in contestants:  # the very same weights are scored once
        contestants["champion"], tallies["champion"] = contestants["challenger"], tallies["challenger"]
    scores = {name: tally.scores(truth, instruments.spaces) for name, tally in tallies.items()}
    conditions |= protocol.conditions(test, count, config, scores["challenger"].keys(), instruments.weights)
    models = {name: contestant for name, contestant in contestants.items() if name in conditions}
    photographs = {name: tallies[name].photographs() for name in models}
    l1_ab = {name: columns["l1_ab"] for name, columns in photographs.items()}
    shown = show(test, choose(l1_ab["challenger"]), models, l1_ab, device)
    result = _result(scores, instruments.absent, conditions) | {"examples": _examples(shown)}
    if champion:
        ours, theirs = (tallies[name].evidence() for name in ("challenger", "champion"))
        ends = bootstrap.differences(ours, theirs, truth.evidence(), config.seed, config.confidence)
        result["difference"] = _differences(result, ends, config.confidence)
    drawn = [*models, "mean_by_lightness"]  # gray is a needle at 0
    histograms = {"photographs": truth.histograms, **{name: tallies[name].histograms for name in drawn}}
    counts: dict[str, Any] = {name: counted.numpy() for name, counted in histograms.items()}
    sheet: dict[str, Any] = contact_sheet(
        show(test, {"": spread(count)}, {"challenger": models["challenger"]}, l1_ab, device)
    )
    curves = model / "curves.png"
    with folder_aside(output, marker="metrics.json") as aside:
        samples_picture(shown, {"challenger": "colored"}).save(aside / "samples.png")
        if champion:
            samples_picture(shown, names).save(aside / "side_by_side.png")
        pq.write_table(_table(test, truth, photographs), aside / "per_photograph.parquet")
        for name, arrays in (("histograms.npz", counts), ("contact_sheet.npz", sheet)):
            np.savez_compressed(aside / name, **arrays)
        write_report(aside / "report.html", result, shown, counts, curves if curves.is_file() else None, names)
        figures = {name: value for name, value in result.items() if isinstance(value, float)}
        for name, content in (("metrics.json", result), ("figures.json", figures)):
            (aside / name).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return result


def _contestant(
    folder: Path, test: Shards, config: EvaluateConfig, device: torch.device
) -> tuple[Contestant, GeneratorInfo]:
    generator, info = load_generator(folder)
    generator.to(memory_format=torch.channels_last).to(device)
    return GeneratorContestant(generator, test, config.samples, config.seed, config.photographs), info


def _score(
    test: Shards,
    count: int,
    contestants: Mapping[str, Contestant],
    instruments: Instruments,
    batch_size: int,
    device: torch.device,
) -> tuple[Tally, dict[str, Tally]]:
    """The first `count` photographs' own tally, and each contestant's."""
    truth, tallies = Tally(), {name: Tally() for name in contestants}
    with progress(count, "evaluate", unit="photographs") as advance, torch.inference_mode():
        for start in range(0, count, batch_size):
            indices = range(start, min(start + batch_size, count))
            stored = torch.from_numpy(test[indices]).to(device)
            seen = look(decode_lab(stored), instruments)
            truth.add_truth(seen)
            for name, contestant in contestants.items():
                tallies[name].add(seen, stored[:, :1], contestant(stored[:, :1], indices), instruments)
            advance(len(indices))
    return truth, tallies


def _result(
    scores: Mapping[str, Mapping[str, float]], absent: Mapping[str, str], conditions: Mapping[str, Any]
) -> dict[str, Any]:
    """What metrics.json holds. JSON has no NaN: null, with a reason."""
    reasons = dict(absent)
    figures: dict[str, dict[str, float | None]] = {}
    for who, row in scores.items():
        figures[who] = {name: row[name] if math.isfinite(row[name]) else None for name in METRICS if name in row}
        for name in (name for name, value in figures[who].items() if value is None):
            reasons[name if who == "challenger" else f"{who}.{name}"] = protocol.not_finite(who)
    challenger = figures.pop("challenger")
    return {**challenger, **figures, "absent": reasons, "protocol": dict(conditions)}


def _differences(
    result: Mapping[str, Any], ends: Mapping[str, tuple[float, float]], confidence: float
) -> dict[str, dict[str, float]]:
    """Challenger minus champion by metric, in the order of the report's table."""
    found = {}
    for name in (name for name in METRICS if name in ends):
        ours, theirs = result[name], result["champion"][name]
        if ours is not None and theirs is not None:
            low, high = ends[name]
            found[name] = {"value": ours - theirs, "low": low, "high": high, "confidence": confidence}
    return found


def _examples(shown: Sequence[Shown]) -> dict[str, list[dict[str, Any]]]:
    """The photographs of samples.png, by group."""
    examples: dict[str, list[dict[str, Any]]] = {}
    for photograph in shown:
        error = photograph.l1_ab["challenger"]
        entry = {"path": photograph.path, "l1_ab": error if math.isfinite(error) else None}
        examples.setdefault(photograph.group, []).append(entry)
    return examples


def _table(test: Shards, truth: Tally, photographs: Mapping[str, Mapping[str, torch.Tensor]]) -> pa.Table:
    """A row for each photograph scored: sha256, path, the challenger's figures, the champion's with a prefix."""
    real = truth.photographs()["colorfulness"].numpy()
    columns: dict[str, Any] = {"sha256": test.sha256s[: len(real)], "path": test.paths[: len(real)]}
    columns["colorfulness_real"] = real
    for who, figures in photographs.items():
        prefix = "" if who == "challenger" else f"{who}_"
        columns |= {prefix + name: values.numpy() for name, values in figures.items()}
    return pa.table(columns)


def _train_run(model: Path) -> str | None:
    """The MLflow run that trained the model, so that its scores land beside its losses; None for a bare generator."""
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
    for name in ("metrics.json", "report.html", "samples.png"):
        run.log_artifact(output / name, "evaluation")
