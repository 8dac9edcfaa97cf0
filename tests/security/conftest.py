"""A real page on a real port, started once: what is asked of it goes over HTTP."""

from types import SimpleNamespace

import httpx
import pytest

from tests.browser.server import opened
from tests.browser.slow_lab import SlowLab
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.runs.events import Finished
from unlearnlab.runs.store import Store
from unlearnlab.spec.run import RunSpec


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The address of a page without a password, and its store, which has one run."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, Store(home / "runs") as store:
        patch.setenv("UNLEARNLAB_HOME", str(home))
        patch.setenv("GRADIO_ALLOWED_PATHS", "/etc")  # As a user's shell may have it.
        run_id = store.create(RunSpec(), name="the victim")
        store.append(run_id, Finished(seconds=1))
        labs = EnginePool(lambda: [""], {"": SlowLab()}.__getitem__)
        url, close = opened(home / "runs", None, labs, {})
        yield SimpleNamespace(url=url.rstrip("/"), store=store, run_id=run_id, home=home)
        close()


@pytest.fixture
def client(program):
    with httpx.Client(base_url=program.url, trust_env=False, timeout=30) as asking:
        yield asking
