"""The form's choice of data: dataset, fold, subtasks, and the forget rows that were picked."""

from collections.abc import Sequence
from typing import Any, get_args

import gradio as gr

from unlearnlab.data.datasets import TASKS as ALL
from unlearnlab.data.datasets import Fold, KnownDataset, Row, Task, dataset, datasets
from unlearnlab.spec.run import in_order
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.form.model import NAME, model_choices
from unlearnlab.ui.kit.controls import DATA, PATHS, PHASE_TASKS, ROWS, Control, control, element
from unlearnlab.ui.kit.script import script
from unlearnlab.views.scoreboard import titles_of

SOURCE, FOLD, TASKS_PATH = "data.source", "data.fold", "data.tasks"

MOST_PICKED = 10_000
"""Rows that a spec may name: each form that is sent carries their ids."""

RESTS = {"leave": "left alone", "retain": "moved to the retain set"}
"""What becomes of the rows that were not picked, in words."""


def known_of(form: Form) -> KnownDataset:
    """Return the dataset that the form names."""
    return dataset(str(form.draft["values"][SOURCE] or ""))


def fold_of(form: Form) -> Fold:
    """Return the fold that the form names; the first one if that is none."""
    named = form.draft["values"][FOLD]
    return next((fold for fold in get_args(Fold) if fold == named), "train")


def tasks_in(known: KnownDataset, fold: Fold) -> tuple[Task, ...]:
    """List the subtasks that the forget set of a fold has; all if it has no rows."""
    found = {row.task for row in known.rows("forget", fold)}
    return tuple(task for task in ALL if task in found) or ALL


def source_choices(form: Form) -> list[tuple[str, str]]:
    """List the datasets, and the form's own if it is gone."""
    known = known_of(form)
    gone = [(f"{known.title} · not here", known.name)] if known.gone else []
    return [*((one.title, name) for name, one in datasets().items()), *gone]


def choose_data(form: Form) -> Form:
    """Fit the form to the chosen dataset: its folds, its subtasks, and all of its rows."""
    known, values = known_of(form), form.draft["values"]
    if known.gone:
        return form
    fold = fold_of(form) if fold_of(form) in known.folds else known.folds[0]
    tasks = list(tasks_in(known, fold))
    chosen = {FOLD: fold, TASKS_PATH: tasks, PHASE_TASKS: [], ROWS: _picked(None, "leave")}
    phases = [phase | {"tasks": None} for phase in form.draft["phases"]]
    return Form(form.draft | {"values": values | chosen, "phases": phases})


def choose_fold(form: Form) -> Form:
    """Fit the form to the chosen fold: rows that were picked belong to another."""
    chosen = {ROWS: _picked(None, "leave")}
    return Form(form.draft | {"values": form.draft["values"] | chosen})


def forget_all(form: Form) -> Form:
    """Forget all rows of the chosen subtasks again."""
    return Form(form.draft | {"values": form.draft["values"] | {ROWS: _picked(None, "leave")}})


def use_rows(form: Form, ids: Sequence[str], rest: str) -> Form:
    """Forget these rows of the form's dataset, and add their subtasks to those it forgets.

    Raises:
        ValueError: There are none, or too many to name.
    """
    if not ids:
        raise ValueError("no row is ticked: tick at least one")
    if len(ids) > MOST_PICKED:
        raise ValueError(
            f"{len(ids)} rows are ticked: at most {MOST_PICKED} can be named; take whole "
            "subtasks, or add the rows as a dataset of their own"
        )
    values, wanted = form.draft["values"], set(ids)
    rows = known_of(form).rows("forget", fold_of(form))
    picked = {row.task for row in rows if row.id in wanted}
    held = values[TASKS_PATH] or ()
    tasks: list[Task] = [task for task in ALL if task in held or task in picked]
    chosen = {
        ROWS: _picked(ids, rest if rest in RESTS else "leave"),
        TASKS_PATH: list(in_order(tasks)),
    }
    return Form(form.draft | {"values": values | chosen})


