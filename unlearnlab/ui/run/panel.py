"""The panel of a run: its components right of the form, and what the server draws into them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from unlearnlab.data.datasets import SPLITS, dataset
from unlearnlab.metrics.labels import OUTCOMES, Outcome, title
from unlearnlab.metrics.mmlu import SubjectChange, subject_changes
from unlearnlab.runs.progress import RunProgress, RunView
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.run import SNAPSHOTS
from unlearnlab.ui.kit.html import heading, heading_html, render, script
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.run_source import ShownRun
from unlearnlab.ui.run.answers import (
    SHOWS,
    AnswerFilters,
    AnswersCard,
    answers_html,
    asks_html,
    draw_answers,
    is_masked,
    task_choices,
)
from unlearnlab.ui.run.handlers import PROMPT, notice_box
from unlearnlab.ui.run.live import (
    NO_CHANGE,
    adjust_card,
    adjustable_values,
    change_token,
    live_panel,
)
from unlearnlab.ui.run.membership_card import membership_card, membership_of
from unlearnlab.ui.run.record import export_card, export_value, record_html
from unlearnlab.ui.run.runs_list import queue_html
from unlearnlab.ui.run.scoreboard import published_html, scoreboard_html, strip_html
from unlearnlab.views.answers import (
    AnswerRow,
    Show,
    chosen,
    counts,
    in_order,
    label_counts,
    leaks_of,
)
from unlearnlab.views.runs import seed_group, seeds_text
from unlearnlab.views.scoreboard import (
    TASKS,
    at_ends,
    names_masked,
    others_of,
    scoreboard,
    terms_strip,
    titles_of,
)
from unlearnlab.views.words import knowledge_text


@dataclass(frozen=True)
class Buttons:
    """The buttons under the form and their message."""

    unlearn: gr.Button
    score: gr.Button
    """Scores the form's model and trains nothing."""
    sweep: gr.Button
    """Opens the fold that makes a sweep of the form."""
    message: gr.HTML


@dataclass(frozen=True)
class AskCard:
    """The free prompt and the answers to earlier ones."""

    card: gr.Column
    heading: gr.HTML
    prompt: gr.Textbox
    button: gr.Button
    message: gr.HTML
    step: gr.Dropdown
    """Which snapshot answers; shown for runs that kept some."""
    branch: gr.Button
    """Fills the form with a run that starts from the chosen snapshot."""
    asks: gr.HTML


@dataclass(frozen=True)
class RunsCard:
    """The list of past runs with its search."""

    card: gr.Column
    text: gr.Textbox
    table: gr.HTML
    pack: gr.UploadButton
    """Imports runs that were packed elsewhere."""
    message: gr.HTML


@dataclass(frozen=True)
class Parts:
    """All components that show a run."""

    showing: gr.BrowserState
    """Id of the run that this browser shows."""
    waiting: gr.BrowserState
    """Prompts that this browser asked: run, id and text of each."""
    buttons: Buttons
    queue: gr.HTML
    live: gr.HTML
    adjust: gr.HTML
    offer: gr.HTML
    """What to do next with a model that a run has taught."""
    board: gr.HTML
    strip: gr.HTML
    membership: gr.HTML
    published: gr.HTML
    record: gr.HTML
    export: gr.HTML
    ask: AskCard
    answers: AnswersCard
    runs: RunsCard
    tabs: gr.Tabs
    """Details of the run, hidden while there is none."""

    @property
    def filters(self) -> list[Component]:
        """List the components whose values `filters_from` takes."""
        return [*self.answers.filters, self.waiting, self.live]

    @property
    def panel(self) -> list[Any]:
        """List what `panel_updates` updates.

        The live panel is the last: what follows it reads what was written before.
        """
        b, a, k, r = self.buttons, self.answers, self.ask, self.runs
        top = (self.showing, b.unlearn, b.score, self.adjust, self.offer)
        scores = (self.board, self.strip, self.published, self.record, self.export)
        answers = (a.card, a.show, a.task, a.masked, k.card, k.heading, k.step, k.branch)
        return [*top, *scores, *answers, self.queue, r.card, self.tabs, self.live]

    @property
    def filtered(self) -> list[Component]:
        """List what `build_answers` draws: the parts that follow the filters."""
        return [self.answers.labels, self.answers.table, self.ask.asks, self.membership]


