"""PEFT adapter folders as models: what an adapter is, and which base it was trained on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearnlab.models.checkpoints import INDEX, CheckpointError, Lacking, read_config, stored_in
from unlearnlab.models.families import FAMILIES

CONFIG = "adapter_config.json"

WEIGHTS = "adapter_model.safetensors"

KINDS: Mapping[str, str] = {"LORA": "LoRA", "LOHA": "LoHa", "LOKR": "LoKr", "IA3": "IA3"}
"""Kinds of adapters that can be merged into the weights, as peft and as papers write them."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter folder says of itself."""

    base: str
    """Base model as the config names it: a hub id, or a path of the machine that it was made on."""
    kind: str
    rank: int | None = None

    @property
    def title(self) -> str:
        """Name kind and rank, such as "LoRA, r 16"."""
        return f"{self.kind}, r {self.rank}" if self.rank else self.kind


def is_adapter(folder: Path) -> bool:
    """Tell whether a folder holds an adapter, and no weights of a whole model beside it."""
    # Unlike Path.is_file, these are no errors where a folder may not be read.
    if not os.path.isfile(folder / CONFIG):
        return False
    return not any(os.path.isfile(folder / name) for name in ("model.safetensors", INDEX))


def read_adapter(folder: Path) -> Adapter:
    """Read what an adapter's config says.

    Raises:
        CheckpointError: The config is damaged or names no base, or the adapter cannot be merged.
    """
    try:
        config = read_config(folder / CONFIG)
    except FileNotFoundError:
        raise Lacking(f"{folder} holds no {CONFIG}: copy or download the adapter again") from None
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(
            f"{folder} is an adapter of kind {kind!r}, which cannot be merged into the weights "
            f"here: merge it with peft, or use {', '.join(KINDS)}"
        )
    base, rank = config.get("base_model_name_or_path"), config.get("r")
    if not isinstance(base, str) or not base.strip():
        raise CheckpointError(
            f"{folder} is an adapter, and its {CONFIG} names no base model: set "
            "base_model_name_or_path to the base's folder or its id on the hub"
        )
    return Adapter(base.strip(), KINDS[kind], rank if isinstance(rank, int) else None)


def check_adapter(folder: Path) -> None:
    """Check an adapter's files without loading them.

    Raises:
        CheckpointError: They are missing, pickled or damaged, or the adapter cannot be merged.
    """
    read_adapter(folder)
    if (folder / WEIGHTS).is_file():
        stored_in(folder / WEIGHTS)
    elif (folder / "adapter_model.bin").is_file():
        raise CheckpointError(
            f"{folder} holds the adapter's weights pickled (adapter_model.bin), which can run code "
            "when they are opened: save the adapter as safetensors, or merge it with peft"
        )
    else:
        raise Lacking(f"{folder} holds no {WEIGHTS}: copy or download the adapter again")


def embedding_rows(folder: Path) -> int:
    """Count the rows of the embeddings that an adapter brings along; 0 if it brings none."""
    try:
        held = stored_in(folder / WEIGHTS)
    except (OSError, CheckpointError):
        return 0
    lasts = tuple(f"{of.embeddings.rpartition('.')[2]}.weight" for of in FAMILIES.values())
    brought = (one.shape for name, one in held.items() if name.endswith(lasts))
    return max((shape[0] for shape in brought if len(shape) == 2), default=0)
