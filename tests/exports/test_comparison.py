"""Runs set beside each other: gathered from a store, printed, and written as one file."""

import json
import re

import pytest

from tests.browser.slow_lab import HOSTILE_SEED, SlowLab
from tests.exports.results import run_of
from unlearnlab.cli.main import main
from unlearnlab.exports.compared import compared
from unlearnlab.exports.comparison import comparison
from unlearnlab.runs.store import Store
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.run import Phase, RunSpec

OTHER = RunSpec(phases=(Phase(method=NPO(), learning_rate=1e-5),), seed=1)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A home with two runs, and their ids."""
    home = tmp_path_factory.mktemp("home")
    with run_of(home, name="One") as (_, worker, one):
        other = worker.submit(OTHER, name="Two")
        assert worker.wait(other, 20)
    return home, one, other


@pytest.fixture(scope="module")
def gathered(two):
    home, one, other = two
    with Store(home) as store:
        return compared(store, [one, other, one])


def test_each_run_is_gathered_once_with_curves_evidence_and_original(gathered):
    assert [run.title for run in gathered.entries] == ["One", "Two"]
    assert gathered.tracks[gathered.entries[0].run_id].steps == (1, 2, 3)
    assert [one.name for one in gathered.speakers] == ["Original model", "One", "Two"]
    assert set(gathered.intervals) == {run.run_id for run in gathered.entries}


def test_the_report_is_one_file_that_loads_and_runs_nothing(gathered):
    text = comparison(gathered, masked=True)
    assert "default-src 'none'" in text
    assert not re.search(r"<script|<link|<img|https?://", text)
    for heading in ("Scores", "Ranking", "Charts", "The 12 terms", "Settings that differ"):
        assert f"<h2>{heading}" in text
    assert text.count("<svg viewBox") > 2


def test_names_in_the_examples_are_hidden_unless_asked_for(gathered):
    assert "Ada" not in comparison(gathered, masked=True)
    assert "Ada" in comparison(gathered, masked=False)


def test_what_models_and_readers_wrote_stays_text(tmp_path):
    lab = SlowLab(step_s=0, rows=2, steps=6)
    with run_of(tmp_path, RunSpec(seed=HOSTILE_SEED), lab=lab, name="<b>x</b>") as (store, _, run):
        text = comparison(compared(store, [run]), masked=False)
    assert "<script>window" not in text
    assert "<b>x</b>" not in text
    assert "&lt;script&gt;" in text


def test_a_run_that_failed_at_once_has_its_line(tmp_path):
    def fails(job):
        raise ValueError("no such thing")
        yield

    with run_of(tmp_path, script=fails) as (store, _, run):
        text = comparison(compared(store, [run]), masked=True)
    assert "no such thing" in text
    assert "<h2>Ranking" not in text


@pytest.fixture
def compare(two, capsys):
    home, one, other = two

    def command(*words):
        code = main(["compare", *words, one, other, "--home", str(home)])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def test_the_command_prints_scores_ranking_and_settings(compare):
    code, out, _ = compare()
    assert code == 0
    assert "phases.0.learning_rate" in out
    assert "Ranking: tiny-olmo, embedded train fold" in out


def test_the_command_prints_json(compare, two):
    found = json.loads(compare("--json", "--weights", "1,0,0")[1])
    assert [run["run"] for run in found["runs"]] == list(two[1:])
    assert found["differences"]["seed"] == {two[1]: "0", two[2]: "1"}
    assert [place["rank"] for place in found["rankings"][0]["places"]] == [1, 1]


def test_the_command_writes_the_report(compare, tmp_path):
    target = tmp_path / "new.html"
    assert compare("--report", str(target))[0] == 0
    assert "2 runs compared" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nope"], 2, "unknown run 'nope'"),
        (["--weights", "1,2"], 2, "'1,2' is not A,M,U"),
        (["--weights", "0,0,0"], 2, "is not A,M,U"),
        (["--report", "/proc/x/y.html"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_told(compare, words, code, told):
    found = compare(*words)
    assert found[0] == code
    assert told in found[2]
