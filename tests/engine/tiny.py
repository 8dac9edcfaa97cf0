"""Tiny random models of every family, folders with one, and short runs on them: no downloads."""

import json
import shutil
from pathlib import Path
from typing import TypeVar

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    OlmoConfig,
    OlmoForCausalLM,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from unlearnlab.engine.evaluation import Probe
from unlearnlab.engine.training import Clock, train
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.runs.events import StepLogged
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import EvaluationSpec, ModelSpec, Phase, RunSpec

CPU = torch.device("cpu")

IDS = torch.arange(5, 45)[None]

CONFIGS: dict[str, type[PreTrainedConfig]] = {
    config.model_type: config
    for config in (
        OlmoConfig,
        Olmo2Config,
        LlamaConfig,
        Qwen2Config,
        Qwen3Config,
        MistralConfig,
        Gemma2Config,
        Gemma3TextConfig,
        Phi3Config,
        GPTNeoXConfig,
        GPT2Config,
    )
}

GROUPED = {"num_key_value_heads": 2}
"""Two heads of queries share one of keys."""

OWN = {
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "llama": GROUPED,
    "qwen2": {**GROUPED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3": {**GROUPED, "head_dim": 6},
    "mistral": {**GROUPED, "head_dim": 6, "sliding_window": 8},
    # Blocks differ in their window, and Gemma 3's in their positions too.
    "gemma2": {**GROUPED, "head_dim": 6, "sliding_window": 8},
    "gemma3_text": {
        **GROUPED,
        "head_dim": 6,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "phi3": GROUPED,
    "gpt_neox": {},
    "gpt2": {"n_inner": 40},
}


def tiny_config(name: str, vocabulary: int, **settings) -> PreTrainedConfig:
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 1,
    }
    return CONFIGS[name](**{**sizes, **OWN[name], **settings})


def tiny_of(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config)


def tiny_model(
    vocabulary: int, seed: int = 0, *, blocks: int = 2, width: int = 16, tied: bool = True
) -> OlmoForCausalLM:
    """Make a random OLMo of two narrow blocks."""
    torch.manual_seed(seed)
    config = OlmoConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        eos_token_id=0,
        pad_token_id=1,
    )
    return OlmoForCausalLM(config)


def tiny_lm(tokenizer, **sizes) -> UnlearningModel:
    return UnlearningModel(tiny_model(len(tokenizer), **sizes), tokenizer, device=CPU)


def logits(lm: UnlearningModel) -> torch.Tensor:
    return lm.model(input_ids=IDS).logits.detach().clone()


def saved(folder: Path, tokenizer, model: PreTrainedModel | None = None, **sizes) -> Path:
    """Save a model, by default a tiny OLMo, and its tokenizer."""
    (model or tiny_model(len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def copied(folder: Path, to: Path) -> Path:
    """Copy a folder, so that one thing in it can be spoiled."""
    shutil.copytree(folder, to)
    return to


def changed(path: Path, **values) -> None:
    """Set values in a JSON file; None takes a key away."""
    held = json.loads(path.read_text(encoding="utf-8")) | values
    kept = {key: value for key, value in held.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def finish(work):
    """Run a generator to its end: what it yielded, and what it returned."""
    seen = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as end:
            return seen, end.value


def phase(method, **settings) -> Phase:
    return Phase(method=method, **{"batch_size": 6, "epochs": 2, "learning_rate": 1e-2, **settings})


def spec_of(*phases: Phase, probes: int = 0, seed: int = 0, **model) -> RunSpec:
    return RunSpec(
        model=ModelSpec(**model),
        phases=phases,
        evaluation=EvaluationSpec(probes=probes),
        seed=seed,
    )


def train_on(lm: UnlearningModel, spec: RunSpec, data, **options):
    return train(lm, spec, data, probe=Probe.of(data), clock=Clock(), **options)


def run(tokenizer, data, *phases: Phase, seed: int = 0, probes: int = 0, adapter=None):
    """Train a new tiny model; return it and all events."""
    spec, lm = spec_of(*phases, probes=probes, seed=seed, adapter=adapter), tiny_lm(tokenizer)
    torch.manual_seed(spec.seed)
    lm.adapt(spec)
    return lm, list(train_on(lm, spec, data))


E = TypeVar("E")


def only(events, kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def first_of(events, kind: type[E]) -> E:
    return next(event for event in events if isinstance(event, kind))


def steps(events) -> list[StepLogged]:
    return only(events, StepLogged)


TRAINING = [kind for kind, method in METHODS.items() if method.sets]


def default(kind: str):
    """A method with its defaults, made to fit a model of two blocks and a set of 18 rows."""
    settings = {
        "rmu": {"layer": 1, "retain_weight": 1},
        "adaptive_rmu": {"layer": 1, "retain_weight": 1},
        "sequential": {"chunk_size": 18},
        # Alone, it has nothing to learn from a model that knows nothing.
        "undial": {"retain_weight": 1},
        # Taught together, the two sets have twice the batches.
        "memorize": {"on": "forget"},
    }
    return METHODS[kind](**settings.get(kind, {}))
