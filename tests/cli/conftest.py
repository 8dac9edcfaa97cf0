"""Command lines carried out in this process, each test in a home of its own."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes import FakeLab, whole_run
from unlearnlab.cli.main import main
from unlearnlab.runs.store import Store

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UNLEARNLAB_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def cli(home, capsys):
    """Carry out a command with a pretended engine."""

    def carry_out(*words, script=whole_run, engine=None):
        try:
            code = main(list(map(str, words)), open_engine=lambda _: engine or FakeLab(script))
        except SystemExit as end:
            code = end.code
        return Ended(code, *capsys.readouterr())

    return carry_out


@pytest.fixture
def store(home):
    with Store(home) as store:
        yield store


def write(path: Path, *lines):
    """Write one JSON value per line, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
