"""Times the official ways of evaluating against ours: both on one model, in one go.

    python -m tests.benchmarks.bench_evaluation [--mmlu DIR] [--questions N]

The official ways are those of `tests/engine/plain.py`: one row or prompt at a time. Both sides run
in float32 on the CPU. With one thread CPU time is compared, so that other work on the machine
weighs on neither; with more, time on the clock. Loading is not counted. To be reached: generation
15 times as fast, MMLU 4 times. Where lm-evaluation-harness is installed (`pip install lm_eval`),
its `mmlu` answers the same questions after the same shots; its prompts are its own.

What bounds it, with one thread. A model that answers otherwise than expected: of 0.9 s, reading the
prompts with what is expected takes 0.4, at the speed of the matrices; the rest is some 75 passes of
4 to 16 ms, for few rows as long as a single token takes (3 ms). A part of MMLU with nine questions
of a subject: a third of the tokens are left at best (793 of each prompt against 190 of a question
and its share of the shots, 77), and each of them still looks at all shots before it.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tests.engine import plain
from tests.engine.tiny import CPU, finish
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.evaluation import document_losses, official_answers
from unlearnlab.engine.generation import generate
from unlearnlab.engine.mmlu import answer, most_tokens
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics import mmlu
from unlearnlab.metrics.scores import argmax_option, row_score
from unlearnlab.spec.rows import Dataset, load
from unlearnlab.spec.run import DataSpec

WHOLE = ("anatomy", "college_physics")
"""Subjects of which all questions are asked, as in a whole test; in a part fewer share a prefix."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mmlu", type=Path, help="folder of cais/mmlu")
    parser.add_argument("--questions", type=int, default=500, help="of the stratified part")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("rows", "mmlu"), help="a part of it")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.threads} thread{'s' if args.threads > 1 else ''}, float32")
    if args.only != "mmlu":
        _answering()
    if args.mmlu and args.only != "rows":
        target = UnlearningModel.open(EMBEDDED / "original", precision="float32", device=CPU)
        test = mmlu.load(args.mmlu)
        whole = [one for one in test.questions if one.subject in WHOLE]
        _mmlu(f"MMLU, all {len(whole)} questions of {' and '.join(WHOLE)}", target, test, whole)
        part = mmlu.subset(test.questions, args.questions)
        _mmlu(f"MMLU, {len(part)} questions of all subjects", target, test, part)


def _answering() -> None:
    fold = load(DataSpec(fold="validation"))
    for name in ("original", "retrained"):
        target = UnlearningModel.open(EMBEDDED / name, precision="float32", device=CPU)
        _rows(f"{name} model", target, fold)
        _documents(f"{name} model", target)
    target = UnlearningModel.open(EMBEDDED / "original", precision="bfloat16", device=CPU)
    _half("original model, bfloat16", target, fold)


def _half(name: str, target: UnlearningModel, fold: Dataset) -> None:
    """Count the texts that rounding changes: sums in another order round otherwise in 16 bits."""
    rows = (*fold.forget, *fold.retain)
    prompts, expected = [row.input for row in rows], [row.output for row in rows]
    asked = {"max_new_tokens": 256, "expected": expected}
    ours, fast = _timed(lambda: finish(generate(target, prompts, **asked))[1])
    texts, slow = _timed(
        lambda: [plain.script_text(target.model, target.tokenizer, one) for one in prompts]
    )
    other = [a.text != b for a, b in zip(ours, texts, strict=True)]
    scored = [
        row_score(row.kind, row.output, a.text) != row_score(row.kind, row.output, b)
        for row, a, b in zip(rows, ours, texts, strict=True)
    ]
    share = f"{sum(other)} of {len(rows)} texts differ ({sum(other) / len(rows):.1%})"
    _tell(f"{name}, generation", slow, fast, f"{share}, {sum(scored)} scores of rows")


def _rows(name: str, target: UnlearningModel, fold: Dataset) -> None:
    rows = (*fold.forget, *fold.retain)
    model, tokenizer = target.model, target.tokenizer
    prompts, expected = [row.input for row in rows], [row.output for row in rows]
    asked = {"max_new_tokens": 256, "expected": expected}
    ours, seconds = _timed(lambda: finish(generate(target, prompts, **asked))[1])
    _, blind = _timed(lambda: finish(generate(target, prompts, max_new_tokens=256))[1])
    texts, slow = _timed(lambda: [plain.script_text(model, tokenizer, one) for one in prompts])
    same = sum(one.text == text for one, text in zip(ours, texts, strict=True))
    _tell(f"{name}, generation, {len(rows)} rows", slow, seconds, f"{same} texts equal")
    _tell(f"{name}, generation, without the expected answers", slow, blind, "")
    found, seconds = _timed(lambda: finish(official_answers(target, rows))[1])
    pairs, slow = _timed(
        lambda: [plain.script_row(model, tokenizer, row.input, row.output) for row in rows]
    )
    same = sum(one.generated == text for one, (text, _) in zip(found, pairs, strict=True))
    off = max(abs(one.nll - loss) for one, (_, loss) in zip(found, pairs, strict=True))
    told = f"{same} texts equal, losses within {off:.0e}"
    _tell(f"{name}, all of a row (ours: a second loss as well)", slow, seconds, told)


