"""The commands `data list`, `show`, `check`, `add` and `remove`.

Text of rows is printed only with --show-rows.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from unlearnlab.cli.commands import (
    BAD_INPUT,
    DONE,
    FAILED,
    Commands,
    as_json,
    print_list,
    refuse_idle,
    table,
    tell,
)
from unlearnlab.data.adding import (
    BORROWED,
    Draft,
    SourceError,
    add,
    read_files,
    read_folder,
    read_typed,
    remove,
)
from unlearnlab.data.checks import excerpt
from unlearnlab.data.datasets import (
    EMBEDDED_NAME,
    FOLDS,
    SPLITS,
    DatasetInfo,
    Row,
    dataset,
    datasets,
)
from unlearnlab.data.downloads import SEMEVAL_REPOSITORY, fetch_lume, fetch_semeval
from unlearnlab.data.files import size
from unlearnlab.data.layouts import LAYOUTS
from unlearnlab.data.reading import MAX_BYTES, text_of
from unlearnlab.spec.errors import printable

FIELDS = ("input", "output", "id", "task", "paraphrased_answer", "perturbed_answer")


def register(commands: Commands) -> None:
    """Add the group of commands to the program's."""
    parts = commands.group("data", "list, check, add and remove datasets")

    made = partial(parts.add, json=True, home=True)
    made("list", _list, "list all datasets")
    showing = made("show", _show, "show what a dataset holds")
    removing = made("remove", _remove, "delete an added dataset")
    for one in (showing, removing):
        one.add_argument("name", metavar="NAME", help="dataset name")
    checking = made("check", _check, "read and check data without saving them")
    adding = made("add", _add, "check data and save them as a dataset for runs")
    for one in (checking, adding):
        _source_options(one)
    for one in (showing, checking, adding):
        one.add_argument(
            "--show-rows", action="store_true", help="print the beginning of rows (personal data)"
        )
    adding.add_argument("--name", default="", help="dataset name (default: derived from the title)")
    adding.add_argument("--replace", action="store_true", help="replace a dataset of this name")


