"""Check of a workspace after a fault: each output under its final name is complete."""

import json
import sqlite3
from pathlib import Path

from components.register.step import TAGS
from components.shared.mlflow.registry import checksum
from model.data.format import verify
from model.training.checkpoint import read_checkpoint

EVALUATION = {"metrics.json", "figures.json", "report.html", "samples.png", "per_photograph.parquet"}


def require_sound(workspace: Path) -> None:
    """Fails if a partial output has a final name, or if an alias points to one.

    Reads MLflow's files directly, because its client repairs what it opens.
    """
    pipeline = workspace / "pipeline"
    for dataset in pipeline.glob("*/merge/dataset"):
        verify(dataset)
    for model in (*pipeline.glob("*/train/model"), *pipeline.glob("*/choose/model")):
        assert checksum(model), model
        assert json.loads((model / "training.json").read_bytes())["images"] > 0
    for evaluation in (*pipeline.glob("*/evaluate/evaluation"), *pipeline.glob("*/choose/evaluation")):
        assert {path.name for path in evaluation.iterdir()} >= EVALUATION
        json.loads((evaluation / "metrics.json").read_bytes())
    for registration in pipeline.glob("*/register/registration"):
        json.loads((registration / "registration.json").read_bytes())
    for path in workspace.glob("checkpoints/*/checkpoint-*.safetensors"):
        read_checkpoint(path)  # compares its SHA-256
    for model in workspace.glob("cache/models/[0-9a-f]*"):
        assert checksum(model) == model.name
    for entry in workspace.glob("cache/kfp/*.json"):
        outputs = json.loads(entry.read_bytes()).values()
        uris = [output["uri"] for output in outputs if isinstance(output, dict) and "uri" in output]
        assert all(Path(uri).exists() for uri in uris), entry
    _require_sound_registry(workspace)


def _require_sound_registry(workspace: Path) -> None:
    database = workspace / "mlflow.db"
    if not database.exists():
        return
    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        if "registered_model_aliases" not in tables:
            return
        aliases = dict(connection.execute("select alias, version from registered_model_aliases"))
        for version in aliases.values():
            rows = connection.execute("select key, value from model_version_tags where version = ?", [version])
            tags = dict(rows.fetchall())
            assert not {*TAGS, "weights_sha256", "metrics"} - tags.keys(), f"version {version} is half made"
            (location,) = connection.execute("select storage_location from model_versions where version = ?", [version])
            generator = Path(location[0].removeprefix("file://")) / "artifacts" / "generator"
            assert checksum(generator) == tags["weights_sha256"]
            if version == aliases.get("champion"):
                assert tags["promotion_reason"]
