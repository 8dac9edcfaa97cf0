"""All that only a GPU can tell: speed, memory, and what happens when memory runs out.

    bash tests/gpu/check.sh [PART ...] [--out DIR] [--tiny]

Each part is a process of its own and leaves `PART.json`; parts that have left one are not run
again, so a check that was cut off goes on where it was. All parts together give `gpu.json`, which
belongs into `assets`, where `python -m unlearnlab docs` reads it. `--tiny` rehearses every part on
the CPU with models of a few thousand weights.

Models have the sizes of OLMo 1B and 7B and random weights: nothing is to be downloaded. Rows have
the lengths of LUME's: of three rows, one is a completion of 192 tokens with a prompt of 147, and
two are questions of 18 with a prompt of 13.
"""

import argparse
import gc
import itertools
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, OlmoConfig, OlmoForCausalLM

from tests.engine import plain
from tests.engine.tiny import finish, only, train_on
from unlearnlab.data.datasets import Row
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.engine.evaluation import evaluate, official_answers
from unlearnlab.engine.generation import generate
from unlearnlab.engine.likelihoods import encode
from unlearnlab.engine.loading import devices, prepare
from unlearnlab.engine.mmlu import answer, most_tokens
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics import mmlu
from unlearnlab.models.families import Architecture
from unlearnlab.runs.engine_api import Job, RunFailed
from unlearnlab.runs.events import GIB, Evaluated, StepLogged
from unlearnlab.runs.memory import Text, moments, sorted_lengths
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import presets
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import PACKED, EvaluationSpec, Phase, RunSpec, parse_spec
from unlearnlab.views.benchmarks import GPU, GpuFigure, GpuPart, GpuRecord

ROOT = Path(__file__).parents[2]

LONGEST_S = 540.0
"""Seconds that the whole check may take."""

LUME = (1112, 1136)
"""Forget and retain rows of the task's train fold."""

COMPLETION, QUESTION = (147, 192), (13, 18)
"""Tokens of the prompt, and of prompt and answer: means of LUME's rows."""

BFLOAT16_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}
"""Dense operations a second by the makers' data sheets, by a part of the card's name."""

WARM = 2
"""Steps that are not counted: the first ones allocate memory and choose kernels."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of the models and of the work."""

    small: Architecture
    large: Architecture
    steps: int
    """Steps of each method after those that warm up."""
    rows: int
    """Rows of each set to train on."""
    answered: int
    """Rows that our evaluation answers."""
    scripted: int
    """Rows that the official script answers, one at a time."""
    tokens: int
    """Most tokens of an answer. Random models end none before."""
    questions: int
    """MMLU questions."""
    device: str


REAL = Scale(
    small=Architecture(16, 2048, 8192, 16, 50304, 4096, tied=False),
    large=Architecture(32, 4096, 11008, 32, 50304, 4096, tied=False),
    steps=6,
    rows=240,
    answered=192,
    scripted=6,
    tokens=256,
    questions=200,
    device="cuda:0",
)

TINY = Scale(
    small=Architecture(2, 32, 64, 2, 4096, 512, tied=False),
    large=Architecture(2, 64, 64, 2, 4096, 512, tied=False),
    steps=2,
    rows=24,
    answered=6,
    scripted=2,
    tokens=4,
    questions=4,
    device="cpu",
)

Found = Iterator[GpuFigure]


# ---- models and rows


def model_of(size: Architecture, precision: str, scale: Scale) -> UnlearningModel:
    """Make a random OLMo on the device; one that is to be packed is saved first, opened packed."""
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "original")
    device = torch.device(scale.device)
    config = OlmoConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.mlp_width,
        num_hidden_layers=size.blocks,
        num_attention_heads=size.heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=size.tied,
        eos_token_id=size.vocabulary - 1,
        pad_token_id=1,
    )
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if precision == "float32" else torch.bfloat16)
    torch.manual_seed(0)
    try:
        with device:
            model = OlmoForCausalLM(config)
    finally:
        torch.set_default_dtype(usual)
    if precision not in PACKED:
        return UnlearningModel(model, tokenizer, device=device)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        del model
        _clean(scale)
        return UnlearningModel.open(Path(folder), precision=precision, device=device)


