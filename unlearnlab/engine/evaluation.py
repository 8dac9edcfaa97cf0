"""Scoring a model: the evidence for scores, probes during training, previews, official losses.

The organisers' script, `evaluate_generations.py` of December 2024, reads one row at a time with a
model in bfloat16. In float32 the answers in batches are the same. In bfloat16 they are those of the
same model and equally exact, but some differ: the rounding of a sum depends on the shape of the
batch, and decides where two tokens are nearly equally likely. A bfloat16 model is scored without
that with `EvaluationSpec.score_in_float32`.
"""

import math
import statistics
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from unlearnlab.data.datasets import SPLITS, TASKS, Kind, Row, Split, Task, dataset
from unlearnlab.engine import relay, result_of, silently
from unlearnlab.engine.generation import Generation, expected_stats, generate
from unlearnlab.engine.likelihoods import (
    Example,
    TokenStats,
    encode_continuation,
    encode_document,
    losses,
    token_stats,
)
from unlearnlab.engine.loading import Tokenizer
from unlearnlab.engine.mmlu import MmluSample, ask_mmlu
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics.documents import DocumentProbe, probed_document
from unlearnlab.metrics.measures import (
    exact_memorization,
    extraction_strength,
    min_k,
    min_k_plus_plus,
    truth_ratio,
    zlib_loss,
)
from unlearnlab.metrics.scores import (
    QUIZ_PROTOCOL,
    Answer,
    Choice,
    Evidence,
    HeldOutText,
    Membership,
    row_score,
)
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Event, Previewed, Probed, Progressed, Said, Saying, When
from unlearnlab.spec.rows import (
    PROBE_DOCUMENT_ROWS,
    PROBE_DOCUMENTS,
    PROBE_ROWS_AT_ONCE,
    PROBE_TOKENS,
    Dataset,
    QuizQuestion,
    evenly,
    probe_rows,
)
from unlearnlab.spec.run import ANSWER_TOKENS, PreviewSpec

PROTOCOL = 3
"""Version of the measurements, part of the key of stored evidence: raise it when they change."""

ASKED_QUESTIONS, ASKED_COMPLETIONS, ASKED_AT_ONCE = 32, 8, 8
"""Forget rows that are asked before training, and how many together."""

ASKED_S = 30
"""Seconds after which no further ones are asked."""

ASIDE = 24
"""Tokens by which an answer may be longer than the longest expected one."""

T = TypeVar("T")


def evaluate(
    lm: UnlearningModel,
    data: Dataset,
    *,
    max_new_tokens: int,
    mmlu_sample: MmluSample | None = None,
    when: When = "before",
    further: int = 0,
) -> Generator[Event | None, None, Evidence]:
    """Measure everything that the scores are computed from, yielding progress.

    Attacks need members and non-members, and the utility test needs questions: they are left out
    where the data have none. Held-out rows stand for non-members where `data.held_out` has some. An
    `mmlu_sample` takes the place of the data's own questions. The progress leaves room for
    `further` answers to be read, as `with_surprise` does.

    Raises:
        RunFailed: Losses of expected answers are nan or infinite: the model is broken.
    """
    rows: list[tuple[Split, Row]] = [(s, row) for s in SPLITS for row in data.rows(s)]
    total = len(rows) + (len(mmlu_sample.test.questions) if mmlu_sample else 0) + further
    answers = yield from _answer_rows(lm, rows, max_new_tokens=max_new_tokens, total=total)
    _check_finite(answers, when)
    membership, attacks = yield from silently(_membership(lm, data))
    if mmlu_sample:
        choices = yield from ask_mmlu(lm, mmlu_sample, when, after=len(rows), total=total)
        protocol = mmlu_sample.protocol(lm, choices)
    else:
        choices = yield from silently(quiz(lm, data.quiz))
        protocol = QUIZ_PROTOCOL if choices else ""
    text = yield from silently(_held_out_losses(lm, data))
    return Evidence(
        answers=answers,
        membership=membership,
        attacks=attacks,
        attack_protocol=data.held_out.protocol,
        held_out=text,
        choices=choices,
        utility_protocol=protocol,
    )


def _check_finite(answers: Sequence[Answer], when: When) -> None:
    broken = [one for one in answers if not math.isfinite(one.nll)]
    if broken:
        first = broken[0]
        number = 1 + [one for one in answers if one.split == first.split].index(first)
        ways = {
            "before": "take another model, or float32 (model.precision)",
            "after": "lower the learning rate, or use fewer epochs",
        }
        raise RunFailed(
            f"the {'original' if when == 'before' else 'trained'} model is broken: its loss is "
            f"{first.nll} for {len(broken)} of {len(answers)} rows, first row {number} of the "
            f"{first.split} set",
            ways[when],
        )


