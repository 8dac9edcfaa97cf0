"""A real Chromium before a real server."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from tests.browser.server import free_port
from tests.conftest import NOWHERE

ROOT = Path(__file__).parent.parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/usr/bin/chromium",
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
POLICY = "Content Security Policy"
REFUSED = (403, 405, 413, 415)
PATIENCE_MS = 30000
"""A busy machine draws late; what must be quick is timed by tests of its own."""

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


@pytest.fixture(scope="session")
def browser():
    path = chromium()
    if path is None:
        pytest.skip(f"no Chromium found: neither {', '.join(NAMES)} nor $CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=PATIENCE_MS)
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=list(QUIET))
        yield found
        found.close()


class Host:
    """A process that serves pages with pretended labs, each on runs of its own."""

    def __init__(self, no_cache):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"}
        environment |= {"HF_ENDPOINT": NOWHERE, "HF_HOME": str(no_cache), "HF_TOKEN": ""}
        environment |= {"HF_HUB_OFFLINE": "1", "UNLEARNLAB_MAY_ASK_HUB": "1"}
        self.folder = TemporaryDirectory()  # Of datasets and models: never the user's own.
        environment |= {"UNLEARNLAB_HOME": self.folder.name}
        self.port = free_port()
        """Of one page at a time: a browser compiles the scripts of one address only once."""
        self.ports = {}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/browser/server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def open(self, home, **options):
        """Serve a page on the runs in a folder and return its address."""
        if self.port not in self.ports.values():
            options = {"port": self.port} | options
        self._wish({"open": str(home)} | options)
        url = self.process.stdout.readline().strip()
        assert url.startswith("http"), "the server did not start"
        self.ports[url] = options.get("port")
        return url

    def close(self, url):
        """Stop a page's runs and serve it no longer."""
        self._wish({"close": url})
        del self.ports[url]

    def _wish(self, wish):
        self.process.stdin.write(f"{json.dumps(wish)}\n")
        self.process.stdin.flush()

    def kill(self):
        """End the process at once, as a crash would."""
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()


@contextmanager
def hosting():
    with tempfile.TemporaryDirectory() as no_cache:
        host = Host(no_cache)
        try:
            yield host
        finally:
            host.kill()


@pytest.fixture(scope="session")
def host():
    """One process for all pages: importing gradio takes longer than most tests."""
    with hosting() as running:
        yield running


@pytest.fixture(scope="module")
def ran(host, tmp_path_factory, browser):
    """A server on which one run has finished."""
    url = host.open(tmp_path_factory.mktemp("home"), step_s=0.01)
    page = browser.new_page()
    page.goto(url)
    page.locator("#unlearn").click()
    page.locator("#scoreboard .headline").wait_for(timeout=2 * PATIENCE_MS)
    page.close()
    yield url
    host.close(url)


@pytest.fixture
def serve(host, tmp_path):
    """Open a page on an empty folder, with a lab as slow as the test asks."""
    opened = []

    def start(**options):
        opened.append(host.open(tmp_path, **options))
        return opened[-1]

    yield start
    for url in opened:
        host.close(url)


@pytest.fixture(scope="session")
def profile(browser):
    """A browser profile for one test after another: what they keep in it is cleared in between."""
    with _fresh(browser) as context:
        yield context


@pytest.fixture
def forbidden():
    """What pages asked for and were refused: a test that means to ask for it clears the list."""
    return []


@pytest.fixture
def tabs(browser, profile, forbidden):
    """Open pages, each in a browser profile of its own unless a context is given.

    Afterwards, no page may have asked another host for anything, nor have thrown an error, nor have
    asked for what the guard or the page's own policy forbids.
    """
    contexts, pages, outside, errors = [], [], [], []

    def watch(page):
        page.on("console", lambda told: POLICY in told.text and forbidden.append(told.text))
        page.on("response", lambda got: got.status in REFUSED and forbidden.append(got.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda sent: _foreign(sent.url) and outside.append(sent.url))

    def opened(address, *, context=None, ready=True, width=1440, height=1000, scheme="light"):
        if context is None:
            context = profile if not pages else _fresh(browser)
            contexts.append(context)
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        pages.append(page)
        watch(page)
        page.goto(address)
        if ready:
            page.locator("#unlearn").wait_for()
            page.locator("#chip-queue").wait_for()
        return page

    yield opened
    for context in contexts:
        _cleared(context) if context is profile else context.close()
    assert outside == []
    assert forbidden == []
    assert [error for error in errors if "ResizeObserver" not in error] == []


def _fresh(browser):
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    return context


def _cleared(profile):
    """Close its pages and forget all but the scripts they loaded.

    In this order: a page that is still open would write into what was cleared.
    """
    origins = {"{0.scheme}://{0.netloc}".format(urlsplit(page.url)) for page in profile.pages}
    for page in profile.pages:
        page.close()
    blank = profile.new_page()
    session = profile.new_cdp_session(blank)
    for origin in origins:
        wanted = {"origin": origin, "storageTypes": "local_storage,cookies"}
        session.send("Storage.clearDataForOrigin", wanted)
    blank.close()
    profile.clear_cookies()


def _foreign(address):
    parts = urlsplit(address)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in (
        "127.0.0.1",
        "localhost",
    )
