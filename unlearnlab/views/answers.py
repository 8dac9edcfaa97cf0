"""Answers of models: before and after joined, filtered, sorted, compared, marked and masked."""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from typing import Any, Literal, get_args

from unlearnlab.data.datasets import EMBEDDED_NAME, Kind, Split
from unlearnlab.data.vocabulary import corpus_words
from unlearnlab.metrics.labels import OUTCOMES, Label, Mood, Outcome, Yardstick, mood
from unlearnlab.metrics.measures import retrained_answers
from unlearnlab.metrics.scores import Answer, Evidence, common_answer, reproduced
from unlearnlab.metrics.secrets import Secret
from unlearnlab.runs.events import Asked, Reply
from unlearnlab.spec.run import DataSpec, ModelSpec, RunSpec
from unlearnlab.views.says import bare

PAGE = 20
"""Rows on one page of the table."""

EXCERPT = 90
"""Characters of a prompt in a list."""

DAMAGE = 0.1
"""A retain row is damaged if it lost more than this of its score."""

HALF = 0.5
"""An answer with a lower official score counts as rather forgotten."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One row of the data with the answers of both models."""

    row: str
    """Its id."""
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
    label: Label
    """Of the unlearned model's answer, or of the original's until then."""
    judged: bool = True
    """Whether a term counts the row: forget rows that were not picked are part of no term."""
    taught: bool = False
    """Whether the run teaches the row, so that reciting it is the goal."""

    @property
    def wished(self) -> Split:
        """Return the set whose goal the row has.

        Forget rows that were not picked should stay, and those that are taught should be known.
        """
        return self.split if self.judged and not self.taught else "retain"

    @property
    def outcome(self) -> Outcome:
        """Return the label in one word."""
        return self.label.outcome

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Return the secrets that the labelled answer holds and should not."""
        return self.label.secrets if self.wished == "forget" else ()

    @property
    def leaks(self) -> bool:
        """Return whether the unlearned model still gives an answer that it should forget."""
        return self.wished == "forget" and self.unlearned is not None and self.outcome == "leaked"

    @property
    def unscored_leak(self) -> bool:
        """Return whether the official score counts an answer that leaks as rather forgotten."""
        return self.leaks and self.unlearned_score is not None and self.unlearned_score < HALF

    @property
    def damaged(self) -> bool:
        """Return whether a row that should stay lost its score, and not by Unicode form alone."""
        lost = self.wished == "retain" and (self.score_lost or 0.0) > DAMAGE
        return lost and not self.label.form_only

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
        """Return whether the label is good or bad news."""
        return mood(self.outcome, self.wished, damaged=self.damaged)


def likelihood(answer: Answer) -> float | None:
    """Return the likelihood of the expected answer, 0 to 1: the geometric mean over its tokens.

    Returns:
        None where there is none: nothing is expected, or the model's loss is not a number.
    """
    if math.isnan(answer.nll) or not answer.expected.strip():
        return None
    return math.exp(-max(0.0, answer.nll))


def yardstick(spec: RunSpec, evidence: Evidence) -> Yardstick:
    """Return what the answers of a run are labelled by.

    The embedded data have a retrained model, which tells what can be guessed; the embedded model,
    and models that a run made of it, have a vocabulary.
    """
    model, data = spec.model, spec.data
    embedded = ModelSpec().name in (model.name, model.known.made.get("model"))
    return Yardstick.of(
        evidence,
        guesses=retrained_answers().get(data.fold) if data.source == EMBEDDED_NAME else None,
        vocabulary=corpus_words() if embedded else None,
    )


def joined_of(spec: RunSpec, before: Evidence, after: Evidence | None) -> tuple[AnswerRow, ...]:
    """Join the answers of both models of a run by row, labelled by what is known of its data."""
    by = yardstick(spec, after or before)
    return joined(before, after, spec.data.forget, by, taught=spec.taught)


def joined(
    before: Evidence,
    after: Evidence | None,
    picked: Collection[str] | None = None,
    by: Yardstick | None = None,
    *,
    taught: Collection[str] = (),
) -> tuple[AnswerRow, ...]:
    """Join the answers of both models by row.

    Args:
        before: Of the original model.
        after: Of the unlearned one, if it was scored.
        picked: Ids of the forget rows that are judged; None judges all.
        by: What the answers are labelled by; default: the rows themselves.
        taught: Sets that the run teaches.
    """
    by = by or Yardstick.of(after or before)
    later = {answer.row: answer for answer in after.answers} if after else {}
    wanted = None if picked is None else set(picked)
    return tuple(
        AnswerRow(
            row=one.row,
            split=one.split,
            task=one.task,
            kind=one.kind,
            prompt=one.prompt,
            expected=one.expected,
            original=one.generated,
            original_score=one.score,
            original_likelihood=likelihood(one),
            unlearned=other.generated if other else None,
            unlearned_score=other.score if other else None,
            unlearned_likelihood=likelihood(other) if other else None,
            label=by.label(other or one),
            judged=wanted is None or one.split == "retain" or one.row in wanted,
            taught=one.split in taught,
        )
        for one in before.answers
        for other in (later.get(one.row),)
    )


# ---- filters, counts, sorting

Show = Literal["forget", "others", "retain", "leaks", "damaged", "all"]
"""Which rows the table shows; "others" are forget rows that were not picked."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the reader asked to see."""

    show: Show = "forget"
    task: str = ""
    """Empty for all."""
    kind: str = ""
    """Empty for both."""
    text: str = ""
    """Words that must occur in the row."""
    labels: Collection[Outcome] = ()
    """Labels of which a row must have one; empty for all."""


