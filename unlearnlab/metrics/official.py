"""Score a submission as the organisers' script does, without any model, and flag its results.

Flags state what the official numbers hide: which term is zero, whether a collapsed model scored
well, whether outputs are missing.
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from unlearnlab.data.checks import seen_by_rouge
from unlearnlab.data.datasets import SPLITS, Kind, Split
from unlearnlab.data.files import TEXT_LIMIT, read_regular
from unlearnlab.metrics.intervals import (
    LEVEL,
    Interval,
    aggregate_interval,
    auc_interval,
    term_intervals,
)
from unlearnlab.metrics.membership import auc_reading
from unlearnlab.metrics.scores import (
    ALL_TERMS,
    ALWAYS,
    CHANCE,
    Answer,
    mia_score,
    row_known,
    term_rows,
    wilson,
)
from unlearnlab.metrics.submission import TASKS, Finding, MmluScores, Submission, load
from unlearnlab.metrics.verdicts import (
    FEW_OUTPUTS,
    LETTER_SHARES,
    MMLU_GATE_7B,
    MMLU_QUESTIONS,
    constant_letter,
    looks_collapsed,
    looks_untouched,
)

KINDS: Mapping[Kind, str] = {"sc": "regurgitation-score", "qa": "knowledge-score"}
"""The script's names, in its order."""

UNMEASURED = -1.0
"""The script's placeholder for an aggregate score if MIA or MMLU are missing."""

STORED = ("evaluation_results.jsonl", "evaluation_results.json")
"""Files with the script's own scores."""

SAME = 1e-9
"""Scores that differ by less are equal."""

ROUNDING = 1e-6
"""MMLU averages that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the aggregate; up is good."""

    split: Split
    task: str
    kind: Kind
    value: Interval | None
    """None where the subtask has no row of the kind: the script's mean of nothing."""
    mean: float | None
    """Mean of the row scores; a forget term is one minus it."""
    rows: int

    @property
    def key(self) -> str:
        """Name it as `scores.terms` does."""
        return f"{self.split}/{self.task}/{self.kind}"


@dataclass(frozen=True, slots=True)
class Scored:
    """All scores of a submission."""

    terms: tuple[Term, ...]
    """In the script's order: forget, then retain; by subtask, completions first."""
    overall: Mapping[tuple[Split, Kind], float | None]
    """Means over all rows of a kind, which no other score uses."""
    complete: frozenset[Split]
    """Sets whose files could all be read and have rows."""
    task_aggregate: Interval | None
    auc: Interval | None
    mmlu: float | None
    rows: int
    missing: int
    """Outputs that were read as missing."""
    blind: tuple[int, int, int]
    """Completions whose expected text ROUGE drops, how many of them are recited, and all of them
    and others; see `seen_by_rouge`."""
    distinct: float
    """Share of distinct outputs, 0 to 1."""
    faults: tuple[Finding, ...]
    by_script: "Scored | None" = None
    """The same by the texts that the script compares, where they score otherwise."""

    @property
    def values(self) -> dict[str, float]:
        """Return the terms that have a value, by name."""
        return {term.key: term.value.value for term in self.terms if term.value}

    @property
    def mia_score(self) -> float | None:
        """Fold the AUC around one half."""
        return None if self.auc is None else mia_score(self.auc.value)

    @property
    def final(self) -> float | None:
        """Average aggregate, MIA score and MMLU; none without one of them."""
        if self.task_aggregate is None or self.mia_score is None or self.mmlu is None:
            return None
        return statistics.mean([self.task_aggregate.value, self.mmlu, self.mia_score])

    @property
    def final_needs(self) -> str:
        """Say what `final` cannot be computed without; empty if it is there."""
        parts = {
            "the task aggregate": self.task_aggregate,
            "the MIA score": self.mia_score,
            "MMLU": self.mmlu,
        }
        lacking = [name for name, value in parts.items() if value is None]
        return f"needs {' and '.join(lacking)}" if lacking else ""


