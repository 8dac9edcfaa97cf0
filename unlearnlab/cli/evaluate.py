"""The commands `evaluate`, `mmlu`, `score` and `published`: official scores.

The first two open a checkpoint, from a folder or the hub; `score` reads what the organisers' script
wrote, and `published` lists what others reached.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from unlearnlab.cli.commands import BAD_INPUT, DONE, Commands, as_json, number, refuse_idle, table
from unlearnlab.cli.follow import on_device, shown
from unlearnlab.data.checks import SourceError
from unlearnlab.data.datasets import SPLITS, Fold, Row, Split, dataset
from unlearnlab.data.files import write_whole
from unlearnlab.data.reading import find_sets, read_table
from unlearnlab.exports.tables import COLUMNS, LOSS_COLUMNS, csv_table
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.intervals import LEVEL, Interval
from unlearnlab.metrics.membership import auc_reading
from unlearnlab.metrics.official import Report, as_record, report
from unlearnlab.metrics.published import as_records, results
from unlearnlab.metrics.scores import CHANCE, Choice, argmax_option
from unlearnlab.metrics.submission import Finding
from unlearnlab.metrics.verdicts import LETTER_SHARES
from unlearnlab.runs.engine_api import ALL, RunFailed
from unlearnlab.runs.events import Event, Progressed, StageBegan
from unlearnlab.spec.run import ModelSpec, Precision, SpecError


def register(commands: Commands) -> None:
    """Add the commands to the program's."""

    def made(name: str, command: Any, about: str) -> argparse.ArgumentParser:
        one = commands.add(
            name, lambda args: _guarded(command, args), about, json=True, home=True, device=True
        )
        one.add_argument(
            "--model",
            metavar="NAME",
            default=ModelSpec().name,
            help="checkpoint: a name, a folder, an id on the hub (default: the embedded model)",
        )
        one.add_argument(
            "--precision",
            choices=get_args(Precision),
            help="number format (default: bfloat16 on a GPU, as the script; float32 on a CPU)",
        )
        one.add_argument("--device", default="auto", help="such as cpu or cuda:1 (default: auto)")
        return one

    about = "score a checkpoint as the script of SemEval-2025 Task 4's organisers does"
    evaluating = made("evaluate", _evaluate, about)
    evaluating.add_argument(
        "--data",
        metavar="DIR",
        required=True,
        help="folder with the forget and retain set, or the name of a dataset",
    )
    evaluating.add_argument(
        "--fold",
        choices=("train", "validation"),
        default="train",
        help="fold of the data (default: train)",
    )
    evaluating.add_argument(
        "--mia",
        metavar="DIR",
        type=Path,
        help="folder with member.jsonl and nonmember.jsonl (default: a named dataset's own)",
    )
    evaluating.add_argument(
        "--outputs", metavar="DIR", type=Path, help="keep the script's files there, for `score`"
    )
    asking = made("mmlu", _mmlu, "measure a checkpoint's MMLU accuracy by the task's protocol")
    for one, needed in ((evaluating, False), (asking, True)):
        one.add_argument(
            "--mmlu",
            metavar="DIR",
            type=Path,
            required=needed,
            help="folder with dev.parquet and test.parquet of cais/mmlu",
        )
        one.add_argument(
            "--questions",
            metavar="N",
            type=int,
            help="ask N questions, drawn from every subject in proportion (default: all)",
        )
        one.add_argument("--seed", type=int, help="seed of that draw (default: 0)")
    asking.add_argument(
        "--shots",
        type=int,
        choices=(mmlu.SHOTS, 0),
        default=mmlu.SHOTS,
        help=f"solved questions before each; only {mmlu.SHOTS} is the task's protocol",
    )

    about = "score a folder that the organisers' script wrote, without a model"
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
    about = "list published results of SemEval-2025 Task 4, with sources"
    commands.add("published", _published, about, json=True)


def _guarded(command: Any, args: argparse.Namespace) -> int:
    try:
        return command(args)
    except RunFailed as error:
        raise SpecError([("model", f"{error.problem}. {error.advice}")]) from error
    except ValueError as error:
        raise SpecError([("", str(error))]) from error


