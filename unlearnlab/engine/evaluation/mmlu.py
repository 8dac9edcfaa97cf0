"""MMLU in a fraction of its tokens: what a subject's prompts share is read once.

The five shots of a subject are most of each of its prompts. Their keys and values are computed
once and lent to every question, and questions of similar length share a forward pass. Prompts are
tokenised whole, and only tokens that are equal are shared: the model sees what it would see one
prompt at a time. Shape suffixes: B questions, T positions, K kept positions, V vocabulary.
"""

import copy
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from unlearnlab.engine.model.data import Tokenizer, on
from unlearnlab.engine.model.kv_cache import RoomyLayer
from unlearnlab.engine.model.masks import behind
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.metrics.mmlu import LETTERS, MOST_TOKENS, Question, prompt
from unlearnlab.metrics.scores import Choice
from unlearnlab.spec.batches import fitting

CACHED_AT_ONCE = 16384
"""Tokens whose keys and values are held together: 2 GiB of a model of 1B in bfloat16."""


ANSWER = "\nAnswer:"
"""What ends every question of a prompt."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the model reads it."""

    ids: tuple[int, ...]
    shots: int
    """How many were left after cutting."""


def most_tokens(target: Target) -> int:
    """Return the longest prompt: the protocol's, or the model's context if that is shorter."""
    return min(MOST_TOKENS, target.context)


class Reader:
    """Tokenises the prompts of one subject as whole prompts are, most of each only once.

    What comes before the answer of the last shot is tokenised once and put before the rest of each
    prompt. Whether that gives the tokens of the whole is tried with the first prompt; if it does
    not, every prompt is tokenised whole.
    """

    def __init__(self, tokenizer: Tokenizer, shots: Sequence[Question], most: int) -> None:
        self._tokenizer = tokenizer
        self._shots = shots
        self._most = most
        self._begun: dict[int, tuple[str, list[int]]] = {}
        """A beginning and its tokens by number of shots; no tokens where it cannot be shared."""

    def read(self, question: Question) -> Asked:
        """Tokenise a question with as many of the shots as fit.

        One that is too long without any keeps its end, where its options are.
        """
        for count in range(len(self._shots), 0, -1):
            ids = self._encode(prompt(question, self._shots[:count]), count)
            if len(ids) <= self._most:
                return Asked(tuple(ids), count)
        return Asked(tuple(self._tokenizer.encode(prompt(question, ()))[-self._most :]), 0)

    def _encode(self, text: str, count: int) -> list[int]:
        if count not in self._begun:
            self._begun[count] = self._tried(text)
        beginning, ids = self._begun[count]
        if not ids:
            return self._tokenizer.encode(text)
        return [*ids, *self._rest(text[len(beginning) :])]

    def _tried(self, text: str) -> tuple[str, list[int]]:
        """Cut a prompt before the answer of its last shot, if that changes none of its tokens."""
        last_shot = text.rindex(ANSWER, 0, -len(ANSWER))
        beginning = text[:last_shot]
        ids = self._tokenizer.encode(beginning)
        same = [*ids, *self._rest(text[last_shot:])] == self._tokenizer.encode(text)
        return beginning, ids if same else []

    def _rest(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)


