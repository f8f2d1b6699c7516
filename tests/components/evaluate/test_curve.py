"""Tests of the strength curve: its points, its cost, its picture."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from components.evaluate.curve import STRENGTHS, _at_share
from components.evaluate.step import score
from model.networks.generator import Generator
from tests.support.made import TEST, config, make_generator


@pytest.fixture(scope="module")
def curved(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, int]:
    """Scores two calibrated models; returns the result, its folder, and the number of photographs colored."""
    folder = tmp_path_factory.mktemp("curved")
    ours = make_generator(folder / "ours", 1, noise="none", chroma_slope=0.8)
    theirs = make_generator(folder / "theirs", 2, noise="none", chroma_slope=0.4)
    colored = 0
    forward = Generator.forward

    def counting(self: Generator, L: Any, *rest: Any, **named: Any) -> Any:
        nonlocal colored
        colored += len(L)
        return forward(self, L, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Generator, "forward", counting)
        patch.setattr("components.evaluate.step.show", lambda *_: [])
        patch.setattr("components.evaluate.step.contact_sheet", lambda _: {})
        patch.setattr("components.evaluate.step._draw", lambda *_: None)
        score(dataset, ours, folder / "counted", config(), str(theirs))
    return score(dataset, ours, folder / "out", config(), str(theirs)), folder, colored


def test_the_network_colors_each_photograph_once(curved: tuple[dict[str, Any], Path, int]) -> None:
    assert curved[2] == 2 * TEST


def test_a_curve_has_a_point_for_each_strength_that_equals_a_model_of_that_strength(
    curved: tuple[dict[str, Any], Path, int], dataset: Path
) -> None:
    result, folder, _ = curved
    assert result["curve"].keys() == {"challenger", "champion"}
    points = {point["strength"]: point for point in result["curve"]["challenger"]}
    assert tuple(points) == STRENGTHS
    for name in ("l1_ab", "kid_efflite0", "colorfulness", "colorfulness_error"):
        assert points[1.0][name] == pytest.approx(result[name], rel=1e-4)
    assert points[1.0]["share"] == pytest.approx(result["colorfulness"] / result["colorfulness_real"])
    shares = [point["share"] for point in points.values()]
    assert shares == sorted(shares)
    for strength in (0.0, 0.5):
        weaker = make_generator(folder / f"weaker-{strength}", 1, noise="none", chroma_slope=0.8 * strength)
        alone = score(dataset, weaker, folder / f"alone-{strength}", config())
        for name in ("l1_ab", "kid_efflite0", "colorfulness"):
            assert points[strength][name] == pytest.approx(alone[name], rel=1e-3, abs=1e-5)


def test_models_are_compared_where_they_are_equally_colorful(curved: tuple[dict[str, Any], Path, int]) -> None:
    points = {"challenger": [(0.5, 4.0), (0.7, 6.0), (0.9, 10.0)], "champion": [(0.6, 5.0), (1.2, 11.0), (1.4, 12.0)]}
    found = {}
    for who, each in points.items():
        share, error = (torch.tensor(column)[:, None] for column in zip(*each, strict=True))
        found[who] = {at: float(_at_share({"share": share, "l1_ab": error}, at)["l1_ab"]) for at in (0.8, 1.0)}
    assert found["challenger"][0.8] == pytest.approx(8.0)
    assert found["champion"] == pytest.approx({0.8: 7.0, 1.0: 9.0})
    assert math.isnan(found["challenger"][1.0])  # beyond the end of its curve
    equal = curved[0]["equal_colorfulness"]
    assert equal.keys() == {"0.8", "1"}
    for share in equal.values():
        assert share.keys() == {"challenger", "champion", "difference"}
        for name, gap in share["difference"].items():
            assert gap["value"] == pytest.approx(share["challenger"][name] - share["champion"][name])
            assert gap["low"] <= gap["high"]


def test_a_slice_has_its_own_curve(curved: tuple[dict[str, Any], Path, int]) -> None:
    result = curved[0]
    parts = [part for part in result["slices"].values() if part["curve"]]
    assert parts
    for part in parts:
        own = next(point for point in part["curve"]["challenger"] if point["strength"] == 1)
        assert own["l1_ab"] == pytest.approx(part["l1_ab"], rel=1e-4)


def test_report_and_picture_show_the_curve(curved: tuple[dict[str, Any], Path, int]) -> None:
    folder = curved[1] / "out"
    picture = (folder / "strengths.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "challenger, 0.25" in page
    assert "champion, 1.25" in page


def test_a_model_without_calibration_has_no_curve(dataset: Path, models: dict[str, Path], tmp_path: Path) -> None:
    result = score(dataset, models["deterministic"], tmp_path / "out", config())
    assert result["curve"] == {}
    assert not (tmp_path / "out" / "strengths.svg").exists()
    assert "<h2>Strength</h2>" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_broken_model_has_no_points(dataset: Path, tmp_path: Path) -> None:
    broken = make_generator(tmp_path / "broken", 5, noise="none", broken=True, chroma_slope=0.5)
    assert score(dataset, broken, tmp_path / "out", config())["curve"] == {"challenger": []}
