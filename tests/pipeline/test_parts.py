"""Test of the preprocess components in kfp.local: three partitions make the same dataset as one."""

import builtins
import json
from pathlib import Path

import pytest
from kfp import dsl, local

from components.preprocess.component import merge, partition
from components.preprocess.component import preprocess as prepare
from components.preprocess.step import preprocess
from components.shared.machine.workspace import VARIABLE
from components.shared.step import JOURNAL
from tests.components.preprocess.test_parts import album, held
from tests.components.preprocess.test_step import CONFIG

__all__ = ["album"]


@dsl.pipeline(name="parts")
def parts(photos: str, data_version: str, partitions: int, config: dict, code: str, store: str) -> dsl.Dataset:
    listed = partition(
        photos=photos, data_version=data_version, partitions=partitions, config=config, code=code, store=store
    )
    with dsl.ParallelFor(listed.outputs["Output"]) as number:
        part = prepare(
            photos=photos, listing=listed.outputs["listing"], number=number, config=config, code=code, store=store
        )
    merged = merge(
        photos=photos, data_version=data_version, listing=listed.outputs["listing"],
        parts=dsl.Collected(part.outputs["part"]), config=config, code=code, store=store, publish="",
    )  # fmt: skip
    return merged.outputs["dataset"]


def test_three_partitions_in_the_graph_make_the_same_dataset_as_one(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(builtins, "print", print)  # kfp's threads replace print and may not restore it
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv(JOURNAL, str(tmp_path / "journal.jsonl"))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "pipeline"), raise_on_error=True)
    made = parts(
        photos=str(album), data_version="abc.dir", partitions=3, config=CONFIG.model_dump(mode="json"), code="1",
        store=str(tmp_path / "store"),
    )  # fmt: skip
    preprocess(album, tmp_path / "expected", CONFIG, data_version="abc.dir", workers=1)
    assert held(Path(made.output.path)) == held(tmp_path / "expected")
    assert made.output.metadata["kept"] > 10
    journal = (tmp_path / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in journal] == ["partition", *["preprocess"] * 3, "merge"]
