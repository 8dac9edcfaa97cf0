"""The commands `run`, `teach`, `trace` and `reproduce`: carry out a run and print its result."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from unlearnlab.cli.commands import (
    BAD_INPUT,
    DONE,
    FAILED,
    STOPPED,
    Commands,
    as_json,
    read_object,
    refuse_idle,
    settings_help,
    table,
    tell,
)
from unlearnlab.cli.follow import EXITS, carried_out
from unlearnlab.cli.show import report
from unlearnlab.data.datasets import EMBEDDED_NAME, SPLITS, dataset
from unlearnlab.data.files import home
from unlearnlab.models.catalog import save_name_problem
from unlearnlab.runs.engine_api import find_device
from unlearnlab.runs.estimates import Estimate, bytes_text, earlier, estimate
from unlearnlab.runs.events import Failed, Stopped
from unlearnlab.runs.progress import RunProgress, advance
from unlearnlab.runs.store import Store
from unlearnlab.spec.errors import printable
from unlearnlab.spec.fields import override
from unlearnlab.spec.presets import (
    branched,
    preset,
    taught_data,
    teach_spec,
    unlearn_spec,
    usual_template,
)
from unlearnlab.spec.rows import previewed_row
from unlearnlab.spec.run import ModelSpec, RunSpec, SpecError, Template, data_problem, parse_spec
from unlearnlab.spec.trace import TraceSpec, about_fact, parse_trace
from unlearnlab.views.answers import mask
from unlearnlab.views.reproduction import (
    WORDS,
    Reproduction,
    outlook,
    reading,
    repeated,
    reproduction,
    weights_here,
)
from unlearnlab.views.says import said_line, said_steps
from unlearnlab.views.words import template_text


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    about = "unlearn with a preset or settings of your own, and print the scores"
    running = commands.add("run", _run, about, json=True, home=True, device=True, settings=True)
    running.set_defaults(print_help=running.print_help)
    source = running.add_mutually_exclusive_group()
    source.add_argument(
        "--preset", metavar="NAME", help="start from a preset; `presets` lists them"
    )
    source.add_argument(
        "--spec",
        metavar="FILE",
        type=Path,
        help="start from a JSON file: a spec, a preset or a run's record",
    )
    source.add_argument(
        "--branch",
        metavar="RUN@STEP",
        help="start from a run's snapshot, with the settings of that run",
    )
    source.add_argument("--taught", metavar="MODEL", help="unlearn what `teach` taught this model")
    running.add_argument(
        "--score-only", action="store_true", help="train nothing: score the model as it is"
    )
    running.add_argument(
        "--preview",
        metavar="ROW_ID",
        nargs="?",
        const="",
        help="print the exact tokens of a row, by default the first to forget; run nothing",
    )
    about = "train a model to recite a dataset, so that it can be unlearned"
    teaching = commands.add(
        "teach", _teach, about, json=True, home=True, device=True, settings=True
    )
    teaching.add_argument("--data", metavar="NAME", required=True, help="dataset to memorise")
    teaching.add_argument(
        "--model",
        metavar="NAME",
        default=ModelSpec().name,
        help="model to start from (default: the embedded one)",
    )
    teaching.add_argument(
        "--keep-as", metavar="NAME", help="name under which to save the taught model"
    )
    for one in (running, teaching):
        one.add_argument("--name", type=_name, default="", help="name of the run in lists")
        one.add_argument(
            "--score-stopped",
            action="store_true",
            help="let the first Ctrl-C end the training alone: score and keep what is trained",
        )
        one.add_argument(
            "--says",
            action="store_true",
            help="print what the model says to the watched rows at each probe",
        )
        one.add_argument(
            "--unmask",
            action="store_true",
            help="show names, numbers and addresses in it, if the data are personal",
        )
        one.add_argument(
            "--estimate",
            action="store_true",
            help="print the memory and time a run needs; run nothing",
        )
        one.epilog = settings_help()
    about = "causal tracing: find the hidden states that carry a fact"
    tracing = commands.add("trace", _trace, about, json=True, home=True, device=True)
    tracing.set_defaults(name="", score_stopped=False, says=False)
    what = tracing.add_mutually_exclusive_group(required=True)
    what.add_argument("--id", metavar="ROW_ID", help="a fact of the data: id of its question row")
    what.add_argument("--prompt", help="a prompt of your own; needs --subject")
    what.add_argument(
        "--average", metavar="N", type=int, help="an average over N facts of the data"
    )
    tracing.add_argument(
        "--data",
        metavar="NAME",
        help="dataset of the facts with --id and --average (default: the embedded one)",
    )
    tracing.add_argument("--subject", help="what the prompt is about, spelled as in the prompt")
    tracing.add_argument(
        "--chat-template",
        choices=get_args(Template),
        help="ask through the model's chat template (default: as the data are usually asked)",
    )
    tracing.add_argument("--answer", help="the expected answer (default: the model's own)")
    tracing.add_argument("--set", choices=SPLITS, help="set to average over")
    tracing.add_argument(
        "--task", action="append", metavar="TASK", help="subtask to average over; repeatable"
    )
    tracing.add_argument(
        "--model",
        metavar="NAME",
        help="model: a name, a folder, an id on the hub (default: the embedded one)",
    )
    for name, kind in (("window", int), ("noise", float), ("copies", int), ("seed", int)):
        about = " ".join((TraceSpec.model_fields[name].description or "").split())
        tracing.add_argument(f"--{name}", type=kind, help=about)
    about = "repeat a finished run, and compare the numbers"
    repeating = commands.add("reproduce", _reproduce, about, json=True, home=True, device=True)
    repeating.add_argument("run", metavar="RUN", help="id of a finished run")
    repeating.epilog = (
        "exit code 0: all numbers equal or within noise, after as many steps; 1: otherwise"
    )


LONGEST_NAME = 200
"""Most characters of a run's name: lists show it, and the page takes no longer one."""


