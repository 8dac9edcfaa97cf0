import subprocess

import pytest

from unlearnlab.runs import code_version as module
from unlearnlab.runs.code_version import revision_of
from unlearnlab.runs.events import Revision, Started, parse_event
from unlearnlab.views.words import code_text


def git(root, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(("git", *who, *words), cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "unlearnlab").mkdir()
    (tmp_path / "unlearnlab" / "a.py").write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_commit_and_changes_are_told(repository):
    clean = revision_of(repository)
    assert len(clean.commit) == 40
    assert not clean.dirty
    (repository / "data.jsonl").write_text("what is beside the code changes nothing")
    assert revision_of(repository) == clean
    (repository / "unlearnlab" / "b.py").write_text("2")
    assert revision_of(repository) == Revision(commit=clean.commit, dirty=True)


def test_without_a_repository_of_its_own_there_is_none(repository, monkeypatch):
    assert revision_of(repository / "unlearnlab") is None, "that of another project around it"
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert revision_of(repository) is not None
    monkeypatch.setenv("PATH", "")
    assert revision_of(repository) is None


def test_a_slow_git_is_not_waited_for(repository, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_S", 0.0)
    assert revision_of(repository) is None


def test_a_start_of_before_it_was_noted_is_still_read():
    old = parse_event('{"kind":"started","versions":{"torch":"2"},"device":"cpu"}')
    assert old == Started(versions={"torch": "2"}, device="cpu", code=None)
    assert code_text(old.code) == "not noted: git did not tell"