def counts(rows: Iterable[AnswerRow]) -> Mapping[Show, int]:
    """Count the rows under each choice."""
    found: dict[Show, int] = dict.fromkeys(get_args(Show), 0)
    for row in rows:
        found["all"] += 1
        found[row.split if row.judged else "others"] += 1
        found["leaks"] += row.leaks
        found["damaged"] += row.damaged
    return found


@dataclass(frozen=True, slots=True)
class Leaks:
    """How many forget rows still leak."""

    rows: int
    """Forget rows that are judged."""
    leaking: int
    unscored: int
    """Leaking rows that the official score calls rather forgotten. It stays what it is: it counts
    words and whole strings, and misses a secret that is hidden in other text."""
    secrets: int
    """Leaking rows whose answer holds a secret."""

    @property
    def text(self) -> str:
        """Say it within a sentence."""
        told = f"{self.leaking} of {self.rows} forget rows still leak"
        if self.unscored:
            told += f", {self.unscored} of them with an official score below {HALF}"
        return told


def leaks_of(rows: Iterable[AnswerRow]) -> Leaks:
    """Count the forget rows that still leak."""
    judged = [row for row in rows if row.split == "forget" and row.judged]
    leaking = [row for row in judged if row.leaks]
    return Leaks(
        len(judged),
        len(leaking),
        sum(row.unscored_leak for row in leaking),
        sum(bool(row.secrets) for row in leaking),
    )


def label_counts(rows: Iterable[AnswerRow], by: Filter) -> Mapping[Outcome, int]:
    """Count the rows that each label would show under the other filters."""
    found = dict.fromkeys(OUTCOMES, 0)
    for row in chosen(rows, replace(by, labels=())):
        found[row.outcome] += 1
    return found


def chosen(rows: Iterable[AnswerRow], by: Filter) -> tuple[AnswerRow, ...]:
    """Return the rows that pass the filter."""
    words = by.text.lower().split()

    def shown(row: AnswerRow) -> bool:
        if by.show in ("leaks", "damaged"):
            return row.leaks if by.show == "leaks" else row.damaged
        return by.show in ("all", row.split if row.judged else "others")

    def says(row: AnswerRow) -> bool:
        texts = (row.row, row.prompt, row.expected, row.original, row.unlearned or "")
        said = " ".join(texts).lower()
        return all(word in said for word in words)

    return tuple(
        row
        for row in rows
        if shown(row)
        and by.task in ("", row.task)
        and by.kind in ("", row.kind)
        and (not by.labels or row.outcome in by.labels)
        and (not words or says(row))
    )


