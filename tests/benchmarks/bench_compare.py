"""Times the tab Compare in a real browser, on a store of 2,000 runs of 300 events each.

    python -m tests.benchmarks.bench_compare
    python -m tests.benchmarks.bench_compare --home FOLDER   # keeps the store for the next time

What is to be reached: the list opens in under 1 s, a selection redraws in under 300 ms. Each is
the median of several tries, counted in the page from the click to the frame that shows the answer.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import QUIET, chromium, hosting
from tests.stored_runs import fill

RUNS, EVENTS = 2000, 300
TRIES = 7

UNTIL = """([press, shown]) => new Promise((done, failed) => {
  const wanted = new Function(`return ${shown}`);
  const began = performance.now();
  new Function(press)();
  setTimeout(() => failed(new Error(`never: ${shown}`)), 30000);
  const look = () => wanted() ? done(performance.now() - began) : requestAnimationFrame(look);
  requestAnimationFrame(look);
})"""

LIST = "document.querySelectorAll('#compare-list tbody tr').length > 0"
OPEN = "document.getElementById('tab-compare-button').click()"
TICK = "document.querySelectorAll('#compare-list [data-pick]')[{}].click()"
BOARD = "document.querySelectorAll('#compare-rooms [data-drop]').length === {}"
CURVES = "(document.querySelector('#compare-room .plot')?.data ?? []).length === {}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--home", type=Path)
    with tempfile.TemporaryDirectory() as temporary:
        home = options.parse_args().home or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "unlearnlab.sqlite3").exists():
            fill(home, RUNS, EVENTS)
        measure(home)


def measure(home: Path) -> None:
    with hosting() as host, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=list(QUIET))
        url = host.open(home)
        pages = [browser.new_page(viewport={"width": 1440, "height": 1000}) for _ in range(TRIES)]
        opened = [timed_opening(page, url) for page in pages]
        page = pages[-1]
        tell(f"the list of {RUNS} runs opens", opened, 1000)
        selected = list(timed_selection(page))
        tell("the scoreboard of a selection is redrawn", [board for board, _ in selected], 300)
        tell("its curves, trade-off and terms are", [charts for _, charts in selected], 300)
        found = [page.evaluate(UNTIL, search(n)) for n in range(TRIES)]
        tell("a search shows what it found", found, 300)
        browser.close()


def timed_opening(page: Page, url: str) -> float:
    page.goto(url)
    page.locator("#unlearn").wait_for()
    page.locator("#chip-queue").wait_for()
    return page.evaluate(UNTIL, [OPEN, LIST])


def timed_selection(page: Page):
    """Tick one run after the other; the last selections have as many as a chart can tell apart."""
    for at in range(TRIES):
        board = page.evaluate(UNTIL, [TICK.format(at), BOARD.format(at + 1)])
        page.wait_for_function(CURVES.format(at + 1))
        page.evaluate(UNTIL, [TICK.format(at), BOARD.format(at)])
        if at:
            page.wait_for_function(CURVES.format(at))
        charts = page.evaluate(UNTIL, [TICK.format(at), CURVES.format(at + 1)])
        yield board, charts


def search(number: int) -> list[str]:
    type_it = (
        "const box = document.querySelector('#compare-list [type=search]');"
        f"box.value = '-000000-{number:06d}'; box.dispatchEvent(new Event('input'))"
    )
    return [
        type_it,
        "document.querySelectorAll('#compare-list tbody tr').length === 1 && "
        f"document.querySelector('#compare-list tbody').textContent !== '' && "
        f"document.querySelector('[data-pick]').dataset.pick.endsWith('{number:06d}')",
    ]


def tell(what: str, times_ms: list[float], most_ms: float) -> None:
    median = statistics.median(times_ms)
    every = ", ".join(f"{one:.0f}" for one in times_ms)
    print(f"{what}: {median:.0f} ms (at most {most_ms:.0f}; {every})")


if __name__ == "__main__":
    main()
