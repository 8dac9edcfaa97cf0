"""Tables of runs: columns, the query that filters runs, runs folded into one row, a baseline.

A column shows a score, a measure, a setting or a fact of a run, each read from the table that
declares it. Queries, saved views, command line and files call it by the same name.
"""

import difflib
import math
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property, lru_cache
from itertools import chain
from typing import Literal, cast

from unlearnlab.metrics.intervals import Interval
from unlearnlab.metrics.measures import MEASURES, Measure
from unlearnlab.metrics.scores import SCORES, Score, shown_scores, value_of
from unlearnlab.spec.fields import PHASE, settings
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import settled, written
from unlearnlab.views.comparison import Setting, setting
from unlearnlab.views.runs import (
    ABSENT,
    SHORT,
    Leaf,
    RunSummary,
    blocks_of_phases,
    labels,
    leaf_text,
    one_per_seed,
    seed_groups,
    setting_values,
    settings_in_short,
)

Group = Literal["run", "scores", "measures", "settings"]

GROUPS: Mapping[Group, str] = {
    "run": "Run",
    "scores": "Scores",
    "measures": "Further measures",
    "settings": "Settings",
}
"""Groups of columns with their titles, in the order in which they are offered."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a table shows beside summaries of runs."""

    measures: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict[str, "Measured"])
    """Measures of the unlearned models by id of the run, as far as they were computed."""
    sweeps: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of sweeps by id."""


Measured = Mapping[str, Interval]

NOTHING = Known()

# ---- columns


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table of runs."""

    key: str
    """By which queries, views and options call it."""
    title: str
    group: Group
    read: Callable[[RunSummary, Known], Sequence[Leaf]]
    """Returns the values of a run: one for each phase of a phase's setting; none if it has none."""
    write: Callable[[Leaf], str] = str
    numeric: bool = False
    glue: str = " → "
    """Stands between several values: by default, those of phases."""
    names: tuple[str, ...] = ()
    """Further names, in small letters with underscores."""
    mark: str = ""
    """The sign of the good direction, as of a score."""
    distance: Callable[[float], float] | None = None
    """Distance of a value from the ideal, where one direction is good."""
    help: str = ""
    before: Callable[[RunSummary], float | None] | None = None
    """Returns a score of the original model."""

    @property
    def measured(self) -> bool:
        """Whether values compare only under one setup of the evaluation."""
        return self.group in ("scores", "measures")

    def text(self, run: RunSummary, known: Known = NOTHING) -> str:
        """Write a run's values; those of several phases in order, equal ones once."""
        return self.glue.join(dict.fromkeys(map(self.write, self.read(run, known)))) or ABSENT

    def number(self, run: RunSummary, known: Known = NOTHING) -> float | None:
        """Return the value to sort, average and compare by; that of the first phase."""
        first = next(iter(self.read(run, known)), None) if self.numeric else None
        if isinstance(first, bool) or not isinstance(first, int | float):
            return None
        return float(first) if math.isfinite(first) else None


def _one(value: Leaf) -> Sequence[Leaf]:
    return () if value in (None, "") else (value,)


def _score(of: Score) -> Column:
    return Column(
        of.key,
        of.head,
        "scores",
        lambda run, _: _one(value_of(run.after, of.key)),
        lambda value: f"{value:.2f}",
        numeric=True,
        names=tuple(_named(one) for one in (of.weight, of.head, of.title) if one),
        mark=of.mark,
        distance=of.distance,
        help=f"{of.title}, {of.direction}",
        before=lambda run: value_of(run.before, of.key),
    )


