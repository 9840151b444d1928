"""The report in a real browser: nothing is fetched, nothing is logged, nothing runs over a phone's edge."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from serving.batch import write_scores
from serving.report import write_report
from tests.serving.handmade import run

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [390, 1280])
def test_opens_clean(browser: Browser, tmp_path: Path, language: str, width: int) -> None:
    write_scores(run(200, language=language), tmp_path / "scores")
    write_report(tmp_path / "scores", tmp_path / "report.html", language)
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("h1").inner_text()
    assert page.locator("svg").count() >= 4
    assert page.locator("svg").first.evaluate("e => e.getBoundingClientRect().height") > 5
    assert complaints == []
    assert [url for url in requested if not url.startswith("file:")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()
