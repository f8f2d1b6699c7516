"""Fixtures: the page in a headless Chromium, on a phone's window, against the real server."""

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from model.data.images import decode
from serving.address import bind
from serving.app import create_app
from serving.limits import Limits
from serving.served_models import ServedFolder
from serving.server import configuration
from tests.model.inference.test_hints import hinted_folder
from tests.serving.conftest import until
from tests.support.browser import chromium

expect.set_options(timeout=30_000)  # a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of an untrained generator with strong colors, whose hints act."""
    return hinted_folder(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def address(generator: Path) -> Iterator[str]:
    """Yields the address of a server of that generator: http://127.0.0.1:.../"""
    sockets, limits = bind("127.0.0.1", 0), Limits()
    server = uvicorn.Server(configuration(create_app(ServedFolder(generator), limits), limits))
    running = threading.Thread(target=server.run, args=(sockets,))
    running.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
    server.should_exit = True
    running.join()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Yields the opened page; at the end, fails at an error in its console and at a request to another host."""
    complaints: list[str] = []
    opened = browser.new_page(viewport={"width": 375, "height": 667}, has_touch=True)  # a phone's
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    opened.context.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    yield opened
    opened.context.close()
    assert [url for url in asked if not url.startswith((address, f"blob:{address}", "data:"))] == []
    expected = ("status of ", "net::ERR_")  # refusals and lost connections are logged by the browser
    assert [text for text in complaints if not any(words in text for words in expected)] == []


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> list[Path]:
    """Returns real photographs in gray, of middle lightness."""
    folder = tmp_path_factory.mktemp("photographs")
    for path in sorted((photos / "scratch").glob("*.jpg"))[:3]:
        gray = decode(path).image.convert("L").point(lambda level: 64 + level // 2)
        gray.resize((240, 160)).save(folder / f"{path.stem}.png")
    return sorted(folder.iterdir())


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


def choose(page: Page, *files: Path) -> Locator:
    """Chooses files and returns the articles after all are colored."""
    page.get_by_label("Choose photographs").set_input_files(files)
    articles = page.locator("article")
    for number in range(len(files)):
        colored(articles.nth(number))
    return articles


def colored(article: Locator) -> Locator:
    """Returns the article after its photograph is colored."""
    expect(article.get_by_role("link", name="Download")).to_be_visible()
    expect(article).to_have_attribute("aria-busy", "false")
    return article


def downloaded(page: Page, article: Locator) -> tuple[str, np.ndarray]:
    """Returns the name and the pixels of a downloaded picture."""
    with page.expect_download() as waiting:
        article.get_by_role("link", name="Download").click()
    with Image.open(waiting.value.path()) as image:
        return waiting.value.suggested_filename, np.asarray(image)


def shown(article: Locator) -> np.ndarray:
    """Returns the pixels of the colored picture as the article shows them, (H, W, 4) uint8."""
    visible = article.locator(".after:visible")
    size, content = visible.evaluate(
        """(element) => {
        const [width, height] = element.naturalWidth ? [element.naturalWidth, element.naturalHeight]
            : [element.width, element.height];
        const context = new OffscreenCanvas(width, height).getContext("2d");
        context.drawImage(element, 0, 0);
        return [[height, width], Array.from(context.getImageData(0, 0, width, height).data)];
    }"""
    )
    return np.array(content, dtype=np.uint8).reshape(*size, 4)[..., :3]
