"""The same work without a browser: same engine, same store, so that the page shows these runs."""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, cast

from unlearnlab import __version__
from unlearnlab.cli import compare as compare_command
from unlearnlab.cli import data as command
from unlearnlab.cli import docs
from unlearnlab.cli import evaluate as evaluating
from unlearnlab.cli import pack as packs
from unlearnlab.cli import score as official
from unlearnlab.cli.commands import (
    BAD_INPUT,
    DONE,
    FAILED,
    STOPPED,
    Commands,
    quiet_libraries,
    tell,
)
from unlearnlab.cli.ending import leave, obey_signals
from unlearnlab.cli.export import export, export_options
from unlearnlab.cli.follow import EXITS, carried_out, on_device
from unlearnlab.cli.reproduce import reproduce, reproduce_options
from unlearnlab.cli.sweep import sweep, sweep_options
from unlearnlab.cli.terminal import (
    as_json,
    estimate_record,
    estimate_text,
    model_record,
    model_row,
    number,
    record,
    run_table,
    settings_help,
    summary,
    table,
    trace_record,
    trace_summary,
)
from unlearnlab.data.datasets import EMBEDDED_NAME, SPLITS
from unlearnlab.data.files import ASSETS, EMBEDDED, at_home, home
from unlearnlab.models import catalog as catalogue
from unlearnlab.models.catalog import keeping_problem
from unlearnlab.runs.device_lock import InUse
from unlearnlab.runs.engine_api import Lab, Labs, meant
from unlearnlab.runs.estimates import earlier, estimate
from unlearnlab.runs.events import Failed, Traced
from unlearnlab.runs.progress import Course, advance
from unlearnlab.runs.records import PreviewRow, RunRow
from unlearnlab.runs.store import Store, StoreError, UnknownRun
from unlearnlab.spec.fields import override
from unlearnlab.spec.presets import preset, presets
from unlearnlab.spec.run import ModelSpec, RunSpec, SpecError, parse_spec
from unlearnlab.spec.teaching import taught_data, teach_spec, unlearn_spec
from unlearnlab.spec.trace import TraceSpec, about_fact, parse_trace
from unlearnlab.views.runs import run_line

LabMaker = Callable[[Store], Lab | Labs]


