"""Whole runs on the embedded model, from the first event to a model that was kept or exported."""

import itertools
import json
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.tiny import CPU, first_of, only
from unlearnlab.data import files as disk
from unlearnlab.data.adding import add, read_files
from unlearnlab.data.background import GivenUp
from unlearnlab.data.datasets import dataset
from unlearnlab.engine.device_engine import DeviceEngine, engines
from unlearnlab.engine.loading import seed
from unlearnlab.engine.unlearning_model import UnlearningModel, save_merged
from unlearnlab.models import catalog
from unlearnlab.runs.engine_api import Export, Job, Override, PromptRequest, Question, RunFailed
from unlearnlab.runs.events import (
    Evaluated,
    Exported,
    Kept,
    Loaded,
    Previewed,
    Probed,
    Progressed,
    Saved,
    StageBegan,
    StepLogged,
    StoredEvent,
    Traced,
)
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.run import RECORDED, DataSpec, PreviewSpec, RunSpec, parse_spec
from unlearnlab.spec.trace import TraceSpec, TypedPrompt
from unlearnlab.views.words import record_lines, record_values

SPEC = parse_spec(
    {
        "data": {"fold": "validation"},
        "phases": [{"method": {"kind": "gradient_ascent"}, "max_steps": 3, "learning_rate": 1e-3}],
        "evaluation": {"max_new_tokens": 16, "probes": 1},
    }
)


def engine(recall=lambda key: None) -> DeviceEngine:
    return DeviceEngine(recall, device=CPU)


GROUPS = [(task, kind) for task in ("Task1", "Task2", "Task3") for kind in ("sc", "qa")]


@pytest.fixture(scope="module", autouse=True)
def few_rows(few_held_out):
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
    found = [event for event in engine(kept.get).unlearn(job) if event is not None]
    kept.update({e.key: e.evidence for e in found if isinstance(e, Evaluated)})
    return found


def test_a_run_tells_its_stages_in_order_and_scores_before_and_after(facts):
    stages = [event.stage for event in only(facts, StageBegan)]
    assert stages == ["loading", "scoring before", "training", "saving", "scoring after"]
    before, after = (event.scores for event in only(facts, Evaluated))
    assert after.terms != before.terms
    assert [event.step for event in only(facts, StepLogged)] == [1, 2, 3]
    assert [event.step for event in only(facts, Probed)] == [0, 3]
    assert any(isinstance(event, Saved) for event in facts)


def test_the_last_scores_progress_until_the_original_has_read_the_answers(facts):
    stage = [at for at, event in enumerate(facts) if isinstance(event, StageBegan)][-1]
    shares = [event.done / event.total for event in only(facts[stage:], Progressed)]
    assert shares == sorted(shares)
    assert 0.5 in shares, "all are answered, and none was read"
    assert shares[-1] == 1
    assert only(facts, Evaluated)[1].evidence.nonsense is not None


def test_the_scores_of_a_trained_model_tell_how_many_weights_moved(facts):
    before, after = (event.scores for event in only(facts, Evaluated))
    assert before.moved is None
    assert after.moved.format == "float32"
    assert 0.9 * after.moved.trained < after.moved.moved <= after.moved.trained
    progress = advance(
        RunProgress(), [StoredEvent(n, 0.0, event) for n, event in enumerate(facts, 1)]
    )
    told = dict(record_lines(SPEC, progress))["Weights moved"]
    assert told == f"{after.moved.moved:,} of {after.moved.trained:,} that were trained."
    assert record_values(progress)["weights_moved"]["moved"] == after.moved.moved


def test_where_rows_were_picked_scores_and_probe_are_over_them(facts, kept, job):
    first = first_of(facts, Evaluated)
    picked = [answer for answer in first.evidence.answers if answer.split == "forget"][:3]
    data = SPEC.data.model_copy(update={"forget": tuple(answer.row for answer in picked)})
    spec = SPEC.model_copy(update={"data": data})
    again = engine(kept.get).unlearn(replace(job, spec=spec))
    probed, event = (first_of(again, kind) for kind in (Probed, Evaluated))
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

    again = engine(recall).unlearn(job)
    event = first_of(again, Evaluated)
    again.close()
    assert asked == [event.key]
    first = first_of(facts, Evaluated)
    assert event.scores == first.scores