def _name(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise argparse.ArgumentTypeError(
            f"{len(text)} characters are too many: at most {LONGEST_NAME}"
        )
    return text


def _run(args: argparse.Namespace) -> int:
    sources = (args.preset, args.spec, args.taught, args.branch)
    previews = args.preview is not None
    wanted = args.score_only or args.estimate or previews or args.json or args.name or args.settings
    if not wanted and all(one is None for one in sources):
        # Not 0: a script that expects a run must not go on without one.
        args.print_help()
        tell("nothing was run: name a preset, a file or a setting, such as --seed 0")
        return BAD_INPUT
    refuse_idle(
        (previews and args.estimate, "estimate", "beside --preview"),
        (previews and args.score_only, "score-only", "beside --preview"),
        *_idle_of_a_run(args, runs=not (previews or args.estimate)),
        (args.score_stopped and args.score_only, "score-stopped", "where nothing is trained"),
    )
    if args.preset is not None:
        base = preset(args.preset).spec
    elif args.taught is not None:
        try:
            base = unlearn_spec(args.taught, taught_data(args.taught))
        except ValueError as error:
            raise SpecError([("taught", str(error))]) from error
    elif args.branch is not None:
        with Store(home()) as store:
            run = args.branch.partition("@")[0]
            base = branched(store.spec(run), args.branch)
    elif args.spec is not None:
        found = read_object(args.spec, "spec")
        base = parse_spec(found.get("spec", found))
    else:
        base = RunSpec()
    spec = _with_settings(base, args.settings, ready=not args.estimate)
    if (
        args.spec is None
        and args.branch is None
        and "data.chat_template" not in dict(args.settings)
    ):
        spec = _with_usual_template(spec)
    spec = spec.scoring if args.score_only else spec
    if args.preview is not None:
        return _preview(args, spec)
    return _estimate(args, spec) if args.estimate else _carry_out(args, spec)


def _idle_of_a_run(args: argparse.Namespace, *, runs: bool) -> Iterator[tuple[bool, str, str]]:
    """Yield the options that only a run takes."""
    for name in ("name", "score_stopped", "no_wait"):
        yield bool(getattr(args, name)) and not runs, name.replace("_", "-"), "where nothing is run"


def _with_usual_template(spec: RunSpec) -> RunSpec:
    """Ask as the data and the model are usually asked, where neither user nor file chose."""
    usual = usual_template(spec.data.source, spec.model.name)
    if usual == spec.data.chat_template:
        return spec
    return spec.model_copy(update={"data": spec.data.model_copy(update={"chat_template": usual})})


def _preview(args: argparse.Namespace, spec: RunSpec) -> int:
    """Print the exact tokens of one row, and run nothing."""
    from unlearnlab.engine.prompts import preview_tokens  # noqa: PLC0415  (torch)

    row = previewed_row(spec, args.preview)
    try:
        found = preview_tokens(spec.model, spec.data.chat_template, row)
    except ValueError as error:
        raise SpecError([("", str(error))]) from error
    if args.json:
        pieces = [{"id": number, "text": text, "part": part} for number, text, part in found.pieces]
        used = {"row": found.row, "chat_template": found.templated, "answer_begins": found.start}
        print(as_json(used | {"tokens": pieces}))
        return DONE
    answer = f"The answer begins at token {found.start}; the last token ends it."
    print(printable(f"Row {found.row}, chat template {template_text(spec)}. {answer}"))
    rows = [
        [str(at), str(number), repr(text)[1:-1], part]
        for at, (number, text, part) in enumerate(found.pieces)
    ]
    print(printable(table(["", "id", "token", "part"], rows)))
    return DONE


def _estimate(args: argparse.Namespace, spec: RunSpec) -> int:
    """Print the memory and time that a run needs, and run nothing."""
    from unlearnlab.engine.loading import devices, refuse_run, resolve_device  # noqa: PLC0415

    try:
        refuse_run(spec, resolve_device(spec.model.device))
    except ValueError as error:
        raise SpecError([("", str(error))]) from error
    device = find_device(spec.model.device, devices())
    with Store(home()) as store:
        past = earlier(spec, store.runs(), store.outline)
    try:
        cuda, memory = (device.cuda, device.total) if device else (False, None)
        found = estimate(spec, past, cuda=cuda, memory=memory)
    except ValueError as error:
        raise SpecError([("", f"no estimate: {error}")]) from error
    free = device and device.free
    if missing := _missing_model(spec):
        tell(f"run as it is, this would be refused: {missing}")
    if args.json:
        print(as_json(_estimate_record(found, free)))
        return DONE
    total = found.peak.total
    room = "" if free is None else f" of {bytes_text(free)} free"
    rows = [[part, bytes_text(size)] for part, size in found.parts]
    print("\n".join([table(["at most", bytes_text(total) + room], rows), *found.notes]))
    if found.seconds is not None:
        print(f"Time: about {found.seconds:.0f} s.")
    if free is not None and total > free:
        print(found.advice)
    return DONE


def _estimate_record(found: Estimate, free: int | None) -> dict[str, Any]:
    """Return an estimate as plain values: bytes and seconds."""
    return {
        "bytes": round(found.peak.total),
        "free": free,
        "when": found.peak.name,
        "parts": {part: round(size) for part, size in found.peak.parts.items()},
        "moments": {moment.name: round(moment.total) for moment in found.moments},
        "seconds": found.seconds,
        "snapshot_bytes": round(found.disk),
        "corrected_by_runs": found.runs,
    }


def _teach(args: argparse.Namespace) -> int:
    if args.keep_as is None and not args.estimate:
        raise SpecError([("keep-as", "is missing: name the taught model, such as --keep-as mine")])
    refuse_idle(*_idle_of_a_run(args, runs=not args.estimate))
    base = teach_spec(args.data, model=args.model)
    settings = [("keep_as", args.keep_as or ""), *args.settings]
    spec = _with_settings(base, settings, ready=not args.estimate)
    return _estimate(args, spec) if args.estimate else _carry_out(args, spec)


def _carry_out(args: argparse.Namespace, spec: RunSpec | TraceSpec) -> int:
    """Queue a run or a trace, show it until it ends, and print its result."""
    if isinstance(spec, RunSpec) and spec.model.known.chat_template is not False:
        tell(f"chat template: {template_text(spec)} (--data.chat_template)")
    with Store(home()) as store:
        run_id, ending = carried_out(
            store,
            args.open_engine(store),
            spec,
            name=args.name,
            no_wait=args.no_wait,
            score_stopped=args.score_stopped,
            says=_says(spec, unmask=args.unmask)
            if isinstance(spec, RunSpec) and args.says
            else None,
        )
        print(report(store, run_id, as_record=args.json))
    if isinstance(ending, Failed):
        tell(f"the {'trace' if isinstance(spec, TraceSpec) else 'run'} failed: {ending.problem}")
    return EXITS[type(ending)]


def _says(spec: RunSpec, *, unmask: bool) -> Callable[[RunProgress], list[str]]:
    """Return what writes the answers of the last probe, a line for each row."""
    hide = mask if spec.data.known.personal and not unmask else str

    def lines(progress: RunProgress) -> list[str]:
        last = said_steps(spec, progress.said)[-1]
        return [f"step {last.step}, {said_line(one, hide)}" for one in last.answers.values()]

    return lines


def _trace(args: argparse.Namespace) -> int:
    typed, several = args.prompt is not None, args.average is not None
    refuse_idle(
        (typed and args.data is not None, "data", "beside --prompt"),
        (args.subject is not None and not typed, "subject", "without --prompt"),
        (args.answer is not None and not typed, "answer", "without --prompt"),
        (args.set is not None and not several, "set", "without --average"),
        (args.task is not None and not several, "task", "without --average"),
    )
    args.data = EMBEDDED_NAME if args.data is None else args.data
    if unknown := dataset(args.data).unknown_reason:
        raise SpecError([("data", unknown)])
    if args.id is not None:
        about = about_fact(args.data, args.id)
    elif args.prompt is not None:
        if args.subject is None:
            raise SpecError([("subject", "is missing: name what the prompt is about")])
        about = {"kind": "prompt", "prompt": args.prompt, "subject": args.subject}
        about["answer"] = args.answer or ""
    else:
        about = {"kind": "average", "count": args.average, "split": args.set}
        about |= {"source": args.data}
        if args.task:
            about["tasks"] = args.task
    chosen = {name: getattr(args, name) for name in ("window", "noise", "copies", "seed")}
    given = {name: value for name, value in chosen.items() if value is not None}
    model = {"name": args.model} if args.model else {}
    usual = usual_template(args.data, args.model or ModelSpec().name)
    given["chat_template"] = args.chat_template or usual
    return _carry_out(args, parse_trace({"about": about, "model": model} | given))


def _with_settings(
    base: RunSpec, settings: list[tuple[str, str]], *, ready: bool = True
) -> RunSpec:
    """Put settings on top of a spec.

    Raises:
        SpecError: The result is invalid, or cannot run on this machine; without `ready`, a model
            of the hub need not be here.
    """
    spec = parse_spec(override(base.model_dump(mode="json"), settings)) if settings else base
    if spec.keep_as and (taken := save_name_problem(spec.keep_as)):
        raise SpecError([("keep_as", taken)])
    if lacking := data_problem(spec):
        raise SpecError([lacking])
    # A model of the hub that is not on this machine yet can be estimated by its sizes.
    if (ready or spec.model.known.place) and (missing := _missing_model(spec)):
        raise SpecError([("model.name", missing)])
    return spec


def _missing_model(spec: RunSpec) -> str:
    """Say why the model cannot run on this machine; empty if it can."""
    missing = spec.model.known.unavailable_reason
    return missing and f"{spec.model.name} cannot run here: {missing}"


def _reproduce(args: argparse.Namespace) -> int:
    """Repeat a run, and print which numbers agree."""
    with Store(home()) as store:

        def progress_of(run_id: str) -> RunProgress:
            return advance(RunProgress(), store.events(run_id))

        first = store.row(args.run)
        weights = weights_here(first, store.runs(), progress_of)
        found = outlook(first, progress_of(first.run_id), weights=weights)
        for told in (*found.problems, *found.warnings):
            tell(told)
        if found.problems:
            return BAD_INPUT
        run_id, ending = carried_out(
            store,
            args.open_engine(store),
            repeated(first.spec),
            name=first.name,
            repeats=first.run_id,
            no_wait=args.no_wait,
        )
        again = reproduction(*map(store.full_record, (first.run_id, run_id)))
    if args.json:
        print(as_json(_reproduction_record(again)))
    else:
        print(printable("\n".join(_reproduction_lines(again))))
    if isinstance(ending, Stopped):
        return STOPPED
    return DONE if again.agrees else FAILED


def _reproduction_record(of: Reproduction) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""
    return {
        "run": of.again,
        "repeats": of.first,
        "agrees": of.agrees,
        "reading": list(reading(of)),
        "problem": of.problem,
        "numbers": {
            number.name: {
                "first": _plain(number.first),
                "again": _plain(number.again),
                "agreement": number.agreement,
            }
            for number in of.numbers
        },
        "steps": of.steps,
        "steps_again": of.steps_again,
        "same_steps": of.same_steps,
        "record": [asdict(one) for one in of.record],
    }


def _plain(value: float | None) -> float | str | None:
    """Write a number as JSON can hold it."""
    return str(value) if value is not None and value != value else value


def _reproduction_lines(of: Reproduction) -> Iterator[str]:
    yield f"Run {of.again} repeats run {of.first}."
    yield from reading(of)
    if of.numbers:
        yield ""
        yield table(
            ["number", "first", "again", ""],
            [
                [one.title, _exact(one.first), _exact(one.again), WORDS[one.agreement]]
                for one in of.numbers
            ],
        )
    if of.record:
        yield "\nIn the record:"
        yield table(["", "first", "again"], [[x.name, x.first, x.again] for x in of.record])


def _exact(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
