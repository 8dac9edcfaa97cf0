"""A whole run on the embedded model, from its first fact to its last."""

import weakref
from dataclasses import replace

import pytest
import torch

from tests.engine.tiny import CPU
from unlearnlab.data.datasets import dataset
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.runs.engine_api import Job, Override, PromptRequest, RunFailed
from unlearnlab.runs.events import (
    Evaluated,
    Loaded,
    Previewed,
    Probed,
    Saved,
    StageBegan,
    StepLogged,
    Traced,
)
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.run import parse_spec
from unlearnlab.spec.trace import TraceSpec, TypedPrompt

SPEC = parse_spec(
    {
        "data": {"fold": "validation"},
        "phases": [{"method": {"kind": "gradient_ascent"}, "max_steps": 3, "learning_rate": 1e-3}],
        "evaluation": {"max_new_tokens": 16, "probes": 1},
    }
)

GROUPS = [(task, kind) for task in ("Task1", "Task2", "Task3") for kind in ("sc", "qa")]


@pytest.fixture(scope="module", autouse=True)
def few_rows():
    """A few real rows of every subtask and kind: a whole fold shows nothing more, more slowly."""
    fold = training_rows.load(SPEC.data)
    few = replace(
        fold,
        forget=_some(fold.forget),
        retain=_some(fold.retain),
        members=fold.members[:4],
        nonmembers=fold.nonmembers[:4],
        quiz=fold.quiz[:4],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearnlab.spec.rows.load", lambda _: few)
        yield


def _some(rows):
    groups = [[row for row in rows if (row.task, row.kind) == group] for group in GROUPS]
    return tuple(row for group in groups for row in group[:2])


@pytest.fixture(scope="module")
def kept() -> dict:
    return {}


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    return Job("run-1", SPEC, tmp_path_factory.mktemp("run-1"))


@pytest.fixture(scope="module")
def facts(job, kept):
    found = [
        event for event in DeviceEngine(kept.get, device=CPU).unlearn(job) if event is not None
    ]
    kept.update({e.key: e.evidence for e in found if isinstance(e, Evaluated)})
    return found


def test_a_run_tells_its_stages_in_order_and_scores_before_and_after(facts):
    stages = [event.stage for event in facts if isinstance(event, StageBegan)]
    assert stages == ["loading", "scoring before", "training", "saving", "scoring after"]
    before, after = (event.scores for event in facts if isinstance(event, Evaluated))
    assert after.terms != before.terms
    assert [event.step for event in facts if isinstance(event, StepLogged)] == [1, 2, 3]
    assert [event.step for event in facts if isinstance(event, Probed)] == [0, 3]
    assert any(isinstance(event, Saved) for event in facts)


def test_where_rows_were_picked_scores_and_probe_are_over_them(facts, kept, job):
    first = next(event for event in facts if isinstance(event, Evaluated))
    picked = [answer for answer in first.evidence.answers if answer.split == "forget"][:3]
    data = SPEC.data.model_copy(update={"forget": tuple(answer.row for answer in picked)})
    spec = SPEC.model_copy(update={"data": data})
    again = DeviceEngine(kept.get, device=CPU).unlearn(replace(job, spec=spec))
    probed, event = (
        next(event for event in again if isinstance(event, kind)) for kind in (Probed, Evaluated)
    )
    again.close()
    assert event.scores.picked.rows == 3
    assert event.scores.picked.others == 12 - 3
    assert event.scores.rows == first.scores.rows
    assert {key for key in event.scores.terms if key.startswith("forget")} == {
        f"forget/{answer.task}/{answer.kind}" for answer in picked
    }
    losses = [answer.nll for answer in picked]
    assert probed.nll["forget"] == pytest.approx(sum(losses) / 3, rel=1e-3)


def test_scores_of_the_untouched_model_are_taken_from_an_earlier_run(facts, kept, job):
    asked: list[str] = []

    def recall(key: str):
        asked.append(key)
        return kept.get(key)

    again = DeviceEngine(recall, device=CPU).unlearn(job)
    event = next(e for e in again if isinstance(e, Evaluated))
    again.close()
    assert asked == [event.key]
    first = next(e for e in facts if isinstance(e, Evaluated))
    assert event.scores == first.scores


def test_a_finished_run_answers_a_prompt_with_both_models(facts, job):
    engine = DeviceEngine(lambda key: None, device=CPU)
    answers = [e for e in facts if isinstance(e, Evaluated)]
    row = answers[0].evidence.answers[0]
    after = answers[1].evidence.answers[0]
    asked = engine.ask(job, PromptRequest("a1", row.prompt))
    assert (asked.ask_id, asked.step) == ("a1", -1)
    # Scores were made with up to 16 tokens, free prompts are answered with more.
    assert row.generated
    assert asked.original.startswith(row.generated)
    assert asked.unlearned.startswith(after.generated)


def test_a_run_that_is_still_loading_answers_no_prompt(job):
    engine = DeviceEngine(lambda key: None, device=CPU)
    work = engine.unlearn(job)
    next(work)
    with pytest.raises(ValueError, match="still loading its model"):
        engine.ask(job, PromptRequest("a1", "The"))
    work.close()


def test_a_half_unlearned_model_answers_without_being_disturbed(job, kept, facts):
    def terms(interrupted: bool):
        engine = DeviceEngine(kept.get, device=CPU)
        found = []
        for event in engine.unlearn(job):
            if isinstance(event, StepLogged):
                found.append(event.terms)
                if interrupted:
                    engine.ask(job, PromptRequest("a", "The"))
        return found

    assert terms(True) == terms(False)


def test_closing_a_run_frees_the_device_and_the_next_starts_clean(job, kept, facts, monkeypatch):
    opened = []
    load = UnlearningModel.load

    def watched(*args, **kwargs):
        lm = load(*args, **kwargs)
        opened.append(weakref.ref(lm.model))
        return lm

    monkeypatch.setattr("unlearnlab.engine.device_engine.UnlearningModel.load", watched)
    engine = DeviceEngine(kept.get, device=CPU)
    work = engine.unlearn(job)
    while not isinstance(next(work), StepLogged):
        pass
    assert opened[0]() is not None
    work.close()
    assert opened[0]() is None
    loaded = next(e for e in engine.unlearn(job) if isinstance(e, Loaded))
    assert loaded.weights == next(e for e in facts if isinstance(e, Loaded)).weights


def test_memory_that_the_machine_does_not_have_is_a_failure_with_advice(job, monkeypatch):
    def greedy(*_args, **_kwargs):
        return torch.empty(10**14)

    monkeypatch.setattr("unlearnlab.engine.device_engine.UnlearningModel.load", greedy)
    with pytest.raises(RunFailed, match="ran out of memory") as failure:
        list(DeviceEngine(lambda key: None, device=CPU).unlearn(job))
    assert "smaller batch" in failure.value.advice


def test_running_out_of_memory_is_a_failure_with_advice(job, monkeypatch):
    def exhausted(*_args, **_kwargs):
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    monkeypatch.setattr("unlearnlab.engine.device_engine.UnlearningModel.load", exhausted)
    with pytest.raises(RunFailed, match="ran out of memory: tried to allocate") as failure:
        list(DeviceEngine(lambda key: None, device=CPU).unlearn(job))
    assert "smaller batch" in failure.value.advice


def test_a_live_run_takes_a_new_rate_and_weight_from_its_next_step(job, kept, facts):
    engine = DeviceEngine(kept.get, device=CPU)
    wish = Override(0, {"learning_rate": 1e-5, "method.forget_weight": 7.0})
    with pytest.raises(ValueError, match="not training now"):
        engine.adjust(job, wish)
    found, changed = [], []
    for event in engine.unlearn(job):
        if isinstance(event, StepLogged):
            found.append(event)
            if event.step == 1:
                changed.append(engine.adjust(job, wish))
            elif event.step == 3:
                with pytest.raises(ValueError, match="taken its last step"):
                    engine.adjust(job, wish)
    assert [(c.step, c.phase, c.changes) for c in changed] == [(1, 0, wish.changes)]
    assert [event.weights["forget"] for event in found] == [-1, -7, -7]
    assert [event.learning_rate for event in found][1:] == pytest.approx([1e-5, 1e-5])
    with pytest.raises(ValueError, match="not training now"):
        engine.adjust(job, wish)


def test_a_trace_tells_its_stages_and_leaves_the_device_free():
    engine = DeviceEngine(lambda key: None, device=CPU)
    about = TypedPrompt(prompt="Who helped Ada Brock in the end?", subject="Ada Brock")
    seen = [e for e in engine.trace(TraceSpec(about=about, copies=2)) if e is not None]
    assert [e.stage for e in seen if isinstance(e, StageBegan)] == ["loading", "tracing"]
    assert isinstance(seen[-1], Traced)
    assert seen[-1].found.subject == "Ada Brock"


def test_a_trace_can_be_broken_off_at_any_place():
    engine = DeviceEngine(lambda key: None, device=CPU)
    work = engine.trace(TraceSpec())
    for _ in range(4):
        next(work)
    work.close()


def test_a_preview_brings_what_the_model_says_to_rows_before_anything_is_unlearned():
    rows = dataset("embedded").rows("forget", "train")[:2]
    spec = PreviewSpec(source="embedded", rows=tuple(row.id for row in rows))
    seen = [e for e in DeviceEngine(lambda key: None, device=CPU).preview(spec)]
    assert [e.stage for e in seen if isinstance(e, StageBegan)] == ["loading", "answering"]
    assert isinstance(seen[-1], Previewed)
    assert seen[-1].answers == {row.id: row.output for row in rows}


def test_a_preview_of_rows_that_are_gone_says_so():
    engine = DeviceEngine(lambda key: None, device=CPU)
    with pytest.raises(ValueError, match="none of them is in the forget set of embedded"):
        list(engine.preview(PreviewSpec(source="embedded", rows=("strange",))))
    with pytest.raises(ValueError, match="unknown dataset 'mine'"):
        list(engine.preview(PreviewSpec(source="mine", rows=("strange",))))


def test_a_run_that_only_scores_loads_scores_and_ends(kept, facts, tmp_path):
    job = Job("run-9", SPEC.scoring, tmp_path)
    found = [
        event
        for event in DeviceEngine(lambda _: None, device=CPU).unlearn(job)
        if event is not None
    ]
    stages = [event.stage for event in found if isinstance(event, StageBegan)]
    assert stages == ["loading", "scoring"]
    (scored,) = (event for event in found if isinstance(event, Evaluated))
    assert scored.scores == next(e for e in facts if isinstance(e, Evaluated)).scores
    assert not list(tmp_path.iterdir())
    answer = DeviceEngine(kept.get, device=CPU).ask(job, PromptRequest(ask_id="a", prompt="Who?"))
    assert answer.original == answer.unlearned


def test_a_repetition_scores_the_original_anew_and_leaves_what_was_known(kept, facts, tmp_path):
    job = Job("run-9", SPEC.scoring, tmp_path, anew=True)
    first = next(event for event in facts if isinstance(event, Evaluated))
    other = first.evidence.model_copy(update={"choices": ()})
    for known, key in ((first.evidence, first.key), (other, "run-9/before")):
        work = DeviceEngine({first.key: known}.get, device=CPU).unlearn(job)
        (scored,) = (event for event in work if isinstance(event, Evaluated))
        assert (scored.key, scored.evidence) == (key, first.evidence)
