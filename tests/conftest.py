"""No test asks a hub of the world; one that needs a hub gets its own. Who shares a process.

Warnings that our code causes are errors, those of libraries are shown at the end.
"""

import signal
import sys
import warnings
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.outside import ask_here, pretended_hub
from unlearnlab.runs.devices import FOLDER

OURS = {"app", "unlearnlab", "tests"}

PASS_ON = {"torch.nn.modules.module", "torch.utils._contextlib", "contextlib", "functools"}
"""Modules that only pass a call on: whoever called them causes the warning."""

_warn = warnings.warn


def _warn_whoever_caused_it(message, category=None, stacklevel=1, source=None, **options):
    """Warn in the name of our module where we are the ones who called the library that warns.

    Filters go by the module that a warning names, and a library may name any frame: the call of a
    model, for one, stands in torch.
    """
    frame = sys._getframe(1)
    issuer = _package(frame)
    while (
        frame is not None
        and issuer not in OURS
        and (_package(frame) == issuer or frame.f_globals.get("__name__") in PASS_ON)
    ):
        frame = frame.f_back
    if frame is None or _package(frame) not in OURS:
        return _warn(message, category, stacklevel + 1, source, **options)
    if not isinstance(message, Warning):
        message = (category or UserWarning)(message)
    place = frame.f_code.co_filename, frame.f_lineno, frame.f_globals["__name__"]
    return warnings.warn_explicit(message, type(message), *place, source=source)


def _package(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]


warnings.warn = _warn_whoever_caused_it

NOWHERE = "http://127.0.0.1:9"

BROWSER = Path(__file__).parent / "browser"


class BrowserFirst(LoadScopeScheduling):
    """Sends whole files to processes: the first takes those of the browser, the others the rest.

    So a browser shares the machine with one other test at a time, until the rest is done and all
    help with the browser. Groups of pytest-xdist 3.8 would not work with pytest 9.2.
    """

    def _split_scope(self, nodeid):
        return nodeid.split("::")[0]

    def _assign_work_unit(self, node):
        mine = node is next(iter(self.assigned_work))
        wanted = [file for file in self.workqueue if ("/browser/" in file) == mine]
        if wanted:
            self.workqueue.move_to_end(wanted[0], last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config, log):
    return BrowserFirst(config, log)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(BROWSER):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session", autouse=True)
def no_hub(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        ask_here(patch, NOWHERE, tmp_path_factory.mktemp("hub-cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_locks(tmp_path_factory):
    """Lock devices apart from the user's programs and from the other processes of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture
def interruptible():
    """Take interrupts, which a process that was started in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that serves what a test puts into `hub.models`, and an empty cache."""
    with pretended_hub() as served:
        ask_here(monkeypatch, served.url, tmp_path / "hub-cache")
        monkeypatch.setattr("unlearnlab.models.checkpoints._LOOKED_UP", {})
        yield served


class Hand:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def hand():
    return Hand()
