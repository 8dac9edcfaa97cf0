"""Read a folder that the organisers' evaluation script left behind; report each fault in it.

The script of SemEval-2025 Task 4 (`evaluate_generations.py`, December 2024) writes a model's
outputs to `forget_*.csv` and `retain_*.csv`, one file per process, and document losses to
`mia_results/`. MMLU is the `metrics.json` of Open Instruct's evaluation: `average_acc` pools all
questions, and tables of single subjects may lie beside it.

Texts are scored as they were written. The script reads its tables with pandas, which takes an empty
cell for missing, and NA, None, null and nan too: the script then compares the text "nan". A column
of digits alone becomes numbers and loses leading zeros. Where a row scores otherwise when it is
read that way, the official number differs, and both are shown.
"""

import difflib
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from unlearnlab.data.datasets import SPLITS, Kind, Split
from unlearnlab.data.files import TEXT_LIMIT, open_regular, read_regular
from unlearnlab.metrics.mmlu import LETTERS, SUBJECTS
from unlearnlab.metrics.scores import Answer, Membership, row_score

TASKS = ("Task1", "Task2", "Task3")
"""The subtasks of the task."""

NEEDED = ("id", "task", "expected_output", "model_output")
"""Columns that a score depends on."""

FIELDS = frozenset(
    """
    biology business chemistry culture economics engineering geography health history law math
    other philosophy physics politics psychology
    """.split()  # noqa: SIM905
) | {"computer science"}
"""The subcategories of MMLU's `subcat_acc`."""

CHOICES = tuple(f"choice{letter}_probs" for letter in LETTERS)

LISTED = 5
"""Rows of a fault that are listed; the others are counted."""

Part = Literal["forget", "retain", "mia", "mmlu"]
"""The part of the evaluation that a fault concerns."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, or one thing worth knowing, in the files."""

    part: Part
    what: str
    """A sentence without its full stop."""
    file: str = ""
    """Relative to the folder."""
    column: str = ""
    rows: tuple[int, ...] = ()
    """Counted from 1 at the first row under the header; a row may span several lines."""
    blocks: bool = True
    """Whether the part has no score because of it; else it is only noted."""

    def __str__(self) -> str:
        """Write file, column and rows before what was found."""
        rows = ""
        if self.rows:
            listed = ", ".join(map(str, self.rows[:LISTED]))
            more = f" and {len(self.rows) - LISTED} more" if len(self.rows) > LISTED else ""
            rows = f"{'row' if len(self.rows) == 1 else 'rows'} {listed}{more}"
        places = (self.file, f"column {self.column}" if self.column else "", rows)
        place = ", ".join(filter(None, places))
        return f"{place}: {self.what}" if place else self.what


@dataclass(frozen=True, slots=True)
class MmluScores:
    """Contents of the MMLU files."""

    average: float | None = None
    """Accuracy over all questions; none where it cannot be read."""
    recomputed: float | None = None
    """The same from the subjects' tables, where they are there."""
    letters: Mapping[str, float] | None = None
    """Share of questions that each letter was chosen for."""
    questions: int | None = None
    """Number of questions in the subjects' tables, where they are there."""
    faults: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """All that was read, and all faults in it."""

    answers: tuple[Answer, ...]
    """Texts as they were written; a subtask that is not the task's own is kept as it is."""
    missing: int
    """Number of outputs that pandas reads as missing: the script takes them for the word "nan"."""
    membership: Membership | None
    mmlu: MmluScores
    faults: tuple[Finding, ...]
    as_the_script_reads: tuple[float, ...] = ()
    """Score of each answer once pandas has read its texts; empty if it changes none."""


