"""The commands `docs` and `target`: tables of the pages, and the embedded model that they measure.

`docs` writes the generated tables of README.md and docs/, each between two comments that name it.
What the code declares (methods, settings, presets, measures, verdicts) and what was measured (files
in `assets`) is never typed into a page by hand.
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearnlab.cli.commands import BAD_INPUT, DONE, FAILED, Commands, as_json, number, table, tell
from unlearnlab.cli.follow import on_device
from unlearnlab.data.datasets import Form, Kind, Split
from unlearnlab.data.files import ASSETS, DOCS, EMBEDDED
from unlearnlab.metrics.labels import OUTCOMES
from unlearnlab.metrics.labels import TITLES as LABEL_TITLES
from unlearnlab.metrics.measures import MEASURES, retrained_scores
from unlearnlab.metrics.scores import Scores, shown_scores
from unlearnlab.metrics.tracing import PARTS, Row
from unlearnlab.metrics.verdicts import THRESHOLDS, TITLES, Verdict, verdict
from unlearnlab.models.catalog import models
from unlearnlab.spec.fields import Setting, settings
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import presets
from unlearnlab.spec.sweep import expand_grid, ready_sweeps
from unlearnlab.views.benchmarks import (
    FIGURES,
    GPU,
    LABELS,
    LAYER_WINDOWS,
    REAL_MODEL,
    Measurement,
    RealModel,
    RealRun,
    answered,
    gpu_record,
    measurements,
    real_model,
    score_of,
    sweep_record,
    windows,
)

README = DOCS.parent / "README.md"
PAGES = (README, *sorted(DOCS.glob("*.md")))
"""Every page that may have a generated table."""

_BLOCK = re.compile(r"(<!-- begin: (?P<name>\w+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    target = commands.group("target", "build or check the embedded model")
    about = "write the embedded data, and train the original and the retrained model"
    building = target.add("build", _target_build, about, device=True)
    building.add_argument(
        "--out",
        type=Path,
        default=EMBEDDED,
        help="folder (default: that of the embedded model, which is replaced)",
    )
    about = "measure the original and the retrained model against their targets"
    checking = target.add("check", _target_check, about, json=True, device=True)
    checking.add_argument(
        "--write", action="store_true", help="save the numbers for docs/results.md and the page"
    )
    tables = commands.add("docs", _docs, "write the generated tables of README.md and docs/")
    tables.add_argument(
        "pages",
        metavar="FILE",
        nargs="*",
        type=Path,
        default=PAGES,
        help="pages to write (default: README.md and all of docs/)",
    )
    tables.add_argument("--check", action="store_true", help="only check that they are current")


def written(text: str) -> str:
    """Return the text of a page with its generated blocks rewritten.

    Raises:
        ValueError: The page names a block that nothing generates.
    """

    def fill(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in BLOCKS:
            raise ValueError(f"unknown block {name!r}: known are {', '.join(BLOCKS)}")
        return f"{found[1]}{BLOCKS[name]()}\n{found[3]}"

    return _BLOCK.sub(fill, text)


def stale_blocks(page: Path) -> list[str]:
    """Name the blocks of a page that differ from what would be written now."""
    text = page.read_text(encoding="utf-8")
    pairs = zip(_BLOCK.finditer(text), _BLOCK.finditer(written(text)), strict=True)
    return [old["name"] for old, new in pairs if old[0] != new[0]]


def methods_table() -> str:
    """Describe every method: idea, hyperparameters with defaults and units, source."""
    rows = [
        [
            f"**{cls.card.title}** `{kind}`",
            cls.card.idea,
            "<br>".join(_hyperparameter(one) for one in settings() if one.method == kind),
            cls.card.source,
        ]
        for kind, cls in METHODS.items()
    ]
    return _table(["method", "idea", "hyperparameters and defaults", "source"], rows)


def _hyperparameter(setting: Setting) -> str:
    unit = f" {setting.unit}" if setting.unit and setting.default != "none" else ""
    return f"`{setting.name}` {setting.default}{unit}"


def settings_table() -> str:
    """Describe every setting that does not belong to one method."""
    rows = [
        [
            f"`{one.path}`",
            # A bar would end the table's cell.
            one.values.replace(" | ", ", ") + (f" in {one.unit}" if one.unit else ""),
            f"`{one.default}`",
            one.help,
        ]
        for one in settings()
        if not one.method
    ]
    return _table(["setting", "values", "default", "what it is"], rows)


def presets_table() -> str:
    """Describe every preset."""
    rows = [[f"`{one.name}`", one.description, one.source] for one in presets().values()]
    return _table(["preset", "what to expect", "where its settings come from"], rows)


def models_table() -> str:
    """Describe every model of the catalog: what it is called, its sizes, its licence."""
    rows = [
        [
            f"`{one.name}`",
            one.title,
            str(one.architecture.blocks) if one.architecture else "as on the hub",
            f"{one.architecture.parameters / 1e6:,.0f} M" if one.architecture else "as on the hub",
            one.licence or "–",
            "on request" if one.access else "public" if one.repository else "comes along",
        ]
        for one in models().values()
    ]
    return _table(["name", "title", "blocks", "parameters", "licence", "access"], rows)


def verdicts_table() -> str:
    """Describe every verdict on unlearning, in the order in which they are tried."""
    rows = [[f"**{TITLES[kind]}**", text] for kind, text in THRESHOLDS.items()]
    return _table(["verdict", "holds if"], rows)


def calibration_table() -> str:
    """Judge models of known kinds and every measured preset by today's rules."""
    lines: list[tuple[str, str, Verdict]] = []
    for fold, retrained in retrained_scores().items():
        measured = [group for (_, of), group in measurements().items() if of == fold]
        if not measured:
            continue
        original = measured[0].runs[0].before
        for name, before, after in (
            ("original model, nothing done", original, original),
            ("retrained without the forget rows", original, retrained),
            ("retrained model, nothing known before", retrained, retrained),
        ):
            lines.append((name, fold, verdict(before, after, reference=retrained)))
    for (preset, fold), group in measurements().items():
        run = group.runs[0]
        lines.append((f"`{preset}`, seed {run.seed}", fold, run.judgement))
    if not lines:
        return "Not measured yet: `python -m tests.benchmarks.bench_presets` makes this table."
    head = ["model", "fold", "verdict", "because"]
    rows = [[name, fold, found.title, found.evidence[0]] for name, fold, found in lines]
    return _table(head, rows)