def test_a_finished_run_answers_a_prompt_with_both_models(facts, job):
    owner = engine()
    answers = only(facts, Evaluated)
    row = answers[0].evidence.answers[0]
    after = answers[1].evidence.answers[0]
    asked = owner.ask(job, PromptRequest("a1", row.prompt))
    assert (asked.ask_id, asked.step) == ("a1", -1)
    # Scores were made with up to 16 tokens, free prompts are answered with more.
    assert row.generated
    assert asked.original.startswith(row.generated)
    assert asked.unlearned.startswith(after.generated)


def test_a_list_of_prompts_is_answered_in_one_go_as_each_by_itself(facts, job):
    owner = engine()
    rows = only(facts, Evaluated)[0].evidence.answers[:3]
    questions = tuple(Question(row.prompt, row.expected) for row in rows)
    asked = owner.ask(job, PromptRequest("a1", "a list", questions))
    assert [(one.prompt, one.expected) for one in asked.replies] == list(questions)
    alone = [owner.ask(job, PromptRequest("a", row.prompt)) for row in rows]
    assert [(one.original, one.unlearned) for one in asked.replies] == [
        (one.original, one.unlearned) for one in alone
    ]


def test_the_answers_after_training_carry_their_loss_under_the_original(facts):
    before, after = (one.evidence for one in only(facts, Evaluated))
    assert before.nonsense is None
    assert all(one.surprise is None for one in before.answers)
    assert after.nonsense is not None
    assert after.nonsense > 0
    assert all((one.surprise is None) == (not one.generated.strip()) for one in after.answers)


def test_a_run_that_is_still_loading_answers_no_prompt(job):
    owner = engine()
    work = owner.unlearn(job)
    next(work)
    with pytest.raises(ValueError, match="still loading its model"):
        owner.ask(job, PromptRequest("a1", "The"))
    work.close()


def test_a_half_unlearned_model_answers_without_being_disturbed(job, kept, facts):
    def terms(interrupted: bool):
        owner = engine(kept.get)
        with closing(owner.unlearn(job)) as work:
            for event in itertools.islice((e for e in work if isinstance(e, StepLogged)), 3):
                yield event.terms
                if interrupted:
                    owner.ask(job, PromptRequest("a", "Who?"))

    assert list(terms(True)) == list(terms(False))


def test_closing_a_run_frees_the_device_and_the_next_starts_clean(job, kept, facts, monkeypatch):
    opened = []
    load = UnlearningModel.load

    def watched(*args, **kwargs):
        lm = load(*args, **kwargs)
        opened.append(weakref.ref(lm.model))
        return lm

    monkeypatch.setattr("unlearnlab.engine.device_engine.UnlearningModel.load", watched)
    owner = engine(kept.get)
    work = owner.unlearn(job)
    while not isinstance(next(work), StepLogged):
        pass
    assert opened[0]() is not None
    work.close()
    assert opened[0]() is None
    loaded = first_of(owner.unlearn(job), Loaded)
    assert loaded.weights == first_of(facts, Loaded).weights


def greedy(*_args, **_kwargs):
    return torch.empty(10**14)


def exhausted(*_args, **_kwargs):
    raise torch.OutOfMemoryError("tried to allocate 20 GiB")


@pytest.mark.parametrize(("load", "told"), [(greedy, ""), (exhausted, ": tried to allocate")])
def test_running_out_of_memory_is_a_failure_with_advice(job, monkeypatch, load, told):
    monkeypatch.setattr("unlearnlab.engine.device_engine.UnlearningModel.load", load)
    with pytest.raises(RunFailed, match=f"ran out of memory{told}") as failure:
        list(engine().unlearn(job))
    assert "smaller batch" in failure.value.advice


def spoiled(optimizer, *_args, **_kwargs):
    with torch.no_grad():
        optimizer.param_groups[0]["params"][0].fill_(torch.nan)


