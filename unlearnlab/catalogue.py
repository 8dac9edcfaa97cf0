"""The models that can be named in a spec, and the sizes of models and data, without loading them.

A form or a command line must refuse layer 31 of an 8-block model before a worker starts, so the
sizes are read from each model's own `config.json`, or stated here for models that live on a hub.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

ASSETS = Path(__file__).resolve().parent.parent / "assets"
"""Files that come with the program: presets, the embedded target, style and scripts."""

EMBEDDED = ASSETS / "tiny-olmo"
"""The embedded target: `original/`, `retrained/` and `data/`."""

Modules = Literal["all", "mlp", "attention", "down_proj"]
"""Which matrices of a block are trained."""

PROJECTIONS: Mapping[Modules, tuple[str, ...]] = {
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "down_proj": ("down_proj",),
    "all": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
"""Names of the linear layers behind each choice of modules, in the Llama family's naming."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a causal language model of the OLMo / Llama shape."""

    blocks: int
    hidden: int
    mlp_width: int
    heads: int
    vocabulary: int
    context: int
    tied: bool
    """Whether the head shares the embedding matrix."""

    @classmethod
    def from_config(cls, folder: Path) -> "Architecture":
        """Read the sizes from the `config.json` in `folder`."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(
            blocks=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            mlp_width=config["intermediate_size"],
            heads=config["num_attention_heads"],
            vocabulary=config["vocab_size"],
            context=config["max_position_embeddings"],
            tied=config["tie_word_embeddings"],
        )

    def block_parameters(self, modules: Modules) -> int:
        """Count the parameters that `modules` holds in one block."""
        attention, mlp = self.hidden * self.hidden, self.hidden * self.mlp_width
        sizes = {
            name: mlp if name in PROJECTIONS["mlp"] else attention for name in PROJECTIONS["all"]
        }
        return sum(sizes[name] for name in PROJECTIONS[modules])

    @property
    def embedding_parameters(self) -> int:
        """Count the parameters of embeddings and head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Count all parameters. LayerNorm has none in this family."""
        return self.embedding_parameters + self.blocks * self.block_parameters("all")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that a spec can name."""

    name: str
    title: str
    architecture: Architecture
    folder: Path | None = None
    """Where its weights lie on this machine."""
    missing: str = ""
    """Why it cannot run here, in words for the user; empty when it can."""


@cache
def embedded_rows(fold: str) -> Mapping[str, Mapping[str, int]]:
    """Count the embedded rows of a fold by set (`forget`, `retain`) and subtask."""

    def counted(name: str) -> Counter[str]:
        lines = (EMBEDDED / "data" / f"{name}_{fold}.jsonl").read_text(encoding="utf-8")
        return Counter(json.loads(line)["task"] for line in lines.splitlines())

    return {"forget": counted("forget"), "retain": counted("retain")}


_LATER = "not yet in this version: only the embedded model runs"


@cache
def models() -> Mapping[str, KnownModel]:
    """Map each model's name to what is known of it, the embedded one first."""
    olmo_1b = Architecture(16, 2048, 8192, 16, 50304, 4096, tied=False)
    olmo_7b = Architecture(32, 4096, 11008, 32, 50304, 4096, tied=False)
    folder = EMBEDDED / "original"
    tiny = Architecture.from_config(folder)
    known = (
        KnownModel("tiny-olmo", "tiny-olmo (embedded)", tiny, folder),
        KnownModel("olmo-1b", "OLMo 1B", olmo_1b, missing=_LATER),
        KnownModel("olmo-7b", "OLMo 7B", olmo_7b, missing=_LATER),
    )
    return {model.name: model for model in known}