def score(submission: Submission) -> Scored:
    """Score all that can be scored; `faults` reports what cannot."""
    answers = submission.answers
    rows = term_rows([answer for answer in answers if answer.task])
    terms = _terms(rows)
    empty = [
        Finding(
            term.split,
            f"{term.task} has no {term.kind} rows: its term, and the aggregate, are of nothing",
            f"{term.split}_*.csv",
            "id",
        )
        for term in terms
        if term.value is None
    ]
    faults = (*submission.faults, *empty)
    blocked = {fault.part for fault in faults if fault.blocks}
    there = {answer.split for answer in answers}
    complete: frozenset[Split] = frozenset(
        split for split in SPLITS if split in there and split not in blocked
    )
    outputs = [answer.generated for answer in answers]
    overall: dict[tuple[Split, Kind], float | None] = {}
    for split in SPLITS:
        for kind in KINDS:
            found = [one.score for one in answers if (one.split, one.kind) == (split, kind)]
            overall[split, kind] = statistics.fmean(found) if found else None
    return Scored(
        terms=terms,
        overall=overall,
        complete=complete,
        task_aggregate=aggregate_interval(rows) if len(complete) == len(SPLITS) else None,
        auc=auc_interval(submission.membership) if submission.membership else None,
        mmlu=submission.mmlu.average,
        rows=len(outputs),
        missing=submission.missing,
        blind=_blind(answers),
        distinct=len(set(outputs)) / len(outputs) if outputs else 0.0,
        faults=faults,
        by_script=_scored_by_script(submission),
    )


def _scored_by_script(submission: Submission) -> Scored | None:
    theirs = submission.as_the_script_reads
    if not theirs:
        return None
    answers = tuple(
        one.model_copy(update={"score": score})
        for one, score in zip(submission.answers, theirs, strict=True)
    )
    return score(replace(submission, answers=answers, as_the_script_reads=()))


def _blind(answers: Sequence[Answer]) -> tuple[int, int, int]:
    texts = [one for one in answers if one.kind == "sc"]
    unseen = [one for one in texts if not seen_by_rouge(one.expected)]
    return len(unseen), sum(map(row_known, unseen)), len(texts)


def _terms(rows: Mapping[str, Sequence[float]]) -> tuple[Term, ...]:
    """Give every subtask that has rows in a set its two terms."""
    intervals = term_intervals(rows)
    terms: list[Term] = []
    for split in SPLITS:
        there = {key.split("/")[1] for key in rows if key.startswith(f"{split}/")}
        for task in sorted(there):
            for kind in KINDS:
                key = f"{split}/{task}/{kind}"
                scores = rows.get(key, ())
                mean = statistics.fmean(scores) if scores else None
                terms.append(Term(split, task, kind, intervals.get(key), mean, len(scores)))
    return tuple(terms)


def official(scored: Scored) -> dict[str, Any]:
    """Map the script's keys to the scores; null where it would have nan, -1 or fail."""
    found: dict[str, Any] = {}
    for split in SPLITS:
        terms = [term for term in scored.terms if term.split == split]
        part = {f"overall-{KINDS[kind]}": scored.overall[split, kind] for kind in KINDS}
        by_task: dict[str, dict[str, float | None]] = {}
        for term in terms:
            by_task.setdefault(term.task, {})[KINDS[term.kind]] = term.mean
        found[f"{split}-set"] = {**part, **by_task} if terms else None
    if scored.auc is not None:
        found["mia_loss_acc"] = scored.auc.value
    if scored.mmlu is not None:
        found["mmlu_average"] = scored.mmlu
    found["aggregated-terms"] = [term.value.value if term.value else None for term in scored.terms]
    aggregate = scored.task_aggregate
    found["harmonic-mean-task-aggregate"] = aggregate.value if aggregate else None
    found["aggregate-score"] = scored.final
    if scored.mia_score is not None:
        found["mia_final_score"] = scored.mia_score
    return found


# ---- flags ---------------------------------------------------------------------------------------

