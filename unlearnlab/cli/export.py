"""`python -m unlearnlab export RUN`: take the result of a run away."""

import argparse
from collections.abc import Callable
from pathlib import Path

from unlearnlab.cli.commands import DONE, FAILED
from unlearnlab.cli.follow import on_device
from unlearnlab.data.files import home
from unlearnlab.exports.kinds import KINDS, WHATS, What, files
from unlearnlab.exports.model import model_export
from unlearnlab.exports.result import Result, result
from unlearnlab.exports.writing import write
from unlearnlab.runs.engine_api import Engine, EnginePool, Job, RunFailed, as_pool
from unlearnlab.runs.store import Store

ALL = "all"


def export_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run", metavar="RUN", help="id of the run")
    parser.add_argument(
        "--what",
        choices=[*WHATS, ALL],
        action="append",
        help="what to take; repeatable (default: all that the run has)",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="folder to write into (default: .)"
    )
    parser.add_argument(
        "--unmask",
        action="store_true",
        help="show names, numbers and addresses in the report's sample answers",
    )
    kinds = (f"  {one.what:<9}{one.about}" for one in KINDS.values())
    parser.epilog = "\n".join(("what can be taken:", *kinds))


def export(
    args: argparse.Namespace,
    open_lab: Callable[[Store], Engine | EnginePool],
    tell: Callable[[str], None],
) -> int:
    """Write what is asked for, print the path of each, and return the exit code.

    Raises:
        InUse: Another process uses the device, and it must not be waited for.
        StoreError: There is no such run.
    """
    with Store(home()) as store:
        run = result(store, args.run)
        if not run.ended:
            tell(f"run {run.run_id} has not ended: take it away then")
            return FAILED
        failed = False
        for what in _wanted(args.what, run):
            try:
                for path in _taken(store, run, what, args, open_lab):
                    print(path)
            except (OSError, ValueError, RunFailed) as error:
                tell(str(error))
                failed = True
    return FAILED if failed else DONE


def _wanted(asked: list[str] | None, run: Result) -> list[What]:
    """List what is to be written: what is named, or everything that the run has."""
    if asked is None or ALL in asked:
        return [what for what in WHATS if not KINDS[what].missing(run)]
    return [what for what in WHATS if what in asked]


def _taken(
    store: Store,
    run: Result,
    what: What,
    args: argparse.Namespace,
    open_lab: Callable[[Store], Engine | EnginePool],
) -> list[Path]:
    if what != "model":
        return write(files(run, what, masked=not args.unmask), args.out)
    job = Job(run.run_id, run.spec, store.folder(run.run_id))
    wish = model_export(run, args.out)
    labs, wanted = as_pool(open_lab(store)), run.spec.model.device
    with on_device(labs, wanted, no_wait=args.no_wait, run=run.run_id) as device:
        labs.of(device).export(job, wish)
    return [wish.folder]
