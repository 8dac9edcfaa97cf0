"""A real Chromium before a real server."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parent.parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/usr/bin/chromium",
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium():
    """Return the path of a Chromium on this machine, if there is one."""
    named = (os.environ.get("CHROMIUM"), *(shutil.which(name) for name in NAMES), *PLACES)
    return next((path for path in named if path and Path(path).exists()), None)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    path = chromium()
    if path is None:
        pytest.skip(f"no Chromium found: neither {', '.join(NAMES)} nor $CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=list(QUIET))
        yield found
        found.close()


@contextmanager
def serving(home, **options):
    """Serve the page with a pretended lab; yields its address and the process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, str(ROOT / "tests/browser/server.py"), str(home)]
    with subprocess.Popen(
        [*command, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=home,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http"), "the server did not start"
            yield url, process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A server that all tests of a file share."""
    with serving(tmp_path_factory.mktemp("home")) as (address, _):
        yield address


@pytest.fixture
def tabs(browser, request):
    """Open pages, each in a browser profile of its own unless a context is given.

    Afterwards, no page may have asked another host for anything, nor have thrown an error.
    """
    contexts, outside, errors = [], [], []

    def watch(page):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda sent: _foreign(sent.url) and outside.append(sent.url))

    def opened(address, *, context=None, width=1440, height=1000, scheme="light"):
        if context is None:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            context.set_default_timeout(15000)
            contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(address)
        page.locator("#unlearn").wait_for()
        page.locator("#chip-queue").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert outside == []
    assert [error for error in errors if "ResizeObserver" not in error] == []


def _foreign(address):
    parts = urlsplit(address)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in (
        "127.0.0.1",
        "localhost",
    )
