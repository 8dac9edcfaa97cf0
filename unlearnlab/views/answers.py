"""What a page shows of the answers: before and after joined, labelled, marked and masked."""

import difflib
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from unlearnlab.data.datasets import Kind, Split
from unlearnlab.metrics.labels import Mood, Outcome, mood, outcome
from unlearnlab.metrics.scores import Answer, Evidence

PAGE = 20
"""Rows on one page of the table."""

DAMAGE = 0.1
"""A retain row is damaged when it lost more than this."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One row of the data with what both models made of it."""

    row: str
    split: Split
    task: str
    kind: Kind
    prompt: str
    expected: str
    original: str
    original_score: float
    original_likelihood: float | None
    unlearned: str | None
    """None until the unlearned model was scored."""
    unlearned_score: float | None
    unlearned_likelihood: float | None
    outcome: Outcome
    """Of the unlearned model's answer, or of the original's until then."""
    judged: bool = True
    """Whether a term counts it: a forget row that was not picked is part of none."""

    @property
    def wished(self) -> Split:
        """Say what was wished: a forget row that was not picked is to stay, like the retain set."""
        return self.split if self.judged else "retain"

    @property
    def leaks(self) -> bool:
        """Tell whether the unlearned model still says what it was to forget."""
        return self.wished == "forget" and self.unlearned is not None and self.outcome == "leaked"

    @property
    def damaged(self) -> bool:
        """Tell whether a row that was to stay lost its score."""
        return self.wished == "retain" and (self.score_lost or 0.0) > DAMAGE

    @property
    def score_lost(self) -> float | None:
        """Return how much of the score is gone; below zero if the unlearned model's is higher."""
        return None if self.unlearned_score is None else self.original_score - self.unlearned_score

    @property
    def likelihood_lost(self) -> float | None:
        """Return how much of the expected answer's likelihood is gone."""
        before, after = self.original_likelihood, self.unlearned_likelihood
        return None if before is None or after is None else before - after

    @property
    def mood(self) -> Mood:
        """Say how the label is to be read."""
        return mood(self.outcome, self.wished, damaged=self.damaged)


def likelihood(answer: Answer) -> float | None:
    """Return the likelihood of the expected answer, 0 to 1: the geometric mean over its tokens.

    Returns:
        None where there is none: nothing is expected, or the model's loss is not a number.
    """
    if math.isnan(answer.nll) or not answer.expected.strip():
        return None
    return math.exp(-max(0.0, answer.nll))


def joined(
    before: Evidence, after: Evidence | None, picked: Collection[str] | None = None
) -> tuple[AnswerRow, ...]:
    """Join the answers of both models by row.

    Args:
        before: Of the original model.
        after: Of the unlearned one, if it was scored.
        picked: Ids of the forget rows that are judged; none judges all.
    """
    later = {answer.row: answer for answer in after.answers} if after else {}
    wanted = None if picked is None else set(picked)
    return tuple(
        _joined(
            answer,
            later.get(answer.row),
            judged=wanted is None or answer.split == "retain" or answer.row in wanted,
        )
        for answer in before.answers
    )


def _joined(before: Answer, after: Answer | None, *, judged: bool) -> AnswerRow:
    return AnswerRow(
        row=before.row,
        split=before.split,
        task=before.task,
        kind=before.kind,
        prompt=before.prompt,
        expected=before.expected,
        original=before.generated,
        original_score=before.score,
        original_likelihood=likelihood(before),
        unlearned=after.generated if after else None,
        unlearned_score=after.score if after else None,
        unlearned_likelihood=likelihood(after) if after else None,
        outcome=outcome(after or before),
        judged=judged,
    )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an answer."""

    text: str
    recited: bool
    """Whether its words stand in the expected answer, in the same order."""


def marked(expected: str, generated: str) -> tuple[Span, ...]:
    """Cut an answer into stretches that are recited and stretches that are not.

    Words are compared without case and without the punctuation around them. A short word that
    matches alone in a long text is left unmarked.
    """
    pieces = re.findall(r"\S+|\s+", generated)
    places = [i for i, piece in enumerate(pieces) if not piece.isspace()]
    theirs, ours = [_bare(word) for word in expected.split()], [_bare(pieces[i]) for i in places]
    blocks = difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks()
    recited = [False] * len(pieces)
    for block in blocks:
        if block.size > 1 or (block.size and _telling(ours[block.b], theirs)):
            # From the first word of the stretch to its last, with the spaces between them.
            first, last = places[block.b], places[block.b + block.size - 1]
            recited[first : last + 1] = [True] * (last + 1 - first)
    return _merged(pieces, recited)


def _telling(word: str, expected: Sequence[str]) -> bool:
    """Tell whether one word alone is worth a mark: not an "a" that any long text has."""
    return len(word) > 3 or len(expected) < 6 or not word.isalpha()


def _bare(word: str) -> str:
    return word.lower().strip(".,;:!?\"'()[]“”‘’") or word


def _merged(pieces: Sequence[str], recited: Sequence[bool]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for text, hit in zip(pieces, recited, strict=True):
        if spans and spans[-1].recited == hit:
            spans[-1] = Span(spans[-1].text + text, hit)
        else:
            spans.append(Span(text, hit))
    return tuple(spans)


_EMAIL = re.compile(r"[\w.+\\-]+@[\w-]+(?:\.[\w-]+)+")
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
_DIGIT = re.compile(r"\d")
_COMMON = frozenset(
    """
    a an and are as at born by did do does for from had has have he her hers his how i if in is it
    its lives may my no not of on or our she so that the their them then there these they this those
    to was we were what when where which who whom whose why will with works you your after before
    complete finish give list name please tell write answer question
    """.split()  # noqa: SIM905
)
"""Words that open a sentence with a capital without naming anybody."""


def mask(text: str) -> str:
    """Hide personal data: e-mail addresses, digits, and words that look like names.

    The shape stays, so that one sees that there is a number or a name. Names written in small
    letters pass; the switch protects a screen that is shown to others, it does not anonymise.
    """
    hidden = _EMAIL.sub(lambda found: re.sub(r"[^@.]", "•", found[0]), text)
    hidden = _DIGIT.sub("#", hidden)
    return _WORD.sub(lambda found: _masked(found[0]), hidden)


def _masked(word: str) -> str:
    if not word[0].isupper() or word.lower().split("'")[0] in _COMMON:
        return word
    return "".join("•" if letter.isalpha() else letter for letter in word)