SortKey = Literal[
    "data",
    "prompt",
    "expected",
    "original",
    "unlearned",
    "label",
    "score",
    "score_before",
    "score_lost",
    "likelihood",
    "likelihood_before",
    "likelihood_lost",
]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)

TEXTS: frozenset[SortKey] = frozenset({"prompt", "expected", "original", "unlearned", "label"})
"""Columns that are first sorted from A; numbers are first sorted from the highest."""

_FIELDS: Mapping[SortKey, str] = {
    "score": "unlearned_score",
    "score_before": "original_score",
    "likelihood": "unlearned_likelihood",
    "likelihood_before": "original_likelihood",
}
"""Attributes of a row that are named differently from their sort key."""


@dataclass(frozen=True, slots=True)
class Order:
    """How the rows are sorted."""

    key: SortKey = "data"
    """The column, or "data" for the order of the data."""
    descending: bool = False

    def pressed(self, key: SortKey) -> "Order":
        """Return the order after a click on a column: its own, the other way, the data's."""
        first = key not in TEXTS
        if self.key != key:
            return Order(key, first)
        return Order(key, not first) if self.descending == first else Order()


def in_order(rows: Sequence[AnswerRow], order: Order) -> Sequence[AnswerRow]:
    """Sort rows; those without a value come last either way, and equals stay as they were.

    As long as the unlearned model was not scored, the original's scores stand in.
    """
    key = order.key
    if key == "data":
        return rows[::-1] if order.descending else rows
    scored = any(row.unlearned is not None for row in rows)
    if not scored and key in ("score", "likelihood"):
        key = "score_before" if key == "score" else "likelihood_before"

    def value(row: AnswerRow) -> Any:
        if key == "label":
            return OUTCOMES.index(row.outcome)
        found = getattr(row, _FIELDS.get(key, key))
        return found.lower() if isinstance(found, str) else found

    there = [row for row in rows if value(row) is not None]
    there.sort(key=value, reverse=order.descending)
    return [*there, *(row for row in rows if value(row) is None)]


# ---- recited words, and personal data


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an answer."""

    text: str
    recited: bool
    """Whether its words stand in the expected answer, in the same order."""
    secret: bool = False
    """Whether it is a secret of the expected answer."""
    changed: bool = False
    """Whether its words do not stand in the other model's answer, in the same order."""


def marked(
    expected: str, generated: str, secrets: Sequence[Secret] = (), other: str | None = None
) -> tuple[Span, ...]:
    """Cut an answer into stretches that are recited, that are secrets, and the others.

    Words are compared without case and without the punctuation around them. A short word that
    matches alone in a long text is left unmarked, and so is a common answer such as "no" within a
    sentence. A secret is marked whatever it is glued to.

    Args:
        expected: The expected answer.
        generated: The answer.
        secrets: Secrets that it holds.
        other: The other model's answer; words that it lacks are changed. None marks no changes.
    """
    pieces = re.findall(r"\S+|\s+", generated)
    places = [i for i, piece in enumerate(pieces) if not piece.isspace()]
    theirs, ours = [bare(word) for word in expected.split()], [bare(pieces[i]) for i in places]
    blocks = difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks()
    recited = [False] * len(pieces)
    if common_answer(expected) and not reproduced(expected, generated):
        blocks = []
    for block in blocks:
        word = ours[block.b] if block.size == 1 else ""
        # One word alone is worth a mark unless it is an "a" that any long text has.
        if block.size > 1 or (word and (len(word) > 3 or len(theirs) < 6 or not word.isalpha())):
            # From the first word of the stretch to its last, with the spaces between them.
            first, last = places[block.b], places[block.b + block.size - 1]
            recited[first : last + 1] = [True] * (last + 1 - first)
    letters = [hit for piece, hit in zip(pieces, recited, strict=True) for _ in piece]
    secret = [False] * len(generated)
    for start, end in (span for one in secrets for span in one.spans(generated)):
        secret[start:end] = [True] * (end - start)
    changed = _changed(pieces, places, ours, other)
    looks = zip(generated, letters, secret, changed, strict=True)
    return tuple(
        Span("".join(one[0] for one in stretch), *look)
        for look, stretch in groupby(looks, key=lambda one: one[1:])
    )


