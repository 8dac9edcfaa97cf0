"""Runs in lists and beside each other: summaries, settings that differ, seeds, labels."""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import takewhile
from typing import Any, Literal, cast
from zlib import crc32

from unlearnlab.metrics.scores import Scores, shown_scores
from unlearnlab.metrics.verdicts import Verdict
from unlearnlab.runs.events import Failed, Finished
from unlearnlab.runs.progress import Status, status_of
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.fields import general_path, settings
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import ModelSpec, Phase, RunSpec, same_settings, settled, written
from unlearnlab.views.scoreboard import at_ends, judged, name_of, of_one_test, utility_name
from unlearnlab.views.words import blocks_text, length_text, stopped_text

Facet = Literal["model", "method", "data", "outcome", "tag"]
"""What a list of runs can be filtered by."""


@dataclass(frozen=True, slots=True, eq=False)
class RunSummary:
    """One run in a list or a comparison. Compared by identity: lists hold thousands."""

    run_id: str
    title: str
    """The name of the run, or the titles of its methods."""
    created: float
    """Unix time."""
    spec: RunSpec
    status: Status
    before: Scores | None
    """Scores of the original model; none for an evaluation-only run."""
    after: Scores | None
    """Scores of the unlearned model, or of the only one; none if it was not scored."""
    verdict: Verdict | None
    seconds: float | None
    """Duration; none until it ended."""
    settings: str = ""
    """Blocks, learning rate and length of the first phase, in a few words."""
    problem: str = ""
    """Why it failed."""
    stopped: str = ""
    """Where the user ended its training, in words; empty if it ran to its end."""
    adjusted: bool = False
    """Whether its settings were changed by hand while it ran."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    pinned: bool = False
    sweep: str = ""
    """Id of the sweep that it belongs to, if any."""
    origin: str = ""
    """Source of an imported run; empty if it was run here."""
    repeats: str = ""
    """Id of the run that it reproduces, if any."""
    keys: tuple[str, str] = ("", "")
    """Keys of the evidence behind its scores before and after; empty where there is none."""
    personal: bool = False
    """Whether its texts are masked until the reader reveals them."""
    incarnation: str = ""
    """The `incarnation` of its record."""
    damage: str = ""
    """What of it cannot be read, in words; empty if all can."""
    number: int = 0
    """Its number in the store: with its colour, the run's look wherever it is drawn."""

    @property
    def look(self) -> int:
        """Return which of the looks of runs is its own, from 0."""
        return max(0, self.number - 1)

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.spec.seed

    @property
    def utility_name(self) -> str:
        """Return the name of its utility test: MMLU, or the quiz of the embedded data."""
        return utility_name(self.after or self.before)

    @property
    def aggregate(self) -> tuple[float | None, float | None]:
        """Return the task aggregate before and after."""
        before, after = self.before, self.after
        return before.task_aggregate if before else None, after.task_aggregate if after else None

    @property
    def final(self) -> tuple[float | None, float | None]:
        """Return the final score before and after."""
        before, after = self.before, self.after
        return before.final if before else None, after.final if after else None

    @property
    def verdict_title(self) -> str:
        """Return the title of the verdict; empty without one."""
        return self.verdict.title if self.verdict else ""

    @property
    def outcome(self) -> str:
        """Return the verdict, or the status of an unfinished run."""
        if self.status != "finished":
            return self.status
        return self.verdict_title or ("scored" if self.after else "not scored")

    @property
    def facets(self) -> Mapping[Facet, Mapping[str, str]]:
        """Map each facet to the run's values with their titles."""
        kinds = (phase.method.kind for phase in self.spec.phases)
        return {
            "model": {self.spec.model.name: self.spec.model.known.title},
            "method": {kind: METHODS[kind].card.title for kind in kinds},
            "data": {self.spec.data.source: self.spec.data.known.title},
            "outcome": {self.outcome: self.outcome},
            "tag": {tag: tag for tag in self.tags},
        }

    def matches(self, text: str) -> bool:
        """Return whether every word of `text` occurs in what lists show of the run."""
        titles = (title for values in self.facets.values() for title in values.values())
        texts = (self.title, self.settings, self.status, self.run_id, self.notes, self.origin)
        searched = " ".join((*texts, *titles)).lower()
        return all(word in searched for word in text.lower().split())


