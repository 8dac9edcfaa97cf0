"""A run asks MMLU's questions before and after, where it is to."""

import pandas as pd
import pytest

from tests.engine.tiny import finish
from unlearnlab.engine.device_engine import evidence_key
from unlearnlab.engine.evaluation.evaluation import evaluate
from unlearnlab.engine.evaluation.mmlu import answer, prepare_mmlu
from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.scores import argmax_option, scores
from unlearnlab.runs.events import Examined, Progressed, StageBegan
from unlearnlab.spec.run import EvaluationSpec, RunSpec

FETCHING = StageBegan(stage="downloading", seconds=0.0)

ASKING = EvaluationSpec(mmlu_questions=12)


def table(subjects, count):
    return pd.DataFrame(
        [
            {"question": f"What of {i}?", "subject": s, "choices": list("wxyz"), "answer": i % 4}
            for s in subjects
            for i in range(count)
        ]
    )


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "mmlu" / "all"
    folder.mkdir(parents=True)
    table(("anatomy", "art"), 5).to_parquet(folder / "dev-00000-of-00001.parquet")
    table(("anatomy", "art"), 15).to_parquet(folder / "test-00000-of-00001.parquet")
    return folder.parent


@pytest.fixture
def here(files, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MMLU", str(files))


def mmlu_sample(spec=ASKING):
    return finish(prepare_mmlu(spec, FETCHING))


@pytest.mark.usefixtures("here")
def test_its_questions_take_the_place_of_the_datas_own(lm: UnlearningModel, data):
    _, asked = mmlu_sample()
    seen, found = finish(evaluate(lm, data, max_new_tokens=4, mmlu_sample=asked, when="after"))
    assert found.choices == tuple(finish(answer(lm, asked.test.questions, asked.test.shots))[1])
    measured = scores(found)
    assert measured.measures_mmlu
    assert measured.utility_protocol.endswith("prompts of at most 256 tokens, 12 of 30 questions")
    told = [event for event in seen if isinstance(event, Examined)]
    right = sum(argmax_option(one) == one.right for one in found.choices)
    assert (told[-1].when, told[-1].asked, told[-1].right, told[-1].of) == ("after", 12, right, 12)
    done = [event.done / event.total for event in seen if isinstance(event, Progressed)]
    assert done == sorted(done)
    assert done[-1] == 1


@pytest.mark.usefixtures("here")
def test_other_questions_are_other_evidence(lm: UnlearningModel, data):
    keys = {evidence_key(lm, data, RunSpec(), one) for one in (None, mmlu_sample()[1])}
    keys.add(evidence_key(lm, data, RunSpec(), mmlu_sample(EvaluationSpec(mmlu_questions=13))[1]))
    assert len(keys) == 3
    assert evidence_key(lm, data, RunSpec(), mmlu_sample()[1]) in keys


def test_nothing_is_read_or_fetched_for_a_run_that_asks_none(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    assert mmlu_sample(EvaluationSpec()) == ([], None)


def test_a_test_that_is_not_here_is_fetched_once(files, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UNLEARNLAB_MMLU", raising=False)
    hub.models["cais/mmlu"] = files
    seen, asked = mmlu_sample()
    assert seen[0] == FETCHING
    assert len(asked.test.questions) == 12
    hub.asked.clear()
    assert mmlu_sample()[0] == []
    assert hub.asked == []


def test_a_folder_that_was_named_is_never_fetched_into(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MMLU", str(tmp_path))
    with pytest.raises(mmlu.MmluError, match=r"has no dev\.parquet: name a folder with cais/mmlu"):
        mmlu_sample()


def test_without_a_connection_the_way_out_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    monkeypatch.delenv("UNLEARNLAB_MMLU", raising=False)
    with pytest.raises(mmlu.MmluError, match="or name a folder that holds cais/mmlu"):
        mmlu_sample()


@pytest.mark.usefixtures("here")
def test_more_questions_than_there_are_name_both_numbers():
    with pytest.raises(ValueError, match="31 questions are asked for: take 1 to 30"):
        mmlu_sample(EvaluationSpec(mmlu_questions=31))