def draw_buttons() -> Buttons:
    """Lay the buttons out."""
    with gr.Column(elem_classes=["actions"]):
        # Not before the page has opened: its answer would hide the run that was started.
        unlearn = gr.Button("Unlearn", variant="primary", interactive=False, elem_id="unlearn")
        with gr.Row(elem_classes=["buttons"]):
            score = gr.Button("Score only", interactive=False, elem_id="score", min_width=90)
            sweep = gr.Button("Sweep…", elem_id="sweep-open", min_width=90)
        return Buttons(unlearn, score, sweep, notice_box("form-message"))


def draw_results(program: Program, buttons: Buttons, queue: gr.HTML, runs: RunsCard) -> Parts:
    """Lay everything right of the form out: the show first, then a tab for each kind of detail."""
    drawn: dict[str, Any] = {
        "live": live_panel(program),
        "adjust": adjust_card(),
        "ask": _ask(),
        "board": _html("scoreboard", script("kit/folds.js", "kit/buttons.js")),
        "offer": _html("offer", script("kit/buttons.js")),
    }
    with gr.Tabs(elem_id="run-tabs", visible=False) as tabs:
        with _tab("Answers", "answers", "Answers appear once the original model is scored."):
            drawn["answers"] = draw_answers()
        with _tab("Terms", "terms", "The terms appear once the original model is scored."):
            drawn["strip"] = _html("strip", script("kit/buttons.js"))
        with _tab(
            "Membership and measures", "measures", "Measured with the scores, before and after."
        ):
            drawn["membership"] = membership_card(program)
        with _tab("Published", "published", "Appears beside the first scores."):
            drawn["published"] = _html("published", script("kit/folds.js"))
        with _tab("Record", "record", "Appears when the run begins; a recording has none."):
            drawn["record"] = _html("record", script("kit/folds.js", "kit/buttons.js"))
        with _tab(
            "Export",
            "export",
            "Appears once there is something to export; a recording has nothing.",
        ):
            drawn["export"] = export_card(program)
    return Parts(
        showing=gr.BrowserState("", storage_key="unlearnlab-run", secret="unlearnlab"),
        waiting=gr.BrowserState([], storage_key="unlearnlab-asks", secret="unlearnlab"),
        buttons=buttons,
        queue=queue,
        runs=runs,
        tabs=tabs,
        **drawn,
    )


@contextmanager
def _tab(title: str, name: str, empty: str) -> Iterator[None]:
    """Open a tab of the run; `empty` stands in it until there is something to show."""
    with gr.Tab(title, id=name, elem_id=f"tab-{name}", render_children=True):
        gr.HTML(f'<p class="none">{empty}</p>', elem_classes=["tab-empty"], apply_default_css=False)
        yield


def _html(name: str, js: str | None = None) -> gr.HTML:
    return gr.HTML("", elem_id=name, js_on_load=js, apply_default_css=False)


NOW = "the model as it is", ""
"""Choice of the ask card that is no snapshot."""


def _ask() -> AskCard:
    with gr.Column(elem_classes=["card"], visible=False, elem_id="ask-card") as card:
        title = heading("Ask both models")
        with gr.Row(elem_classes=["ask-row"]):
            prompt = gr.Textbox(
                label="Prompt",
                placeholder="Ask what should be gone, or what should have stayed; for several, "
                "one a line: prompt => expected answer",
                max_lines=4,
                elem_id=PROMPT,
                elem_classes=["field"],
            )
            button = gr.Button("Ask", elem_id="ask", min_width=80)
        told = notice_box("ask-message")
        with gr.Row(elem_classes=["ask-step"]):
            step = gr.Dropdown(
                [NOW],
                value=NOW[1],
                label="Answered by",
                visible=False,
                filterable=False,
                elem_id="ask-step",
                elem_classes=["field"],
            )
            branch = gr.Button(
                "Start a run from this step…",
                visible=False,
                interactive=False,
                elem_id="branch",
                elem_classes=["quiet"],
            )
        asks = _html("asks", script("run/ask.js"))
    return AskCard(card, title, prompt, button, told, step, branch, asks)