def run_summary(row: RunRecord, *, paused: bool = False) -> RunSummary:
    """Summarise a run of the store; the store does not know whether it is `paused`."""
    ending = row.ending
    before, after = at_ends(row.spec, row.before, row.after, None)
    stopped = stopped_text(ending)
    again = f", {stopped}" if stopped else ""
    again += ", changed by hand" if row.adjusted else ""
    again += f", repeats {row.repeats}" if row.repeats else ""
    return RunSummary(
        run_id=row.run_id,
        title=row.name or row.spec.title,
        created=row.created,
        spec=row.spec,
        status=status_of(began=row.began, alive=row.alive, ending=ending, paused=paused),
        before=before,
        after=after,
        verdict=judged(row.spec, row.before, row.after, ending),
        seconds=ending.seconds if ending else None,
        settings=f"{settings_in_short(row.spec)}{again}",
        problem=ending.problem if isinstance(ending, Failed) else "",
        stopped=stopped,
        adjusted=row.adjusted,
        tags=row.tags,
        notes=row.notes,
        pinned=row.pinned,
        sweep=row.sweep,
        origin=row.origin,
        repeats=row.repeats,
        keys=at_ends(row.spec, *row.keys, ""),
        personal=row.personal,
        incarnation=row.incarnation,
        number=row.number,
        damage=row.damage,
    )


def settings_in_short(spec: RunSpec) -> str:
    """Return a run's settings in a few words: those of its first phase."""
    if spec.only_scores:
        return f"{spec.data.known.title}, {spec.data.fold} fold"
    first, *others = spec.phases
    model = "" if spec.model.name == ModelSpec().name else f"{spec.model.known.title}, "
    more = f", then {len(others)} more" if others else ""
    return f"{model}{_phase_in_short(spec, first)}{more}"


def _phase_in_short(spec: RunSpec, phase: Phase) -> str:
    where, length = blocks_text(phase, spec.model.blocks), length_text(spec, phase, short=True)
    return f"{where}, {written(phase.learning_rate)}, {length}"


def blocks_of_phases(run: RunSummary) -> tuple[str, ...]:
    """Name the trained blocks of each phase, such as "2–5"."""
    blocks = run.spec.model.blocks
    return tuple(
        re.sub(r"^blocks? ", "", blocks_text(phase, blocks)).replace(" to ", "–")
        for phase in run.spec.phases
    )


def usual_seconds(spec: RunSpec, rows: Iterable[RunRecord]) -> float | None:
    """Return the duration of the newest run here that finished with these settings."""
    for row in rows:
        ending = row.ending
        if row.origin or not isinstance(ending, Finished) or ending.stopped_at is not None:
            continue
        if same_settings(row.spec, spec):
            return ending.seconds
    return None


def matches(row: RunRecord, text: str) -> bool:
    """Return whether every word of `text` occurs in what lists show of a run."""
    return not text.strip() or run_summary(row).matches(text)


def utility_test(of: Sequence[RunSummary]) -> str:
    """Return the name of the runs' utility test; "Utility" if there are several or none."""
    names = {run.utility_name for run in of if run.after}
    return names.pop() if len(names) == 1 else "Utility"


def held_against(of: Sequence[RunSummary], reference: Scores | None) -> Scores | None:
    """Return the retrained model's scores without those that are not comparable with all runs."""
    for run in of:
        reference = of_one_test(reference, run.after)
    return reference


# ---- settings that differ

WATCHED = "evaluation.watched_rows"

ABSENT = "–"
"""Stands where a run has no such setting: its method or its model has none."""

SHORT: Mapping[str, str] = {
    "model.name": "model",
    "model.start_from": "starts from",
    "model.adapter.r": "adapter rank",
    "model.adapter.alpha": "adapter alpha",
    "model.adapter.dropout": "adapter dropout",
    "data.source": "data",
    "data.chat_template": "chat template",
    "data.forget": "rows picked",
    "data.rest": "other forget rows",
    "keep_as": "kept as",
}
"""Names of settings whose last part alone would say too little."""

Leaf = str | float | bool | tuple[str, ...] | None
"""A value of a setting."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting in which runs differ."""

    path: str
    """Such as `phases.0.learning_rate`."""
    name: str
    """In words."""
    values: tuple[str, ...]
    """One for each run, in words."""
    numbers: tuple[float | None, ...] | None
    """The same as numbers; None if one of them is something else."""


def differences(specs: Sequence[RunSpec]) -> tuple[Difference, ...]:
    """List the settings in which specs differ: phase by phase, the method first, then the others.

    A last block that is left open counts as the number it stands for.
    """
    flat = [leaves(spec) for spec in specs]
    tops = list(RunSpec.model_fields)

    def place(path: str) -> tuple[int, int]:
        """Return phase and rank within it: its method, what all phases have, the method's own."""
        if (phase := phase_of(path)) is None:
            return len(tops) + MOST_PHASES, tops.index(path.partition(".")[0])
        return phase, 0 if path.endswith(".method.kind") else 1 + (".method." in path)

    return tuple(
        Difference(
            path,
            _path_text(path),
            tuple(leaf_text(path, one[path]) if path in one else ABSENT for one in flat),
            _numbers([one.get(path, ABSENT) for one in flat]),
        )
        for path in sorted(dict.fromkeys(path for one in flat for path in one), key=place)
        if len({repr(one.get(path, ABSENT)) for one in flat}) > 1
    )