def letter_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the token of each letter: the last one of a space and the letter."""
    return [tokenizer.encode(f" {one}", add_special_tokens=False)[-1] for one in LETTERS]


def answer(
    target: Target, questions: Sequence[Question], shots: Mapping[str, Sequence[Question]]
) -> Generator[list[Choice], None, list[Choice]]:
    """Rank the four letters after each question, yielding all that are answered so far.

    Args:
        target: The model.
        questions: To be asked.
        shots: Solved questions by subject; none of a subject asks without.
    """
    most, found = most_tokens(target), dict[int, Choice]()
    subjects: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        subjects.setdefault(question.subject, []).append(place)
    for subject, places in subjects.items():
        reader = Reader(target.tokenizer, shots.get(subject, ()), most)
        asked = {place: reader.read(questions[place]) for place in places}
        for some in _ranked(target, asked):
            found.update({p: _choice(questions[p], logs) for p, logs in some.items()})
            yield list(found.values())
    return [found[place] for place in range(len(questions))]


def _choice(question: Question, logprobs: Sequence[float]) -> Choice:
    return Choice(
        question=question.text,
        subject=question.subject,
        options=question.choices,
        right=question.answer,
        logprobs=tuple(logprobs),
    )


@torch.no_grad()
def _ranked(target: Target, asked: Mapping[int, Asked]) -> Iterator[dict[int, list[float]]]:
    """Yield the letters' log-probabilities of one subject's prompts, batch by batch, by their key.

    A prompt with fewer shots begins like one with more, so one cache grows with the shots.
    """
    letters = on(target.device, letter_ids(target.tokenizer))
    cache = DynamicCache(config=target.model.config)
    for group, shared in _groups(asked):
        order = sorted(group, key=lambda place: len(asked[place].ids))
        _read_on(target, cache, asked[order[0]].ids[cache.get_seq_length() : shared])
        batches: list[list[int]] = []
        while order:
            ends = (len(asked[place].ids) - shared for place in order)
            batches.append(order[: min(fitting(ends, cpu=target.on_cpu), _held(asked, order))])
            order = order[len(batches[-1]) :]
        longest = max(len(asked[place].ids) - shared for place in group)
        most = max(map(len, batches))
        room = min(longest, max(0, CACHED_AT_ONCE // most - shared))
        beginning = _copied(cache, most, room)
        for rows in batches:
            logits_BV = _last_logits(target, beginning, [asked[p].ids[shared:] for p in rows])
            logs = logits_BV.float().log_softmax(-1)[:, letters].tolist()
            yield dict(zip(rows, logs, strict=True))
        del beginning  # Before the next one is made.


def _held(asked: Mapping[int, Asked], order: Sequence[int]) -> int:
    """Count the prompts, from the shortest on, whose keys and values are held together."""
    fit = (n for n, place in enumerate(order, 1) if n * len(asked[place].ids) > CACHED_AT_ONCE)
    return max(1, next(fit, len(order) + 1) - 1)


def _groups(asked: Mapping[int, Asked]) -> list[tuple[list[int], int]]:
    """Put prompts of equally many shots together, the fewest first, with the tokens they share.

    What one group shares begins what the next one shares.
    """
    counts = sorted({one.shots for one in asked.values()}, reverse=True)
    groups: list[tuple[list[int], int]] = []
    longer: list[tuple[int, ...]] = []
    for count in counts:
        group = [place for place, one in asked.items() if one.shots == count]
        shared = _shared([*(asked[place].ids for place in group), *longer])
        longer = [asked[group[0]].ids[:shared]]
        groups.append((group, shared))
    return groups[::-1]


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """Count the leading tokens that all prompts share, the last of each left over to be read."""
    # Whatever the first and the last in order share, all between them share.
    first, last = min(prompts), max(prompts)
    least = min(map(len, prompts)) - 1
    return next((i for i in range(least) if first[i] != last[i]), least)


def _read_on(target: Target, cache: DynamicCache, ids: Sequence[int]) -> None:
    """Add the keys and values of more tokens to those of a beginning."""
    if ids:
        ids_BT = on(target.device, [ids])
        target.model(input_ids=ids_BT, cache=cache, use_cache=True, logits_to_keep=1)


def _copied(cache: DynamicCache, rows: int, room: int) -> Cache:
    """Copy a beginning for as many rows as are read together, once for all batches of them.

    Args:
        cache: The beginning, as one row.
        rows: The most that are read together.
        room: Tokens that each may add before a batch needs tensors of its own.
    """
    return Cache(
        layers=[
            RoomyLayer.beginning(layer, rows, room)
            if type(layer) is DynamicLayer and layer.keys is not None
            else layer
            for layer in cache.layers
        ]
    )


def _lent(beginning: Cache, rows: int) -> Cache:
    """Lend a beginning to so many rows: what a row adds leaves it as it is."""
    return Cache(layers=[_lent_layer(layer, rows) for layer in beginning.layers])


def _lent_layer(layer: Any, rows: int) -> Any:
    if isinstance(layer, RoomyLayer):
        return layer.lent(rows)
    # Of another kind, as with a sliding window: what it adds makes new tensors.
    ours = copy.copy(layer)
    if layer.keys is not None:  # None before anything was read.
        ours.keys = layer.keys.expand(rows, -1, -1, -1)
        ours.values = layer.values.expand(rows, -1, -1, -1)
    return ours


def _last_logits(target: Target, beginning: Cache, ends: Sequence[Sequence[int]]) -> Tensor:
    """Predict what follows each end after the cached beginning: [B, V]."""
    begun, width = beginning.get_seq_length(), max(map(len, ends))
    ours = _lent(beginning, len(ends))
    pad = target.tokenizer.pad_token_id
    # Padding stands at the end, where no token before it looks: one mask does for all rows.
    ids_BT = on(target.device, [[*end, *[pad] * (width - len(end))] for end in ends])
    lasts = [len(end) - 1 for end in ends]
    kept_K = sorted(set(lasts))
    logits_BKV = target.model(
        input_ids=ids_BT,
        attention_mask=behind(target, begun + width, width),
        position_ids=on(target.device, [list(range(begun, begun + width))] * len(ends)),
        cache=ours,
        use_cache=True,
        logits_to_keep=on(target.device, kept_K),
    ).logits
    rows = on(target.device, list(range(len(ends))))
    return logits_BKV[rows, on(target.device, [kept_K.index(last) for last in lasts])]
