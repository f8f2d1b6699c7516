"""Tests of the page in a headless Chromium against the real server."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from model.data.encoding import encode
from model.data.images import decode
from tests.model.inference.test_colorizer import lightness
from tests.serving.conftest import picture, until
from tests.serving.test_app import bomb
from tests.support.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Yields the opened page; at the end, fails at an error in its console."""
    complaints: list[str] = []
    opened = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)  # a phone's
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(address)
    yield opened
    opened.close()
    assert [text for text in complaints if "status of 4" not in text] == []  # a refusal is logged by the browser


@pytest.fixture
def photograph(photos: Path) -> bytes:
    """Returns a real photograph in gray, in a lossless format."""
    original = decode(sorted((photos / "scratch").glob("*.jpg"))[0])
    gray = np.asarray(original.image.convert("L").convert("RGB"))
    return encode(gray, decode(picture()))


_EVENT = """([name, files]) => {
    const transfer = new DataTransfer();
    for (const [title, content] of files) {
        const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
        transfer.items.add(new File([bytes], title, {type: "image/png"}));
    }
    const event = name === "paste" ? new ClipboardEvent(name, {clipboardData: transfer, bubbles: true})
        : new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true});
    document.body.dispatchEvent(event);
}"""


def give(page: Page, event: str, **files: bytes) -> None:
    """Drops or pastes files; their names are the keywords."""
    page.evaluate(_EVENT, [event, [[name, base64.b64encode(content).decode()] for name, content in files.items()]])


def colored(article: Locator) -> Locator:
    """Returns the article after its photograph is colored."""
    expect(article.get_by_role("link", name="Download")).to_be_visible(timeout=20_000)
    expect(article).to_have_attribute("aria-busy", "false")
    return article


def downloaded(page: Page, article: Locator) -> tuple[str, np.ndarray]:
    with page.expect_download() as waiting:
        article.get_by_role("link", name="Download").click()
    with Image.open(waiting.value.path()) as image:
        return waiting.value.suggested_filename, np.asarray(image)


def test_a_dropped_photograph_is_compared_and_downloaded(page: Page, photograph: bytes):
    give(page, "drop", **{"old <b>.png": photograph})
    article = colored(page.locator("article"))
    expect(article.locator("h2")).to_have_text("old <b>.png")

    slider = article.locator("img-comparison-slider")
    box = slider.bounding_box()
    assert box["width"] <= 390
    exposure = "slider => slider.shadowRoot.querySelector('.first').style.getPropertyValue('--exposure')"
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.up()
    assert float(slider.evaluate(exposure).rstrip("%")) == pytest.approx(75, abs=2)
    slider.focus()
    page.keyboard.down("ArrowRight")
    until(lambda: float(slider.evaluate(exposure).rstrip("%")) < 70)
    page.keyboard.up("ArrowRight")

    name, first = downloaded(page, article)
    before = decode(photograph).rgb
    assert name == "old <b>-colorized.png".replace("<", "_").replace(">", "_")  # Chromium's own care
    assert first.shape == before.shape
    assert np.abs(lightness(first) - lightness(before)).max() < 0.3
    assert np.ptp(first.astype(int), axis=2).max() > 10


def test_the_page_shows_why_a_file_is_refused(page: Page):
    give(page, "drop", **{"notes.jpg": b"just some text"})
    status = page.locator("article.refused").get_by_role("status")
    expect(status).to_have_text(re.compile("Not colored: not a JPEG, PNG, WebP, TIFF, BMP or GIF file"))
    give(page, "drop", **{"huge.png": bomb(14_200)})
    expect(page.locator("article").first.get_by_role("status")).to_contain_text("more pixels than the limit")
    expect(page.get_by_role("link", name="Download")).to_have_count(0)
    give(page, "paste", **{"pasted.png": picture()})
    colored(page.locator("article").first)


def test_three_photographs_are_colored_together(page: Page, photograph: bytes, tmp_path: Path):
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path, side in zip(paths, (50, 60, 70), strict=True):
        path.write_bytes(picture(side, side))
    page.get_by_label("Choose photographs").set_input_files(paths)
    for article, side in zip(page.locator("article").all(), (70, 60, 50), strict=True):
        assert downloaded(page, colored(article))[1].shape == (side, side, 3)