def main(argv: Sequence[str] | None = None, *, open_lab: LabMaker | None = None) -> int:
    """Carry out one command and return the exit code.

    Args:
        argv: The words after the program's name; those of the process if not given.
        open_lab: Makes the engine; torch's, unless a test brings another.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    try:
        if args.command is _app:
            return _app(rest)
        if rest and args.command not in (_run, _teach, sweep):
            parser.error(f"unknown option: {' '.join(rest)}")
        with at_home(getattr(args, "home", None)):
            return _carried_out(args, rest, open_lab)
    except (SpecError, StoreError) as error:
        tell(str(error))
        return BAD_INPUT
    except InUse as error:
        tell(f"{error}: try again later, or wait for it without --no-wait")
        return FAILED
    except KeyboardInterrupt:
        tell("stopped")
        return STOPPED


def _carried_out(args: argparse.Namespace, rest: Sequence[str], open_lab: LabMaker | None) -> int:
    if args.command is sweep:
        return sweep(args, list(_wishes(rest)), open_lab or _torch_labs)
    if args.command in (_run, _teach):
        return args.command(args, list(_wishes(rest)), open_lab or _torch_labs)
    if args.command in (_trace, reproduce):
        return args.command(args, open_lab or _torch_labs)
    if args.command is export:
        return export(args, open_lab or _torch_labs, tell)
    return args.command(args)


def _torch_labs(store: Store) -> Labs:
    # torch takes seconds to import: only the command that needs a model should wait for it.
    from unlearnlab.engine import device_engine as lab  # noqa: PLC0415

    return lab.labs(store.evidence)


def _app(options: Sequence[str]) -> int:
    """Open the page. It has a parser of its own, so that no other command waits for gradio."""
    from unlearnlab.cli import app  # noqa: PLC0415

    return app.main(options, called=f"{_called()} app")


def _called() -> str:
    """Name this program as it was called."""
    installed = Path(sys.argv[0]).stem == "unlearnlab"
    return "unlearnlab" if installed else "python -m unlearnlab"


def _run(args: argparse.Namespace, wishes: list[tuple[str, str]], open_lab: LabMaker) -> int:
    if not (wishes or _says_what(args)):
        # Not 0: a script that expects a run must not go on without one.
        args.print_help()
        tell("nothing was run: name a preset or a file, or a setting, such as --seed 0")
        return BAD_INPUT
    spec = _asked_for(args, wishes)
    spec = spec.scoring if args.score_only else spec
    return _estimate(args, spec) if args.estimate else _carry_out(args, spec, open_lab)


def _says_what(args: argparse.Namespace) -> bool:
    """Tell whether an option of `run` asks for something; where runs are kept does not."""
    sources = (args.preset, args.spec, args.taught)
    wanted = args.score_only or args.estimate or args.json or args.name
    return bool(wanted) or any(one is not None for one in sources)


def _estimate(args: argparse.Namespace, spec: RunSpec) -> int:
    """Print what a run would need, and do nothing."""
    from unlearnlab.engine.model.devices import devices  # noqa: PLC0415  (torch)

    device = meant(spec.model.device, devices())
    with Store(home()) as store:
        past = earlier(spec, store.runs(), store.outline)
    try:
        cuda, memory = (device.cuda, device.total) if device else (False, None)
        found = estimate(spec, past, cuda=cuda, memory=memory)
    except ValueError as error:
        raise SpecError([("", f"no estimate: {error}")]) from error
    free = device and device.free
    print(as_json(estimate_record(found, free)) if args.json else estimate_text(found, free))
    return DONE


def _teach(args: argparse.Namespace, wishes: list[tuple[str, str]], open_lab: LabMaker) -> int:
    base = teach_spec(args.data, model=args.model)
    return _carry_out(args, _with(base, [("keep_as", args.keep_as), *wishes]), open_lab)


def _trace(args: argparse.Namespace, open_lab: LabMaker) -> int:
    return _carry_out(args, _trace_asked_for(args), open_lab)


def _carry_out(args: argparse.Namespace, spec: RunSpec | TraceSpec, open_lab: LabMaker) -> int:
    """Queue a run or a trace, show it until it ends, and print what came of it."""
    with Store(home()) as store:
        run_id, ending = carried_out(
            store, open_lab(store), spec, name=args.name, no_wait=args.no_wait
        )
        print(_report(store, run_id, json=args.json))
    if isinstance(ending, Failed):
        tell(f"the {'trace' if isinstance(spec, TraceSpec) else 'run'} failed: {ending.problem}")
    return EXITS[type(ending)]


def _trace_asked_for(args: argparse.Namespace) -> TraceSpec:
    """Make the spec of the options of `trace`."""
    if args.id is not None:
        about = about_fact(args.data, args.id)
    elif args.prompt is not None:
        if args.subject is None:
            raise SpecError([("subject", "is missing: name what the prompt is about")])
        about = {"kind": "prompt", "prompt": args.prompt, "subject": args.subject}
        about["answer"] = args.answer or ""
    else:
        about = {"kind": "average", "count": args.average, "split": args.set}
        if args.task:
            about["tasks"] = args.task
    chosen = {name: getattr(args, name) for name in ("window", "noise", "copies", "seed")}
    given = {name: value for name, value in chosen.items() if value is not None}
    model = {"name": args.model} if args.model else {}
    return parse_trace({"about": about, "model": model} | given)


def _asked_for(args: argparse.Namespace, wishes: list[tuple[str, str]]) -> RunSpec:
    """Make the spec of a preset or a file, and of the settings given on top."""
    if args.preset is not None:
        base = preset(args.preset).spec
    elif args.taught is not None:
        base = _forgetting(args.taught)
    else:
        base = RunSpec() if args.spec is None else _read_spec(args.spec)
    return _with(base, wishes, ready=not args.estimate)


def _forgetting(model: str) -> RunSpec:
    """Make the spec that unlearns what a kept model was taught."""
    try:
        return unlearn_spec(model, taught_data(model))
    except ValueError as error:
        raise SpecError([("taught", str(error))]) from error


def _with(base: RunSpec, wishes: list[tuple[str, str]], *, ready: bool = True) -> RunSpec:
    """Put settings on top of a spec, and if it should be ready, make sure that it can run here."""
    spec = parse_spec(override(base.model_dump(mode="json"), wishes)) if wishes else base
    if spec.keep_as and (taken := keeping_problem(spec.keep_as)):
        raise SpecError([("keep_as", taken)])
    if ready and (missing := spec.model.known.missing):
        raise SpecError([("model.name", f"{spec.model.name} cannot run here: {missing}")])
    return spec


def _read_spec(path: str) -> RunSpec:
    """Read a spec from a file: bare, or inside a preset or a run's record."""
    try:
        # Bytes: the reader finds out which Unicode encoding a shell has written.
        values: Any = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise SpecError([("spec", f"{path} cannot be read: {error.strerror}")]) from error
    except (ValueError, RecursionError) as error:
        raise SpecError([("spec", f"{path} is not JSON: {error}")]) from error
    if not isinstance(values, dict):
        raise SpecError([("spec", f"{path} holds no spec: expected a JSON object")])
    found = cast("dict[str, Any]", values)
    return parse_spec(found.get("spec", found))


