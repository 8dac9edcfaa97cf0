"""The commands `export`, `pack` and `unpack`: results of a run, and runs as one file."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from unlearnlab.cli.commands import DONE, FAILED, Commands, as_json, refuse_idle, table, tell
from unlearnlab.cli.follow import on_device
from unlearnlab.data.files import NoRoom, Taken, home, write_whole
from unlearnlab.exports.kinds import KINDS, WHATS, files, write
from unlearnlab.exports.model import model_export
from unlearnlab.exports.pack_file import PackError
from unlearnlab.exports.packs import PERSONAL, add_pack, packable, write_pack
from unlearnlab.exports.result import Result, result
from unlearnlab.runs.artefacts import Spoiled
from unlearnlab.runs.engine_api import Job, RunFailed, as_pool
from unlearnlab.runs.store import Store

ALL, RAW = "all", "raw"
"""Further values of `--what`: all that a run has but its raw record, and that record alone."""


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    about = "write the results of a run as files"
    exporting = commands.add("export", _export, about, home=True, device=True)
    exporting.add_argument("run", metavar="RUN", help="id of the run")
    exporting.add_argument(
        "--what",
        choices=[*WHATS, RAW, ALL],
        action="append",
        help="what to write; repeatable (default: all that the run has, but the raw record)",
    )
    exporting.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="folder to write into (default: .)"
    )
    exporting.add_argument(
        "--unmask",
        action="store_true",
        help="show names, numbers and addresses in the answers of report and watched rows",
    )
    kinds = (f"  {one.what:<9}{one.about}" for one in KINDS.values())
    raw = f"  {RAW:<9}All that the database holds of a run, trace or preview, readable or not."
    exporting.epilog = "\n".join(("kinds of export:", *kinds, raw))

    about = "write ended runs into one file, to be imported or replayed elsewhere"
    packing = commands.add("pack", _pack, about, home=True)
    packing.add_argument("runs", metavar="RUN", nargs="+", help="ids of the runs")
    packing.add_argument(
        "--out", metavar="FILE.zip", type=Path, required=True, help="the file to write"
    )
    packing.add_argument(
        "--without-weights", action="store_true", help="leave out what was trained"
    )
    packing.add_argument(
        "--without-answers",
        action="store_true",
        help="leave out rows, answers, free prompts and error messages; scores and curves stay",
    )
    about = "import the runs of a file that `pack` wrote"
    unpacking = commands.add("unpack", _unpack, about, json=True, home=True)
    unpacking.add_argument("file", metavar="FILE.zip", type=Path, help="the file")


def _export(args: argparse.Namespace) -> int:
    """Write each kind that is asked for, and print the path of each file."""
    asked: Sequence[str] = args.what or [ALL]
    masking = {what for what in WHATS if KINDS[what].masks} | {ALL}
    refuse_idle(
        (args.unmask and not masking & set(asked), "unmask", "where nothing is masked"),
        (args.no_wait and not {"model", ALL} & set(asked), "no-wait", "without the merged model"),
    )
    with Store(home()) as store:
        failed = RAW in asked and not _exported_raw(store, args)
        if set(asked) == {RAW}:
            return FAILED if failed else DONE
        run = result(store, args.run)
        if not run.ended:
            tell(f"run {run.run_id} has not ended yet: export it afterwards")
            return FAILED
        for what in WHATS:
            if what not in asked and ALL not in asked:
                continue
            spoiled = run.weights.problem if run.weights else ""
            if ALL in asked and (missing := KINDS[what].missing(run)):
                if missing == spoiled:
                    tell(f"{what}: {spoiled}")
                    failed = True
                continue
            try:
                if what == "model":
                    print(_export_model(store, run, args))
                    continue
                for path in write(files(run, what, masked=not args.unmask), args.out):
                    print(path)
            except (OSError, ValueError, RunFailed) as error:
                tell(str(error))
                failed = True
    return FAILED if failed else DONE


def _exported_raw(store: Store, args: argparse.Namespace) -> bool:
    """Write the raw record of a run, print its path, and return whether that went well."""
    target = args.out / f"{args.run}-raw.json"
    content = as_json(store.raw(args.run)).encode()
    try:
        write_whole(target, content)
    except (OSError, NoRoom) as error:
        tell(f"{target} cannot be written: {error}")
        return False
    print(target)
    return True


def _export_model(store: Store, run: Result, args: argparse.Namespace) -> Path:
    job = Job(run.run_id, run.spec, store.folder(run.run_id))
    export = model_export(run, args.out)
    engines, wanted = as_pool(args.open_engine(store)), run.spec.model.device
    with on_device(engines, wanted, no_wait=args.no_wait, run=run.run_id) as device:
        engines.of(device).export(job, export)
    return export.folder


def _pack(args: argparse.Namespace) -> int:
    weights, answers = not args.without_weights, not args.without_answers
    ids = tuple(dict.fromkeys(args.runs))
    try:
        with Store(home()) as store:
            runs = [packable(store, one, weights=weights, answers=answers) for one in ids]
            write_pack(runs, args.out)
    except Spoiled as error:
        tell(f"{error}: restore it, or leave it out (--without-weights)")
        return FAILED
    except (PackError, NoRoom, Taken) as error:
        tell(str(error))
        return FAILED
    except OSError as error:
        tell(f"{args.out} cannot be written: {error.strerror}")
        return FAILED
    print(args.out)
    if answers:
        tell(PERSONAL)
    return DONE


def _unpack(args: argparse.Namespace) -> int:
    with Store(home()) as store:
        found = add_pack(store, args.file)
    if args.json:
        print(as_json({"runs": [asdict(one) for one in found]}))
    else:
        print(table(["run", "", ""], [[one.run_id, one.outcome, one.told] for one in found]))
    return FAILED if any(one.outcome == "refused" for one in found) else DONE