def measures_table() -> str:
    """Describe every further measure: goal, what it is computed from, source."""
    rows = [[one.title, one.ideal, ", ".join(one.needs), one.source] for one in MEASURES.values()]
    return _table(["measure", "goal", "needs", "source"], rows)


def target_table(assets: Path = ASSETS) -> str:
    """Show what `target check --write` measured of the embedded model."""
    path = assets / "target.json"
    if not path.exists():
        return "Not measured yet: `python -m unlearnlab target check --write` makes this table."
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names = ("name", "original", "retrained", "target")
    rows = [[str(row[name]) for name in names] for row in found["rows"]]
    head = ["", "original model", "retrained model", "to reach"]
    return f"{_table(head, rows)}\n\n{found['settings']}"


def results_table() -> str:
    """Show what the presets did with several seeds: `tests/benchmarks/bench_presets.py`."""
    found = measurements()
    if not found:
        return "Not measured yet: `python -m tests.benchmarks.bench_presets` makes this table."
    head = ["preset", "fold", "aggregate ↑", "forget answers ↓", "retain answers ↑", "AUC → 0.5"]
    head += ["quiz ↑", "verdict", "seconds", "memory, GiB", "seeds"]
    rows = [
        [f"`{name}`", fold, *_measured(group), str(len(group.runs))]
        for (name, fold), group in found.items()
    ]
    devices = sorted({run.device for group in found.values() for run in group.runs})
    note = (
        "Mean of the seeds, with the lowest and the highest in brackets. Answers: share of "
        "questions answered exactly, in the worst subtask. The original model's scores are in the "
        "last table of this page. Seconds: the fastest run, including both scorings, on "
        f"{' or '.join(devices)}. Memory: the largest that the process held after a training step, "
        "libraries included."
    )
    return f"{_table(head, rows)}\n\n{note}"