MOST_PHASES = 1000
"""More than any run has: what is part of no phase comes after them."""


def phase_of(path: str) -> int | None:
    """Return the number of the phase that a setting's path is in, from 0; None if it is in none."""
    top, _, rest = path.partition(".")
    return int(rest.partition(".")[0]) if top == "phases" else None


@dataclass(frozen=True, slots=True)
class DifferenceGroup:
    """Settings that differ in one phase, or outside of the phases."""

    title: str
    """Empty if there is nothing else to tell it from."""
    rows: tuple[Difference, ...]
    phases: tuple[str, ...] = ()
    """The phase in short by run, a dash where a run has none; empty if all runs have it."""


def difference_groups(specs: Sequence[RunSpec]) -> tuple[DifferenceGroup, ...]:
    """Group the settings in which specs differ by phase; the others come last."""
    found: dict[int | None, list[Difference]] = defaultdict(list)
    for one in differences(specs):
        found[phase_of(one.path)].append(one)

    def in_short(spec: RunSpec, number: int) -> str:
        if number >= len(spec.phases):
            return ABSENT
        phase = spec.phases[number]
        return f"{phase.method.card.title}, {_phase_in_short(spec, phase)}"

    def group(number: int | None, rows: Sequence[Difference]) -> DifferenceGroup:
        if number is None:
            return DifferenceGroup("Outside of the phases" if len(found) > 1 else "", tuple(rows))
        several = any(len(spec.phases) > 1 for spec in specs)
        shared = all(number < len(spec.phases) for spec in specs)
        phases = () if shared else tuple(in_short(spec, number) for spec in specs)
        title = f"Phase {number + 1}" if several else "Training" if len(found) > 1 else ""
        return DifferenceGroup(title, tuple(rows), phases)

    return tuple(group(number, rows) for number, rows in found.items())


@lru_cache(maxsize=8192)
def setting_values(run: RunSummary) -> Mapping[str, tuple[Leaf, ...]]:
    """Map the paths of settings, with N for the number of a phase, to a run's values by phase."""
    found: dict[str, list[Leaf]] = defaultdict(list)
    for path, value in leaves(run.spec).items():
        found[general_path(path)].append(value)
    return {path: tuple(values) for path, values in found.items()}