def _clean(scale: Scale) -> None:
    """Give the device's memory back, and count its peak anew."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    prepare(torch.device(scale.device))


def rows_of(lm: UnlearningModel, count: int) -> Dataset:
    """Make rows as long as LUME's in tokens of this tokenizer."""
    word = " morning"
    each = max(1, len(lm.tokenizer.encode(word * 50, add_special_tokens=False)) // 50)

    def text(tokens: int) -> str:
        return (word * max(1, tokens // each)).strip()

    def row(name: str, number: int) -> Row:
        kind, (prompt, whole) = ("sc1", COMPLETION) if number % 3 == 0 else ("qa0", QUESTION)
        words, answered = text(prompt - 4), text(whole - prompt)
        task = f"Task{1 + number % 3}"
        return Row(f"{name}{number}{kind}", f"{name} {number} {words}", answered, task)

    def rows(name: str) -> tuple[Row, ...]:
        return tuple(row(name, number) for number in range(count))

    documents = tuple(f"a document {number} {text(COMPLETION[1])}" for number in range(8))
    return Dataset(rows("forget"), rows("retain"), documents[:4], documents[4:], ())


# ---- parts


def engine_tests(scale: Scale) -> Found:
    """Run the engine's tests that need a GPU."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"),
        "-m",
        "gpu",
    ]
    told = subprocess.run(
        [*command, "tests/engine/test_gpu.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = told.stdout.strip().splitlines()[-1:] or ["nothing was printed"]
    passed = told.returncode == 0
    yield GpuFigure(what="tests marked gpu", value=float(passed), unit="", note=last[0].strip("= "))
    if not passed:
        raise SystemExit(told.stdout[-2000:] + told.stderr[-1000:])


def small_steps(scale: Scale) -> Found:
    """Take steps of three methods at the size of OLMo 1B."""
    full = {"batch_size": 16, "learning_rate": 1e-5}
    difference = Phase(method=METHODS["gradient_difference"](), **full)
    preference = Phase(method=METHODS["npo"](retain_weight=1), **full)
    steering = presets()["olmo-1b-adaptive-rmu"].spec.phases[0]
    if scale is TINY:
        layer = steering.method.model_copy(update={"layer": 1})
        steering = steering.model_copy(
            update={"method": layer, "first_layer": 0, "last_layer": 1, "batch_size": 2}
        )
    for name, phase in (
        ("gradient difference, all weights", difference),
        ("NPO with retain rows, all weights", preference),
        ("adaptive RMU of the preset", steering),
    ):
        spec = spec_of(phase, "bfloat16", scale)
        yield from trained(f"1B, {name}", scale.small, spec, scale)
        _clean(scale)


def large_steps(scale: Scale) -> Found:
    """Take steps at the size of OLMo 7B, and scale the time of a whole run of the first seed's."""
    yield from _joint_run(scale)
    _clean(scale)
    name = "7B, 4 bits with LoRA of rank 64"
    if scale.device == "cpu" or find_spec("bitsandbytes") is None:
        why = "needs CUDA" if scale.device == "cpu" else "bitsandbytes is not installed"
        yield GpuFigure(what=name, note=f"not measured: {why}")
        return
    values = presets()["olmo-7b-ascent"].spec.model_dump(mode="json")
    values["model"] |= {"precision": "nf4", "adapter": {"r": 64}, "device": scale.device}
    yield from trained(name, scale.large, limited(parse_spec(values), scale), scale)


def _joint_run(scale: Scale) -> Found:
    joint = presets()["olmo-7b-joint"].spec.phases[0]
    if scale is TINY:
        joint = joint.model_copy(update={"last_layer": 1})
    lm = model_of(scale.large, "bfloat16", scale)
    spec = spec_of(joint, "bfloat16", scale)
    figures = list(trained("7B, joint on MLPs 0 to 5", scale.large, spec, scale, lm=lm))
    yield from figures
    data = rows_of(lm, scale.answered // 2)
    work = partial(evaluate, lm, data, max_new_tokens=scale.tokens)
    _, scoring = timed(lambda: finish(work()), scale)
    batches = math.ceil(sum(LUME) / joint.batch_size)
    steps = joint.epochs * math.ceil(batches / joint.gradient_accumulation)
    a_step = next(one.value or 0.0 for one in figures if one.unit == "s a step")
    rows = len(data.forget) + len(data.retain)
    seconds = steps * a_step + 2 * scoring * sum(LUME) / rows
    yield GpuFigure(
        what="7B, joint: 8 epochs of LUME and both evaluations",
        value=seconds / 60,
        unit="min",
        goal=20,
        least=False,
        note=f"{steps} steps and {2 * sum(LUME)} rows, scaled from {scale.steps} and {rows}",
    )


def evaluating(scale: Scale) -> Found:
    """Answer rows and MMLU questions, beside the official script."""
    lm = model_of(scale.small, "bfloat16", scale)
    data = rows_of(lm, scale.answered)
    rows = (*data.forget, *data.retain)[: scale.answered]
    prompts = [row.input for row in rows]
    generated, seconds = timed(
        lambda: finish(generate(lm, prompts, max_new_tokens=scale.tokens))[1], scale
    )
    # Random weights end no answer, so each has the most tokens that it may.
    count = len(generated) * scale.tokens
    yield GpuFigure(what="1B, generation", value=count / seconds, unit="tokens/s")
    _, ours = timed(lambda: finish(official_answers(lm, rows))[1], scale)
    some = rows[: scale.scripted]
    _, script = timed(
        lambda: [plain.script_row(lm.model, lm.tokenizer, r.input, r.output) for r in some], scale
    )
    ratio = (script / len(some)) / (ours / len(rows))
    yield GpuFigure(
        what="1B, official evaluation against the official script",
        value=ratio,
        unit="times",
        goal=30,
        note=f"{len(rows)} rows against {len(some)}, by row",
    )
    shots = [_question(number) for number in range(5)]
    asked = [_question(number) for number in range(scale.questions)]
    _, ours = timed(lambda: finish(answer(lm, asked, {"anatomy": shots}))[1], scale)
    yield GpuFigure(what="1B, MMLU with 5 shots", value=len(asked) / ours, unit="questions/s")
    few = asked[: max(2, scale.scripted * 4)]
    most = most_tokens(lm)
    _, theirs = timed(
        lambda: [plain.mmlu_row(lm.model, lm.tokenizer, q, shots, most) for q in few], scale
    )
    yield GpuFigure(
        what="1B, MMLU against one question at a time",
        value=(theirs / len(few)) / (ours / len(asked)),
        unit="times",
        note=f"{len(asked)} questions of one subject against {len(few)}, by question",
    )


def _question(number: int) -> mmlu.Question:
    options = tuple(f"option {letter} of {number}" for letter in "abcd")
    text = f"Question {number}: which of these four is it, all things considered?"
    return mmlu.Question("anatomy", text, options, number % 4)


def embedded_run(scale: Scale) -> Found:
    """Run the first preset as the page does, from its press to its verdict."""
    spec = on_device(presets()["embedded-early-mlps"].spec, scale)
    if scale is TINY:
        values = spec.model_dump(mode="json")
        values["phases"][0] |= {"epochs": 1, "max_steps": 1}
        values["evaluation"] |= {"probes": 0, "max_new_tokens": 2}
        values["data"]["tasks"] = ["Task3"]
        spec = parse_spec(values)
    after, seconds = timed(partial(run_embedded, spec), scale)
    note = f"task aggregate {after.task_aggregate:.3f}"
    yield GpuFigure(what="the first preset, press to scores", value=seconds, unit="s", note=note)


def run_embedded(spec: RunSpec) -> Any:
    """Make a run of the embedded model; return the scores after it."""
    with tempfile.TemporaryDirectory() as folder:
        events = DeviceEngine(lambda key: None).unlearn(Job("gpu", spec, Path(folder)))
        found = [one for one in events if isinstance(one, Evaluated)]
    return found[-1].scores


def out_of_memory(scale: Scale) -> Found:
    """Run out of memory, and run again."""
    name = "out of memory is told with advice, and the next run is clean"
    if scale.device == "cpu":
        yield GpuFigure(what=name, note="not measured: needs CUDA")
        return
    spec = on_device(presets()["embedded-early-mlps"].spec, scale)
    values = spec.model_dump(mode="json")
    values["phases"][0] |= {"epochs": 1, "max_steps": 2}
    values["evaluation"] |= {"probes": 0, "max_new_tokens": 8}
    spec = parse_spec(values)
    _clean(scale)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(24 * 2**20 / total)
    try:
        run_embedded(spec)
        problem = ""
    except RunFailed as error:
        problem = str(error)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    scores = run_embedded(spec)
    fine = bool(problem) and math.isfinite(scores.task_aggregate or 0)
    yield GpuFigure(
        what=name,
        value=float(fine),
        unit="",
        note=problem[:200],
    )


PARTS: dict[str, Callable[[Scale], Found]] = {
    "tests": engine_tests,
    "embedded": embedded_run,
    "memory": out_of_memory,
    "1b": small_steps,
    "evaluation": evaluating,
    "7b": large_steps,
}
"""In the order in which they run: the quick ones first."""


# ---- measuring


def spec_of(phase: Phase, precision: str, scale: Scale) -> RunSpec:
    values = RunSpec(phases=(phase,)).model_dump(mode="json")
    values["model"] |= {"name": "olmo-1b", "precision": precision, "device": scale.device}
    return limited(parse_spec(values), scale)


def on_device(spec: RunSpec, scale: Scale) -> RunSpec:
    values = spec.model_dump(mode="json")
    values["model"]["device"] = scale.device
    return parse_spec(values)


def limited(spec: RunSpec, scale: Scale) -> RunSpec:
    """Take only as many steps as are measured, without probes."""
    phases = (spec.phases[0].model_copy(update={"max_steps": WARM + scale.steps}),)
    evaluation = EvaluationSpec(probes=0, max_new_tokens=scale.tokens)
    return spec.model_copy(update={"phases": phases, "evaluation": evaluation})


def trained(
    name: str,
    size: Architecture,
    spec: RunSpec,
    scale: Scale,
    *,
    lm: UnlearningModel | None = None,
) -> Found:
    """Take steps and tell their speed, and the peak of memory beside its estimate."""
    lm = lm or model_of(size, spec.model.precision, scale)
    data = rows_of(lm, scale.rows)
    prepare(torch.device(scale.device))
    torch.manual_seed(spec.seed)
    lm.adapt(spec)
    found = only(train_on(lm, spec, data), StepLogged)[WARM:]
    speed = statistics.median(step.tokens_per_s for step in found)
    yield GpuFigure(what=name, value=speed, unit="tokens/s")
    between = [b.seconds - a.seconds for a, b in itertools.pairwise(found)]
    yield GpuFigure(what=name, value=statistics.median(between or [0.0]), unit="s a step")
    phase = spec.phases[0]
    flops = next((value for part, value in BFLOAT16_FLOPS.items() if part in card(scale)), None)
    if flops and phase.modules == "all" and phase.method.kind == "gradient_difference":
        weights = size.parameters - size.vocabulary * size.hidden  # Embeddings multiply nothing.
        used = 6 * weights * speed / flops
        yield GpuFigure(what=f"{name}: share of the card's peak", value=used, unit="MFU", goal=0.45)
    if scale.device != "cpu":
        peak = max(step.memory_gib for step in found)
        guess = estimated(lm, data, size, spec) / GIB
        yield GpuFigure(what=f"{name}: peak of memory", value=peak, unit="GiB")
        yield GpuFigure(
            what=f"{name}: its estimate against it",
            value=guess / peak,
            unit="times",
            note=f"{guess:.1f} GiB were estimated; the goal is within 15 %",
        )


def estimated(lm: UnlearningModel, data: Dataset, size: Architecture, spec: RunSpec) -> float:
    """Estimate the bytes of the training from the lengths of these rows in tokens."""

    def text(row: Row) -> Text:
        of = encode(lm.prompts, row)
        return Text(of.start, len(of.ids), row.task, row.kind)

    of = sorted_lengths(
        spec.data,
        [(row.id, text(row)) for row in data.forget],
        [text(row) for row in data.retain],
        others=[COMPLETION[1]],
        vocabulary=size.vocabulary,
    )
    total = torch.cuda.get_device_properties(0).total_memory if lm.device.type == "cuda" else None
    found = moments(spec, size, of, cuda=lm.device.type == "cuda", memory=total)
    return max(one.total for one in found if one.name.startswith("training"))


def timed(work: Callable[[], Any], scale: Scale) -> tuple[Any, float]:
    """Return what a piece of work gives, and its seconds on the clock."""
    began = time.perf_counter()
    found = work()
    if scale.device != "cpu":
        torch.cuda.synchronize()
    return found, time.perf_counter() - began


def card(scale: Scale) -> str:
    """Return the name of the device."""
    return "CPU" if scale.device == "cpu" else devices()[0].name


# ---- the whole check


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path("gpu"))
    parser.add_argument("--tiny", action="store_true", help="rehearse on the CPU")
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    scale = TINY if args.tiny else REAL
    args.out.mkdir(parents=True, exist_ok=True)
    if args.one:
        _write(args.out, args.one, scale)
        return 0
    began = time.monotonic()
    for part in args.parts or PARTS:
        if _file(args.out, part).exists():
            continue
        left = LONGEST_S - (time.monotonic() - began)
        if left < 10:
            print(f"{part}: no time is left; run the check again", flush=True)
            continue
        _run(part, args.out, tiny=args.tiny, seconds=left)
    return _collect(args.out, scale)


def _file(out: Path, part: str) -> Path:
    return out / f"{part}.json"


def _write(out: Path, part: str, scale: Scale) -> None:
    """Measure a part in this process; what was measured before a failure is kept."""
    began, figures, problem = time.monotonic(), list[GpuFigure](), ""
    try:
        for figure in PARTS[part](scale):
            figures.append(figure)
            print(told(figure), flush=True)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        found = GpuPart(
            name=part,
            seconds=round(time.monotonic() - began, 1),
            figures=tuple(figures),
            problem=problem,
        )
        _file(out, part).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _run(part: str, out: Path, *, tiny: bool, seconds: float) -> None:
    print(f"== {part}", flush=True)
    command = [*(sys.executable, "-m", "tests.gpu.check"), "--one", part, "--out", str(out)]
    try:
        subprocess.run(command + ["--tiny"] * tiny, cwd=ROOT, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"{part}: cut off after {seconds:.0f} s", flush=True)


def _collect(out: Path, scale: Scale) -> int:
    """Put the parts together, and print them; the exit code tells whether all are there."""
    files = {part: _file(out, part) for part in PARTS}
    parts = [
        GpuPart.model_validate_json(file.read_text(encoding="utf-8"))
        for file in files.values()
        if file.exists()
    ]
    record = GpuRecord(card=card(scale), torch=torch.__version__, parts=tuple(parts))
    (out / GPU.name).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(f"== {record.card}, torch {record.torch}")
    for part in parts:
        for figure in part.figures:
            print(told(figure))
        if part.problem:
            print(f"{part.name}: {part.problem}")
    return 0 if len(parts) == len(PARTS) and not any(part.problem for part in parts) else 1


def told(figure: GpuFigure) -> str:
    """Write a figure as a line."""
    return f"{figure.what}: {figure.text}" + (f" ({figure.note})" if figure.note else "")


if __name__ == "__main__":
    raise SystemExit(main())
