"""MMLU as the task measures it: its files, prompts, a stratified sample, and results.

The protocol is Open Instruct's (`eval/mmlu/run_eval.py`): five shots of the dev split, a header
with two spaces before the subject, prompts cut to 2048 tokens by leaving out shots, the likeliest
of the four letters as the next token, and all questions pooled into one accuracy.
"""

import math
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from unlearnlab.data import downloads
from unlearnlab.data.files import expanded, home, open_regular
from unlearnlab.metrics.intervals import Interval, mean_interval, share_interval
from unlearnlab.metrics.scores import (
    CHANCE,
    Choice,
    accuracy,
    always_picked,
    argmax_option,
    wilson,
)

LETTERS = "ABCD"

SHOTS = 5
"""Solved questions before the asked one."""

MOST_TOKENS = 2048
"""Longest prompt."""

REPOSITORY = "cais/mmlu"
"""The test on the hub."""

NAMED = "UNLEARNLAB_MMLU"
"""Environment variable with the test's folder."""

SPLITS = ("dev", "test")

COLUMNS = ("question", "subject", "choices", "answer")
"""Columns of the files, as `cais/mmlu` names them."""

SUBJECTS = frozenset(
    """
    abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology
    college_chemistry college_computer_science college_mathematics college_medicine college_physics
    computer_security conceptual_physics econometrics electrical_engineering elementary_mathematics
    formal_logic global_facts high_school_biology high_school_chemistry
    high_school_computer_science high_school_european_history high_school_geography
    high_school_government_and_politics high_school_macroeconomics high_school_mathematics
    high_school_microeconomics high_school_physics high_school_psychology high_school_statistics
    high_school_us_history high_school_world_history human_aging human_sexuality international_law
    jurisprudence logical_fallacies machine_learning management marketing medical_genetics
    miscellaneous moral_disputes moral_scenarios nutrition philosophy prehistory
    professional_accounting professional_law professional_medicine professional_psychology
    public_relations security_studies sociology us_foreign_policy virology world_religions
    """.split()  # noqa: SIM905
)
"""The 57 subjects of the test set."""


class MmluError(ValueError):
    """The files cannot be used; the message names file, column and row."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question with four options."""

    subject: str
    text: str
    choices: tuple[str, ...]
    answer: int
    """Index of the right option."""

    def asked(self) -> str:
        """Return the question without its answer, as it is asked."""
        options = [f"{letter}. {text}" for letter, text in zip(LETTERS, self.choices, strict=True)]
        return "\n".join([self.text, *options, "Answer:"])

    def solved(self) -> str:
        """Return the question with its answer, as a shot."""
        return f"{self.asked()} {LETTERS[self.answer]}\n\n"


@dataclass(frozen=True, slots=True)
class Mmlu:
    """The questions of a folder."""

    shots: Mapping[str, tuple[Question, ...]]
    """Questions of the dev split by subject, in its order."""
    questions: tuple[Question, ...]
    """Questions of the test split, in its order."""
    notes: tuple[str, ...] = ()
    """What is missing, where the rest can be scored."""


def prompt(question: Question, shots: Sequence[Question]) -> str:
    """Write a question with some solved ones before it."""
    # Open Instruct puts a space before every word of the subject: hence two before the first.
    subject = "".join(f" {word}" for word in question.subject.split("_"))
    header = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
    return "".join([header, *(shot.solved() for shot in shots), question.asked()])


def folder() -> Path:
    """Return where the test lies, or would: what UNLEARNLAB_MMLU names, else in the home folder."""
    named = os.environ.get(NAMED)
    return expanded(Path(named)).absolute() if named else home() / "mmlu"


def must_be_fetched() -> bool:
    """Tell whether the test has to be fetched: a folder that was named is taken as it is."""
    return NAMED not in os.environ and not all(_files(folder(), split) for split in SPLITS)


def fetch() -> None:
    """Fetch the test from the hub.

    Raises:
        MmluError: The hub cannot be reached, or the files cannot be kept.
    """
    try:
        downloads.fetch_dataset(
            REPOSITORY, folder(), [f"all/{split}-*.parquet" for split in SPLITS]
        )
    except downloads.HubError as error:
        raise MmluError(
            f"{error}; or name a folder that holds {REPOSITORY} with {NAMED}"
        ) from error
    except OSError as error:
        raise MmluError(f"{REPOSITORY}: cannot be kept: {error.strerror}") from error


