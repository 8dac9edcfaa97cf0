"""MMLU with shared prefixes: the five shots of a subject are read once for all its questions.

The shots are most of each prompt. Their keys and values are computed once and shared by all
questions of a subject, and questions of similar length are read in one pass. Prompts are tokenised
whole and only equal tokens are shared, so the model sees what it would see one prompt at a time.
Shape suffixes: B questions, T positions, K positions with predictions, V vocabulary.
"""

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from unlearnlab.data.background import carried_out
from unlearnlab.engine.generation import RoomyLayer, causal_mask, viewed
from unlearnlab.engine.likelihoods import on
from unlearnlab.engine.loading import Tokenizer
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.mmlu import LETTERS, MOST_TOKENS, Question, prompt
from unlearnlab.metrics.scores import Choice, argmax_option
from unlearnlab.runs.events import Event, Examined, Progressed, When
from unlearnlab.spec.rows import fitting
from unlearnlab.spec.run import EvaluationSpec

CACHED_AT_ONCE = 16384
"""Most tokens in the KV cache of a batch: 2 GiB for a model of 1B in bfloat16."""

ANSWER = "\nAnswer:"
"""The end of every question in a prompt."""

UPDATES = 100
"""Most updates of the accuracy so far in a run."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A tokenised question with its shots."""

    ids: tuple[int, ...]
    shots: int
    """Number of shots that fit; -1 where the question itself was cut."""


def most_tokens(lm: UnlearningModel) -> int:
    """Return the longest prompt, in tokens: the protocol's limit or the model's context."""
    return min(MOST_TOKENS, lm.context)


class PromptReader:
    """Tokenises the prompts of one subject, sharing their common beginning.

    The text before the answer of the last shot is tokenised once. The first prompt tells whether
    this gives the tokens of the whole prompt; if not, every prompt is tokenised whole.
    """

    def __init__(self, tokenizer: Tokenizer, shots: Sequence[Question], most: int) -> None:
        self._tokenizer = tokenizer
        self._shots = shots
        self._most = most
        self._begun: dict[int, tuple[str, list[int]]] = {}
        """Beginning and its tokens by number of shots; no tokens where it cannot be shared."""

    def read(self, question: Question) -> _Prompt:
        """Tokenise a question with as many shots as fit.

        A question that is too long without shots keeps its end, which has the options.
        """
        for count in range(len(self._shots), 0, -1):
            ids = self._encode(prompt(question, self._shots[:count]), count)
            if len(ids) <= self._most:
                return _Prompt(tuple(ids), count)
        ids = self._tokenizer.encode(prompt(question, ()))
        return _Prompt(tuple(ids[-self._most :]), -1 if len(ids) > self._most else 0)

    def _encode(self, text: str, count: int) -> list[int]:
        if count not in self._begun:
            self._begun[count] = self._tried(text)
        beginning, ids = self._begun[count]
        if not ids:
            return self._tokenizer.encode(text)
        return [*ids, *self._rest(text[len(beginning) :])]

    def _tried(self, text: str) -> tuple[str, list[int]]:
        """Split a prompt before the answer of its last shot, if that keeps all tokens."""
        last_shot = text.rindex(ANSWER, 0, -len(ANSWER))
        beginning = text[:last_shot]
        ids = self._tokenizer.encode(beginning)
        same = [*ids, *self._rest(text[last_shot:])] == self._tokenizer.encode(text)
        return beginning, ids if same else []

    def _rest(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)


@dataclass(frozen=True, slots=True)
class LetterTokens:
    """How a tokenizer writes " A" to " D" after a question."""

    blank: tuple[int, ...]
    """Tokens before the letter, where the blank is not part of its token."""
    letters: tuple[int, ...]
    """The token of each letter."""


ASKED = f"Which one?\nA. this\nB. that\nC. another\nD. none{ANSWER}"
"""A question whose answer shows the tokens of the letters, as they follow a prompt."""


