"""Tests of the model card: sources of the photographs, limits and intended uses."""

from pathlib import Path

from components.register.card import model_card
from components.register.photographs import sources_table
from model.data.kinds import SOURCES
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
    assert "`SOURCES.csv`, kept with this version, lists each photograph" in table
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


def test_the_card_has_intervals_slices_and_strengths_and_says_what_was_chosen_on_which_photographs() -> None:
    gap = {"value": -0.5, "low": -1.4, "high": 0.4, "confidence": 0.95}
    figures = {"l1_ab": 12.6, "colorfulness": 38.0, "colorfulness_real": 48.8, "colorfulness_error": 19.1}
    people = {"by": "folder", "photographs": 40, **figures, "interval": {"l1_ab": {"low": 11.0, "high": 14.0}}}
    people |= {"gray": {"l1_ab": 11.5}, "baseline_difference": {"gray": {"l1_ab": gap}}}
    points = [{"strength": s, "share": s, "l1_ab": 10 + s, "kid_efflite0": 0.01} for s in (0.0, 0.5, 1.0)]
    metrics = METRICS | {
        "interval": {"l1_ab": {"low": 9.2, "high": 11.1}},
        "slices": {"<b>|people": people, "few": people | {"photographs": 2, "interval": {}, "l1_ab": None}},
        "curve": {"challenger": points},
        "equal_colorfulness": {
            "0.8": {"challenger": {"l1_ab": 9.5}, "champion": {"l1_ab": 10.0}, "difference": {"l1_ab": gap}},
            "1": {"challenger": {"l1_ab": None}, "champion": {"l1_ab": 10.4}, "difference": {}},
        },
    }
    point = {"slope": 0.3, "l1_ab": 9.9, "colorfulness": 30.0}
    calibration = {"photographs": 70, "colorfulness_real": 38.0, "gray_l1_ab": 10.7, "chosen": point}
    calibration |= {"uncalibrated": point | {"l1_ab": 9.5}, "as_colorful": point | {"l1_ab": 12.2}}
    card = model_card(GENERATOR, {"calibration": calibration, "snapshot": 9600}, metrics, TAGS, "")
    for words in (
        "| l1_ab | 10 (9.2 to 11.1) |",
        r"| &lt;b&gt;\|people | 40 | 12.6 (11 to 14) | 11.5 | -0.5 (-1.4 to 0.4) | 38 | 48.8 | 19.1 |",
        "| few | 2 |  | 11.5 |",
        "| strength | share | l1_ab | kid_efflite0 |\n| ---: | ---: | ---: | ---: |\n| 0.0 | 0 | 10 | 0.01 |\n| 0.5 ",
        "(strengths.svg)",
        "At 0.8 of the photographs' own colorfulness its l1_ab is 9.5, that of the champion at evaluation time 10: a",
        "a difference of -0.5 (-1.4 to 0.4).",
        "| strength of colors | 70 photographs for validation",
        "There l1_ab is 9.9; without calibration 9.5, in full color 12.2, gray 10.7 |",
        "the best of several generators on photographs for validation",
        "| figures on this card | photographs for the test |",
    ):
        assert words in card, words
    assert "At 1 of the photographs'" not in card
    plain = model_card(GENERATOR, {"chroma_slope": 0.4}, METRICS, TAGS, "")
    assert "as colorful as these" in plain
    assert "By source and label" not in plain
    assert "By strength" not in plain
    assert "| strength of colors | as the training left it |" in model_card(GENERATOR, {}, METRICS, TAGS, "")
