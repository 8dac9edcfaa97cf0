"""The models that a spec can name, and their sizes, without loading them.

A form or a command line must refuse layer 31 of an 8-block model before a worker starts. So sizes
are read from each model's `config.json`, or stated here for the catalog's models on the hub.
"""

import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from unlearnlab.data.downloads import REPOSITORY_ID, has_token
from unlearnlab.data.files import EMBEDDED, home
from unlearnlab.models.checkpoints import (
    CheckpointError,
    Lacking,
    Pickled,
    architecture,
    check_tokenizer,
    has_chat_template,
    snapshot,
    tensors,
    tokenizer_snapshot,
)
from unlearnlab.models.families import Architecture

MODEL_NOTE = "unlearnlab.json"
"""File in a saved model that says what it was made from."""


def models_folder() -> Path:
    """Return the models folder: `UNLEARNLAB_MODELS`, else `models` in the home folder."""
    chosen = os.environ.get("UNLEARNLAB_MODELS")
    return Path(chosen).expanduser().absolute() if chosen else home() / "models"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a spec can name."""

    name: str
    title: str
    architecture: Architecture | None
    """Its sizes; None if they are unknown on this machine."""
    repository: str = ""
    """Id on the Hugging Face hub; empty for the embedded model and for a folder."""
    tokenizer: str = ""
    """Repository of its tokenizer, if the repository of the weights has none."""
    place: Path | None = None
    """Folder that the user named; None for models in their default place."""
    access: str = ""
    """Who grants access to it; empty if it is public."""
    made: Mapping[str, str] = field(default_factory=dict[str, str])
    """Origin of a model that a run saved: base `model`, `dataset`, `date` and more."""
    unknown_reason: str = ""
    """Why no such model is known; empty if it is."""

    @property
    def folder(self) -> Path:
        """Folder of its weights on this machine, or where the user can put a copy."""
        if self.place is not None:
            return self.place
        if not self.repository:
            return EMBEDDED / "original"
        own = models_folder() / self.name
        cached = None if (own / "config.json").is_file() else snapshot(self.repository)
        return cached or own

    @property
    def tokenizer_folder(self) -> Path:
        """Folder of its tokenizer on this machine; if there is none, the folder of the weights."""
        own = self.folder
        if not self.tokenizer or _problem(lambda: check_tokenizer(own)) is None:
            return own
        return tokenizer_snapshot(self.tokenizer) or own

    @property
    def chat_template(self) -> bool | None:
        """Whether its tokenizer has a chat template; None until the tokenizer is here."""
        return has_chat_template(self.tokenizer_folder)

    @property
    def to_download(self) -> tuple[tuple[str, bool], ...]:
        """Repositories that a run downloads first, and whether only their tokenizers."""
        if not self.repository or self.unknown_reason:
            return ()
        # Other programs may have cached everything but the safetensors.
        lacks_weights = not self._own and isinstance(self._weights_problem, (Lacking, Pickled))
        tokens = self.tokenizer_folder
        lacks_tokens = _problem(lambda: check_tokenizer(tokens)) is not None
        weights = ((self.repository, False),) if lacks_weights else ()
        if not lacks_tokens or (weights and not self.tokenizer):
            return weights
        return (*weights, (self.tokenizer or self.repository, True))

    @property
    def unavailable_reason(self) -> str:
        """Why it cannot run here and what to do; empty if it can, perhaps after a download."""
        if self.unknown_reason or not (self.repository or self.place):
            return self.unknown_reason
        fetches = self.to_download
        if any(not only_tokenizer for _, only_tokenizer in fetches):
            return "" if not self.access or has_token() else self.access_instructions
        problem = self._weights_problem
        if problem is None and not fetches:
            tokens = self.tokenizer_folder
            problem = _problem(lambda: check_tokenizer(tokens))
        if problem is not None:
            return str(problem)
        if self._own and self.architecture not in (None, architecture(self.folder)):
            return f"{self.folder} holds another model: the sizes in its config.json differ"
        return ""

    @property
    def access_instructions(self) -> str:
        """How to get access to it, and where a copy can go."""
        return (
            f"it is not on this machine, and {self.access}: ask them, then log in with "
            "`hf auth login` or set HF_TOKEN, and the run downloads it. A copy you have can go to "
            f"{self.folder}, or UNLEARNLAB_MODELS can name the folder that contains {self.name}."
        )

    @property
    def _own(self) -> bool:
        """Whether it lies in the models folder, not in the hub's cache."""
        return (models_folder() / self.name / "config.json").is_file()

    @property
    def _weights_problem(self) -> CheckpointError | None:
        folder = self.folder
        return _problem(lambda: architecture(folder), lambda: tensors(folder))


def _problem(*checks: Callable[[], object]) -> CheckpointError | None:
    """Return the first problem that the checks raise, if any."""
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
    """Return the catalog's models by name, the embedded one first."""
    olmo_1b = Architecture(16, 2048, 8192, 16, 50304, 4096, tied=False)
    olmo_7b = Architecture(32, 4096, 11008, 32, 50304, 4096, tied=False)
    base_1b, base_7b = "allenai/OLMo-1B-0724-hf", "allenai/OLMo-7B-0724-Instruct-hf"
    known = (
        ModelInfo("tiny-olmo", "tiny-olmo (embedded)", architecture(EMBEDDED / "original")),
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
    """Return the model that a spec names; an unknown one has an `unknown_reason`.

    Args:
        name: A name from the catalog or of a saved model, a folder's path, or an id on the hub.
    """
    if name in models():
        return models()[name]
    kept, folder = models_folder() / name, Path(name).expanduser()
    if name in saved_names():
        return ModelInfo(name, name, _sizes(kept), place=kept, made=_made(kept))
    if name and (folder / "config.json").is_file():
        return ModelInfo(name, folder.name, _sizes(folder), place=folder.absolute())
    if REPOSITORY_ID.fullmatch(name) and not folder.is_dir():
        cached = snapshot(name)
        return ModelInfo(name, name, cached and _sizes(cached), name)
    return ModelInfo(name, name, None, unknown_reason=_unknown(name, folder))


def _unknown(name: str, folder: Path) -> str:
    if not name.strip():
        return "no model is named: choose one from the list, or type a folder or a hub id"
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
    """List the models that can be named: the catalog's and the saved ones."""
    return list(dict.fromkeys([*models(), *saved_names()]))


def saved_names() -> list[str]:
    """List the models in the models folder that are not in the catalog."""
    found = (path.parent.name for path in sorted(models_folder().glob("*/config.json")))
    return [name for name in found if name not in models()]


def _made(folder: Path) -> Mapping[str, str]:
    """Read the note of the run that saved the model; empty if a run did not save it."""
    try:
        note = json.loads((folder / MODEL_NOTE).read_bytes())
        return {key: value for key, value in note.items() if isinstance(value, str)}
    except (OSError, ValueError, AttributeError):
        return {}


def save_name_problem(name: str) -> str:
    """Say why no model can be saved under a name, and what to do; empty if one can."""
    if name in models():
        return f"{name!r} is a model of the catalog: choose another name"
    if (place := models_folder() / name).exists():
        return f"a model called {name!r} is there already: choose another name, or delete {place}"
    return ""


def _sizes(folder: Path) -> Architecture | None:
    return _read_sizes(folder, (folder / "config.json").stat().st_mtime_ns)


@cache  # Unbounded: each run may save a model, and lists ask for all of them.
def _read_sizes(folder: Path, _changed: int) -> Architecture | None:
    try:
        return architecture(folder)
    except CheckpointError:
        return None