def _source_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "path",
        nargs="?",
        type=Path,
        metavar="PATH",
        help="folder of SemEval-2025 Task 4, of LUME or in this program's layout; or a file with "
        "the forget set",
    )
    source.add_argument("--forget", type=Path, metavar="FILE", help="file with the forget set")
    source.add_argument(
        "--typed", metavar="FILE", help="text with a question and its answer per line; - is stdin"
    )
    source.add_argument("--lume", action="store_true", help="download LUME from its public address")
    source.add_argument(
        "--semeval",
        nargs="?",
        const=SEMEVAL_REPOSITORY,
        metavar="REPOSITORY",
        help="download the task's data from the Hugging Face hub; needs HF_TOKEN",
    )
    parser.add_argument("--retain", type=Path, metavar="FILE", help="file with the retain set")
    parser.add_argument(
        "--retain-of",
        default="",
        metavar="NAME",
        help=f"dataset that lends {BORROWED} retain rows to files or typed facts, such as embedded",
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help=f"column that holds a field ({', '.join(FIELDS)}), in each file that has it; an empty "
        "name: none; repeatable",
    )
    parser.add_argument(
        "--retain-column",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="the same in the retain file alone",
    )
    parser.add_argument(
        "--layout",
        choices=tuple(LAYOUTS),
        default="columns",
        help="how prompts and answers lie in a file: "
        + "; ".join(f"{name}: {about}" for name, about in LAYOUTS.items()),
    )
    parser.add_argument(
        "--kind",
        choices=("guess", "completion", "question"),
        default="guess",
        help="type of rows whose id does not give it; guess: a question if the prompt ends with a "
        "question mark or the answer has at most 10 words",
    )
    parser.add_argument("--title", default="", help="display name")
    parser.add_argument(
        "--limit",
        type=_positive,
        metavar="N",
        help="draw N source documents from each set and subtask, each with all its rows; where the "
        "data have no validation fold, N of the others become one",
    )
    parser.add_argument("--seed", type=int, help="seed of the draw (default: 0)")
    parser.add_argument(
        "--context", type=_positive, metavar="TOKENS", help="warn about rows longer than that"
    )


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _read(args: argparse.Namespace) -> Draft:
    source = args.path if args.forget is None else None
    folder = source is not None and not source.is_file()
    files = args.forget is not None or (source is not None and not folder)
    typed, tables = bool(args.typed), files or folder
    refuse_idle(
        (args.seed is not None and args.limit is None, "seed", "without --limit"),
        (typed and args.limit is not None, "limit", "beside --typed"),
        (args.retain is not None and not (files or typed), "retain", "where a folder is read"),
        (bool(args.column) and not tables, "column", "without files"),
        (
            bool(args.retain_column) and not (folder or (files and args.retain is not None)),
            "retain-column",
            "without --retain",
        ),
        (args.layout != "columns" and not tables, "layout", "without files"),
        (args.kind != "guess" and not (tables or typed), "kind", "beside a download"),
    )
    if args.retain_of and (args.lume or args.semeval):
        raise SourceError("--retain-of: a download has its own retain set: leave it out")
    part = {"title": args.title, "limit": args.limit, "seed": args.seed or 0}
    columns = dict(map(_column, args.column))
    retain_columns = columns | dict(map(_column, args.retain_column))
    cells: dict[str, Any] = {"columns": columns, "retain_columns": retain_columns}
    cells["layout"] = args.layout
    own: dict[str, Any] = {"retain_of": args.retain_of, "kind": args.kind}
    if args.typed:
        retain = _typed_text(args.retain) if args.retain else ""
        text = _piped() if args.typed == "-" else _typed_text(Path(args.typed))
        draft = read_typed(text, retain=retain, title=args.title, **own)
    elif args.lume:
        draft = read_folder(fetch_lume(_report_progress), **part)
    elif args.semeval:
        draft = read_folder(fetch_semeval(args.semeval), **part)
    elif folder:
        draft = read_folder(args.path, **cells, **own, **part)
    else:
        draft = read_files(args.forget or args.path, args.retain, **cells, **own, **part)
    return draft.checked_against(args.context) if args.context else draft


def _typed_text(path: Path) -> str:
    text, findings = text_of(path, "")
    if findings:
        raise SourceError(f"{path.name}: {findings[0].message}")
    return text


def _piped() -> str:
    try:
        text = sys.stdin.read(MAX_BYTES + 1)
        text.encode()  # Some locales read any byte, as half a character.
    except UnicodeError as error:
        raise SourceError("standard input is not UTF-8: convert it first") from error
    if len(text) > MAX_BYTES:
        raise SourceError(f"standard input is too long: {size(MAX_BYTES)} are read at most")
    return text


def _column(text: str) -> tuple[str, str]:
    field, given, name = text.partition("=")
    if not given or field not in FIELDS:
        raise SourceError(f"--column {field}: write FIELD=NAME, FIELD one of {', '.join(FIELDS)}")
    return field, name


def _report_progress(name: str, come: int, total: int) -> None:
    if sys.stderr.isatty() or come >= total:
        of = f" of {total / 1e6:.1f}" if total else ""
        end = "\r" if sys.stderr.isatty() and come < total else "\n"
        print(f"unlearnlab: {name}: {come / 1e6:.1f}{of} MB", end=end, file=sys.stderr, flush=True)


def _list(args: argparse.Namespace) -> int:
    known = list(datasets().values())
    rows = [
        [
            one.name,
            one.title,
            one.source,
            *(str(sum(len(one.rows(split, fold)) for fold in FOLDS)) for split in SPLITS),
        ]
        for one in known
    ]
    return print_list(args, list(map(_record, known)), ["name", "title", "source", *SPLITS], rows)


