"""The scores of a run in HTML: intervals, noise, seeds, verdicts, and published results."""

import json
import re

import pytest

from tests.browser.slow_lab import made_evidence
from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.mmlu import SubjectChange
from unlearnlab.metrics.published import results
from unlearnlab.metrics.scores import scores
from unlearnlab.metrics.verdicts import Verdict, whole_percent
from unlearnlab.spec.run import DataSpec, ModelSpec, RunSpec
from unlearnlab.ui.run.scoreboard import OFFICIAL, published_html, scoreboard_html, strip_html
from unlearnlab.views.scoreboard import headline, scoreboard, terms_strip

BEFORE, AFTER = made_evidence(1.0, 12), made_evidence(0.0, 12)
RUN = score_intervals(BEFORE, AFTER)


def drawn(spec, before, after, *, subjects=(), **more):
    board = scoreboard(spec, before, after, None, **more)
    return scoreboard_html(board, ended=True, subjects=subjects)


def test_scores_are_drawn_with_their_intervals_and_what_moved_within_noise():
    html = drawn(
        RunSpec(), scores(BEFORE), scores(AFTER), intervals=RUN, seeds="2 seeds of this spec: <b>"
    )
    span = RUN.after["task_aggregate"]
    assert f"{span.low:.2f} to {span.high:.2f}" in html
    assert html.count("within noise") == 1  # The quiz alone.
    assert "95% interval over rows" in html
    assert "2 seeds of this spec: &lt;b&gt;" in html


def test_without_evidence_there_are_no_intervals_and_nothing_is_said_of_them():
    html = drawn(RunSpec(), scores(BEFORE), scores(AFTER))
    assert "interval" not in html
    assert 'class="b range"' not in html


def test_an_interval_without_width_is_not_drawn():
    html = strip_html(terms_strip(scores(BEFORE), None, intervals=score_intervals(BEFORE)))
    assert 'class="range"' not in html


def test_below_the_tasks_gate_is_told_with_its_evidence_and_its_threshold():
    mmlu = {"utility_protocol": "MMLU, 5 shots", "utility_questions": 14042}
    before = scores(BEFORE).model_copy(update=mmlu | {"utility": 0.49})
    after = scores(AFTER).model_copy(update=mmlu | {"utility": 0.36})
    html = drawn(RunSpec(model=ModelSpec(name="olmo-7b")), before, after)
    assert '<span class="tag bad">Below the task&#39;s MMLU gate</span>' in html
    assert "MMLU 0.360 is below 0.371, the task&#39;s gate." in html
    asked = html.split('aria-current="true"')[1].split("</li>")[0]
    assert "MMLU is below 0.371 for OLMo 7B" in asked
    assert "below 75% of the original&#39;s for other models" in asked


def test_mmlu_opens_into_its_subjects():
    change = SubjectChange("law <of> sea", 4, 0.25, None, Interval(0.25, 0.05, 0.7))
    html = drawn(RunSpec(), scores(BEFORE), None, subjects=[change])
    assert "MMLU by subject · 1 subject<" in html
    assert "law &lt;of&gt; sea" in html
    assert "<td>0.25</td><td>–</td><td>0.05–0.70</td>" in html
    assert "subject<" not in drawn(RunSpec(), scores(BEFORE), None)


def test_a_run_of_the_embedded_model_compares_with_none():
    html = published_html(RunSpec(), scores(AFTER))
    assert html.count("<tr") == len(results()) + 2
    assert html.count("not comparable</small>") == len(results())
    assert "none compares with tiny-olmo" in html
    assert "This run" in html


def test_a_quiz_is_not_put_in_the_column_of_mmlu():
    own = published_html(RunSpec(), scores(AFTER)).split('class="own"')[1].split("</tr>")[0]
    assert own.count("<td>–</td>") == 2


def test_results_of_the_same_model_and_split_come_first(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    folder = tmp_path / "datasets" / "official"
    folder.mkdir(parents=True)
    told = {"title": "Official", "source": OFFICIAL, "personal": True}
    (folder / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    spec = RunSpec(
        model=ModelSpec(name="olmo-1b"), data=DataSpec(source="official", fold="validation")
    )
    html = published_html(spec, None)
    alike = [one for one in results() if not one.differs("olmo-1b", "validation")]
    assert f"{len(alike)} of the same model and split" in html
    rows = html.split("<tbody>")[1].split("</tr>")
    assert all("not comparable" not in row for row in rows[: len(alike)])
    assert "not comparable" in rows[len(alike)]


@pytest.mark.parametrize(
    "link",
    [
        'href="https://arxiv.org/abs/2503.02443"',
        'href="https://github.com/XelfXendr/peft_unlearning"',
    ],
)
def test_sources_are_links_that_open_apart_and_tell_nobody_where_from(link):
    html = published_html(RunSpec(), None)
    assert f'{link} target="_blank" rel="noopener noreferrer"' in html
    assert "This run" not in html


def test_the_verdict_is_one_sentence_with_its_numbers():
    html = drawn(RunSpec(), scores(BEFORE), scores(AFTER))
    sentence = re.sub("<[^>]+>", "", html.split('class="headline">')[1].split("</p>")[0])
    assert re.fullmatch(r"Forgets \d+%, keeps \d+%, [a-z ]+ \(AUC 0\.\d\d\)\.", sentence), sentence


@pytest.mark.parametrize(
    ("kind", "auc", "auc_before", "told"),
    [
        ("forgotten", 0.5, 1.0, "Forgets 99%, keeps 80%, not detectable (AUC 0.50)."),
        ("forgotten", 0.1, 1.0, "Forgets 99%, keeps 80%, detectable by its high loss (AUC 0.10)."),
        ("forgotten", 0.5, 0.5, "Forgets 99%, keeps 80%."),
        ("over_unlearned", None, None, "Over-unlearned: forgets 99%, keeps 80%."),
    ],
)
def test_the_sentence_tells_what_an_attack_finds_and_what_went_too_far(kind, auc, auc_before, told):
    judged = Verdict(kind, ("why",), forgets=0.99, keeps=0.8)
    assert "".join(text for text, _ in headline(judged, auc, auc_before)) == told


def test_all_and_nothing_are_never_rounded_to():
    assert [whole_percent(share) for share in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        "0%",
        "1%",
        "50%",
        "99%",
        "100%",
    ]
