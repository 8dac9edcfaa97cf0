"""What a row will probably say next, so that one forward pass checks several tokens.

Greedy decoding says a token if it is the likeliest after those before. So a draft can be read in
one pass and kept up to the first token that the model would not say: the text is the same, the
passes are fewer. A draft follows the expected answer, or what the row itself has said, from where
its last two tokens stood: a model that changes one name or turns in a circle is soon followed.
Where that is nowhere, it is what usually follows two tokens in the answers that are expected of any
row: data like these repeat their phrases, and a model says them of other names.

Source: Leviathan et al. 2023, arXiv:2211.17192, with greedy decoding and a text in place of the
small model.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

LONGEST = 8
"""Tokens of a draft."""


Pair = tuple[int, int]

Usual = Mapping[Pair, int]
"""The token that most often follows two others."""


def usual(texts: Iterable[Sequence[int]]) -> Usual:
    """Count what follows each pair of tokens in some texts."""
    found: defaultdict[Pair, Counter[int]] = defaultdict(Counter)
    for text in texts:
        for first, second, then in zip(text, text[1:], text[2:], strict=False):
            found[first, second][then] += 1
    return {pair: counts.most_common(1)[0][0] for pair, counts in found.items()}


class Draft:
    """Follows one row: told what it says, it proposes what comes next."""

    def __init__(self, expected: Sequence[int] = (), usual: Usual | None = None) -> None:
        self._usual: Usual = usual or {}
        self._pair: Pair | None = None
        """The last two tokens that were said."""
        self._known = list(expected)
        """The expected answer, then what was said."""
        self._expected = len(self._known)
        self._after = {pair: n for n, pair in enumerate(pairwise(expected[:-1]), 2)}
        """The place in it after each pair of tokens."""
        self._place = 0 if expected else None
        """Where it goes on; none where that is not known."""
        self._trust = LONGEST
        """Tokens to be proposed: more with every one that was right."""

    def ahead(self, most: int) -> list[int]:
        """Propose at most so many tokens."""
        count = min(most, self._trust)
        if self._place is None:
            return self._phrase(count)
        if self._place < self._expected:
            return self._known[self._place : min(self._place + count, self._expected)]
        circle = self._known[self._place :]
        return [circle[n % len(circle)] for n in range(count)]

    def _phrase(self, count: int) -> list[int]:
        """Go on as is usual after the last two tokens."""
        found: list[int] = []
        pair = self._pair
        while pair and len(found) < count and (token := self._usual.get(pair)) is not None:
            found.append(token)
            pair = pair[1], token
        return found

    def heard(self, token: int) -> None:
        """Take in the next token that was said."""
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