def _answer_rows(
    lm: UnlearningModel, rows: Sequence[tuple[Split, Row]], *, max_new_tokens: int, total: int
) -> Generator[Event | None, None, tuple[Answer, ...]]:
    """Generate an answer to every row, and measure the likelihood of the expected ones."""
    asked = [row for _, row in rows]
    answering = generate(
        lm,
        [row.input for row in asked],
        max_new_tokens=max_new_tokens,
        expected=[row.output for row in asked],
    )
    generated = yield from _progress(answering, total)
    stats = yield from silently(expected_stats(lm, asked, generated))
    ratios = yield from silently(truth_ratios(lm, asked))
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
            ended=one.finished_with_eos,
            score=row_score(row.kind, row.output, one.text),
            cut=len(of.tokens) > max_new_tokens,
            truth_ratio=ratio,
            exact_memorization=exact_memorization(of.likeliest, of.tokens) if of.tokens else None,
            extraction_strength=extraction_strength(of.likeliest, of.tokens) if of.tokens else None,
        )
        for (name, row), one, of, ratio in zip(rows, generated, stats, ratios, strict=True)
    )


ROWS_AT_ONCE = 64
"""Rows whose answers are read by the original model before the run can be stopped or asked."""

SCRAMBLED = 64
"""Expected answers whose words are read in random order."""


def with_surprise(
    lm: UnlearningModel, of: Evidence, *, after: int = 0
) -> Generator[Event | None, None, Evidence]:
    """Add how likely the original model finds the answers of the unlearned one, yielding progress.

    Fluent text costs a language model far less than words in random order, and garbled text about
    as much: both losses are measured after the rows' prompts. The original weights are in use only
    between two yields, so that prompts can be answered in between. The progress counts from
    `after`.
    """
    total = after + len(of.answers)
    asked = [(one.prompt, one.generated.strip()) for one in of.answers]
    reading = _under_original(lm, [one for one in asked if one[1]])
    sums = yield from relay(reading, lambda count: Progressed(done=after + count, total=total))
    found = iter(sums)
    surprises = [_mean(*next(found)) if said else None for _, said in asked]
    sample = evenly([one for one in of.answers if one.expected.strip()], SCRAMBLED)
    pool = [word for one in sample for word in one.expected.split()]
    Random(0).shuffle(pool)
    words = iter(pool)
    scrambled = [
        (one.prompt, " ".join(next(words) for _ in one.expected.split())) for one in sample
    ]
    sums = yield from silently(_under_original(lm, scrambled))
    nonsense = _mean(sum(loss for loss, _ in sums), sum(count for _, count in sums))
    answers = tuple(
        one.model_copy(update={"surprise": surprise})
        for one, surprise in zip(of.answers, surprises, strict=True)
    )
    return of.model_copy(update={"answers": answers, "nonsense": nonsense})


def _under_original(
    lm: UnlearningModel, texts: Sequence[tuple[str, str]]
) -> Generator[int, None, list[tuple[float, int]]]:
    """Compute summed loss in nats and number of tokens of each text after its prompt.

    Yields how many texts it has read.
    """
    found: list[tuple[float, int]] = []
    for first in range(0, len(texts), ROWS_AT_ONCE):
        examples = [
            encode_continuation(lm.prompts, *one) for one in texts[first : first + ROWS_AT_ONCE]
        ]
        examples = [replace(one, ids=one.ids[: lm.context]) for one in examples]
        with lm.original():
            found += result_of(losses(lm, examples))
        yield len(found)
    return found


def _mean(loss: float, tokens: int) -> float | None:
    """Return the loss per token; none without tokens, or if it is not finite."""
    return loss / tokens if tokens and math.isfinite(loss) else None


def _progress(work: Generator[int, None, T], total: int) -> Generator[Event | None, None, T]:
    """Turn counts of finished rows into progress events, and unchanged counts into None."""
    reported = -1

    def event(done: int) -> Event | None:
        nonlocal reported
        changed, reported = done != reported, done
        return Progressed(done=done, total=total) if changed else None

    return relay(work, event)


def _loss(of: TokenStats) -> float:
    """Return the mean loss in nats per token; 0 for an empty answer."""
    return of.loss if of.tokens else 0.0


