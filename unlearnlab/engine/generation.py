"""Greedy generation for many prompts at once.

In float32 the text is the same as one prompt at a time gives; in bfloat16, where sums are rounded
to 8 bits, nearly equal tokens can come out in another order in another batch.

Rows of similar length are decoded in one batch, and waiting rows replace finished ones. Each pass
reads a row's new tokens and a draft of what may follow, left-padded, and verifies the draft:
tokens that the model would not have chosen are masked from then on. A draft follows the row's
expected answer, or its own text from where its last two tokens occurred before, or else the most
frequent continuation of two tokens in the expected answers of all rows. So a model that changes one
name or loops needs few passes.

transformers' own cache copies all keys and values at every step. The one here writes into
preallocated tensors, which are copied only when rows are added or dropped, and then only the slots
still needed.

Source: speculative decoding (Leviathan et al. 2023, arXiv:2211.17192) with greedy decoding and
prompt lookup in place of a draft model. Shape suffixes: B rows, T tokens of a pass, K of them whose
next token is predicted, H heads, S slots of the cache (those of the pass come last), D head width.
"""

import copy
from collections import Counter, defaultdict, deque
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import Cache, DynamicLayer

from unlearnlab.data.datasets import Row
from unlearnlab.engine.likelihoods import TokenStats, encode_continuation, on, token_stats
from unlearnlab.engine.loading import total_memory
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import GENERATED_AT_ONCE, ROOM, WASTE, answered_at_once, fitting, slots


class RoomyLayer(DynamicLayer):
    """Keys and values of one block: [B, H, S, D], a view of a preallocated larger tensor."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the keys and values of a pass, and return those of all slots."""
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
            self._keys, self._values = key_states, value_states
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        used, new = self.keys.shape[2], key_states.shape[2]
        if used + new > self._keys.shape[2]:
            self._keys = _with_room(self.keys, len(self.keys), new + ROOM)
            self._values = _with_room(self.values, len(self.values), new + ROOM)
        self._keys[:, :, used : used + new] = key_states
        self._values[:, :, used : used + new] = value_states
        self.keys = self._keys[:, :, : used + new]
        self.values = self._values[:, :, : used + new]
        return self.keys, self.values

    def reset(self) -> None:
        """Free the keys and values."""
        super().reset()
        del self._keys, self._values

    @classmethod
    def of(cls, keys: Tensor, values: Tensor, used: int) -> "RoomyLayer":
        """Make a layer of preallocated tensors, of which the first `used` slots are filled."""
        made = cls()
        made.lazy_initialization(keys, values)
        made._keys, made._values = keys, values
        made.keys, made.values = keys[:, :, :used], values[:, :, :used]
        return made

    @classmethod
    def repeating(cls, layer: DynamicLayer, rows: int, room: int) -> "RoomyLayer":
        """Repeat one row's keys and values, [1, H, S, D], with `room` free slots for each row."""
        keys, values = layer.keys, layer.values
        assert keys is not None, "the cache is empty"
        assert values is not None, "keys have values"
        return cls.of(_with_room(keys, rows, room), _with_room(values, rows, room), keys.shape[2])

    def view(self, rows: int) -> "RoomyLayer":
        """Return a view of the first rows; it overwrites what the previous view appended."""
        assert self.keys is not None, "the cache is empty"
        return self.of(self._keys[:rows], self._values[:rows], self.keys.shape[2])


def _with_room(states_BHSD: Tensor, rows: int, room: int) -> Tensor:
    """Copy states, one row to all rows if need be, and append `room` free slots."""
    _, heads, used, width = states_BHSD.shape
    made = states_BHSD.new_empty(rows, heads, used + room, width)
    made[:, :, :used] = states_BHSD
    return made


def viewed(prefix: Cache, rows: int) -> Cache:
    """Return a cache that continues a shared prefix with `rows` rows, and leaves it unchanged."""
    return Cache(layers=[_view(layer, rows) for layer in prefix.layers])


