"""Reports: one file, nothing loaded, nothing run, masked unless asked."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser.slow_lab import HOSTILE, HOSTILE_SEED, NAMES, SlowLab
from tests.exports.results import hostile_result, result_of, run_of
from tests.fakes import stage, stepped
from unlearnlab import exports
from unlearnlab.cli.main import main
from unlearnlab.exports.report import EXAMPLES, comparison, report, shown
from unlearnlab.exports.result import compared
from unlearnlab.exports.svg import Axis, chart
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import PhaseBegan
from unlearnlab.runs.store import Store
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.methods.representation import RMU
from unlearnlab.spec.run import Phase, RunSpec

VOID = {"meta", "br", "input", "circle", "path", "line", "rect"}


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that what opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    lab = SlowLab(step_s=0, rows=3, steps=8)
    two = RunSpec(phases=(Phase(), Phase()))
    return result_of(tmp_path_factory.mktemp("home"), two, lab=lab)


def test_the_verdict_names_what_stayed_masked_unless_asked(result):
    (hidden,), (plain,) = (
        re.findall(r"<li>(Stayed, .*)</li>", report(result, masked=masked))
        for masked in (True, False)
    )
    assert "•" in hidden
    assert "•" not in plain


def test_the_report_loads_nothing_and_runs_nothing_but_its_own_script(tmp_path):
    ours = Path(exports.__file__).with_name("report.js").read_text(encoding="utf-8")
    for masked in (True, False):
        text = report(hostile_result(tmp_path / str(masked)), masked=masked)
        found = Tags(text)
        assert found.open == []
        assert not {"img", "link", "iframe", "object", "a"} & set(found.tags)
        assert re.findall(r"<script>(.*?)</script>", text, re.DOTALL) == [ours]
        digest = b64encode(sha256(ours.encode()).digest()).decode()
        assert (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
        )
        assert not {"src", "href", "onerror", "onload"} & set(found.attributes)


def test_a_run_that_said_nothing_has_a_report_without_a_script(tmp_path):
    text = report(result_of(tmp_path, script=broken), masked=True)
    assert "script" not in Tags(text).tags
    assert "script-src" not in text


def test_the_report_shows_what_was_said_at_each_probe_and_the_last_one_without_a_script(result):
    text = report(result, masked=False)
    steps = [one.step for one in result.said]
    assert len(steps) > 3
    assert f'data-steps="{steps}"' in text
    assert text.count(f'<div data-step="{steps[-1]}">') == 4
    assert text.count(f'<div data-step="{steps[0]}" hidden>') == 4
    assert text.count('<line class="now"') == 2
    assert "Garnby" not in report(result, masked=True)


def test_hostile_text_is_shown_as_text(tmp_path):
    text = report(hostile_result(tmp_path), masked=False)
    assert HOSTILE not in text
    assert "&lt;img src=x onerror=" in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text


def test_personal_data_are_masked_unless_asked_for(result):
    hidden, open_ = report(result, masked=True), report(result, masked=False)
    assert "are hidden" in hidden
    for name in NAMES[:2]:
        assert name in open_
        assert name not in hidden
    assert "555-01" in open_
    assert "555-01" not in hidden


def test_the_report_has_settings_curves_scores_terms_verdict_and_answers(result):
    text = report(result, masked=True)
    assert result.board.verdict is not None
    assert result.board.verdict.title in text
    assert "Task aggregate" in text
    assert len(re.findall(r'<td[^>]*style="--heat', text)) == 12
    assert text.count("<figure>") == 2
    assert "2 Gradient difference" in text
    assert "learning rate 5e-4" in text
    assert "Fingerprint" in text or "fingerprint" in text
    assert text.count('data-label="Unlearned model"') == 12 * EXAMPLES
    assert "no proof of erasure" in text


def test_the_same_number_of_rows_of_each_kind_is_shown(result):
    rows = shown(result.answers)
    kinds = [(row.split, row.task, row.kind) for row in rows]
    assert {kinds.count(kind) for kind in kinds} == {EXAMPLES}


def broken(job):
    yield stage("training")
    yield PhaseBegan(phase=0, step=0, steps=3, total_steps=3, trainable=7, effective_batch=2)
    yield stepped(1)
    yield stepped(2, loss=float("nan"))
    raise RunFailed("the forget loss became nan at step 2", "lower the learning rate")


def test_a_failed_run_has_a_report_of_what_there_is(tmp_path):
    text = report(result_of(tmp_path, script=broken), masked=True)
    assert "the forget loss became nan at step 2 lower the learning rate" in text
    assert "No model was scored" in text
    assert "nan" not in chart(result_of(tmp_path / "b", script=broken), "terms", label="loss")
    assert Tags(text).open == []


def silent(job):
    yield stage("loading")
    raise RunFailed("nothing came of it")


def test_a_run_without_steps_has_no_empty_chart(tmp_path):
    assert "<figure>" not in report(result_of(tmp_path, script=silent), masked=True)


def steep(job):
    yield stage("training")
    yield PhaseBegan(phase=0, step=0, steps=3, total_steps=3, trainable=7, effective_batch=2)
    for step, loss in enumerate((0.5, 40.0, 900.0), 1):
        yield stepped(step, loss=loss)


def test_terms_of_different_size_have_a_logarithmic_axis(tmp_path):
    rmu = RunSpec(phases=(Phase(method=RMU(layer=2)),))
    drawn = chart(result_of(tmp_path, rmu, script=steep), "terms", label="loss")
    ticks = re.findall(r'text-anchor="end"[^>]*>([^<]*)<', drawn)
    assert ticks == ["0.1", "1", "10", "100", "1000"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.5, 1]), (0, 48, [0, 20, 40]), (-3, 0, [-3, -2, -1, 0])],
)
def test_ticks_are_round_numbers(low, high, ticks):
    assert list(Axis(low, high, 0, 100).ticks) == pytest.approx(ticks)


def test_a_curve_of_one_value_lies_in_the_picture():
    axis = Axis(0.5, 0.5, 0, 100)
    assert axis.at(0.5) == 50


# ---- several runs

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


def test_a_comparison_has_its_sections_and_loads_and_runs_nothing(gathered):
    text = comparison(gathered, masked=True)
    assert "default-src 'none'" in text
    assert not re.search(r"<script|<link|<img|https?://", text)
    assert Tags(text).open == []
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
