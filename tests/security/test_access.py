"""What the program asks for as it is started, and what it says about it."""

import argparse
import os
import re
from pathlib import Path

import httpx
import pytest

from tests.cli.test_commands import as_process
from unlearnlab.cli.access import AUTH, Access, access, add_options
from unlearnlab.cli.app import keep_uploads_private
from unlearnlab.spec.errors import SpecError


@pytest.fixture
def ask(monkeypatch, capsys):
    """Read options; what they ask for, and what is told."""
    monkeypatch.delenv(AUTH, raising=False)
    parser = argparse.ArgumentParser()
    for name, options in {
        "--host": {"default": "127.0.0.1"},
        "--root-path": {"default": ""},
        "--share": {"action": "store_true"},
    }.items():
        parser.add_argument(name, **options)
    add_options(parser)

    def read(*words):
        found = access(parser.parse_args([str(word) for word in words]))
        return found, capsys.readouterr().err

    return read


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.write_text("ana:p:a:ss wörd\r\nanother line\n", encoding="utf-8")
    file.chmod(0o600)
    return file


ANA = Access(("ana", "p:a:ss wörd"))

OTHERS = [("--host", "0.0.0.0"), ("--host", "::"), ("--host", "lab"), ("--share",)]


@pytest.mark.parametrize("others", OTHERS)
def test_a_page_that_others_reach_asks_for_a_link_unless_told_otherwise(ask, others, secret):
    assert ask(*others) == (Access(by_link=True), "")
    assert ask(*others, "--auth-file", secret) == (ANA, "")
    found, told = ask(*others, "--no-auth")
    assert found == Access()
    assert "can read its runs, data and answers, start, change and delete runs" in told


def test_a_page_of_this_machine_asks_for_nothing(ask):
    assert ask() == (Access(), "")
    assert ask("--root-path", "/lab") == (Access(), "")


@pytest.mark.parametrize("proxy", [("--allow-host", "x"), ("--root-path", "https://x/lab")])
def test_a_page_behind_a_proxy_says_that_it_asks_for_nothing(ask, proxy):
    found, told = ask(*proxy)
    assert (found, "needs no password" in told) == (Access(), True)


def test_a_password_comes_from_the_environment(ask, monkeypatch):
    monkeypatch.setenv(AUTH, "ana:p:a:ss wörd")
    assert ask() == ask("--host", "0.0.0.0") == (ANA, "")
    assert ask("--no-auth")[0] == Access()
    monkeypatch.setenv(AUTH, "ana")
    with pytest.raises(SpecError, match=f"{AUTH} takes USER:PASSWORD"):
        ask()


def test_a_password_is_typed_at_a_terminal_only(ask, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _: "p:a:ss wörd")
    with pytest.raises(SpecError, match="needs a terminal"):
        ask("--ask-password", "ana")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert ask("--ask-password", "ana") == (ANA, "")


def test_a_password_as_an_argument_works_and_warns(ask):
    found, told = ask("--auth", "ana:p:a:ss wörd")
    assert found == ANA
    assert "list of processes" in told
    assert "wörd" not in told


def test_a_file_that_others_can_read_works_and_warns(ask, secret):
    secret.chmod(0o644)
    found, told = ask("--auth-file", secret)
    assert (found, "chmod 600" in told) == (ANA, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), (b"ana\n", "takes USER:PASSWORD"), (b"\xff:x", "it is no text")],
)
def test_a_file_without_a_password_is_told_in_one_line(ask, tmp_path, content, told):
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(SpecError, match=told) as error:
        ask("--auth-file", file)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_not_read_for_a_password(ask, tmp_path):
    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(SpecError, match="cannot be read"):
            ask("--auth-file", path)


def test_one_way_to_ask_is_enough(ask, secret, capsys):
    with pytest.raises(SystemExit):
        ask("--auth-file", secret, "--no-auth")
    assert "not allowed with" in capsys.readouterr().err


def test_uploads_of_killed_programs_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    old, new = tmp_path / "uploads" / "old" / "rows.csv", tmp_path / "uploads" / "new" / "rows.csv"
    for upload in (old, new):
        upload.parent.mkdir(parents=True)
        upload.write_text("input,output\n")
    os.utime(old.parent, (1, 1))
    keep_uploads_private(tmp_path / "uploads")
    assert (old.exists(), new.exists()) == (False, True)
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "uploads")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    keep_uploads_private(tmp_path / "uploads")
    assert os.environ["GRADIO_TEMP_DIR"] == "elsewhere"


def test_the_program_prints_a_link_that_opens_it_to_others(tmp_path):
    home = str(tmp_path)
    with as_process("app", "--no-open", "--host", "0.0.0.0", UNLEARNLAB_HOME=home) as process:
        try:
            link = re.findall(r"http://\S+", process.stderr.readline())[0]
            page = link.partition("?")[0]
            assert len(link.partition("?token=")[2]) >= 32
            with httpx.Client(trust_env=False) as client:
                assert "gradio_config" not in client.get(page).text
                assert client.get(f"{page}gradio_api/app_id").status_code == 401
                assert client.get(link).status_code == 303
                assert "gradio_config" in client.get(page).text
                files = {"files": ("rows.csv", b"input,output\n")}
                (upload,) = client.post(f"{page}gradio_api/upload", files=files).json()
                assert (tmp_path / "uploads") in Path(upload).parents
                assert (tmp_path / "uploads").stat().st_mode & 0o777 == 0o700
        finally:
            process.kill()