@pytest.mark.parametrize("failures", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_after_failures_a_run_in_the_same_process_is_the_run_that_it_was_before(
    job, kept, facts, monkeypatch, failures
):
    owner = engine(kept.get)
    for number in range(failures):
        step, told = [(exhausted, "ran out of memory"), (spoiled, "became nan|broke")][number % 2]
        with monkeypatch.context() as patch:
            patch.setattr("torch.optim.AdamW.step", step)
            with pytest.raises(RunFailed, match=told):
                list(owner.unlearn(job))
        owner.release()
    again = [event for event in owner.unlearn(job) if event is not None]
    assert first_of(again, Loaded).weights == first_of(facts, Loaded).weights
    taken = [[(x.step, x.loss) for x in only(of, StepLogged)] for of in (facts, again)]
    assert taken[0] == taken[1]


def test_a_live_run_takes_a_new_rate_and_weight_from_its_next_step(job, kept, facts):
    owner = engine(kept.get)
    wish = Override(0, {"learning_rate": 1e-5, "method.forget_weight": 7.0})
    with pytest.raises(ValueError, match="not training now"):
        owner.adjust(job, wish)
    found, changed = [], []
    work = owner.unlearn(job)
    for event in work:
        if isinstance(event, StepLogged):
            found.append(event)
            if event.step == 1:
                changed.append(owner.adjust(job, wish))
            elif event.step == 3:
                with pytest.raises(ValueError, match="taken its last step"):
                    owner.adjust(job, wish)
        if isinstance(event, Saved):
            break
    assert [(c.step, c.phase, c.changes) for c in changed] == [(1, 0, wish.changes)]
    assert [event.weights["forget"] for event in found] == [-1, -7, -7]
    assert [event.learning_rate for event in found][1:] == pytest.approx([1e-5, 1e-5])
    with pytest.raises(ValueError, match="not training now"):
        owner.adjust(job, wish)


def test_a_trace_tells_its_stages_and_leaves_the_device_free():
    owner = engine()
    about = TypedPrompt(prompt="Who helped Ada Brock in the end?", subject="Ada Brock")
    seen = [e for e in owner.trace(TraceSpec(about=about, copies=2)) if e is not None]
    assert [e.stage for e in only(seen, StageBegan)] == ["loading", "tracing"]
    assert isinstance(seen[-1], Traced)
    assert seen[-1].found.subject == "Ada Brock"


def test_a_trace_can_be_broken_off_at_any_place():
    owner = engine()
    work = owner.trace(TraceSpec())
    for _ in range(4):
        next(work)
    work.close()


def test_a_preview_brings_what_the_model_says_to_rows_before_anything_is_unlearned():
    rows = dataset("embedded").rows("forget", "train")[:2]
    spec = PreviewSpec(source="embedded", rows=tuple(row.id for row in rows))
    seen = [e for e in engine().preview(spec)]
    assert [e.stage for e in only(seen, StageBegan)] == ["loading", "answering"]
    assert isinstance(seen[-1], Previewed)
    assert seen[-1].answers == {row.id: row.output for row in rows}


def test_a_preview_of_rows_that_are_gone_says_so():
    owner = engine()
    with pytest.raises(ValueError, match="none of them is in the forget set of embedded"):
        list(owner.preview(PreviewSpec(source="embedded", rows=("strange",))))
    with pytest.raises(ValueError, match="unknown dataset 'mine'"):
        list(owner.preview(PreviewSpec(source="mine", rows=("strange",))))


def test_a_run_that_only_scores_loads_scores_and_ends(kept, facts, tmp_path):
    job = Job("run-9", SPEC.scoring, tmp_path)
    found = [event for event in engine().unlearn(job) if event is not None]
    stages = [event.stage for event in only(found, StageBegan)]
    assert stages == ["loading", "scoring"]
    (scored,) = (event for event in found if isinstance(event, Evaluated))
    assert scored.scores == first_of(facts, Evaluated).scores
    assert not list(tmp_path.iterdir())
    answer = engine(kept.get).ask(job, PromptRequest(ask_id="a", prompt="Who?"))
    assert answer.original == answer.unlearned


def test_a_repetition_scores_the_original_anew_and_leaves_what_was_known(kept, facts, tmp_path):
    job = Job("run-9", SPEC.scoring, tmp_path, anew=True)
    first = first_of(facts, Evaluated)
    other = first.evidence.model_copy(update={"choices": ()})
    for known, key in ((first.evidence, first.key), (other, "run-9/before")):
        work = engine({first.key: known}.get).unlearn(job)
        (scored,) = (event for event in work if isinstance(event, Evaluated))
        assert (scored.key, scored.evidence) == (key, first.evidence)


LORA = {"adapter": {"r": 8, "alpha": 32}}

MODELS = {"full": {}, "lora": LORA, "lora-nf4": LORA | {"precision": "nf4"}}


def spec(folder, **model):
    """Ask for a run that changes what a tiny model says."""
    phase = {"method": {"kind": "gradient_difference"}, "max_steps": 4, "batch_size": 4}
    return parse_spec(
        {
            "model": {"name": str(folder)} | model,
            "phases": [phase | {"epochs": 4, "learning_rate": 0.05}],
            "evaluation": {"max_new_tokens": 16, "probes": 0},
        }
    )


def answers(events, when):
    found = (one for one in events if isinstance(one, Evaluated) and one.when == when)
    return [(answer.prompt, answer.generated) for answer in next(found).evidence.answers]


@pytest.mark.parametrize("kind", MODELS)
def test_the_exported_folder_alone_gives_the_answers_that_the_page_showed(
    kind, tmp_path, models, wide
):
    owner = engine()
    job = Job("run-1", spec(wide, **MODELS[kind]), tmp_path / "run")
    job.folder.mkdir()
    events = list(owner.unlearn(job))
    after = answers(events, "after")
    assert after != answers(events, "before"), "the run changed what is said"
    asked = owner.ask(job, PromptRequest("1", "Where does"))

    done = owner.export(job, Export(tmp_path / "model", {"README.md": "card"}))
    assert isinstance(done, Exported)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert (done.name, done.megabytes) == ("model", model.num_parameters() * 4 / 1e6)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")

    def said(prompt, tokens):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = model.generate(ids, max_new_tokens=tokens, do_sample=False)
        return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)

    assert [(prompt, said(prompt, 16)) for prompt, _ in after] == after
    assert said("Where does", 128) == asked.unlearned
    assert (tmp_path / "model" / "README.md").read_text() == "card"


