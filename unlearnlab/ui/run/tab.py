"""The tab Unlearn: which event calls which handler and updates what."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gradio as gr

from unlearnlab.runs.store import StoreError
from unlearnlab.ui.data.typed_facts import next_form
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form import layout as form_layout
from unlearnlab.ui.form.form import Form
from unlearnlab.ui.form.layout import FormParts
from unlearnlab.ui.kit.answer_filters import Look
from unlearnlab.ui.kit.listeners import QUIET, PageState, follow
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run import handlers
from unlearnlab.ui.run.adjust import press_adjust
from unlearnlab.ui.run.answers import answers_file
from unlearnlab.ui.run.export_card import merged_form
from unlearnlab.ui.run.handlers import Message, trouble
from unlearnlab.ui.run.layout import (
    Parts,
    draw_buttons,
    draw_queue,
    draw_results,
    draw_runs,
    panel_updates,
)
from unlearnlab.ui.run.live import MINUTE_S, press_replay
from unlearnlab.ui.run.panel import draw, past_runs, sight
from unlearnlab.ui.run.queue import PRESSES
from unlearnlab.ui.sweeps.card import Board, sweep_card
from unlearnlab.ui.sweeps.form import draw_fold, wire_fold

Press = Callable[[Program, str, Form], tuple[str, Message]]
"""Queues the form: takes the run that is shown, returns the run to show and a message."""

LOOKS = 10
"""Number of the components in `Parts.look`."""

LOOK_NOW = "() => { document.dispatchEvent(new Event('asked')); }"
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
  const card = document.getElementById("answers-card");
  const heading = card?.querySelector("h2");
  if (!heading) return [];
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start" });
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
            fold = draw_fold()
            buttons = draw_buttons()
        with gr.Column(elem_classes=["past"]):
            queue = draw_queue()
            runs = draw_runs()
        with gr.Column(elem_classes=["right"]):
            board = Board(program)
            sweep = sweep_card(board)
            parts = draw_results(program, buttons, queue, runs)
    form_layout.wire(program, form)
    _wire_opening(program, blocks, form, parts)
    _wire_buttons(program, form, parts)
    _wire_requests(program, parts, _wire_answers(program, parts))
    _wire_queue(program, parts)
    _wire_runs(program, form, parts)
    _wire_offer(program, form, parts)
    _wire_record(program, parts)
    wire_fold(program, board, form, fold, buttons, sweep)
    sweep.open(_open_run(program), parts.look, parts.panel, **QUIET)
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


def filters_from(seen: tuple[Any, ...]) -> Look:
    """Return the filters from the values of `Parts.look`."""
    show, task, kind, text, labels, sort, descending, masked, waiting, live = seen
    asked = waiting if isinstance(waiting, list) else []
    live = live if isinstance(live, dict) else {}
    drawn, run = live.get("drawn", ""), live.get("run", "")
    return Look(
        show=show,
        task=task,
        kind=kind,
        text=text,
        labels=labels if isinstance(labels, list) else [],
        sort=sort,
        descending=bool(descending),
        masked=bool(masked),
        waiting=asked,
        drawn=drawn,
        run=run,
    )


def render_panel(program: Program, run_id: str, seen: tuple[Any, ...]) -> list[Any]:
    """Draw a run: one update for each of `Parts.panel`.

    Args:
        program: Store and worker.
        run_id: The run; empty for none.
        seen: The values of `Parts.look`.

    Raises:
        gr.Error: The store cannot be read, or has no such run.
    """
    look = filters_from(seen)
    with store_errors_as_gr_error():
        return panel_updates(draw(program, run_id, look), look)


def _open_run(program: Program) -> Callable[..., list[Any]]:
    """Return the handler of an event that opens a run."""

    def opened(event: gr.EventData, *seen: Any) -> list[Any]:
        return render_panel(program, str(event.run), seen)

    return opened


def _wire_opening(program: Program, blocks: gr.Blocks, form: FormParts, parts: Parts) -> None:
    def opened(draft: Any, remembered: str, *seen: Any) -> list[Any]:
        with store_errors_as_gr_error():
            run_id = handlers.first_run(program, remembered)
        panel = render_panel(program, run_id, seen)
        found = forms.fit_to_model(forms.load_draft(draft))
        return [*form_layout.updates(program, form, found), *panel]

    def redrawn(event: gr.EventData, *seen: Any) -> list[Any]:
        run_id, look = str(event.run), filters_from(seen)
        if event.whole:
            look = replace(look, drawn="")
        with store_errors_as_gr_error():
            panel = draw(program, handlers.still_there(program, run_id), look)
        return panel_updates(replace(panel, live=panel.live | {"redrawn": run_id}), look)

    blocks.load(
        opened,
        [form.draft, parts.showing, *parts.look],
        [*form.outputs, *parts.panel],
        **QUIET,
    )
    # The panel may ask again before an answer is there that it has no use for.
    parts.live.turned(redrawn, parts.look, parts.panel, trigger_mode="multiple", **QUIET)


def _wire_buttons(program: Program, form: FormParts, parts: Parts) -> None:
    buttons = parts.buttons
    outputs = [buttons.message, *parts.panel]

    def after(run_id: str, message: Message, seen: tuple[Any, ...]) -> list[Any]:
        return [message.plain, *render_panel(program, run_id, seen)]

    def queues(press: Press) -> Callable[..., list[Any]]:
        def pressed(run_id: str, *values: Any) -> list[Any]:
            seen, (draft, *held) = values[:LOOKS], values[LOOKS:]
            form = forms.collect_form(draft, held)
            shown_run, message = press(program, run_id, form)
            return after(shown_run, message, seen)

        return pressed

    def hold(run_id: str, *seen: Any) -> list[Any]:
        return after(run_id, handlers.press_hold(program, run_id), seen)

    def stop(run_id: str, *seen: Any) -> list[Any]:
        return after(run_id, handlers.press_stop(program, run_id), seen)

    inputs = [parts.showing, *parts.look]
    presses = ((buttons.unlearn, handlers.press_unlearn), (buttons.score, handlers.press_score))
    for button, press in presses:
        button.click(queues(press), [*inputs, *form.inputs], outputs, **QUIET)
    buttons.hold.click(hold, inputs, outputs, **QUIET)
    buttons.stop.click(stop, inputs, outputs, **QUIET)


def _wire_requests(program: Program, parts: Parts, draw_on: Callable[[Any], Any]) -> None:
    """Wire prompts and changed values; `draw_on` registers events that redraw the answers."""
    ask, inputs = parts.ask, [parts.showing, *parts.look]

    def asked(prompt: str, run_id: str, *seen: Any) -> list[Any]:
        look = filters_from(seen)
        ask_id, message = handlers.press_ask(program, run_id, prompt)
        if not ask_id:
            return [message.plain, gr.skip(), gr.skip()]
        waiting = [*look.waiting, (run_id, ask_id, prompt)][-20:]
        return [message.plain, "", waiting]

    def adjusted(event: gr.EventData) -> dict[str, Any]:
        asked = {"run": event.run, "phase": event.phase, "changes": event.changes}
        with store_errors_as_gr_error():
            return press_adjust(program, asked)

    parts.adjust.apply(adjusted, None, parts.adjust, **QUIET)
    answered = gr.on(
        [ask.button.click, ask.prompt.submit],
        asked,
        [ask.prompt, *inputs],
        [ask.message, ask.prompt, parts.waiting],
        **QUIET,
    )
    answered.then(None, js=LOOK_NOW, **QUIET)
    draw_on(answered.then)


def _wire_answers(program: Program, parts: Parts) -> Callable[[Any], Any]:
    """Wire what follows the reader's choice, and return what draws it on one more event."""
    card, inputs = parts.answers, [parts.showing, *parts.look]

    def looked(turned: PageState, run_id: str, *seen: Any) -> tuple[PageState, list[Any]]:
        look = filters_from(seen)
        turned = turned.of(repr((run_id, look.filter, look.order)))
        with store_errors_as_gr_error():
            found = sight(program, run_id, look, turned.page)
        labels = gr.update(choices=found.labels)
        return turned, [labels, found.answers, found.asks, found.membership]

    def sorted_by(event: gr.EventData, *seen: Any) -> list[Any]:
        look = filters_from(seen).sorting(str(event.key))
        return [look.sort, look.descending]

    def opened(event: gr.EventData, *seen: Any) -> list[Any]:
        look = filters_from(seen).opening(str(event.term))
        return [look.filter.show, look.task, look.kind, "", []]

    def exported(run_id: str, *seen: Any) -> dict[str, Any]:
        with store_errors_as_gr_error():
            return answers_file(program, run_id, filters_from(seen))

    draw_on = follow(card.table, card.chosen, looked, inputs, parts.sight)
    draw_on(parts.live.shown)
    card.table.sort(sorted_by, parts.look, [card.sort, card.descending], **QUIET)
    card.export.click(exported, inputs, card.download, **QUIET)
    term = [card.show, card.task, card.kind, card.text, card.labels]
    for part in (parts.board, parts.strip):
        chosen = part.open_term(opened, parts.look, term, **QUIET)
        # Not before the rows are there: until then, there may be nothing to scroll by.
        draw_on(chosen.then).then(None, js=TO_ANSWERS, **QUIET)
    return draw_on