def _view(layer: Any, rows: int) -> Any:
    if isinstance(layer, RoomyLayer):
        return layer.view(rows)
    # Other layers, as with a sliding window, make new tensors when they grow.
    ours = copy.copy(layer)
    if layer.keys is not None:  # None in an empty cache.
        ours.keys = layer.keys.expand(rows, -1, -1, -1)
        ours.values = layer.values.expand(rows, -1, -1, -1)
    return ours


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows and slots to keep of a cache."""

    cache: Cache
    rows_B1: Tensor
    """Indices of the rows."""
    slots_BS: Tensor
    """Indices of each row's slots."""
    mask_BS: Tensor
    """1 at slots that hold a token of the row."""


def empty_cache() -> Cache:
    """Make an empty cache."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def concatenated(parts: Sequence[KeptRows]) -> Cache:
    """Concatenate rows of several caches, with equally many slots each, and free these caches."""
    layers: list[Any] = []
    for old in zip(*(part.cache.layers for part in parts), strict=True):
        held = [(one, part.rows_B1, part.slots_BS) for one, part in zip(old, parts, strict=True)]
        keys = _gathered([(cast("Tensor", one.keys), rows, slots) for one, rows, slots in held])
        values = _gathered([(cast("Tensor", one.values), rows, slots) for one, rows, slots in held])
        for one in old:
            one.reset()
        layers.append(RoomyLayer.of(keys, values, keys.shape[2] - ROOM))
    return Cache(layers=layers)


def _gathered(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Gather slots of rows, part after part, with free slots: [B, H, S + ROOM, D]."""
    first, _, slots_BS = parts[0]
    count = sum(len(slots) for _, _, slots in parts)
    width = slots_BS.shape[1]
    made_BSHD = first.new_empty(count, width + ROOM, first.shape[1], first.shape[3])
    begun = 0
    for states_BHSD, rows_B1, slots_BS in parts:
        on = states_BHSD.device  # A model may be spread over several.
        taken = states_BHSD.transpose(1, 2)[rows_B1.to(on), slots_BS.to(on)]
        made_BSHD[begun : begun + len(taken), :width] = taken
        begun += len(taken)
    return made_BSHD.transpose(1, 2)


def attention_mask(lm: UnlearningModel, mask_BS: Tensor, new: int) -> Tensor:
    """Return the attention mask of a pass.

    On a CPU this is the additive mask that all blocks share: transformers would make a boolean one,
    which torch converts again in every block. Models with a sliding window need different masks in
    different blocks, and get the padding mask, from which transformers makes them.

    Args:
        lm: The model.
        mask_BS: 1 at slots that hold a token of the row.
        new: Number of tokens of the pass, T.

    Returns:
        The additive mask, [B, 1, T, S], or `mask_BS` itself.
    """
    if not lm.on_cpu or getattr(lm.model.config, "sliding_window", None) is not None:
        return mask_BS
    slots = mask_BS.shape[1]
    dtype = cast("Tensor", lm.model.get_input_embeddings().weight).dtype
    # Not minus infinity: padding attends to nothing, and its softmax must not become nan.
    never = torch.finfo(dtype).min
    later_TS = torch.ones(new, slots, dtype=torch.bool).triu(slots - new + 1)
    unseen_B1TS = later_TS | (mask_BS == 0)[:, None, None]
    return torch.zeros(unseen_B1TS.shape, dtype=dtype).masked_fill_(unseen_B1TS, never)


def causal_mask(lm: UnlearningModel, slots: int, new: int) -> Tensor | None:
    """Return the attention mask of a pass of `new` tokens, T, with no padding before any token.

    [1, 1, T, S] for all rows and `slots` slots; None where transformers makes masks without one.
    """
    all_1S = torch.ones(1, slots, dtype=torch.long, device=lm.device)
    made = attention_mask(lm, all_1S, new)
    return None if made is all_1S else made