def draw_queue() -> gr.HTML:
    """Lay the queue out."""
    return _html("queue", script("run/queue.js"))


def draw_runs() -> RunsCard:
    """Lay the list of past runs out."""
    with gr.Column(elem_classes=["card"], visible=False, elem_id="runs-card") as card:
        heading("Past runs")
        with gr.Row(elem_classes=["filters"]):
            text = gr.Textbox(label="Search runs", placeholder="search", max_lines=1)
        table = _html("runs", script("kit/pages.js"))
    pack = gr.UploadButton(
        "Import runs…", file_types=[".zip"], elem_id="unpack", elem_classes=["quiet"]
    )
    return RunsCard(card, text, table, pack, notice_box("unpack-message"))


@dataclass(frozen=True, slots=True)
class Panel:
    """What the page shows of a run, and of all runs."""

    live: dict[str, str]
    """The run, its change token (`turn`), and the key of the shown scores (`drawn`)."""
    unlearn: str
    """Text of the main button."""
    adjust: dict[str, Any]
    """Values that can be changed while the run trains."""
    offer: str
    """What to do next with a model that the run has taught."""
    board: str
    strip: str
    published: str
    record: str
    """Data, weights, device and versions of the run, and its reproductions."""
    export: dict[str, Any]
    """Value of the card of exports."""
    shows: list[tuple[str, str]]
    """Sets of rows to choose from, with their counts."""
    tasks: list[tuple[str, str]]
    """Subtasks to choose from, by the names in the run's data."""
    masked: bool
    """Whether personal data are hidden."""
    ask: str
    """Title of the card of the free prompt."""
    snapshots: tuple[int, ...]
    """Steps whose snapshots are here."""
    queue: str
    """Active and waiting runs; empty while none waits."""
    scored: bool
    """Whether there are answers to show."""
    run: bool
    """Whether there is a run."""
    any_runs: bool


def build_panel(program: Program, run_id: str, filters: AnswerFilters) -> Panel:
    """Draw the panel of a run, or of no run if the id is empty.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    state = program.worker.state()
    # Counted before the rows are read: what comes in between is drawn, and drawn again.
    run_counts, rows = program.runs.run_counts(), program.runs.rows()
    run = program.runs.shown(run_id) if run_id else None
    row, progress = (run.row, run.progress) if run else (None, RunProgress())
    own = None if run is None or run.guest else row
    view = run.view(state) if run else None
    answers = program.answers(row.spec, progress) if row else ()
    adjust = dict(NO_CHANGE)
    if row and state.job(row.run_id) is not None:
        adjust = adjustable_values(row.run_id, row.spec, progress)
    leaks = leaks_of(answers) if row and progress.after and not row.spec.taught else None
    told = leaks.text if leaks and leaks.leaking else ""
    board, strip, published = _scores(program, row, progress, view, rows, told)
    return Panel(
        live={
            "run": run_id,
            "turn": change_token(run, state, run_counts),
            "drawn": scores_key(run_id, progress, view),
        },
        unlearn="Queue" if state.would_wait() else "Unlearn",
        adjust=adjust,
        offer=_offer_html(own, progress),
        board=board,
        strip=strip,
        published=published,
        record=record_html(program, own, progress, rows),
        export=export_value(program, own, progress, state),
        shows=_shows(counts(answers), filters),
        tasks=task_choices(titles_of(row.spec.data.known) if row else TASKS),
        masked=is_masked(row, filters),
        snapshots=snapshots_here(program, run),
        ask="Ask the model" if row and row.spec.only_scores else "Ask both models",
        queue=queue_html(program, state, rows),
        scored=bool(answers),
        run=row is not None,
        any_runs=bool(rows),
    )


def snapshots_here(program: Program, run: ShownRun | None) -> tuple[int, ...]:
    """List the steps of a run's snapshots whose weights are on this machine."""
    if run is None or run.guest or run.replay:
        return ()
    folder = program.store.home / "runs" / run.row.run_id / SNAPSHOTS
    kept = (one.step for one in run.progress.snapshots)
    return tuple(step for step in kept if (folder / str(step)).is_dir())


