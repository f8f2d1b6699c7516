"""Tests of strength and hints on the page: they act at once, by click and by keyboard."""

import io
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.model.inference.test_hints import ab
from tests.serving.page.conftest import choose, colored, downloaded, shown


def from_server(address: str, photograph: Path, query: str) -> np.ndarray:
    request = Request(f"{address}v1/colorize?{query}", photograph.read_bytes(), method="POST")
    with urlopen(request) as answer, Image.open(io.BytesIO(answer.read())) as image:
        return np.asarray(image)


def set_strength(page: Page, article, value: float) -> None:
    slider = article.get_by_role("slider", name="Strength")
    slider.focus()
    steps = round((value - float(slider.input_value())) / 0.05)
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
    expect(article.locator(".value")).to_have_text(f"{value:g}")


@pytest.mark.parametrize("strength", [0, 0.5, 1.5])
def test_strength_acts_at_once_as_the_server_computes_it(
    page: Page, address: str, photographs: list[Path], strength: float
):
    article = choose(page, photographs[0]).first
    article.get_by_role("button", name="Zoom to pixels").click()  # the canvas then has the picture's pixels
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/v1/" in request.url else None)
    set_strength(page, article, strength)
    expected = from_server(address, photographs[0], f"strength={strength}")
    page.wait_for_function(  # all rows are painted
        "() => { const c = document.querySelector('canvas'); return c.height && "
        "c.getContext('2d').getImageData(0, c.height - 1, 1, 1).data[3]; }"
    )
    page.wait_for_timeout(300)
    assert asked == []
    seen = shown(article)
    assert seen.shape == expected.shape
    inside = ab(from_server(address, photographs[0], "strength=1")).norm(dim=0) < 25  # far from the gamut's border
    assert inside.float().mean() > 0.3
    difference = np.abs(seen.astype(int) - expected)[inside.numpy()]
    assert difference.mean() < 1
    assert difference.max() <= 10
    assert np.array_equal(downloaded(page, article)[1], expected)


def test_strength_one_shows_the_picture_itself(page: Page, photographs: list[Path]):
    article = choose(page, photographs[0]).first
    set_strength(page, article, 1.2)
    expect(article.locator("canvas.after")).to_be_visible()
    set_strength(page, article, 1)
    expect(article.locator("canvas.after")).to_be_hidden()
    expect(article.locator("img.after")).to_be_visible()


def hints_of(url: str) -> list:
    return json.loads(parse_qs(urlsplit(url).query)["hints"][0])


def test_hints_by_click_color_the_photograph_again(page: Page, address: str, photographs: list[Path]):
    article = choose(page, photographs[0]).first
    automatic = shown(article)
    article.get_by_role("button", name="Color hints").click()
    article.get_by_label("Dark red").check()
    marks = article.locator(".marks")
    box = marks.bounding_box()
    with page.expect_response("**/v1/colorize**") as answer:
        marks.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    [hint] = hints_of(answer.value.url)
    assert hint["color"] == "#a02c2c"
    assert np.allclose(hint["points"], [[0.25, 0.5]], atol=0.01)
    colored(article)
    point = shown(article)
    assert np.abs(point.astype(int) - automatic).max() > 5

    article.get_by_label("Another color").fill("#2a4b8d")
    with page.expect_response("**/v1/colorize**") as answer:
        marks.scroll_into_view_if_needed()
        box = marks.bounding_box()
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 120, box["y"] + 60, steps=12)
        page.mouse.up()
    point_hint, stroke = hints_of(answer.value.url)
    assert (point_hint, stroke["color"]) == (hint, "#2a4b8d")
    assert 5 < len(stroke["points"]) <= 13
    colored(article)
    expected = from_server(address, photographs[0], urlsplit(answer.value.url).query.split("&watch")[0])
    assert np.array_equal(downloaded(page, article)[1], expected)

    for _ in range(2):
        with page.expect_response("**/v1/colorize**"):
            article.get_by_role("button", name="Undo").click()
        colored(article)
    expect(article.get_by_role("button", name="Undo")).to_be_disabled()
    assert np.array_equal(shown(article), automatic)


def test_a_hint_pulls_the_color_where_it_is(page: Page, photographs: list[Path]):
    article = choose(page, photographs[0]).first
    article.get_by_role("button", name="Color hints").click()
    found = []
    for name in ("Dark red", "Navy"):
        article.get_by_label(name).check()
        with page.expect_response("**/v1/colorize**"):
            article.get_by_role("button", name="Set a point at the cross").click()
        colored(article)
        found.append(ab(shown(article)))
    assert not np.allclose(found[0], found[1], atol=2)
