"""What the tab Compare holds before the server has drawn anything into it."""

from unlearnlab.metrics.scores import SCORES, Score, weighted_scores
from unlearnlab.ui.compare.answers import ASKED
from unlearnlab.ui.compare.panels import ROOMS as NAMES
from unlearnlab.ui.kit.html import escape
from unlearnlab.views.scoreboard import KINDS, TASKS


def _filter(name: str, label: str, every: str) -> str:
    return f'<select data-filter="{name}" data-any="{every}" aria-label="{label}"></select>'


LIST = f"""
<section class="card compare-list" aria-labelledby="compare-title">
  <div class="card-head"><h2 id="compare-title">All runs</h2><span data-part="total"></span></div>
  <div class="compare-filters">
    <input type="search" data-part="text" placeholder="Search runs, tags, notes"
      aria-label="Search all runs" maxlength="200">
    {_filter("model", "Model", "all models")}{_filter("method", "Method", "all methods")}
    {_filter("data", "Data", "all data")}{_filter("outcome", "Verdict", "all verdicts")}
    {_filter("tag", "Tag", "all tags")}{_filter("since", "Started", "any time")}
  </div>
  <div class="compare-bar" data-part="bar" role="group" aria-label="Selection">
    <output data-part="count">none selected</output>
    <button type="button" class="quiet" data-act="every" data-part="every" hidden></button>
    <button type="button" class="quiet" data-act="clear" data-needs hidden>Clear</button>
    <button type="button" class="quiet" data-act="tag" data-needs hidden>Add tag</button>
    <button type="button" class="quiet" data-act="delete" data-needs hidden>Delete</button>
    <button type="button" class="quiet" data-act="link" data-needs hidden>Copy link</button>
    <button type="button" class="quiet" data-act="report" data-needs hidden>Report</button>
  </div>
  <form class="tagging" data-part="tagging" hidden><input type="text" maxlength="200"
    aria-label="Tags for the selected runs" placeholder="baseline, paper">
    <button type="submit" class="quiet">Add to the selected runs</button></form>
  <form class="tagging" data-part="reporting" hidden>
    <label><input type="checkbox" checked> mask personal data</label>
    <button type="submit" class="quiet">Download as one HTML file</button></form>
  <p class="compare-told" data-part="told" role="status" hidden></p>
  <div class="undo" data-part="undo" role="status" hidden><span></span>
    <button type="button" class="quiet" data-act="undo">Undo</button>
    <button type="button" class="quiet" data-act="dismiss">Dismiss</button></div>
  <p class="lost" data-part="lost" role="alert" hidden></p>
  <div class="scroll" data-part="table"></div>
</section>
"""


def _room(name: str, title: str) -> str:
    return (
        f'<button type="button" role="tab" id="room-{name}" aria-controls="compare-room" '
        f'data-room="{name}">{title}</button>'
    )


def _option(name: str, label: str, *choices: tuple[str, str]) -> str:
    options = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in choices)
    return f'<label>{label} <select data-option="{name}">{options}</select></label>'


def _switch(name: str, label: str) -> str:
    return f'<label class="switch"><input type="checkbox" data-option="{name}"> {label}</label>'


_CURVES = (
    _option("series", "Curve")
    + _option("by", "over")
    + _switch("smooth", "smoothed")
    + _switch("log", "log scale")
)

_PLANE = _option(
    "across",
    "Forgetting as",
    *((of.key, of.words) for of in SCORES.values() if of.best == 1 and of.key != "utility"),
)


def _weight(of: Score) -> str:
    return (
        f'<label><span data-part="{of.key}">{escape(of.head)}</span> <input type="range" min="0" '
        f'max="4" step="0.5" value="1" data-weight="{of.weight}"><output>1</output></label>'
    )


ROOMS = f"""
<section class="card empty" data-part="empty" hidden>
  <h2>Select runs to compare them</h2>
  <p>Tick two or more above. Their scores, curves, settings and answers appear here side by side,
  and the address of this page becomes a link to the same selection.</p>
  <div class="suggested" data-part="suggested"></div>
</section>
<section class="card" data-part="board" aria-labelledby="board-title" hidden>
  <div class="card-head board-head"><h2 id="board-title">Scoreboard</h2>
    <div class="weights" role="group" aria-label="Weights of the ranking">
      <span>rank by</span>
      {"".join(map(_weight, weighted_scores()))}
      <button type="button" class="quiet" data-act="equal" hidden>Equal weights</button></div>
  </div>
  <p class="lost" data-part="lost" role="alert" hidden></p>
  <div data-part="scores"></div>
</section>
<section class="card rooms" data-part="rooms" aria-label="Side by side" hidden>
  <div class="rooms-head"><div class="segments" role="tablist" aria-label="What to compare">
    {"".join(_room(name, title) for name, title in NAMES.items())}</div>
    <div class="room-controls" data-for="charts" hidden>
      {_CURVES}{_PLANE}</div>
    <div class="room-controls" data-for="answers" hidden>
      {_option("split", "Set", ("forget", "forget"), ("retain", "retain"), ("", "both"))}
      {_option("task", "Subtask", ("", "all"), *TASKS.items())}
      {_option("kind", "Type", ("", "both"), *KINDS.items())}
      <input type="search" data-option="text" placeholder="Search prompts" maxlength="200"
        aria-label="Search prompts"></div>
    <div class="room-controls end" data-for="answers ask" hidden>
      {_switch("masked", "mask personal data")}</div>
  </div>
  <div class="room-ask" data-for="ask" hidden>
    <div class="asked" data-part="asked" data-most="{ASKED}" role="group"
      aria-label="Runs to ask, {ASKED} at most"></div>
    <form data-part="ask"><textarea rows="2" aria-label="Prompt to several runs" maxlength="8000"
      placeholder="Ask the original and up to {ASKED} unlearned models"></textarea>
      <button type="submit" class="strong">Ask</button></form>
    <p class="bad" data-part="ask-told" role="alert"></p></div>
  <div data-part="room" role="tabpanel" id="compare-room"></div>
</section>
"""
"""The scoreboard and the rooms; `panels.js` brings them to life."""
