"""Batched greedy text is the text of one prompt at a time."""

from contextlib import closing
from types import SimpleNamespace

import psutil
import pytest
import torch

from tests.engine.tiny import finish
from unlearnlab.data.datasets import Row
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.generation import expected_stats, generate
from unlearnlab.engine.likelihoods import encode_continuation, token_stats
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import CACHE_SHARE, load, slots
from unlearnlab.spec.run import DataSpec

FORGET = load(DataSpec(fold="validation")).forget
ROWS = [*FORGET[:20], *[row for row in FORGET if row.kind == "sc"][:4]]
PROMPTS = [row.input for row in ROWS]


@pytest.fixture(scope="module")
def embedded() -> UnlearningModel:
    return UnlearningModel.open(
        EMBEDDED / "original", precision="float32", device=torch.device("cpu")
    )


@pytest.fixture(scope="module")
def one_by_one(embedded):
    return finish(generate(embedded, PROMPTS, max_new_tokens=64, batch_size=1))[1]


@pytest.mark.parametrize("batch_size", [3, 16, 64])
def test_the_batch_size_never_changes_an_answer(embedded, one_by_one, batch_size):
    work = generate(embedded, PROMPTS, max_new_tokens=64, batch_size=batch_size)
    assert finish(work)[1] == one_by_one


def test_where_memory_is_short_fewer_prompts_are_answered_at_once(
    embedded, one_by_one, monkeypatch
):
    longest = max(len(embedded.tokenizer.encode(prompt)) for prompt in PROMPTS) + 64
    for_five = int(5 * slots(longest) * embedded.kv_bytes_per_token / CACHE_SHARE) + 1
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=for_five))
    rows: list[int] = []
    watching = embedded.model.register_forward_pre_hook(
        lambda _model, _args, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    with closing(generate(embedded, PROMPTS, max_new_tokens=64)) as work:
        assert finish(work)[1] == one_by_one
    watching.remove()
    assert max(rows) == 5


@pytest.mark.parametrize("batch_size", [3, 64])
@pytest.mark.parametrize("guess", ["right", "begun", "wrong", "empty", "another's"])
def test_what_is_expected_never_changes_an_answer(embedded, one_by_one, batch_size, guess):
    right = [row.output for row in ROWS]
    expected = {
        "right": right,
        "begun": [f"{text[: len(text) // 2]} and so on" for text in right],
        "wrong": ["Nothing of the kind."] * len(right),
        "empty": [""] * len(right),
        "another's": right[::-1],
    }[guess]
    work = generate(embedded, PROMPTS, max_new_tokens=64, batch_size=batch_size, expected=expected)
    said = finish(work)[1]
    assert [(one.text, one.finished_with_eos) for one in said] == [
        (one.text, one.finished_with_eos) for one in one_by_one
    ]
    rows = [
        Row(row.id, row.input, text, row.task) for row, text in zip(ROWS, expected, strict=True)
    ]
    apart = finish(token_stats(embedded, encoded(embedded, rows)))[1]
    read = finish(expected_stats(embedded, rows, said))[1]
    assert [one.tokens for one in read] == [one.tokens for one in apart]
    assert [one.likeliest for one in read] == [one.likeliest for one in apart]
    for one, of in zip(read, apart, strict=True):
        assert one.logprobs == pytest.approx(of.logprobs, rel=1e-3, abs=1e-4)


def encoded(lm, rows):
    return [encode_continuation(lm.tokenizer, row.input, row.output) for row in rows]


def test_an_expected_answer_that_is_too_long_is_cut_as_any_other(embedded):
    whole = ROWS[-1]
    plain = finish(generate(embedded, [whole.input], max_new_tokens=7))[1]
    work = generate(embedded, [whole.input], max_new_tokens=7, expected=[whole.output])
    (said,) = finish(work)[1]
    assert (said.text, said.finished_with_eos) == (plain[0].text, False)


def test_answers_equal_those_of_the_library(embedded, one_by_one):
    for prompt, answer in list(zip(PROMPTS, one_by_one, strict=True))[::6]:
        ids = torch.tensor([embedded.tokenizer.encode(prompt)])
        output = embedded.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False
        )
        text = embedded.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
        assert answer.text == text


def test_a_model_that_turns_in_a_circle_takes_several_tokens_at_a_time(lm):
    passes = []
    lm.model.register_forward_hook(lambda *_: passes.append(1))
    (said,) = finish(generate(lm, ["A story"], max_new_tokens=100))[1]
    plain = lm.model.generate(
        torch.tensor([lm.tokenizer.encode("A story")]), max_new_tokens=100, do_sample=False
    )
    assert lm.tokenizer.decode(plain[0], skip_special_tokens=True) == f"A story{said.text}"
    assert len(passes) - 100 < 60, "the library took the other hundred"


def test_an_answer_that_never_ends_is_cut_and_says_so(lm):
    generation = finish(generate(lm, ["A story"], max_new_tokens=5))[1][0]
    assert not generation.finished_with_eos
    assert len(lm.tokenizer.encode(generation.text)) <= 6


def test_a_prompt_that_leaves_no_room_names_both_lengths(lm):
    with pytest.raises(ValueError, match=r"the prompt has \d+ tokens.*256.*shorten it to 156"):
        finish(generate(lm, ["word " * 200], max_new_tokens=100))


def test_an_empty_prompt_is_refused(lm):
    with pytest.raises(ValueError, match="the prompt is empty"):
        finish(generate(lm, [""], max_new_tokens=5))
