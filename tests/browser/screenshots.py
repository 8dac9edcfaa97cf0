"""Takes the README's pictures from a real run: `python -m tests.browser.screenshots`.

With `--all FOLDER`, takes the page in every state, width and theme instead, to be looked at.
"""

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import QUIET, ROOT, chromium, hosting
from tests.browser.slow_lab import FAILING
from tests.browser.test_engine import program
from tests.browser.test_runs import POINTS, fill_seed, finished

README_SIZE = {"width": 1440, "height": 2000}
FIGURE_SIZE = {"width": 1100, "height": 2200}
WIDTHS = (1440, 1024, 390)
SCHEMES = ("light", "dark")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--all", type=Path, metavar="FOLDER")
    folder = options.parse_args().all
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        browser = driver.chromium.launch(executable_path=chromium(), args=list(QUIET))
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            take_states(browser, Path(home), folder)
        else:
            take_readme(browser, Path(home))
        browser.close()


def opened(browser, url, *, size, scheme) -> Page:
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(url)
    page.locator("#chip-queue").wait_for()
    page.wait_for_timeout(1500)
    return page


def take_readme(browser, home: Path) -> None:
    """Run the first preset on the embedded model and take the page in both themes."""
    with program(home) as url:
        page = opened(browser, url, size=README_SIZE, scheme="light")
        page.locator("#unlearn").click()
        finished(page, timeout=300000)
        for scheme in SCHEMES:
            page = opened(browser, url, size=README_SIZE, scheme=scheme)
            finished(page)
            page.wait_for_timeout(2000)
            page.screenshot(path=ROOT / f"assets/screenshot-{scheme}.png")
        page = opened(browser, url, size=FIGURE_SIZE, scheme="light")
        page.get_by_role("tab", name="Trace").click()
        figure = page.locator("#windows .js-plotly-plot")
        figure.wait_for()
        page.wait_for_timeout(1500)
        figure.screenshot(path=ROOT / "assets/windows.png")


def take_states(browser, home: Path, folder: Path) -> None:
    """Take the page empty, running, failed and finished."""
    with hosting() as host:
        url = host.open(home, step_s=0.1, steps=60)
        take(browser, url, folder, "empty")
        page = opened(browser, url, size=README_SIZE, scheme="light")
        fill_seed(page, FAILING)
        page.locator("#unlearn").click()
        page.get_by_text("failed").first.wait_for(timeout=30000)
        take(browser, url, folder, "failed")
        fill_seed(page, 0)
        page.locator("#unlearn").click()
        page.wait_for_function(f"({POINTS})() > 25")
        page.locator("#hold").click()
        take(browser, url, folder, "paused")
        page.locator("#hold").click()
        finished(page)
        take(browser, url, folder, "finished")


def take(browser, url: str, folder: Path, state: str) -> None:
    for width in WIDTHS:
        for scheme in SCHEMES:
            size = {"width": width, "height": 1330 if width > 800 else 844}
            page = opened(browser, url, size=size, scheme=scheme)
            page.screenshot(path=folder / f"{state}-{width}-{scheme}.png", full_page=width < 800)
            page.close()


if __name__ == "__main__":
    main()
