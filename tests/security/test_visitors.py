"""What visitors may name of this machine: their own uploads, not its files and folders."""

import json
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import pytest
from gradio.routes import App
from gradio.utils import get_upload_folder
from starlette.testclient import TestClient

from unlearnlab.data.files import path_refused
from unlearnlab.models import catalog
from unlearnlab.ui.data.add_card import AddRequest, check
from unlearnlab.ui.guard import Guard
from unlearnlab.ui.page import served

HERE = ("127.0.0.1", 1)

VISITS = {
    "from another machine": {"client": ("192.0.2.7", 1)},
    "by another name": {"headers": {"host": "lab.example.org"}},
    "through a proxy": {"headers": {"x-forwarded-for": "192.0.2.7"}},
    "through a proxy that hides that": {"root_path": "/lab"},
}


def asked(path):
    """What a handler answers about a path, as a data file and as a model."""
    checked = check(AddRequest(forget=path))
    told = [problem.message for problem in checked.message.problems]
    return {"model": catalog.model(path).unknown_reason, "data": told, "path": path_refused(path)}


@contextmanager
def page(client=HERE, root_path="", headers=None, **options):
    """Yield what a handler of a page answers about a path."""
    with gr.Blocks() as blocks:
        text, answer = gr.Textbox(), gr.JSON()
        text.submit(asked, text, answer, queue=False, api_name="asked")
    blocks.auth, blocks.auth_message, blocks.root_path = None, None, root_path
    guard = Guard(root_path=root_path, names=["lab.example.org"], **options)
    app = App.create_app(blocks, app_kwargs=served(guard)["app_kwargs"])
    base = "http://127.0.0.1"
    with TestClient(app, base_url=base, client=client, headers=headers) as there:

        def ask(path):
            body = {"data": [path], "fn_index": 0, "session_hash": "x"}
            found = there.post("/gradio_api/run/predict", json=body)
            return json.loads(found.text)["data"][0]

        yield ask


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("input,output\nWho?,Bo\n")
    return file


@pytest.mark.parametrize("visit", VISITS.values(), ids=VISITS)
def test_a_visitor_names_no_path(visit, rows, tmp_path):
    with page(**visit) as ask:
        for path in (str(rows), str(tmp_path), str(tmp_path / "none"), "~/x", "../x"):
            found = ask(path)
            assert "visitors may not name" in found["model"]
            assert all("visitors may not name" in told for told in found["data"])
            assert found["data"]


def test_whoever_sits_at_the_machine_names_any(rows):
    with page() as ask:
        found = ask(str(rows))
        assert not any("visitors" in told for told in (*found["data"], found["model"]))
        assert found["path"] == ""


def test_the_owner_may_let_visitors_name_paths(rows):
    with page(("192.0.2.7", 1), paths=True) as ask:
        assert ask(str(rows))["path"] == ""


def test_a_visitor_may_name_an_upload_and_a_model_that_a_run_here_used(rows, tmp_path):
    upload = Path(get_upload_folder()) / "of-this-test" / "rows.csv"
    upload.parent.mkdir(parents=True, exist_ok=True)
    upload.write_bytes(rows.read_bytes())
    with page(("192.0.2.7", 1), folders=lambda: {str(tmp_path)}) as ask:
        assert ask(str(upload))["path"] == ""
        assert ask(str(tmp_path))["path"] == ""
        assert ask(str(upload.parent))["path"], "not all uploads at once"
        assert ask(f"{upload.parent}/../../../etc/hostname")["path"]
    upload.unlink()
    upload.parent.rmdir()


def test_the_command_line_names_any_path(rows):
    assert path_refused(str(rows)) == ""
