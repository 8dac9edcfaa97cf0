"""The commands `score` and `published`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unlearnlab.cli.commands import BAD_INPUT, DONE, Commands
from unlearnlab.cli.terminal import as_json, number, table
from unlearnlab.metrics.intervals import LEVEL, Interval
from unlearnlab.metrics.membership import auc_reading
from unlearnlab.metrics.official import Report, Scored, as_record, report
from unlearnlab.metrics.published import Published, as_records, results
from unlearnlab.spec.run import SpecError


def register(commands: Commands) -> None:
    """Add the commands to the program's."""
    about = "score a folder that the official script wrote, without a model"
    scoring = commands.add("score", _score, about, json=True)
    scoring.add_argument(
        "folder",
        metavar="DIR",
        type=Path,
        help="holds forget_*.csv and retain_*.csv, perhaps mia_results/ and metrics.json",
    )
    scoring.add_argument(
        "--mmlu", metavar="FILE", type=Path, help="metrics.json of the MMLU run (default: in DIR)"
    )
    about = "list published results of the task, with sources"
    commands.add("published", _published, about, json=True)


def _score(args: argparse.Namespace) -> int:
    if not args.folder.is_dir():
        raise SpecError([("score", f"{args.folder} is not a folder")])
    found = report(args.folder, args.mmlu)
    print(as_json(as_record(found)) if args.json else as_text(found))
    return BAD_INPUT if found.empty else DONE


def _published(args: argparse.Namespace) -> int:
    print(as_json(as_records(results())) if args.json else _listed(results()))
    return DONE


def _listed(rows: Sequence[Published]) -> str:
    """Lay results out in a table, and their sources below."""
    sources = list(dict.fromkeys(row.source for row in rows))
    cells = [
        [
            "" if row.rank is None else str(row.rank),
            row.model,
            row.split,
            row.system,
            number(row.task_aggregate),
            number(row.mia_score),
            number(row.mmlu),
            number(row.final),
            str(sources.index(row.source) + 1),
            "; ".join((*row.flags, *filter(None, [row.note]))),
        ]
        for row in rows
    ]
    head = ["#", "model", "split", "system", "aggregate", "MIA", "MMLU", "final", "source", "note"]
    listed = [f"  {i}  {source}" for i, source in enumerate(sources, 1)]
    return "\n".join([table(head, cells), "", "Sources:", *listed])


def as_text(made: Report) -> str:
    """Write a report for a terminal."""
    scored = made.scored
    parts = [_terms(scored)] if scored.terms else []
    parts.append(_totals(scored))
    if scored.auc:
        parts.append(auc_reading(scored.auc))
    for title, lines in (
        ("Not scored", made.problems),
        ("To know", tuple(flag.text for flag in made.flags)),
        ("Notes", made.notes),
    ):
        if lines:
            parts.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def _terms(scored: Scored) -> str:
    rows = [
        [
            term.split if term.split in scored.complete else f"{term.split} (incomplete)",
            term.task,
            "regurgitation" if term.kind == "sc" else "knowledge",
            number(term.value.value if term.value else None),
            _span(term.value),
            str(term.rows),
        ]
        for term in scored.terms
    ]
    return table(["set", "subtask", "term", "score", f"{LEVEL:.0%} interval", "rows"], rows)


def _totals(scored: Scored) -> str:
    aggregate, auc = scored.task_aggregate, scored.auc
    rows = [
        ["task aggregate", number(aggregate.value if aggregate else None), _span(aggregate)],
        ["MIA AUC (best 0.5)", number(auc.value if auc else None), _span(auc)],
        ["MIA score", number(scored.mia_score), ""],
        ["MMLU", number(scored.mmlu), ""],
        ["aggregate score", number(scored.final), scored.final_needs],
    ]
    return table(["", "score", f"{LEVEL:.0%} interval"], rows)


def _span(value: Interval | None) -> str:
    return "" if value is None else f"{value.low:.3f} to {value.high:.3f}"