LONGEST = 8
"""Longest draft, in tokens."""

DRAFTED = 0.3
"""Drafts are cut to the length that this share of the rows reaches: shorter ones are padded."""

FREE = 0.25
"""Waiting rows start, in one pass, once this share of the batch is free."""


Pair = tuple[int, int]

Continuations = Mapping[Pair, int]
"""The most frequent token after each pair of tokens."""


def continuations(texts: Iterable[Sequence[int]]) -> Continuations:
    """Find the most frequent token after each pair of tokens in texts."""
    found: defaultdict[Pair, Counter[int]] = defaultdict(Counter)
    for text in texts:
        for first, second, then in zip(text, text[1:], text[2:], strict=False):
            found[first, second][then] += 1
    return {pair: counts.most_common(1)[0][0] for pair, counts in found.items()}


class Draft:
    """Proposes the next tokens of one row from the tokens it has generated."""

    def __init__(
        self, expected: Sequence[int] = (), continuations: Continuations | None = None
    ) -> None:
        self._continuations: Continuations = continuations or {}
        self._pair: Pair | None = None
        """The last two generated tokens."""
        self._known = list(expected)
        """Tokens of the expected answer, then the generated tokens."""
        self._expected = len(self._known)
        self._after = {pair: n for n, pair in enumerate(pairwise(expected[:-1]), 2)}
        """Index after the last occurrence of each pair of tokens."""
        self._place = 0 if expected else None
        """Index of the next proposed token; None where neither text continues."""
        self._trust = LONGEST
        """Number of tokens to propose: one more after each right one, 2 after a wrong one."""

    def ahead(self, most: int) -> list[int]:
        """Propose at most `most` tokens."""
        count = min(most, self._trust)
        if self._place is None:
            return self._phrase(count)
        if self._place < self._expected:
            return self._known[self._place : min(self._place + count, self._expected)]
        loop = self._known[self._place :]
        return [loop[n % len(loop)] for n in range(count)]

    def _phrase(self, count: int) -> list[int]:
        """Continue the last two tokens by frequency."""
        found: list[int] = []
        pair = self._pair
        while pair and len(found) < count and (token := self._continuations.get(pair)) is not None:
            found.append(token)
            pair = pair[1], token
        return found

    def observe(self, token: int) -> None:
        """Record the next generated token."""
        pair = (self._known[-1], token) if len(self._known) > self._expected else None
        if self._place is not None and self._known[self._place] == token:
            self._trust = min(LONGEST, self._trust + 1)
            self._place = None if self._place + 1 == self._expected else self._place + 1
        else:
            phrase = self._place is None and self._phrase(1) == [token]
            self._trust = min(LONGEST, self._trust + 1) if phrase else 2
            self._place = pair and self._after.get(pair)
        self._known.append(token)
        if pair:
            self._after[pair] = len(self._known)
        self._pair = pair


@dataclass(slots=True)
class DecodingRow:
    """One prompt with its answer so far."""

    unread: list[int]
    """Tokens not yet read by the model: first the prompt, then the last generated token."""
    most: int
    """Longest answer, in tokens."""
    expected: list[int] = field(default_factory=list[int])
    """Expected answer with EOS, read in one pass with the prompt."""
    counted: int = 0
    """Number of expected tokens to compute statistics of."""
    stats: TokenStats | None = None
    """Statistics of these tokens, once they are read."""
    answer: list[int] = field(default_factory=list[int])
    """Generated tokens, with EOS."""
    read: int = 0
    """Number of its tokens in the cache."""
    done: bool = False
    draft: Draft = field(default_factory=Draft)

    def ahead(self) -> list[int]:
        """Propose the next tokens, leaving room for the one that each pass adds."""
        return self.draft.ahead(self.most - len(self.answer) - 1)

    def accept(self, ahead: Sequence[int], likeliest: Sequence[int], ends: Container[int]) -> int:
        """Accept the draft up to its first wrong token, and one token more; count the right ones.

        `likeliest` are the most likely tokens after the unread tokens and after each draft token.
        """
        self.read += len(self.unread)
        right = 0
        while self._append(likeliest[right], ends) and ahead[right : right + 1] == [
            self.answer[-1]
        ]:
            right += 1
        self.unread = [self.answer[-1]]
        self.read += right
        return right

    def _append(self, token: int, ends: Container[int]) -> bool:
        """Append a token to the answer; return whether the answer continues."""
        self.answer.append(token)
        self.draft.observe(token)
        self.done = token in ends or len(self.answer) == self.most
        return not self.done


