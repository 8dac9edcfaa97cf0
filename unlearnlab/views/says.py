"""What a model says while it is trained: the watched rows at each probe, word by word.

A word of an answer stands for a word of the true answer: the same one, or the one in whose place it
is. Its probability is that of the true word, after the prompt and the true words before it.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnlab.data.datasets import Split
from unlearnlab.metrics.labels import Mood, Outcome, Yardstick, live_title
from unlearnlab.metrics.scores import Answer, row_score
from unlearnlab.runs.events import Said, Saying
from unlearnlab.spec.run import RunSpec

NO_BREAK = "\u00a0"

EVEN, SLIGHT = 0.5, 0.1
"""Probabilities from which a word counts as likelier than not, and as possible: those are marked by
more than a colour."""


@dataclass(frozen=True, slots=True)
class SaidWord:
    """One word of an answer."""

    text: str
    truth: str = ""
    """The true word that it stands for; empty if it stands for none."""
    probability: float | None = None
    """Of the true word, 0 to 1; None where that is not known."""

    @property
    def percent(self) -> float:
        """Return the probability in percent, 0 where there is none."""
        return 100 * (self.probability or 0.0)

    @property
    def strength(self) -> str:
        """Name how likely the true word is, in one word for a style sheet; empty if hardly."""
        if self.probability is None or self.probability < SLIGHT:
            return ""
        return "even" if self.probability >= EVEN else "slight"

    @property
    def told(self) -> str:
        """Say how likely the true word is; empty if the word stands for none."""
        if self.probability is None:
            return ""
        return f"{percent_words(self.probability)} likely"


@dataclass(frozen=True, slots=True)
class SaidAnswer:
    """The answer to one watched row at one step."""

    row: str
    split: Split
    prompt: str
    expected: str
    truth: tuple[tuple[str, float | None], ...]
    """Words of the true answer, each with its probability, 0 to 1."""
    words: tuple[SaidWord, ...]
    """Of the answer."""
    cut: bool
    """Whether the probe ended the answer."""
    likelihood: float | None
    """Of the whole true answer, 0 to 1; None where it is not a number."""
    outcome: Outcome
    title: str
    """The label as it reads during the training, such as "still leaks"."""
    mood: Mood

    @property
    def text(self) -> str:
        """Return the answer."""
        return " ".join(word.text for word in self.words) + (" …" if self.cut else "")

    @property
    def told(self) -> str:
        """Say how likely the true answer is."""
        if self.likelihood is None:
            return "likelihood of the true answer: not a number"
        return f"true answer: {percent_words(self.likelihood)} likely"


@dataclass(frozen=True, slots=True)
class SaidStep:
    """What is said at one step."""

    step: int
    answers: Mapping[str, SaidAnswer]
    """By id of the row, in the order in which they are shown."""


def percent_words(probability: float) -> str:
    """Write a probability of 0 to 1 in percent, for readers."""
    percent = 100 * probability
    if percent < 0.1:
        return f"less than 0.1{NO_BREAK}%"
    if 99 < percent < 100 and round(percent) == 100:
        return f"over 99{NO_BREAK}%"
    return f"{percent:.{0 if percent >= 1 else 1}f}{NO_BREAK}%"


def said_steps(
    spec: RunSpec, said: Sequence[Said], by: Yardstick | None = None
) -> tuple[SaidStep, ...]:
    """Put the words that were said beside the true ones, and label the answers.

    Args:
        spec: The run.
        said: What was said at each probe, in order of steps.
        by: What answers are labelled by; default: the rows themselves.
    """
    by = by or Yardstick()
    labels: list[dict[str, Outcome]] = [
        {one.row: by.label(_answer(one)).outcome for one in event.sayings} for event in said
    ]
    known = labels[0] if said and said[0].step == 0 else {}
    taught = spec.taught

    def answer(event: Said, one: Saying, outcome: Outcome) -> SaidAnswer:
        first = None if event.step == 0 else known.get(one.row, "different")
        title, mood = live_title(outcome, one.split, known=first, taught=one.split in taught)
        return SaidAnswer(
            row=one.row,
            split=one.split,
            prompt=one.prompt,
            expected=one.expected,
            truth=tuple((word, _number(probability)) for word, probability in one.words),
            words=said_words(one.text, one.words),
            cut=not one.ended and bool(one.text.strip()),
            likelihood=_number(one.likelihood),
            outcome=outcome,
            title=title,
            mood=mood,
        )

    return tuple(
        SaidStep(event.step, {one.row: answer(event, one, of[one.row]) for one in event.sayings})
        for event, of in zip(said, labels, strict=True)
    )


def _answer(of: Saying) -> Answer:
    return Answer(
        row=of.row,
        split=of.split,
        task=of.task,
        kind=of.row_kind,
        prompt=of.prompt,
        expected=of.expected,
        generated=of.text,
        nll=math.nan,
        ended=of.ended,
        score=row_score(of.row_kind, of.expected, of.text),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def said_words(text: str, truth: Sequence[tuple[str, float]]) -> tuple[SaidWord, ...]:
    """Pair each word of an answer with the true word that it stands for.

    Words are compared without case and without the punctuation around them.
    """
    words = text.split()
    ours, theirs = map(bare, words), [bare(word) for word, _ in truth]
    matcher = difflib.SequenceMatcher(None, theirs, list(ours), autojunk=False)
    found = [SaidWord(word) for word in words]
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind not in ("equal", "replace"):
            continue
        for (true, probability), at in zip(truth[first:last], range(begin, end), strict=False):
            found[at] = SaidWord(words[at], true, _number(probability))
    return tuple(found)


def bare(word: str) -> str:
    """Return a word in small letters without the punctuation around it."""
    return word.lower().strip(".,;:!?\"'()[]“”‘’") or word


def said_line(answer: SaidAnswer, hide: Callable[[str], str]) -> str:
    """Write one answer in a line: set, answer, likelihood of the true one, label."""
    return f"{answer.split}: {_in_a_line(answer, hide)}"


def said_lines(steps: Sequence[SaidStep], hide: Callable[[str], str]) -> list[str]:
    """Write what was said, row by row, with a line for each step."""
    if not steps:
        return []
    width, lines = len(str(steps[-1].step)), list[str]()
    for row, answer in steps[-1].answers.items():
        lines.append(f"{answer.split}: {hide(answer.prompt)}")
        for one in steps:
            if then := one.answers.get(row):
                lines.append(f"  step {one.step:>{width}}  {_in_a_line(then, hide)}")
    return lines


def _in_a_line(answer: SaidAnswer, hide: Callable[[str], str]) -> str:
    parts = (hide(answer.text) or "(empty)", answer.told, answer.title)
    return " · ".join(parts).replace(NO_BREAK, " ")


def said_record(steps: Sequence[SaidStep], hide: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return what was said as plain JSON values, with the texts as `hide` shows them."""
    return [
        {
            "step": one.step,
            "row": answer.row,
            "set": answer.split,
            "prompt": hide(answer.prompt),
            "expected": hide(answer.expected),
            "answer": hide(answer.text),
            "likelihood": answer.likelihood,
            "label": answer.outcome,
            "true_words": [{"word": hide(word), "probability": p} for word, p in answer.truth],
        }
        for one in steps
        for answer in one.answers.values()
    ]
