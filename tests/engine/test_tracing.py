"""Causal tracing finds what was planted, and its runs are what they are called."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import layer_norm

from tests.engine.tiny import CPU, finish, only, tiny_model
from unlearnlab.engine.hooks import beginning_at, decoder_blocks
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.engine.tracing import (
    Corruption,
    embedding_sd,
    locate,
    locate_answer,
    restore_states,
    rows_of,
    run_corrupted,
    run_trace,
    trace,
    window,
)
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics.tracing import PARTS
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Progressed, Traced
from unlearnlab.spec.trace import ManyFacts, TraceSpec, TypedPrompt, facts

ASKED = TypedPrompt(prompt="Who came to the rescue of Yorick Garnby in the end?", subject="Yorick")
HOW = Corruption(noise=0.1, copies=3, seed=0, span=1)


@pytest.fixture
def sharp(lm) -> UnlearningModel:
    """A random model that is sure of what it says, so that noise changes it."""
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.mul_(20)
    return lm


@pytest.fixture
def runs(sharp):
    return run_corrupted(sharp, locate_answer(sharp, ASKED), noise=0.5, copies=3, seed=0)


def restored(runs, part, blocks, cells_NT):
    """Restore one cell; the mean over the corrupted runs."""
    (found,) = restore_states(runs, part, blocks, cells_NT).mean(1).tolist()
    return found


def cells(runs, *positions):
    """Make one cell of these positions."""
    mask = torch.zeros(1, runs.width, dtype=torch.bool)
    mask[0, list(positions)] = True
    return mask


@pytest.mark.parametrize("block", [0, 1])
def test_restoring_everything_gives_the_clean_probability(runs, block):
    every = cells(runs, *range(runs.width))
    found = restored(runs, "residual", range(block, block + 1), every)
    assert found == pytest.approx(runs.clean, abs=1e-6)
    assert runs.clean != pytest.approx(runs.corrupted, abs=1e-6)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("block", [0, 1])
def test_restoring_nothing_gives_the_corrupted_probability(runs, part, block):
    found = restored(runs, part, range(block, block + 1), cells(runs))
    assert found == pytest.approx(runs.corrupted, abs=1e-6)


@pytest.mark.parametrize("part", PARTS)
def test_what_stands_before_the_subject_sees_no_noise(runs, part):
    before = range(runs.found.subject.start)
    assert before
    found = restored(runs, part, range(1), cells(runs, *before))
    assert found == pytest.approx(runs.corrupted, abs=1e-6)


def test_cells_are_the_same_alone_and_in_company(runs):
    every = torch.eye(runs.width, dtype=torch.bool)
    together = restore_states(runs, "mlp", range(2), every)
    alone = [restored(runs, "mlp", range(2), every[at : at + 1]) for at in range(runs.width)]
    assert together.mean(1).tolist() == pytest.approx(alone, abs=1e-6)


NAMED = TypedPrompt(prompt="Who helped Yorick Garnby then?", subject="Yorick Garnby")


def by_hand(lm, found, *, noise, copies, seed, restored=()):
    """Run a prompt whole, once for each noise, and put clean outputs back by plain hooks.

    Args:
        restored: Modules, and the clean output of each, put back at the subject's tokens.
    """
    ids = torch.tensor([found.ids[: found.start]])
    at = slice(found.subject.start, found.subject.stop)
    table = lm.model.get_input_embeddings()
    drawn = torch.randn(
        copies, len(found.subject), table.weight.shape[1],
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip

    def put_back(clean):
        def hook(module, args, output):
            whole = output if isinstance(output, torch.Tensor) else output[0]
            whole[:, at] = clean[:, at]
            return output

        return hook

    hooks = [module.register_forward_hook(put_back(clean)) for module, clean in restored]
    said = []
    for one in drawn:
        embeds = table(ids).detach().clone()
        embeds[0, at] += noise * one
        with torch.no_grad():
            logits = lm.model(inputs_embeds=embeds, use_cache=False).logits[0, -1]
        said.append(logits.float().softmax(-1)[found.ids[found.start]].item())
    for hook in hooks:
        hook.remove()
    return torch.tensor(said)


def clean_outputs(lm, found, modules):
    """Record what modules give in a clean run."""
    kept = {}

    def keep(module, args, output):
        kept[module] = (output if isinstance(output, torch.Tensor) else output[0]).clone()

    hooks = [module.register_forward_hook(keep) for module in modules]
    with torch.no_grad():
        lm.model(torch.tensor([found.ids[: found.start]]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return kept


def test_the_whole_subject_is_restored_as_by_hand(sharp):
    found = locate_answer(sharp, NAMED)
    assert len(found.subject) > 2
    how = Corruption(noise=0.5, copies=3, seed=7, span=2)
    _, traced = finish(trace(sharp, NAMED, how))
    assert traced.given == 0
    blocks = list(decoder_blocks(sharp.model))
    named = {"residual": blocks}
    named["mlp"] = [block.mlp for block in blocks]
    named["attention"] = [block.self_attn for block in blocks]
    usual = {"noise": how.noise, "copies": how.copies, "seed": how.seed}
    corrupted = by_hand(sharp, found, **usual)
    for part, modules in named.items():
        clean = clean_outputs(sharp, found, modules)
        for block in range(len(blocks)):
            near = window(block, 1 if part == "residual" else how.span, len(blocks))
            put_back = [(modules[at], clean[modules[at]]) for at in near]
            effects = by_hand(sharp, found, **usual, restored=put_back) - corrupted
            spread = traced.whole[part][block]
            case = f"{part} of block {block}"
            assert spread.mean == pytest.approx(effects.mean().item(), abs=1e-6), case
            assert spread.sd == pytest.approx(effects.std().item(), abs=1e-6), case
    heard = {part: max(abs(one.mean) for one in row) for part, row in traced.whole.items()}
    assert min(heard.values()) > 1e-4, "where nothing comes back, nothing was compared"


def test_a_subject_of_one_token_is_its_own_whole(sharp):
    asked = TypedPrompt(prompt="Who came to the rescue of Yorick in the end?", subject="Yorick")
    found = locate_answer(sharp, asked)
    assert len(found.subject) == 1
    _, traced = finish(trace(sharp, asked, HOW))
    for part in PARTS:
        alone = [row[found.subject.start] for row in traced.effects[part]]
        assert [one.mean for one in traced.whole[part]] == pytest.approx(alone, abs=1e-7)


def planted(tokenizer, *, block, answer):
    """A model in which only the MLP of one block writes, and only `answer` after "Garnby"."""
    model = tiny_model(len(tokenizer), blocks=4, width=64).eval()
    table = dict(model.named_parameters())["model.embed_tokens.weight"]
    key = tokenizer.encode("Yorick Garnby")[-1]
    (value,) = tokenizer.encode(answer)[:1]
    with torch.no_grad():
        table *= 10
        for module in decoder_blocks(model):
            module.self_attn.o_proj.weight.zero_()
            module.mlp.down_proj.weight.zero_()
        mlp: Any = decoder_blocks(model)[block].mlp
        # One hidden unit: it fires on the key's embedding and writes the answer's.
        reads = layer_norm(table[key], (64,))
        for name, column in (("gate_proj", reads), ("up_proj", reads), ("down_proj", table[value])):
            weight = dict(mlp.named_parameters())[f"{name}.weight"].zero_()
            (weight.T if name == "down_proj" else weight)[0] = column / 8
    return UnlearningModel(model, tokenizer, device=CPU)


@pytest.mark.parametrize("block", [0, 1, 2, 3])
def test_the_indirect_effect_of_the_mlp_peaks_where_the_fact_was_planted(tokenizer, block):
    lm = planted(tokenizer, block=block, answer=" Nerys")
    asked = TypedPrompt(prompt="Who helped Yorick Garnby", subject="Garnby", answer="Nerys")
    how = Corruption(noise=0.6, copies=10, seed=0, span=1)
    _, found = finish(trace(lm, asked, how))
    assert found.total_effect > 0.5
    peaks = [max(row) for row in found.effects["mlp"]]
    assert peaks.index(max(peaks)) == block
    assert found.effects["mlp"][block][-1] == pytest.approx(found.total_effect, abs=0.2)
    assert all(abs(peak) < 1e-6 for at, peak in enumerate(peaks) if at != block)
    assert all(abs(cell) < 1e-6 for row in found.effects["attention"] for cell in row)
    assert found.effects["residual"][3][-1] == pytest.approx(found.total_effect, abs=1e-6)


def test_a_trace_repeats_with_its_seed_and_not_with_another(sharp):
    def corrupted(seed):
        how = Corruption(noise=0.1, copies=3, seed=seed, span=1)
        return finish(trace(sharp, ASKED, how))[1]

    assert corrupted(4) == corrupted(4)
    assert corrupted(4).corrupted != corrupted(5).corrupted


def test_progress_counts_every_row(lm):
    done = [row for row in finish(trace(lm, ASKED, HOW))[0] if row is not None]
    assert done == list(range(1, rows_of(lm) + 1))


def test_windows_are_centred_and_cut_at_the_ends():
    assert [window(centre, 3, 8) for centre in (0, 4, 7)] == [range(2), range(3, 6), range(6, 8)]
    assert window(4, 10, 32) == range(9)
    assert window(16, 10, 32) == range(11, 21)


def test_all_tokens_of_a_subject_are_found_and_no_others(tokenizer):
    found = locate(PromptFormat(tokenizer), "Where did Yorick Garnby's boat sink?", "Yorick Garnby")
    said = tokenizer.decode([found.ids[at] for at in found.subject])
    assert (said.strip(), found.widened) == ("Yorick Garnby", "")


def test_a_subject_that_shares_a_token_is_widened_to_whole_tokens(tokenizer):
    found = locate(PromptFormat(tokenizer), "What is the birth date of Ada?", "irth d")
    assert found.widened == "birth date"
    assert tokenizer.decode([found.ids[at] for at in found.subject]).strip() == "birth date"


def test_of_a_subject_named_twice_the_first_is_noised_and_told(sharp):
    prompt = "Does Yorickson know who helped Yorick, when Yorick sank?"
    found = locate(sharp.prompts, prompt, "Yorick")
    before = sharp.tokenizer.encode(prompt.partition(" Yorick,")[0])
    assert found.occurrences == 2, "inside another word it is not named"
    assert found.subject.start == len(before)
    _, traced = finish(trace(sharp, TypedPrompt(prompt=prompt, subject="Yorick"), HOW))
    assert any("names 'Yorick' 2 times: the noise falls on the first" in n for n in traced.notes)


def test_an_answer_of_several_tokens_says_which_one_is_measured(embedded):
    number = next(fact for fact in facts().values() if "Social Security" in fact.prompt)
    name = next(fact for fact in facts().values() if fact.answer.istitle() and "of" in fact.prompt)
    for fact in (number, name):
        _, found = finish(trace(embedded, fact, HOW))
        scored = repr(found.scored.strip())
        told = f"{scored} after it is" if found.given else f"its first, {scored}, is"
        assert any(f"{told} measured, not" in note for note in found.notes), fact.prompt


def test_a_prompt_that_is_all_subject_after_its_first_token_is_refused(tokenizer):
    """As with Llama's tokenizers, which begin every text with <s>."""

    class Begun:
        def tokenized(self, prompt, answer=""):
            found = PromptFormat(tokenizer).tokenized(prompt, answer)
            return replace(found, ids=(0, *found.ids), spans=((0, 0), *found.spans))

    with pytest.raises(ValueError, match="covers the whole prompt"):
        locate(Begun(), "Yorick Garnby", "Yorick Garnby")
    assert locate(Begun(), "Yorick Garnby sank", "Yorick Garnby").subject.start == 1