ASKED: Sequence[tuple[Split, str, Form, bool]] = (
    ("forget", "other question", "question", True),
    ("forget", "held-out question", "question", False),
    ("forget", "statement", "statement", True),
    ("forget", "question by byname", "byname", True),
    ("retain", "other question", "question", True),
    ("retain", "held-out question", "question", False),
)
"""Columns of the table of wordings: set, title, form, taught."""


def wordings_table() -> str:
    """Show what unlearned models still answer in other words than those that were unlearned."""
    found = {key: group for key, group in measurements().items() if group.runs[0].wordings}
    if not found:
        return "Not measured yet: `python -m tests.benchmarks.bench_presets` makes this table."
    head = ["preset", "fold", "forget: unlearned question"]
    head += [f"{split}: {title}" for split, title, _, _ in ASKED]
    rows = []
    for (name, fold), group in found.items():
        own = group.after(lambda scores: answered(scores, "forget"))
        cells = [f"`{name}`", fold, _spread(own)]
        for split, _, form, taught in ASKED:
            asked = [run.known(split, form, taught=taught) for run in group.runs]
            known = [one for one in asked if one is not None]
            cells.append(_spread(known) if known else "–")
        rows.append(cells)
    note = (
        "Share of facts answered exactly after unlearning, a mean over the subtasks; mean of the "
        "seeds, with the lowest and the highest in brackets. One wording of each kind is asked for "
        "a fact. By byname: about the people who have one."
    )
    return f"{_table(head, rows)}\n\n{note}"


def windows_table() -> str:
    """Compare windows of blocks: `tests/benchmarks/bench_windows.py`."""
    found = windows()
    if found is None:
        return "Not measured yet: `python -m tests.benchmarks.bench_windows` makes this table."
    head = ["preset", "blocks trained", "aggregate ↑", "forget answers ↓", "retain answers ↑"]
    head += ["AUC → 0.5", "quiz ↑", "verdict"]
    rows = [
        [f"`{preset}`", f"{first} to {last}", *_measured(runs)[:-2]]
        for preset in found.presets
        for (first, last), runs in found.of(preset).items()
    ]
    return f"{_table(head, rows)}\n\n{found.summary}"


def sweeps_table() -> str:
    """Describe every sweep that comes with the program."""
    rows = [
        [f"`{one.name}`", str(len(expand_grid(one.sweep).points)), one.description, one.source]
        for one in ready_sweeps().values()
    ]
    return _table(["sweep", "runs", "what it asks", "where its values come from"], rows)


def layer_windows_table(path: Path = LAYER_WINDOWS) -> str:
    """Show what the layer sweep found, by window."""
    found = sweep_record(path)
    if found is None:
        return (
            "Not measured yet on this model: `python -m unlearnlab sweep embedded-layer-windows "
            f"--json` into `{path.name}` among the assets makes this table."
        )
    axis = len(found.axes) - 1
    scores = shown_scores()
    names = (f"{found.name_of(score.key)} {score.mark}" for score in scores)
    head = [found.axes[axis].name, *names, "seeds"]
    rows = [
        [value, *(_spread(score_of(runs, one.key)) for one in scores), str(len(runs))]
        for value, runs in found.along(axis).items()
        if runs
    ]
    picture = f"![{found.title}: scores by {found.axes[axis].name}](../assets/layer-windows.png)"
    return f"{picture}\n\n{_table(head, rows)}\n\n{found.summary(axis)}"