def truth_ratios(
    lm: UnlearningModel, rows: Sequence[Row]
) -> Generator[int, None, list[float | None]]:
    """Compute each row's truth ratio of wrong answers to the paraphrase, yielding progress.

    None for rows without such answers, and where the loss of an answer is not finite.
    """
    examples = [
        encode_continuation(lm.prompts, row.input, answer)
        for row in rows
        for answer in row.alternatives
    ]
    found = iter((yield from token_stats(lm, examples)))
    ratios: list[float | None] = []
    for row in rows:
        of = [next(found).logprobs for _ in row.alternatives]
        finite = all(one and all(map(math.isfinite, one)) for one in of)
        ratios.append(truth_ratio(of[0], of[1:]) if of and finite else None)
    return ratios


def _membership(
    lm: UnlearningModel, data: Dataset
) -> Generator[int, None, tuple[Membership | None, dict[str, Membership]]]:
    """Compute the loss of each document, and its score in each further attack."""
    sides = data.members, data.nonmembers
    if not all(sides):
        sides = data.held_out.members, data.held_out.nonmembers
    if not all(sides):
        return None, {}
    documents = [*sides[0], *sides[1]]
    examples = [encode_document(lm.prompts, text) for text in documents]
    stats = yield from token_stats(lm, examples, moments=True)

    members = len(sides[0])

    def both(attack: Callable[[TokenStats, str], float]) -> Membership:
        # A text of one token has no predicted token, and no loss.
        of = [
            attack(one, text) if one.tokens else float("nan")
            for one, text in zip(stats, documents, strict=True)
        ]
        return Membership(member=tuple(of[:members]), nonmember=tuple(of[members:]))

    attacks = {
        "min_k": both(lambda of, _: min_k(of.logprobs)),
        "min_k_plus_plus": both(lambda of, _: min_k_plus_plus(of.logprobs, of.means, of.stds)),
        "zlib_loss": both(lambda of, text: zlib_loss(of.loss, text)),
    }
    return both(lambda of, _: of.loss), attacks


def _held_out_losses(
    lm: UnlearningModel, data: Dataset
) -> Generator[int, None, HeldOutText | None]:
    """Compute the losses of held-out text; those that exceed the context are cut."""
    examples = [encode_document(lm.prompts, text) for text in data.held_out.text]
    cut = [replace(one, ids=one.ids[: lm.context]) for one in examples if len(one.ids) > 1]
    if not cut:
        return None
    found = yield from losses(lm, cut)
    return HeldOutText(
        source=data.held_out.source,
        losses=tuple(total / count for total, count in found),
        tokens=tuple(count for _, count in found),
    )


