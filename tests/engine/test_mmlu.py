"""The shared beginning changes no answer: every question is ranked as one prompt at a time is."""

import math

import pytest

from tests.engine.families import tiny_config, tiny_of
from tests.engine.plain import mmlu_prompt, mmlu_row
from tests.engine.tiny import CPU, finish
from tests.outside import REAL, needs_real
from unlearnlab.engine.evaluation.mmlu import PromptReader, answer, letter_ids
from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.scores import picked
from unlearnlab.models.families import FAMILIES


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


def test_answers_are_those_of_one_prompt_at_a_time(roomy):
    found = finish(answer(roomy, ASKED, SHOTS))[1]
    for question, choice in zip(ASKED, found, strict=True):
        plain = mmlu_row(roomy.model, roomy.tokenizer, question, SHOTS[question.subject])
        assert [math.exp(one) for one in choice.logprobs] == pytest.approx(plain, rel=1e-4)
        assert picked(choice) == plain.index(max(plain))
        assert (choice.subject, choice.right) == (question.subject, question.answer)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_answers_as_one_prompt_at_a_time(name, tokenizer):
    config = tiny_config(name, len(tokenizer), max_position_embeddings=1024)
    lm = UnlearningModel(tiny_of(config), tokenizer, device=CPU)
    found = finish(answer(lm, ASKED, SHOTS))[1]
    for question, choice in zip(ASKED, found, strict=True):
        plain = mmlu_row(lm.model, tokenizer, question, SHOTS[question.subject], 1024)
        assert [math.exp(one) for one in choice.logprobs] == pytest.approx(plain, rel=1e-3)


def test_shots_are_dropped_until_the_prompt_fits_and_the_answers_stay_the_plain_ones(lm):
    found = finish(answer(lm, ASKED, SHOTS))[1]
    counts = set()
    readers = {s: PromptReader(lm.tokenizer, shots, lm.context) for s, shots in SHOTS.items()}
    for question, choice in zip(ASKED, found, strict=True):
        shots = SHOTS[question.subject]
        one = readers[question.subject].read(question)
        counts.add(one.shots)
        prompt = mmlu_prompt(lm.tokenizer, question, shots, lm.context)
        assert list(one.ids) == lm.tokenizer.encode(prompt)
        plain = mmlu_row(lm.model, lm.tokenizer, question, shots, lm.context)
        assert [math.exp(one) for one in choice.logprobs] == pytest.approx(plain, rel=1e-4)
    assert len(counts) > 1
    assert max(counts) < 5


def test_a_question_without_room_keeps_its_end(lm):
    long = mmlu.Question("art", "why " * 400, ("a", "b", "c", "d"), 0)
    one = PromptReader(lm.tokenizer, SHOTS["art"], 64).read(long)
    assert one.shots == 0
    assert lm.tokenizer.decode(one.ids).endswith("D. d\nAnswer:")


def test_a_question_alone_and_one_without_shots_are_answered(roomy):
    (alone,) = finish(answer(roomy, ASKED[:1], SHOTS))[1]
    assert alone.logprobs == pytest.approx(
        finish(answer(roomy, ASKED, SHOTS))[1][0].logprobs, abs=1e-4
    )
    (bare,) = finish(answer(roomy, ASKED[:1], {}))[1]
    plain = mmlu_row(roomy.model, roomy.tokenizer, ASKED[0], ())
    assert [math.exp(one) for one in bare.logprobs] == pytest.approx(plain, rel=1e-4)


def test_the_letters_are_the_last_tokens_after_a_space(tokenizer):
    assert [tokenizer.decode([one]).strip() for one in letter_ids(tokenizer)] == list("ABCD")


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
        assert picked(choice) == plain.index(max(plain))


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
