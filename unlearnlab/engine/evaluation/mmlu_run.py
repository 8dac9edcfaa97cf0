"""MMLU as a part of a run: its questions are found, or fetched, and asked before and after."""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass

from unlearnlab.data.background import carried_out
from unlearnlab.engine.evaluation.mmlu import answer, most_tokens
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.scores import Choice, picked
from unlearnlab.runs.events import Event, Examined, Progressed, When
from unlearnlab.spec.run import EvaluationSpec

TOLD = 100
"""How many times the page is told of the accuracy so far, at most."""


@dataclass(frozen=True, slots=True)
class Exam:
    """The questions of a run."""

    test: mmlu.Mmlu
    of: int
    """Questions of the whole test that they were drawn from."""

    def protocol(self, target: Target) -> str:
        """Name how it is measured."""
        asked = len(self.test.questions)
        return mmlu.protocol(mmlu.SHOTS, most_tokens(target), asked=asked, of=self.of)

    @property
    def fingerprint(self) -> str:
        """Name the questions with their shots: equal fingerprints, equal prompts."""
        return hashlib.sha256(repr(self.test).encode()).hexdigest()[:16]


def prepared(spec: EvaluationSpec, fetching: Event) -> Generator[Event | None, None, Exam | None]:
    """Read the questions that a run asks.

    Args:
        spec: Says how many.
        fetching: Yielded if the test is not on this machine, before it is fetched.

    Raises:
        ValueError: It cannot be read or fetched, or has fewer questions.
    """
    if not spec.mmlu_questions:
        return None
    if mmlu.must_be_fetched():
        yield fetching
        for _ in carried_out(lambda _: mmlu.fetch()):
            yield None
    test = mmlu.load(mmlu.folder())
    asked = mmlu.subset(test.questions, spec.mmlu_questions)
    return Exam(mmlu.Mmlu(test.shots, asked, test.notes), len(test.questions))


def examined(
    target: Target, exam: Exam, when: When, *, after: int = 0
) -> Generator[Event | None, None, tuple[Choice, ...]]:
    """Ask the questions, yielding how many are answered, and how many of them right.

    Args:
        target: The model.
        exam: The questions.
        when: Before or after unlearning.
        after: How much else of the scoring is done, in rows.
    """
    questions, told = exam.test.questions, 0
    work = answer(target, questions, exam.test.shots)
    while True:
        try:
            found = next(work)
        except StopIteration as end:
            return tuple(end.value)
        if (len(found) - told) * TOLD < len(questions) and len(found) < len(questions):
            yield None
            continue
        told = len(found)
        right = sum(picked(one) == one.right for one in found)
        yield Examined(when=when, asked=told, of=len(questions), right=right)
        yield Progressed(done=after + told, total=after + len(questions))
