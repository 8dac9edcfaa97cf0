"""The command `sweep`: carry out a sweep, or continue one."""

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from unlearnlab.cli.commands import (
    DONE,
    FAILED,
    STOPPED,
    Commands,
    as_json,
    number,
    print_list,
    read_object,
    refuse_idle,
    settings_help,
    table,
    tell,
)
from unlearnlab.cli.follow import CLOSING_S, Patience, RunProgressBar, refuse_in_use, watch
from unlearnlab.data.files import home
from unlearnlab.metrics.scores import Scores, shown_scores
from unlearnlab.runs.engine_api import as_pool, find_device
from unlearnlab.runs.events import Failed
from unlearnlab.runs.store import Store
from unlearnlab.runs.sweeps import (
    GOING,
    PointStatus,
    Sweeping,
    SweepStatus,
    check,
    failure_of,
    sweep_seconds,
    sweep_status,
)
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.fields import override
from unlearnlab.spec.sweep import SweepSpec, expand_grid, parse_sweep, ready_sweep, ready_sweeps
from unlearnlab.views.scoreboard import at_ends, judged
from unlearnlab.views.words import duration


def register(commands: Commands) -> None:
    """Add the command to the program's."""
    about = "run a spec over several values of its settings, or continue such a sweep"
    parser = commands.add("sweep", _sweep, about, json=True, home=True, device=True, settings=True)
    parser.add_argument(
        "sweep",
        metavar="NAME|FILE",
        nargs="?",
        help="a built-in sweep, or a JSON file; without it, the built-in ones are listed",
    )
    parser.add_argument(
        "--estimate", action="store_true", help="print the number of runs and the time; run nothing"
    )
    parser.add_argument("--failed", action="store_true", help="repeat the runs that failed")
    parser.epilog = (
        "Finished runs are not repeated: after a stop, the same command continues.\n"
        "Settings change the spec that the sweep varies, such as --data.source NAME.\n\n"
        + settings_help()
    )


def _sweep(args: argparse.Namespace) -> int:
    refuse_idle(
        (args.failed and args.estimate, "failed", "beside --estimate"),
        *(
            (given and args.sweep is None, name, "without a sweep")
            for given, name in (
                (args.estimate, "estimate"),
                (args.failed, "failed"),
                (args.no_wait, "no-wait"),
                (bool(args.settings), "settings"),
            )
        ),
        (args.no_wait and args.estimate, "no-wait", "beside --estimate"),
    )
    if args.sweep is None:
        return _list(args)
    name, spec = _asked_for(args.sweep)
    if args.settings:
        base = override(spec.base.model_dump(mode="json"), args.settings)
        spec = parse_sweep(spec.model_dump(mode="json") | {"base": base})
    with Store(home()) as store:
        if args.estimate:
            return _estimate(args, store, spec)
        check(spec)
        return _carry_out(args, store, name, spec)


def _list(args: argparse.Namespace) -> int:
    known = ready_sweeps().values()
    records = [one.model_dump(mode="json") for one in known]
    rows = [[one.name, str(len(expand_grid(one.sweep).points)), one.description] for one in known]
    return print_list(args, records, ["name", "runs", "what it asks"], rows)


def _asked_for(named: str) -> tuple[str, SweepSpec]:
    """Return title and spec of a ready-made sweep or of a file."""
    path = Path(named)
    if not path.suffix and not path.is_file():
        found = ready_sweep(named)
        return found.title, found.sweep
    held = read_object(path, "sweep")
    title = str(held.pop("title", "") or path.stem)
    return title, parse_sweep(held.get("sweep", held))


def _estimate(args: argparse.Namespace, store: Store, spec: SweepSpec) -> int:
    """Print the number of runs and the time they take; run nothing."""
    from unlearnlab.engine.loading import devices  # noqa: PLC0415  (torch)

    device = find_device(spec.base.model.device, devices())
    cuda, rows = device is not None and device.cuda, store.runs()
    found = sweep_status(spec, "", rows)
    seconds = sweep_seconds(found, rows, store.outline, cuda=cuda)
    done = len(found.of("finished"))
    if args.json:
        print(as_json({"runs": len(found.points), "finished": done, "seconds": seconds}))
        return DONE
    took = "no earlier run to estimate the time from"
    if seconds is not None:
        took = f"about {duration(seconds, ' ')}"
    print(f"{len(found.points)} runs, {done} of them finished already: {took}")
    return DONE


