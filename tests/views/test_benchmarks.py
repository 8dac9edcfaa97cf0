"""What the presets did, as the README and the page read it."""

import json

import pytest

from tests.fakes import evaluated
from unlearnlab.metrics.scores import Scores, TermRows
from unlearnlab.metrics.tracing import PARTS
from unlearnlab.views.benchmarks import (
    FIGURES,
    RealModel,
    RealRun,
    forget_answers,
    measurements,
    real_model,
    retain_answers,
    windows,
)


def run(seed, auc):
    scores = {when: evaluated(when).scores.model_dump(mode="json") for when in ("before", "after")}
    scores["after"]["mia_auc"] = auc
    plain = {"preset": "embedded-npo", "fold": "train", "seed": seed, "device": "cpu"}
    return plain | {"seconds": 9.0, "verdict": "forgotten"} | scores


@pytest.fixture
def found(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([run(0, 0.5), run(1, 0.7)]))
    return measurements(path)[("embedded-npo", "train")]


def test_figures_are_means_over_the_seeds(found):
    auc = next(figure for figure in FIGURES if figure.role == "membership")
    assert auc.means(found) == pytest.approx((evaluated("before").scores.mia_auc, 0.6))
    assert found.verdicts == ("forgotten",)


def test_nothing_measured_is_no_measurement(tmp_path):
    assert measurements(tmp_path / "none.json") == {}


def test_answers_are_those_of_the_subtask_that_fares_worst():
    terms = {"forget/Task1/qa": 0.9, "forget/Task2/qa": 0.6, "forget/Task3/sc": 0.1}
    terms |= {"retain/Task1/qa": 0.8, "retain/Task2/qa": 0.3}
    scores = evaluated("after").scores.model_copy(update={"terms": terms})
    assert forget_answers(scores) == pytest.approx(0.4)
    assert retain_answers(scores) == pytest.approx(0.3)


def test_a_score_that_was_not_measured_has_no_mean(found):
    blank = [one.model_copy(update={"after": _without_auc(one.after)}) for one in found.runs]
    auc = next(figure for figure in FIGURES if figure.role == "membership")
    assert auc.means(type(found)(tuple(blank))) is None


def _without_auc(scores: Scores) -> Scores:
    return scores.model_copy(update={"mia_auc": None})


@pytest.fixture
def compared(tmp_path):
    def moved(seed, first, aggregate):
        one = run(seed, 0.5) | {"first_layer": first, "last_layer": first + 2}
        one["after"]["task_aggregate"] = aggregate
        return one

    runs = [moved(s, first, a) for first, a in ((3, 0.9), (0, 0.6)) for s in (0, 1)]
    runs.append(moved(2, 0, 0.9))
    curve = {part: {"last": [{"mean": m, "sd": 0} for m in (0.1, 0.3, 0.2)]} for part in PARTS}
    spread = {"mean": 0.5, "sd": 0.1}
    found = {"kind": "average", "facts": 7, "unknown": 1, "having": {"last": 7}, "curves": curve}
    found |= dict.fromkeys(("clean", "corrupted", "total_effect"), spread)
    path = tmp_path / "windows.json"
    path.write_text(json.dumps({"runs": runs, "tracing": {"window": 2, "found": found}}))
    return windows(path)


def test_the_best_window_has_the_highest_mean_not_the_best_seed(compared):
    assert list(compared.of("embedded-npo")) == [(0, 2), (3, 5)]
    assert compared.of("embedded-npo")[(0, 2)].aggregate == pytest.approx(0.7)
    assert compared.best("embedded-npo") == (3, 5)


def test_the_comparison_says_where_tracing_points_and_what_training_did(compared):
    assert compared.peak("mlp") == 1
    assert "mlp at block 1 (0.30)" in compared.summary
    assert "blocks 3 to 5 for NPO" in compared.summary
    assert "7 facts" in compared.summary
    assert "need not be what is best trained" in compared.summary


def test_windows_that_were_not_measured_are_none(tmp_path):
    assert windows(tmp_path / "none.json") is None


def scored(forget, retain):
    """Scores of three questions in each set, of which so many are known."""
    behind = {
        f"{split}/{task}/qa": TermRows(rows=3, known=known, known_share=known / 3)
        for split, known in (("forget", forget), ("retain", retain))
        for task in ("Task1", "Task2")
    }
    terms = {
        key: 1 - of.known_share if key.startswith("forget") else of.known_share
        for key, of in behind.items()
    }
    return evaluated("after").scores.model_copy(
        update={"terms": terms, "behind": behind, "mia_auc": None}
    )


@pytest.fixture
def recorded():
    """A run of the real model that forgets all."""
    return RealRun(
        title="NPO",
        options="",
        steps=3,
        seconds=9,
        memory_gib=1,
        before=scored(forget=3, retain=3),
        after=scored(forget=0, retain=2),
    )


def test_known_rows_of_a_kind_are_counted_over_the_subtasks_before_and_after(recorded):
    assert recorded.known("forget", "qa") == (6, 0, 6)
    assert recorded.known("retain", "qa") == (6, 4, 6)
    assert recorded.known("retain", "sc") is None


def test_a_recorded_run_is_judged_by_its_goal(recorded):
    assert recorded.judgement.kind == "partly_forgotten"
    kept = recorded.model_copy(update={"after": recorded.before})
    assert kept.judgement.kind == "no_effect"
    assert kept.model_copy(update={"taught": True}).judgement.kind == "memorised"


def test_a_record_is_read_as_it_was_written_and_none_is_none(recorded, tmp_path):
    path = tmp_path / "smollm2.json"
    assert real_model(path) is None
    whole = RealModel(runs={"npo": recorded}, parameters=7)
    path.write_text(whole.model_dump_json(), encoding="utf-8")
    assert real_model(path) == whole