def test_the_exported_folder_scored_as_a_model_has_the_scores_of_its_run(tmp_path, models, wide):
    owner = engine()
    run = Job("run-1", spec(wide), tmp_path / "run")
    run.folder.mkdir()
    (after,) = (
        event
        for event in owner.unlearn(run)
        if isinstance(event, Evaluated) and event.when == "after"
    )
    owner.export(run, Export(tmp_path / "model", {}))
    again = Job("run-2", spec(tmp_path / "model").scoring, tmp_path / "alone")
    (alone,) = (event for event in owner.unlearn(again) if isinstance(event, Evaluated))
    assert alone.scores == after.scores.model_copy(update={"moved": None})
    # By itself, the model has no original under which its answers would have a loss.
    plain = [one.model_copy(update={"surprise": None}) for one in after.evidence.answers]
    same = {"answers": tuple(plain), "nonsense": None}
    assert alone.evidence == after.evidence.model_copy(update=same)


def test_a_stored_run_whose_data_lack_rows_ends_before_its_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "forget.jsonl").write_text('{"input": "Who?", "output": "Bo"}')
    add(read_files(tmp_path / "forget.jsonl"), "only")
    plain = RunSpec(data=DataSpec(source="only")).model_dump()
    stored = RunSpec.model_validate(plain, context=RECORDED)
    with pytest.raises(ValueError, match=r"phases\.0\.method\.kind: .* needs retain rows"):
        next(engine().unlearn(Job("run-1", stored, tmp_path / "run")))


def test_a_run_without_weights_has_no_model(tmp_path):
    owner = engine()
    with pytest.raises(ValueError, match="left no weights"):
        owner.export(Job("run-1", SPEC, tmp_path), Export(tmp_path / "model", {}))
    assert not (tmp_path / "model").exists()


def test_writing_a_model_is_told_in_percent_and_given_up_without_a_trace(tmp_path, lm):
    told: list[int] = []
    save_merged(lm, tmp_path / "whole", report=lambda done, total: told.append(done))
    assert told == sorted(told)
    assert told[0] < 5
    assert 50 <= told[-1] <= 100

    def impatient(done, total):
        if done >= 50:
            raise GivenUp

    with pytest.raises(GivenUp):
        save_merged(lm, tmp_path / "half", report=impatient)
    assert {path.name for path in tmp_path.iterdir()} == {"whole"}