def _wire_queue(program: Program, parts: Parts) -> None:
    def pressed(press: Callable[[Program, Any], Message]) -> Callable[..., list[Any]]:
        def drawn(event: gr.EventData, run_id: str, *seen: Any) -> list[Any]:
            message = press(program, {"run": event.run, "to": event.to})
            return [message.plain, *render_panel(program, run_id, seen)]

        return drawn

    inputs, outputs = [parts.showing, *parts.look], [parts.buttons.message, *parts.panel]
    parts.queue.open(_open_run(program), parts.look, parts.panel, **QUIET)
    for event, press in PRESSES.items():
        getattr(parts.queue, event)(pressed(press), inputs, outputs, **QUIET)


def _wire_runs(program: Program, form: FormParts, parts: Parts) -> None:
    card = parts.runs

    def listed(turned: PageState, run_id: str, text: str | None) -> tuple[PageState, list[Any]]:
        turned = turned.of(text or "")
        with store_errors_as_gr_error():
            return turned, [past_runs(program, run_id, text, turned.page)]

    def replayed(event: gr.EventData, run_id: str, *seen: Any) -> list[Any]:
        asked = {"run": event.run, "action": "start", "seconds": MINUTE_S}
        problem = press_replay(program, asked)
        run, message = (run_id, trouble(problem)) if problem else (str(event.run), Message())
        return [message.plain, *render_panel(program, run, seen)]

    def loaded(event: gr.EventData) -> list[Any]:
        with store_errors_as_gr_error():
            found = handlers.settings_of(program, str(event.run))
        return form_layout.updates(program, form, found)

    inputs = [parts.showing, *parts.look]
    seen = [parts.showing, card.text]
    follow(card.table, [card.text.change], listed, seen, [card.table])(parts.live.shown)
    card.table.open(_open_run(program), parts.look, parts.panel, **QUIET)
    outputs = [parts.buttons.message, *parts.panel]
    card.table.replay(replayed, inputs, outputs, **QUIET)
    card.table.load_settings(loaded, None, form.outputs, **QUIET)


