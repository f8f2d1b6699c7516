"""Measures the champion beside the one before it, gray, the mean color by lightness and pix2pix's recipe, by source.

All color the same test photographs of a dataset; the evaluation's own code scores them. Writes to benchmarks/champion/:
metrics.json (as the evaluation's: `champion` is the champion before), tables.md with the goals, report.html,
contact_sheet.jpg (every test photograph of the sample set), worst.jpg (those where the champion loses most to gray),
samples.png (best, median and worst of them) and people.jpg (photographs that scikit-image ships).
Photographs of other sources are counted but never shown there; `--sheet` draws the worst of all.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.champion.groups import SAMPLE, Grouped, kept
from benchmarks.champion.sheets import draw, people, worst
from benchmarks.champion.tables import NAMES, tables
from benchmarks.tools import FOLDER, ROOT, machine
from components.evaluate import protocol
from components.evaluate.baselines import Gray, MeanByLightness
from components.evaluate.candidates import Candidate, GeneratorCandidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.features import load_networks
from components.evaluate.pictures import choose, samples_picture, show
from components.evaluate.report import draw_strengths, write_report
from components.evaluate.result import reasons
from components.evaluate.scoring import Accumulated, accumulate, compare
from components.shared.mlflow import registry
from model.data.format import verify
from model.data.shards import Shards
from model.inference.colorizer import Colorizer
from model.inference.saved import GeneratorInfo, load_generator
from model.networks.generator import Generator
from pipeline.config import load_config

Loaded = Mapping[str, tuple[Generator, GeneratorInfo]]
_REPORT = {"challenger": "champion", "champion": "champion before"}


def main(
    dataset: Annotated[Path, typer.Argument(help="Output folder of preprocess.")],
    before: Annotated[str, typer.Option(help="Champion before: its generator folder or models:/colorizer/N.")],
    champion: Annotated[str, typer.Option(help="Champion, likewise.")] = str(ROOT / "champion"),
    pix2pix: Annotated[str, typer.Option(help="Generator folder of pix2pix's recipe; empty: none.")] = "",
    photographs: Annotated[int, typer.Option(help="Largest number of test photographs.")] = 10000,
    samples: Annotated[
        int, typer.Option(min=2, help="Colorings of each photograph, for diversity and l1_ab_best.")
    ] = 10,
    sheet: Annotated[Path | None, typer.Option(help="File for the worst of all sources, not to be committed.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = FOLDER / "champion",
) -> None:
    """Scores all on the test split, writes figures, tables, report and sheets, prints the tables."""
    verify(dataset)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = (f"evaluate.photographs={photographs}", f"evaluate.samples={samples}")
    config = load_config(ROOT / "params.yaml", (), settings).evaluate
    uris = {"challenger": champion, "champion": before} | ({"pix2pix": pix2pix} if pix2pix else {})
    loaded = {who: load_generator(registry.fetch(uri)) for who, uri in uris.items()}
    for generator, _ in loaded.values():
        generator.to(memory_format=torch.channels_last).to(device)
    result, measured = score(dataset, loaded, config, device)
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    formatted = tables(result)
    (out / "tables.md").write_text(formatted, encoding="utf-8")
    picture(dataset, loaded, result, measured, config, out, sheet)
    print(formatted)


def score(
    dataset: Path, loaded: Loaded, config: EvaluateConfig, device: torch.device
) -> tuple[dict[str, Any], Accumulated]:
    """Scores the models and the baselines with the evaluation's code; returns its figures, of the kept slices only.

    Args:
        dataset: output folder of preprocess.
        loaded: challenger, champion (the one before), perhaps pix2pix -> generator and its description.
        config: section `evaluate`.
        device: of the generators.
    """
    test = Grouped.open(dataset, "test")
    count = min(len(test), config.photographs)
    networks = load_networks(config, Path("workspace/cache/weights"), count, test.size, device)
    candidates: dict[str, Candidate] = {"gray": Gray(), "mean_by_lightness": MeanByLightness(test.sibling("train"))}
    measured = accumulate(
        test, count, candidates | _candidates(dataset, loaded, config), networks, config.batch_size, device
    )
    result = compare(test, measured, networks, config)
    conditions = protocol.conditions(test, count, config, result.keys(), networks.weights)
    conditions |= {who: vars(info) for who, (_, info) in loaded.items()} | {"machine": machine()}
    conditions["champion"] = {"uri": "champion before", **conditions["champion"]}
    result |= {"absent": {**networks.absent, **reasons(result)}, "protocol": conditions}
    return result | {"slices": kept(result["slices"])}, measured


def picture(
    dataset: Path,
    loaded: Loaded,
    result: Mapping[str, Any],
    measured: Accumulated,
    config: EvaluateConfig,
    out: Path,
    sheet: Path | None,
) -> None:
    """Draws the report and the sheets; all but `sheet` show photographs of the sample set alone.

    Args:
        dataset: as in `score`.
        loaded: as in `score`.
        result: the figures.
        measured: what they came from.
        config: section `evaluate`.
        out: folder of the report, contact_sheet.jpg and worst.jpg.
        sheet: file for the worst of all sources, if wanted.
    """
    test = Grouped.open(dataset, "test")
    device = next(loaded["challenger"][0].parameters()).device
    l1_ab = {who: each.per_photograph()["l1_ab"] for who, each in measured.colorings.items()}
    count = len(l1_ab["challenger"])
    own = [row for row, group in enumerate(test.labels[:count]) if group == SAMPLE]
    models = {who: each for who, each in _candidates(dataset, loaded, config).items() if who in _REPORT}
    groups = {name: [own[row] for row in rows] for name, rows in choose(l1_ab["challenger"][own]).items()}
    counted = {"photographs": measured.truth} | {
        who: measured.colorings[who] for who in (*_REPORT, "mean_by_lightness")
    }
    histograms = {name: each.histograms.numpy() for name, each in counted.items()}
    strengths = draw_strengths(result, _REPORT)
    shown = show(test, groups, models, l1_ab, device)
    samples_picture(shown, {"challenger": "colored"}).save(out / "samples.png")
    write_report(out / "report.html", result, shown, histograms, None, strengths, _REPORT)

    once = config.model_copy(update={"samples": 1})
    painters = _candidates(dataset, loaded, once) | {"gray": Gray()}
    columns = {who: NAMES[who] for who in ("pix2pix", "champion", "challenger") if who in loaded}
    every = show(test, {"": own}, painters, l1_ab, device)
    draw(every, columns, side=112).save(out / "contact_sheet.jpg", quality=85)
    by_path = {photograph.path: photograph for photograph in every}
    ours = {"challenger": NAMES["challenger"]}
    size = loaded["challenger"][1].size
    people(Colorizer(loaded["challenger"][0], size, device)).save(out / "people.jpg", quality=90)
    lost = [by_path[test.paths[row]] for row in worst(l1_ab, own)]
    draw(lost, ours, side=160).save(out / "worst.jpg", quality=85)
    if sheet:
        one = {who: painters[who] for who in ("gray", "challenger")}
        draw(show(test, {"": worst(l1_ab, range(count))}, one, l1_ab, device), ours, side=160).save(sheet)


def _candidates(dataset: Path, loaded: Loaded, config: EvaluateConfig) -> dict[str, Candidate]:
    test = Shards.open(dataset, "test")  # with the labels that a generator may have been trained with
    return {
        who: GeneratorCandidate(generator, test, config.samples, config.seed, config.photographs)
        for who, (generator, _) in loaded.items()
    }
