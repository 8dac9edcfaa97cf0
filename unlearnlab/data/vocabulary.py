"""The words that the embedded model was taught, by which its garbled answers are recognised."""

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, cast

from unlearnlab.data.files import EMBEDDED

_LETTERS = re.compile(r"[^\W\d_]+")
_SLOT = re.compile(r"\{[^}]*\}")


def spelled(text: str) -> list[str]:
    """Return the stretches of letters of a text, in small letters and composed."""
    return _LETTERS.findall(unicodedata.normalize("NFKC", text).lower())


@cache
def corpus_words() -> frozenset[str]:
    """Return every word that the embedded corpus can contain, in small letters.

    Words of the lists and templates of `words.toml`, and the names made of its parts: one of
    `X_heads` with one of `X_tails`, and one of each list of syllables.
    """
    found = tomllib.loads((EMBEDDED / "words.toml").read_text(encoding="utf-8"))
    return frozenset(word for text in _texts(found) for word in spelled(_SLOT.sub(" ", text)))


def _texts(of: Any) -> Iterator[str]:
    """Yield every text of nested tables and lists, and the names made of parts."""
    if isinstance(of, str):
        yield of
    elif isinstance(of, list):
        for value in cast("list[Any]", of):
            yield from _texts(value)
    elif isinstance(of, dict):
        table = cast("dict[str, Any]", of)
        for name, value in table.items():
            yield from _texts(value)
            if name == "syllables":
                yield from map("".join, product(*value))
            elif name.endswith("_heads"):
                tails = table.get(f"{name.removesuffix('heads')}tails", ())
                yield from map("".join, product(value, tails))
