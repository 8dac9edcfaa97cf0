"""The scoreboard in HTML: intervals, noise, seeds, and how the verdict was reached."""

from tests.browser.slow_lab import made_evidence
from unlearnlab.metrics.intervals import score_intervals
from unlearnlab.metrics.scores import scores
from unlearnlab.spec.run import ModelSpec, RunSpec
from unlearnlab.ui.run.scoreboard import scoreboard_html, strip_html
from unlearnlab.views.scoreboard import scoreboard, terms_strip

BEFORE, AFTER = made_evidence(1.0, 12), made_evidence(0.0, 12)
RUN = score_intervals(BEFORE, AFTER)


def drawn(spec, before, after, **more):
    return scoreboard_html(scoreboard(spec, before, after, None, **more), ended=True)


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
    mmlu = {"utility_protocol": "MMLU, 5 shots"}
    before = scores(BEFORE).model_copy(update=mmlu | {"utility": 0.49})
    after = scores(AFTER).model_copy(update=mmlu | {"utility": 0.36})
    html = drawn(RunSpec(model=ModelSpec(name="olmo-7b")), before, after)
    assert "<b>Below the task&#x27;s MMLU gate</b>" in html
    assert "MMLU 0.360 is below 0.371, the task&#x27;s gate." in html
    asked = html.split('aria-current="true"')[1].split("</li>")[0]
    assert "MMLU is below 0.371 for OLMo 7B" in asked
    assert "below 75% of the original&#x27;s for other models" in asked
