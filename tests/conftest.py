"""No test asks a hub of the world; one that needs a hub gets its own."""

import pytest

from tests.hubs import ask_here, pretended_hub

NOWHERE = "http://127.0.0.1:9"


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