def _show(args: argparse.Namespace) -> int:
    one = dataset(args.name)
    if one.unknown_reason:
        raise SourceError(f"{args.name}: {one.unknown_reason}")
    sets = {
        f"{split}_{fold}": rows
        for fold in FOLDS
        for split in SPLITS
        if (rows := one.rows(split, fold))
    }
    if args.json:
        rows = {split: [_row(row) for row in of] for split, of in sets.items()}
        print(as_json(_record(one) | ({"rows": rows} if args.show_rows else {})))
        return DONE
    print(f"{one.title} ({one.source}), named {one.name}\n")
    print(_counts(sets, one.titles))
    for note in one.notes:
        print(f"\nWarning: {note}")
    if args.show_rows:
        for split, rows in sets.items():
            print(f"\n{split}")
            print(table(["id", "input", "output"], [list(_row(row).values()) for row in rows]))
    return DONE


def _record(one: DatasetInfo) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "source": one.source,
        "personal": one.personal,
        "added": one.name != EMBEDDED_NAME,
        "folder": str(one.folder),
        "titles": dict(one.titles),
        "notes": list(one.notes),
        "rows": {
            f"{split}_{fold}": _by_type(one.rows(split, fold))
            for fold in one.folds
            for split in SPLITS
        },
        "documents": {name: len(one.documents(name)) for name in ("member", "nonmember")},
        "questions": len(one.questions()),
    }


def _row(row: Row) -> dict[str, str]:
    return {"id": row.id, "input": excerpt(row.input), "output": excerpt(row.output)}


def _by_type(rows: Sequence[Row]) -> dict[str, int]:
    return dict(Counter(f"{row.task} {row.kind}" for row in rows))


def _counts(sets: Mapping[str, Sequence[Row]], titles: Mapping[Any, str]) -> str:
    tasks = sorted({row.task for rows in sets.values() for row in rows})
    cells = []
    for split, rows in sets.items():
        found = Counter((row.task, row.kind) for row in rows)
        for task in tasks:
            completions, questions = found[task, "sc"], found[task, "qa"]
            if completions or questions:
                cells.append([split, titles.get(task, task), str(completions), str(questions)])
    return table(["set", "subtask", "completions", "questions"], cells)


def _check(args: argparse.Namespace) -> int:
    draft = _read(args)
    _report(draft, args)
    return DONE if draft.sound else FAILED


def _add(args: argparse.Namespace) -> int:
    draft = _read(args)
    if not draft.sound:
        _report(draft, args)
        tell("nothing was added: fix the errors above")
        return BAD_INPUT
    kept = add(draft, args.name, replace=args.replace)
    _report(draft, args, kept)
    return DONE


def _report(draft: Draft, args: argparse.Namespace, kept: DatasetInfo | None = None) -> None:
    """Print what was read and what is wrong with it; `kept` is the dataset if it was added."""
    name, show = kept and kept.name, args.show_rows
    if args.json:
        findings = [asdict(one) for one in draft.findings]
        for row in () if show else (row for one in findings for row in one["rows"]):
            del row["id"], row["excerpt"]
        found = {
            "name": name,
            "title": draft.title,
            "source": draft.source,
            "sound": draft.sound,
            "rows": {split: _by_type(rows) for split, rows in draft.rows.items()},
            "documents": {split: len(texts) for split, texts in draft.documents.items()},
            "findings": findings,
        }
        print(as_json(found))
        return
    print(f"{draft.title} ({draft.source})\n")
    print(_counts(draft.rows, draft.titles))
    for one in draft.findings:
        print(printable(f"\n{one.severity.capitalize()}: {one.kind}: {one.message}"))
        for row in one.rows:
            text = f"  {printable(row.id)}  {row.excerpt}" if show else ""
            print(f"  {row.split} line {row.line}{text}")
    if kept:
        print(f"\nAdded as {name}. To unlearn it: python -m unlearnlab run --data.source {name}")
        print("If the model does not know it, teach it first: python -m unlearnlab teach --help")


def _remove(args: argparse.Namespace) -> int:
    remove(args.name)
    print(as_json({"removed": args.name}) if args.json else f"Removed {args.name}.")
    return DONE
