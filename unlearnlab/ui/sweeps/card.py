"""The card of a sweep: its chart, how it stands, and the buttons to steer it."""

from typing import Any

import gradio as gr

from unlearnlab.ui.kit.charts import TAKE
from unlearnlab.ui.kit.script import script
from unlearnlab.ui.sweeps.panel import Board


def sweep_card(board: Board) -> gr.HTML:
    """Draw the card.

    Its value is `{"sweep": id, "follow": ...}`; `open` fires with the `run` to show.
    """

    def poll_sweep(asked: Any) -> dict[str, Any]:
        return board.poll(asked)

    def press_sweep(asked: Any) -> dict[str, Any]:
        return board.press(asked)

    return gr.HTML(
        {"sweep": "", "follow": False},
        html_template=_TEMPLATE,
        js_on_load=script("kit/poll.js", "sweeps/card.js"),
        server_functions=[poll_sweep, press_sweep],
        elem_id="sweep",
        apply_default_css=False,
    )


_TEMPLATE = f"""
<section class="card sweep" data-part="card" aria-label="Sweep" hidden>
  <div class="run-head">
    <button type="button" class="sweep-fold" data-part="fold" aria-expanded="true"
      aria-controls="sweep-body"><h2 data-part="title"></h2></button>
    <select data-part="choose" aria-label="Sweep to show"></select>
    <span class="pill" data-part="pill"></span></div>
  <div class="status-line"><span data-part="status" role="status"></span>
    <div class="bars" role="progressbar" aria-label="Runs finished" aria-valuemin="0"
      aria-valuemax="100"><i><u></u></i></div></div>
  <p class="lost" data-part="lost" role="alert" hidden></p>
  <div id="sweep-body" data-part="body">
    <figure class="figure"><div class="sweep-tools">
      <button type="button" class="quiet" data-act="go_on" hidden></button>
      <button type="button" class="quiet" data-act="retry" hidden></button>
      <button type="button" class="quiet" data-act="cancel" hidden></button>
      <label data-part="following" hidden><input type="checkbox" data-part="follow">
        show each run as it begins</label>
      <div class="segments" role="group" aria-label="Score" data-part="scores" hidden></div>
      {TAKE}</div><div class="plot"></div></figure>
    <details class="sweep-list"><summary>Runs</summary><div data-part="runs"></div></details>
    <details class="sweep-add" data-part="add"><summary>Add values</summary>
      <form><select data-part="axis" aria-label="What to add to"></select>
        <input type="text" data-part="text" aria-label="Values to add" maxlength="2000">
        <button type="submit" class="quiet">Add to the sweep</button></form></details>
    <p class="sweep-said" data-part="said" role="status"></p>
  </div>
</section>
"""