def load(folder: Path, mmlu_file: Path | None = None) -> Submission:
    """Read a folder of the script's output.

    Args:
        folder: Holds `forget_*.csv`, `retain_*.csv` and perhaps `mia_results/`.
        mmlu_file: The `metrics.json` of an MMLU evaluation, or its folder; looked for in `folder`
            if not given.
    """
    answers: list[Answer] = []
    theirs: list[float] = []
    faults: list[Finding] = []
    absent = 0
    for split in SPLITS:
        table = _read(folder, f"{split}_*.csv", NEEDED, split, as_text=True)
        script = _read(folder, f"{split}_*.csv", NEEDED, split)
        found, wrong = _answers(table, split)
        answers += [one for _, one in found]
        theirs += _script_scores(script, found)
        absent += sum(map(missing, script.column("model_output")))
        faults += [*table.faults, *wrong, *_loss_faults(table, split)]
    forget, retain = ({one.row for one in answers if one.split == split} for split in SPLITS)
    if both := forget & retain:
        what = (
            f"{len(both)} of the ids are in forget and in retain: are these the files of one run?"
        )
        faults.append(Finding("retain", what, column="id", blocks=False))
    membership, wrong = _membership(folder)
    if mmlu_file is None:
        places = (folder / name / "metrics.json" for name in ("", "mmlu", "mmlu_results"))
        mmlu_file = next((path for path in places if path.is_file()), None)
    if mmlu_file is None:
        what = f"no metrics.json in {folder}: name the file with --mmlu"
        mmlu = MmluScores(faults=(Finding("mmlu", what),))
    else:
        mmlu = _mmlu_scores(mmlu_file)
    return Submission(
        tuple(answers),
        absent,
        membership,
        mmlu,
        (*faults, *wrong, *mmlu.faults),
        () if theirs == [one.score for one in answers] else tuple(theirs),
    )


# ---- tables --------------------------------------------------------------------------------------


class Place(NamedTuple):
    """The file and the position of a row."""

    file: str
    row: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Table:
    """All parts of one table, one below the other."""

    columns: dict[str, list[Any]]
    places: tuple[Place, ...]
    """Place of each row."""
    faults: tuple[Finding, ...]

    def column(self, name: str) -> list[Any]:
        """Return the cells of a column; none if it is missing."""
        return self.columns.get(name, [])


def missing(cell: Any) -> bool:
    """Tell whether a cell is empty, or pandas read it as missing."""
    return cell is None or cell != cell or cell == ""


def _pandas() -> Any:
    # A second to import, which no other command should wait for.
    return import_module("pandas")


def _read(
    folder: Path, pattern: str, needed: Sequence[str], part: Part, *, as_text: bool = False
) -> Table:
    """Read every file of a pattern that has the needed columns.

    Args:
        folder: Folder of the script's output.
        pattern: Pattern of the files, relative to the folder; one file per process of the script.
        needed: Columns without which a file cannot be scored.
        part: The part of the evaluation that the files belong to.
        as_text: Whether cells stay as they were written; else pandas makes numbers of them, and
            takes some words for missing, as for the script.
    """
    frames: list[Any] = []
    places: list[Place] = []
    faults: list[Finding] = []
    paths = sorted(folder.glob(pattern))
    if not paths:
        faults.append(Finding(part, f"no file {pattern} in {folder}"))
    for path in paths:
        name = path.relative_to(folder).as_posix()
        frame, fault = _read_part(path, name, needed, part, as_text=as_text)
        if fault:
            faults.append(fault)
        else:
            frames.append(frame)
            places += [Place(name, i + 1) for i in range(len(frame))]
    if frames and not places:
        faults.append(Finding(part, f"{pattern} has no rows"))
    whole = _pandas().concat(frames, ignore_index=True) if frames else None
    columns = {} if whole is None else {str(name): whole[name].tolist() for name in whole.columns}
    return Table(columns, tuple(places), tuple(faults))


TABLE_LIMIT = 1 << 30
"""Most bytes of one of the script's tables: 1 GiB."""


def _read_part(
    path: Path, name: str, needed: Sequence[str], part: Part, *, as_text: bool
) -> tuple[Any, Finding | None]:
    kept = {"dtype": str, "keep_default_na": False, "na_filter": False} if as_text else {}
    try:
        with warnings.catch_warnings():
            # "mixed types": numbers among texts, which the script met as well.
            warnings.simplefilter("ignore")
            with open_regular(path, TABLE_LIMIT) as file:
                frame = _pandas().read_csv(file, **kept)
    except OSError as error:
        return None, Finding(part, f"cannot be read: {error.strerror}", name)
    except UnicodeDecodeError as error:
        return None, Finding(part, f"is not UTF-8: byte {error.start} cannot be read", name)
    except ValueError as error:
        # pandas' own errors, of empty and of torn files, are ValueErrors.
        return None, Finding(part, f"is not a table: {str(error).strip()}", name)
    if not isinstance(frame.index, _pandas().RangeIndex):
        return None, Finding(part, "rows have more cells than the header has columns", name)
    there = list(frame.columns)
    lacking = [column for column in needed if column not in there]
    if not lacking:
        return frame, None
    near = difflib.get_close_matches(lacking[0], there, n=1)
    guess = f" Is it {near[0]!r}?" if near else ""
    what = f"is missing. The file has: {', '.join(map(str, there))}.{guess}"
    return None, Finding(part, what, name, ", ".join(lacking))