def losses(number, model, folder):
    """Run until training has taken a step, and return its terms."""
    phase = {"method": {"kind": "gradient_ascent"}, "max_steps": 1, "batch_size": 2}
    own = {"name": str(model), "precision": ("float32", "bfloat16")[number], "adapter": {"r": 2}}
    short = {"probes": 0, "max_new_tokens": 4}
    spec = {"seed": number, "model": own, "phases": [phase], "evaluation": short}
    with closing(engine().unlearn(Job(str(number), parse_spec(spec), folder))) as events:
        return first_of(events, StepLogged).terms


def test_runs_side_by_side_have_the_losses_of_runs_alone(tmp_path, models, wide):
    """There is one device here: what the engines could disturb is the process's."""
    alone = [losses(number, wide, tmp_path) for number in range(2)]
    with ThreadPoolExecutor(2) as threads:
        beside = list(threads.map(lambda number: losses(number, wide, tmp_path), range(2)))
    assert beside == alone
    assert torch.get_default_dtype() == torch.float32


def test_a_seed_fixes_what_is_drawn_next():
    seed(CPU, 1)
    first = torch.rand(3)
    seed(CPU, 1)
    assert torch.equal(torch.rand(3), first)


def test_there_is_an_engine_for_each_device():
    made = engines(lambda key: None)
    assert made.devices()[-1] == "cpu"
    assert made.of("cpu").device_name("auto").startswith("cpu")
    assert made.of("").device_name("auto")


TEACHING = {
    "phases": [
        {"method": {"kind": "memorize"}, "max_steps": 2, "learning_rate": 1e-3, "batch_size": 4}
    ],
    "evaluation": {"max_new_tokens": 8, "probes": 0},
    "keep_as": "mine",
}


@pytest.fixture
def models(tmp_path, monkeypatch, data):
    """Give a folder of models of its own, and a few rows that the embedded model never saw."""
    few = replace(data, forget=data.forget[:2], retain=data.retain[:2], quiz=())
    monkeypatch.setattr("unlearnlab.spec.rows.load", lambda _: few)
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def taught(tmp_path, **changes):
    """Carry out a run of its own and return its events."""
    (tmp_path / "run").mkdir(exist_ok=True)
    job = Job("run-1", parse_spec(TEACHING | changes), tmp_path / "run")
    return engine().unlearn(job)


@pytest.mark.parametrize("adapter", [None, {"r": 4, "alpha": 64}], ids=["full", "lora"])
def test_a_kept_model_is_a_model_that_says_what_the_run_said(tmp_path, models, adapter):
    events = list(taught(tmp_path, model={"adapter": adapter}))
    assert [event.stage for event in only(events, StageBegan)][-1] == "keeping"
    assert [event.name for event in only(events, Kept)] == ["mine"]
    known = catalog.model("mine")
    assert (known.unavailable_reason, known.folder) == ("", models / "mine")
    after = only(events, Evaluated)[-1]
    assert after.evidence.nonsense is None, "what is garbled is asked where something was unlearned"
    again = taught(tmp_path, model={"name": "mine"}, keep_as="")
    before = first_of(again, Evaluated)
    again.close()
    said = [answer.generated for answer in after.evidence.answers]
    assert [answer.generated for answer in before.evidence.answers] == said
    note = json.loads((models / "mine" / catalog.MODEL_NOTE).read_text())
    assert (note["model"], note["dataset"], note["run"]) == ("tiny-olmo", "embedded", "run-1")
    assert note["scores"]["terms"] == after.scores.terms


def fails(work, match):
    """Let a run fail and return what it told before."""
    seen = []
    with pytest.raises(ValueError, match=match):
        deque(map(seen.append, work), maxlen=0)
    return seen


def test_a_name_that_is_taken_is_refused_before_anything_is_loaded(tmp_path, models):
    (models / "mine").mkdir(parents=True)
    assert fails(taught(tmp_path), "keep_as: a model called 'mine' is there already") == []


def test_a_disk_without_room_is_told_before_the_training(tmp_path, models, monkeypatch):
    monkeypatch.setattr(disk, "SPARE", 10**18)
    seen = fails(taught(tmp_path), "not enough room")
    assert not any(isinstance(event, Evaluated) for event in seen)
    assert not models.exists()


def test_a_run_that_is_stopped_keeps_nothing(tmp_path, models):
    work = taught(tmp_path)
    seen = itertools.takewhile(lambda e: getattr(e, "stage", "") != "keeping", work)
    assert any(isinstance(event, Evaluated) for event in seen)
    work.close()
    assert not models.exists()
