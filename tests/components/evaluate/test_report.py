"""Tests of the evaluation report and its pictures: their content, and a page that runs no scripts."""

import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components.evaluate.pictures import choose
from components.evaluate.step import evaluate
from components.preprocess.step import preprocess
from pipeline import ROOT
from pipeline.config import load_config
from tests.support.made import HOSTILE, SIZE, config


class Page(HTMLParser):
    """Parses a page as a browser would: elements, loaded addresses, event handlers and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_loads_no_other_file_and_runs_no_script(evaluated: tuple[dict[str, Any], Path]) -> None:
    text = (evaluated[1] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.elements)
    assert not page.handlers
    assert page.loaded
    assert all(address.startswith("data:image/") for address in page.loaded)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_the_report_shows_hostile_names_as_text(models: dict[str, Path], photos: Path, workplace: Path) -> None:
    for number, path in enumerate(sorted((photos / "scratch").glob("*.jpg"))[:12]):
        hostile = workplace / "photos" / f"{number}{HOSTILE}"  # its slash makes a folder
        hostile.parent.mkdir(parents=True)
        shutil.copy(path, hostile)
    small = load_config(ROOT / "params.yaml").preprocess.model_copy(
        update={"size": SIZE, "min_photographs": 1, "test_percent": 80}
    )
    preprocess(workplace / "photos", workplace / "dataset", small, data_version="0123456789abcdef", workers=1)
    evaluate(workplace / "dataset", models["deterministic"], workplace / "out", config(seed=2))
    page = Page((workplace / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.text.count(HOSTILE) >= 3
    assert "script" not in page.elements


def test_the_report_shows_metrics_and_photographs(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    for column in ("challenger", "champion", "mean by lightness", "gray"):
        assert column in page.text
    assert f"{result['psnr']:.2f}" in page.text
    assert f"{result['champion']['psnr']:.2f}" in page.text
    assert page.elements.count("figure") == 3 * 3 + 3  # best, median, worst; and the median's several colorings
    assert page.text.count("sample 3") == 3


def test_the_samples_picture_shows_gray_colored_and_true_photographs(evaluated: tuple[dict[str, Any], Path]) -> None:
    with Image.open(evaluated[1] / "samples.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    spread = (pixels.max(2) - pixels.min(2)).max(0)  # per column of pixels; 0 in gray columns
    tile = 160
    first_gray, first_colored, first_true = (spread[8 + place * (tile + 8) :][:tile].max() for place in range(3))
    assert first_gray <= 4
    assert first_colored > 20
    assert first_true > 20


@given(st.lists(st.floats(0, 50) | st.just(float("nan")), min_size=1, max_size=20))
def test_best_median_and_worst_photographs_are_distinct_and_in_order(values: list[float]) -> None:
    groups = choose(torch.tensor(values, dtype=torch.float64))
    chosen = [index for group in groups.values() for index in group]
    assert len(set(chosen)) == len(chosen) <= 9
    ranked = [float("inf") if np.isnan(values[index]) else values[index] for index in chosen]
    assert ranked == sorted(ranked)
    assert min(ranked) == min(float("inf") if np.isnan(value) else value for value in values)
    if len(values) >= 3:
        assert all(groups.values())
