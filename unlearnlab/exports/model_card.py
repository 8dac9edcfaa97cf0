"""The model card of the merged model: README.md of its folder."""

from collections.abc import Iterator

from unlearnlab import __version__
from unlearnlab.exports import words
from unlearnlab.exports.result import Result
from unlearnlab.spec.run import PACKED, RunSpec
from unlearnlab.views.scoreboard import SPLITS, Scoreboard, ScoreCard, terms_strip


def card(result: Result) -> str:
    """Write the card: what was done, with what result, and what that does not show."""
    parts = (
        _front(result.spec),
        _done(result),
        _result(result),
        _limits(result.spec),
        _use(result),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _front(spec: RunSpec) -> Iterator[str]:
    """Yield the block that a hub reads."""
    yield from ("---", "library_name: transformers", "pipeline_tag: text-generation")
    if repository := spec.model.known.repository:
        yield f"base_model: {repository}"
    yield from ("tags:", "- machine-unlearning", "- unlearnlab", "---", "")


def _done(result: Result) -> Iterator[str]:
    spec, loaded = result.spec, result.loaded
    yield f"# {_text(words.model_name(spec))}, {words.became(spec)}"
    yield ""
    yield f"Made by unlearnlab {__version__} in run `{result.run_id}`, which {result.status}."
    yield ""
    yield "## What was done"
    yield ""
    for number, text in enumerate(words.phases(result), 1):
        yield f"{number}. {_text(text)}"
    yield ""
    yield f"* Trained: {words.training(spec)}."
    if form := _written_form(spec):
        yield f"* {form}"
    yield f"* Data: {_text(words.data_name(result))}."
    if loaded:
        yield f"* Fingerprint of the rows: `{loaded.data}`."
        yield f"* Fingerprint of the original weights: `{loaded.weights}`."
    yield f"* Seed {spec.seed}."
    for line in words.changed(result):
        yield f"* Changed by hand {_text(line)}."
    yield ""


def _written_form(spec: RunSpec) -> str:
    """Say how the weights in the folder differ from those that were trained and scored."""
    if spec.model.adapter is None:
        return ""
    packed = spec.model.precision in PACKED
    unpacked = "The packed weights were unpacked to what they stood for in training; then the"
    rounded = "The sum is rounded"
    if spec.model.precision == "int8":
        rounded += ", and on a GPU 8-bit layers round what goes through them as well"
    return (
        f"{unpacked if packed else 'The'} adapter was added to the weights. {rounded}: a near tie "
        "between two tokens may fall the other way than it did when the scores were measured."
    )


def _result(result: Result) -> Iterator[str]:
    board, row = result.board, result.row
    yield "## Scores"
    yield ""
    if row.before is None and row.after is None:
        yield "No scores were measured."
        yield ""
        return
    yield "| score, up is good | before | after | |"
    yield "|---|---|---|---|"
    for one in board.cards:
        yield _score(one)
    yield ""
    yield f"Measured on: {_setting(board)}."
    yield ""
    yield "The terms of the task aggregate, their harmonic mean, up is good:"
    yield ""
    yield "| term | before | after |"
    yield "|---|---|---|"
    for term in terms_strip(row.before, row.after):
        yield (
            f"| {SPLITS[term.split]} · {term.column} | {_number(term.before)} "
            f"| {_number(term.after)} |"
        )
    yield ""
    yield from _verdict(board)


def _verdict(board: Scoreboard) -> Iterator[str]:
    if board.verdict is None:
        yield "There is no verdict: it needs the scores before and after."
    else:
        yield f"**Verdict: {board.verdict.title}.**"
        yield ""
        yield from (f"* {line}" for line in board.verdict.evidence)
    yield ""


def _limits(spec: RunSpec) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield from (f"* {line}" for line in words.limits(spec))
    yield ""


def _use(result: Result) -> Iterator[str]:
    yield "## Use"
    yield ""
    yield "```python"
    yield "from transformers import AutoModelForCausalLM, AutoTokenizer"
    yield ""
    yield 'model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER")'
    yield 'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")'
    yield "```"
    yield ""
    yield "The scores are of greedy answers to the bare prompt, without a chat template."
    if result.spec.model.known.repository:
        yield ""
        yield "The licence of the original model holds for this one too."


def _setting(board: Scoreboard) -> str:
    return "; ".join(part for part in (board.setting, board.protocol) if part)


def _score(one: ScoreCard) -> str:
    return f"| {one.title} | {_number(one.before)} | {_number(one.after)} | {one.note} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _text(text: str) -> str:
    """Keep a user's words from acting as Markdown or HTML."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
