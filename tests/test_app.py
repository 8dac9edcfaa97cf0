"""The options of the server; the page itself is tested in `browser`."""

import socket

import pytest

import app
from unlearnlab.metrics import Scores


def test_a_home_that_cannot_be_used_is_bad_input(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert app.main(["--home", str(tmp_path / "file"), "--no-open"]) == app.BAD_INPUT
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_a_port_that_is_taken_is_bad_input_if_it_was_asked_for(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = app.main(["--port", str(port), "--home", str(tmp_path), "--no-open"])
    assert code == app.BAD_INPUT
    assert f"port {port} on 127.0.0.1 cannot be used" in capsys.readouterr().err


def test_another_port_is_found_when_none_was_asked_for(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(app, "FIRST_PORT", port)
        monkeypatch.setattr(app, "LAST_PORT", port + 20)
        assert port < app.free_port("127.0.0.1", None) <= port + 20


@pytest.mark.parametrize("auth", ["me", "me:", ":secret"])
def test_half_a_password_is_bad_input(tmp_path, capsys, auth):
    assert app.main(["--auth", auth, "--home", str(tmp_path)]) == app.BAD_INPUT
    assert "USER:PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "others"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("lab", True)],
)
def test_a_host_that_others_can_reach_is_known(host, others):
    assert app.open_to_others(host) is others


def test_sharing_is_off_unless_asked_for():
    assert app.parser().parse_args([]).share is False


def test_the_retrained_models_scores_come_by_fold():
    assert all(isinstance(scores, Scores) for scores in app.references().values())


def test_without_the_retrained_models_scores_the_page_does_without(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "EMBEDDED", tmp_path)
    assert app.references() == {}
