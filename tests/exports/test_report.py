"""The report: one file, nothing loaded, nothing run, masked unless asked."""

import re
from html.parser import HTMLParser

import pytest

from tests.browser.slow_lab import HOSTILE, NAMES, SlowLab
from tests.exports.results import hostile_result, result_of
from tests.fakes import stage, stepped
from unlearnlab.exports.chart import Axis, chart
from unlearnlab.exports.report import EXAMPLES, report, shown
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import PhaseBegan
from unlearnlab.spec.methods.representation import RMU
from unlearnlab.spec.run import Phase, RunSpec

VOID = {"meta", "br", "circle", "path", "line", "rect"}


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


def test_the_report_loads_nothing_and_runs_nothing(tmp_path):
    for masked in (True, False):
        found = Tags(report(hostile_result(tmp_path / str(masked)), masked=masked))
        assert found.open == []
        assert not {"script", "img", "link", "iframe", "object", "a"} & set(found.tags)
        assert not {"src", "href", "onerror", "onload"} & set(found.attributes)


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
    assert "Forgotten" in text
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
