"""Tests of the page: photographs come in, are compared, refused, tried again, removed and downloaded."""

import io
import re
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from model.data.images import decode
from model.inference.colorizer import Colorizer
from tests.model.inference.test_colorizer import lightness
from tests.serving.conftest import picture
from tests.serving.page.conftest import choose, colored, downloaded, give
from tests.serving.test_app import bomb


def test_a_dropped_photograph_is_compared_and_downloaded(page: Page, photographs: list[Path]):
    photograph = photographs[0].read_bytes()
    give(page, "drop", **{"old <b>.png": photograph})
    article = colored(page.locator("article"))
    expect(article.locator("h2")).to_have_text("old <b>.png")

    slider = article.get_by_role("slider", name="Line between the original and the colors of old <b>.png")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box["width"] <= 375
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.up()
    assert float(slider.input_value()) == pytest.approx(25, abs=5)
    split = "(stack) => getComputedStyle(stack.querySelector('.after')).clipPath"
    assert article.locator(".stack").evaluate(split) == f"inset(0px 0px 0px {slider.input_value()}%)"
    before = float(slider.input_value())
    slider.press("ArrowRight")
    assert float(slider.input_value()) == before + 1
    expect(slider).to_have_attribute("aria-valuetext", f"{before + 1:g} % original")

    name, first = downloaded(page, article)
    gray = decode(photograph).rgb
    assert name == "old <b>-colorized.png".replace("<", "_").replace(">", "_")  # Chromium's own care
    assert first.shape == gray.shape
    assert np.abs(lightness(first) - lightness(gray)).max() < 0.3
    assert np.ptp(first.astype(int), axis=2).max() > 10


def test_a_refused_file_says_why_and_can_be_tried_again_or_removed(page: Page):
    give(page, "drop", **{"notes.jpg": b"just some text", "huge.png": bomb(14_200)})
    notes, huge = page.locator("article").all()
    expect(notes.locator(".status")).to_have_text(re.compile("Not colored: not a JPEG, PNG, WebP"))
    expect(huge.locator(".status")).to_contain_text("more pixels than the limit")
    expect(page.get_by_role("status")).to_have_text("0 of 2 colored, 2 failed")
    expect(page.get_by_role("link", name="Download")).to_have_count(0)
    expect(page.get_by_role("button", name="Download all")).to_be_disabled()
    notes.get_by_role("button", name="Remove").click()
    expect(page.locator("article h2")).to_have_text(["huge.png"])
    expect(page.locator("article h2")).to_be_focused()
    give(page, "paste", **{"pasted.png": picture()})
    colored(page.locator("article").first)


def test_a_photograph_that_failed_is_colored_when_the_server_is_back(page: Page):
    page.route("**/v1/colorize**", lambda route: route.abort())
    give(page, "drop", **{"a.png": picture()})
    article = page.locator("article")
    expect(article.locator(".status")).to_have_text("The server does not answer, or the file cannot be read.")
    page.unroute("**/v1/colorize**")
    article.get_by_role("button", name="Try again").click()
    colored(article)
    expect(article.get_by_role("button", name="Try again")).to_be_hidden()


def test_a_busy_server_is_asked_again(page: Page):
    refusals = []

    def busy(route: Route) -> None:
        refusals.append(route)
        if len(refusals) > 2:
            return route.fallback()
        status = 429 if len(refusals) == 1 else 503
        return route.fulfill(status=status, headers={"Retry-After": "0.1"}, json={"detail": "busy"})

    page.route("**/v1/colorize**", busy)
    give(page, "drop", **{"a.png": picture()})
    colored(page.locator("article"))
    assert len(refusals) == 3


def test_the_original_shows_while_the_page_tells_the_place_and_the_tile(page: Page):
    held = []
    page.route("**/v1/colorize**", lambda route: held.append(route))
    progress = {"place": 2, "tile": None, "tiles": None}
    page.route("**/v1/progress/*", lambda route: route.fulfill(json=progress))
    give(page, "drop", **{f"{number}.png": picture() for number in range(5)})
    first = page.locator("article").first
    expect(first.locator(".before")).to_be_visible()
    assert first.locator(".before").evaluate("(image) => image.naturalWidth") == 60
    expect(first.locator(".status")).to_have_text("Waiting: place 2 in the queue")
    expect(page.locator("article").last.locator(".status")).to_have_text("Waiting: place 5 in the queue")
    progress |= {"place": None, "tile": 3, "tiles": 9}
    expect(first.locator(".status")).to_have_text("Coloring: tile 4 of 9")
    bar = first.get_by_role("progressbar", name="Progress of 0.png")
    assert float(bar.get_attribute("value")) == pytest.approx(1 / 3)
    for left in range(5, 0, -1):
        expect(page.locator("article")).to_have_count(left)
        page.locator("article").first.get_by_role("button", name="Remove").click()
    expect(page.locator("article")).to_have_count(0)


