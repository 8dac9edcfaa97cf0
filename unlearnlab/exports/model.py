"""The merged model of a run: the request to the engine, and the model card, its README.md."""

from collections.abc import Iterator
from pathlib import Path

from unlearnlab import __version__
from unlearnlab.exports.kinds import check_there
from unlearnlab.exports.result import Result
from unlearnlab.runs.engine_api import Export
from unlearnlab.spec.run import PACKED, RunSpec
from unlearnlab.views import words
from unlearnlab.views.scoreboard import SPLITS, terms_strip, titles_of

CARD = "README.md"


def model_folder(run_id: str) -> str:
    """Name the folder of a run's merged model."""
    return f"{run_id}-model"


def model_export(result: Result, where: Path) -> Export:
    """Request the merged model of a run.

    Args:
        result: Of the run.
        where: The folder that its folder is to lie in.

    Raises:
        NothingThere: The run left no weights, or their model is not on this machine.
        Spoiled: Its weights are no longer what was saved.
    """
    check_there(result, "model")
    assert result.weights is not None, "the kind was found to be there"
    result.weights.check()
    folder = where / model_folder(result.run_id)
    try:
        # An earlier export of the run may be written over.
        ours = f"`{result.run_id}`" in (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        ours = False
    return Export(folder, {CARD: card(result)}, replace=ours)


def card(result: Result) -> str:
    """Write the card: what was done, with what result, and what that does not show."""
    spec = result.spec
    front = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if repository := spec.model.known.repository:
        front.append(f"base_model: {repository}")
    front += ["tags:", "- machine-unlearning", "- unlearnlab", "---"]  # What a hub reads.
    parts = (
        "\n".join(front),
        f"# {_text(words.model_text(spec))}, {words.became(spec)}",
        f"Made by unlearnlab {__version__} in run `{result.run_id}`, which {result.status}.",
        "## What was done",
        *_done(result),
        "## Scores",
        *_scores(result),
        "## Limits",
        "\n".join(f"* {line}" for line in words.limits(spec)),
        _USE + (_TURNS if result.progress.loaded and result.progress.loaded.template else _PLAIN),
        *(["The licence of the original model holds for this one too."] if repository else []),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _done(result: Result) -> Iterator[str]:
    spec, progress = result.spec, result.progress
    phases = enumerate(words.phases_text(spec, progress), 1)
    yield "\n".join(f"{number}. {_text(text)}" for number, text in phases)
    lines = [f"Trained: {words.training_text(spec)}."]
    if form := _written_form(spec):
        lines.append(form)
    lines.append(f"Data: {_text(words.data_text(spec, progress))}.")
    if loaded := progress.loaded:
        lines.append(f"Fingerprint of the rows: `{loaded.data}`.")
        lines.append(f"Fingerprint of the original weights: `{loaded.weights}`.")
    lines.append(f"Seed {spec.seed}.")
    lines += [f"Changed by hand {_text(text)}." for text in words.changes_text(spec, progress)]
    yield "\n".join(f"* {line}" for line in lines)


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


def _scores(result: Result) -> Iterator[str]:
    board, row = result.board, result.row
    if row.before is None and row.after is None:
        yield "No scores were measured."
        return
    lines = ["| score, up is good | before | after | |", "|---|---|---|---|"]
    for one in board.cards:
        numbers = f"{_number(one.before)} | {_number(one.after)}"
        lines.append(f"| {one.title} | {numbers} | {one.note} |")
    yield "\n".join(lines)
    yield f"Measured on: {'; '.join(part for part in (board.setting, board.protocol) if part)}."
    yield "The terms of the task aggregate, their harmonic mean, up is good:"
    lines = ["| term | before | after |", "|---|---|---|"]
    for term in terms_strip(row.before, row.after, titles_of(row.spec.data.known)):
        numbers = f"{_number(term.before)} | {_number(term.after)}"
        lines.append(f"| {SPLITS[term.split]} · {term.column} | {numbers} |")
    yield "\n".join(lines)
    if board.verdict is None:
        yield "There is no verdict: it needs the scores before and after."
    else:
        yield f"**Verdict: {board.verdict.title}.**"
        yield "\n".join(f"* {line}" for line in board.verdict.evidence)


_USE = """## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER")
tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")
```

"""

_PLAIN = "The scores are of greedy answers to the bare prompt, without a chat template."

_TURNS = (
    "The scores are of greedy answers to the prompt as the user's turn of the model's chat "
    "template: `tokenizer.apply_chat_template` with `add_generation_prompt=True`."
)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _text(text: str) -> str:
    """Keep a user's words from acting as Markdown or HTML."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