def _documents(name: str, target: UnlearningModel) -> None:
    fold = load(DataSpec())
    texts = [*fold.members, *fold.nonmembers]
    ours, seconds = _timed(lambda: finish(document_losses(target, texts))[1])
    losses, slow = _timed(
        lambda: [plain.script_document(target.model, target.tokenizer, one) for one in texts]
    )
    off = max(abs(a - b) for a, b in zip(ours, losses, strict=True))
    _tell(f"{name}, {len(texts)} documents", slow, seconds, f"losses within {off:.0e}")


def _mmlu(name: str, target: UnlearningModel, test: mmlu.Mmlu, asked: list[mmlu.Question]) -> None:
    ours, seconds = _timed(lambda: finish(answer(target, asked, test.shots))[1])
    most = most_tokens(target)
    rows, slow = _timed(
        lambda: [
            plain.mmlu_row(target.model, target.tokenizer, one, test.shots[one.subject], most)
            for one in asked
        ]
    )
    same = sum(
        argmax_option(one) == row.index(max(row)) for one, row in zip(ours, rows, strict=True)
    )
    _tell(name, slow, seconds, f"{same} of {len(asked)} predictions equal")
    if find_spec("lm_eval") is None:
        print("lm-evaluation-harness is not installed")
        return
    theirs, slow = _timed(lambda: harness_picks(target, asked, test.shots))
    same = sum(argmax_option(one) == pick for one, pick in zip(ours, theirs, strict=True))
    _tell(f"{name}, lm-evaluation-harness", slow, seconds, f"{same} predictions equal")


def harness_picks(
    target: UnlearningModel,
    asked: Sequence[mmlu.Question],
    shots: Mapping[str, Sequence[mmlu.Question]],
) -> list[int]:
    """Let lm-evaluation-harness answer, eight at a time: the option picked for each question."""
    lm_eval, hf = import_module("lm_eval"), import_module("lm_eval.models.huggingface")
    model = hf.HFLM(
        pretrained=target.model,
        tokenizer=target.tokenizer,
        batch_size=8,
        max_length=most_tokens(target),
        device="cpu",
    )
    places: dict[str, list[int]] = {}
    for place, question in enumerate(asked):
        places.setdefault(question.subject, []).append(place)
    with TemporaryDirectory() as folder:
        tasks = [
            _task(lm_eval, Path(folder), subject, [asked[p] for p in some], shots[subject])
            for subject, some in places.items()
        ]
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        told = lm_eval.simple_evaluate(model, tasks=tasks, num_fewshot=5, bootstrap_iters=0)
    found: dict[int, int] = {}
    for subject, some in places.items():
        for sample in told["samples"][f"mmlu_{subject}"]:
            logs = [float(response[0]) for response in sample["filtered_resps"]]
            found[some[sample["doc_id"]]] = logs.index(max(logs))
    return [found[place] for place in range(len(asked))]


def _task(
    lm_eval: Any,
    folder: Path,
    subject: str,
    asked: Sequence[mmlu.Question],
    shots: Sequence[mmlu.Question],
) -> str:
    """Write the harness's own task of a subject, with these questions in place of the hub's."""
    files: dict[str, str] = {}
    for split, some in (("test", asked), ("dev", shots)):
        files[split] = str(folder / f"{subject}-{split}.jsonl")
        lines = (
            {"question": q.text, "subject": subject, "choices": q.choices, "answer": q.answer}
            for q in some
        )
        Path(files[split]).write_text("".join(f"{json.dumps(one)}\n" for one in lines), "utf-8")
    own = Path(lm_eval.__file__).parent / f"tasks/mmlu/default/mmlu_{subject}.yaml"
    task = {
        "include": str(own),
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
    }
    place = folder / f"{subject}.yaml"
    place.write_text(json.dumps(task), "utf-8")  # JSON is YAML.
    return str(place)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    found = work()
    return found, clock() - began


def _tell(what: str, slow: float, fast: float, found: str) -> None:
    print(
        f"{what}: {slow:.2f} s against {fast:.2f} s, {slow / fast:.1f} times; {found}", flush=True
    )


if __name__ == "__main__":
    main()
