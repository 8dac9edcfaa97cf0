"""The models that can be named in a spec, and the sizes of models and data, without loading them.

A form or a command line must refuse layer 31 of an 8-block model before a worker starts, so the
sizes are read from each model's own `config.json`, or stated here for models that live on a hub.
"""

import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from unlearnlab.data import hub
from unlearnlab.data.files import EMBEDDED, home
from unlearnlab.models import hub as hub_models
from unlearnlab.models.checkpoints import (
    CheckpointError,
    Lacking,
    Pickled,
    architecture,
    check_tokenizer,
    tensors,
)
from unlearnlab.models.families import Architecture

MODEL_NOTE = "unlearnlab.json"
"""Where a kept model tells what it was made of."""


def models_folder() -> Path:
    """Return the folder of models: `UNLEARNLAB_MODELS`, else `models` in the home folder."""
    chosen = os.environ.get("UNLEARNLAB_MODELS")
    return Path(chosen).expanduser().absolute() if chosen else home() / "models"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a spec can name."""

    name: str
    title: str
    architecture: Architecture | None
    """None where its sizes are not known on this machine."""
    repository: str = ""
    """On the Hugging Face hub; empty for the embedded one and for a folder."""
    tokenizer: str = ""
    """Repository of its tokenizer, which that of the weights does not hold."""
    place: Path | None = None
    """A folder of the user's; none for models that have their usual place."""
    access: str = ""
    """Who gives access to it; empty where everybody has it."""
    made: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of a model that a run kept: its base `model`, the `dataset`, the `date` and more."""
    unknown_reason: str = ""
    """Why no such model is known; empty when it is."""

    @property
    def folder(self) -> Path:
        """Where its weights lie on this machine, or a copy of the user's should."""
        if self.place is not None:
            return self.place
        if not self.repository:
            return EMBEDDED / "original"
        own = models_folder() / self.name
        cached = None if (own / "config.json").is_file() else hub_models.snapshot(self.repository)
        return cached or own

    @property
    def tokenizer_folder(self) -> Path:
        """Where its tokenizer lies on this machine; the folder of the weights, if nowhere."""
        own = self.folder
        if not self.tokenizer or _problem(lambda: check_tokenizer(own)) is None:
            return own
        return hub_models.tokenizer_snapshot(self.tokenizer) or own

    @property
    def to_download(self) -> tuple[tuple[str, bool], ...]:
        """List what a run fetches first: repositories, and whether only their tokenizers."""
        if not self.repository or self.unknown_reason:
            return ()
        # What other programs left in the cache may be all but the safetensors.
        lacks_weights = not self._own and isinstance(self._weights_problem, (Lacking, Pickled))
        tokens = self.tokenizer_folder
        lacks_tokens = _problem(lambda: check_tokenizer(tokens)) is not None
        weights = ((self.repository, False),) if lacks_weights else ()
        if not lacks_tokens or (weights and not self.tokenizer):
            return weights
        return (*weights, (self.tokenizer or self.repository, True))

    @property
    def unavailable_reason(self) -> str:
        """Say why it cannot run here and what to do; empty when it can, if need be fetched."""
        if self.unknown_reason or not (self.repository or self.place):
            return self.unknown_reason
        fetches = self.to_download
        if any(not only_tokenizer for _, only_tokenizer in fetches):
            return "" if not self.access or hub.has_token() else self.access_instructions
        problem = self._weights_problem
        if problem is None and not fetches:
            tokens = self.tokenizer_folder
            problem = _problem(lambda: check_tokenizer(tokens))
        if problem is not None:
            return str(problem)
        if self._own and not self._as_stated:
            return f"{self.folder} holds another model: its config.json has other sizes"
        return ""

    @property
    def access_instructions(self) -> str:
        """Say how to get access to it, and where a copy can go."""
        return (
            f"it is not on this machine, and {self.access}: ask them, then log in with "
            "`hf auth login` or set HF_TOKEN, and the run fetches it. A copy you have can go to "
            f"{self.folder}, or UNLEARNLAB_MODELS can name the folder in which {self.name} lies."
        )

    @property
    def _own(self) -> bool:
        """Whether it lies in a folder that is the user's to fill, not the hub's."""
        return (models_folder() / self.name / "config.json").is_file()

    @property
    def _weights_problem(self) -> CheckpointError | None:
        folder = self.folder
        return _problem(lambda: architecture(folder), lambda: tensors(folder))

    @property
    def _as_stated(self) -> bool:
        return self.architecture in (None, architecture(self.folder))


