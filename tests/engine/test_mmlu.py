"""The shared beginning changes no answer: every question is ranked as one prompt at a time is."""

import math

import pandas as pd
import pytest
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Replace
from transformers import PreTrainedTokenizerFast

from tests.engine.plain import mmlu_prompt, mmlu_row
from tests.engine.tiny import CPU, finish, only, tiny_config, tiny_of
from tests.outside import REAL, needs_real
from unlearnlab.engine.device_engine import evidence_key
from unlearnlab.engine.evaluation import evaluate
from unlearnlab.engine.mmlu import PromptReader, answer, letter_tokens, prepare_mmlu, protocol
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.scores import argmax_option, scores
from unlearnlab.models.families import FAMILIES
from unlearnlab.runs.events import Examined, Progressed, StageBegan
from unlearnlab.spec.run import EvaluationSpec, RunSpec


def questions(subject, count):
    return [
        mmlu.Question(
            subject,
            f"Who is number {i} of {subject}?" + " And why is that so?" * (i % 3),
            (f"first {i}", "second", "the third one", f"last of {i} or more"),
            i % 4,
        )
        for i in range(count)
    ]


SHOTS = {subject: tuple(questions(subject, 5)) for subject in ("art", "law_of_sea")}
ASKED = [*questions("art", 9)[3:], *questions("law_of_sea", 8)]


@pytest.fixture
def roomy(lm):
    lm.model.config.max_position_embeddings = 4096  # Its positions are rotary.
    return lm


def answered(lm, most=2048, rel=1e-4):
    """Answer all questions, and compare each with one prompt at a time."""
    found = finish(answer(lm, ASKED, SHOTS))[1]
    for question, choice in zip(ASKED, found, strict=True):
        plain = mmlu_row(lm.model, lm.tokenizer, question, SHOTS[question.subject], most)
        assert [math.exp(one) for one in choice.logprobs] == pytest.approx(plain, rel=rel)
        assert argmax_option(choice) == plain.index(max(plain))
        assert (choice.subject, choice.right) == (question.subject, question.answer)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_answers_as_one_prompt_at_a_time(name, tokenizer):
    config = tiny_config(name, len(tokenizer), max_position_embeddings=1024)
    answered(UnlearningModel(tiny_of(config), tokenizer, device=CPU), 1024, rel=1e-3)


def test_shots_are_dropped_until_the_prompt_fits_and_the_answers_stay_the_plain_ones(lm):
    answered(lm, lm.context)
    counts = set()
    readers = {s: PromptReader(lm.tokenizer, shots, lm.context) for s, shots in SHOTS.items()}
    for question in ASKED:
        one = readers[question.subject].read(question)
        counts.add(one.shots)
        prompt = mmlu_prompt(lm.tokenizer, question, SHOTS[question.subject], lm.context)
        assert list(one.ids) == lm.tokenizer.encode(prompt)
    assert len(counts) > 1
    assert max(counts) < 5


def test_a_question_without_room_keeps_its_end(lm):
    long = mmlu.Question("art", "why " * 400, ("a", "b", "c", "d"), 0)
    one = PromptReader(lm.tokenizer, SHOTS["art"], 64).read(long)
    assert one.shots == -1
    assert lm.tokenizer.decode(one.ids).endswith("D. d\nAnswer:")


def test_a_question_alone_and_one_without_shots_are_answered(roomy):
    (alone,) = finish(answer(roomy, ASKED[:1], SHOTS))[1]
    assert alone.logprobs == pytest.approx(answered(roomy)[0].logprobs, abs=1e-4)
    (bare,) = finish(answer(roomy, ASKED[:1], {}))[1]
    plain = mmlu_row(roomy.model, roomy.tokenizer, ASKED[0], ())
    assert [math.exp(one) for one in bare.logprobs] == pytest.approx(plain, rel=1e-4)


def test_the_letters_are_the_last_tokens_after_a_space(tokenizer):
    ends = letter_tokens(tokenizer)
    assert ends.blank == ()
    assert [tokenizer.decode([one]) for one in ends.letters] == [" A", " B", " C", " D"]