def labels_table(path: Path = LABELS) -> str:
    """Count labels of answers of a known kind: `tests/benchmarks/bench_labels.py`."""
    if not path.exists():
        return "Not measured yet: `python -m tests.benchmarks.bench_labels` makes this table."
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    titles = [LABEL_TITLES[outcome].lower() for outcome in OUTCOMES]
    head = ["model", "its forget answers", "labelled by", *titles, "with a secret"]
    rows = [
        [
            row["model"],
            row["truth"],
            row["by"],
            *(str(row["counts"].get(outcome, 0)) for outcome in OUTCOMES),
            str(row["secrets"]),
        ]
        for row in found["rows"]
    ]
    total = sum(found["rows"][0]["counts"].values())
    return f"{_table(head, rows)}\n\n{total} forget rows of the {found['fold']} fold, seed 0."


_NO_REAL_MODEL = "Not recorded yet: `python -m tests.benchmarks.bench_smollm2` makes this table."

_KNOWN: Mapping[str, tuple[Split, Kind]] = {
    "forget questions ↓": ("forget", "qa"),
    "forget texts ↓": ("forget", "sc"),
    "retain questions ↑": ("retain", "qa"),
    "retain texts ↑": ("retain", "sc"),
}


def _with_real_model(write: Callable[[RealModel], str]) -> Callable[[], str]:
    """Return what writes a block from the record of the real model, where there is one."""

    def block(path: Path = REAL_MODEL) -> str:
        found = real_model(path)
        return (found and write(found)) or _NO_REAL_MODEL

    return block


def gpu_table(path: Path = GPU) -> str:
    """Show what was measured on a GPU: `tests/gpu/check.sh`."""
    found = gpu_record(path)
    if found is None:
        return "Not run yet: `bash tests/gpu/check.sh` makes this table."
    rows = [
        [part.name, figure.what, figure.text, figure.note]
        for part in found.parts
        for figure in part.figures
    ]
    rows += [[part.name, "broken off", "–", part.problem] for part in found.parts if part.problem]
    seconds = sum(part.seconds for part in found.parts)
    told = f"{found.card}, torch {found.torch}; the whole check took {seconds / 60:.0f} min."
    return f"{_table(['part', 'what', 'measured', ''], rows)}\n\n{told}"


def _real_runs(found: RealModel) -> str:
    """Show what each run with the real model did: `tests/benchmarks/bench_smollm2.py`."""
    if not found.runs:
        return ""
    head = ["run", "settings", "steps", *_KNOWN, "perplexity", "AUC → 0.5", "verdict", "seconds"]
    rows = [
        [
            run.title,
            f"`{run.options.replace('--phases.0.', '').replace('--', '')}`",
            str(run.steps),
            *(_change(run, *of) for of in _KNOWN.values()),
            _from_to(run, lambda scores: scores.perplexity, 1),
            _from_to(run, lambda scores: scores.mia_auc, 2),
            run.judgement.title.lower(),
            f"{run.seconds:.0f}",
        ]
        for run in found.runs.values()
    ]
    lines = [
        f"* **{run.title}**: {' '.join(run.judgement.evidence)}" for run in found.runs.values()
    ]
    memory = max(run.memory_gib for run in found.runs.values())
    note = (
        "Settings as `run` and `teach` take them, those of the phase without `phases.0`. Rows "
        "known before and after, of all that were asked: questions answered, also within a longer "
        "answer, and texts recited; a verdict asks for exact answers to retain questions where the "
        "original gave them. Seconds: computing time of one core, from the start of the "
        f"program to its end, both scorings included. The largest process held {memory:.1f} GiB."
    )
    return "\n\n".join([_table(head, rows), note, "\n".join(lines)])