def _wishes(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each `--path text` or `--path=text`."""
    rest = iter(words)
    for word in rest:
        path, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise SpecError([("", f"cannot make sense of {word!r}: settings are --NAME VALUE")])
        value = text if equals else next(rest, None)
        if value is None:
            raise SpecError([(path, "a value is missing")])
        yield path, value


def _list(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        rows = store.runs()
    if args.json:
        print(as_json([record(row) for row in rows]))
    elif rows:
        print(run_table([run_line(row) for row in rows]))
    else:
        print("No runs yet. Start one: python -m unlearnlab run --preset NAME")
    return DONE


def _show(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        print(_report(store, args.run, json=args.json))
    return DONE


def _report(store: Store, run_id: str, *, json: bool) -> str:
    """Tell what came of a run or a trace."""
    row = store.job(run_id)
    if isinstance(row, RunRow):
        course = advance(Course(), store.events(run_id))
        return as_json(record(row, course)) if json else summary(row, course)
    if isinstance(row, PreviewRow):
        raise UnknownRun(f"{run_id} is a preview of rows: the page shows it on its tab Data")
    events = [stored.event for stored in store.events(run_id)]
    traced = next((event for event in events if isinstance(event, Traced)), None)
    return as_json(trace_record(row, traced)) if json else trace_summary(row, traced)


def _presets(args: argparse.Namespace) -> int:
    if args.json:
        print(as_json([one.model_dump(mode="json") for one in presets().values()]))
    else:
        rows = [[one.name, one.title, one.description] for one in presets().values()]
        print(table(["name", "title", "what to expect"], rows))
    return DONE


def _models(args: argparse.Namespace) -> int:
    """List the models that can be named, and how each stands on this machine."""
    known = [catalogue.model(name) for name in catalogue.names()]
    if args.json:
        print(as_json([model_record(one) for one in known]))
        return DONE
    print(table(["name", "title", "blocks", "parameters", "state"], [model_row(m) for m in known]))
    print("A folder's path and the id of a model on the hub, org/name, are names too.")
    for one in known:
        if one.missing:
            print(f"{one.name}: {one.missing}")
    return DONE


def _target_build(args: argparse.Namespace) -> int:
    from unlearnlab.engine.device_engine import labs  # noqa: PLC0415  (torch)
    from unlearnlab.engine.embedded.recipe import build  # noqa: PLC0415

    with on_device(labs(), "cpu", no_wait=args.no_wait):
        for one in build(args.out):
            tell(f"{one.model} model, epoch {one.epoch} of {one.epochs}, loss {one.loss:.3f}")
    return DONE


def _target_check(args: argparse.Namespace) -> int:
    from unlearnlab.engine.device_engine import labs  # noqa: PLC0415  (torch)
    from unlearnlab.engine.embedded.check import check  # noqa: PLC0415

    with on_device(labs(), "cpu", no_wait=args.no_wait):
        report = check(tell)
    if args.write:
        report.write(ASSETS)
    if args.json:
        print(as_json({"met": report.met, "lines": [asdict(line) for line in report.lines]}))
    else:
        cells = [
            [line.name, number(line.original), number(line.retrained), line.target, _yes(line.met)]
            for line in report.lines
        ]
        print(table(["", "original", "retrained", "to reach", "reached"], cells))
    return DONE if report.met else FAILED


def _yes(met: bool) -> str:
    return "yes" if met else "NO"


def _docs(args: argparse.Namespace) -> int:
    if missing := [str(page) for page in args.pages if not page.is_file()]:
        tell(f"there is no {' and no '.join(missing)}: only a clone has pages to write")
        return BAD_INPUT
    stale = {page: found for page in args.pages if (found := docs.stale_blocks(page))}
    if args.check:
        for page, names in stale.items():
            tell(f"{page} is not current ({', '.join(names)}): python -m unlearnlab docs")
        return FAILED if stale else DONE
    for page in stale:
        docs.write(page)
    written = [name for names in stale.values() for name in names]
    print(f"Written: {', '.join(written) or 'nothing, all was current'}.")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_called(),
        description="Unlearning with and without a browser: one engine, one store, so that the "
        "page shows these runs too.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unlearnlab {__version__}")
    commands = Commands(parser)
    commands.add("app", _app, "open the page in a browser", own_options=True)
    _running(commands)
    _looking(commands)
    command.register(commands)
    official.register(commands)
    evaluating.register(commands)
    _making(commands)
    return parser


def _running(commands: Commands) -> None:
    """Declare what needs the engine and ends in the store."""
    about = "carry out a run and print its scores"
    run = commands.add("run", _run, about, json=True, home=True, device=True)
    run.set_defaults(print_help=run.print_help)
    source = run.add_mutually_exclusive_group()
    source.add_argument(
        "--preset", metavar="NAME", help="start from a preset; `presets` lists them"
    )
    source.add_argument(
        "--spec", metavar="FILE", help="start from a JSON file: a spec, a preset or a run's record"
    )
    source.add_argument(
        "--taught", metavar="MODEL", help="start from what unlearns what a kept model was taught"
    )
    run.add_argument(
        "--score-only", action="store_true", help="train nothing: score the model as it is"
    )
    run.add_argument(
        "--estimate", action="store_true", help="tell what memory and time it would take, and end"
    )
    about = "teach a model rows that it can then be made to forget"
    teaching = commands.add("teach", _teach, about, json=True, home=True, device=True)
    teaching.add_argument("--data", metavar="NAME", required=True, help="dataset to be memorised")
    teaching.add_argument(
        "--model",
        metavar="NAME",
        default=ModelSpec().name,
        help="model to start from (default: the embedded one)",
    )
    teaching.add_argument(
        "--keep-as", metavar="NAME", required=True, help="what to call the taught model"
    )
    for made in (run, teaching):
        made.add_argument("--name", default="", help="what to call the run in lists")
        made.epilog = settings_help()
    about = "carry a finished run out again, and tell which numbers agree"
    repeating = commands.add("reproduce", reproduce, about, json=True, home=True, device=True)
    reproduce_options(repeating)
    about = "carry out a sweep, or go on with one"
    sweep_options(commands.add("sweep", sweep, about, json=True, home=True, device=True))
    about = "find the states that carry a fact, by causal tracing"
    _trace_options(commands.add("trace", _trace, about, json=True, home=True, device=True))


def _looking(commands: Commands) -> None:
    """Declare what shows or takes away what is there."""
    commands.add("list", _list, "list all runs, newest first", json=True, home=True)
    about = "show what came of a run or a trace"
    show = commands.add("show", _show, about, json=True, home=True)
    show.add_argument("run", metavar="RUN", help="id of the run or the trace")
    about = "take the result of a run away"
    export_options(commands.add("export", export, about, home=True, device=True))
    packs.register(commands)
    compare_command.register(commands)
    commands.add("presets", _presets, "list the presets", json=True)
    commands.add("models", _models, "list the models that can be named", json=True, home=True)


def _making(commands: Commands) -> None:
    """Declare what makes parts of the program itself."""
    target = commands.group("target", "make or measure the embedded model")
    about = "write its data and train both of its models"
    building = target.add("build", _target_build, about, device=True)
    building.add_argument("--out", type=Path, default=EMBEDDED, help="folder (default: assets)")
    about = "measure both models against what they should be"
    checking = target.add("check", _target_check, about, json=True, device=True)
    checking.add_argument(
        "--write", action="store_true", help="keep the numbers for the README and the page"
    )
    tables = commands.add("docs", _docs, "write the generated tables of README.md and docs/")
    tables.add_argument(
        "pages",
        metavar="FILE",
        nargs="*",
        type=Path,
        default=docs.PAGES,
        help="pages to write (default: README.md and all of docs/)",
    )
    tables.add_argument("--check", action="store_true", help="only check that they are current")


def _trace_options(tracing: argparse.ArgumentParser) -> None:
    tracing.set_defaults(name="")
    what = tracing.add_mutually_exclusive_group(required=True)
    what.add_argument("--id", metavar="ROW_ID", help="a fact of the data, by its question row")
    what.add_argument("--prompt", help="a prompt of your own; needs --subject")
    what.add_argument(
        "--average", metavar="N", type=int, help="an average over N facts of the data"
    )
    tracing.add_argument(
        "--data", metavar="NAME", default=EMBEDDED_NAME, help="dataset of that fact (default: ours)"
    )
    tracing.add_argument("--subject", help="what the prompt is about, as it writes it")
    tracing.add_argument("--answer", help="what the model should say (default: what it says)")
    tracing.add_argument("--set", choices=SPLITS, help="set of an average's facts")
    tracing.add_argument(
        "--task", action="append", metavar="TASK", help="subtask of an average's facts; repeatable"
    )
    tracing.add_argument(
        "--model",
        metavar="NAME",
        help="model: a name, a folder, an id on the hub (default: the embedded one)",
    )
    for name, kind in (("window", int), ("noise", float), ("copies", int), ("seed", int)):
        about = " ".join((TraceSpec.model_fields[name].description or "").split())
        tracing.add_argument(f"--{name}", type=kind, help=about)


def program() -> NoReturn:
    """Run as a program among others: any encoding, any pipe, an orderly end when told to end."""
    quiet_libraries()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    obey_signals()
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone. What is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except KeyboardInterrupt:  # Once more, while it was ending.
        code = STOPPED
    leave(code)


if __name__ == "__main__":
    program()
