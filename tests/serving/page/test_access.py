"""Tests of the page by keyboard alone, on a phone, offline, with 200 files, and by axe-core."""

import re
import zipfile
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.serving.conftest import picture
from tests.serving.page.conftest import choose, colored, give


def tab_to(page: Page, name: str, role: str) -> None:
    """Presses Tab until the first element of this role and name has the focus."""
    target = page.get_by_role(role, name=re.compile(f"^{name}")).first
    for _ in range(60):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab does not reach the {role} {name}")


def test_everything_works_by_keyboard_alone(page: Page, photographs: list[Path]):
    page.on("filechooser", lambda chooser: chooser.set_files(photographs[:2]))
    tab_to(page, "Choose photographs", "button")
    page.keyboard.press("Enter")
    article = colored(page.locator("article").first)
    colored(page.locator("article").last)

    tab_to(page, "Line between", "slider")
    page.keyboard.press("Home")
    expect(article.locator(".split")).to_have_value("0")
    page.keyboard.press("ArrowRight")
    expect(article.locator(".split")).to_have_attribute("aria-valuetext", "1 % original")

    tab_to(page, "Strength", "slider")
    page.keyboard.press("ArrowLeft")
    expect(article.locator("canvas.after")).to_be_visible()
    tab_to(page, "Download", "link")
    with page.expect_download():
        page.keyboard.press("Enter")

    tab_to(page, "Color hints", "button")
    page.keyboard.press("Space")
    expect(article.get_by_role("group", name="Hints")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    while page.evaluate("document.activeElement.type") != "radio":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")
    expect(article.get_by_label("Navy")).to_be_checked()
    tab_to(page, "Across", "slider")
    page.keyboard.press("ArrowRight")
    tab_to(page, "Set a point at the cross", "button")
    with page.expect_response("**/v1/colorize**"):
        page.keyboard.press("Enter")
    colored(article)
    expect(article.locator(".marks polyline")).to_have_count(2)

    tab_to(page, "Zoom to pixels", "button")
    page.keyboard.press("Enter")
    expect(article.get_by_role("region", name="Pixels of")).to_be_visible()
    tab_to(page, "Remove$", "button")
    page.keyboard.press("Enter")
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("article h2")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Download all")).to_be_focused()
    with page.expect_download():
        page.keyboard.press("Enter")


def test_the_page_fits_a_phone(page: Page, tmp_path: Path):
    (tmp_path / f"{'a-long-name-' * 12}.png").write_bytes(picture(900, 500))
    (tmp_path / "wide.png").write_bytes(picture(3000, 60))
    (tmp_path / "notes.png").write_text("no photograph", encoding="utf-8")
    page.get_by_label("Choose photographs").set_input_files(sorted(tmp_path.iterdir()))
    expect(page.get_by_role("status")).to_have_text("2 of 3 colored, 1 failed")
    page.get_by_role("button", name="Color hints").first.click()
    page.get_by_role("button", name="Zoom to pixels").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    for control in page.locator("button:visible, .download:visible, label:visible:has(> input)").all():
        box = control.bounding_box()
        assert box["height"] >= 40, control.inner_text()
        assert box["x"] + box["width"] <= 375, control.inner_text()


def test_the_page_works_offline_after_its_photographs_are_colored(page: Page, tmp_path: Path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(picture())
    articles = choose(page, tmp_path / "a.png", tmp_path / "b.png")
    page.wait_for_function("async () => (await navigator.serviceWorker.getRegistration('page/'))?.active")
    page.context.set_offline(True)
    article = articles.first
    article.get_by_role("slider", name="Strength").press("ArrowLeft")
    expect(article.locator("canvas.after")).to_be_visible()
    article.get_by_role("slider", name="Strength").press("ArrowRight")
    article.get_by_role("button", name="Zoom to pixels").click()
    article.get_by_role("slider", name="Line between").press("ArrowLeft")
    with page.expect_download():
        article.get_by_role("link", name="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.namelist() == ["a.png", "b.png"]
    page.get_by_label("Choose photographs").set_input_files(tmp_path / "c.png")
    expect(article.locator(".status")).to_have_text("The server does not answer, or the file cannot be read.")
    page.context.set_offline(False)
    article.get_by_role("button", name="Try again").click()
    colored(article)


_COUNT = """() => {
    window.urls = new Set();
    const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
    URL.createObjectURL = (blob) => { const url = create.call(URL, blob); window.urls.add(url); return url; };
    URL.revokeObjectURL = (url) => { window.urls.delete(url); revoke.call(URL, url); };
}"""


@pytest.mark.slow
def test_two_hundred_photographs_are_colored_without_two_hundred_blobs(page: Page, tmp_path: Path):
    page.evaluate(_COUNT)
    for number in range(200):
        (tmp_path / f"{number:03}.png").write_bytes(picture(30 + number % 7, 24))
    page.get_by_label("Choose photographs").set_input_files(sorted(tmp_path.iterdir()))
    expect(page.get_by_role("status")).to_have_text("200 of 200 colored", timeout=120_000)
    assert page.evaluate("window.urls.size") < 40
    page.locator("article").last.scroll_into_view_if_needed()
    expect(page.locator("article").last.locator("img.after")).to_be_visible()
    assert page.evaluate("window.urls.size") < 40
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.namelist() == [f"{number:03}.png" for number in range(200)]
        assert archive.testzip() is None
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("article")).to_have_count(0)
    assert page.evaluate("window.urls.size") == 0


def test_a_closed_page_leaves_no_photograph_in_the_browser(page: Page, address: str):
    give(page, "drop", **{"a.png": picture()})
    colored(page.locator("article"))
    count = """() => new Promise((done) => {
        indexedDB.open("colorize").onsuccess = (event) => {
            event.target.result.transaction("pictures").objectStore("pictures").count().onsuccess =
                (counted) => done(counted.target.result);
        };
    })"""
    assert page.evaluate(count) == 1
    page.goto(address)
    page.wait_for_function(f"async () => await ({count})() === 0")


@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, address: str, tmp_path: Path, width: int, scheme: str):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(address)

    def check(state: str) -> None:
        found = Axe().run(page)
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"

    check("empty")
    (tmp_path / "a.png").write_bytes(picture(900, 600))
    (tmp_path / "notes.png").write_text("no photograph", encoding="utf-8")
    page.get_by_label("Choose photographs").set_input_files(sorted(tmp_path.iterdir()))
    article = colored(page.locator("article").first)
    expect(page.locator("article").last.get_by_role("button", name="Try again")).to_be_visible()
    check("colored and failed")
    article.get_by_role("button", name="Color hints").click()
    check("hints")
    article.get_by_role("button", name="Color hints").click()
    article.get_by_role("button", name="Zoom to pixels").click()
    article.get_by_role("slider", name="Strength").press("ArrowLeft")
    check("zoom and strength")
    page.route("**/v1/colorize**", lambda route: None)
    give(page, "drop", **{"b.png": picture()})
    expect(page.locator("article").first.locator("img.before")).to_be_visible()
    check("waiting")
    page.context.close()