def _measure(of: Measure) -> Column:
    ideal = {"low": 0.0, "high": math.inf}.get(of.ideal)
    try:
        ideal = float(of.ideal) if ideal is None else ideal
    except ValueError:  # "as before": neither direction is good.
        ideal = None

    def read(run: RunSummary, known: Known) -> Sequence[Leaf]:
        found = known.measures.get(run.run_id, {}).get(of.name)
        return () if found is None else (found.value,)

    def distance(value: float) -> float:
        return -value if ideal == math.inf else abs(value - (ideal or 0.0))

    return Column(
        of.name,
        of.title,
        "measures",
        read,
        lambda value: of.write(float(value) if isinstance(value, int | float) else None),
        numeric=True,
        names=(_named(of.title),),
        mark={"low": "↓", "high": "↑"}.get(of.ideal, f"→ {of.ideal}"),
        distance=None if ideal is None else distance,
        help=f"best: {of.ideal}; {of.source}",
    )


def _named(title: str) -> str:
    """Write a title as a name in a query: "Min-K% AUC" as `min_k_auc`."""
    return "_".join(re.findall(r"[^\W_]+", title.lower()))


def _settings() -> list[Column]:
    """Make the columns of the settings, each called by as much of its path as tells it apart."""

    def parts(path: str) -> list[str]:
        """Return the words of a path that a name is made of; a kind goes by what it is of."""
        words = [part for part in path.split(".") if part != PHASE]
        return words[:-1] if words[-1] in ("kind", "name", "source") else words

    def read(path: str) -> Callable[[RunSummary, Known], Sequence[Leaf]]:
        return lambda run, _: setting_values(run).get(path, ())

    def write(path: str) -> Callable[[Leaf], str]:
        return lambda value: leaf_text(path, value)

    known = {one.path: one for one in settings() if one.shape != "group"}
    tails = Counter(".".join(words[at:]) for words in map(parts, known) for at in range(len(words)))
    found: list[Column] = []
    for path, one in known.items():
        words = parts(path)
        tail = (".".join(words[at:]) for at in range(len(words) - 1, -1, -1))
        found.append(
            Column(
                next((name for name in tail if tails[name] == 1), path),
                SHORT.get(path) or words[-1].replace("_", " "),
                "settings",
                read(path),
                write(path),
                numeric=one.shape == "number",
                help=one.help,
            )
        )
    return found


def _fact(
    key: str,
    title: str,
    read: Callable[[RunSummary, Known], Sequence[Leaf]],
    write: Callable[[Leaf], str] = str,
    *,
    numeric: bool = False,
    names: tuple[str, ...] = (),
) -> Column:
    return Column(key, title, "run", read, write, numeric=numeric, names=(*names, _named(title)))


def _clock(moment: Leaf) -> str:
    plain = float(moment) if isinstance(moment, int | float) else 0.0
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(plain))


def _methods(run: RunSummary, _: Known) -> Sequence[Leaf]:
    return [phase.method.kind for phase in run.spec.phases]


@cache
def columns() -> Mapping[str, Column]:
    """Return all columns by key, in the order in which they are offered."""
    facts = (
        _fact("run", "Id", lambda run, _: (run.run_id,), names=("id",)),
        _fact("title", "Run", lambda run, _: (run.title,), names=("name",)),
        _fact("number", "Number", lambda run, _: _one(run.number or None), numeric=True),
        _fact("method", "Method", _methods, lambda kind: METHODS[str(kind)].card.title),
        _fact("layers", "Layers", lambda run, _: blocks_of_phases(run), names=("blocks",)),
        _fact("verdict", "Verdict", lambda run, _: _one(run.outcome), names=("outcome",)),
        _fact("status", "Status", lambda run, _: (run.status,)),
        _fact(
            "seconds",
            "Took",
            lambda run, _: _one(run.seconds),
            lambda value: f"{value:.0f} s",
            numeric=True,
        ),
        _fact("created", "Started", lambda run, _: (run.created,), _clock, numeric=True),
        replace(_fact("tag", "Tags", lambda run, _: run.tags), glue=", "),
        _fact("notes", "Notes", lambda run, _: _one(run.notes)),
        _fact(
            "sweep",
            "Sweep",
            lambda run, known: _one(known.sweeps.get(run.sweep, run.sweep)),
        ),
        _fact("origin", "Imported", lambda run, _: _one(run.origin)),
        _fact("pinned", "Pinned", lambda run, _: ("yes" if run.pinned else "no",)),
    )
    # The method of a run is a fact above, told as one column over its phases.
    own = [one for one in _settings() if one.key != "method"]
    scores, measures = map(_score, SCORES.values()), map(_measure, MEASURES.values())
    return {one.key: one for one in chain(facts, scores, measures, own)}


