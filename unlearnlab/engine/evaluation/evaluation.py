"""Asking a model everything the scores need, and the small probe that runs while it trains."""

import math
import statistics
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from unlearnlab.data.datasets import Kind, Split
from unlearnlab.engine.evaluation.generation import expected_readings, generate
from unlearnlab.engine.evaluation.mmlu_run import Exam, examined
from unlearnlab.engine.evaluation.token_stats import Reading, readings
from unlearnlab.engine.model.data import Row, encode_continuation, encode_document
from unlearnlab.engine.model.likelihoods import losses
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.metrics.measures import (
    exact_memorization,
    extraction_strength,
    min_k,
    min_k_plus_plus,
    truth_ratio,
    zlib_loss,
)
from unlearnlab.metrics.scores import QUIZ_PROTOCOL, Answer, Choice, Evidence, Membership, row_score
from unlearnlab.runs.events import Event, Probed, Progressed, When
from unlearnlab.spec.batches import PROBE_COMPLETIONS, PROBE_QUESTIONS, PROBE_TOKENS
from unlearnlab.spec.rows import SETS, Dataset, QuizQuestion

PROTOCOL = 2
"""Part of the key of kept evidence; to be raised whenever what is measured changes."""

T = TypeVar("T")


def evaluate(
    target: Target,
    data: Dataset,
    *,
    max_new_tokens: int,
    exam: Exam | None = None,
    when: When = "before",
) -> Generator[Event | None, None, Evidence]:
    """Measure all that the scores are computed from, yielding progress.

    What the data have no rows for is not measured: the attack without members or non-members, the
    utility test without questions.

    Args:
        target: The model.
        data: What it is asked.
        max_new_tokens: Longest answer.
        exam: MMLU questions to be asked in place of the data's own.
        when: Before or after unlearning.
    """
    rows: list[tuple[Split, Row]] = [(s, row) for s in SETS for row in data.rows(s)]
    total = len(rows) + (len(exam.test.questions) if exam else 0)
    answers = yield from _answers(target, rows, max_new_tokens=max_new_tokens, total=total)
    membership, attacks = yield from _silently(_membership(target, data))
    if exam:
        choices = yield from examined(target, exam, when, after=len(rows))
        protocol = exam.protocol(target)
    else:
        choices = yield from _silently(quiz(target, data.quiz))
        protocol = QUIZ_PROTOCOL if choices else ""
    return Evidence(
        answers=answers,
        membership=membership,
        attacks=attacks,
        choices=choices,
        utility_protocol=protocol,
    )


def _answers(
    target: Target, rows: Sequence[tuple[Split, Row]], *, max_new_tokens: int, total: int
) -> Generator[Event | None, None, tuple[Answer, ...]]:
    """Ask the model every row, and measure what it makes of the answers it should give."""
    asked = [row for _, row in rows]
    answering = generate(
        target,
        [row.input for row in asked],
        max_new_tokens=max_new_tokens,
        expected=[row.output for row in asked],
    )
    said = yield from _reporting(answering, total)
    read = yield from _silently(expected_readings(target, asked, said))
    ratios = yield from _silently(truth_ratios(target, asked))
    return tuple(
        Answer(
            row=row.id,
            split=name,
            task=row.task,
            kind=row.kind,
            prompt=row.input,
            expected=row.output,
            generated=one.text,
            nll=_loss(of),
            ended=one.ended,
            score=row_score(row.kind, row.output, one.text),
            truth_ratio=ratio,
            **_memorised(of),
        )
        for (name, row), one, of, ratio in zip(rows, said, read, ratios, strict=True)
    )


def _reporting(work: Generator[int, None, T], total: int) -> Generator[Event | None, None, T]:
    """Turn counts of finished rows into progress, sent only when the count has moved."""
    reported = -1
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            return end.value
        yield Progressed(done=done, total=total) if done != reported else None
        reported = done