def letter_tokens(tokenizer: Tokenizer) -> LetterTokens:
    """Find the tokens that tell the four letters apart after a question.

    In most vocabularies a blank and a letter are one token, as the protocol supposes. Where the
    blank is a token of its own, the letter is asked for after it.

    Raises:
        ValueError: The letters do not end in four different tokens.
    """
    asked = tokenizer.encode(ASKED)
    answered = [tokenizer.encode(f"{ASKED} {letter}") for letter in LETTERS]
    begun = answered[0][:-1]
    letters = tuple(ids[-1] for ids in answered)
    told_apart = all(ids[:-1] == begun for ids in answered) and len({*letters}) == len(letters)
    if not told_apart or begun[: len(asked)] != asked:
        raise ValueError(
            "MMLU asks for the likeliest of the letters A to D after a blank, and this tokenizer "
            "does not write them as four different tokens: ask no MMLU questions of this model"
        )
    return LetterTokens(tuple(begun[len(asked) :]), letters)


def answer(
    lm: UnlearningModel, questions: Sequence[Question], shots: Mapping[str, Sequence[Question]]
) -> Generator[list[Choice], None, list[Choice]]:
    """Compute the log-probabilities of the four letters, yielding all choices so far.

    Subjects without solved questions, `shots`, are asked without any.

    Raises:
        ValueError: The tokenizer does not tell the letters apart.
    """
    ends, found = letter_tokens(lm.tokenizer), dict[int, Choice]()
    most = most_tokens(lm) - len(ends.blank)
    subjects: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        subjects.setdefault(question.subject, []).append(place)
    for subject, places in subjects.items():
        reader = PromptReader(lm.tokenizer, shots.get(subject, ()), most)
        asked = {place: reader.read(questions[place]) for place in places}
        for some in _ranked(lm, asked, ends):
            for place, logprobs in some.items():
                one = questions[place]
                found[place] = Choice(
                    question=one.text,
                    subject=one.subject,
                    options=one.choices,
                    right=one.answer,
                    logprobs=tuple(logprobs),
                    shots=asked[place].shots,
                )
            yield list(found.values())
    return [found[place] for place in range(len(questions))]


