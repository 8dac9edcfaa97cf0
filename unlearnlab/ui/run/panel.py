"""The panel of a run: everything right of the form that the server draws."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearnlab.metrics.intervals import ScoreIntervals
from unlearnlab.metrics.labels import OUTCOMES, Outcome, title
from unlearnlab.metrics.mmlu import SubjectChange, subject_changes
from unlearnlab.runs.progress import RunProgress, RunView
from unlearnlab.runs.records import RunRecord
from unlearnlab.runs.worker import WorkerState
from unlearnlab.ui.data.typed_facts import offer_html
from unlearnlab.ui.kit.answer_filters import SHOWS, Look
from unlearnlab.ui.kit.html import escape
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.run_source import Scene
from unlearnlab.ui.run.adjust import Adjustables, adjustables
from unlearnlab.ui.run.answers import answers_html, asks_html, hides, task_choices
from unlearnlab.ui.run.export_card import offers
from unlearnlab.ui.run.live import change_token, holding, stopping
from unlearnlab.ui.run.membership_card import membership_of
from unlearnlab.ui.run.published_table import published_html
from unlearnlab.ui.run.queue import queue_html
from unlearnlab.ui.run.record_card import record_html
from unlearnlab.ui.run.runs_list import SIZE, runs_html
from unlearnlab.ui.run.scoreboard import others_html, scoreboard_html, strip_html, subjects_html
from unlearnlab.views.answers import AnswerRow
from unlearnlab.views.arranging import Show, chosen, counts, in_order, label_counts
from unlearnlab.views.runs import matches, run_summary
from unlearnlab.views.scoreboard import (
    TASKS,
    at_ends,
    others_of,
    scoreboard,
    terms_strip,
    titles_of,
)
from unlearnlab.views.seeds import seed_group, seeds_text


@dataclass(frozen=True, slots=True)
class Buttons:
    """Texts of the buttons, and whether they can be pressed."""

    unlearn: str
    pause: str
    can_pause: bool
    stop: str
    can_stop: bool


def buttons(scene: Scene | None, state: WorkerState) -> Buttons:
    """Derive the buttons from the state of the run that is shown and of the worker."""
    unlearn = "Queue" if state.would_wait() else "Unlearn"
    if scene is None:
        return Buttons(unlearn, "Pause", False, "Stop", False)
    if scene.replay:
        held = scene.replay.clock.held
        return Buttons(unlearn, "Resume" if held else "Pause", True, "Skip", True)
    view, run_id = scene.view(state), scene.row.run_id
    ending, queued = stopping(state, run_id), view.status == "queued"
    return Buttons(
        unlearn=unlearn,
        pause="Resume" if holding(state, run_id) else "Pause",
        can_pause=(view.can_pause or view.can_resume) and not ending,
        stop="Stopping…" if ending else "Remove" if queued else "Stop",
        can_stop=view.can_stop and not ending,
    )


@dataclass(frozen=True, slots=True)
class Panel:
    """What the page shows of a run, and of all runs."""

    live: dict[str, str]
    """The run, its change token (`turn`), and whose scores the page shows."""
    buttons: Buttons
    adjust: dict[str, Any]
    """Values that can be changed while the run trains."""
    offer: str
    """What to do next with a model that the run has taught."""
    board: str
    strip: str
    published: str
    record: str
    """Data, weights, device and versions of the run, and its reproductions."""
    takeaway: dict[str, Any]
    """Value of the card that exports the run."""
    shows: list[tuple[str, str]]
    """Choices of the table with their counts."""
    tasks: list[tuple[str, str]]
    """Subtasks to choose from, by the names in the run's data."""
    masked: bool
    """Whether personal data are hidden."""
    ask: str
    """Title of the card of the free prompt."""
    queue: str
    """Active and waiting runs; empty while none waits."""
    scored: bool
    """Whether there are answers to show."""
    run: bool
    """Whether there is a run."""
    any_runs: bool