def quiz(
    lm: UnlearningModel, questions: Sequence[QuizQuestion]
) -> Generator[int, None, tuple[Choice, ...]]:
    """Compute the log-likelihood of each option after the question and one space, in nats."""
    examples = [
        encode_continuation(lm.prompts, question.question, option)
        for question in questions
        for option in question.choices
    ]
    found = iter((yield from losses(lm, examples)))
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
    """A small fixed set of rows, measured again and again during training."""

    rows: tuple[tuple[Split, Row], ...]
    documents: Mapping[int, Sequence[Row]] = field(default_factory=dict[int, Sequence[Row]])
    """Rows of forget documents, by the document's place in the forget set, from 1."""
    of_documents: int = 0
    """Count of the forget documents."""
    watched: tuple[tuple[Split, Row], ...] = ()
    """Rows whose answers are shown, each with the set whose goal it has."""
    start: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    """Losses of these rows in the first probe, which later ones are compared with."""

    @classmethod
    def of(
        cls,
        data: Dataset,
        tasks: Collection[Task] = TASKS,
        watched: Sequence[tuple[Split, Row]] = (),
    ) -> "Probe":
        """Take rows at regular intervals from each set, and documents from the forget set.

        Args:
            data: What is forgotten and retained.
            tasks: Subtasks that are to be forgotten, to choose documents from.
            watched: Rows whose answers are shown, each with the set whose goal it has.
        """
        documents: dict[str, list[Row]] = {}
        for row in data.forget:
            documents.setdefault(row.document, []).append(row)
        numbered = [(n, of) for n, of in enumerate(documents.values(), 1) if of[0].task in tasks]
        return cls(
            probe_rows(data),
            {n: of[:PROBE_DOCUMENT_ROWS] for n, of in evenly(numbered, PROBE_DOCUMENTS)},
            len(numbered),
            tuple(watched),
        )

    def run(self, lm: UnlearningModel, *, step: int) -> Generator[Event | None, None, None]:
        """Generate an answer to every row; yield the mean scores as `Probed`, then what is said.

        Watched rows that are not among the measured ones are answered in the same batch.
        """
        probed = [row for _, row in self.rows]
        known = set(probed)
        rows = [*probed, *(row for _, row in self.watched if row not in known)]
        answers = yield from _answer_briefly(lm, rows)
        nlls = [_loss(stats) for _, stats in answers[: len(probed)]]
        scores = [
            row_score(row.kind, row.output, answer.text)
            for row, (answer, _) in zip(probed, answers, strict=False)
        ]

        def means(kinds: tuple[Kind, ...], values: Sequence[float]) -> dict[str, float]:
            found: dict[str, list[float]] = {}
            for (name, row), value in zip(self.rows, values, strict=True):
                if row.kind in kinds:
                    found.setdefault(name, []).append(value)
            return {name: statistics.fmean(of) for name, of in found.items()}

        documents = yield from silently(self._documents(lm))
        yield Probed(
            step=step,
            knowledge=means(("qa",), scores),
            regurgitation=means(("sc",), scores),
            nll=means(("qa", "sc"), nlls),
            documents=documents,
            of_documents=self.of_documents,
        )
        if self.watched:
            found = dict(zip(rows, answers, strict=True))
            yield Said(
                step=step,
                sayings=tuple(_saying(lm, *one, *found[one[1]]) for one in self.watched),
            )

    def _documents(self, lm: UnlearningModel) -> Generator[int, None, tuple[DocumentProbe, ...]]:
        """Measure the losses of the documents' rows, and compare them with the first probe."""
        examples = [
            encode_continuation(lm.prompts, row.input, row.output)
            for rows in self.documents.values()
            for row in rows
        ]
        # By length: questions beside a completion would be mostly padding.
        order = sorted(range(len(examples)), key=lambda at: len(examples[at].ids))
        measured: dict[int, float] = {}
        # Gradients and moments are held beside: a large pass would need more than a step does.
        for first in range(0, len(order), PROBE_ROWS_AT_ONCE):
            some = order[first : first + PROBE_ROWS_AT_ONCE]
            means = yield from _mean_losses(lm, [examples[at] for at in some])
            measured.update(zip(some, means, strict=True))
        found = iter(measured[at] for at in range(len(examples)))
        now = {number: [next(found) for _ in rows] for number, rows in self.documents.items()}
        if not self.start:
            self.start.update(now)
        return tuple(probed_document(n, self.start[n], of) for n, of in now.items())


def _answer_briefly(
    lm: UnlearningModel, rows: Sequence[Row]
) -> Generator[None, None, list[tuple[Generation, TokenStats]]]:
    """Answer rows in at most `PROBE_TOKENS`, with the statistics of each expected answer."""
    generated = yield from silently(
        generate(
            lm,
            [row.input for row in rows],
            max_new_tokens=PROBE_TOKENS,
            expected=[row.output for row in rows],
        )
    )
    stats = yield from silently(expected_stats(lm, rows, generated))
    return list(zip(generated, stats, strict=True))


def _saying(
    lm: UnlearningModel, split: Split, row: Row, answer: Generation, stats: TokenStats
) -> Saying:
    """Give each word of the true answer the product of its tokens' probabilities."""
    words = lm.prompts.answer_words(row.input, row.output, len(stats.tokens))
    return Saying(
        row=row.id,
        split=split,
        task=row.task,
        row_kind=row.kind,
        prompt=row.input,
        expected=row.output,
        text=answer.text.strip(),
        ended=answer.finished_with_eos,
        words=tuple((word, _probability([stats.logprobs[at] for at in of])) for word, of in words),
        likelihood=_probability(stats.logprobs),
    )


def _probability(logprobs: Sequence[float]) -> float:
    """Return the probability of tokens in a row, 0 to 1; nan without tokens or numbers."""
    total = sum(logprobs)
    return math.nan if not logprobs or math.isnan(total) else math.exp(min(0.0, total))


def ask_what_is_known(
    lm: UnlearningModel, rows: Sequence[Row], *, max_new_tokens: int
) -> Generator[Event | None, None, tuple[Answer, ...]]:
    """Answer a sample of forget rows for at most half a minute, yielding progress.

    Answers may be a little longer than the expected ones, so that these can stand in a sentence.
    """
    kinds = (("qa", ASKED_QUESTIONS), ("sc", ASKED_COMPLETIONS))
    sample = [r for kind, n in kinds for r in evenly([r for r in rows if r.kind == kind], n)]
    longest = max(len(lm.prompts.answered(row.input, row.output)) for row in sample)
    shortest = min(len(lm.prompts.prompt(row.input)) for row in sample)
    limit = min(max_new_tokens, longest - shortest + ASIDE)
    found: list[Answer] = []
    began = time.monotonic()
    for first in range(0, len(sample), ASKED_AT_ONCE):
        some = sample[first : first + ASKED_AT_ONCE]
        batch: list[tuple[Split, Row]] = [("forget", row) for row in some]
        work = _answer_rows(lm, batch, max_new_tokens=limit, total=len(batch))
        found += yield from silently(work)
        yield Progressed(done=len(found), total=len(sample))
        if time.monotonic() - began > ASKED_S:
            break
    return tuple(found)


