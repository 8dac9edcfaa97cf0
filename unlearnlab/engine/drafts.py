"""What a row will probably say next, so that one forward pass checks several tokens.

Greedy decoding says a token if it is the likeliest after those before. So a draft can be read in
one pass and kept up to the first token that the model would not say: the text is the same, the
passes are fewer. A draft follows the expected answer, or what the row itself has said, from where
its last two tokens stood: a model that changes one name or turns in a circle is soon followed.

Source: Leviathan et al. 2023, arXiv:2211.17192, with greedy decoding and a text in place of the
small model.
"""

from collections.abc import Sequence
from itertools import pairwise

LONGEST = 8
"""Tokens of a draft."""


class Draft:
    """Follows one row: told what it says, it proposes what comes next."""

    def __init__(self, expected: Sequence[int] = ()) -> None:
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
        if self._place is None:
            return []
        count = min(most, self._trust)
        if self._place < self._expected:
            return self._known[self._place : min(self._place + count, self._expected)]
        circle = self._known[self._place :]
        return [circle[n % len(circle)] for n in range(count)]

    def heard(self, token: int) -> None:
        """Take in the next token that was said."""
        pair = (self._known[-1], token) if len(self._known) > self._expected else None
        if self._place is not None and self._known[self._place] == token:
            self._trust = min(LONGEST, self._trust + 1)
            self._place = None if self._place + 1 == self._expected else self._place + 1
        else:
            self._trust, self._place = 2, pair and self._after.get(pair)
        self._known.append(token)
        if pair:
            self._after[pair] = len(self._known)