def draw(program: Program, run_id: str, look: Look) -> Panel:
    """Draw the panel of a run, or of no run if the id is empty.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    state = program.worker.state()
    # Counted before the rows are read: what comes in between is drawn, and drawn again.
    listed, rows = program.shown.run_counts(), program.shown.rows()
    scene = program.shown.of(run_id) if run_id else None
    row, course = (scene.row, scene.course) if scene else (None, RunProgress())
    mine = None if scene is None or scene.guest else row
    alone = row is not None and row.spec.only_scores
    view = scene.view(state) if scene else None
    answers = program.answers(row.spec, course) if row else ()
    adjust = Adjustables()
    if row is not None and state.job(row.run_id) is not None:
        adjust = adjustables(row.run_id, row.spec, course)
    published = ""
    if row is not None and course.before is not None:
        published = published_html(row.spec, course.after.scores if course.after else None)
    return Panel(
        live={
            "run": run_id,
            "turn": change_token(scene, state, listed),
            "drawn": _drawn(run_id, course, view),
        },
        buttons=buttons(scene, state),
        adjust=adjust.plain(),
        offer=offer_html(mine),
        board=_board(program, row, course, view, rows),
        strip=_strip(program, row, course),
        published=published,
        record=record_html(program, mine, course, rows),
        takeaway=offers(program, mine, course, state),
        shows=_shows(counts(answers), look),
        tasks=task_choices(titles_of(row.spec.data.known) if row else TASKS),
        masked=hides(row, look),
        ask="Ask the model" if alone else "Ask both models",
        queue=queue_html(program, state, rows),
        scored=bool(answers),
        run=row is not None,
        any_runs=bool(rows),
    )


def _ended(view: RunView | None) -> bool:
    """Tell whether no further score will come."""
    return view is not None and not view.live


def _drawn(run_id: str, course: RunProgress, view: RunView | None) -> str:
    """Return a key of the shown scores and whether more will come; empty without scores."""
    keys = [score.key for score in (course.before, course.after) if score]
    last = ("ended",) if _ended(view) else ()
    return " ".join((run_id, *keys, *last)) if keys else ""


def _board(
    program: Program,
    row: RunRecord | None,
    course: RunProgress,
    view: RunView | None,
    rows: Sequence[RunRecord],
) -> str:
    if row is None or view is None or course.before is None:
        return ""
    after = course.after.scores if course.after else None
    reference = program.reference(row.spec)
    board = scoreboard(
        row.spec,
        course.before.scores,
        after,
        reference,
        intervals=_intervals(program, row, course),
        seeds=seeds_text(seed_group(row.spec, rows)),
    )
    drawn = escape(_drawn(row.run_id, course, view))
    subjects = subjects_html(_subjects(program, course), alone=row.spec.only_scores)
    html = scoreboard_html(board, ended=_ended(view)) + subjects
    return f'<div data-drawn="{drawn}">{html}</div>'


def _subjects(program: Program, course: RunProgress) -> tuple[SubjectChange, ...]:
    """Compare MMLU by subject, if the run measured it."""
    if course.before is None or not course.before.scores.measures_mmlu:
        return ()
    found = [program.evidence(one.key) for one in (course.before, course.after) if one]
    asked = [evidence.choices if evidence else () for evidence in found]
    return subject_changes(asked[0], asked[1] if len(asked) > 1 else ())


def _intervals(program: Program, row: RunRecord, course: RunProgress) -> ScoreIntervals | None:
    if course.before is None:
        return None
    after = course.after.key if course.after else ""
    return program.derived.intervals(course.before.key, after, row.spec.data.forget)


def _strip(program: Program, row: RunRecord | None, course: RunProgress) -> str:
    if row is None or course.before is None:
        return ""
    last = course.after.scores if course.after else None
    before, after = at_ends(row.spec, course.before.scores, last, None)
    titles = titles_of(row.spec.data.known)
    others = others_html(others_of(before, after, titles))
    found = _intervals(program, row, course)
    return strip_html(terms_strip(before, after, titles, intervals=found)) + others


def _shows(found: Mapping[Show, int], look: Look) -> list[tuple[str, str]]:
    """List the choices of rows with their counts; "Not picked" only if there are such rows."""
    return [
        (f"{label} {found[show]}", show)
        for show, label in SHOWS.items()
        if show != "others" or found[show] or look.filter.show == show
    ]


def _labels(rows: Sequence[AnswerRow], look: Look) -> list[tuple[str, str]]:
    found = label_counts(rows, look.filter)
    return [(f"{_label_name(label, look)} {found[label]}", label) for label in OUTCOMES]


def _label_name(label: Outcome, look: Look) -> str:
    """Name a label as the rows that are shown call it."""
    forget, retain = title(label, "forget"), title(label, "retain")
    if look.filter.show == "all" and forget != retain:
        return f"{forget} or {retain.lower()}"
    return forget if look.filter.show in ("forget", "leaks") else retain


@dataclass(frozen=True, slots=True)
class Sight:
    """The parts of a run that follow the reader's filters: all that can hold personal data."""

    labels: list[tuple[str, str]]
    """Labels of the rows that are shown, with their counts."""
    answers: str
    asks: str
    membership: dict[str, Any]
    """The attack on both models, and further measures."""


def sight(program: Program, run_id: str, look: Look, page: int = 0) -> Sight:
    """Draw the parts of a run that follow the reader's filters; of no run if the id is empty.

    Args:
        program: Store and worker.
        run_id: The run.
        look: What the reader chose.
        page: 0-based page of the answers; beyond the last page, the last page is drawn.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    scene = program.shown.of(run_id) if run_id else None
    if scene is None:
        membership = membership_of(program, None, RunProgress(), masked=look.masked)
        return Sight(_labels((), look), "", asks_html((), (), masked=look.masked), membership)
    row, course = scene.row, scene.course
    look = replace(look, masked=hides(row, look))
    alone, masked = row.spec.only_scores, look.masked
    answers = program.answers(row.spec, course)
    waiting = [(ask[1], ask[2]) for ask in look.waiting if len(ask) == 3 and ask[0] == run_id]
    return Sight(
        labels=_labels(answers, look),
        answers=answers_html(
            in_order(chosen(answers, look.filter), look.order),
            page,
            masked=masked,
            scored=course.after is not None,
            ended=_ended(scene.view(program.worker.state())),
            alone=alone,
            titles=titles_of(row.spec.data.known),
            order=look.order,
        ),
        asks=asks_html(course.asks, waiting, masked=masked, alone=alone),
        membership=membership_of(program, row, course, masked=masked),
    )


def past_runs(program: Program, run_id: str, text: str | None, page: int = 0) -> str:
    """Draw one page of the list of runs.

    Args:
        program: Store and worker.
        run_id: The run that is shown.
        text: What was searched for.
        page: 0-based; beyond the last page, the last page is drawn.

    Raises:
        StoreError: The store cannot be read.
    """
    state, rows = program.worker.state(), program.shown.rows()
    replayed = [replay.run_id for replay in program.replays.active()]
    found = [row for row in rows if matches(row, text or "")]
    last = max(0, (len(found) - 1) // SIZE)
    page = min(max(0, page), last)
    lines = [
        run_summary(row, paused=holding(state, row.run_id))
        for row in found[page * SIZE : (page + 1) * SIZE]
    ]
    return runs_html(lines, page, len(found), shown=run_id, replayed=replayed, now=time.time())
