"""MMLU's `metrics.json`, as Open Instruct's evaluation writes it, and the tables beside it.

`average_acc` pools all questions. Where the tables of single subjects lie beside the file, they
tell whether a subject is missing and which letters the model chose.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from unlearnlab.metrics.official.findings import Finding
from unlearnlab.metrics.official.tables import read

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

FIELDS = frozenset(
    """
    biology business chemistry culture economics engineering geography health history law math
    other philosophy physics politics psychology
    """.split()  # noqa: SIM905
) | {"computer science"}
"""The subcategories of `subcat_acc`."""

CHOICES = tuple(f"choice{letter}_probs" for letter in "ABCD")


@dataclass(frozen=True, slots=True)
class Mmlu:
    """What the MMLU files say."""

    average: float | None = None
    """Accuracy over all questions; none where it cannot be read."""
    recomputed: float | None = None
    """The same from the subjects' tables, where they are there."""
    letters: Mapping[str, float] | None = None
    """Share of questions that each letter was chosen for."""
    faults: tuple[Finding, ...] = ()


def find(folder: Path) -> Path | None:
    """Find the file where the script's users leave it."""
    places = (folder, folder / "mmlu", folder / "mmlu_results")
    return next((p / "metrics.json" for p in places if (p / "metrics.json").is_file()), None)


def load(path: Path) -> Mmlu:
    """Read the file, or the one in a folder, and the subjects' tables beside it."""
    path = path / "metrics.json" if path.is_dir() else path
    name = path.name
    try:
        plain: Any = json.loads(path.read_bytes())
    except OSError as error:
        return Mmlu(faults=(Finding("mmlu", f"cannot be read: {error.strerror}", str(path)),))
    except (ValueError, RecursionError) as error:
        return Mmlu(faults=(Finding("mmlu", f"is not JSON: {error}", name),))
    found = cast("dict[str, Any]", plain) if isinstance(plain, dict) else {}
    average: Any = found.get("average_acc")
    if fault := _wrong(average, found):
        return Mmlu(faults=(Finding("mmlu", fault, name, "average_acc"),))
    recomputed, letters, faults = _subjects(path.parent)
    return Mmlu(float(average), recomputed, letters, (*_unnamed_fields(found, name), *faults))


def _wrong(average: Any, found: Mapping[str, Any]) -> str:
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


def _unnamed_fields(found: Mapping[str, Any], name: str) -> tuple[Finding, ...]:
    fields = found.get("subcat_acc")
    there = set(cast("dict[str, Any]", fields)) if isinstance(fields, dict) else FIELDS
    if not (lacking := FIELDS - there):
        return ()
    what = f"subjects are missing: it has no {', '.join(sorted(lacking))}"
    return (Finding("mmlu", what, name, "subcat_acc", blocks=False),)


def _subjects(folder: Path) -> tuple[float | None, dict[str, float] | None, tuple[Finding, ...]]:
    """Read the subjects' tables: accuracy, chosen letters, and what is wrong with them."""
    there = {path.stem for path in folder.glob("*.csv")} & SUBJECTS
    if not there:
        return None, None, ()
    faults: list[Finding] = []
    if lacking := SUBJECTS - there:
        what = f"{len(lacking)} of 57 subjects are missing: {', '.join(sorted(lacking))}"
        faults.append(Finding("mmlu", what, blocks=False))
    right: list[bool] = []
    chosen: list[str] = []
    for subject in sorted(there):
        table = read(folder, f"{subject}.csv", ("correct", *CHOICES), "mmlu")
        faults += [_noted(fault) for fault in table.faults]
        right += [str(cell) == "True" for cell in table.columns.get("correct", [])]
        sides = [table.columns.get(choice, []) for choice in CHOICES]
        chosen += ["ABCD"[row.index(max(row))] for row in zip(*sides, strict=True)]
    if not right:
        return None, None, tuple(faults)
    shares = {letter: chosen.count(letter) / len(chosen) for letter in "ABCD"}
    return sum(right) / len(right), shares, tuple(faults)


def _noted(fault: Finding) -> Finding:
    return Finding("mmlu", fault.what, fault.file, fault.column, fault.rows, blocks=False)