FlagKind = Literal[
    "zero_term",
    "collapsed",
    "few_outputs",
    "blind_rouge",
    "missing_outputs",
    "read_otherwise",
    "no_effect",
    "below_gate",
    "at_chance",
    "constant_letter",
    "fewer_terms",
    "mmlu_differs",
]


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing a reader of the scores should know."""

    kind: FlagKind
    text: str


def flags(scored: Scored, mmlu: MmluScores) -> tuple[Flag, ...]:
    """List what the scores do not show by themselves, the weightiest first."""
    return (*_score_flags(scored), *_mmlu_flags(mmlu))


def _score_flags(scored: Scored) -> Iterator[Flag]:
    aggregate, mia = scored.task_aggregate, scored.mia_score
    kept = [value for key, value in scored.values.items() if key.startswith("retain")]
    # Forget terms of zero alone are an untouched model, whatever its attack.
    wrecked = mia is not None and min(kept, default=1.0) == 0
    if aggregate and mia is not None and wrecked and looks_collapsed(aggregate.value, mia):
        text = (
            f"Collapse: the task aggregate is 0 and the MIA score {mia:.3f}. The attack finds "
            "nothing because nothing is left; the final score is no success."
        )
        yield Flag("collapsed", text)
    if scored.auc and looks_untouched(scored.values, scored.auc.value):
        text = (
            f"No effect: every forget term is near 0 and the AUC is {scored.auc.value:.3f}, as "
            "for a model that nothing was done to."
        )
        yield Flag("no_effect", text)
    if zero := [key for key, value in scored.values.items() if value == 0]:
        yield Flag("zero_term", f"The task aggregate is 0 because of {', '.join(zero)}.")
    there = {(term.split, term.task) for term in scored.terms}
    wanted = [(split, task) for split in SPLITS for task in TASKS]
    lacking = ", ".join(f"{split} {task}" for split, task in wanted if (split, task) not in there)
    if scored.complete and lacking:
        text = (
            f"{len(scored.terms)} terms instead of {ALL_TERMS}, without {lacking}: not comparable."
        )
        yield Flag("fewer_terms", text)
    if scored.blind[0]:
        unseen, recited, texts = scored.blind
        text = (
            f"{unseen} of {texts} expected texts hold hardly a letter that ROUGE counts: it drops "
            f"all but a to z. Their official score is near 0 whatever the model says; {recited} of "
            f"{unseen} are recited word for word."
        )
        yield Flag("blind_rouge", text)
    if scored.missing:
        text = (
            f"{scored.missing} of {scored.rows} outputs are empty, or a word that pandas takes "
            'for missing (NA, None, null); the script takes them for the text "nan".'
        )
        yield Flag("missing_outputs", text)
    if theirs := scored.by_script:
        changed = [
            f"{term.key} {_points(term.value)} (here {_points(ours.value)})"
            for ours, term in zip(scored.terms, theirs.terms, strict=True)
            if term.mean != ours.mean
        ]
        text = (
            "The script reads its tables with pandas, which changes texts such as 007 and None: "
            f"its scores are {', '.join(changed)}, its task aggregate "
            f"{_points(theirs.task_aggregate)} (here {_points(aggregate)})."
        )
        yield Flag("read_otherwise", text)
    if scored.rows and scored.distinct < FEW_OUTPUTS:
        text = f"Only {scored.distinct:.1%} of {scored.rows} outputs are distinct."
        yield Flag("few_outputs", text)


def _points(value: Interval | None) -> str:
    return "none" if value is None else f"{value.value:.4f}"


def _mmlu_flags(mmlu: MmluScores) -> Iterator[Flag]:
    if mmlu.average is None:
        return
    # Without the subjects' tables, the average is taken to be that of the whole test.
    low, high = wilson(mmlu.average, mmlu.questions or MMLU_QUESTIONS)
    part = mmlu.questions is not None and mmlu.questions < MMLU_QUESTIONS
    if low <= CHANCE <= high:
        text = (
            f"MMLU {mmlu.average:.3f} is at chance: a guesser's {CHANCE} lies within its interval "
            f"({low:.3f} to {high:.3f}). No knowledge shows, and none can be seen to be lost."
        )
        yield Flag("at_chance", text)
    if (high if part else mmlu.average) < MMLU_GATE_7B:
        text = (
            f"MMLU {mmlu.average:.3f} is below the task's gate of {MMLU_GATE_7B}: a 7B model is "
            "not ranked. The gate does not hold for 1B models, which start below it."
        )
        yield Flag("below_gate", text)
    if letter := _constant_letter(mmlu):
        chosen = "; a model at chance can come as near"
        if mmlu.letters is not None:
            chosen = f"; it did so for {mmlu.letters[letter]:.1%} of questions"
        text = (
            f"MMLU {mmlu.average:.4f} is what a model scores that always answers {letter} "
            f"({LETTER_SHARES[letter]:.4f}){chosen}."
        )
        yield Flag("constant_letter", text)
    if mmlu.recomputed is not None and abs(mmlu.recomputed - mmlu.average) > ROUNDING:
        text = (
            f"The subjects' tables give MMLU {mmlu.recomputed:.6f}, metrics.json says "
            f"{mmlu.average:.6f}: they are not of one run, or a table is missing."
        )
        yield Flag("mmlu_differs", text)


def _constant_letter(mmlu: MmluScores) -> str:
    """Name the letter that was always chosen: by the predictions, or by the accuracy alone."""
    if mmlu.letters is None:
        return constant_letter(mmlu.average or 0.0)
    most = max(mmlu.letters, key=lambda letter: (mmlu.letters or {})[letter])
    return most if mmlu.letters[most] >= ALWAYS else ""


# ---- the report ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """The scores of a folder, and what a reader should know of them."""

    scored: Scored
    flags: tuple[Flag, ...]
    stored: tuple[str, ...]
    """Differences from the script's own scores in the folder."""

    @property
    def problems(self) -> tuple[str, ...]:
        """List what could not be scored, and why."""
        names = {"mia": "MIA", "mmlu": "MMLU"}
        return tuple(
            f"{names.get(fault.part, f'{fault.part} set')}: {fault}"
            for fault in self.scored.faults
            if fault.blocks
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """List what is odd and changes no score."""
        return (*(str(fault) for fault in self.scored.faults if not fault.blocks), *self.stored)

    @property
    def empty(self) -> bool:
        """Tell whether nothing at all could be scored."""
        return not (self.scored.terms or self.scored.auc)


def report(folder: Path, mmlu_file: Path | None = None) -> Report:
    """Read and score a folder."""
    submission = load(folder, mmlu_file)
    scored = score(submission)
    return Report(scored, flags(scored, submission.mmlu), _stored_differences(folder, scored))


def as_record(made: Report) -> dict[str, Any]:
    """Return a report as JSON values: the script's keys, and ours under `unlearnlab`."""
    scored = made.scored
    ours: dict[str, Any] = {
        "terms": {term.key: {"rows": term.rows, **_interval(term.value)} for term in scored.terms},
        "task_aggregate": _interval(scored.task_aggregate),
        "mia_auc": _interval(scored.auc),
        "mia_reading": auc_reading(scored.auc) if scored.auc else None,
        "aggregate_score_needs": scored.final_needs or None,
        "interval_level": LEVEL,
        "rows": scored.rows,
        "missing_outputs": scored.missing,
        "distinct_outputs": scored.distinct,
        "as_the_script_reads": official(scored.by_script) if scored.by_script else None,
        "flags": [asdict(flag) for flag in made.flags],
        "problems": list(made.problems),
        "notes": list(made.notes),
    }
    return {**official(scored), "unlearnlab": ours}


def _interval(value: Interval | None) -> Mapping[str, float | None]:
    return asdict(value) if value else {"value": None, "low": None, "high": None}


def _stored_differences(folder: Path, scored: Scored) -> tuple[str, ...]:
    """Compare with the scores that the script itself left in the folder, if it did."""
    path = next((folder / name for name in STORED if (folder / name).is_file()), None)
    if path is None:
        return ()
    try:
        plain: Any = json.loads(read_regular(path, TEXT_LIMIT))
    except (OSError, ValueError, RecursionError) as error:
        return (f"{path.name} cannot be read: {error}",)
    stored = cast("dict[str, Any]", plain) if isinstance(plain, dict) else {}
    if "harmonic-mean-task-aggregate" not in stored:
        return (
            f"{path.name} has no harmonic-mean-task-aggregate: a script from before December 2024 "
            "wrote it, whose scores do not compare",
        )
    theirs = official(scored.by_script or scored)
    return tuple(
        f"{path.name} has {key} {stored[key]!r}, recomputed {value!r}"
        for key, value in theirs.items()
        if key in stored and not _same(stored[key], value)
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        first, second = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return first.keys() == second.keys() and all(_same(first[k], second[k]) for k in first)
    if isinstance(one, list) and isinstance(other, list):
        first, second = cast("list[Any]", one), cast("list[Any]", other)
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= SAME
    return one == other or (other is None and (one != one or one == UNMEASURED))
