"""Takes the README's pictures from a real run: `python -m tests.browser.screenshots`.

With `--all FOLDER`, takes the page in every state, width and theme instead, to be looked at. With
`--sweep HOME`, takes the chart of the layer sweep that was carried out in that home.
"""

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import QUIET, ROOT, chromium, hosting
from tests.browser.reader import POINTS, fill_seed, finished
from tests.browser.slow_lab import FAILING
from tests.browser.test_engine import program
from unlearnlab.runs.store import Store
from unlearnlab.spec.sweep import ready_sweeps

README_SIZE = {"width": 1440, "height": 2000}
FIGURE_SIZE = {"width": 1100, "height": 2200}
WIDTHS = (1440, 1024, 390)
SCHEMES = ("light", "dark")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--all", type=Path, metavar="FOLDER")
    options.add_argument("--sweep", type=Path, metavar="HOME")
    args = options.parse_args()
    folder = args.all
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as home:
        browser = driver.chromium.launch(executable_path=chromium(), args=list(QUIET))
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            take_states(browser, Path(home), folder)
        elif args.sweep:
            take_sweep(browser, args.sweep)
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


def take_sweep(browser, home: Path) -> None:
    """Take the chart of the latest layer sweep in a home."""
    title = ready_sweeps()["embedded-layer-windows"].title
    with Store(home) as store:
        sweep = next(row.sweep_id for row in store.sweeps.rows() if row.name == title)
    with program(home) as url:
        page = browser.new_page(viewport=FIGURE_SIZE, device_scale_factor=2)
        page.add_init_script(f"localStorage.setItem('unlearnlab-sweep', {sweep!r})")
        page.goto(url)
        part = page.locator('#sweep [data-part="title"]')
        expect(part).to_contain_text(title, timeout=60000)
        fold = page.locator('#sweep [data-part="fold"]')
        if fold.get_attribute("aria-expanded") == "false":
            fold.click()
        page.wait_for_timeout(1500)
        page.locator("#sweep .plot").screenshot(path=ROOT / "assets/layer-windows.png")


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