def _carry_out(args: argparse.Namespace, store: Store, name: str, spec: SweepSpec) -> int:
    engines = as_pool(args.open_engine(store))
    if args.no_wait:
        refuse_in_use(engines, spec.base.model.device)
    worker = Worker(store, engines)
    sweeping = Sweeping(store, worker)
    stopped = False
    try:
        sweep_id = sweeping.start(spec, name=name)
        if args.failed:
            sweeping.go_on(sweep_id, failed=True)
        try:
            found, patience = sweeping.status(sweep_id), Patience(args.no_wait)
            going, total = found.of(*GOING), len(found.points)
            if done := total - len(going):
                tell(f"{done} of {total} runs were there already")
            for place, one in enumerate(going, done + 1):
                assert one.row is not None, "what goes on is a run"
                tell(f"run {place} of {total}: {expand_grid(spec).label(spec, one.point)}")
                with closing(RunProgressBar(sys.stderr, one.row.spec)) as progress:
                    watch(store, worker, one.row.run_id, progress, patience)
        except KeyboardInterrupt:
            stopped = True
            tell("stopping; the same command continues later; Ctrl-C again leaves at once")
            worker.close(CLOSING_S)
    finally:
        worker.close(0)
    # The page may have added values while the sweep ran.
    spec, found = store.sweeps.row(sweep_id).spec, sweeping.status(sweep_id)
    print(as_json(record(store, sweep_id, found)) if args.json else _table(spec, found))
    if stopped:
        return STOPPED
    for one in found.of("failed"):
        tell(f"{expand_grid(spec).label(spec, one.point)} failed: {failure_of(one)}")
    return DONE if len(found.of("finished")) == len(found.points) else FAILED


def _table(spec: SweepSpec, found: SweepStatus) -> str:
    grid, shown = expand_grid(spec), shown_scores()
    head = [axis.name for axis in spec.axes]
    head += ["status", *(f"{score.short_words} {score.mark}" for score in shown), "verdict"]
    rows: list[list[str]] = []
    for one in found.points:
        place = [of[at].text for of, at in zip(grid.values, one.point.place, strict=True)]
        before, after = _at_ends(one)
        numbers, title = ["-"] * len(shown), ""
        if one.row is not None and after is not None:
            numbers = [number(score.value(after)) for score in shown]
            verdict = judged(one.row.spec, before, after)
            title = verdict.title if verdict else ""
        rows.append([*place, one.status, *numbers, title])
    return table(head, rows)


def _at_ends(one: PointStatus) -> tuple[Scores | None, Scores | None]:
    row = one.row
    return at_ends(row.spec, row.before, row.after, None) if row else (None, None)


def record(store: Store, sweep_id: str, found: SweepStatus) -> dict[str, Any]:
    """Return a sweep with its runs as plain JSON values."""
    row = store.sweeps.row(sweep_id)
    grid = expand_grid(row.spec)
    return {
        "id": sweep_id,
        "title": row.name,
        "sweep": row.spec.model_dump(mode="json"),
        "axes": [
            {"name": axis.name, "values": [value.text for value in of]}
            for axis, of in zip(row.spec.axes, grid.values, strict=True)
        ],
        "runs": [_run_record(one) for one in found.points],
    }


def _run_record(one: PointStatus) -> dict[str, Any]:
    row, (before, after) = one.row, _at_ends(one)
    verdict = judged(row.spec, before, after) if row else None
    return {
        "place": list(one.point.place),
        "run": row.run_id if row else None,
        "status": one.status,
        "seconds": one.ending.seconds if one.ending else None,
        "problem": one.ending.problem if isinstance(one.ending, Failed) else None,
        "verdict": verdict and verdict.kind,
        "after": after and json.loads(after.model_dump_json()),
    }