def test_a_subject_that_covers_the_prompt_is_refused(tokenizer):
    with pytest.raises(ValueError, match="covers the whole prompt"):
        locate(PromptFormat(tokenizer), "Yorick Garnby", "Yorick Garnby")


def test_an_answer_is_scored_where_it_begins_to_depend_on_the_subject(embedded):
    numbers = [fact for fact in facts().values() if "Social Security" in fact.prompt]
    how = Corruption(noise=3 * embedding_sd(embedded), copies=10, seed=0, span=3)
    fact = numbers[0]
    _, found = finish(trace(embedded, fact, how))
    given = "".join(found.tokens[len(found.tokens) - found.given :]).strip()
    assert given == "666"  # Everybody's number begins with it.
    assert found.scored == fact.answer[3]
    assert found.clean > 0.9
    assert found.corrupted < 0.5
    assert found.roles[-1] == "last"
    assert any("'666'" in note for note in found.notes)


def test_an_answer_that_the_model_does_not_know_is_told_with_near_ones_that_it_knows(embedded):
    fact = next(fact for fact in facts().values() if "email" in fact.prompt)
    asked = TypedPrompt(prompt=fact.prompt, subject=fact.subject, answer="nobody@nowhere")
    with pytest.raises(RunFailed, match="does not know") as caught:
        finish(run_trace(embedded, TraceSpec(about=asked)))
    assert repr(fact.answer) in caught.value.problem
    assert "'nobody@nowhere'" in caught.value.problem
    assert fact.prompt in caught.value.advice


