"""Layout of the tab Unlearn right of its form: live panel, scores, prompts, answers, past runs."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from unlearnlab.ui.kit.answer_filters import Look
from unlearnlab.ui.kit.html import heading, heading_html, script
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.adjust import adjust_card
from unlearnlab.ui.run.answers import AnswersCard, draw_answers
from unlearnlab.ui.run.export_card import export_card
from unlearnlab.ui.run.handlers import PROMPT, Message
from unlearnlab.ui.run.live import live_panel
from unlearnlab.ui.run.membership_card import membership_card
from unlearnlab.ui.run.panel import Panel


@dataclass(frozen=True)
class Buttons:
    """The buttons under the form and their message."""

    unlearn: gr.Button
    score: gr.Button
    """Scores the form's model and trains nothing."""
    sweep: gr.Button
    """Opens the fold that makes a sweep of the form."""
    hold: gr.Button
    stop: gr.Button
    message: gr.HTML


@dataclass(frozen=True)
class AskCard:
    """The free prompt and the answers to earlier ones."""

    card: gr.Column
    heading: gr.HTML
    prompt: gr.Textbox
    button: gr.Button
    message: gr.HTML
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
    takeaway: gr.HTML
    ask: AskCard
    answers: AnswersCard
    runs: RunsCard

    @property
    def look(self) -> list[Component]:
        """List the components that say what the reader chose to see, as `Look` takes them."""
        return [*self.answers.filters, self.waiting, self.live]

    @property
    def panel(self) -> list[Any]:
        """List what `panel_updates` updates.

        The live panel is the last: what follows it reads what was written before.
        """
        b, a, k, r = self.buttons, self.answers, self.ask, self.runs
        top = (self.showing, b.unlearn, b.score, b.hold, b.stop, self.adjust, self.offer)
        scores = (self.board, self.strip, self.published, self.record, self.takeaway)
        answers = (a.card, a.show, a.task, a.masked, k.card, k.heading)
        return [*top, *scores, *answers, self.queue, r.card, self.live]

    @property
    def sight(self) -> list[Component]:
        """List what of a run follows `look`."""
        return [self.answers.labels, self.answers.table, self.ask.asks, self.membership]


def panel_updates(panel: Panel, look: Look) -> list[Any]:
    """Show a panel: one update for each of `Parts.panel`.

    Scores that are on the page already stay as they are. So does the switch that hides personal
    data, unless another run comes: this may have been asked for before it was pressed.
    """
    buttons, same = panel.buttons, panel.live["drawn"] == look.drawn
    return [
        panel.live["run"],
        gr.update(value=buttons.unlearn, interactive=True),
        gr.update(interactive=True),
        gr.update(value=buttons.pause, interactive=buttons.can_pause),
        gr.update(value=buttons.stop, interactive=buttons.can_stop),
        panel.adjust,
        panel.offer,
        gr.skip() if same else panel.board,
        gr.skip() if same else panel.strip,
        gr.skip() if same else panel.published,
        panel.record,
        panel.takeaway,
        gr.update(visible=panel.scored),
        *(gr.skip() if same else gr.update(choices=of) for of in (panel.shows, panel.tasks)),
        gr.skip() if panel.live["run"] == look.run else panel.masked,
        gr.update(visible=panel.run),
        heading_html(panel.ask),
        panel.queue,
        gr.update(visible=panel.any_runs),
        panel.live | ({"redrawn": look.run} if panel.live["run"] == look.run else {}),
    ]


def draw_buttons() -> Buttons:
    """Lay the buttons out."""
    with gr.Column(elem_classes=["actions"]):
        with gr.Row(elem_classes=["buttons"]):
            # Not before the page has opened: its answer would hide the run that was started.
            unlearn = gr.Button(
                "Unlearn", variant="primary", interactive=False, elem_id="unlearn", min_width=80
            )
            score = gr.Button("Score", interactive=False, elem_id="score", min_width=50)
            sweep = gr.Button("Sweep…", elem_id="sweep-open", min_width=60)
            hold = gr.Button("Pause", interactive=False, elem_id="hold", min_width=60)
            stop = gr.Button("Stop", interactive=False, elem_id="stop", min_width=60)
        return Buttons(unlearn, score, sweep, hold, stop, message("form-message"))


def draw_results(program: Program, buttons: Buttons, queue: gr.HTML, runs: RunsCard) -> Parts:
    """Lay everything right of the form out."""
    return Parts(
        showing=gr.BrowserState("", storage_key="unlearnlab-run", secret="unlearnlab"),
        waiting=gr.BrowserState([], storage_key="unlearnlab-asks", secret="unlearnlab"),
        buttons=buttons,
        queue=queue,
        live=live_panel(program),
        adjust=adjust_card(),
        offer=_html("offer", script("kit/buttons.js")),
        board=_html("scoreboard", script("kit/folds.js", "kit/buttons.js")),
        strip=_html("strip", script("kit/buttons.js")),
        membership=membership_card(program),
        published=_html("published", script("kit/folds.js")),
        record=_html("record", script("kit/folds.js", "kit/buttons.js")),
        takeaway=export_card(program),
        ask=_ask(),
        answers=draw_answers(),
        runs=runs,
    )


def _html(name: str, js: str | None = None) -> gr.HTML:
    return gr.HTML("", elem_id=name, js_on_load=js, apply_default_css=False)


def message(name: str) -> gr.HTML:
    """Draw what a button has to tell."""
    return gr.HTML(
        Message().plain,
        html_template='<div class="message" role="alert" hidden></div>',
        js_on_load=script("kit/message.js"),
        elem_id=name,
        apply_default_css=False,
    )


def _ask() -> AskCard:
    with gr.Column(elem_classes=["card"], visible=False, elem_id="ask-card") as card:
        title = heading("Ask both models")
        with gr.Row(elem_classes=["ask-row"]):
            prompt = gr.Textbox(
                label="Prompt",
                placeholder="Ask what should be gone, or what should have stayed",
                max_lines=4,
                elem_id=PROMPT,
                elem_classes=["field"],
            )
            button = gr.Button("Ask", elem_id="ask", min_width=80)
        told = message("ask-message")
        asks = _html("asks")
    return AskCard(card, title, prompt, button, told, asks)


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
    return RunsCard(card, text, table, pack, message("unpack-message"))