def offered_columns() -> Mapping[str, Sequence[Column]]:
    """Return the columns to choose from by title of their group; the run itself always shows."""
    return {
        title: [one for key, one in columns().items() if one.group == group and key != "title"]
        for group, title in GROUPS.items()
    }


def usual_columns() -> tuple[str, ...]:
    """Return the keys of the columns of a table whose reader has chosen none."""
    return (*(score.key for score in shown_scores()), "verdict", "seconds", "created")


def differing(of: Sequence[RunSummary]) -> list[str]:
    """Return the keys of the settings, methods and layers in which runs differ."""
    facts = ("method", "layers")
    return [
        key
        for key, one in columns().items()
        if (one.group == "settings" or key in facts) and len({one.text(run) for run in of}) > 1
    ]


# ---- queries


class QueryError(ValueError):
    """A query cannot be read; the text says which part, and what to write instead."""


def column_named(name: str) -> Column:
    """Return a column by its key, another name of it, its initials, or the start of one of them.

    Raises:
        QueryError: There is none, or there are several.
    """
    wanted, known = name.lower().replace("-", "_"), columns()
    if wanted in known:
        return known[wanted]
    exact = [one for one in known.values() if wanted in one.names]
    if exact:
        return exact[0]

    def fits(one: Column) -> bool:
        names = (one.key, *one.names)
        initials = "".join(word[0] for word in one.key.split("_")) if "_" in one.key else ""
        ends = one.key.split(".")[-1] == wanted or one.key.endswith(f"_{wanted}")
        return wanted == initials or ends or any(each.startswith(wanted) for each in names)

    found = [one.key for one in known.values() if fits(one)]
    if len(found) == 1:
        return known[found[0]]
    if found:
        some = ", ".join(found[:4]) + (" …" if len(found) > 4 else "")
        raise QueryError(f"“{name}” may be {some}: write more of it")
    names = {name: one.key for one in known.values() for name in (*one.names, one.key)}
    near: dict[str, str] = {}
    for one in difflib.get_close_matches(wanted, names, cutoff=0.75):
        near.setdefault(names[one], one)
    hint = f"did you mean {' or '.join(near.values())}?" if near else "Columns lists all names"
    raise QueryError(f"there is no column “{name}”: {hint}")


Sign = Literal[":", "=", "!=", ">", ">=", "<", "<="]

_COMPARE: Mapping[str, Callable[[float, float, float], bool]] = {
    ">": lambda one, _, end: one > end,
    ">=": lambda one, start, _: one >= start or math.isclose(one, start),
    "<": lambda one, start, _: one < start,
    "<=": lambda one, _, end: one <= end or math.isclose(one, end),
}
"""By sign, with both ends of what a number stands for: a day has many moments."""