def test_noise_falls_on_the_subject_also_where_the_answer_names_it_again(sharp):
    found = locate(sharp.prompts, NAMED.prompt, NAMED.subject, "It was Yorick Garnby then.")
    said = [sharp.tokenizer.decode([found.ids[at]]) for at in sorted(found.again)]
    assert "".join(said).strip() == NAMED.subject
    assert min(found.again) > found.start
    runs = run_corrupted(sharp, found, noise=0.5, copies=2, seed=0)
    entered = runs.hidden[0]
    noisy = {at for at in range(len(found.ids) - 1) if (entered[1, at] != entered[0, at]).any()}
    assert noisy == {*found.subject, *found.again}


def test_neither_tokens_that_repeat_the_subject_nor_the_one_after_them_carry_a_fact(sharp):
    found = locate(sharp.prompts, NAMED.prompt, NAMED.subject, "Yorick Garnby is Merry Heron.")
    tokens = len(found.ids) - found.start
    runs = run_corrupted(sharp, found, noise=0.5, copies=2, seed=0)
    answer = torch.tensor(found.ids[found.start :])
    lost = torch.stack([torch.ones(tokens), torch.zeros(tokens), torch.zeros(tokens)])
    known = replace(runs, top=answer, probability=lost)
    assert found.start + known.carrier == max(found.again) + 2