def _wire_record(program: Program, parts: Parts) -> None:
    def repeated(event: gr.EventData, run_id: str, *seen: Any) -> list[Any]:
        run, message = handlers.press_reproduce(program, run_id, str(event.run))
        return [message.plain, *render_panel(program, run, seen)]

    def unpacked(path: str, run_id: str, *seen: Any) -> list[Any]:
        run, message = handlers.press_unpack(program, path)
        return [None, message.plain, *render_panel(program, run or run_id, seen)]

    inputs, pack = [parts.showing, *parts.look], parts.runs.pack
    outputs = [parts.buttons.message, *parts.panel]
    parts.record.open(_open_run(program), parts.look, parts.panel, js=TO_LIVE, **QUIET)
    parts.record.reproduce(repeated, inputs, outputs, js=TO_LIVE, **QUIET)
    pack.upload(unpacked, [pack, *inputs], [pack, parts.runs.message, *parts.panel], **QUIET)


def _wire_offer(program: Program, form: FormParts, parts: Parts) -> None:
    def taken(event: gr.EventData) -> list[Any]:
        with store_errors_as_gr_error():
            found = next_form(program, event.run)
        return form_layout.updates(program, form, found)

    def used(event: gr.EventData) -> list[Any]:
        with store_errors_as_gr_error():
            found = merged_form(program, str(event.run))
        return form_layout.updates(program, form, found)

    parts.offer.unlearn_next(taken, None, form.outputs, js=TO_FORM, **QUIET)
    parts.takeaway.use_model(used, None, form.outputs, js=TO_FORM, **QUIET)
