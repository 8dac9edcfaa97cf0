"""Loads the page on several lines, and prints what came and when it could be used.

    python -m tests.benchmarks.bench_page [--runs 3]

The page has one finished run of a pretended engine. Lines are those that browsers call Slow 3G and
Fast 3G. "painted" is the first text on the screen, "usable" when the button Unlearn can be pressed
and the run is drawn. A second visit finds the files in the browser's cache.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.conftest import QUIET, chromium, hosting
from tests.browser.reader import finished

KBIT = 1000 / 8
LINES = {
    "local": None,
    "Fast 3G": {"latency": 165, "downloadThroughput": 1440 * KBIT, "uploadThroughput": 675 * KBIT},
    "Slow 3G": {"latency": 400, "downloadThroughput": 400 * KBIT, "uploadThroughput": 400 * KBIT},
}
"""Milliseconds, and bytes a second."""

PAINTED = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with hosting() as host, tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        url = host.open(Path(home), step_s=0.01)
        browser = driver.chromium.launch(executable_path=chromium(), args=list(QUIET))
        first = browser.new_page()
        first.goto(url)
        first.locator("#unlearn").click()
        finished(first)
        first.close()
        _sizes(browser, url)
        for name, line in LINES.items():
            visits = _visits(browser, url, line, args.runs)
            for visit, times in zip(("first", "second"), visits, strict=True):
                painted, usable = (statistics.median(one) for one in zip(*times, strict=True))
                print(
                    f"{name:<8} {visit:<6} visit: painted {painted:5.1f} s, usable {usable:5.1f} s"
                )


def _sizes(browser: Browser, url: str) -> None:
    """Print the bytes that a first visit fetches, by kind, as they come over the line."""
    context = browser.new_context()
    page, sizes = context.new_page(), Counter[str]()
    session, kinds = context.new_cdp_session(page), dict[str, str]()
    session.send("Network.enable")

    def known(told: dict[str, Any]) -> None:
        kinds[told["requestId"]] = told["type"]

    session.on("Network.responseReceived", known)

    def done(told: dict[str, Any]) -> None:
        sizes[kinds.get(told["requestId"], "other")] += int(told["encodedDataLength"])

    session.on("Network.loadingFinished", done)
    page.goto(url)
    _usable(page)
    page.wait_for_timeout(1000)
    context.close()
    for kind, size in sizes.most_common():
        print(f"{kind:<12} {size / 1000:8.0f} kB")
    print(f"{'all':<12} {sum(sizes.values()) / 1000:8.0f} kB")


def _visits(
    browser: Browser, url: str, line: dict[str, float] | None, runs: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Time first and second visits: seconds until painted and until usable."""
    found: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for _ in range(runs):
        context = browser.new_context()
        for times in found:
            times.append(_visit(context, url, line))
        context.close()
    return found


def _visit(context: BrowserContext, url: str, line: dict[str, float] | None) -> tuple[float, float]:
    page = context.new_page()
    page.set_default_timeout(180_000)
    session = context.new_cdp_session(page)
    if line is not None:
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", {"offline": False, **line})
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    _usable(page)
    usable = time.perf_counter() - began
    painted = float(page.evaluate(PAINTED)) / 1000
    page.close()
    return painted, usable


def _usable(page: Page) -> None:
    page.locator("#unlearn:not([disabled])").wait_for()
    page.locator("#scoreboard .headline").wait_for()


if __name__ == "__main__":
    main()
