"""The tab Unlearn: which event calls which handler and updates what."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from unlearnlab.runs.store import StoreError
from unlearnlab.spec.errors import SpecError
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.listeners import QUIET, PageState, follow
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run import handlers
from unlearnlab.ui.run.answers import answers_file, filters_from
from unlearnlab.ui.run.handlers import Notice, error_notice
from unlearnlab.ui.run.live import MINUTE_S, press_adjust, press_replay
from unlearnlab.ui.run.panel import (
    Parts,
    build_answers,
    build_panel,
    draw_buttons,
    draw_queue,
    draw_results,
    draw_runs,
    panel_updates,
)
from unlearnlab.ui.run.record import merged_form
from unlearnlab.ui.run.runs_list import PRESSES, past_runs
from unlearnlab.ui.sweeps.card import SweepBoard, sweep_card
from unlearnlab.ui.sweeps.form import build_fold, wire_fold

POLL_NOW = "() => { document.dispatchEvent(new Event('asked')); }"
"""Makes the live panel poll at once; an idle panel polls slowly."""

TO_FORM = """() => {
  document.getElementById("f-preset")?.scrollIntoView({ block: "center" });
  return [];
}"""
"""Scrolls to the form, which on a phone is above the button that fills it."""

TO_LIVE = """(...values) => {
  document.getElementById("live")?.scrollIntoView({ block: "start" });
  return values;
}"""
"""Scrolls to the run that is shown."""

TO_ANSWERS = """() => {
  document.getElementById("tab-answers-button")?.click();
  // The tab is drawn a moment after it was chosen.
  setTimeout(() => {
    const card = document.getElementById("answers-card");
    const heading = card?.querySelector("h2");
    if (!heading) return;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  }, 50);
  return [];
}"""
"""Scrolls to the rows of a term and moves the keyboard focus there."""


def tab(program: Program, blocks: gr.Blocks) -> tuple[FormParts, Parts]:
    """Lay the tab out and wire it, and return its form and what shows a run.

    To be called inside `blocks`.
    """
    with gr.Row(elem_classes=["board"]):
        with gr.Column(elem_classes=["left"]):
            form = form_layout.draw_form()
            fold = build_fold()
            buttons = draw_buttons()
        with gr.Column(elem_classes=["past"]):
            queue = draw_queue()
            runs = draw_runs()
        with gr.Column(elem_classes=["right"]):
            board = SweepBoard(program)
            sweep = sweep_card(board)
            parts = draw_results(program, buttons, queue, runs)
    form_layout.wire(program, form, buttons.message)
    wiring = _Wiring(program, form, parts)
    wiring.opening(blocks)
    wiring.actions()
    wiring.answers()
    wiring.runs()
    wire_fold(program, board, form, fold, buttons, sweep)
    wiring.opens(sweep.open)
    return form, parts


@contextmanager
def store_errors_as_gr_error() -> Iterator[None]:
    """Show an error of the store on the page in place of a traceback."""
    try:
        yield
    except StoreError as error:
        raise gr.Error(
            str(error), title="The runs cannot be read", print_exception=False
        ) from error


def _step_of(chosen: Any) -> int | None:
    """Return the step that the ask card names; None for the model as it is."""
    return int(chosen) if str(chosen or "").isdecimal() else None


def render_panel(program: Program, run_id: str, values: Sequence[Any]) -> list[Any]:
    """Draw a run: one update for each of `Parts.panel`.

    Args:
        program: Store and worker.
        run_id: The run; empty for none.
        values: The values of `Parts.filters`.

    Raises:
        gr.Error: The store cannot be read, or has no such run.
    """
    filters = filters_from(values)
    with store_errors_as_gr_error():
        return panel_updates(build_panel(program, run_id, filters), filters)


@dataclass(frozen=True, slots=True)
class _Wiring:
    """Connects events with handlers. Values of `Parts.filters` come to a handler as `values`."""

    program: Program
    form: FormParts
    parts: Parts

    @property
    def inputs(self) -> list[Any]:
        return [self.parts.showing, *self.parts.filters]

    @property
    def outputs(self) -> list[Any]:
        return [self.parts.buttons.message, *self.parts.panel]

    def acts(
        self,
        event: Callable[..., Any],
        act: Callable[[str, gr.EventData], tuple[str, Notice]],
        js: str | None = None,
    ) -> None:
        """Let an event act on the run that is shown, and draw the run that it returns."""

        def acted(event: gr.EventData, run_id: str, *values: Any) -> list[Any]:
            run, notice = act(run_id, event)
            return [notice.plain, *render_panel(self.program, run, values)]

        event(acted, self.inputs, self.outputs, js=js, **QUIET)

    def opens(self, event: Callable[..., Any], js: str | None = None) -> None:
        """Let an event show the run that it names."""

        def opened(event: gr.EventData, *values: Any) -> list[Any]:
            return render_panel(self.program, str(event.run), values)

        event(opened, self.parts.filters, self.parts.panel, js=js, **QUIET)

    def fills(
        self,
        event: Callable[..., Any],
        read: Callable[[Program, str], Form],
        js: str | None = None,
    ) -> None:
        """Let an event fill the form with what `read` returns for the run that it names."""

        def filled(event: gr.EventData) -> list[Any]:
            with store_errors_as_gr_error():
                found = read(self.program, str(event.run))
            return form_layout.updates(self.program, self.form, found)

        event(filled, None, self.form.outputs, js=js, **QUIET)

    def opening(self, blocks: gr.Blocks) -> None:
        """Wire what the page shows when it opens, and when something has changed."""
        program, form, parts = self.program, self.form, self.parts

        def opened(draft: Any, remembered: str, *values: Any) -> list[Any]:
            with store_errors_as_gr_error():
                run_id = handlers.first_run(program, remembered)
            panel = render_panel(program, run_id, values)
            restored = forms.fit_to_model(forms.load_draft(draft))
            return [*form_layout.updates(program, form, restored), *panel]

        def redrawn(event: gr.EventData, *values: Any) -> list[Any]:
            run_id, filters = str(event.run), filters_from(values)
            if event.whole:
                filters = replace(filters, drawn="")
            with store_errors_as_gr_error():
                panel = build_panel(program, handlers.existing_run(program, run_id), filters)
            return panel_updates(replace(panel, live=panel.live | {"redrawn": run_id}), filters)

        blocks.load(opened, [form.draft, *self.inputs], [*form.outputs, *parts.panel], **QUIET)
        # The panel may ask again before an answer is there that it has no use for.
        parts.live.turned(redrawn, parts.filters, parts.panel, trigger_mode="multiple", **QUIET)

    def actions(self) -> None:
        """Wire the buttons under the form, and the values that can be changed."""
        program, parts, count = self.program, self.parts, len(self.parts.filters)
        buttons = parts.buttons

        def queues(press: Callable[[Program, str, Form], tuple[str, Notice]]) -> Any:
            def pressed(run_id: str, *values: Any) -> list[Any]:
                filters, (draft, *held) = values[:count], values[count:]
                run, notice = press(program, run_id, forms.collect_form(draft, held))
                return [notice.plain, *render_panel(program, run, filters)]

            return pressed

        def adjusted(event: gr.EventData) -> dict[str, Any]:
            asked = {"run": event.run, "phase": event.phase, "changes": event.changes}
            with store_errors_as_gr_error():
                return press_adjust(program, asked)

        inputs = [*self.inputs, *self.form.inputs]
        buttons.unlearn.click(queues(handlers.press_unlearn), inputs, self.outputs, **QUIET)
        buttons.score.click(queues(handlers.press_score), inputs, self.outputs, **QUIET)

        def of_its_run(press: Callable[[Program, str], Notice]) -> Any:
            """Act on the run that a button names, which may be another than the one shown."""
            return lambda run, event: (run, press(program, str(event.run)))

        self.acts(parts.live.hold, of_its_run(handlers.press_hold))
        self.acts(parts.live.stop, of_its_run(handlers.press_stop))
        self.acts(parts.live.cut, of_its_run(handlers.press_stop_and_score))
        self.opens(parts.live.open)
        self.acts(parts.live.demo, lambda run, _: handlers.press_demo(program, run), js=TO_LIVE)
        parts.adjust.apply(adjusted, None, parts.adjust, **QUIET)
        self.fills(parts.offer.unlearn_next, handlers.next_form, js=TO_FORM)
        self.fills(parts.offer.teach_first, handlers.teaching_form, js=TO_FORM)
        self.fills(parts.offer.only_known, handlers.only_known_form, js=TO_FORM)
        self.fills(parts.export.use_model, merged_form, js=TO_FORM)

    def answers(self) -> None:
        """Wire what follows the reader's filters, and the free prompt."""
        program, parts, inputs = self.program, self.parts, self.inputs
        card, ask = parts.answers, parts.ask

        def filtered(turned: PageState, run_id: str, *values: Any) -> tuple[PageState, list[Any]]:
            filters = filters_from(values)
            turned = turned.of(repr((run_id, filters.rows, filters.order)))
            with store_errors_as_gr_error():
                found = build_answers(program, run_id, filters, turned.page)
            labels = gr.update(choices=found.labels)
            return turned, [labels, found.answers, found.asks, found.membership]

        def sorted_by(event: gr.EventData, *values: Any) -> list[Any]:
            filters = filters_from(values).sorting(str(event.key))
            return [filters.sort, filters.descending]

        def opened(event: gr.EventData, *values: Any) -> list[Any]:
            filters = filters_from(values).opening(str(event.term))
            return [filters.rows.show, filters.task, filters.kind, "", []]

        def exported(run_id: str, *values: Any) -> dict[str, Any]:
            with store_errors_as_gr_error():
                return answers_file(program, run_id, filters_from(values))

        def asked(prompt: str, step: str, run_id: str, *values: Any) -> list[Any]:
            ask_id, notice = handlers.press_ask(program, run_id, prompt, _step_of(step))
            if not ask_id:
                return [notice.plain, gr.skip(), gr.skip()]
            waiting = [*filters_from(values).waiting, (run_id, ask_id, prompt)][-20:]
            return [notice.plain, "", waiting]

        def branched(run_id: str, step: str) -> list[Any]:
            try:
                with store_errors_as_gr_error():
                    found = handlers.branch_form(program, run_id, _step_of(step) or 0)
            except SpecError as error:
                raise gr.Error(str(error), title="No such snapshot") from error
            return form_layout.updates(program, self.form, found)

        changes = [part.change for part in card.filters]
        draw_on = follow(card.table, changes, filtered, inputs, parts.filtered)
        draw_on(parts.live.shown)
        card.table.sort(sorted_by, parts.filters, [card.sort, card.descending], **QUIET)
        card.export.click(exported, inputs, card.download, **QUIET)
        term = [card.show, card.task, card.kind, card.text, card.labels]
        for part in (parts.board, parts.strip):
            chosen = part.open_term(opened, parts.filters, term, **QUIET)
            # Not before the rows are there: until then, there may be nothing to scroll by.
            draw_on(chosen.then).then(None, js=TO_ANSWERS, **QUIET)
        answered = gr.on(
            [ask.button.click, ask.prompt.submit],
            asked,
            [ask.prompt, ask.step, *inputs],
            [ask.message, ask.prompt, parts.waiting],
            **QUIET,
        )
        ask.step.change(
            lambda step: gr.update(interactive=_step_of(step) is not None),
            ask.step,
            ask.branch,
            **QUIET,
        )
        branching = ask.branch.click(
            branched, [parts.showing, ask.step], self.form.outputs, **QUIET
        )
        branching.then(None, js=TO_FORM, **QUIET)
        answered.then(None, js=POLL_NOW, **QUIET)
        draw_on(answered.then)

    def runs(self) -> None:
        """Wire the queue, the list of past runs, the record of the run, and the import of packs."""
        program, parts, card = self.program, self.parts, self.parts.runs

        def listed(turned: PageState, run_id: str, text: str | None) -> tuple[PageState, list[Any]]:
            turned = turned.of(text or "")
            with store_errors_as_gr_error():
                return turned, [past_runs(program, run_id, text, turned.page)]

        def replayed(run_id: str, event: gr.EventData) -> tuple[str, Notice]:
            asked = {"run": event.run, "action": "start", "seconds": MINUTE_S}
            problem = press_replay(program, asked)["problem"]
            return (run_id, error_notice(problem)) if problem else (str(event.run), Notice())

        def reproduced(run_id: str, event: gr.EventData) -> tuple[str, Notice]:
            return handlers.press_reproduce(program, run_id, str(event.run))

        def unpacked(path: str, run_id: str, *values: Any) -> list[Any]:
            run, notice = handlers.press_unpack(program, path)
            return [None, notice.plain, *render_panel(program, run or run_id, values)]

        def moves(press: Callable[[Program, Any], Notice]) -> Any:
            return lambda run, event: (run, press(program, {"run": event.run, "to": event.to}))

        for name, press in PRESSES.items():
            self.acts(getattr(parts.queue, name), moves(press))
        seen = [parts.showing, card.text]
        follow(card.table, [card.text.change], listed, seen, [card.table])(parts.live.shown)
        self.acts(card.table.replay, replayed)
        self.fills(card.table.load_settings, handlers.settings_of)
        self.acts(parts.record.reproduce, reproduced, js=TO_LIVE)
        self.opens(parts.queue.open)
        self.opens(card.table.open)
        self.opens(parts.record.open, js=TO_LIVE)
        outputs = [card.pack, card.message, *parts.panel]
        card.pack.upload(unpacked, [card.pack, *self.inputs], outputs, **QUIET)