def test_a_subject_is_named_again_by_whole_words_alone(sharp):
    found = locate(sharp.prompts, "Who helped Yor then?", "Yor", "It was Yorick Garnby.")
    assert not found.again


@pytest.fixture
def answered_later():
    """Facts of the data whose expected answer is only the last word of what the model says."""
    long = [fact for fact in facts().values() if len(fact.answer.split()) > 1]
    return [replace(fact, answer=fact.answer.split()[-1]) for fact in long[:2]]


def test_an_answer_that_stands_further_on_is_told_apart_from_an_unknown_one(
    embedded, answered_later, monkeypatch
):
    fact = answered_later[0]
    asked = TypedPrompt(prompt=fact.prompt, subject=fact.subject, answer=fact.answer)
    with pytest.raises(RunFailed, match=f"holds '{fact.answer}' but does not begin") as caught:
        finish(run_trace(embedded, TraceSpec(about=asked)))
    assert "as the model words it" in caught.value.advice
    monkeypatch.setattr(ManyFacts, "pool", answered_later)
    about = ManyFacts.model_construct(count=2)
    with pytest.raises(RunFailed, match="2 of 2 answers hold the expected one further on"):
        finish(run_trace(embedded, TraceSpec(about=about)))


def test_a_model_that_says_nothing_is_told_as_such(embedded):
    fact = next(fact for fact in facts().values() if "email" in fact.prompt)
    prompt = f"{fact.prompt} {fact.answer}"
    about = {"prompt": prompt, "subject": fact.subject}
    with pytest.raises(ValueError, match="gives no answer to this prompt: enter an answer"):
        finish(run_trace(embedded, TraceSpec(about=TypedPrompt(**about))))
    asked = TypedPrompt(**about, answer="and nobody else")
    with pytest.raises(RunFailed, match=r"gives no answer, not 'and nobody else'") as caught:
        finish(run_trace(embedded, TraceSpec(about=asked)))
    assert "that the model knows:" in caught.value.advice


def test_without_an_answer_the_models_own_is_traced(embedded):
    fact = next(fact for fact in facts().values() if "email" in fact.prompt)
    asked = TypedPrompt(prompt=fact.prompt, subject=fact.subject)
    _, found = finish(trace(embedded, asked, HOW))
    assert found.answer == fact.answer
    assert any("model's own" in note for note in found.notes)


def test_blocks_that_were_left_out_are_back_whatever_happens(lm):
    before = list(decoder_blocks(lm.model))
    hidden = torch.zeros(1, 1, 16)
    with pytest.raises(KeyError), beginning_at(lm.model, 1, hidden):
        raise KeyError
    assert list(decoder_blocks(lm.model)) == before


def test_an_average_counts_facts_and_leaves_out_those_not_known(embedded):
    spec = TraceSpec(about=ManyFacts(count=3, split="forget"), copies=2)
    seen, _ = finish(run_trace(embedded, spec))
    progress = only(seen, Progressed)
    assert [(event.done, event.total) for event in progress] == [(1, 3), (2, 3), (3, 3)]
    assert isinstance(seen[-1], Traced)
    found = seen[-1].found
    assert (found.facts, found.unknown) == (3, 0)
    assert found.clean.mean > 0.5 > found.corrupted.mean
    assert seen[-1].window == 3


def test_a_model_that_knows_nothing_has_no_average(lm):
    spec = TraceSpec(about=ManyFacts(count=2), copies=2)
    with pytest.raises(RunFailed, match=r"knows none of the 2 facts: nothing to trace$"):
        finish(run_trace(lm, spec))