def _change(run: RealRun, split: Split, kind: Kind) -> str:
    known = run.known(split, kind)
    return f"{known[0]} → {known[1]} of {known[2]}" if known else "–"


def _from_to(run: RealRun, of: Callable[[Scores], float | None], digits: int) -> str:
    told = ["–" if (one := of(s)) is None else f"{one:.{digits}f}" for s in (run.before, run.after)]
    return "–" if told == ["–", "–"] else " → ".join(told)


def _real_answers(found: RealModel) -> str:
    """Show the answers to public facts before and after: no text of other data is recorded."""
    runs = [run for run in found.runs.values() if run.answers]
    if not runs:
        return ""
    rows = [
        [
            one.split,
            one.prompt,
            one.expected,
            _said(one.before),
            *(_said(run.answers[at].after) for run in runs),
        ]
        for at, one in enumerate(runs[0].answers)
    ]
    head = ["set", "question", "typed answer", "before", *(run.title for run in runs)]
    known = sum(one.knows for one in found.asked)
    plain = sum(one.knows_plainly for one in found.asked)
    note = (
        f"Of {len(found.asked)} questions about capitals and authors the model answers {known} "
        f"through its chat template, and {plain} as plain text."
    )
    return f"{_table(head, rows)}\n\n{note}"


def _said(answer: str) -> str:
    """Quote an answer in a cell."""
    text = " ".join(answer.split()).replace("`", "'")
    return f"`{text}`" if text else "nothing"


def _real_trace(found: RealModel) -> str:
    """Show the averaged trace of facts that the real model knows by itself."""
    if (traced := found.trace) is None:
        return ""
    of = traced.found
    places: Mapping[Row, str] = {"whole subject": "whole subject", "last": "last token"}
    head = ["block", *(f"{part}, {name}" for name in places.values() for part in PARTS)]
    depth = len(of.curves["mlp"]["last"])
    rows = [
        [
            str(block),
            *(f"{of.curves[part][row][block].mean:.2f}" for row in places for part in PARTS),
        ]
        for block in range(depth)
    ]
    note = (
        f"{of.facts} facts, {of.unknown} left out, {traced.copies} noised copies each; windows of "
        f"{traced.window} blocks for MLP and attention. The answer's probability is "
        f"{of.clean.mean:.2f} clean and {of.corrupted.mean:.2f} with noise on the subject: of the "
        f"difference, {of.total_effect.mean:.2f}, restoring states brings back what the table "
        f"says. {traced.seconds / 60:.0f} min of one core."
    )
    return f"{_table(head, rows)}\n\n{note}"


def _real_first_token(found: RealModel) -> str:
    """Show how long the hidden states of the first token are beside the others'."""
    if not found.first_token:
        return ""
    head = ["block", "position 0", "others, median", *(f"target, `{p}`" for p in _positions(found))]
    rows = [
        [str(one.block), *(f"{x:,.0f}" for x in (one.first, one.others, *one.targets.values()))]
        for one in found.first_token
    ]
    return (
        f"{_table(head, rows)}\n\nLengths of hidden states after a block, and the length that "
        "adaptive RMU takes for that of a forget row, by its setting `positions`."
    )


def _positions(found: RealModel) -> Sequence[str]:
    return tuple(found.first_token[0].targets)


def _real_precision(found: RealModel) -> str:
    """Compare updates in bfloat16 with float32's on the real model."""
    if (of := found.precision) is None:
        return ""
    names = {"exact": "float32 model", "float32": "bfloat16, float32 copies (the default)"}
    rows = [
        [
            names.get(one.way, f"bfloat16, `{one.way}`"),
            f"{one.stepped:.4f}",
            f"{one.written:.4f}",
            f"{one.moved.moved / one.moved.trained:.1%}",
        ]
        for one in of.updates
    ]
    head = ["updates", "cosine of what takes the steps", "cosine of the weights", "weights moved"]
    note = f"{of.steps} steps at {of.rate:g}; cosine with the change that the float32 model makes."
    if out := found.exported:
        same = "the same answers" if out.same_tokens else "other answers"
        note += (
            f" An exported run, opened with plain transformers, gives logits that differ by "
            f"{out.difference:.1g} at most over {out.tokens} tokens, and {same}."
        )
    return f"{_table(head, rows)}\n\n{note}"


