"""The models that a spec can name, and their sizes, without loading them.

A form or a command line must refuse layer 31 of an 8-block model before a worker starts. So sizes
are read from each model's `config.json`, or stated here for the catalog's models on the hub.
"""

import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from unlearnlab.data.downloads import REPOSITORY_ID, has_token
from unlearnlab.data.files import (
    EMBEDDED,
    TEXT_LIMIT,
    expanded,
    home,
    path_refused,
    read_regular,
)
from unlearnlab.models import adapters, formats
from unlearnlab.models.checkpoints import (
    CheckpointError,
    Lacking,
    Pickled,
    architecture,
    check_head,
    check_tokenizer,
    check_vocabulary,
    embedding_rows,
    has_chat_template,
    has_own_head,
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
    return expanded(Path(chosen)).absolute() if chosen else home() / "models"


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
    licence: str = ""
    """Licence of its weights; empty where it is not known here."""
    adapter: Path | None = None
    """Folder of an adapter that is merged into `base` when it is loaded."""
    base: "ModelInfo | None" = None
    """The model that the adapter was trained on."""
    made: Mapping[str, str] = field(default_factory=dict[str, str])
    """Origin of a model that a run saved: base `model`, `dataset`, `date` and more."""
    unknown_reason: str = ""
    """Why no such model is known; empty if it is."""

    @property
    def folder(self) -> Path:
        """Folder of its weights on this machine, or where the user can put a copy.

        Those of an adapter's base, if it is an adapter.
        """
        if self.base is not None:
            return self.base.folder
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
        if self.base is not None and self.adapter is not None:
            lacks = isinstance(_problem(partial(check_tokenizer, self.adapter)), Lacking)
            return self.base.tokenizer_folder if lacks else self.adapter
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
        if self.base is not None:
            return self.base.to_download
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
        if self.base is not None:
            return self._adapter_problem(self.base)
        if self.unknown_reason or not (self.repository or self.place):
            return self.unknown_reason
        fetches = self.to_download
        if any(not only_tokenizer for _, only_tokenizer in fetches):
            return "" if not self.access or has_token() else self.access_instructions
        problem = self._weights_problem
        if problem is None and not fetches:
            problem = self._tokenizer_problem
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
    def notes(self) -> tuple[str, ...]:
        """What its files bring along that a user would not expect, in sentences."""
        found: list[str] = []
        if self.base is not None and self.adapter is not None:
            kind = adapters.read_adapter(self.adapter).title
            found.append(
                f"An adapter ({kind}) on {self.base.title}: it is merged into the weights when "
                "they are loaded."
            )
        if has_own_head(self.folder):
            found.append(
                "Its weights hold a head of their own, though its config says that the head is "
                "the embeddings (tie_word_embeddings): the head in the file is used."
            )
        return tuple(found)

    def _adapter_problem(self, base: "ModelInfo") -> str:
        """Say why an adapter cannot be merged into its base; empty if it can."""
        assert self.adapter is not None, "a base has an adapter"
        if problem := _problem(partial(adapters.check_adapter, self.adapter)):
            return str(problem)
        if reason := base.unknown_reason or base.unavailable_reason:
            return f"{self.adapter} is an adapter for {base.title}, which cannot be used: {reason}"
        problem = None if self.to_download else self._tokenizer_problem
        return str(problem or "")

    @property
    def _own(self) -> bool:
        """Whether it lies in the models folder, not in the hub's cache."""
        return (models_folder() / self.name / "config.json").is_file()

    @property
    def _weights_problem(self) -> CheckpointError | None:
        folder = self.folder
        return _problem(
            partial(architecture, folder), partial(tensors, folder), partial(check_head, folder)
        )

    @property
    def _tokenizer_problem(self) -> CheckpointError | None:
        tokens, rows = self.tokenizer_folder, embedding_rows(self.folder)
        if self.adapter is not None and rows is not None:
            rows = max(rows, adapters.embedding_rows(self.adapter))
        checks: list[Callable[[], object]] = [partial(check_tokenizer, tokens)]
        if rows is not None:
            checks.append(partial(check_vocabulary, tokens, rows))
        return _problem(*checks)


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


def _public(
    repository: str, title: str, sizes: Architecture | None, licence: str, access: str = ""
) -> ModelInfo:
    return ModelInfo(repository, title, sizes, repository, licence=licence, access=access)


_SMOLLM2 = Architecture(30, 576, 1536, 9, 49152, 8192, True, "llama", key_heads=3)

APACHE, LLAMA = "Apache 2.0", "Llama 3.2 Community License"

SMALL_MODELS = (
    _public("HuggingFaceTB/SmolLM2-135M", "SmolLM2 135M", _SMOLLM2, APACHE),
    _public("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2 135M Instruct", _SMOLLM2, APACHE),
    _public(
        "EleutherAI/pythia-160m",
        "Pythia 160M",
        Architecture(
            *(12, 768, 3072, 12, 50304, 2048, False, "gpt_neox"),
            biases=frozenset({"attention_bias"}),
        ),
        APACHE,
    ),
    _public(
        "Qwen/Qwen3-0.6B",
        "Qwen3 0.6B",
        Architecture(
            *(28, 1024, 3072, 16, 151936, 40960, True, "qwen3"), key_heads=8, head_width=128
        ),
        APACHE,
    ),
    _public(
        "meta-llama/Llama-3.2-1B",
        "Llama 3.2 1B",
        Architecture(16, 2048, 8192, 32, 128256, 131072, True, "llama", key_heads=8),
        LLAMA,
        "Meta grants access to it on the model's page under its licence",
    ),
    _public("allenai/OLMo-2-0425-1B", "OLMo 2 1B", None, APACHE),
)
"""Pretrained models that a laptop or a small GPU can train, smallest first."""


@cache
def models() -> Mapping[str, ModelInfo]:
    """Return the catalog's models by name, the embedded one first."""
    olmo_1b = Architecture(16, 2048, 8192, 16, 50304, 4096, tied=False)
    olmo_7b = Architecture(32, 4096, 11008, 32, 50304, 4096, tied=False)
    base_1b, base_7b = "allenai/OLMo-1B-0724-hf", "allenai/OLMo-7B-0724-Instruct-hf"
    known = (
        ModelInfo("tiny-olmo", "tiny-olmo (embedded)", architecture(EMBEDDED / "original")),
        *SMALL_MODELS,
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
    if known := models().get(name):
        cached = known.architecture is None and snapshot(known.repository)
        return replace(known, architecture=_sizes(cached)) if cached else known
    if name in saved_names():
        return _in_folder(name, models_folder() / name, title=name)
    if not name.strip():
        told = "no model is named: choose one from the list, or type a folder or a hub id"
        return ModelInfo(name, name, None, unknown_reason=told)
    # What exists is never looked for on the hub, whatever it is called.
    is_path = formats.is_path(name)
    if not is_path and REPOSITORY_ID.fullmatch(name):
        cached = snapshot(name)
        return ModelInfo(name, name, cached and _sizes(cached), name)
    if is_path and (reason := path_refused(name)):
        return ModelInfo(name, name, None, unknown_reason=reason)
    return _named_by_path(name)


def _named_by_path(name: str) -> ModelInfo:
    folder = expanded(Path(name))
    if reason := _unknown(name, folder):
        return ModelInfo(name, name, None, unknown_reason=reason)
    return _in_folder(name, folder.absolute(), title=folder.absolute().name)


def _in_folder(name: str, folder: Path, *, title: str) -> ModelInfo:
    """Return the model in a folder: a whole one, or an adapter on a base."""
    made = _made(folder)
    if not adapters.is_adapter(folder):
        return ModelInfo(name, title, _sizes(folder), place=folder, made=made)
    try:
        named = adapters.read_adapter(folder).base
    except CheckpointError as error:
        return ModelInfo(name, title, None, place=folder, unknown_reason=str(error))
    base = _base(folder, named)
    sizes = base.architecture
    return ModelInfo(name, title, sizes, place=folder, made=made, adapter=folder, base=base)


def _base(folder: Path, named: str) -> ModelInfo:
    """Find the base of the adapter in `folder` by what its config calls it.

    That is a path from the adapter's folder or from here, a name of this program, or a hub id.
    """
    for place in (folder / named, Path(named)):
        if formats.path_problem(place):
            continue
        if place.is_dir() and adapters.is_adapter(place):
            told = "that is an adapter itself: merge it into its own base first"
            return ModelInfo(named, named, None, unknown_reason=told)
        return replace(_named_by_path(str(place.resolve())), title=place.resolve().name)
    for one in models().values():  # Earlier exports named the base as the page does.
        if named in (one.title, one.repository, f"{one.title} ({one.repository})"):
            return one
    if named in saved_names() or not (Path(named).is_absolute() or formats.WINDOWS.match(named)):
        found = model(named)
        if found.base is None and not found.unknown_reason:
            return found
    return ModelInfo(
        named,
        named,
        None,
        unknown_reason=(
            "it is not on this machine: write the folder of the base, or its id on the hub, as "
            f"base_model_name_or_path into {folder / adapters.CONFIG}, or merge the adapter where "
            "its base is"
        ),
    )


def _unknown(name: str, folder: Path) -> str:
    """Say why a name that is no id on the hub is no model's either; empty if it is a folder's."""
    if "://" in name:
        return f"{name!r} is an address: a model on the hub is written org/name"
    problem = formats.path_problem(folder)
    if not problem and folder.is_dir():
        whole = os.path.exists(folder / "config.json") or adapters.is_adapter(folder)
        return "" if whole else formats.folder_problem(folder)
    if not problem:
        return formats.file_problem(folder)
    if formats.is_path(name) or len(folder.parts) > 1:
        if problem == formats.NOT_THERE:
            return f"there is no folder {folder}: check the path"
        return f"{folder if name.isprintable() else repr(name)} {problem}"
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
    folder = models_folder()
    found = {path.parent for path in folder.glob("*/config.json")}
    beside = {path.parent for path in folder.glob(f"*/{adapters.CONFIG}")}
    found |= set(filter(adapters.is_adapter, beside))
    return [name for name in sorted(path.name for path in found) if name not in models()]


def _made(folder: Path) -> Mapping[str, str]:
    """Read the note of the run that saved the model; empty if a run did not save it."""
    try:
        note = json.loads(read_regular(folder / MODEL_NOTE, TEXT_LIMIT))
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