def panel_updates(panel: Panel, filters: AnswerFilters) -> list[Any]:
    """Show a panel: one update for each of `Parts.panel`.

    Scores that are on the page already stay as they are. So does the switch that masks personal
    data, unless another run comes: the reader may have pressed it since the request was sent.
    """
    same = panel.live["drawn"] == filters.drawn
    return [
        panel.live["run"],
        gr.update(value=panel.unlearn, interactive=True),
        gr.update(interactive=True),
        panel.adjust,
        panel.offer,
        gr.skip() if same else panel.board,
        gr.skip() if same else panel.strip,
        gr.skip() if same else panel.published,
        panel.record,
        panel.export,
        gr.update(visible=panel.scored),
        *(gr.skip() if same else gr.update(choices=of) for of in (panel.shows, panel.tasks)),
        gr.skip() if panel.live["run"] == filters.run else panel.masked,
        gr.update(visible=panel.run),
        heading_html(panel.ask),
        gr.update(
            choices=[NOW, *((f"the snapshot at step {n}", str(n)) for n in panel.snapshots)],
            visible=bool(panel.snapshots),
            **({} if panel.live["run"] == filters.run else {"value": NOW[1]}),
        ),
        gr.update(visible=bool(panel.snapshots)),
        panel.queue,
        gr.update(visible=panel.any_runs),
        gr.Tabs(visible=panel.run),
        panel.live | ({"redrawn": filters.run} if panel.live["run"] == filters.run else {}),
    ]


def scores_key(run_id: str, progress: RunProgress, view: RunView | None) -> str:
    """Return a key of the shown scores and whether more will come; empty without scores."""
    keys = [score.key for score in (progress.before, progress.after) if score]
    last = ("ended",) if view and not view.live else ()
    return " ".join((run_id, *keys, *last)) if keys else ""


def _scores(
    program: Program,
    row: RunRecord | None,
    progress: RunProgress,
    view: RunView | None,
    rows: Sequence[RunRecord],
    leaks: str,
) -> tuple[str, str, str]:
    """Draw scoreboard, strip of terms and published results; empty before the first scores."""
    if row is None or view is None or progress.before is None:
        return "", "", ""
    spec, before, after = row.spec, progress.before, progress.after
    scores = before.scores, after.scores if after else None
    intervals = program.statistics.intervals(
        before.key, after.key if after else "", spec.data.forget
    )
    found = program.statistics.remains(before.key, after.key, spec.data.forget) if after else None
    seeds = seeds_text(seed_group(spec, rows))
    reference = program.reference(spec)
    board = scoreboard_html(
        scoreboard(
            spec,
            *scores,
            reference,
            ending=row.ending,
            intervals=intervals,
            seeds=seeds,
            found=found,
            masked=names_masked(row),
        ),
        ended=not view.live,
        key=scores_key(row.run_id, progress, view),
        subjects=_subjects(program, progress),
        leaks=leaks,
    )
    ends, titles = at_ends(spec, *scores, None), titles_of(spec.data.known)
    terms = terms_strip(*ends, titles, intervals=intervals)
    return board, strip_html(terms, others_of(*ends, titles)), published_html(spec, scores[1])


def _subjects(program: Program, progress: RunProgress) -> tuple[SubjectChange, ...]:
    """Compare MMLU by subject, if the run measured it."""
    if progress.before is None or not progress.before.scores.measures_mmlu:
        return ()
    found = [program.evidence(one.key) for one in (progress.before, progress.after) if one]
    asked = [evidence.choices if evidence else () for evidence in found]
    return subject_changes(asked[0], asked[1] if len(asked) > 1 else ())