def leaves(spec: RunSpec) -> Mapping[str, Leaf]:
    """Flatten a spec: value by dotted path."""
    found: dict[str, Leaf] = {}

    def flatten(path: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in cast("Mapping[str, Any]", value).items():
                flatten(f"{path}.{name}" if path else name, inner)
        elif path == "phases":
            for number, inner in enumerate(cast("Sequence[Any]", value)):
                flatten(f"{path}.{number}", inner)
        elif value is not None or path not in _groups():  # The settings of no group are absent.
            found[path] = value

    flatten("", spec.model_dump())
    blocks = spec.model.blocks
    for number, phase in enumerate(spec.phases):
        if phase.last_layer is None and blocks is not None:
            found[f"phases.{number}.last_layer"] = blocks - 1
    return found


@cache
def _groups() -> frozenset[str]:
    return frozenset(one.path for one in settings() if one.shape == "group")


def leaf_text(path: str, value: Leaf) -> str:
    """Write a value of a setting; the path may be a general one."""
    if path.endswith("method.kind"):
        return METHODS[str(value)].card.title
    match value:
        case None if path == WATCHED:
            return "chosen by the program"
        case None:
            return "all" if path.endswith(("tasks", "forget")) else "none"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return written(value)
        case tuple() if path in ("data.forget", WATCHED):
            # Two choices of as many rows are not the same choice.
            return f"{len(value)} ({crc32(repr(value).encode()) & 0xFFFF:04x})"
        case tuple():
            return ", ".join(value)
        case _:
            return value or "none"


def _numbers(values: Sequence[Leaf]) -> tuple[float | None, ...] | None:
    """Return values as numbers, absent ones as None; None if any is not a number."""
    plain = [value for value in values if value not in (ABSENT, None)]
    if not plain or not all(type(value) in (int, float) for value in plain):
        return None
    return tuple(float(v) if isinstance(v, int | float) else None for v in values)


def _path_text(path: str) -> str:
    """Name a setting in words: `phases.1.method.beta` is "phase 2 beta"."""
    if path in SHORT:
        return SHORT[path]
    parts = path.split(".")
    phase = int(parts[1]) if parts[0] == "phases" else 0
    name = "method" if parts[-1] == "kind" else parts[-1].replace("_", " ")
    return f"phase {phase + 1} {name}" if phase else name


# ---- seeds


def seed_group(spec: RunSpec, rows: Iterable[RunRecord]) -> tuple[Scores, ...]:
    """Return the unlearned models' scores of a spec, one per seed.

    Args:
        spec: The spec; its seed is ignored.
        rows: Runs, newest first. The newest run of a seed counts; runs that were imported, stopped
            early or changed by hand do not.
    """
    found: dict[int, Scores] = {}
    for row in rows:
        # Cheap checks first: this runs for every run in the list.
        if row.after is None or row.spec.seed in found or row.spec.model != spec.model:
            continue
        if row.adjusted or stopped_text(row.ending):
            continue
        if not row.origin and row.spec.data == spec.data and same_settings(row.spec, spec):
            found[row.spec.seed] = row.after
    return tuple(found.values())


def seeds_text(group: tuple[Scores, ...]) -> str:
    """Return mean and standard deviation over seeds, in words; empty for fewer than two."""
    if len(group) < 2:
        return ""
    parts: list[str] = []
    for score in shown_scores():
        values = [value for scores in group if (value := score.value(scores)) is not None]
        if len(values) == len(group):
            mean, spread = statistics.fmean(values), statistics.stdev(values)
            parts.append(f"{name_of(score, group[0])} {mean:.2f} ± {spread:.2f}")
    return f"{len(group)} seeds of this spec: {', '.join(parts)}"


def seed_groups(of: Sequence[RunSummary]) -> tuple[tuple[RunSummary, ...], ...]:
    """Put runs together that differ in nothing but their seed and name, in order of appearance.

    A run whose training was ended early or changed by hand is in a group of its own, and imported
    runs are not put together with those that ran here.
    """
    groups: dict[str, list[RunSummary]] = {}
    for run in of:
        groups.setdefault(_but_for_the_seed(run), []).append(run)
    return tuple(tuple(group) for group in groups.values())


@lru_cache(maxsize=8192)
def _but_for_the_seed(run: RunSummary) -> str:
    apart = run.run_id if run.stopped or run.adjusted else "imported" if run.origin else ""
    return apart + settled(run.spec, seed=0).model_dump_json()


@lru_cache(maxsize=1024)
def one_per_seed(of: tuple[RunSummary, ...]) -> tuple[RunSummary, ...]:
    """Return the newest run of each setting and seed, a scored one if there is one.

    A rerun is no second sample: its numbers are those of the first.
    """
    ranked = sorted(reversed(of), key=lambda run: (run.after is not None, run.created))
    kept = {(_but_for_the_seed(run), run.seed): run for run in ranked}
    return tuple(run for run in of if kept[_but_for_the_seed(run), run.seed] is run)


# ---- labels

MOST_SETTINGS = 2
"""Most settings in a label; the table of differences shows the others."""

SEPARATOR = re.compile(r"[:,] ")
"""Separates the parts of a title; a title may be cut here."""


def labels(of: Sequence[RunSummary]) -> tuple[str, ...]:
    """Return a short unique label for each run: its title, then differing settings, then its id.

    A start that all titles share, as in a sweep, is left out.

    Returns:
        One label per run, in their order.
    """
    named = [f"{run.title} ({run.origin})" if run.origin else run.title for run in of]
    titles = _without_shared_start(named)
    found = list(titles)
    for title, times in Counter(titles).items():
        if times == 1:
            continue
        places = [at for at, one in enumerate(titles) if one == title]
        differ = differences([of[at].spec for at in places])
        # The seed comes last.
        shown = ([one for one in differ if one.path != "seed"] or differ)[:MOST_SETTINGS]
        for number, at in enumerate(places):
            values = ", ".join(f"{one.name} {one.values[number]}" for one in shown)
            found[at] = f"{title} · {values}" if values else title
    twice = {label for label, times in Counter(found).items() if times > 1}
    return tuple(
        f"{label} · {run.run_id}" if label in twice else label
        for label, run in zip(found, of, strict=True)
    )


def _without_shared_start(titles: Sequence[str]) -> list[str]:
    if len(set(titles)) < 2:
        return list(titles)
    parts = [SEPARATOR.split(title) for title in titles]
    shared = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False)))
    drop = min(shared, min(map(len, parts)) - 1)
    return [SEPARATOR.split(title, drop)[-1] if drop else title for title in titles]
