"""The list of datasets: contents of each, and buttons to use or remove it."""

from collections.abc import Mapping

from unlearnlab.data.adding.adding import SourceError, remove
from unlearnlab.data.datasets import EMBEDDED_NAME, SPLITS, DatasetInfo, Fold, Task, datasets
from unlearnlab.runs.store import UnknownRun
from unlearnlab.ui.kit.controls import Problem
from unlearnlab.ui.kit.html import escape, thousands
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Message
from unlearnlab.views.scoreboard import titles_of


def datasets_html(used: str) -> str:
    """Render the list. HTML.

    Args:
        used: Name of the dataset in use by the form.
    """
    items = "".join(_item(known, here=known.name == used) for known in datasets().values())
    return f'<ul class="runs datasets">{items}</ul>'


def _item(known: DatasetInfo, *, here: bool) -> str:
    mark = ' class="here" aria-current="true"' if here else ""
    name = escape(known.name)
    tags = [known.source or "added", *(["personal: masked"] if known.personal else [])]
    chips = "".join(f'<span class="tag">{escape(tag)}</span>' for tag in tags)
    lines = "".join(f"<small>{_fold(known, fold)}</small>" for fold in known.folds)
    return (
        f'<li{mark}><div class="run-row"><div><b>{escape(known.title)}</b>{chips}</div>'
        f"<span>{_use(name, here=here)}{_remove(known)}</span></div>"
        f"{lines}<small>{_documents(known)}</small></li>"
    )


def _use(name: str, *, here: bool) -> str:
    if here:
        return '<span class="pill">in use</span>'
    return (
        f'<button type="button" class="quiet" data-event="use" data-name="{name}">'
        f'use<span class="unseen"> {name}</span></button>'
    )


def _remove(known: DatasetInfo) -> str:
    if known.name == EMBEDDED_NAME:
        return ""
    name = escape(known.name)
    return (
        f' <button type="button" class="quiet" data-event="remove" data-name="{name}" '
        f'data-confirm="remove for good?">remove<span class="unseen"> {name}</span></button>'
    )


def _fold(known: DatasetInfo, fold: Fold) -> str:
    found, titles = known.counts(fold), titles_of(known)
    sets = (
        f'<span class="dot {split}"></span>{split} {thousands(sum(found[split].values()))}'
        f"{_subtasks(found[split], titles)}"
        for split in SPLITS
    )
    named = f"{fold}: " if len(known.folds) > 1 else ""
    return f"{named}{' · '.join(sets)}"


def _subtasks(counts: Mapping[Task, int], titles: Mapping[str, str]) -> str:
    if len(counts) < 2:  # One subtask is all there is.
        return ""
    named = (
        f"{escape(titles.get(task, task))} {thousands(count)}" for task, count in counts.items()
    )
    return f" ({', '.join(named)})"


def _documents(known: DatasetInfo) -> str:
    members, others = (len(known.documents(name)) for name in ("member", "nonmember"))
    attack = f"attack: {members} members, {others} non-members" if members and others else ""
    questions = len(known.questions())
    test = f"{questions} utility questions" if questions else ""
    missing = "no documents for the membership attack"
    return " · ".join(filter(None, (attack or missing, test)))


def press_remove(program: Program, name: str) -> Message:
    """Remove a dataset, unless a queued or active run needs it."""
    state = program.worker.state()
    for run_id in state.owned:
        if _needs(program, run_id, name):
            told = f"run {run_id} needs it: wait for its end, or stop it"
            return Message((Problem("", name, told),))
    try:
        remove(name)
    except SourceError as error:
        return Message((Problem("", "", str(error)),))
    return Message(note=f"{name} was removed.")


def _needs(program: Program, run_id: str, name: str) -> bool:
    try:
        return program.store.row(run_id).spec.data.source == name
    except UnknownRun:
        return False