def load(folder: Path) -> Mmlu:
    """Read `dev.parquet` and `test.parquet`, or the parts of the hub's `cais/mmlu`.

    Raises:
        MmluError: A file is missing, or holds something else.
    """
    dev, test = _read(folder, "dev"), _read(folder, "test")
    shots: dict[str, list[Question]] = {}
    for one in dev:
        shots.setdefault(one.subject, []).append(one)
    for subject in dict.fromkeys(one.subject for one in test):
        if (there := len(shots.get(subject, ()))) < SHOTS:
            raise MmluError(
                f"{folder.name}, dev: subject {subject} has {there} questions, and {SHOTS} are "
                "asked for as shots: fetch the whole dev split"
            )
    lacking = sorted(SUBJECTS - {one.subject for one in test})
    listed = f"{len(lacking)} of {len(SUBJECTS)} subjects are missing: {', '.join(lacking)}"
    return Mmlu(
        {subject: tuple(found[:SHOTS]) for subject, found in shots.items()},
        tuple(test),
        (listed,) if lacking else (),
    )


def _read(folder: Path, split: str) -> list[Question]:
    paths = _files(folder, split)
    if not paths:
        raise MmluError(f"{folder} has no {split}.parquet: name a folder with cais/mmlu's files")
    found: list[Question] = []
    for path in paths:
        try:
            with open_regular(path) as file:
                frame: Any = import_module("pandas").read_parquet(file)
        except (OSError, ValueError) as error:
            raise MmluError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error
        if lacking := [name for name in COLUMNS if name not in frame.columns]:
            there = ", ".join(map(str, frame.columns))
            raise MmluError(f"{path.name}: no column {', '.join(lacking)}: it has {there}")
        columns = zip(*(frame[name] for name in COLUMNS), strict=True)
        found += [_question(path.name, row, *cells) for row, cells in enumerate(columns, 1)]
    return found


def _files(folder: Path, split: str) -> list[Path]:
    for base in (folder, folder / "all"):
        if (single := base / f"{split}.parquet").is_file():
            return [single]
        if parts := sorted(base.glob(f"{split}-*-of-*.parquet")):
            return parts
    return sorted(folder.glob(f"*/{split}-*-of-*.parquet"))


def _question(file: str, row: int, text: Any, subject: Any, choices: Any, answer: Any) -> Question:
    def wrong(column: str, what: str) -> MmluError:
        return MmluError(f"{file}, column {column}, row {row}: {what}")

    for column, cell in (("question", text), ("subject", subject)):
        if not isinstance(cell, str):
            raise wrong(column, f"{str(cell)[:40]!r} is no text")
    if isinstance(choices, str) or not hasattr(choices, "__len__") or len(choices) != len(LETTERS):
        raise wrong("choices", f"expected {len(LETTERS)} options")
    right = _place(answer)
    if right is None:
        raise wrong("answer", f"{str(answer)[:40]!r} is none of 0 to 3, and none of A to D")
    return Question(subject, text, tuple(map(str, choices)), int(right))


def _place(answer: Any) -> int | None:
    """Read an answer, which some files write as a number and others as a letter."""
    if isinstance(answer, str):
        written = answer.strip().upper()
        places = (*LETTERS, *map(str, range(len(LETTERS))))
        return places.index(written) % len(LETTERS) if written in places else None
    if isinstance(answer, bool) or answer not in range(len(LETTERS)):
        return None
    return int(answer)


def subset(questions: Sequence[Question], count: int, seed: int = 0) -> tuple[Question, ...]:
    """Draw questions at random, from each subject in proportion to its size; keeps their order.

    Raises:
        ValueError: There are fewer than `count`, or none are wanted.
    """
    if not 0 < count <= len(questions):
        raise ValueError(f"{count} questions are asked for: take 1 to {len(questions)}")
    places: dict[str, list[int]] = {}
    for place, one in enumerate(questions):
        places.setdefault(one.subject, []).append(place)
    shares = {subject: count * len(of) / len(questions) for subject, of in places.items()}
    takes = {subject: math.floor(share) for subject, share in shares.items()}
    rests = sorted(shares, key=lambda subject: (takes[subject] - shares[subject], subject))
    for subject in rests[: count - sum(takes.values())]:
        takes[subject] += 1
    random_ = random.Random(seed)
    drawn = [place for s, of in places.items() for place in random_.sample(of, takes[s])]
    return tuple(questions[place] for place in sorted(drawn))