ROW_COLUMNS = ("id", "input", "output", "task")

SIDES = ("member", "nonmember")

Document = tuple[str, str]
"""Id and text."""


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """All that a checkpoint is scored on."""

    rows: Mapping[Split, tuple[Row, ...]]
    documents: Mapping[str, tuple[Document, ...]]
    """Members and non-members for the attack; empty without one."""


def _read_data(data: str, fold: Fold, attack: Path | None) -> EvaluationData:
    """Read rows and documents as they are, as the organisers' script does: nothing is checked away.

    Args:
        data: A folder, or the name of a dataset.
        fold: Which of its folds.
        attack: Folder of `member.jsonl` and `nonmember.jsonl`; none takes a named dataset's own.

    Raises:
        SourceError: There is no such dataset, or its files cannot be used.
    """
    documents: dict[str, tuple[Document, ...]] = dict.fromkeys(SIDES, ())
    rows: dict[Split, tuple[Row, ...]]
    folder = Path(data)
    if folder.is_dir():
        sets = find_sets(folder)
        rows = {
            split: tuple(row for path in sets.get(f"{split}_{fold}", ()) for row in _rows(path))
            for split in SPLITS
        }
    else:
        known = dataset(data)
        if known.unknown_reason:
            raise SourceError(f"{data!r} is no folder, and {known.unknown_reason}")
        rows = {split: known.rows(split, fold) for split in SPLITS}
        texts = {"member": known.documents("member", fold)}
        texts["nonmember"] = known.documents("nonmember", fold)
        if all(texts.values()):
            documents = {
                side: tuple((f"{side}-{n}", text) for n, text in enumerate(of, 1))
                for side, of in texts.items()
            }
    if attack is not None:
        documents = {side: tuple(_documents(attack / f"{side}.jsonl")) for side in SIDES}
    for split in SPLITS:
        if not rows[split]:
            raise SourceError(f"{data} has no {split} rows in the {fold} fold: it needs both sets")
    return EvaluationData(rows, documents)


def _rows(path: Path) -> Iterator[Row]:
    for cells, line in _lines(path, ROW_COLUMNS):
        if len(cells["id"]) < 3 or cells["id"][-3:-1] not in ("sc", "qa"):
            raise SourceError(
                f"{path.name}, column id, row {line}: the id must end in sc (completion) or qa "
                "(question) and one more character"
            )
        yield Row(**cells)  # pyright: ignore[reportArgumentType]  (any task is scored)


def _documents(path: Path) -> Iterator[Document]:
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file: the attack needs both sides")
    for cells, line in _lines(path, ("document",)):
        yield str(cells.get("id", line)), cells["document"]


