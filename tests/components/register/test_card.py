"""Tests of the model card: sources of the photographs, limits and intended uses."""

from pathlib import Path

from components.register.card import model_card
from components.register.photographs import sources_table
from model.data.format import SOURCES
from tests.support.tiny import tiny_dataset

METRICS = {
    "l1_ab": 10.0,
    "ssim": 0.9,
    "mean_by_lightness": {"l1_ab": 9.0, "ssim": 0.8},
    "examples": {"best": [{"path": "a.jpg", "l1_ab": 2.0}], "worst": [{"path": "b.jpg", "l1_ab": None}]},
    "protocol": {"images": 83, "size": 24},
}
GENERATOR = {
    "generator": {"encoder": "none", "channels": 8, "levels": 3, "noise": "none"},
    "images": 64,
    "crop": 16,
    "size": 24,
}
TAGS = {"data_version": "d1", "recipe": "demo", "git_commit": "c1", "weights_sha256": "w1"}


def test_sources_are_counted_by_folder_and_licence(tmp_path: Path) -> None:
    model = tiny_dataset(tmp_path / "model", train=3, val=1)
    assert "came without a `SOURCES.csv`" in sources_table(model)
    (model / SOURCES).write_text("file,licence,more\n0.png,<b>|CC0,x\n1.png,<b>|CC0,x\n3.png,GPL-3,x\n", "utf-8")
    table = sources_table(model)
    assert r"| . | 3 | &lt;b&gt;\|CC0: 2, unknown: 1 |" in table
    assert "GPL" not in table  # it belongs to a validation photograph
    (model / "manifest.parquet").unlink()
    assert "No manifest" in sources_table(model)


def test_the_card_names_examples_limits_and_uses() -> None:
    card = model_card(GENERATOR, {}, METRICS, TAGS, "| the table |")
    for words in (
        "| the table |",
        "best `a.jpg` (2); worst `b.jpg` ()",
        "Do not use it as evidence",
        "Worse than the mean color of each lightness, which is nearly gray, by l1_ab.",
        "It knows one coloring",
        "83 test photographs are few",
    ):
        assert words in card