def protocol(
    shots: int,
    most_tokens: int = MOST_TOKENS,
    *,
    asked: int = 0,
    of: int = 0,
    blank: bool = False,
    choices: Sequence[Choice] = (),
) -> str:
    """Name the protocol. Only those whose name begins with MMLU are the task's, and comparable.

    Args:
        shots: Solved questions before each.
        most_tokens: Longest prompt.
        asked: Number of questions asked, if only some of the test are.
        of: Number of questions in the test.
        blank: Whether the letter is asked for after a blank, which is a token of its own.
        choices: The answered questions, of which some may have got fewer shots.
    """
    cut = f", prompts of at most {most_tokens} tokens" if most_tokens != MOST_TOKENS else ""
    part = f", {asked} of {of} questions" if asked < of else ""
    more = (
        f"{', asked for after the blank' if blank else ''}{cut}{part}{_cut_shots(shots, choices)}"
    )
    if shots == SHOTS:
        return f"MMLU: {SHOTS} shots, the likeliest letter{more}"
    return f"variant of MMLU with {shots} shots, the likeliest letter{more}"


def _cut_shots(wanted: int, choices: Sequence[Choice]) -> str:
    """Say for how many questions the context held fewer shots than wanted; empty for none."""
    held = [one.shots for one in choices if one.shots is not None]
    fewer = [max(0, shots) for shots in held if shots < wanted]
    if not fewer:
        return ""
    low, high = min(fewer), max(fewer)
    counts = f"{low}" if low == high else f"{low} to {high}"
    beheaded = sum(shots < 0 for shots in held)
    told = f", {beheaded} even without their beginning" if beheaded else ""
    asked = f"{len(fewer)} question{'' if len(fewer) == 1 else 's'}"
    return f"; {asked} had room for {counts} shots only{told}"


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """The result of one subject."""

    subject: str
    questions: int
    accuracy: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class MmluResult:
    """The result of a test."""

    protocol: str
    accuracy: Interval
    """Over all questions, whatever their subject."""
    standard_error: float
    questions: int
    subjects: tuple[SubjectResult, ...]
    """Sorted by name."""
    letters: Mapping[str, float]
    """Share of the questions that each letter was chosen for."""
    constant: str
    """The letter that was always chosen; empty if none was."""
    at_chance: bool
    """Whether a guesser's accuracy lies within the interval: then no damage can show."""


def result(choices: Sequence[Choice], protocol: str) -> MmluResult:
    """Score answered questions.

    Args:
        choices: With the log-likelihood of each letter.
        protocol: Name of the protocol.

    Raises:
        ValueError: There are none.
    """
    value, count = accuracy(choices), len(choices)
    chosen = Counter(LETTERS[argmax_option(one)] for one in choices)
    always = "" if (place := always_picked(choices)) is None else LETTERS[place]
    subjects: list[SubjectResult] = []
    for subject, right in sorted(_right(choices).items()):
        share = sum(right) / len(right)
        error = standard_error(share, len(right))
        subjects.append(SubjectResult(subject, len(right), share, error))
    return MmluResult(
        protocol,
        mean_interval([float(argmax_option(one) == one.right) for one in choices], "utility"),
        standard_error(value, count),
        count,
        tuple(subjects),
        {letter: chosen[letter] / count for letter in LETTERS},
        always,
        wilson(value, count)[0] <= CHANCE,
    )


@dataclass(frozen=True, slots=True)
class SubjectChange:
    """One subject before and after unlearning."""

    subject: str
    questions: int
    before: float | None
    after: float | None
    interval: Interval
    """Interval of the later accuracy."""


def subject_changes(before: Sequence[Choice], after: Sequence[Choice]) -> tuple[SubjectChange, ...]:
    """Compare answers subject by subject, by name.

    Args:
        before: Answers of the original model; may be empty.
        after: Answers of the unlearned one to the same questions; empty until it is asked.
    """
    then, now = _right(before), _right(after)
    found: list[SubjectChange] = []
    for subject in sorted(now or then):
        last = (now or then)[subject]
        found.append(
            SubjectChange(
                subject.replace("_", " "),
                len(last),
                sum(then[subject]) / len(then[subject]) if subject in then else None,
                sum(last) / len(last) if now else None,
                share_interval(sum(last), len(last)),
            )
        )
    return tuple(found)


def _right(choices: Sequence[Choice]) -> dict[str, list[bool]]:
    """Return by subject whether each answer is right."""
    found: dict[str, list[bool]] = {}
    for one in choices:
        found.setdefault(one.subject, []).append(argmax_option(one) == one.right)
    return found


def standard_error(accuracy: float, questions: int) -> float:
    """Return the standard error of an accuracy over so many questions."""
    return math.sqrt(accuracy * (1 - accuracy) / questions)