def _by_file(
    places: Iterable[Place], part: Part, column: str, what: str, *, blocks: bool = True
) -> list[Finding]:
    """Report a fault of some rows once for each file that they stand in."""
    rows: dict[str, list[int]] = {}
    for place in places:
        rows.setdefault(place.file, []).append(place.row)
    return [Finding(part, what, file, column, tuple(of), blocks) for file, of in rows.items()]


def _losses(table: Table, part: Part, *, blocks: bool) -> tuple[list[float], list[Finding]]:
    """Read the column of losses: a float for each row, and what is wrong with those not finite."""
    values: list[float] = []
    wrong: dict[str, list[Place]] = {}
    for place, cell in zip(table.places, table.column("nll"), strict=False):
        try:
            value = float(cell)
        except (TypeError, ValueError):
            value = math.nan
        values.append(value)
        if missing(cell):
            wrong.setdefault("holds no loss (nan, or empty)", []).append(place)
        elif math.isinf(value):
            wrong.setdefault("the loss is infinite", []).append(place)
        elif math.isnan(value):
            wrong.setdefault(f"{str(cell)[:40]!r} is not a number", []).append(place)
    of = (_by_file(places, part, "nll", what, blocks=blocks) for what, places in wrong.items())
    return values, [fault for found in of for fault in found]


# ---- outputs and document losses -----------------------------------------------------------------


def _answers(table: Table, split: Split) -> tuple[list[tuple[int, Answer]], list[Finding]]:
    """Score the rows of a table, each with its place; report rows without a usable id."""
    rows: list[tuple[int, Answer]] = []
    unnamed: list[Place] = []
    untyped: list[Place] = []
    strange: dict[str, list[Place]] = {}
    columns = (table.column(name) for name in NEEDED)
    cells = enumerate(zip(table.places, *columns, strict=False))
    for at, (place, name, said, expected, generated) in cells:
        if not name:
            unnamed.append(place)
        elif (kind := kind_of(name)) is None:
            untyped.append(place)
        else:
            if said not in TASKS:
                strange.setdefault(said, []).append(place)
            one = Answer(
                row=name,
                split=split,
                task=said,
                kind=kind,
                prompt="",
                expected=expected,
                generated=generated,
                nll=math.nan,
                ended=True,
                score=row_score(kind, expected, generated),
            )
            rows.append((at, one))
    faults = [
        *_by_file(unnamed, split, "id", "is no text: such a row has no type and no score"),
        *_by_file(untyped, split, "id", "names neither sc nor qa: not scored", blocks=False),
        *_repeated(table, split),
    ]
    for task, places in strange.items():
        what = f"{task!r} is none of {', '.join(TASKS)}" if task else "is empty: row is in no term"
        faults += _by_file(places, split, "task", what, blocks=False)
    return rows, faults


def _script_scores(script: Table, of: Sequence[tuple[int, Answer]]) -> list[float]:
    """Score rows as the script does, by the texts that it makes of what pandas read."""
    wanted, said = script.column("expected_output"), script.column("model_output")
    return [
        one.score
        if (one.expected, one.generated) == (texts := (str(wanted[at]), str(said[at])))
        else row_score(one.kind, *texts)
        for at, one in of
    ]


def kind_of(row_id: str) -> Kind | None:
    """Read the type of a row off its id, without its last character as the script does."""
    stem = row_id[:-1]
    return "sc" if stem.endswith("sc") else "qa" if stem.endswith("qa") else None


def _repeated(table: Table, split: Split) -> list[Finding]:
    """Report repeated ids: the script counts such rows as often as they come."""
    seen: dict[Any, Place] = {}
    again: dict[str, list[Place]] = {}
    for place, name in zip(table.places, table.column("id"), strict=False):
        if missing(name):
            continue
        if name in seen:
            again.setdefault(seen[name].file, []).append(place)
        seen.setdefault(name, place)
    found: list[Finding] = []
    for first, places in again.items():
        what = f"id already in {first}: counted again, as the script does (it pads several GPUs)"
        found += _by_file(places, split, "id", what, blocks=False)
    return found