def _lines(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the needed cells, and an id if there is one, with the line number."""
    table = read_table(path)
    if table.findings:
        raise SourceError(f"{path.name}: {table.findings[0].message}")
    if lacking := [name for name in needed if name not in table.columns]:
        there = ", ".join(table.columns)
        raise SourceError(f"{path.name}: no column {', '.join(lacking)}: it has {there}")
    for row, line in zip(table.rows, table.lines, strict=True):
        for name in needed:
            if not isinstance(row.get(name), str):
                raise SourceError(f"{path.name}, column {name}, row {line}: there is no text")
        yield {name: row[name] for name in (*needed, "id") if row.get(name) is not None}, line


def _evaluate(args: argparse.Namespace) -> int:
    refuse_idle((args.seed is not None and args.questions is None, "seed", "without --questions"))
    wanted = _read_data(args.data, args.fold, args.mia)
    if args.questions is not None and args.mmlu is None:
        raise SpecError([("questions", "needs --mmlu DIR, the folder of the test")])
    test = _questions(args) if args.mmlu else None
    if args.outputs:
        _refuse_used(args.outputs)
    # torch takes seconds to import: bad input is reported before.
    from unlearnlab.engine.evaluation import document_losses, official_answers  # noqa: PLC0415

    rows = [row for of in wanted.rows.values() for row in of]
    texts = [text for of in wanted.documents.values() for _, text in of]
    with _opened(args) as target:
        found = iter(
            shown(
                official_answers(target, rows),
                "answering",
                done=lambda done: (done, len(rows), "rows"),
            )
        )
        answers: dict[Split, list[Any]] = {
            split: [next(found) for _ in of] for split, of in wanted.rows.items()
        }
        written = _answer_files(wanted, answers)
        if texts:
            losses = shown(
                document_losses(target, texts),
                "reading documents",
                done=lambda done: (done, len(texts), "documents"),
            )
            written |= _loss_files(wanted, losses)
        result = None
        if test:
            result, choices = _answered(target, test, mmlu.SHOTS)
            written |= _mmlu_files(result, choices)
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = args.outputs or Path(scratch)
        for name, content in written.items():
            write_whole(folder / name, content)
        made = _reworded(report(folder), wanted, test)
    means = _likelihoods(answers)
    if args.json:
        record = as_record(made)
        record["unlearnlab"] |= {
            "model": args.model,
            "weights": target.fingerprint,
            "precision": str(target.model.dtype).removeprefix("torch."),
            "device": str(target.device),
            "data": args.data,
            "fold": args.fold,
            "nll": means,
            "ended": statistics.fmean(one.ended for of in answers.values() for one in of),
            "mmlu": result and _mmlu_record(result),
        }
        print(as_json(record))
    else:
        cells = [
            [split, number(mean["official"]), number(mean["after_space"])]
            for split, mean in means.items()
        ]
        head = ["set", "NLL as the script has it", "NLL after one space"]
        print(f"{as_text(made)}\n\n{table(head, cells)}")
        if result:
            print(f"\n{_mmlu_text(result)}")
    return BAD_INPUT if made.empty else DONE


def _reworded(made: Report, wanted: EvaluationData, test: mmlu.Mmlu | None) -> Report:
    """For parts that were not asked, say how to ask instead of which file is missing."""
    unasked = {
        "mia": "" if any(wanted.documents.values()) else "not asked: name a folder with --mia",
        "mmlu": "" if test else "not asked: name a folder of cais/mmlu with --mmlu",
    }
    faults = tuple(
        Finding(fault.part, told) if (told := unasked.get(fault.part)) else fault
        for fault in made.scored.faults
    )
    return replace(made, scored=replace(made.scored, faults=faults))


def _mmlu(args: argparse.Namespace) -> int:
    refuse_idle((args.seed is not None and args.questions is None, "seed", "without --questions"))
    test = _questions(args)
    with _opened(args) as target:
        result, _ = _answered(target, test, args.shots)
    if args.json:
        record = _mmlu_record(result)
        print(as_json({**record, "notes": [*test.notes], "model": args.model}))
    else:
        print("\n".join([_mmlu_text(result), *test.notes]))
    return DONE


def _questions(args: argparse.Namespace) -> mmlu.Mmlu:
    if not args.mmlu.is_dir():
        raise mmlu.MmluError(f"{args.mmlu} is not a folder")
    test = mmlu.load(args.mmlu)
    if args.questions is None:
        return test
    return mmlu.Mmlu(
        test.shots, mmlu.subset(test.questions, args.questions, args.seed or 0), test.notes
    )


@contextmanager
def _opened(args: argparse.Namespace) -> Generator[Any]:
    """Open the checkpoint, with its device locked."""
    from unlearnlab.engine.device_engine import engines, opened  # noqa: PLC0415
    from unlearnlab.engine.loading import prepare, refuse_model, resolve_device  # noqa: PLC0415
    from unlearnlab.engine.training import Clock  # noqa: PLC0415

    resolve_device(args.device)  # What is not on this machine is refused, not waited for.
    with on_device(engines(), args.device, no_wait=args.no_wait) as free:
        device = resolve_device(free if args.device == "auto" else args.device)
        precision = args.precision or ("float32" if device.type == "cpu" else "bfloat16")
        model = ModelSpec(name=args.model, precision=precision, device=args.device)
        refuse_model(model, device)
        prepare(device, spread=args.device == ALL)
        yield shown(opened(model, device=device, clock=Clock()), "loading", done=_event)


def _event(event: Event | None) -> tuple[int, int | None, str] | None:
    if isinstance(event, StageBegan):
        return 0, None, event.stage
    return (event.done, event.total, event.unit) if isinstance(event, Progressed) else None


def _answered(target: Any, test: mmlu.Mmlu, shots: int) -> tuple[mmlu.MmluResult, list[Choice]]:
    from unlearnlab.engine.mmlu import answer, protocol  # noqa: PLC0415

    def remark(so_far: Sequence[Choice]) -> tuple[int, int, str]:
        accuracy = mmlu.accuracy(so_far)
        error = mmlu.standard_error(accuracy, len(so_far))
        subjects = len({one.subject for one in so_far})
        text = f"accuracy {accuracy:.3f} ± {error:.3f} in the {subjects} subjects so far"
        return len(so_far), len(test.questions), text

    solved = {subject: of[:shots] for subject, of in test.shots.items()}
    choices = shown(answer(target, test.questions, solved), "MMLU", done=remark)
    return mmlu.result(choices, protocol(target, shots, choices)), choices


def _likelihoods(said: Mapping[Split, Sequence[Any]]) -> dict[str, dict[str, float | None]]:
    """Average the losses of each set; an output without tokens has none and is left out."""

    def mean(values: Iterator[float]) -> float | None:
        there = [value for value in values if math.isfinite(value)]
        return statistics.fmean(there) if there else None

    return {
        split: {
            "official": mean(one.nll for one in of),
            "after_space": mean(one.spaced_nll for one in of),
        }
        for split, of in said.items()
    }


def _mmlu_record(result: mmlu.MmluResult) -> dict[str, Any]:
    return {
        "protocol": result.protocol,
        "accuracy": asdict(result.accuracy),
        "interval_level": LEVEL,
        "standard_error": result.standard_error,
        "questions": result.questions,
        "subjects": [asdict(one) for one in result.subjects],
        "letters": dict(result.letters),
        "constant_letter": result.constant,
        "at_chance": result.at_chance,
    }


def _mmlu_text(result: mmlu.MmluResult) -> str:
    rows = [
        [one.subject, str(one.questions), number(one.accuracy), number(one.standard_error)]
        for one in result.subjects
    ]
    value = result.accuracy
    lines = [
        table(["subject", "questions", "accuracy", "standard error"], rows),
        "",
        f"{result.protocol}",
        f"accuracy {value.value:.4f} over {result.questions} questions, {LEVEL:.0%} interval "
        f"{value.low:.4f} to {value.high:.4f}, standard error {result.standard_error:.4f}",
        "chosen: " + ", ".join(f"{letter} {of:.1%}" for letter, of in result.letters.items()),
    ]
    if letter := result.constant:
        share = LETTER_SHARES[letter]
        lines.append(
            f"A model that always answers {letter} scores {share:.4f} on the whole test: this "
            f"one chose it for {result.letters[letter]:.1%} of the questions."
        )
    elif result.at_chance:
        lines.append(
            f"A guesser's {CHANCE} lies within the interval: no knowledge shows, and no damage can."
        )
    return "\n".join(lines)


OURS = ("split", "id", "nll", "nll_after_space", "ended")
"""Columns of our likelihoods."""


def _answer_files(data: EvaluationData, said: Mapping[Split, Sequence[Any]]) -> dict[str, bytes]:
    """Write outputs as the script does, and our likelihoods of the same rows beside them."""
    files: dict[str, bytes] = {}
    ours: list[tuple[object, ...]] = []
    for split, rows in data.rows.items():
        pairs = list(zip(rows, said[split], strict=True))
        files[f"{split}_0.csv"] = csv_table(
            COLUMNS, [(r.id, r.task, r.input, r.output, one.generated, one.nll) for r, one in pairs]
        )
        ours += [(split, r.id, one.nll, one.spaced_nll, one.ended) for r, one in pairs]
    return {**files, "likelihoods.csv": csv_table(OURS, ours)}


def _loss_files(data: EvaluationData, losses: Sequence[float]) -> dict[str, bytes]:
    """Write document losses as the script does, given those of all documents in order."""
    left = iter(losses)
    return {
        f"mia_results/{side}_0.csv": csv_table(
            LOSS_COLUMNS, [(name, next(left)) for name, _ in documents]
        )
        for side, documents in data.documents.items()
    }


def _mmlu_files(result: mmlu.MmluResult, choices: Sequence[Choice]) -> dict[str, bytes]:
    """Write the files of Open Instruct's evaluation."""
    metrics = {
        "average_acc": result.accuracy.value,
        "protocol": result.protocol,
        "questions": result.questions,
    }
    files = {"mmlu/metrics.json": json.dumps(metrics, indent=2).encode()}
    letters = [f"choice{letter}_probs" for letter in mmlu.LETTERS]
    for subject in result.subjects:
        rows = [
            (
                one.question,
                mmlu.LETTERS[one.right],
                argmax_option(one) == one.right,
                # Log-probabilities would order alike, but the columns are called probabilities.
                *(math.exp(value) for value in one.logprobs),
            )
            for one in choices
            if one.subject == subject.subject
        ]
        head = ("question", "answer", "correct", *letters)
        files[f"mmlu/{subject.subject}.csv"] = csv_table(head, rows)
    return files


def _refuse_used(folder: Path) -> None:
    """Refuse a folder with the files of another evaluation, which would be scored as well.

    Raises:
        SpecError: It has some.
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError([("outputs", f"{folder} is no folder")])
    for pattern in ("forget_*.csv", "retain_*.csv", "mia_results", "mmlu"):
        if next(folder.glob(pattern), None):
            what = f"{folder} has files of another evaluation ({pattern}): name another folder"
            raise SpecError([("outputs", what)])


def _score(args: argparse.Namespace) -> int:
    if not args.folder.is_dir():
        raise SpecError([("score", f"{args.folder} is not a folder")])
    found = report(args.folder, args.mmlu)
    print(as_json(as_record(found)) if args.json else as_text(found))
    return BAD_INPUT if found.empty else DONE


def _published(args: argparse.Namespace) -> int:
    """Print published results in a table, and their sources below."""
    if args.json:
        print(as_json(as_records(results())))
        return DONE
    sources = list(dict.fromkeys(row.source for row in results()))
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
        for row in results()
    ]
    head = ["#", "model", "split", "system", "aggregate", "MIA", "MMLU", "final", "source", "note"]
    listed = [f"  {i}  {source}" for i, source in enumerate(sources, 1)]
    print("\n".join([table(head, cells), "", "Sources:", *listed]))
    return DONE


def as_text(made: Report) -> str:
    """Write a report for a terminal."""
    scored, auc, aggregate = made.scored, made.scored.auc, made.scored.task_aggregate
    spread = f"{LEVEL:.0%} interval"
    parts: list[str] = []
    if scored.terms:
        cells = [
            [
                term.split if term.split in scored.complete else f"{term.split} (incomplete)",
                term.task,
                "regurgitation" if term.kind == "sc" else "knowledge",
                *_value(term.value),
                str(term.rows),
            ]
            for term in scored.terms
        ]
        parts.append(table(["set", "subtask", "term", "score", spread, "rows"], cells))
    cells = [
        ["task aggregate", *_value(aggregate)],
        ["MIA AUC (best 0.5)", *_value(auc)],
        ["MIA score", number(scored.mia_score), ""],
        ["MMLU", number(scored.mmlu), ""],
        ["aggregate score", number(scored.final), scored.final_needs],
    ]
    parts.append(table(["", "score", spread], cells))
    if auc:
        parts.append(auc_reading(auc))
    for title, lines in (
        ("Not scored", made.problems),
        ("To know", tuple(flag.text for flag in made.flags)),
        ("Notes", made.notes),
    ):
        if lines:
            parts.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def _value(found: Interval | None) -> list[str]:
    """Write a score and its interval as two cells; one row has none."""
    if found is None:
        return ["-", ""]
    span = "n = 1" if found.rows == 1 else f"{found.low:.3f} to {found.high:.3f}"
    return [number(found.value), span]
