"""The page with a password: what is answered to those who have not logged in."""

import gradio as gr
import pytest
from gradio.routes import App
from starlette.testclient import TestClient

from unlearnlab.ui.page import served

PASSWORD = "p:a:ss wörd"

GUARDED = (
    "config",
    "docs",
    "gradio_api/app_id",
    "gradio_api/cancel",
    "gradio_api/component_server/",
    "gradio_api/file=/etc/hostname",
    "gradio_api/heartbeat/x",
    "gradio_api/info",
    "gradio_api/queue/data?session_hash=x",
    "gradio_api/stream/x/close",
    "gradio_api/upload",
    "manual/",
    "manual/measures.md",
    "manual/windows.png",
    "monitoring",
    "monitoring/summary",
    "openapi.json",
    "nothing",
)


def page(auth=None, root_path=""):
    with gr.Blocks() as blocks:
        gr.Markdown("what only friends see")
    blocks.auth, blocks.auth_message, blocks.root_path = auth, None, root_path
    app = App.create_app(blocks, app_kwargs=served()["app_kwargs"])
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize("root_path", ["", "/lab"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
def test_without_a_login_all_but_its_page_answers_401(method, root_path):
    client = page([("ana", PASSWORD)], root_path)
    answers = {path: client.request(method, f"/{path}").status_code for path in GUARDED}
    assert answers == dict.fromkeys(GUARDED, 401)
    if root_path:
        assert client.request(method, f"{root_path}/manual/").status_code == 401


def test_the_login_page_shows_nothing_of_the_program():
    answer = page([("ana", PASSWORD)]).get("/")
    assert answer.status_code == 200
    assert "auth_required" in answer.text
    assert "only friends" not in answer.text


def test_a_login_opens_everything_and_a_wrong_password_nothing():
    client = page([("ana", PASSWORD)])
    for wrong in ("p", "p:a:ss w", "x"):
        assert client.post("/login", data={"username": "ana", "password": wrong}).is_client_error
    assert client.get("/manual/").status_code == 401
    right = {"username": "ana", "password": PASSWORD}
    assert client.post("/login", data=right).is_success
    assert client.get("/manual/").status_code == 200
    assert "only friends" in client.get("/config").text


def test_a_cookie_of_an_earlier_program_opens_nothing():
    client, later = page([("ana", PASSWORD)]), page([("ana", PASSWORD)])
    client.post("/login", data={"username": "ana", "password": PASSWORD})
    later.cookies = client.cookies
    assert later.get("/gradio_api/app_id").status_code == 401


def test_without_a_password_everything_is_open():
    client = page()
    assert client.get("/manual/").status_code == 200
    assert "only friends" in client.get("/config").text