def preview(lm: UnlearningModel, spec: PreviewSpec) -> Generator[Event | None, None, None]:
    """Generate answers to rows of a forget set, yielding progress and finally `Previewed`.

    Rows that leave no room for an answer in the model's context are left out.

    Raises:
        ValueError: The dataset is missing, or holds none of the rows.
    """
    known = dataset(spec.source)
    if known.unknown_reason:
        raise ValueError(f"source: {known.unknown_reason}")
    wanted = set(spec.rows)
    rows = [row for row in known.rows("forget", spec.fold) if row.id in wanted]
    if not rows:
        raise ValueError(f"rows: none of them is in the forget set of {spec.source} any more")
    longest = lm.context - ANSWER_TOKENS
    rows = [row for row in rows if 0 < len(lm.prompts.prompt(row.input)) <= longest]
    answers: list[Generation] = []
    if rows:
        work = generate(lm, [row.input for row in rows], max_new_tokens=ANSWER_TOKENS)
        answers = yield from relay(work, lambda done: Progressed(done=done, total=len(rows)))
    found = {row.id: one.text.strip() for row, one in zip(rows, answers, strict=True)}
    yield Previewed(answers=found)


MAX_NEW_TOKENS = 256
"""Longest answer, in tokens."""


@dataclass(frozen=True, slots=True)
class OfficialAnswer:
    """Answer and losses of one row."""

    generated: str
    ended: bool
    """Whether the answer ended with EOS before the limit."""
    nll: float
    """The script's loss: mean over `input + output` after the tokens of `input`, in nats."""
    spaced_nll: float
    """Our loss: mean over the output after one space, in nats."""


def glued(tokenizer: Tokenizer, row: Row) -> Example:
    """Tokenise `input + output` as the script does, masking as many tokens as `input` alone has."""
    ids = tokenizer.encode(row.input + row.output)
    return Example(tuple(ids), min(len(tokenizer.encode(row.input)), len(ids)))


def official_answers(
    lm: UnlearningModel, rows: Sequence[Row], *, max_new_tokens: int = MAX_NEW_TOKENS
) -> Generator[int, None, list[OfficialAnswer]]:
    """Answer every row and compute both losses, yielding how many rows are answered.

    The script decodes with the tokenizer's `decode`, and so does `generate`. In the versions of
    transformers that the script was written for, `decode` also took the spaces before punctuation
    away where the tokenizer's configuration asks for it; since version 5 it leaves the text of BPE
    tokenizers, those of OLMo and its like, as it is.

    Raises:
        ValueError: A row leaves no room for an answer in the model's context.
    """
    answers = yield from generate(
        lm,
        [row.input for row in rows],
        max_new_tokens=max_new_tokens,
        expected=[row.output for row in rows],
    )
    nlls = yield from relay(
        _mean_losses(lm, [glued(lm.tokenizer, row) for row in rows]), lambda _: len(rows)
    )
    spaced = [one.loss for one in (yield from expected_stats(lm, rows, answers))]
    return [
        OfficialAnswer(one.text, one.finished_with_eos, nll, spaced_nll)
        for one, nll, spaced_nll in zip(answers, nlls, spaced, strict=True)
    ]


def document_losses(
    lm: UnlearningModel, documents: Sequence[str]
) -> Generator[int, None, list[float]]:
    """Compute the mean loss of each document in nats per token, yielding how many are done.

    Raises:
        ValueError: A document does not fit the model's context.
    """
    examples = [encode_document(lm.prompts, text) for text in documents]
    long = [(len(e.ids), n) for n, e in enumerate(examples, 1) if len(e.ids) > lm.context]
    if long:
        tokens, number = max(long)
        raise ValueError(
            f"document {number} of the attack has {tokens} tokens, more than the model's context "
            f"of {lm.context}: shorten it"
        )
    return (yield from _mean_losses(lm, examples))


def _mean_losses(
    lm: UnlearningModel, examples: Sequence[Example]
) -> Generator[int, None, list[float]]:
    """Compute mean losses, yielding how many are done; nan without tokens, as in the script."""
    sums = yield from losses(lm, examples)
    return [total / count if count else float("nan") for total, count in sums]
