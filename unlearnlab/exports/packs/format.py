"""What lies where in a pack, and how much of it there may be."""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unlearnlab.runs.events import Event

FORMAT = 1
"""Of the packs that are written here, and the latest that can be read."""

MANIFEST = "unlearnlab-pack.json"
RUN, EVENTS = "run.json", "events.jsonl"

RUN_ID = r"[0-9]{6}-[0-9]{6}-[0-9]{3}"

_ADAPTER = "adapter(?:/[a-z][a-z0-9-]{0,31})?"

FILE = re.compile(rf"delta\.safetensors|{_ADAPTER}/adapter_(?:model\.safetensors|config\.json)")
"""Files of a run: what the engine saves of the weights, and nothing else."""

MEMBER = re.compile(
    rf"{re.escape(MANIFEST)}|evidence/[0-9a-f]{{24}}\.json"
    rf"|{RUN_ID}/(?:run\.json|events\.jsonl|{FILE.pattern})"
)
"""Everything that a pack may hold."""

FOLDER = re.compile(rf"(?:evidence|{RUN_ID}(?:/{_ADAPTER})?)/")
"""Its folders, which some programs list as well."""

WEIGHTS, CONFIG = ".safetensors", "adapter_config.json"

ENTRIES = 10_000
"""Files in a pack at most."""

TEXT_BYTES = 64 * 10**6
"""Of one file of JSON at most: a model's answers to all of MMLU take a quarter of it."""

RUN_BYTES = 2 * TEXT_BYTES
"""Of all JSON of one run at most: once read, it takes several times as much memory."""

RATIO = 200
"""How far a file may swell when it is unpacked; what we write stays below half of it."""

SWELLS = 10**6
"""Bytes below which that does not matter."""

MOST_EVENTS = 300_000
"""Of one run."""

MODELS = 2
"""Models that a run can have scored: the original and the unlearned one."""

LATEST = 4_102_444_800.0
"""The end of the year 2099, in Unix seconds."""

Moment = Annotated[float, Field(ge=0, le=LATEST, allow_inf_nan=False)]


class PackError(ValueError):
    """A pack cannot be read, or a run in it cannot be taken in. The message says why."""


class Plain(BaseModel):
    """Base of what a pack's files hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Manifest(BaseModel):
    """The pack itself. What later formats add is for those who know them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    unlearnlab: Annotated[str, Field(max_length=40)]
    """Version of the program that wrote it."""
    runs: Annotated[
        tuple[Annotated[str, Field(pattern=f"^{RUN_ID}$")], ...],
        Field(min_length=1, max_length=ENTRIES),
    ]


class RunFile(Plain):
    """A run but for its events."""

    run: str
    name: Annotated[str, Field(max_length=1000)]
    created: Moment
    tags: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=100)] = ()
    repeats: Annotated[str, Field(pattern=f"^({RUN_ID})?$")] = ""
    spec: dict[str, Any]
    evidence: Annotated[
        Mapping[str, Annotated[str, Field(pattern="^[0-9a-f]{24}$")]], Field(max_length=MODELS)
    ] = {}
    """Digest of the evidence under each key, which names its file."""


class Line(Plain):
    """One event, and when it was."""

    at: Moment
    event: Event


class Adapter(BaseModel):
    """The part of peft's `adapter_config.json` that says where a low-rank adapter sits.

    peft imports what some other fields name, so they are never passed on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"]
    r: Annotated[int, Field(ge=1, le=65536)]
    lora_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Annotated[
        tuple[Annotated[str, Field(max_length=200)], ...], Field(min_length=1)
    ]
    layers_to_transform: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    fan_in_fan_out: bool = False
    bias: Literal["none"] = "none"
    inference_mode: bool = True


def digest_of(evidence: bytes) -> str:
    """Name evidence by its content."""
    return hashlib.sha256(evidence).hexdigest()[:24]
