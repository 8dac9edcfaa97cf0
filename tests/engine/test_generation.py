"""Batched greedy text is the text of one prompt at a time."""

from contextlib import closing
from types import SimpleNamespace

import psutil
import pytest
import torch

from tests.engine.tiny import finish
from unlearnlab.data.datasets import Row
from unlearnlab.engine.generation import (
    LONGEST,
    Draft,
    attention_mask,
    continuations,
    expected_stats,
    generate,
)
from unlearnlab.engine.likelihoods import encode_continuation, token_stats
from unlearnlab.spec.rows import CACHE_SHARE, load, slots
from unlearnlab.spec.run import DataSpec

FORGET = load(DataSpec(fold="validation")).forget
ROWS = [*FORGET[:20:2], *[row for row in FORGET if row.kind == "sc"][:2]]
PROMPTS = [row.input for row in ROWS]


@pytest.fixture(scope="module")
def one_by_one(embedded):
    return finish(generate(embedded, PROMPTS, max_new_tokens=64, batch_size=1))[1]


@pytest.mark.parametrize("batch_size", [3, 8, 64])
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
    return [encode_continuation(lm.prompts, row.input, row.output) for row in rows]


def test_an_expected_answer_that_is_too_long_is_cut_as_any_other(embedded):
    whole = ROWS[-1]
    plain = finish(generate(embedded, [whole.input], max_new_tokens=7))[1]
    work = generate(embedded, [whole.input], max_new_tokens=7, expected=[whole.output])
    (said,) = finish(work)[1]
    assert (said.text, said.finished_with_eos) == (plain[0].text, False)


def test_answers_equal_those_of_the_library(embedded, one_by_one):
    for prompt, answer in list(zip(PROMPTS, one_by_one, strict=True))[::3]:
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


@pytest.mark.parametrize("batch_size", [1, 8])
def test_an_answer_ends_at_every_end_token_of_the_generation_config(lm, batch_size):
    prompts = ["A story", "Who is Yorick?", "Once there was a"]
    plain = finish(generate(lm, prompts, max_new_tokens=12))[1]
    ids = [lm.tokenizer.encode(one.text, add_special_tokens=False) for one in plain]
    lm.model.generation_config.eos_token_id = [lm.tokenizer.eos_token_id, ids[0][2], ids[1][3]]
    assert lm.ends == {lm.tokenizer.eos_token_id, ids[0][2], ids[1][3]}
    found = finish(generate(lm, prompts, max_new_tokens=12, batch_size=batch_size))[1]
    for prompt, one in zip(prompts, found, strict=True):
        given = torch.tensor([lm.tokenizer.encode(prompt)])
        out = lm.model.generate(given, max_new_tokens=12, do_sample=False)[0, given.shape[1] :]
        ended = int(out[-1]) in lm.ends
        text = lm.tokenizer.decode(out[:-1] if ended else out, skip_special_tokens=True)
        assert (one.text, one.finished_with_eos) == (text, ended)
    assert found[0].finished_with_eos


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


TEXT = [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 0]


def told(draft: Draft, *tokens: int) -> Draft:
    for token in tokens:
        draft.observe(token)
    return draft


def test_it_begins_with_what_is_expected_and_goes_on_where_that_was_right():
    draft = Draft(TEXT)
    assert draft.ahead(99) == TEXT[:LONGEST]
    assert told(draft, *TEXT[:4]).ahead(99) == TEXT[4 : 4 + LONGEST]
    assert draft.ahead(3) == TEXT[4:7]


def test_after_another_word_it_goes_on_where_two_tokens_are_met_again():
    draft = told(Draft(TEXT), 11, 12, 99, 98)
    assert draft.ahead(99) == []
    assert told(draft, 14, 15).ahead(99) == TEXT[5:7]
    assert told(draft, 16).ahead(99) == TEXT[6:9], "longer with every agreement"


def test_it_ends_with_what_is_expected():
    assert told(Draft(TEXT), *TEXT[:-1]).ahead(99) == [0]
    assert told(Draft([5]), 5).ahead(99) == []


def test_without_anything_expected_it_proposes_nothing_until_something_comes_again():
    draft = told(Draft(), 1, 2, 3)
    assert draft.ahead(99) == []
    assert told(draft, 1, 2).ahead(99) == [3, 1]


def test_it_follows_a_circle_round_and_round():
    draft = told(Draft(), *[7, 8] * 8)
    assert draft.ahead(5) == [7, 8, 7, 8, 7]
    assert told(Draft(), *[4] * 12).ahead(99) == [4] * LONGEST


def test_where_nothing_is_met_again_it_goes_on_as_other_answers_do():
    known = continuations([[1, 2, 3, 4], [9, 1, 2, 3], [1, 2, 8]])
    assert known == {(1, 2): 3, (2, 3): 4, (9, 1): 2}
    draft = told(Draft([50, 51], known), 9, 1)
    assert draft.ahead(99) == [2, 3]
    assert told(draft, 2, 3).ahead(99) == [4]
    assert told(Draft(TEXT, {(99, 98): 7}), 99, 98).ahead(99) == [7]


def test_predictions_are_those_under_the_librarys_own_mask(lm):
    ids_BT = torch.tensor([[1, 1, 7, 8, 9], [5, 6, 7, 8, 9]])
    mask_BS = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        theirs, ours = (
            lm.model(input_ids=ids_BT, attention_mask=mask).logits
            for mask in (mask_BS, attention_mask(lm, mask_BS, 5))
        )
    assert torch.allclose(theirs[:, 2:], ours[:, 2:], atol=1e-6)
    assert ours.isfinite().all(), "padding must not spoil what is kept of it"


def test_the_last_tokens_of_a_pass_see_all_before_them_but_none_after(lm):
    mask_BS = torch.tensor([[0, 1, 1, 1]])
    looked = attention_mask(lm, mask_BS, 2)[0, 0] == 0
    assert looked.tolist() == [[False, True, True, False], [False, True, True, True]]


def test_a_model_with_a_window_gets_the_librarys_masks(lm):
    mask_BS = torch.ones(1, 3, dtype=torch.long)
    lm.model.config.sliding_window = 2
    assert attention_mask(lm, mask_BS, 3) is mask_BS
