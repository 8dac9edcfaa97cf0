"""`python app.py`: what it refuses, and that it starts where a proxy is set."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from unlearnlab.cli import app
from unlearnlab.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def taken():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@pytest.mark.parametrize("auth", ["ada", ":secret", "ada:"])
def test_a_password_without_its_user_is_refused(auth, tmp_path, capsys):
    assert main(["app", "--home", str(tmp_path), "--auth", auth]) == 2
    assert "--auth takes USER:PASSWORD" in capsys.readouterr().err


def test_a_taken_port_is_named(taken, tmp_path, capsys):
    assert main(["app", "--home", str(tmp_path), "--port", str(taken)]) == 2
    assert f"port {taken} on 127.0.0.1 cannot be used" in capsys.readouterr().err


def test_a_home_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "home").touch()
    assert main(["app", "--home", str(tmp_path / "home")]) == 2
    assert str(tmp_path / "home") in capsys.readouterr().err


def test_a_run_that_is_not_there_cannot_be_replayed(tmp_path, capsys):
    assert main(["app", "--home", str(tmp_path), "--replay", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "open_to_others"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("x", True)],
)
def test_only_this_machine_is_no_other(host, open_to_others):
    assert app.open_to_others(host) is open_to_others


def test_a_proxy_is_not_asked_for_the_programs_own_page(tmp_path, taken):
    deaf = f"http://127.0.0.1:{taken}"
    named = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), deaf)
    environment = os.environ | named | {"NO_PROXY": "example.org", "no_proxy": "example.org"}
    command = [sys.executable, str(ROOT / "app.py"), "--home", str(tmp_path), "--no-open"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert "the page is at" in process.stderr.readline()
        finally:
            process.kill()