def _changed(
    pieces: Sequence[str], places: Sequence[int], ours: Sequence[str], other: str | None
) -> list[bool]:
    """Tell of each letter of an answer whether its word is missing in another answer.

    Args:
        pieces: Words and blanks of the answer, in order.
        places: Places of the words among them.
        ours: The words, bare.
        other: The other answer, if there is one.
    """
    found = [False] * len(pieces)
    if other is not None:
        theirs = [bare(word) for word in other.split()]
        for kind, _, _, begin, end in difflib.SequenceMatcher(
            None, theirs, ours, autojunk=False
        ).get_opcodes():
            if kind != "equal" and end > begin:  # With the blanks between the words.
                first, last = places[begin], places[end - 1]
                found[first : last + 1] = [True] * (last + 1 - first)
    return [new for piece, new in zip(pieces, found, strict=True) for _ in piece]


_EMAIL = re.compile(r"[\w.+\\-]+@[\w.-]*")
"""An e-mail address, or what the end of an answer has left of one."""

_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
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
    hidden = re.sub(r"\d", "#", hidden)
    return _WORD.sub(lambda found: _masked(found[0]), hidden)


def hidden(text: str) -> str:
    """Hide every letter and digit of a text that is personal as a whole."""
    return re.sub(r"[^\W\d_]", "•", re.sub(r"\d", "#", text))


def _masked(word: str) -> str:
    if not word[0].isupper() or word.lower().split("'")[0] in _COMMON:
        return word
    return "".join("•" if letter.isalpha() else letter for letter in word)


def hidden_spans(found: Sequence[Span], hide: Callable[[str], str]) -> tuple[Span, ...]:
    """Hide the personal data of an answer that was cut, also what a cut goes through.

    Args:
        found: The answer in stretches.
        hide: Hides what is personal in a text, and keeps its length: `mask`, or `str`.
    """
    ends = list(accumulate((len(one.text) for one in found), initial=0))
    text = hide("".join(one.text for one in found))
    return tuple(
        replace(one, text=text[start:end])
        for one, (start, end) in zip(found, pairwise(ends), strict=True)
    )


# ---- one example, answered by several models


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model with its answers: the original, the retrained one, or that of a run."""

    name: str
    evidence: Evidence | None
    """None where its answers are not stored."""
    run_id: str = ""
    """Empty for the original and the retrained model."""
    spec: RunSpec | None = None
    """A run on its data: with the evidence, it tells by what its answers are labelled."""


@dataclass(frozen=True, slots=True)
class Said:
    """The answer of one model."""

    name: str
    run_id: str
    spans: tuple[Span, ...]
    """The answer, cut where it recites; empty if the model answered nothing."""
    score: float | None
    """None if the model was not asked."""
    label: Label | None
    wished: Split
    """The set whose goal the row has in the model's run."""

    @property
    def outcome(self) -> Outcome | None:
        """Return the label in one word."""
        return self.label and self.label.outcome


@dataclass(frozen=True, slots=True)
class Example:
    """One row with the answers of all models."""

    row: str
    split: Split
    task: str
    kind: Kind
    prompt: str
    expected: str
    said: tuple[Said, ...]


def question(of: Answer | AnswerRow) -> tuple[str, str, str]:
    """Return what a row asks, and its id: the rows of two files may have the same ids."""
    return of.row, of.prompt, of.expected