def _problem(*checks: Callable[[], object]) -> CheckpointError | None:
    """Return the first problem that checks of a folder find."""
    try:
        for check in checks:
            check()
    except CheckpointError as error:
        return error
    return None


ORGANISERS = "llmunlearningsemeval2025organization"

GIVEN = "the organisers of SemEval-2025 Task 4 give access to it"


@cache
def models() -> Mapping[str, ModelInfo]:
    """Map each model's name to what is known of it, the embedded one first."""
    olmo_1b = Architecture(16, 2048, 8192, 16, 50304, 4096, tied=False)
    olmo_7b = Architecture(32, 4096, 11008, 32, 50304, 4096, tied=False)
    base_1b, base_7b = "allenai/OLMo-1B-0724-hf", "allenai/OLMo-7B-0724-Instruct-hf"
    known = (
        ModelInfo(
            "tiny-olmo", "tiny-olmo (embedded)", Architecture.from_config(EMBEDDED / "original")
        ),
        ModelInfo(
            "olmo-1b",
            "OLMo 1B",
            olmo_1b,
            f"{ORGANISERS}/olmo-1B-model-semeval25-unlearning",
            base_1b,
            access=GIVEN,
        ),
        ModelInfo(
            "olmo-7b",
            "OLMo 7B",
            olmo_7b,
            f"{ORGANISERS}/olmo-finetuned-semeval25-unlearning",
            base_7b,
            access=GIVEN,
        ),
        ModelInfo(base_1b, "OLMo 1B base", olmo_1b, base_1b),
        ModelInfo(base_7b, "OLMo 7B Instruct base", olmo_7b, base_7b),
    )
    return {model.name: model for model in known}


def model(name: str) -> ModelInfo:
    """Return the model that a spec names; one that is not known says so in `unknown_reason`.

    Args:
        name: A name of the catalogue or of a model kept in the folder of models, a folder's path,
            or the id of a model on the hub.
    """
    if name in models():
        return models()[name]
    kept, folder = models_folder() / name, Path(name).expanduser()
    if name in saved_names():
        return ModelInfo(name, name, _sizes(kept), place=kept, made=_made(kept))
    if name and (folder / "config.json").is_file():
        return ModelInfo(name, folder.name, _sizes(folder), place=folder.absolute())
    if hub.ID.fullmatch(name) and not folder.is_dir():
        cached = hub_models.snapshot(name)
        return ModelInfo(name, name, cached and _sizes(cached), name)
    return ModelInfo(name, name, None, unknown_reason=_unknown(name, folder))


def _unknown(name: str, folder: Path) -> str:
    if not name.strip():
        return "no model is named: take one of the list, or type a folder or a hub id"
    if "://" in name:
        return f"{name!r} is an address: a model on the hub is written org/name"
    if folder.is_dir():
        return f"{folder} holds no config.json: name the folder that a model was saved in"
    if folder.is_file():
        return f"{folder} is a file: name the folder that it lies in"
    if len(folder.parts) > 1:
        return f"there is no folder {folder}: check the path"
    near = ", ".join(difflib.get_close_matches(name, names(), n=3) or names())
    return (
        f"unknown model {name!r}: did you mean {near}? A model on the hub is written org/name, one "
        "on this machine as its folder's path"
    )


def names() -> list[str]:
    """List the models that can be named: those of the catalogue, and those that were kept."""
    return list(dict.fromkeys([*models(), *saved_names()]))


def saved_names() -> list[str]:
    """List the models that lie in the folder of models and are none of the catalogue's."""
    found = (path.parent.name for path in sorted(models_folder().glob("*/config.json")))
    return [name for name in found if name not in models()]


def _made(folder: Path) -> Mapping[str, str]:
    """Read what a run noted of the model that it kept; nothing of one that came otherwise."""
    try:
        noted = json.loads((folder / MODEL_NOTE).read_bytes())
        return {key: value for key, value in noted.items() if isinstance(value, str)}
    except (OSError, ValueError, AttributeError):
        return {}


def save_name_problem(name: str) -> str:
    """Say why no model can be kept under a name, and what to do; empty when one can."""
    if name in models():
        return f"{name!r} is a model of the catalogue: choose another name"
    if (place := models_folder() / name).exists():
        return f"a model called {name!r} is there already: choose another name, or delete {place}"
    return ""


def _sizes(folder: Path) -> Architecture | None:
    return _read_sizes(folder, (folder / "config.json").stat().st_mtime_ns)


@cache  # Not the last few: each run may keep a model, and lists ask for those of all runs.
def _read_sizes(folder: Path, _changed: int) -> Architecture | None:
    try:
        return architecture(folder)
    except CheckpointError:
        return None
