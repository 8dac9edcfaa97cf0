"""The models that can be named in a spec, and the sizes of models and data, without loading them.

A form or a command line must refuse layer 31 of an 8-block model before a worker starts, so the
sizes are read from each model's own `config.json`, or stated here for models that live on a hub.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import platformdirs

from unlearnlab.families import Architecture

ASSETS = Path(__file__).resolve().parent.parent / "assets"
"""Files that come with the program: presets, the embedded target, style and scripts."""

EMBEDDED = ASSETS / "tiny-olmo"
"""The embedded target: `original/`, `retrained/` and `data/`."""


def home(override: str | Path | None = None) -> Path:
    """Return the folder that holds the store.

    `override`, else `UNLEARNLAB_HOME`, else the user's data folder.
    """
    chosen = override or os.environ.get("UNLEARNLAB_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_data_path("unlearnlab", appauthor=False)


KEPT = "unlearnlab.json"
"""Where a kept model tells what it was made of."""


def models_folder() -> Path:
    """Return the folder of models: `UNLEARNLAB_MODELS`, else `models` in the home folder."""
    chosen = os.environ.get("UNLEARNLAB_MODELS")
    return Path(chosen).expanduser().absolute() if chosen else home() / "models"


@dataclass(frozen=True, slots=True)
class KnownModel:
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
    gone: str = ""
    """Why no such model is known; empty when it is."""

    @property
    def folder(self) -> Path:
        """Where its weights and tokenizer lie on this machine, or should."""
        if self.place is not None:
            return self.place
        return models_folder() / self.name if self.repository else EMBEDDED / "original"

    @property
    def missing(self) -> str:
        """Say why it cannot run here and what to do; empty when it can."""
        if self.gone or not self.repository:
            return self.gone
        if not (self.folder / "config.json").is_file():
            return f"it is not on this machine. {self.way_to_get_it}"
        if not any(self.folder.glob("*.safetensors")):
            return f"{self.folder} holds no weights as safetensors. {self.way_to_get_it}"
        if not (self.folder / "tokenizer_config.json").is_file():
            return f"{self.folder} holds no tokenizer: `{self._tokenizer_command}`"
        if not self._as_stated():
            return f"{self.folder} holds another model: its config.json has other sizes"
        return ""

    @property
    def way_to_get_it(self) -> str:
        """Say how to put it in its folder."""
        return (
            f"Run `hf download {self.repository} --local-dir {self.folder}` and "
            f"`{self._tokenizer_command}`. The organisers of SemEval-2025 Task 4 give access: log "
            "in with `hf auth login`, or set HF_TOKEN. A copy you have can go to the same folder, "
            f"or UNLEARNLAB_MODELS can name the folder in which {self.name} lies."
        )

    @property
    def _tokenizer_command(self) -> str:
        return f'hf download {self.tokenizer} --include "*token*" --local-dir {self.folder}'

    def _as_stated(self) -> bool:
        try:
            return Architecture.from_config(self.folder) == self.architecture
        except (OSError, ValueError, KeyError, TypeError):
            return False


@cache
def models() -> Mapping[str, KnownModel]:
    """Map each model's name to what is known of it, the embedded one first."""
    organisers = "llmunlearningsemeval2025organization"
    known = (
        KnownModel(
            "tiny-olmo", "tiny-olmo (embedded)", Architecture.from_config(EMBEDDED / "original")
        ),
        KnownModel(
            "olmo-1b",
            "OLMo 1B",
            Architecture(16, 2048, 8192, 16, 50304, 4096, tied=False),
            f"{organisers}/olmo-1B-model-semeval25-unlearning",
            "allenai/OLMo-1B-0724-hf",
        ),
        KnownModel(
            "olmo-7b",
            "OLMo 7B",
            Architecture(32, 4096, 11008, 32, 50304, 4096, tied=False),
            f"{organisers}/olmo-finetuned-semeval25-unlearning",
            "allenai/OLMo-7B-0724-Instruct-hf",
        ),
    )
    return {model.name: model for model in known}


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model(name: str) -> KnownModel:
    """Return the model that a spec names; one that is not known says so in `gone`.

    Args:
        name: A name of the catalogue or of a model kept in the folder of models, a folder's path,
            or the id of a model on the hub.
    """
    if name in models():
        return models()[name]
    kept = models_folder() / name
    for folder in (kept, Path(name).expanduser()):
        if name and (folder / "config.json").is_file():
            title = name if folder == kept else folder.name
            return KnownModel(name, title, _sizes(folder), place=folder.absolute())
    near = ", ".join(difflib.get_close_matches(name, names(), n=3) or names())
    return KnownModel(name, name, None, gone=f"unknown model {name!r}: did you mean {near}?")


def names() -> list[str]:
    """List the models that can be named: those of the catalogue, and those that were kept."""
    kept = (path.parent.name for path in sorted(models_folder().glob("*/config.json")))
    return list(dict.fromkeys([*models(), *kept]))


def keeping_problem(name: str) -> str:
    """Say why no model can be kept under a name, and what to do; empty when one can."""
    if name in models():
        return f"{name!r} is a model of the catalogue: choose another name"
    if (models_folder() / name).exists():
        return f"a model called {name!r} is there already: choose another name, or delete it"
    return ""


def _sizes(folder: Path) -> Architecture | None:
    return _read_sizes(folder, (folder / "config.json").stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read_sizes(folder: Path, _changed: int) -> Architecture | None:
    try:
        return Architecture.from_config(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