def _loss_faults(table: Table, split: Split) -> list[Finding]:
    """Check the losses of outputs, which are part of no score."""
    if table.columns and "nll" not in table.columns:
        return [Finding(split, "is missing; no score needs it", column="nll", blocks=False)]
    return _losses(table, split, blocks=False)[1]


def _membership(folder: Path) -> tuple[Membership | None, list[Finding]]:
    """Read the losses of members and non-members; none if one of them cannot be used."""
    if not (folder / "mia_results").is_dir():
        return None, [Finding("mia", f"no folder mia_results in {folder}")]
    faults: list[Finding] = []
    sides: list[tuple[float, ...]] = []
    for side in ("member", "nonmember"):
        table = _read(folder, f"mia_results/{side}_*.csv", ("nll",), "mia")
        values, wrong = _losses(table, "mia", blocks=True)
        faults += [*table.faults, *wrong]
        sides.append(tuple(values))
    if any(fault.blocks for fault in faults):
        return None, faults
    return Membership(member=sides[0], nonmember=sides[1]), faults


# ---- MMLU ----------------------------------------------------------------------------------------


def _mmlu_scores(path: Path) -> MmluScores:
    """Read a `metrics.json`, or the one in a folder, and the subjects' tables beside it."""
    path = path / "metrics.json" if path.is_dir() else path
    name = path.name
    try:
        plain: Any = json.loads(read_regular(path, TEXT_LIMIT))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        return MmluScores(faults=(Finding("mmlu", what, str(path)),))
    except (ValueError, RecursionError) as error:
        return MmluScores(faults=(Finding("mmlu", f"is not JSON: {error}", name),))
    found = cast("dict[str, Any]", plain) if isinstance(plain, dict) else {}
    average: Any = found.get("average_acc")
    if fault := _wrong_average(average, found):
        return MmluScores(faults=(Finding("mmlu", fault, name, "average_acc"),))
    fields = found.get("subcat_acc")
    there = set(cast("dict[str, Any]", fields)) if isinstance(fields, dict) else FIELDS
    faults: list[Finding] = []
    if lacking := FIELDS - there:
        what = f"subjects are missing: it has no {', '.join(sorted(lacking))}"
        faults.append(Finding("mmlu", what, name, "subcat_acc", blocks=False))
    recomputed, letters, asked, wrong = _subjects(path.parent)
    return MmluScores(float(average), recomputed, letters, asked, (*faults, *wrong))


def _wrong_average(average: Any, found: Mapping[str, Any]) -> str:
    """Say why the average cannot be used; empty if it can."""
    if average is None and "results" in found:
        return (
            "is missing: this is lm-evaluation-harness's layout, whose protocol differs from the "
            "task's. Give the metrics.json of Open Instruct's run_eval"
        )
    if average is None:
        listed = ", ".join(list(found)[:8]) or "nothing of the kind"
        return f"is missing: expected an object with average_acc, found {listed}"
    if isinstance(average, bool) or not isinstance(average, int | float):
        return f"{str(average)[:40]!r} is not a number"
    if not math.isfinite(average):
        return f"is {average}"
    if not 0 <= average <= 1:
        return f"{average} is not an accuracy from 0 to 1: is it in percent?"
    return ""


def _subjects(
    folder: Path,
) -> tuple[float | None, dict[str, float] | None, int | None, list[Finding]]:
    """Read the subjects' tables: accuracy, shares of chosen letters, questions, faults."""
    there = {path.stem for path in folder.glob("*.csv")} & SUBJECTS
    if not there:
        return None, None, None, []
    faults: list[Finding] = []
    if lacking := SUBJECTS - there:
        what = f"{len(lacking)} of {len(SUBJECTS)} subjects are missing: "
        faults.append(Finding("mmlu", what + ", ".join(sorted(lacking)), blocks=False))
    right: list[bool] = []
    chosen: list[str] = []
    for subject in sorted(there):
        table = _read(folder, f"{subject}.csv", ("correct", *CHOICES), "mmlu")
        faults += [replace(fault, blocks=False) for fault in table.faults]
        right += [str(cell) == "True" for cell in table.column("correct")]
        sides = map(table.column, CHOICES)
        chosen += [LETTERS[row.index(max(row))] for row in zip(*sides, strict=True)]
    if not right:
        return None, None, None, faults
    shares = {letter: chosen.count(letter) / len(chosen) for letter in LETTERS}
    return sum(right) / len(right), shares, len(right), faults
