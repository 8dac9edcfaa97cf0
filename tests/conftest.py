"""No test asks a hub of the world; one that needs a hub gets its own. Who shares a process."""

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.hubs import ask_here, pretended_hub

NOWHERE = "http://127.0.0.1:9"

BROWSER = Path(__file__).parent / "browser"


class BrowserApart(LoadScopeScheduling):
    """Sends all browser tests to one process, file by file the others to whichever is free.

    pytest-xdist 3.8 would do so by groups, but cannot write them down with pytest 9.2.
    """

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0]
        return "browser" if "/browser/" in file else file


def pytest_xdist_make_scheduler(config, log):
    return BrowserApart(config, log)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(BROWSER):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session", autouse=True)
def no_hub(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        ask_here(patch, NOWHERE, tmp_path_factory.mktemp("hub-cache"))
        yield


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that serves what a test puts into `hub.models`, and an empty cache."""
    with pretended_hub() as served:
        ask_here(monkeypatch, served.url, tmp_path / "hub-cache")
        monkeypatch.setattr("unlearnlab.hub._LOOKED_UP", {})
        yield served