def of_characters() -> PreTrainedTokenizerFast:
    """Make a tokenizer whose tokens are single characters."""
    words = ["<s>", "</s>", *(chr(n) for n in range(32, 127)), "\n"]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(words))}
    whole = {"unk_token": "<s>", "continuing_subword_prefix": "", "max_input_chars_per_word": 9999}
    held = Tokenizer(WordPiece(vocabulary, **whole))
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=held, **ends)


def test_where_the_blank_is_a_token_of_its_own_the_letter_is_asked_for_after_it():
    tokenizer = of_characters()
    ends = letter_tokens(tokenizer)
    assert tokenizer.convert_ids_to_tokens(ends.blank) == [" "]
    assert tokenizer.convert_ids_to_tokens(ends.letters) == list("ABCD")
    config = tiny_config("llama", len(tokenizer), max_position_embeddings=1024)
    lm = UnlearningModel(tiny_of(config), tokenizer, device=CPU)
    found = finish(answer(lm, ASKED[:3], SHOTS))[1]
    for question, choice in zip(ASKED, found, strict=False):
        shots = SHOTS[question.subject][: choice.shots]
        ids = torch.tensor([tokenizer.encode(f"{mmlu.prompt(question, shots)} ")])
        plain = lm.model(ids).logits[0, -1].log_softmax(-1)[list(ends.letters)]
        assert choice.logprobs == pytest.approx(plain.tolist(), rel=1e-4)
    assert "the likeliest letter, asked for after the blank" in protocol(lm, 5, found)


def test_a_tokenizer_that_does_not_tell_the_letters_apart_is_refused():
    tokenizer = of_characters()
    tokenizer.backend_tokenizer.normalizer = Replace(Regex("[BCD]"), "A")
    with pytest.raises(ValueError, match="does not write them as four different tokens"):
        letter_tokens(tokenizer)


def test_shots_that_were_cut_are_counted_and_told(lm):
    found = finish(answer(lm, ASKED, SHOTS))[1]
    counts = [one.shots for one in found]
    assert max(counts) < 5
    told = protocol(lm, 5, found)
    assert f"; {len(ASKED)} questions had room for {min(counts)} to {max(counts)} shots" in told
    long = mmlu.Question("art", "why " * 400, ("a", "b", "c", "d"), 0)
    (cut,) = finish(answer(lm, [long], SHOTS))[1]
    assert protocol(lm, 5, [cut]).endswith(
        "; 1 question had room for 0 shots only, 1 even without their beginning"
    )


def test_where_all_shots_fit_none_are_told_to_be_cut(roomy):
    found = finish(answer(roomy, ASKED, SHOTS))[1]
    assert {one.shots for one in found} == {5}
    assert protocol(roomy, 5, found) == "MMLU: 5 shots, the likeliest letter"


@needs_real
@pytest.mark.slow
def test_500_real_questions_are_answered_as_one_at_a_time(lm):
    test = mmlu.load(REAL)
    asked = mmlu.subset(test.questions, 500)
    lm.model.config.max_position_embeddings = 1024
    found = finish(answer(lm, asked, test.shots))[1]
    for question, choice in zip(asked, found, strict=True):
        shots = test.shots[question.subject]
        plain = mmlu_row(lm.model, lm.tokenizer, question, shots, lm.context)
        assert argmax_option(choice) == plain.index(max(plain))


@needs_real
def test_real_prompts_are_tokenised_as_whole_ones(tokenizer):
    test = mmlu.load(REAL)
    for subject in ("college_physics", "moral_scenarios", "high_school_us_history", "formal_logic"):
        shots = test.shots[subject]
        reader = PromptReader(tokenizer, shots, 1024)
        for question in [one for one in test.questions if one.subject == subject][:60:4]:
            whole = tokenizer.encode(mmlu_prompt(tokenizer, question, shots, 1024))
            assert list(reader.read(question).ids) == whole


def test_a_tokenizer_whose_parts_do_not_add_up_reads_whole_prompts(tokenizer):
    class Counting:
        def encode(self, text, *, add_special_tokens=True):
            return [*tokenizer.encode(text), len(text)]

    one = PromptReader(Counting(), SHOTS["art"], 4096).read(ASKED[0])
    assert list(one.ids) == Counting().encode(mmlu.prompt(ASKED[0], SHOTS["art"]))


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
    assert measured.utility_protocol == asked.protocol(lm, found.choices)
    told = only(seen, Examined)
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
