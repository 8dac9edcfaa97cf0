"""The command `ask`: prompts to the original and the unlearned model of a run."""

import argparse
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from unlearnlab.cli.commands import DONE, FAILED, Commands, as_json, table, tell
from unlearnlab.cli.follow import CLOSING_S, refuse_in_use
from unlearnlab.data.checks import Finding
from unlearnlab.data.files import home
from unlearnlab.data.layouts import is_blank
from unlearnlab.data.reading import TEXT_KINDS, read_table, text_of
from unlearnlab.runs.engine_api import Question, as_pool, listed
from unlearnlab.runs.events import Asked, AskFailed
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.errors import SpecError, printable
from unlearnlab.views.answers import heard, tally

TABLES = (*chain.from_iterable(TEXT_KINDS.values()), ".parquet", ".pq")
"""Ends of the names of files that hold rows with `input` and `output`."""

POLL_S = 0.1


def register(commands: Commands) -> None:
    """Add the command to the program's."""
    about = "ask both models of a run, and count the answers that were expected"
    asking = commands.add("ask", _ask, about, json=True, home=True, device=True)
    asking.add_argument("run", metavar="RUN", help="id of a finished run")
    asking.add_argument(
        "prompts",
        metavar="PROMPT",
        nargs="*",
        help="a prompt, perhaps with the answer that is looked for: 'Who is it? => Ada'",
    )
    asking.add_argument(
        "--step",
        metavar="N",
        type=int,
        help="ask the run's snapshot of this step (evaluation.snapshots) in place of its result",
    )
    asking.add_argument(
        "--file",
        metavar="FILE",
        type=Path,
        help="file of prompts: one a line, with the expected answer after a tab or ' => ', or rows "
        "with input and output as JSONL, CSV or Parquet",
    )


def questions_of(prompts: Sequence[str], file: Path | None) -> tuple[Question, ...]:
    """Return the prompts of a command line.

    Raises:
        SourceError: The file cannot be read.
        SpecError: There is none.
    """
    found: list[Question] = []
    for prompt in prompts:
        found += listed(prompt) or [Question(prompt)]
    if file is not None:
        found += _of_file(file)
    found = [one for one in found if one.prompt.strip()]
    if not found:
        raise SpecError([("ask", "there is nothing to ask: give a PROMPT, or a --file of them")])
    return tuple(found)


def _of_file(file: Path) -> list[Question]:
    if file.suffix.lower() not in TABLES:
        try:
            text, findings = text_of(file, "")
        except OSError as error:
            what = f"{file} cannot be read: {error.strerror}"
            raise SpecError([("file", what)]) from error
        _refuse_broken(file, findings)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return list(listed(text)) or [Question(line) for line in lines]
    table = read_table(file)
    _refuse_broken(file, table.findings)
    found: list[Question] = []
    for at, row in enumerate(table.rows, 1):
        prompt, expected = row.get("input"), row.get("output")
        if is_blank(prompt):
            raise SpecError([("file", f"row {at} of {file.name} has no `input`: the prompt")])
        found.append(Question(str(prompt), "" if is_blank(expected) else str(expected)))
    return found


def _refuse_broken(file: Path, findings: Iterable[Finding]) -> None:
    told = next((one.message for one in findings if one.severity == "error"), "")
    if told:
        raise SpecError([("file", f"{file.name}: {told}")])


def _ask(args: argparse.Namespace) -> int:
    questions = questions_of(args.prompts, args.file)
    with Store(home()) as store:
        spec = store.row(args.run).spec
        engines = as_pool(args.open_engine(store))
        if args.no_wait:
            refuse_in_use(engines, spec.model.device)
        worker = Worker(store, engines)
        try:
            text = "\n".join(" => ".join(filter(None, one)) for one in questions)
            request = worker.ask(args.run, text, questions, args.step)
            answer = _answer(store, worker, args.run, request)
        finally:
            worker.close(CLOSING_S)
    if isinstance(answer, AskFailed):
        tell(f"the models cannot be asked: {answer.problem}")
        return FAILED
    replies, models = heard(answer), {0: "original model", 1: "unlearned model"}
    if spec.only_scores:
        models = {0: "model"}
    told = tally(replies, models)
    if args.json:
        print(
            as_json(
                [
                    one.model_dump(mode="json") | {"found": reply.found and list(reply.found)}
                    for one, reply in zip(answer.replies, replies, strict=True)
                ]
            )
        )
        return DONE
    cells: list[list[str]] = []
    for one, reply in zip(answer.replies, replies, strict=True):
        row = [one.prompt, one.expected]
        for place in models:
            said = (one.original, one.unlearned)[place].strip()
            row.append(f"{said} [{reply.found[place]}]" if reply.found else said)
        cells.append(row)
    print(table(["prompt", "expected", *models.values()], cells))
    if told:
        print(printable(f"\n{told}"))
    return DONE


def _answer(store: Store, worker: Worker, run_id: str, ask_id: str) -> Asked | AskFailed:
    """Wait for the answer to a request, and return it."""
    seen = 0
    while True:
        for stored in store.events(run_id, after=seen):
            seen = stored.seq
            if isinstance(stored.event, Asked | AskFailed) and stored.event.ask_id == ask_id:
                return stored.event
        if problem := worker.lost(run_id):
            return AskFailed(ask_id=ask_id, prompt="", problem=problem)
        time.sleep(POLL_S)