def test_the_server_tells_the_page_where_its_photograph_is(page: Page, monkeypatch: pytest.MonkeyPatch):
    colorize = Colorizer.colorize

    page_saw = threading.Event()

    def slowly(self, *arguments, advance, **options):
        for tile in range(8):
            advance(tile, 9)
            page_saw.wait(5)
        return colorize(self, *arguments, advance=advance, **options)

    monkeypatch.setattr(Colorizer, "colorize", slowly)
    give(page, "drop", **{"a.png": picture()})
    expect(page.locator("article .status")).to_have_text("Coloring: tile 1 of 9")
    page_saw.set()
    colored(page.locator("article"))


@pytest.mark.parametrize(("name", "written"), [("scan.tiff", ".tiff"), ("scan.heic", ".jpg"), ("scan.jp2", ".tif")])
def test_a_file_that_the_browser_cannot_show_has_a_preview(page: Page, tmp_path: Path, name: str, written: str):
    path = tmp_path / name
    with Image.open(io.BytesIO(picture())) as image:
        image.save(path)
    article = choose(page, path).first
    for which in ("before", "after"):
        image = article.locator(f"img.{which}")
        expect(image).to_be_visible()
        assert image.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [60, 40]
    name, pixels = downloaded(page, article)
    assert (name, pixels.shape) == (f"scan-colorized{written}", (40, 60, 3))


def test_a_tiff_of_several_pages_says_which_one_is_colored(page: Page, tmp_path: Path):
    with Image.open(io.BytesIO(picture())) as image:
        image.save(tmp_path / "scan.tif", save_all=True, append_images=[image, image])
    article = choose(page, tmp_path / "scan.tif").first
    words = "Page 1 of 3. The command colorize photo colors all pages."
    expect(article.locator(".status")).to_have_text(words)
    downloaded(page, article)
    expect(article.locator(".status")).to_have_text(words)


def test_a_browser_without_a_database_is_told(page: Page, address: str):
    page.add_init_script(
        "IDBFactory.prototype.open = () => { throw new DOMException('The user denied it', 'SecurityError'); };"
    )
    page.goto(address)
    expect(page.locator("#drop")).to_contain_text("needs the browser's database (IndexedDB)")
    expect(page.get_by_label("Choose photographs")).to_be_disabled()
    give(page, "drop", **{"a.png": picture()})
    expect(page.locator("article")).to_have_count(0)


def test_all_are_downloaded_in_a_zip_named_as_the_originals(page: Page, tmp_path: Path):
    names = ["one/a.png", "two/a.png", "b.gif", "c.jpg"]
    for name, kind in zip(names, ("PNG", "PNG", "GIF", "JPEG"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(file_format=kind))
    choose(page, *(tmp_path / name for name in names))
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download all").click()
    assert waiting.value.suggested_filename == "colorized.zip"
    assert "/page/colorized.zip?" in waiting.value.url, "it should be streamed by the service worker"
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.png", "a (2).png", "b.jpg", "c.jpg"]
        for name in archive.namelist():
            with Image.open(io.BytesIO(archive.read(name))) as image:
                assert image.size == (60, 40)


def test_over_http_from_another_machine_the_zip_is_saved_all_the_same(page: Page, address: str, tmp_path: Path):
    hide = (
        "for (const name of ['serviceWorker', 'locks']) Object.defineProperty(navigator, name, { value: undefined });"
    )
    page.add_init_script(hide)  # as browsers do there
    page.goto(address)
    (tmp_path / "a.png").write_bytes(picture())
    choose(page, tmp_path / "a.png")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download all").click()
    assert waiting.value.suggested_filename == "colorized.zip"
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.namelist() == ["a.png"]


def test_zoom_shows_pixels(page: Page, tmp_path: Path):
    (tmp_path / "large.png").write_bytes(picture(1500, 900))
    article = choose(page, tmp_path / "large.png").first
    assert article.locator("img.after").bounding_box()["width"] <= 375
    button = article.get_by_role("button", name="Zoom to pixels")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert article.locator("img.after").bounding_box()["width"] == 1500
    region = article.get_by_role("region", name="Pixels of large.png")
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.pixels').scrollLeft > 0")
    button.click()
    assert article.locator("img.after").bounding_box()["width"] <= 375
