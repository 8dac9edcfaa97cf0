"""Texts that are nearly the same, found exactly and without comparing all with all.

A text is the set of its runs of three words. Two sets that share a given part of themselves share
one of their first few elements in any common order (prefix filtering: Chaudhuri et al., ICDE 2006;
Bayardo et al., WWW 2007), so rare elements come first and only texts that share one are compared.
"""

import math
import re
from array import array
from collections.abc import Iterator, Sequence

RUN = 3
"""Words in a row that make one element."""

SHARE = 0.8
"""From this share of common elements on, texts are nearly the same."""

FEWEST = 8
"""Elements that a text needs before its being part of a document tells anything."""

# A character of a script without spaces is a word of its own.
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")

_BUCKETS = 1 << 20


def alike(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[int]:
    """Yield the places of those of our texts that are nearly the same as one of theirs.

    Nearly: their sets have a Jaccard index of at least 0.8. Case and punctuation do not count.
    """
    return _pairs(ours, theirs, whole=True)


def contained(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[int]:
    """Yield the places of those of our longer texts of which one of theirs holds at least 0.8."""
    return _pairs(ours, theirs, whole=False)


def _pairs(ours: Sequence[str], theirs: Sequence[str], *, whole: bool) -> Iterator[int]:
    if not ours or not theirs:
        return
    rare_first = _Order((*ours, *theirs))
    index: dict[int, list[int]] = {}
    for place, text in enumerate(theirs):
        for element in rare_first.head(text) if whole else _elements(text):
            index.setdefault(element, []).append(place)
    for place, text in enumerate(ours):
        elements = _elements(text)
        if not whole and len(elements) < FEWEST:
            continue
        near = {other for element in rare_first.head(text) for other in index.get(element, ())}
        shares = (_share(elements, _elements(theirs[other]), whole=whole) for other in near)
        if any(share >= SHARE for share in shares):
            yield place


class _Order:
    """Puts rare elements first."""

    def __init__(self, texts: Sequence[str]) -> None:
        # Elements that share a bucket make the order a little worse, never the result wrong.
        self._counts = array("I", bytes(4 * _BUCKETS))
        for text in texts:
            for element in _elements(text):
                self._counts[element % _BUCKETS] += 1

    def head(self, text: str) -> list[int]:
        """Return the elements of which any nearly equal text has at least one."""
        elements = sorted(_elements(text), key=lambda one: (self._counts[one % _BUCKETS], one))
        return elements[: len(elements) - math.ceil(SHARE * len(elements)) + 1]


def _elements(text: str) -> set[int]:
    words = _WORD.findall(text.casefold())
    if len(words) < RUN:
        return {hash(tuple(words))} if words else set()
    return {hash(run) for run in zip(words, words[1:], words[2:], strict=False)}


def _share(ours: set[int], theirs: set[int], *, whole: bool) -> float:
    common = len(ours & theirs)
    return common / (len(ours) + len(theirs) - common if whole else len(ours))
