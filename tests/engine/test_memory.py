"""Memory of real runs of tiny models, tensor by tensor, against what was estimated for them."""

import weakref
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.engine.tiny import CONFIGS, CPU, finish, tiny_config, tiny_of, train_on
from unlearnlab.data.datasets import Row
from unlearnlab.engine.evaluation import evaluate
from unlearnlab.engine.generation import generate
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.models.families import Architecture
from unlearnlab.runs.memory import Costs, Shape, Text, moments, sorted_lengths
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import ModelSpec, parse_spec


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, from their birth to their death.

    What a kernel allocates and frees within itself is not seen.
    """

    def __init__(self, there: Iterable[Tensor] = ()) -> None:
        """Begin with the tensors that are there already."""
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.bytes = self.peak = 0
        for tensor in there:
            self._born(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._born(leaf)
        self.peak = max(self.peak, self.bytes)
        return made

    def restart(self) -> int:
        """Return the peak so far, and begin to look for the next."""
        peak, self.peak = self.peak, self.bytes
        return peak

    def _born(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.bytes += storage.nbytes()
        weakref.finalize(storage, self._died, key)

    def _died(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key)


LONG = "long grey morning by the sea, and went on until the rain came down on the old town. "


@pytest.fixture(scope="module")
def data(data) -> Dataset:
    """Give completions the length that they have beside questions."""

    def longer(row: Row, times: int) -> Row:
        return Row(row.id, row.input, LONG * times, row.task) if row.kind == "sc" else row

    def of(rows):
        return tuple(longer(row, 1 + at % 2) for at, row in enumerate(rows))

    return Dataset(of(data.forget), of(data.retain), data.members, data.nonmembers, data.quiz)


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def lengths(data, tokenizer):
    def count(text: str) -> int:
        return len(tokenizer.encode(text))

    def text(row: Row) -> Text:
        return Text(count(row.input), count(f"{row.input} {row.output}") + 1, row.task, row.kind)

    options = [f"{one.question} {option}" for one in data.quiz for option in one.choices]
    others = [count(text) for text in (*data.members, *data.nonmembers, *options)]
    forget = [(row.id, text(row)) for row in data.forget]
    retain = [text(row) for row in data.retain]
    return lambda spec: sorted_lengths(spec.data, forget, retain, others=others)


@dataclass
class Run:
    """What was held at most from stage to stage, and what was estimated, in bytes."""

    counted: dict[str, int]
    estimated: dict[str, float]
    weights: int
    trainable: int


@pytest.fixture
def carried_out(models, data, lengths, tokenizer):
    def run(*, model=None, family="olmo", width=64, scored=False, exact=False, **wished) -> Run:
        sizes = {name: wished.pop(name) for name in ("blocks", "vocabulary") if name in wished}
        config = tiny_config(
            family,
            sizes.get("vocabulary", 2048),
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=sizes.get("blocks", 3),
        )
        folder = models / "wide"
        tiny_of(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        phase = {"batch_size": 18, "epochs": 2, "method": {"kind": "gradient_difference"}}
        spec = parse_spec(
            {
                "model": {"name": "wide"} | (model or {}),
                "phases": [phase | wished],
                "evaluation": {"max_new_tokens": LONGEST, "probes": 0, "score_in_float32": exact},
            }
        )
        counted, lm = count(spec, folder, data, scored=scored)
        found = moments(spec, spec.model.known.architecture, lengths(spec))
        estimated = {moment.name: moment.total for moment in found}
        trained = sum(p.nbytes for p in lm.model.parameters() if p.requires_grad)
        weights = sum(p.nbytes for p in lm.model.parameters())
        return Run(counted, estimated, weights, trained)

    return run


LONGEST = 12


def count(spec, folder, data, *, scored: bool) -> tuple[dict[str, int], UnlearningModel]:
    lm = UnlearningModel.open(folder, precision=spec.model.precision, device=CPU)
    torch.manual_seed(spec.seed)
    lm.adapt(spec)
    counted: dict[str, int] = {}
    with LiveTensors([*lm.model.parameters(), *lm.model.buffers()]) as live:

        def stage(name, work):
            finish(work)
            counted[name] = live.restart()

        def scores():
            with lm.in_float32() if spec.evaluation.score_in_float32 else nullcontext():
                return (yield from evaluate(lm, data, max_new_tokens=LONGEST))

        if scored:
            stage("scoring before", scores())
        stage("training", train_on(lm, spec, data))
        if scored:
            stage("scoring after", scores())
    return counted, lm


LORA = {"adapter": {"r": 8}}

SHAPES = {
    "all": {},
    "middle MLPs": {"modules": "mlp", "first_layer": 1, "last_layer": 1},
    "late attention": {"modules": "attention", "first_layer": 2},
    "down_proj": {"modules": "down_proj", "first_layer": 1},
    "embeddings": {"embeddings": True},
    "wide": {"width": 384},
    "deep": {"width": 32, "blocks": 12, "modules": "mlp"},
    "large vocabulary": {"vocabulary": 12000},
    "accumulated": {"width": 192, "batch_size": 9, "gradient_accumulation": 2},
    "more retain rows": {"batch_size": 6, "retain_rows": 3},
    "LoRA": {"model": LORA},
    "LoRA with dropout": {"model": {"adapter": {"r": 8, "dropout": 0.1}}},
    "bfloat16": {"model": {"precision": "bfloat16"}},
    "bfloat16, rounded stochastically": {
        "model": {"precision": "bfloat16"},
        "bfloat16_updates": "stochastic",
        "width": 192,
    },
    "bfloat16, rounded to the nearest": {
        "model": {"precision": "bfloat16"},
        "bfloat16_updates": "nearest",
    },
    "bfloat16, accumulated": {
        "model": {"precision": "bfloat16"},
        "width": 192,
        "batch_size": 9,
        "gradient_accumulation": 2,
    },
    "bfloat16 with 8-bit AdamW": {
        "model": {"precision": "bfloat16"},
        "optimizer": "adamw_8bit",
        "width": 192,
    },
    "bfloat16 LoRA": {"model": LORA | {"precision": "bfloat16"}, "modules": "mlp"},
    "nf4": {"model": LORA | {"precision": "nf4"}, "width": 128},
    "int8": {"model": LORA | {"precision": "int8"}, "width": 128},
    "8-bit AdamW": {"optimizer": "adamw_8bit", "width": 192},
    "checkpointed": {"model": {"gradient_checkpointing": True}, "blocks": 8},
}

METHODS = {
    "gradient_ascent": {},
    "weighted_ascent": {},
    "joint_kl": {},
    "kl_minimization": {},
    "sequential": {"chunk_size": 6},
    "npo": {"kl_weight": 1.0},
    "simnpo": {},
    "idk_dpo": {},
    "undial": {},
    "task_vector": {},
    "rmu": {"layer": 1},
    "adaptive_rmu": {"layer": 2},
    "memorize": {"stop_at": None},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_within_15_percent_of_what_was_counted(carried_out, shape):
    check(carried_out(**SHAPES[shape]))


@pytest.mark.parametrize("kind", METHODS)
def test_so_it_is_with_every_method(carried_out, kind):
    last = {"last_layer": METHODS[kind]["layer"]} if "layer" in METHODS[kind] else {}
    check(carried_out(method={"kind": kind} | METHODS[kind], vocabulary=4096, **last))


@pytest.mark.parametrize("family", CONFIGS)
def test_so_it_is_with_every_family(carried_out, family):
    check(carried_out(family=family, first_layer=1, modules="mlp", blocks=2))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_so_it_is_while_the_model_is_scored(carried_out, precision):
    check(carried_out(scored=True, model={"precision": precision}, blocks=3))


def test_so_it_is_while_a_bfloat16_model_is_scored_in_float32(carried_out):
    check(carried_out(scored=True, exact=True, model={"precision": "bfloat16"}, blocks=3))


def test_answers_are_counted_with_the_keys_and_values_of_every_token(tokenizer):
    config = tiny_config("llama", 2048, hidden_size=64, num_hidden_layers=12)
    lm = UnlearningModel(tiny_of(config), tokenizer, device=CPU)
    # Answers that repeat themselves are accepted at once, and their last tokens never cached:
    # of as many prompts, not all do so.
    prompts = [f"Who wrote the long grey morning of day {10 + n}?" for n in range(16)]
    with LiveTensors(lm.model.parameters()) as live:
        weights = live.bytes
        finish(generate(lm, prompts, max_new_tokens=60))
    costs = Costs(ModelSpec(), Architecture.of(config.to_dict()), cuda=False)
    shape = Shape(len(prompts), len(tokenizer.encode(prompts[0])))
    assert costs.answering(shape, 60) == pytest.approx(live.peak - weights, rel=0.15)


def check(run: Run) -> None:
    for stage, counted in run.counted.items():
        assert run.estimated[stage] == pytest.approx(counted, rel=0.15), stage


def test_there_is_one_copy_of_the_weights(carried_out):
    """Of what is trained: an original, a gradient and the optimizer's two moments. That is all."""
    width, vocabulary, rows, longest = 512, 2048, 2, 48
    sizes = {"width": width, "vocabulary": vocabulary, "blocks": 4}
    short = {"batch_size": rows, "max_steps": 3}
    run = carried_out(modules="mlp", first_layer=1, last_layer=1, **sizes, **short)
    kept = 3 * (8 * width + 4 * 3 * width)  # Of each token, in the blocks from the trained one on.
    predicted = 3 * vocabulary  # Log-softmax, and twice for a moment its gradient.
    activations = 2 * rows * longest * (kept + predicted) * 4
    assert run.trainable < run.weights / 5
    assert run.counted["training"] <= run.weights + 4 * run.trainable + activations
    assert run.counted["training"] < 2 * run.weights