class DecodingBatch:
    """Rows that are decoded together, with their KV cache."""

    def __init__(self, lm: UnlearningModel, rows: Sequence[DecodingRow]) -> None:
        self.rows = list(rows)
        self._lm = lm
        self._cache = empty_cache()
        self._mask_BS = on(lm.device, [[]] * len(rows))
        """1 at slots that hold a token of their row."""
        self._gaps = False
        """Whether wrong draft tokens left masked slots between tokens of a row."""

    @classmethod
    def of(cls, lm: UnlearningModel, batches: "Sequence[DecodingBatch]") -> "DecodingBatch":
        """Join the unfinished rows of several batches, and free these batches."""
        made = cls(lm, [row for batch in batches for row in batch.going])
        batches = [batch for batch in batches if batch.going]
        if batches:
            width = max(row.read for row in made.rows)
            kept = [batch._kept(width) for batch in batches]
            made._cache = concatenated(kept)
            made._mask_BS = torch.cat([part.mask_BS for part in kept])
        return made

    def _kept(self, width: int) -> KeptRows:
        """Select the unfinished rows, and the last `width` used slots of each."""
        places = [place for place, row in enumerate(self.rows) if not row.done]
        rows_B1 = on(self._lm.device, places)[:, None]
        mask_BS = self._mask_BS[rows_B1[:, 0]]
        # A stable sort moves used slots to the end, in order.
        slots_BS = mask_BS.argsort(dim=1, stable=True)[:, -width:]
        mask_BS = mask_BS.gather(1, slots_BS)
        short = (width - slots_BS.shape[1], 0)
        return KeptRows(self._cache, rows_B1, F.pad(slots_BS, short), F.pad(mask_BS, short))

    @property
    def going(self) -> list[DecodingRow]:
        """The unfinished rows."""
        return [row for row in self.rows if not row.done]

    @property
    def wasteful(self) -> bool:
        """Whether the cache should be compacted: much is unused, or gaps crowd the window."""
        if self._gaps and self._crowded:
            return True
        going = self.going
        needed = len(going) * max(row.read for row in going)
        return needed <= (1 - WASTE) * self._mask_BS.numel()

    @property
    def _crowded(self) -> bool:
        """Whether the next pass could exceed the sliding window of the model, if it has one.

        The window counts masked slots too: it is exact only without gaps and drafts.
        """
        window: int | None = getattr(self._lm.model.config, "sliding_window", None)
        return window is not None and self._mask_BS.shape[1] + 1 + LONGEST > window

    def read(self) -> None:
        """Read the prompts with their expected answers, and start every row."""
        ahead = [row.expected for row in self.rows]
        logits_BKV = self._logits(ahead)
        likeliest = logits_BKV.argmax(-1).tolist()
        self._accept(ahead, likeliest)
        places = [
            (row, logits_BKV.shape[1] - 1 - len(one.expected) + place, one.expected[place])
            for row, one in enumerate(self.rows)
            for place in range(one.counted)
        ]
        if not places:
            return
        rows_N, places_N, ids_N = on(self._lm.device, places).T
        logits_NV = logits_BKV[rows_N, places_N]
        del logits_BKV  # By far the largest tensor here.
        left = iter(F.cross_entropy(logits_NV.float(), ids_N, reduction="none").tolist())
        for row, found in zip(self.rows, likeliest, strict=True):
            begun = len(found) - 1 - len(row.expected)
            if row.expected:
                ids = tuple(row.expected[: row.counted])
                logprobs = tuple(-next(left) for _ in ids)
                likeliest_then = tuple(found[begun : begun + len(ids)])
                row.stats = TokenStats(ids, likeliest_then, logprobs, (), ())

    def step(self) -> None:
        """Generate at least one more token for every row."""
        none: list[int] = []
        crowded = self._crowded
        ahead = [none if row.done or crowded else row.ahead() for row in self.rows]
        # Cut drafts to a length at which they do not make too much padding in other rows.
        lengths = sorted(map(len, ahead))
        longest = lengths[int(len(lengths) * (1 - DRAFTED))]
        ahead = [draft[:longest] for draft in ahead]
        self._accept(ahead, self._logits(ahead).argmax(-1).tolist())

    @torch.no_grad()
    def _logits(self, ahead: Sequence[Sequence[int]]) -> Tensor:
        """Read each row's new tokens and draft; predict the token after the last and each draft.

        Returns:
            [B, K, V] with K one more than the longest draft; a shorter draft uses the last of them.
        """
        device, pad = self._lm.device, self._lm.tokenizer.pad_token_id
        fed = [[*row.unread, *draft] for row, draft in zip(self.rows, ahead, strict=True)]
        width = max(map(len, fed))
        lack = [[0] * (width - len(tokens)) for tokens in fed]
        begun = [
            range(row.read, row.read + len(ids)) for row, ids in zip(self.rows, fed, strict=True)
        ]
        ids = [[pad] * len(none) + tokens for none, tokens in zip(lack, fed, strict=True)]
        real = [none + [1] * len(tokens) for none, tokens in zip(lack, fed, strict=True)]
        self._mask_BS = torch.cat([self._mask_BS, on(device, real)], dim=1)
        return self._lm.model(
            input_ids=on(device, ids),
            attention_mask=attention_mask(self._lm, self._mask_BS, width),
            position_ids=on(device, [[*none, *of] for none, of in zip(lack, begun, strict=True)]),
            cache=self._cache,
            use_cache=True,
            logits_to_keep=max(map(len, ahead)) + 1,
        ).logits

    def _accept(self, ahead: Sequence[Sequence[int]], likeliest: Sequence[Sequence[int]]) -> None:
        """Accept each row's right draft tokens, and mask the wrong ones."""
        ends = self._lm.ends
        wrong: list[int] = []
        for row, draft, found in zip(self.rows, ahead, likeliest, strict=True):
            accepted = 0 if row.done else row.accept(draft, found[-1 - len(draft) :], ends)
            wrong.append(len(draft) - accepted)
        if longest := max(wrong):
            right = [[1] * (longest - count) + [0] * count for count in wrong]
            self._gaps = True
            self._mask_BS[:, -longest:] *= on(self._lm.device, right)


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated answer."""

    text: str
    finished_with_eos: bool
    """Whether the answer ended with EOS before the limit."""
    expected: TokenStats | None = None
    """Statistics of the expected answer. None where none was given, or where appending it changes
    the tokens of the prompt."""


def generate(
    lm: UnlearningModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = GENERATED_AT_ONCE,
    expected: Sequence[str] | None = None,
) -> Generator[int, None, list[Generation]]:
    """Continue each prompt greedily, yielding the number of finished prompts.

    Args:
        lm: The model.
        prompts: Texts to continue.
        max_new_tokens: Longest answer, in tokens.
        batch_size: Largest number of rows decoded together; fewer where the KV cache would take
            too much of the device's memory.
        expected: Expected answer to each prompt, after a space. It changes no answer, but saves
            passes where the model gives it.

    Raises:
        ValueError: A prompt leaves no room for an answer in the model's context.
    """
    encoded = [lm.prompts.prompt(prompt) for prompt in prompts]
    for ids in encoded:
        _check_fits(len(ids), max_new_tokens, lm.context)
    answers = expected or [None] * len(prompts)
    rows = [
        _row(lm, ids, prompt, answer, max_new_tokens)
        for ids, prompt, answer in zip(encoded, prompts, answers, strict=True)
    ]
    frequent = continuations(row.expected for row in rows)
    for row in rows:
        row.draft = Draft(row.expected, frequent)
    waiting = deque(sorted(rows, key=_width))
    going = DecodingBatch(lm, ())
    longest = slots(max(map(len, encoded), default=0) + max_new_tokens) * lm.kv_bytes_per_token
    batch_size = min(batch_size, answered_at_once(longest, total_memory(lm.weight_devices)))
    while waiting or going.going:
        free = batch_size - len(going.going)
        if waiting and (free >= FREE * batch_size or free == batch_size):
            fresh: list[DecodingBatch] = []
            for batch in _read(lm, waiting, free):
                fresh.append(batch)
                yield sum(row.done for row in rows)
            going = DecodingBatch.of(lm, [going, *fresh])
        else:
            if going.wasteful:
                going = DecodingBatch.of(lm, [going])
            going.step()
        yield sum(row.done for row in rows)
    return [_generation(lm, row) for row in rows]


def _width(row: DecodingRow) -> int:
    return len(row.unread) + len(row.expected)


def _read(lm: UnlearningModel, waiting: deque[DecodingRow], free: int) -> Iterator[DecodingBatch]:
    """Read waiting rows until `free` are unfinished, yielding the unfinished rows of each pass."""
    while waiting and free:
        fit = fitting(map(_width, waiting), cpu=lm.on_cpu, vocabulary=lm.vocabulary)
        count = min(free, fit)
        batch = DecodingBatch(lm, [waiting.popleft() for _ in range(count)])
        batch.read()
        free -= len(batch.going)
        yield DecodingBatch.of(lm, [batch])  # Frees finished rows before the next pass.


def expected_stats(
    lm: UnlearningModel, rows: Sequence[Row], generated: Sequence[Generation]
) -> Generator[int, None, list[TokenStats]]:
    """Return the statistics of each expected answer after one space.

    Takes those that `generate` computed for these rows, and computes the others, yielding how many
    are done.
    """
    missing = [row for row, one in zip(rows, generated, strict=True) if one.expected is None]
    examples = [encode_continuation(lm.prompts, row.input, row.output) for row in missing]
    found = iter((yield from token_stats(lm, examples)))
    return [one.expected or next(found) for one in generated]


def _row(
    lm: UnlearningModel, ids: list[int], prompt: str, expected: str | None, most: int
) -> DecodingRow:
    """Make a prompt's row, with the expected answer unless it changes the prompt's tokens."""
    if expected is None:
        return DecodingRow(ids, most)
    example = encode_continuation(lm.prompts, prompt, expected)
    if example.start < len(ids) or len(example.ids) >= lm.context:
        return DecodingRow(ids, most)
    after = list(example.ids[len(ids) :])
    return DecodingRow(ids, most, [*after, lm.prompts.end], len(after))


def _generation(lm: UnlearningModel, row: DecodingRow) -> Generation:
    """Decode an answer without its EOS."""
    ended = row.answer[-1] in lm.ends
    ids = row.answer[:-1] if ended else row.answer
    text = lm.tokenizer.decode(ids, skip_special_tokens=True)
    return Generation(text, ended, row.stats)


def _check_fits(length: int, max_new_tokens: int, context: int) -> None:
    if length == 0:
        raise ValueError("the prompt is empty: type a text for the models to continue")
    if length + max_new_tokens > context:
        raise ValueError(
            f"the prompt has {length} tokens: with an answer of up to {max_new_tokens} it does not "
            f"fit the model's {context}; shorten it to {context - max_new_tokens}"
        )