def _shows(found: Mapping[Show, int], filters: AnswerFilters) -> list[tuple[str, str]]:
    """List the choices of rows with their counts; "Not picked" only if there are such rows."""
    return [
        (f"{label} {found[show]}", show)
        for show, label in SHOWS.items()
        if show != "others" or found[show] or filters.rows.show == show
    ]


def _labels(rows: Sequence[AnswerRow], filters: AnswerFilters) -> list[tuple[str, str]]:
    """List the labels with their counts, named as the rows that are shown name them."""
    found = label_counts(rows, filters.rows)
    goals = {row.wished for row in chosen(rows, replace(filters.rows, labels=()))} or {"forget"}

    def name(label: Outcome) -> str:
        first, *others = dict.fromkeys(title(label, goal) for goal in SPLITS if goal in goals)
        return " or ".join([first, *map(str.lower, others)])

    return [(f"{name(label)} {found[label]}", label) for label in OUTCOMES]


@dataclass(frozen=True, slots=True)
class AnswersPanel:
    """The parts of a run that follow the reader's filters: all that can hold personal data."""

    labels: list[tuple[str, str]]
    """Labels of the rows that are shown, with their counts."""
    answers: str
    asks: str
    membership: dict[str, Any]
    """The attack on both models, and further measures."""


def build_answers(
    program: Program, run_id: str, filters: AnswerFilters, page: int = 0
) -> AnswersPanel:
    """Draw the parts of a run that follow the reader's filters; of no run if the id is empty.

    Args:
        program: Store and worker.
        run_id: The run.
        filters: What the reader chose.
        page: 0-based page of the answers; beyond the last page, the last page is drawn.

    Raises:
        StoreError: There is no such run, or the store cannot be read.
    """
    run = program.runs.shown(run_id) if run_id else None
    if run is None:
        membership = membership_of(program, None, RunProgress(), masked=filters.masked)
        asks = asks_html((), (), masked=filters.masked)
        return AnswersPanel(_labels((), filters), "", asks, membership)
    row, progress = run.row, run.progress
    filters = replace(filters, masked=is_masked(row, filters))
    alone, masked = row.spec.only_scores, filters.masked
    answers = program.answers(row.spec, progress)
    waiting = [(ask[1], ask[2]) for ask in filters.waiting if len(ask) == 3 and ask[0] == run_id]
    return AnswersPanel(
        labels=_labels(answers, filters),
        answers=answers_html(
            in_order(chosen(answers, filters.rows), filters.order),
            page,
            masked=masked,
            scored=progress.after is not None,
            ended=not run.view(program.worker.state()).live,
            alone=alone,
            titles=titles_of(row.spec.data.known),
            order=filters.order,
        ),
        asks=asks_html(progress.asks, waiting, masked=masked, alone=alone),
        membership=membership_of(program, row, progress, masked=masked),
    )


def _offer_html(row: RunRecord | None, progress: RunProgress) -> str:
    """Offer what should come next: to unlearn what a finished run has taught, or to teach first.

    Empty where nothing is to be offered.
    """
    checked = progress.knowledge
    if row is not None and checked is not None and checked.knowledge.kind != "knows":
        told = {"words": knowledge_text(checked), "kind": checked.knowledge.kind}
        left_out = bool(checked.left_out) or not checked.knowledge.known
        return render("run/offer.html", "unknown", run=row.run_id, left_out=left_out, **told)
    finished = row is not None and row.ending is not None and row.ending.kind == "finished"
    if row is None or not (finished and row.spec.keep_as and "forget" in row.spec.taught):
        return ""
    count = len(dataset(row.spec.data.source).rows("forget", row.spec.data.fold))
    return render("run/offer.html", "taught", model=row.spec.keep_as, run=row.run_id, count=count)