def _measured(group: Measurement) -> list[str]:
    """Sum up the runs of one preset on one fold."""
    memory = [run.memory_gib for run in group.runs if run.memory_gib is not None]
    return [
        _spread(group.after(lambda scores: scores.task_aggregate)),
        *(_spread(group.after(figure.of)) for figure in FIGURES),
        ", ".join(group.verdicts),
        f"{min(run.seconds for run in group.runs):.0f}",
        f"{max(memory):.1f}" if memory else "–",
    ]


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.2f}–{max(values):.2f})"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "results": results_table,
    "wordings": wordings_table,
    "windows": windows_table,
    "methods": methods_table,
    "settings": settings_table,
    "presets": presets_table,
    "models": models_table,
    "verdicts": verdicts_table,
    "calibration": calibration_table,
    "measures": measures_table,
    "target": target_table,
    "sweeps": sweeps_table,
    "layer_windows": layer_windows_table,
    "labels": labels_table,
    "gpu": gpu_table,
    "smollm2_runs": _with_real_model(_real_runs),
    "smollm2_answers": _with_real_model(_real_answers),
    "smollm2_trace": _with_real_model(_real_trace),
    "smollm2_first_token": _with_real_model(_real_first_token),
    "smollm2_precision": _with_real_model(_real_precision),
}
"""What writes each block."""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    cells = ([cell.replace("|", "&#124;") for cell in row] for row in [head, *rows])
    lines = [f"| {' | '.join(row)} |" for row in cells]
    lines.insert(1, "|---" * len(head) + "|")
    return "\n".join(lines)


def _target_build(args: argparse.Namespace) -> int:
    from unlearnlab.engine.device_engine import engines  # noqa: PLC0415  (torch)
    from unlearnlab.engine.embedded import build  # noqa: PLC0415

    tell(f"this writes into {args.out}, over what is there; --out names another folder")
    with on_device(engines(), "cpu", no_wait=args.no_wait):
        for one in build(args.out):
            tell(f"{one.model} model, epoch {one.epoch} of {one.epochs}, loss {one.loss:.3f}")
    return DONE


def _target_check(args: argparse.Namespace) -> int:
    from unlearnlab.engine.device_engine import engines  # noqa: PLC0415  (torch)
    from unlearnlab.engine.embedded import check  # noqa: PLC0415

    with on_device(engines(), "cpu", no_wait=args.no_wait):
        report = check(tell)
    if args.write:
        report.write(ASSETS)
    if args.json:
        print(as_json({"met": report.met, "lines": [asdict(line) for line in report.lines]}))
    else:
        cells = [
            [
                line.name,
                number(line.original),
                number(line.retrained),
                line.target,
                "yes" if line.met else "NO",
            ]
            for line in report.lines
        ]
        print(table(["", "original", "retrained", "to reach", "reached"], cells))
    return DONE if report.met else FAILED


def _docs(args: argparse.Namespace) -> int:
    if missing := [str(page) for page in args.pages if not page.is_file()]:
        tell(f"there is no {' and no '.join(missing)}: only a clone has pages to write")
        return BAD_INPUT
    stale = {page: found for page in args.pages if (found := stale_blocks(page))}
    if args.check:
        for page, names in stale.items():
            tell(f"{page} is not current ({', '.join(names)}): python -m unlearnlab docs")
        return FAILED if stale else DONE
    for page in stale:
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
    names = [name for of in stale.values() for name in of]
    print(f"Written: {', '.join(names) or 'nothing, all was current'}.")
    return DONE
