"""One example answered by several models, with what each recites of the expected answer marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearnlab.data.datasets import Kind, Split
from unlearnlab.metrics.labels import RECITED, Outcome, outcome
from unlearnlab.metrics.scores import Answer, Evidence
from unlearnlab.views.answers import Span, marked


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model that answered: the original, the retrained one, or that of a run."""

    name: str
    evidence: Evidence | None
    """None where its answers are not at hand."""
    run_id: str = ""
    """Empty for what is no run."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one model said."""

    name: str
    run_id: str
    spans: tuple[Span, ...]
    """Its answer, cut where it recites; nothing if it said nothing."""
    score: float | None
    """None if it was not asked."""
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Example:
    """One row with the answers of all."""

    row: str
    split: Split
    task: str
    kind: Kind
    prompt: str
    expected: str
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A row that can be looked at."""

    row: str
    split: Split
    task: str
    kind: Kind
    prompt: str
    recited_by: int
    """Models that still recite or answer it."""
    spread: float
    """How far the models' scores lie apart, 0 to 1."""


def choices(speakers: Sequence[Speaker]) -> tuple[Choice, ...]:
    """List the rows that any of these models answered: forget first, those that tell most on top.

    The more two models differ on a row, the more it tells of them.
    """
    found: dict[str, list[Answer]] = {}
    for speaker in speakers:
        for answer in speaker.evidence.answers if speaker.evidence else ():
            found.setdefault(answer.row, []).append(answer)
    made = [_choice(answers) for answers in found.values()]
    return tuple(sorted(made, key=lambda one: (one.split != "forget", -one.spread)))


def _choice(answers: Sequence[Answer]) -> Choice:
    first, scores = answers[0], [answer.score for answer in answers]
    return Choice(
        first.row,
        first.split,
        first.task,
        first.kind,
        first.prompt,
        sum(score >= RECITED for score in scores),
        max(scores) - min(scores),
    )


def example(row: str, speakers: Sequence[Speaker]) -> Example | None:
    """Set the answers of all models to one row beside each other; none if no model has the row."""
    answers = [(speaker, _answers(speaker).get(row)) for speaker in speakers]
    first = next((answer for _, answer in answers if answer is not None), None)
    if first is None:
        return None
    return Example(
        row,
        first.split,
        first.task,
        first.kind,
        first.prompt,
        first.expected,
        tuple(_said(speaker, answer) for speaker, answer in answers),
    )


def _answers(speaker: Speaker) -> Mapping[str, Answer]:
    answers = speaker.evidence.answers if speaker.evidence else ()
    return {answer.row: answer for answer in answers}


def _said(speaker: Speaker, answer: Answer | None) -> Said:
    if answer is None:
        return Said(speaker.name, speaker.run_id, (), None, None)
    spans = marked(answer.expected, answer.generated.strip())
    return Said(speaker.name, speaker.run_id, spans, answer.score, outcome(answer))
