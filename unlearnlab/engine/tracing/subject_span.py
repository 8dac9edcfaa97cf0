"""Prompts as tokens: where the subject stands, and where the answer begins."""

from dataclasses import dataclass

import torch

from unlearnlab.engine.model.data import Tokenizer, encode_continuation
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.spec.facts import Fact, facts, spot
from unlearnlab.spec.trace import TypedPrompt

OWN_ANSWER = 12
"""Tokens of the model's own answer that are looked at, where the user expects none."""


@dataclass(frozen=True, slots=True)
class Located:
    """A prompt with its answer as tokens, and where its subject stands."""

    ids: tuple[int, ...]
    start: int
    """Where the answer begins."""
    subject: range
    widened: str
    """What the subject was widened to, if it shares tokens with its neighbours; else empty."""


def locate(tokenizer: Tokenizer, prompt: str, subject: str, answer: str = "") -> Located:
    """Tokenise a prompt with its answer and find the tokens of the subject.

    A subject that shares a token with its neighbours is widened to whole tokens.

    Raises:
        ValueError: The subject is not in the prompt, or covers all of it.
    """
    prompt = prompt.rstrip()
    found = spot(prompt, subject)
    if found is None:
        raise ValueError(f"subject {subject!r} is not in the prompt: copy it from there")
    text = f"{prompt} {answer}".rstrip()
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    start = encode_continuation(tokenizer, prompt, answer).start if answer else len(ids)
    visible = [_visible(text, *span) for span in encoded["offset_mapping"]]
    touched = [at for at in range(start) if visible[at][0] < found[1] and visible[at][1] > found[0]]
    covered = range(touched[0], touched[-1] + 1)
    if len(covered) == start:
        raise ValueError(
            f"subject {subject!r} covers the whole prompt: with noise on all of it nothing is left "
            "to ask; take a part of the prompt"
        )
    whole = visible[covered.start][0], visible[covered.stop - 1][1]
    return Located(tuple(ids), start, covered, "" if whole == found else text[slice(*whole)])


def _visible(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out the white space that a token begins with."""
    return end - len(text[start:end].lstrip()), end


def located(target: Target, asked: Fact | TypedPrompt) -> Located:
    """Find prompt, subject and answer; without an expected answer, ask the model for one."""
    if asked.answer.strip():
        found = locate(target.tokenizer, asked.prompt, asked.subject, asked.answer.strip())
    else:
        found = with_own_answer(target, locate(target.tokenizer, asked.prompt, asked.subject))
        if len(found.ids) == found.start:
            raise ValueError(
                "the model says nothing after this prompt: give an answer, or another prompt"
            )
    if len(found.ids) > target.context:
        raise ValueError(
            f"prompt and answer have {len(found.ids)} tokens: the model takes {target.context}"
        )
    return found


@torch.no_grad()
def with_own_answer(target: Target, found: Located) -> Located:
    """Add what the model itself says after the prompt, up to `OWN_ANSWER` tokens, maybe none.

    Raises:
        ValueError: The prompt is too long.
    """
    ids = list(found.ids)
    if len(ids) + OWN_ANSWER > target.context:
        raise ValueError(f"the prompt has {len(ids)} tokens: the model takes {target.context}")
    for _ in range(OWN_ANSWER):
        given = torch.tensor([ids], device=target.device)
        said = int(target.model(given, use_cache=False, logits_to_keep=1).logits[0, -1].argmax())
        if said == target.tokenizer.eos_token_id:
            break
        ids.append(said)
    return Located(tuple(ids), found.start, found.subject, found.widened)


@torch.no_grad()
def embedding_sd(target: Target) -> float:
    """Return the standard deviation of the embeddings of all known subjects' tokens.

    Over all tokens and all units at once, as in the published code (`s3` is 3 of these).
    """
    places = [locate(target.tokenizer, fact.prompt, fact.subject) for fact in facts().values()]
    ids = [found.ids[at] for found in places for at in found.subject]
    # The layer, not its table: some families scale what they read there.
    embed = target.model.get_input_embeddings()
    return embed(torch.tensor(ids, device=target.device)).float().std().item()
