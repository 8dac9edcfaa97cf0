"""What the presets did, as the README and the page read it."""

import json

import pytest

from tests.fakes import evaluated
from unlearnlab.measured import FIGURES, forget_answers, measurements, retain_answers
from unlearnlab.metrics import Scores


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
