"""Rows become tokens, and losses count the answer and nothing else, however rows are batched."""

import pytest
import torch
from torch.nn import functional as F

from tests.engine.tiny import finish
from unlearnlab.data.adding import Draft, add, read_typed
from unlearnlab.data.checks import Placed
from unlearnlab.engine.likelihoods import (
    IGNORE,
    Example,
    Row,
    collate,
    encode,
    encode_document,
    losses,
    mean_nll,
    refuse_too_long,
    row_nll,
    sequence_logprob,
    token_stats,
)
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.engine.training import plan_phases
from unlearnlab.spec.methods.likelihood import GradientAscent
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.rows import Dataset, load
from unlearnlab.spec.run import DataSpec, Phase, RunSpec

CPU = torch.device("cpu")


def test_the_loss_counts_on_the_answer_and_its_eos_but_not_on_the_prompt(tokenizer):
    row = Row("x-qa0", "Who lives in Velm?", "Ada Brook", "Task1")
    example = encode(PromptFormat(tokenizer), row)
    counted = example.ids[example.start :]
    assert tokenizer.decode(counted[:-1]).strip() == "Ada Brook"
    assert counted[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(example.ids[: example.start]) == "Who lives in Velm?"


def test_a_document_counts_from_its_first_token(tokenizer):
    assert encode_document(PromptFormat(tokenizer), "One two three.").start == 0


def test_padding_is_masked_and_carries_no_loss():
    tokens = collate([Example((5, 6, 7), 1), Example((8, 9), 0)], pad=1, device=CPU)
    assert tokens.ids_BT.tolist() == [[5, 6, 7], [8, 9, 1]]
    assert tokens.mask_BT.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert tokens.labels_BT.tolist() == [[IGNORE, 6, 7], [8, 9, IGNORE]]


def test_buckets_part_short_rows_from_long_ones_and_lose_none():
    rows = [Example(tuple(range(n)), 0) for n in (4, 60, 5, 64, 4)]
    tokens = collate(rows, pad=1, device=CPU)
    buckets = tokens.buckets()
    assert [sorted(bucket) for bucket in buckets] == [[0, 2, 4], [1, 3]]
    assert tokens.take(buckets[0]).ids_BT.shape == (3, 5)


def test_rows_of_one_length_stay_together():
    tokens = collate([Example((1, 2, 3), 0)] * 4, pad=1, device=CPU)
    assert tokens.buckets() == [[0, 1, 2, 3]]


def test_an_official_id_tells_completion_from_question():
    assert Row('"8f24"sc1', "", "", "Task1").kind == "sc"
    assert Row("8f24qa4", "", "", "Task2").kind == "qa"


def test_the_embedded_folds_have_rows_of_every_subtask_and_kind():
    for fold in ("train", "validation"):
        data = load(DataSpec(fold=fold))
        for rows in (data.forget, data.retain):
            assert {(r.task, r.kind) for r in rows} == {
                (f"Task{n}", kind) for n in (1, 2, 3) for kind in ("sc", "qa")
            }
        assert set(data.members).isdisjoint(data.nonmembers)


def test_data_without_a_retain_set_are_read_and_serve_methods_that_draw_on_none(
    tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    name = add(read_typed("Who keeps the lamp? Bo\nWhere is the mill? Hill")).name
    alone = Phase(method=GradientAscent())
    spec = RunSpec(data=DataSpec(source=name), phases=(alone,))
    data = load(spec.data)
    assert (len(data.forget), data.retain, data.members) == (2, (), ())
    assert len(plan_phases(spec, data, PromptFormat(tokenizer))) == 1
    both = spec.model_copy(update={"phases": (alone, Phase(method=NPO()))})
    with pytest.raises(ValueError, match=r"phases\.1: the retain set has no rows.*choose a method"):
        plan_phases(both, data, PromptFormat(tokenizer))


def test_a_fold_takes_its_own_documents_for_the_attack_if_it_has_any(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    rows = {f"forget_{fold}": load(DataSpec(fold=fold)).forget for fold in ("train", "validation")}
    placed = tuple(Placed(split, 1, row) for split, of in rows.items() for row in of)
    texts = {"member": ("a",), "nonmember": ("b",), "validation/nonmember": ("c",)}
    name = add(Draft("Mine", "own files", placed, texts)).name
    train, other = (load(DataSpec(source=name, fold=fold)) for fold in ("train", "validation"))
    assert (train.members, train.nonmembers, other.nonmembers) == (("a",), ("b",), ("c",))
    assert len(other.members) == sum(row.kind == "sc" for row in other.forget)


def test_rows_longer_than_the_context_are_refused_with_the_longest_named(tokenizer):
    rows = tuple(Row(f"{n}qa0", "Who? " * n, "Bo", "Task1") for n in (5, 9, 7))
    data = Dataset(rows, (), (), (), ())
    longest = len(tokenizer.encode(rows[1].input)) + 20
    refuse_too_long(data, PromptFormat(tokenizer), context=longest, answer=20)
    with pytest.raises(
        ValueError, match=f"tokens: 1, the longest is row 2 of the forget set .* {longest},"
    ):
        refuse_too_long(data, PromptFormat(tokenizer), context=longest - 1, answer=20)
    written = len(encode(PromptFormat(tokenizer), rows[1]).ids)
    with pytest.raises(ValueError, match=f"row 2 of the forget set with {written}"):
        refuse_too_long(data, PromptFormat(tokenizer), context=written - 1, answer=0)


def test_a_wrong_answer_longer_than_the_context_is_refused_too(tokenizer):
    row = Row("x-qa0", "Who?", "Ada", "Task1", "It was Ada.", (f"It was {'Ada ' * 40}.",))
    data = Dataset((row,), (), (), (), ())
    refuse_too_long(data, PromptFormat(tokenizer), context=100, answer=0)
    with pytest.raises(ValueError, match="row 1 of the forget set"):
        refuse_too_long(data, PromptFormat(tokenizer), context=30, answer=0)


def test_training_on_one_subtask_leaves_the_others_out():
    data = load(DataSpec()).only(("Task2",))
    assert {row.task for row in (*data.forget, *data.retain)} == {"Task2"}


def test_a_fingerprint_changes_with_the_rows():
    assert load(DataSpec()).fingerprint == load(DataSpec()).fingerprint
    assert load(DataSpec()).fingerprint != load(DataSpec(fold="validation")).fingerprint


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
    examples = [encode(lm.prompts, row) for row in data.forget]
    _, found = finish(losses(lm, examples))
    assert [total for total, _ in found] == pytest.approx(
        [by_hand(lm.model, example) for example in examples], rel=1e-4
    )
    assert [count for _, count in found] == [len(e.ids) - e.start for e in examples]


def test_readings_hold_the_same_losses_token_by_token_and_the_likeliest_tokens(lm, data):
    examples = [encode(lm.prompts, row) for row in data.forget]
    _, found = finish(token_stats(lm, examples, moments=True))
    for example, reading in zip(examples, found, strict=True):
        assert -sum(reading.logprobs) == pytest.approx(by_hand(lm.model, example), rel=1e-4)
        assert reading.tokens == example.ids[max(example.start, 1) :]
        logits = lm.model(input_ids=torch.tensor([example.ids])).logits[0].argmax(1).tolist()
        assert list(reading.likeliest) == logits[max(example.start, 1) - 1 : -1]
        # A random model is nearly uniform: the mean log-prob lies just below that of chance.
        assert reading.means == pytest.approx(reading.means[:1] * len(reading.means), rel=0.05)
        assert all(std > 0 for std in reading.stds)
