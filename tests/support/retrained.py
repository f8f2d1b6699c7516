"""Outputs of train and evaluate, made by hand: a generator of random weights, and given scores."""

import json
from pathlib import Path
from typing import Any

from components.register.config import RegisterConfig, Rule
from components.shared.mlflow import registry, runs
from model.inference.saved import save_generator
from model.networks.generator import Generator
from tests.support.tiny import tiny_config

RULES = RegisterConfig(rules={"ab_intersection": Rule(direction="up", change=0.005, bound=0.2)})
TAGS = {
    "git_commit": "0123abc",
    "data_version": "0123456789abcdef0123456789abcdef.dir",
    "recipe": "demo",
    "pipeline_run_id": "local-1",
    "image_digest": "none",
}
FIGURES = {"l1_ab": 8.0, "colorfulness_error": 10.0, "kid_efflite0": 0.005}
GRAY = {"l1_ab": 10.7, "colorfulness_error": 38.0, "kid_efflite0": 0.03, "ab_intersection": 0.1}
PROTOCOL = {"images": 94, "size": 286, "crop": 256}


def trained(folder: Path) -> Path:
    """Writes the output of train: a generator of random weights, in a run of its own."""
    with runs.start_run("train") as run:
        save_generator(folder, Generator(tiny_config().generator), crop=16, size=24, images=64)
        facts = {"mlflow_run_id": run.id, "data_version": TAGS["data_version"]}
        (folder / "training.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def evaluated(model: Path, score: float | None, champion: float | None = None) -> Path:
    """Writes the output of evaluate: the scores of the model and of the current champion."""
    folder = model.parent / "evaluation"
    folder.mkdir(exist_ok=True)
    protocol = PROTOCOL | {"challenger": {"weights_sha256": registry.checksum(model)}}
    metrics: dict[str, Any] = {**FIGURES, "gray": GRAY, "absent": {"fid": "no weights"}, "protocol": protocol}
    ends = {"l1_ab": {"low": 7.1, "high": 9.2}}
    metrics["slices"] = {"people": {"by": "folder", "photographs": 40, **FIGURES, "interval": ends, "gray": GRAY}}
    metrics["baseline_difference"] = {"gray": {name: exactly(FIGURES[name] - GRAY[name]) for name in FIGURES}}
    if score is not None:
        metrics["ab_intersection"] = score
    in_service = registry.champion()
    if champion is not None and in_service is not None:
        metrics["champion"] = {"ab_intersection": champion, "l1_ab": 8.1}
        if score is not None:
            metrics["difference"] = {"ab_intersection": exactly(score - champion), "l1_ab": exactly(-0.1)}
        protocol["champion"] = {"uri": in_service.uri, "weights_sha256": in_service.weights_sha256}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "report.html").write_text("<p>report", encoding="utf-8")
    (folder / "samples.png").write_bytes(b"a picture")
    return folder


def exactly(difference: float) -> dict[str, float]:
    """Returns a difference with a confidence interval of zero width."""
    return {"value": difference, "low": difference, "high": difference, "confidence": 0.95}


def aliases() -> dict[str, int]:
    versions = {alias: registry.by_alias(alias) for alias in ("challenger", "champion", "previous")}
    return {alias: version.number for alias, version in versions.items() if version}
