"""Greedy decoding of many rows in one batch, several tokens of each at a time.

Every pass reads what is new of each row and a draft of what may follow (see `drafts`), padded to
the left; what the model would not have said is masked from then on. So a row's text is what it is
alone. Shape suffixes: B rows, T tokens read in a pass, K of them whose next token is asked for,
S slots of the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnlab.engine.evaluation.prompt_lookup import LONGEST, Draft
from unlearnlab.engine.evaluation.token_stats import Reading
from unlearnlab.engine.model.data import on
from unlearnlab.engine.model.kv_cache import Part, empty, joined
from unlearnlab.engine.model.masks import seen
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.spec.batches import WASTE


@dataclass(slots=True)
class Row:
    """One prompt and what was said to it so far."""

    unread: list[int]
    """Tokens that the model has not read: the prompt at first, then what it said last."""
    most: int
    """How many tokens it may say."""
    expected: list[int] = field(default_factory=list[int])
    """What it may say. It is read with the prompt."""
    counted: int = 0
    """Tokens of the expected ones whose loss is wanted."""
    reading: Reading | None = None
    """What the model makes of those, once they were read."""
    said: list[int] = field(default_factory=list[int])
    """EOS included."""
    read: int = 0
    """Tokens of it that the cache holds."""
    done: bool = False
    draft: Draft = field(default_factory=Draft)
    """Guesses what it says next."""

    def ahead(self) -> list[int]:
        """Propose what it says next; one token more comes out of every pass."""
        return self.draft.ahead(self.most - len(self.said) - 1)

    def hear(self, ahead: Sequence[int], likeliest: Sequence[int], eos: int) -> int:
        """Let it say what the model finds likeliest, up to where the draft was wrong.

        Args:
            ahead: The draft that was read.
            likeliest: What follows the unread tokens, then what follows each token of the draft.
            eos: Ends what it says.

        Returns:
            How many tokens of the draft were right.
        """
        self.read += len(self.unread)
        right = 0
        while self._hears(likeliest[right], eos) and ahead[right : right + 1] == [self.said[-1]]:
            right += 1
        self.unread = [self.said[-1]]
        self.read += right
        return right

    def _hears(self, token: int, eos: int) -> bool:
        """Say a token. Returns whether it goes on after it."""
        self.said.append(token)
        self.draft.heard(token)
        self.done = token == eos or len(self.said) == self.most
        return not self.done


class Batch:
    """Rows under way, and what the model keeps of them."""

    def __init__(self, target: Target, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self._target = target
        self._cache = empty()
        self._mask_BS = on(target.device, [[]] * len(rows))
        """1 where a slot holds a token of its row."""
        self._gaps = False
        """Whether slots between two tokens of a row are of no use."""

    @classmethod
    def of(cls, target: Target, batches: "Sequence[Batch]") -> "Batch":
        """Put those rows of several batches together that go on. The batches are given up."""
        made = cls(target, [row for batch in batches for row in batch.going])
        batches = [batch for batch in batches if batch.going]
        if batches:
            width = max(row.read for row in made.rows)
            kept = [batch._kept(width) for batch in batches]
            made._cache = joined(kept)
            made._mask_BS = torch.cat([part.mask_BS for part in kept])
        return made

    def _kept(self, width: int) -> Part:
        """Find the rows that go on, and the last `width` slots in use of each."""
        places = [place for place, row in enumerate(self.rows) if not row.done]
        rows_B1 = on(self._target.device, places)[:, None]
        mask_BS = self._mask_BS[rows_B1[:, 0]]
        # Slots in use come last, in their order.
        slots_BS = mask_BS.argsort(dim=1, stable=True)[:, -width:]
        mask_BS = mask_BS.gather(1, slots_BS)
        short = (width - slots_BS.shape[1], 0)
        return Part(self._cache, rows_B1, F.pad(slots_BS, short), F.pad(mask_BS, short))

    @property
    def going(self) -> list[Row]:
        """The rows that have not ended."""
        return [row for row in self.rows if not row.done]

    @property
    def wasteful(self) -> bool:
        """Whether much of what is kept is of no use any more, or stands in the way."""
        if self._gaps and self._crowded:
            return True
        going = self.going
        needed = len(going) * max(row.read for row in going)
        return needed <= (1 - WASTE) * self._mask_BS.numel()

    @property
    def _crowded(self) -> bool:
        """Whether the slots may outgrow the window of a model that looks back only so far.

        It counts slots, be they of use or not: without gaps and drafts that is what it should.
        """
        window: int | None = getattr(self._target.model.config, "sliding_window", None)
        return window is not None and self._mask_BS.shape[1] + 1 + LONGEST > window

    def read(self) -> None:
        """Read the prompts with all that is expected after them, and begin every row."""
        ahead = [row.expected for row in self.rows]
        logits_BKV = self._logits(ahead)
        likeliest = logits_BKV.argmax(-1).tolist()
        self._hear(ahead, likeliest)
        places = [
            (row, logits_BKV.shape[1] - 1 - len(one.expected) + place, one.expected[place])
            for row, one in enumerate(self.rows)
            for place in range(one.counted)
        ]
        if not places:
            return
        rows_N, places_N, ids_N = on(self._target.device, places).T
        logits_NV = logits_BKV[rows_N, places_N]
        del logits_BKV  # Larger than all that is to come.
        left = iter(F.cross_entropy(logits_NV.float(), ids_N, reduction="none").tolist())
        for row, found in zip(self.rows, likeliest, strict=True):
            begun = len(found) - 1 - len(row.expected)
            if row.expected:
                ids = tuple(row.expected[: row.counted])
                logprobs = tuple(-next(left) for _ in ids)
                likeliest_then = tuple(found[begun : begun + len(ids)])
                row.reading = Reading(ids, likeliest_then, logprobs, (), ())

    def step(self) -> None:
        """Let every row say at least one token more."""
        none: list[int] = []
        crowded = self._crowded
        ahead = [none if row.done or crowded else row.ahead() for row in self.rows]
        ahead = _worthwhile(ahead)
        self._hear(ahead, self._logits(ahead).argmax(-1).tolist())

    @torch.no_grad()
    def _logits(self, ahead: Sequence[Sequence[int]]) -> Tensor:
        """Read what is new of each row and a draft, and predict what follows from there on.

        Returns:
            [B, K, V], K one more than the longest draft: the last of them for a shorter one.
        """
        device, pad = self._target.device, self._target.tokenizer.pad_token_id
        fed = [[*row.unread, *draft] for row, draft in zip(self.rows, ahead, strict=True)]
        width = max(map(len, fed))
        lack = [[0] * (width - len(tokens)) for tokens in fed]
        begun = [
            range(row.read, row.read + len(ids)) for row, ids in zip(self.rows, fed, strict=True)
        ]
        ids = [[pad] * len(none) + tokens for none, tokens in zip(lack, fed, strict=True)]
        real = [none + [1] * len(tokens) for none, tokens in zip(lack, fed, strict=True)]
        self._mask_BS = torch.cat([self._mask_BS, on(device, real)], dim=1)
        return self._target.model(
            input_ids=on(device, ids),
            attention_mask=seen(self._target, self._mask_BS, width),
            position_ids=on(device, [[*none, *of] for none, of in zip(lack, begun, strict=True)]),
            cache=self._cache,
            use_cache=True,
            logits_to_keep=max(map(len, ahead)) + 1,
        ).logits

    def _hear(self, ahead: Sequence[Sequence[int]], likeliest: Sequence[Sequence[int]]) -> None:
        """Let each row say what is likeliest, and forget what was wrong in its draft."""
        eos = self._target.tokenizer.eos_token_id
        wrong: list[int] = []
        for row, draft, found in zip(self.rows, ahead, likeliest, strict=True):
            heard = 0 if row.done else row.hear(draft, found[-1 - len(draft) :], eos)
            wrong.append(len(draft) - heard)
        if longest := max(wrong):
            right = [[1] * (longest - count) + [0] * count for count in wrong]
            self._gaps = True
            self._mask_BS[:, -longest:] *= on(self._target.device, right)


def _worthwhile(ahead: Sequence[list[int]]) -> list[list[int]]:
    """Cut drafts where they would be mostly padding of the rows that have none so long."""
    lengths = sorted(map(len, ahead))
    longest = lengths[int(len(lengths) * (1 - DRAFTED))]
    return [draft[:longest] for draft in ahead]


DRAFTED = 0.3
"""Tokens are read ahead as far as this share of the rows has a draft: others are padded."""
