"""What the official script left in a folder: outputs, document losses, the MMLU average."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from unlearnlab.data.datasets import Kind, Split
from unlearnlab.metrics.official import mmlu
from unlearnlab.metrics.official.findings import Finding, Place, by_file
from unlearnlab.metrics.official.mmlu import Mmlu
from unlearnlab.metrics.official.tables import Table, missing, numbers, read
from unlearnlab.metrics.scores import Membership

SPLITS: tuple[Split, ...] = get_args(Split)

NEEDED = ("id", "task", "expected_output", "model_output")
"""Columns that a score depends on."""

TASKS = ("Task1", "Task2", "Task3")
"""The subtasks of the task."""


@dataclass(frozen=True, slots=True)
class Output:
    """One row of `forget_*.csv` or `retain_*.csv`, its texts as the script compares them."""

    row: str
    """The row's id."""
    split: Split
    task: str
    kind: Kind
    expected: str
    generated: str
    """The word "nan" where the cell is missing: an empty output, or one that says NA or None."""
    missing: bool
    """Whether the output's cell was read as missing."""


@dataclass(frozen=True, slots=True)
class Submission:
    """All that was read, and all that is wrong with it."""

    folder: Path
    outputs: tuple[Output, ...]
    membership: Membership | None
    mmlu: Mmlu
    faults: tuple[Finding, ...]


def load(folder: Path, mmlu_file: Path | None = None) -> Submission:
    """Read a folder of the script's output.

    Args:
        folder: Holds `forget_*.csv`, `retain_*.csv` and perhaps `mia_results/`.
        mmlu_file: The `metrics.json` of an MMLU evaluation, or its folder; looked for in `folder`
            if not given.
    """
    outputs: list[Output] = []
    faults: list[Finding] = []
    for split in SPLITS:
        table = read(folder, f"{split}_*.csv", NEEDED, split)
        found, wrong = _outputs(table, split)
        outputs += found
        faults += [*table.faults, *wrong, *_losses(table, split)]
    faults += _in_both(outputs)
    membership, wrong = _membership(folder)
    path = mmlu_file or mmlu.find(folder)
    read_mmlu = mmlu.load(path) if path else _no_mmlu(folder)
    faults += [*wrong, *read_mmlu.faults]
    return Submission(folder, tuple(outputs), membership, read_mmlu, tuple(faults))


def _no_mmlu(folder: Path) -> Mmlu:
    what = f"no metrics.json in {folder}: name the file with --mmlu"
    return Mmlu(faults=(Finding("mmlu", what),))


def _outputs(table: Table, split: Split) -> tuple[list[Output], list[Finding]]:
    """Make rows of a table; one without a usable id is left out and told of."""
    rows: list[Output] = []
    unnamed: list[Place] = []
    untyped: list[Place] = []
    strange: dict[str, list[Place]] = {}
    columns = (table.columns.get(name, []) for name in NEEDED)
    for place, name, task, expected, generated in zip(table.places, *columns, strict=False):
        if not isinstance(name, str):
            unnamed.append(place)
        elif (kind := kind_of(name)) is None:
            untyped.append(place)
        else:
            said = "" if missing(task) else str(task)
            if said not in TASKS:
                strange.setdefault(said, []).append(place)
            texts = str(expected), str(generated)
            rows.append(Output(name, split, said, kind, *texts, missing(generated)))
    faults = [
        *_told(unnamed, split, "id", "is no text: such a row has no type and no score"),
        *_told(untyped, split, "id", "names neither sc nor qa: not scored", blocks=False),
        *_repeated(table, split),
    ]
    for task, places in strange.items():
        what = f"{task!r} is none of {', '.join(TASKS)}" if task else "is empty: row is in no term"
        faults += _told(places, split, "task", what, blocks=False)
    return rows, faults


def kind_of(row_id: str) -> Kind | None:
    """Read the type of a row off its id, without its last character as the script does."""
    stem = row_id[:-1]
    return "sc" if stem.endswith("sc") else "qa" if stem.endswith("qa") else None


def _told(
    places: list[Place], split: Split, column: str, what: str, *, blocks: bool = True
) -> list[Finding]:
    return [Finding(split, what, file, column, rows, blocks) for file, rows in by_file(places)]


def _repeated(table: Table, split: Split) -> list[Finding]:
    """Tell of ids that come again: the script counts such rows as often as they come."""
    seen: dict[Any, Place] = {}
    again: dict[str, list[Place]] = {}
    for place, name in zip(table.places, table.columns.get("id", []), strict=False):
        if missing(name):
            continue
        if name in seen:
            again.setdefault(seen[name].file, []).append(place)
        seen.setdefault(name, place)
    found: list[Finding] = []
    for first, places in again.items():
        what = f"id already in {first}: counted again, as the script does (it pads several GPUs)"
        found += _told(places, split, "id", what, blocks=False)
    return found


def _losses(table: Table, split: Split) -> tuple[Finding, ...]:
    """Check the losses, which are part of no score."""
    if table.columns and "nll" not in table.columns:
        return (Finding(split, "is missing; no score needs it", "", "nll", (), blocks=False),)
    _, faults = numbers(table, "nll", split, blocks=False)
    return faults


def _in_both(outputs: list[Output]) -> list[Finding]:
    sides = ({one.row for one in outputs if one.split == split} for split in SPLITS)
    forget, retain = sides
    if not (both := forget & retain):
        return []
    what = f"{len(both)} of the ids are in forget and in retain: are these the files of one run?"
    return [Finding("retain", what, column="id", blocks=False)]


def _membership(folder: Path) -> tuple[Membership | None, list[Finding]]:
    """Read the losses of members and non-members; none if one of them cannot be used."""
    if not (folder / "mia_results").is_dir():
        return None, [Finding("mia", f"no folder mia_results in {folder}")]
    faults: list[Finding] = []
    sides: list[tuple[float, ...]] = []
    for side in ("member", "nonmember"):
        table = read(folder, f"mia_results/{side}_*.csv", ("nll",), "mia")
        values, wrong = numbers(table, "nll", "mia", blocks=True)
        faults += [*table.faults, *wrong]
        sides.append(tuple(values))
    if any(fault.blocks for fault in faults):
        return None, faults
    return Membership(member=sides[0], nonmember=sides[1]), faults