_TERM = re.compile(
    r"""(?P<minus>-?)
    (?:(?P<name>[^\W\d][\w.-]*)(?:(?P<colon>:)|\s*(?P<sign>!=|>=|<=|=|>|<)\s*))?
    (?P<value>(?:"[^"]*"|[^\s"])+)?""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of a query."""

    column: Column | None
    """None for words that may stand anywhere in what lists show of a run."""
    sign: Sign
    values: tuple[str, ...]
    """Alternatives, in small letters."""
    numbers: tuple[tuple[float, float] | None, ...] = ()
    """The values as ranges of numbers; None for "none"."""
    negated: bool = False

    def holds(self, run: RunSummary, known: Known = NOTHING) -> bool:
        """Return whether a run passes."""
        return self._found(run, known) != (self.negated or self.sign == "!=")

    def _found(self, run: RunSummary, known: Known) -> bool:
        if self.column is None:
            return run.matches(self.values[0])
        read = self.column.read(run, known)
        there = [one for one in read if one is not None]
        if not there and "none" in self.values:
            return True
        if self.column.numeric:
            numbers = [float(one) for one in there if isinstance(one, int | float)]
            if compare := _COMPARE.get(self.sign):
                bound = self.numbers[0]
                return bound is not None and any(compare(one, *bound) for one in numbers)
            if self.sign in ("=", "!=") and self.column.text(run, known).lower() in self.values:
                return True
            return any(
                low <= one <= high or math.isclose(one, low) or math.isclose(one, high)
                for one in numbers
                for low, high in filter(None, self.numbers)
            )
        texts = {str(one).lower() for one in _flat(there)}
        texts |= {self.column.write(one).lower() for one in read}
        texts.add(self.column.text(run, known).lower())
        if self.sign in ("=", "!="):
            return any(value in texts for value in self.values)
        return any(value in text for value in self.values for text in texts)


def _flat(values: Sequence[Leaf]) -> Iterable[Leaf]:
    for value in values:
        yield from value if isinstance(value, tuple) else (value,)


def parse_query(text: str) -> tuple[Condition, ...]:
    """Read a query such as `method:npo lr>1e-4 -tag:draft "layer sweep"`.

    Parts are separated by blanks, and a run has to pass all of them. A part is words to search, or
    a column, a sign and a value: `:` finds a value within texts, a number, or a range such as
    `1e-5..1e-3`; `=` and `!=` compare whole texts; commas separate alternatives; `none` stands for
    no value; a minus before a part turns it round. Numbers may be percent, durations such as `2min`
    and days such as 2026-01-31.

    Raises:
        QueryError: A part cannot be read.
    """
    found: list[Condition] = []
    at, text = 0, text.strip()
    if text.count('"') % 2:
        raise QueryError('a quotation mark is missing: write "layer sweep" with two')
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        term = _TERM.match(text, at)
        assert term is not None  # Every part of the pattern may be missing.
        at = max(term.end(), at + 1)
        found.append(_condition(term))
    return tuple(found)


def _condition(term: re.Match[str]) -> Condition:
    name, raw = term["name"], term["value"] or ""
    sign = cast("Sign", term["colon"] or term["sign"] or ":")
    negated = bool(term["minus"]) and bool(name or raw)
    if name is None:
        words = raw.replace('"', "") or term["minus"]
        return Condition(None, ":", (words.lower(),), negated=negated)
    column = column_named(name)
    if not raw.strip('",'):
        raise QueryError(f"“{name}{sign}” needs a value after it")
    values = tuple(quoted or plain for quoted, plain in _ALTERNATIVE.findall(raw))
    small = tuple(value.lower() for value in values)
    numbers = tuple(None if value == "none" else _range(value) for value in small)
    if sign in _COMPARE:
        if not column.numeric:
            raise QueryError(f"{column.key} is no number: write {column.key}:{raw}")
        if len(values) != 1 or numbers[0] is None or ".." in raw:
            raise QueryError(f"“{name}{sign}{raw}”: {raw} is not one number")
    if column.numeric:
        for value, number in zip(values, numbers, strict=True):
            # In quotation marks, it may be a text that the column shows: "5e-4 → 1e-4", "60 s".
            whole = sign in ("=", "!=") and f'"{value}"' in raw
            if number is None and not whole and value.lower() != "none":
                raise QueryError(f"“{name}{sign}{raw}”: {value} is not a number")
        return Condition(column, sign, small, numbers, negated)
    return Condition(column, sign, small, negated=negated)


_ALTERNATIVE = re.compile(r'"([^"]+)"|([^,"]+)')

_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(%|s|min|h)?")
_UNITS: Mapping[str, float] = {"": 1.0, "%": 0.01, "s": 1.0, "min": 60.0, "h": 3600.0}

DAY_S = 86400.0


def _range(text: str) -> tuple[float, float] | None:
    """Read a number, a range, or a day as the range of its seconds; None if it is none of them."""
    low, dots, high = text.partition("..")
    if dots:
        first = _range(low) if low else (-math.inf, -math.inf)
        last = _range(high) if high else (math.inf, math.inf)
        return (first[0], last[1]) if first and last else None
    if number := _NUMBER.fullmatch(text):
        value = float(number[1]) * _UNITS[number[2] or ""]
        return value, value
    try:
        moment = datetime.fromisoformat(text.upper()).timestamp()
    except ValueError:
        return None
    return moment, moment + (DAY_S - 1 if len(text) <= len("2026-01-31") else 0.0)


def passing(
    of: Iterable[RunSummary], query: Sequence[Condition], known: Known = NOTHING
) -> list[RunSummary]:
    """Return the runs that pass all conditions of a query."""
    return [run for run in of if all(one.holds(run, known) for one in query)]


def needs_measures(query: Sequence[Condition], keys: Iterable[str]) -> bool:
    """Tell whether a query or one of the columns reads measures, which take time to compute."""
    asked = [one.column.group for one in query if one.column]
    return "measures" in (*asked, *(columns()[key].group for key in keys))


def unmeasured(query: Sequence[Condition]) -> list[Condition]:
    """Return the conditions that read no measure: they tell of which runs measures are needed."""
    return [one for one in query if not needs_measures((one,), ())]


# ---- tables

Fold = Literal["", "sweep", "seed"]

FOLDS: Mapping[Fold, str] = {"": "every run", "sweep": "by sweep", "seed": "seeds together"}
"""How runs are folded into rows."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows of a column in a row."""

    text: str
    number: float | None = None
    """The value, or the mean of several runs."""
    spread: float | None = None
    """Standard deviation of several runs."""
    note: str = ""
    """How the text came about, where that is not plain."""
    change: float | None = None
    """Difference from the baseline, where both were measured alike."""
    better: bool | None = None
    """Whether that is good; None where neither direction is, or nothing changed."""
    differs: bool = False
    """Whether a text is another one than the baseline's."""
    best: bool = False
    """Whether no row that was measured alike is better."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A run, or several that are folded into one row."""

    runs: tuple[RunSummary, ...]
    title: str
    fold: str = ""
    """What the runs have in common, as a name; empty for a run of its own."""
    settings: str = ""
    """Settings that its runs share, in a few words; empty where they share none, or it is one."""

    @property
    def pinned(self) -> bool:
        """Return whether one of its runs is pinned."""
        return any(run.pinned for run in self.runs)

    @property
    def setup(self) -> Setting | None:
        """Return the setup of the evaluation, if the scored runs share one."""
        found = {setting(run) for run in self.runs} - {None}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class RunTable:
    """Rows of runs, in order, with the chosen columns."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    known: Known
    sort: Column
    baseline: RunSummary | None

    @property
    def runs(self) -> list[RunSummary]:
        """Return the runs of all rows."""
        return [run for row in self.rows for run in row.runs]

    @property
    def folded(self) -> bool:
        """Return whether a row holds several runs."""
        return any(row.fold for row in self.rows)

    @cached_property
    def counts(self) -> Mapping[Setting | None, int]:
        """Count the rows of each setup in order; empty unless a score or a measure sorts.

        None stands for rows without the sorting score or without one setup.
        """
        return Counter(map(self.group, self.rows)) if self.sort.measured else {}

    def group(self, row: Row) -> Setting | None:
        """Return the setup under which a row is sorted; None if nothing measured sorts."""
        if not self.sort.measured or self.plain(self.sort, row).number is None:
            return None
        return self._setup(row)

    @cached_property
    def _setups(self) -> Mapping[Row, Setting | None]:
        return {row: row.setup for row in self.rows}

    def _setup(self, row: Row) -> Setting | None:
        return self._setups.get(row) or row.setup

    @cached_property
    def _best(self) -> Mapping[tuple[str, Setting | None], float]:
        """Return the least distance from the ideal by column and setup, where rows differ in it."""
        found: dict[tuple[str, Setting | None], list[float]] = defaultdict(list)
        for column in self.columns:
            distance = column.distance if column.measured else None
            for row in self.rows if distance else ():
                if distance and (value := self.plain(column, row).number) is not None:
                    found[column.key, self._setups[row]].append(distance(value))
        return {key: min(far) for key, far in found.items() if len(set(far)) > 1}

    @cached_property
    def base(self) -> Row | None:
        """Return the baseline as a row."""
        return Row((self.baseline,), self.baseline.title) if self.baseline else None

    def cells(self, row: Row) -> list[Cell]:
        """Return the cells of a row, also of one that stands within a folded row."""
        return [self.cell(column, row) for column in self.columns]

    def cell(self, column: Column, row: Row) -> Cell:
        """Return a cell, with what sets it off from the best and from the baseline."""
        found, base, setup = self.plain(column, row), self.base, self._setup(row)
        if column.distance and found.number is not None and row in self._setups:
            best = self._best.get((column.key, setup))
            if best is not None and column.distance(found.number) <= best:
                found = replace(found, best=True)
        if base is None or row.runs == base.runs or column.group == "run":
            return found
        than = self.plain(column, base)
        if not column.measured:
            found = replace(found, differs=found.text != than.text)
        elif setup != self._setup(base):
            return found
        if found.number is None or than.number is None:
            return found
        change = found.number - than.number
        if math.isclose(change, 0.0, abs_tol=1e-9):
            return replace(found, change=0.0)
        if column.distance is None:
            return replace(found, change=change)
        better = column.distance(found.number) < column.distance(than.number)
        return replace(found, change=change, better=better)

    def plain(self, column: Column, row: Row) -> Cell:
        """Return a cell as it is without other rows: a value, or what several runs have."""
        known, runs = self.known, row.runs
        if len(runs) == 1:
            before = column.before(runs[0]) if column.before else None
            note = "" if before is None else f"{column.write(before)} before"
            return Cell(column.text(runs[0], known), column.number(runs[0], known), note=note)
        if column.numeric and (column.measured or column.key == "seconds"):
            return self._mean(column, row)
        numbers = [n for run in runs if (n := column.number(run, known)) is not None]
        texts = Counter(column.text(run, known) for run in runs)
        if len(texts) == 1:
            return Cell(next(iter(texts)), numbers[0] if numbers else None)
        if column.key == "created":
            return Cell(column.write(max(numbers)), max(numbers), note="the newest")
        if column.numeric and numbers:
            low, high = min(numbers), max(numbers)
            text = f"{column.write(low)} to {column.write(high)}"
            return Cell(text, statistics.median(numbers), note=f"{len(texts)} values")
        if len(texts) <= 2:
            return Cell(", ".join(texts))
        top = ", ".join(f"{text}: {times}" for text, times in texts.most_common(6))
        return Cell(f"{len(texts)} values", note=top)

    def _mean(self, column: Column, row: Row) -> Cell:
        """Average a measured column over runs; of reruns of a seed, the newest counts."""
        counted = one_per_seed(row.runs)
        numbers = [n for run in counted if (n := column.number(run, self.known)) is not None]
        if column.measured and self._setup(row) is None:
            note = "not averaged: measured under different setups" if numbers else ""
            return Cell(ABSENT, note=note)
        if not numbers:
            return Cell(ABSENT)
        mean, several = statistics.fmean(numbers), len(numbers) > 1
        spread = statistics.stdev(numbers) if several else None
        of = "seeds" if row.settings else "runs"
        note = f"mean ± standard deviation of {len(numbers)} {of}" if several else "one run"
        if again := len(row.runs) - len(counted):
            note += f"; {again} {'rerun does' if again == 1 else 'reruns do'} not count"
        return Cell(column.write(mean), mean, spread, note)


def size_text(column: Column, size: float) -> str:
    """Write a spread or the size of a change in a column's unit, without a sign."""
    return written(size) if column.group == "settings" else column.write(size).lstrip("+")


def change_text(column: Column, change: float) -> str:
    """Write a difference from the baseline with its sign."""
    return f"{'−' if change < 0 else '+'}{size_text(column, abs(change))}"


def run_table(
    of: Sequence[RunSummary],
    keys: Sequence[str] = (),
    *,
    known: Known = NOTHING,
    fold: Fold = "",
    sort: str = "created",
    up: bool = False,
    baseline: RunSummary | None = None,
) -> RunTable:
    """Lay out runs as a table.

    Rows are sorted within each setup of the evaluation where a score or a measure sorts: others are
    not comparable. Pinned rows come first, rows without the sorting value last.

    Args:
        of: The runs, newest first.
        keys: Keys of the columns; the usual ones if empty.
        known: Measures and names of sweeps.
        fold: Which runs share a row.
        sort: Key of the sorting column.
        up: Whether to sort in ascending order.
        baseline: The run that cells are held against.
    """
    chosen = tuple(columns()[key] for key in keys or usual_columns())
    by = columns()[sort]
    table = RunTable(chosen, tuple(_rows(of, fold, known)), known, by, baseline)

    def value(row: Row) -> float | str | None:
        cell = table.plain(by, row)
        if by.numeric:
            return cell.number
        return None if cell.text == ABSENT else cell.text.lower()

    values = {row: value(row) for row in table.rows}
    there = [row for row in table.rows if values[row] is not None]
    there.sort(key=lambda row: values[row] or 0, reverse=not up)
    there.sort(key=lambda row: not row.pinned)
    rest = [row for row in table.rows if values[row] is None]
    if by.measured:
        sizes = Counter(map(table.group, there))
        order = {one: place for place, (one, _) in enumerate(sizes.most_common())}
        there.sort(key=lambda row: order[table.group(row)])
    else:
        rest.sort(key=lambda row: not row.pinned)
    return RunTable(chosen, (*there, *rest), known, by, baseline)


def _rows(of: Sequence[RunSummary], fold: Fold, known: Known) -> Iterable[Row]:
    if fold == "seed":
        groups = seed_groups(of)
        for group, name in zip(groups, _seed_labels(groups), strict=True):
            first, last = group[0], group[-1]
            if first is last:
                yield Row(group, first.title)
            else:
                yield Row(group, name, f"seed {last.run_id}", settings_in_short(first.spec))
        return
    if fold == "sweep":
        swept: dict[str, list[RunSummary]] = defaultdict(list)
        for run in of:
            swept[run.sweep or run.run_id].append(run)
        for key, group in swept.items():
            if group[0].sweep and len(group) > 1:
                yield Row(tuple(group), known.sweeps.get(key, group[0].title), f"sweep {key}")
            else:
                yield Row((group[0],), group[0].title)
        return
    yield from (Row((run,), run.title) for run in of)


@lru_cache(maxsize=4)
def _seed_labels(groups: tuple[tuple[RunSummary, ...], ...]) -> tuple[str, ...]:
    """Label the settings of groups. Cached, since a page asks for thousands every few seconds."""
    return labels(list(map(_seedless, groups)))


def _seedless(group: Sequence[RunSummary]) -> RunSummary:
    """Return what labels the seeds of one setting: by its methods, unless all have one name."""
    first, several = group[0], len(group) > 1
    named = all(run.title == first.title for run in group)
    title = first.title if named else first.spec.title
    return replace(first, title=title, spec=settled(first.spec, seed=0 if several else None))


def inside(row: Row) -> list[Row]:
    """Return the runs of a folded row as rows of their own, called by what tells them apart."""
    return [Row((run,), name) for run, name in zip(row.runs, labels(row.runs), strict=True)]


def row_labels(table: RunTable) -> list[str]:
    """Return a unique label for each row of a table, for files."""
    single = [row.runs[0] for row in table.rows if not row.fold]
    named = dict(zip((run.run_id for run in single), labels(single), strict=True))
    found = [row.title if row.fold else named[row.runs[0].run_id] for row in table.rows]
    times = Counter(found)
    return [
        label if times[label] == 1 else f"{label} · {row.runs[0].run_id}"
        for label, row in zip(found, table.rows, strict=True)
    ]