@torch.no_grad()
def _ranked(
    lm: UnlearningModel, asked: Mapping[int, _Prompt], ends: LetterTokens
) -> Iterator[dict[int, list[float]]]:
    """Yield the letters' log-probabilities by prompt, batch after batch of one subject.

    A prompt with more shots begins like one with fewer, so one cache grows with the shots.
    """
    asked = {n: _Prompt((*one.ids, *ends.blank), one.shots) for n, one in asked.items()}
    letters = on(lm.device, ends.letters)
    cache = DynamicCache(config=lm.model.config)
    for group, shared in _groups(asked):
        order = sorted(group, key=lambda place: len(asked[place].ids))
        if added := asked[order[0]].ids[cache.get_seq_length() : shared]:
            ids_BT = on(lm.device, [added])
            lm.model(input_ids=ids_BT, cache=cache, use_cache=True, logits_to_keep=1)
        batches: list[list[int]] = []
        while order:
            widths = (len(asked[place].ids) - shared for place in order)
            batches.append(order[: min(fitting(widths, cpu=lm.on_cpu), _held(asked, order))])
            order = order[len(batches[-1]) :]
        longest = max(len(asked[place].ids) - shared for place in group)
        most = max(map(len, batches))
        room = min(longest, max(0, CACHED_AT_ONCE // most - shared))
        prefix = _repeated_prefix(cache, most, room)
        for rows in batches:
            logits_BV = _last_logits(lm, prefix, [asked[p].ids[shared:] for p in rows])
            logs = logits_BV.float().log_softmax(-1)[:, letters].tolist()
            yield dict(zip(rows, logs, strict=True))
        del prefix  # Frees it before the next one is made.


def _held(asked: Mapping[int, _Prompt], order: Sequence[int]) -> int:
    """Count the prompts, from the shortest on, that fit into the KV cache."""
    fit = (n for n, place in enumerate(order, 1) if n * len(asked[place].ids) > CACHED_AT_ONCE)
    return max(1, next(fit, len(order) + 1) - 1)


def _groups(asked: Mapping[int, _Prompt]) -> list[tuple[list[int], int]]:
    """Group prompts by number of shots, fewest first, with the length of their shared prefix.

    The prefix of one group begins the prefix of the next.
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
    """Count the leading tokens that all prompts share, leaving at least one token of each."""
    # The prefix that the smallest and the largest share, all between them share.
    first, last = min(prompts), max(prompts)
    least = min(map(len, prompts)) - 1
    return next((i for i in range(least) if first[i] != last[i]), least)


def _repeated_prefix(cache: DynamicCache, rows: int, room: int) -> Cache:
    """Repeat the shared prefix, one row, for as many `rows` as the largest batch has.

    Each gets `room` free slots; a batch that needs more allocates its own.
    """
    return Cache(
        layers=[
            RoomyLayer.repeating(layer, rows, room)
            if type(layer) is DynamicLayer and layer.keys is not None
            else layer
            for layer in cache.layers
        ]
    )


def _last_logits(lm: UnlearningModel, prefix: Cache, ends: Sequence[Sequence[int]]) -> Tensor:
    """Predict the token after each ending that follows the cached prefix: [B, V]."""
    begun, width = prefix.get_seq_length(), max(map(len, ends))
    ours = viewed(prefix, len(ends))
    pad = lm.tokenizer.pad_token_id
    # Padding is on the right, where no token attends to it: one mask serves all rows.
    ids_BT = on(lm.device, [[*end, *[pad] * (width - len(end))] for end in ends])
    lasts = [len(end) - 1 for end in ends]
    kept_K = sorted(set(lasts))
    logits_BKV = lm.model(
        input_ids=ids_BT,
        attention_mask=causal_mask(lm, begun + width, width),
        position_ids=on(lm.device, [list(range(begun, begun + width))] * len(ends)),
        cache=ours,
        use_cache=True,
        logits_to_keep=on(lm.device, kept_K),
    ).logits
    rows = on(lm.device, list(range(len(ends))))
    return logits_BKV[rows, on(lm.device, [kept_K.index(last) for last in lasts])]


def protocol(lm: UnlearningModel, shots: int, choices: Sequence[Choice], *, of: int = 0) -> str:
    """Describe in words how a model's questions were answered: `choices`, of a test with `of`."""
    blank = bool(letter_tokens(lm.tokenizer).blank)
    most, asked = most_tokens(lm), len(choices)
    return mmlu.protocol(shots, most, asked=asked, of=of, blank=blank, choices=choices)


@dataclass(frozen=True, slots=True)
class MmluSample:
    """MMLU questions that a run asks, drawn from the whole test."""

    test: mmlu.Mmlu
    of: int
    """Number of questions of the whole test."""

    def protocol(self, lm: UnlearningModel, choices: Sequence[Choice]) -> str:
        """Describe in words the protocol by which questions were answered."""
        return protocol(lm, mmlu.SHOTS, choices, of=self.of)

    @property
    def fingerprint(self) -> str:
        """Hash questions and shots: equal fingerprints mean equal prompts."""
        return hashlib.sha256(repr(self.test).encode()).hexdigest()[:16]


def prepare_mmlu(
    spec: EvaluationSpec, fetching: Event
) -> Generator[Event | None, None, MmluSample | None]:
    """Load the questions that a run asks, downloading the test if it is not on this machine.

    Yields `fetching` before a download.

    Raises:
        ValueError: The test cannot be read or downloaded, or has fewer questions.
    """
    if not spec.mmlu_questions:
        return None
    if mmlu.must_be_fetched():
        yield fetching
        for _ in carried_out(lambda _: mmlu.fetch()):
            yield None
    test = mmlu.load(mmlu.folder())
    asked = mmlu.subset(test.questions, spec.mmlu_questions)
    return MmluSample(mmlu.Mmlu(test.shots, asked, test.notes), len(test.questions))


def ask_mmlu(
    lm: UnlearningModel, mmlu_sample: MmluSample, when: When, *, after: int = 0, total: int = 0
) -> Generator[Event | None, None, tuple[Choice, ...]]:
    """Ask the questions, yielding how many are answered and how many of them correctly.

    The progress counts from `after`, the number of rows already scored, to `total`, or to the last
    question if that is 0.
    """
    questions, shown = mmlu_sample.test.questions, 0
    work = answer(lm, questions, mmlu_sample.test.shots)
    while True:
        try:
            found = next(work)
        except StopIteration as end:
            return tuple(end.value)
        if (len(found) - shown) * UPDATES < len(questions) and len(found) < len(questions):
            yield None
            continue
        shown = len(found)
        right = sum(argmax_option(one) == one.right for one in found)
        yield Examined(when=when, asked=shown, of=len(questions), right=right)
        yield Progressed(done=after + shown, total=total or after + len(questions))
