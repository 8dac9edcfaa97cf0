"""The documentation is served by the program, without another host."""

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from unlearnlab.data.files import DOCS
from unlearnlab.ui.manual import routes
from unlearnlab.ui.page import served

PAGES = sorted(path.name for path in DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def client():
    return TestClient(Starlette(routes=routes()))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_rendered_with_its_tables_and_every_link_of_it_works(client, name):
    text = client.get(f"/manual/{name}").text
    assert "<h1" in text
    assert "|---" not in text
    for target in re.findall(r'(?:href|src)="([^"]*)"', text):
        path, _, anchor = target.partition("#")
        assert "://" not in target
        linked = client.get(f"/manual/{path or name}")
        assert linked.status_code == 200, target
        assert not anchor or f'id="{anchor}"' in linked.text, target


def test_the_manual_opens_and_nothing_but_its_pages_is_served(client):
    assert "<h1" in client.get("/manual/").text
    for name in ("style.css", "..%2Fpyproject.toml", "nothing.md"):
        assert client.get(f"/manual/{name}").status_code == 404


def test_the_page_is_launched_with_the_manual():
    assert [route.path for route in served()["app_kwargs"]["routes"]] == [
        route.path for route in routes()
    ]
