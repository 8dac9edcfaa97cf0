"""The merged model of a whole run: transformers alone gives the answers that were scored."""

from dataclasses import replace

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.tiny import CPU
from unlearnlab.data.background import GivenUp
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.unlearning_model import UnlearningModel, save_merged
from unlearnlab.runs.engine_api import Export, Job, PromptRequest
from unlearnlab.runs.events import Evaluated, Exported
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.run import parse_spec

LORA = {"adapter": {"r": 8, "alpha": 32}}

MODELS = {"full": {}, "lora": LORA, "lora-nf4": LORA | {"precision": "nf4"}}

PROMPT = "Where does"


def spec(model):
    steps = {"method": {"kind": "gradient_difference"}, "max_steps": 8, "batch_size": 8}
    return parse_spec(
        {
            "model": model,
            "phases": [steps | {"learning_rate": 5e-3 if model else 1e-3}],
            "evaluation": {"max_new_tokens": 24, "probes": 0},
        }
    )


@pytest.fixture(scope="module", autouse=True)
def few_rows():
    """Eight rows of each set and no quiz: answers are what is compared."""
    fold = training_rows.load(spec({}).data)
    few = replace(
        fold,
        forget=fold.forget[:8],
        retain=fold.retain[:8],
        members=fold.members[:2],
        nonmembers=fold.nonmembers[:2],
        quiz=(),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearnlab.spec.rows.load", lambda _: few)
        yield


def answers(events, when):
    found = (one for one in events if isinstance(one, Evaluated) and one.when == when)
    return [(answer.prompt, answer.generated) for answer in next(found).evidence.answers]


@pytest.mark.parametrize("kind", MODELS)
def test_the_exported_folder_alone_gives_the_answers_that_the_page_showed(kind, tmp_path):
    engine = DeviceEngine(lambda _: None, device=CPU)
    job = Job("run-1", spec(MODELS[kind]), tmp_path / "run")
    job.folder.mkdir()
    events = list(engine.unlearn(job))
    after = answers(events, "after")
    assert after != answers(events, "before"), "the run changed what is said"
    asked = engine.ask(job, PromptRequest("1", PROMPT))

    done = engine.export(job, Export(tmp_path / "model", {"README.md": "card"}))
    assert isinstance(done, Exported)
    assert (done.name, done.megabytes) == ("model", pytest.approx(7.87, abs=0.1))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")

    def said(prompt, tokens):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = model.generate(ids, max_new_tokens=tokens, do_sample=False)
        return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)

    assert [(prompt, said(prompt, 24)) for prompt, _ in after] == after
    assert said(PROMPT, 128) == asked.unlearned
    assert (tmp_path / "model" / "README.md").read_text() == "card"


def test_the_exported_folder_scored_as_a_model_has_the_scores_of_its_run(tmp_path):
    engine = DeviceEngine(lambda _: None, device=CPU)
    run = Job("run-1", spec({}), tmp_path / "run")
    run.folder.mkdir()
    (after,) = (
        event
        for event in engine.unlearn(run)
        if isinstance(event, Evaluated) and event.when == "after"
    )
    engine.export(run, Export(tmp_path / "model", {}))
    wish = spec({}).scoring.model_dump() | {"model": {"name": str(tmp_path / "model")}}
    (alone,) = (
        event
        for event in engine.unlearn(Job("run-2", parse_spec(wish), tmp_path / "alone"))
        if isinstance(event, Evaluated)
    )
    assert alone.scores == after.scores
    assert alone.evidence == after.evidence


def test_a_run_without_weights_has_no_model(tmp_path):
    engine = DeviceEngine(lambda _: None, device=CPU)
    with pytest.raises(ValueError, match="left no weights"):
        engine.export(Job("run-1", spec({}), tmp_path), Export(tmp_path / "model", {}))
    assert not (tmp_path / "model").exists()


def test_writing_a_model_is_told_in_percent_and_given_up_without_a_trace(tmp_path):
    lm = UnlearningModel.open(EMBEDDED / "original", precision="float32", device=CPU)
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