def _picked(ids: Sequence[str] | None, rest: str) -> dict[str, Any]:
    return {"forget": None if ids is None else list(ids), "rest": rest}


def picked_ids(form: Form) -> list[str] | None:
    """Return the ids that were picked; none if all rows are forgotten."""
    held = form.draft["values"][ROWS]
    ids = held.get("forget") if isinstance(held, dict) else None
    return ids if isinstance(ids, list) else None


def controls_of(form: Form, since: Form | None = None) -> list[Any]:
    """Show the form's values: one update for each of `PATHS`, with the options its data has.

    Args:
        form: What to show.
        since: What the controls hold already; a value that is the same is not sent again.
    """
    held = since.draft["values"] if since else {}
    options = _options(form)
    updates: list[Any] = []
    for path in PATHS:
        wanted = {"value": form.draft["values"][path]} | options.get(path, {})
        if path in held and held[path] == wanted["value"]:
            del wanted["value"]
        updates.append(gr.update(**wanted))
    return updates


def _options(form: Form) -> dict[str, dict[str, Any]]:
    """Return what a control offers, and what it holds of that, where this hangs on the data."""
    known, values = known_of(form), form.draft["values"]
    options: dict[str, dict[str, Any]] = {
        NAME: {"choices": model_choices()},
        SOURCE: {"choices": source_choices(form)},
    }
    if not known.gone:
        tasks = tasks_in(known, fold_of(form))
        titles = titles_of(known)
        named = [(titles.get(task, task), task) for task in tasks]
        for path in (TASKS_PATH, PHASE_TASKS):
            chosen = [task for task in values[path] or () if task in tasks]
            options[path] = {"choices": named, "value": chosen}
        folds = list(known.folds)
        options[FOLD] = {"choices": folds, "visible": len(folds) > 1}
    return options


def draw_data(first: Form, drawn: dict[str, Control]) -> gr.HTML:
    """Lay out dataset and fold, and return the note on the rows."""
    drawn[SOURCE] = gr.Dropdown(
        source_choices(first),
        value=first.draft["values"][SOURCE],
        label="Data",
        elem_id=element(SOURCE),
        elem_classes=["field"],
        filterable=False,
    )
    drawn[ROWS] = gr.HTML(first.draft["values"][ROWS], html_template="", visible=False)
    note = gr.HTML(
        rows_note(first),
        js_on_load=script("kit/buttons.js"),
        elem_id=element(ROWS),
        elem_classes=["note", "field"],
        apply_default_css=False,
    )
    drawn[FOLD] = control(next(setting for setting in DATA if setting.path == FOLD))
    return note


def rows_note(form: Form) -> str:
    """Say which forget rows are unlearned, with the buttons to change that. HTML."""
    known, held = known_of(form), form.draft["values"]
    if known.gone:
        return '<p class="changed">This dataset is not here any more: choose another.</p>'
    rows = known.rows("forget", fold_of(form))
    wanted = [row for row in rows if row.task in (held[TASKS_PATH] or ())]
    ids = picked_ids(form)
    if ids is None:
        of = "" if len(wanted) == len(rows) else f" of {number(len(rows))}"
        said = f"all {number(len(wanted))}{of} forget {_rows(len(wanted))}" if wanted else ""
        return f"<p>{said or 'no forget row of these subtasks'} {_PICK}</p>"
    return f"<p>{_picked_note(wanted, ids, held[ROWS].get('rest'))} {_PICK} {_ALL_AGAIN}</p>"


def _picked_note(rows: Sequence[Row], ids: Sequence[str], rest: Any) -> str:
    found = len(set(ids) & {row.id for row in rows})
    told = f"{number(found)} of {number(len(rows))} {_rows(len(rows))} picked"
    return f"{told}, the rest {RESTS.get(rest, RESTS['leave'])}"


def number(count: int) -> str:
    """Write a count of rows with thin spaces."""
    return f"{count:,}".replace(",", "\u202f")


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


_PICK = '<button type="button" class="link" data-event="pick_rows">pick rows</button>'
_ALL_AGAIN = '<button type="button" class="link" data-event="all_rows">forget all again</button>'
