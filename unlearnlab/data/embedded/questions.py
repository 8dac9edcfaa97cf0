"""A question of the embedded data, and what its answer and wrong ones look like in a sentence."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

WRONG = 3
"""Wrong answers to a question."""


class Question(NamedTuple):
    """One question with its answer."""

    text: str
    answer: str
    sentence: str
    """Says the answer in other words, with `{}` where the value stands: questions with the same
    sentence ask for the same kind of thing."""
    value: str
    """The answer as prose writes it."""

    @property
    def paraphrase(self) -> str:
        """The answer in other words."""
        return self.sentence.format(self.value)


def wrong_answers(questions: Sequence[Question], seed: str) -> Mapping[str, tuple[str, ...]]:
    """Answer each question with what others of its kind are answered with, worded like its own.

    Args:
        questions: Of one set.
        seed: Which of them.

    Returns:
        By the question's text: up to `WRONG` different sentences, in random order.
    """
    values: dict[str, set[str]] = {}
    for one in questions:
        values.setdefault(one.sentence, set()).add(one.value)
    found: dict[str, tuple[str, ...]] = {}
    for one in questions:
        others = sorted(values[one.sentence] - {one.value})
        drawn = Random(f"{seed} wrong {one.text}").sample(others, min(WRONG, len(others)))
        found[one.text] = tuple(map(one.sentence.format, drawn))
    return found