def choices(speakers: Sequence[Speaker]) -> tuple[Answer, ...]:
    """List the rows that any model answered, each with its first answer.

    Forget rows come first, and among them those on which the models' scores lie furthest apart.
    """
    found: dict[tuple[str, str, str], list[Answer]] = {}
    for speaker in speakers:
        for answer in speaker.evidence.answers if speaker.evidence else ():
            found.setdefault(question(answer), []).append(answer)

    def place(answers: Sequence[Answer]) -> tuple[bool, float]:
        scores = [answer.score for answer in answers]
        return answers[0].split != "forget", min(scores) - max(scores)

    return tuple(answers[0] for answers in sorted(found.values(), key=place))


def example(of: Answer, speakers: Sequence[Speaker]) -> Example:
    """Set the answers of all models to the row of an answer side by side."""
    asked = question(of)
    answers = [
        next((one for one in speaker.evidence.answers if question(one) == asked), None)
        if speaker.evidence
        else None
        for speaker in speakers
    ]
    known: dict[tuple[str, DataSpec] | None, Yardstick] = {}

    def said(speaker: Speaker, answer: Answer | None) -> Said:
        if answer is None or speaker.evidence is None:
            return Said(speaker.name, speaker.run_id, (), None, None, of.split)
        spec, found = speaker.spec, speaker.evidence
        key = (spec.model.name, spec.data) if spec else None
        if key not in known:
            known[key] = yardstick(spec, found) if spec else Yardstick.of(found)
        label = replace(known[key], nonsense=found.nonsense).label(answer)
        wished = _wished(answer, spec)
        secrets = label.secrets if wished == "forget" else ()
        spans = marked(answer.expected, answer.generated.strip(), secrets)
        return Said(speaker.name, speaker.run_id, spans, answer.score, label, wished)

    return Example(
        of.row,
        of.split,
        of.task,
        of.kind,
        of.prompt,
        of.expected,
        tuple(map(said, speakers, answers)),
    )


def _wished(answer: Answer, spec: RunSpec | None) -> Split:
    """Return the set whose goal a row has in a run, as `AnswerRow.wished`; its own without one."""
    if spec is None:
        return answer.split
    stays = spec.data.forget is not None and answer.row not in spec.data.forget
    return "retain" if stays or answer.split in spec.taught else answer.split


# ---- free prompts

Found = Literal["found", "in part", "not found"]
"""Whether an answer holds the expected one, by the rules of the labels."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One prompt of a list with the answers of both models, cut where they recite."""

    prompt: str
    expected: str
    original: tuple[Span, ...]
    unlearned: tuple[Span, ...]
    found: tuple[Found, Found] | None
    """Whether the original's and the unlearned model's answer hold the expected one; None if none
    was named."""


def heard(of: Asked) -> tuple[Heard, ...]:
    """Look for the expected answers in the answers to a list of prompts; empty for one prompt."""
    return tuple(
        Heard(
            one.prompt,
            one.expected,
            marked(one.expected, one.original.strip()),
            marked(one.expected, one.unlearned.strip(), other=one.original),
            (_found(one, one.original), _found(one, one.unlearned)) if one.expected else None,
        )
        for one in of.replies
    )


def _found(of: Reply, generated: str) -> Found:
    answer = Answer(
        row="",
        split="forget",
        task="",
        kind="qa",
        prompt=of.prompt,
        expected=of.expected,
        generated=generated,
        nll=math.nan,
        ended=True,
        score=0.0,
    )
    told: dict[Outcome, Found] = {"leaked": "found", "partly_leaked": "in part"}
    return told.get(Yardstick().label(answer).outcome, "not found")


def tally(of: Sequence[Heard], models: Mapping[int, str]) -> str:
    """Count the prompts whose expected answer each model gave; empty if none was named.

    Args:
        of: The prompts of a list.
        models: Names of the models by their place: 0 is the original, 1 the unlearned one.
    """
    known = [one.found for one in of if one.found]
    if not known:
        return ""
    told: list[str] = []
    for place, name in models.items():
        whole, part = (sum(one[place] == found for one in known) for found in ("found", "in part"))
        more = f", {part} more in part" if part else ""
        told.append(f"{name} {whole} of {len(known)}{more}")
    return f"Expected answers found: {'; '.join(told)}."