def _silently(work: Generator[object, None, T]) -> Generator[None, None, T]:
    """Pass on that a run may be stopped here, and nothing else."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
        yield None


def _loss(of: Reading) -> float:
    """Return a mean loss in nats per token; 0 where nothing was expected."""
    return of.loss if of.tokens else 0.0


def _memorised(of: Reading) -> dict[str, float]:
    if not of.tokens:
        return {}
    return {
        "exact_memorization": exact_memorization(of.likeliest, of.tokens),
        "extraction_strength": extraction_strength(of.likeliest, of.tokens),
    }


def truth_ratios(target: Target, rows: Sequence[Row]) -> Generator[int, None, list[float | None]]:
    """Set each row's wrong answers against its paraphrase; none where it has no such answers.

    None too where the model gives an answer no finite loss: it then prefers nothing.
    """
    examples = [
        encode_continuation(target.tokenizer, row.input, answer)
        for row in rows
        for answer in row.alternatives
    ]
    found = iter((yield from readings(target, examples)))
    ratios: list[float | None] = []
    for row in rows:
        of = [next(found).logprobs for _ in row.alternatives]
        finite = all(one and all(map(math.isfinite, one)) for one in of)
        ratios.append(truth_ratio(of[0], of[1:]) if of and finite else None)
    return ratios


def _membership(
    target: Target, data: Dataset
) -> Generator[int, None, tuple[Membership | None, dict[str, Membership]]]:
    """Measure what the attacks go by: the losses of documents, and what stands in for them."""
    if not data.members or not data.nonmembers:
        return None, {}
    documents = [*data.members, *data.nonmembers]
    examples = [encode_document(target.tokenizer, text) for text in documents]
    read = yield from readings(target, examples, moments=True)

    members = len(data.members)

    def sides(attack: Callable[[Reading, str], float]) -> Membership:
        # A text of one token has nothing to be predicted, and no loss.
        of = [
            attack(one, text) if one.tokens else float("nan")
            for one, text in zip(read, documents, strict=True)
        ]
        return Membership(member=tuple(of[:members]), nonmember=tuple(of[members:]))

    attacks = {
        "min_k": sides(lambda of, _: min_k(of.logprobs)),
        "min_k_plus_plus": sides(lambda of, _: min_k_plus_plus(of.logprobs, of.means, of.stds)),
        "zlib_loss": sides(lambda of, text: zlib_loss(of.loss, text)),
    }
    return sides(lambda of, _: of.loss), attacks


def quiz(
    target: Target, questions: Sequence[QuizQuestion]
) -> Generator[int, None, tuple[Choice, ...]]:
    """Compute the log-likelihood of each option's text after the question and one space."""
    examples = [
        encode_continuation(target.tokenizer, question.question, option)
        for question in questions
        for option in question.choices
    ]
    found = iter((yield from losses(target, examples)))
    return tuple(
        Choice(
            question=question.question,
            subject=question.subject,
            options=question.choices,
            right=question.answer,
            logprobs=tuple(-next(found)[0] for _ in question.choices),
        )
        for question in questions
    )


@dataclass(frozen=True, slots=True)
class Probe:
    """A fixed handful of rows, asked again and again while the model trains."""

    rows: tuple[tuple[Split, Row], ...]

    @classmethod
    def of(cls, data: Dataset) -> "Probe":
        """Take rows evenly from all over each set."""
        return cls(
            tuple(
                (name, row)
                for name in SETS
                for kind, count in (("qa", PROBE_QUESTIONS), ("sc", PROBE_COMPLETIONS))
                for row in _evenly([r for r in data.rows(name) if r.kind == kind], count)
            )
        )

    def run(self, target: Target, *, step: int) -> Generator[Event | None, None, None]:
        """Ask every row and yield what was found."""
        rows = [row for _, row in self.rows]
        said = yield from _silently(
            generate(
                target,
                [row.input for row in rows],
                max_new_tokens=PROBE_TOKENS,
                expected=[row.output for row in rows],
            )
        )
        read = yield from _silently(expected_readings(target, rows, said))
        nlls = [_loss(one) for one in read]
        scores = [
            row_score(row.kind, row.output, answer.text)
            for row, answer in zip(rows, said, strict=True)
        ]

        def means(kinds: tuple[Kind, ...], values: Sequence[float]) -> dict[str, float]:
            found: dict[str, list[float]] = {}
            for (name, row), value in zip(self.rows, values, strict=True):
                if row.kind in kinds:
                    found.setdefault(name, []).append(value)
            return {name: statistics.fmean(of) for name, of in found.items()}

        yield Probed(
            step=step,
            knowledge=means(("qa",), scores),
            regurgitation=means(("sc",), scores),
            nll=means(("qa", "sc"), nlls),
        )


def _evenly(rows: Sequence[Row], count: int) -> Sequence[Row]:
    step = max(1, len(rows) // count)
    return rows[::step][:count]
