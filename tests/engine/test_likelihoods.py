"""Losses count the answer and nothing else, however rows are batched."""

import pytest
import torch
from torch.nn import functional as F

from tests.engine.tiny import CPU, finish
from unlearnlab.engine.likelihoods import (
    Example,
    collate,
    encode,
    losses,
    mean_nll,
    row_nll,
    sequence_logprob,
    token_stats,
)

ROWS = [Example((5, 6, 7, 8), 2), Example((9, 10, 11), 1), Example(tuple(range(20, 60)), 30)]


def by_hand(model, example: Example) -> float:
    """Add up -log p of each counted token, one row alone, no padding."""
    logits = model(input_ids=torch.tensor([example.ids])).logits[0].detach()
    picked = range(max(example.start, 1), len(example.ids))
    return sum(-F.log_softmax(logits[t - 1], 0)[example.ids[t]].item() for t in picked)


def test_the_mean_loss_is_over_answer_tokens_of_the_whole_batch(lm):
    tokens = collate(ROWS, pad=1, device=CPU)
    expected = sum(by_hand(lm.model, row) for row in ROWS) / (2 + 2 + 10)
    assert mean_nll(lm.model, tokens).item() == pytest.approx(expected, rel=1e-5)


def test_a_row_keeps_its_place_when_rows_are_put_in_buckets(lm):
    tokens = collate(ROWS[::-1], pad=1, device=CPU)
    assert len(tokens.buckets()) == 2
    nll_B, count_B = row_nll(lm.model, tokens)
    assert count_B.tolist() == [10, 2, 2]
    assert nll_B.tolist() == pytest.approx([by_hand(lm.model, r) for r in ROWS[::-1]], rel=1e-5)
    assert sequence_logprob(lm.model, tokens).tolist() == pytest.approx((-nll_B).tolist())


def test_a_prompt_token_changes_no_loss_of_its_own(lm):
    short = collate([Example((5, 6, 7, 8), 3)], pad=1, device=CPU)
    assert mean_nll(lm.model, short).item() == pytest.approx(
        by_hand(lm.model, Example((5, 6, 7, 8), 3)), rel=1e-5
    )


def test_losses_of_many_examples_equal_each_alone_and_keep_their_order(lm, data):
    examples = [encode(lm.tokenizer, row) for row in data.forget]
    _, found = finish(losses(lm, examples))
    assert [total for total, _ in found] == pytest.approx(
        [by_hand(lm.model, example) for example in examples], rel=1e-4
    )
    assert [count for _, count in found] == [len(e.ids) - e.start for e in examples]


def test_readings_hold_the_same_losses_token_by_token_and_the_likeliest_tokens(lm, data):
    examples = [encode(lm.tokenizer, row) for row in data.forget]
    _, found = finish(token_stats(lm, examples, moments=True))
    for example, reading in zip(examples, found, strict=True):
        assert -sum(reading.logprobs) == pytest.approx(by_hand(lm.model, example), rel=1e-4)
        assert reading.tokens == example.ids[max(example.start, 1) :]
        logits = lm.model(input_ids=torch.tensor([example.ids])).logits[0].argmax(1).tolist()
        assert list(reading.likeliest) == logits[max(example.start, 1) - 1 : -1]
        # A random model is nearly uniform: the mean log-prob lies just below that of chance.
        assert reading.means == pytest.approx(reading.means[:1] * len(reading.means), rel=0.05)
        assert all(std > 0 for std in reading.stds)
