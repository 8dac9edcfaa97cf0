"""Models on the Hugging Face hub: which are cached here, and how a run downloads them."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError

from unlearnlab.data.background import Amount, Report, carried_out
from unlearnlab.data.files import check_room
from unlearnlab.data.hub import LIBRARY, HubError, asking, cache_folder
from unlearnlab.models.checkpoints import BESIDE_TOKENS, TOKENIZERS, WEIGHTS, no_weights

LOOK_UP_S = 5.0
"""Longest wait of the page for the hub, in seconds."""

LISTING_S = 15.0
"""Longest wait of a run for a model's file list, in seconds."""

MEGA = 10**6


@dataclass(frozen=True, slots=True)
class File:
    """One file of a repository that a model needs."""

    name: str
    size: int
    """Bytes."""
    cached: bool
    """Whether this version is on this machine."""


def snapshot(repository: str) -> Path | None:
    """Return the cache folder with a model's `config.json`, without a request to the hub."""
    try:
        found = huggingface_hub.try_to_load_from_cache(repository, "config.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def tokenizer_snapshot(repository: str) -> Path | None:
    """Return the cache folder with a model's tokenizer, without a request to the hub."""
    cached = (huggingface_hub.try_to_load_from_cache(repository, name) for name in TOKENIZERS)
    return next((Path(found).parent for found in cached if isinstance(found, str)), None)


def needed(names: Sequence[str], *, only_tokenizer: bool) -> list[str]:
    """Select the files of a repository that are opened: safetensors, JSON, tokenizer files."""

    def opened(name: str) -> bool:
        if only_tokenizer or name in (*TOKENIZERS, *BESIDE_TOKENS):
            return name in (*TOKENIZERS, *BESIDE_TOKENS)
        return "/" not in name and bool(WEIGHTS.fullmatch(name) or name.endswith(".json"))

    return [name for name in names if opened(name)]


def look_up(repository: str) -> int:
    """Download a model's `config.json`, which gives its sizes, and measure its files.

    Returns:
        Bytes of all files that a run needs.

    Raises:
        HubError: There is no such model, or the hub cannot be reached.
    """
    with asking(repository):
        listed = files_of(repository, timeout_s=LOOK_UP_S)
        LIBRARY.hf_hub_download(repository, "config.json", etag_timeout=LOOK_UP_S)
    _LOOKED_UP[repository] = sum(file.size for file in listed)
    return _LOOKED_UP[repository]


_LOOKED_UP: dict[str, int] = {}
"""Bytes by repository, until the program ends."""


def looked_up(repository: str) -> int | None:
    """Return the bytes that `look_up` measured; None before that."""
    return _LOOKED_UP.get(repository)


def files_of(
    repository: str, *, only_tokenizer: bool = False, timeout_s: float = LISTING_S
) -> list[File]:
    """List the files of a repository that a run needs.

    Raises:
        CheckpointError: It has no safetensors weights.
        HubError: There is no such model, or the hub cannot be reached.
    """
    with asking(repository):
        info = huggingface_hub.HfApi().model_info(
            repository, files_metadata=True, timeout=timeout_s
        )
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    wanted = needed(list(sizes), only_tokenizer=only_tokenizer)
    if not only_tokenizer and not any(WEIGHTS.fullmatch(name) for name in wanted):
        raise no_weights(repository, sizes)
    if not only_tokenizer and "config.json" not in sizes:
        raise HubError(f"model {repository!r}: it has no config.json: name a full model")

    def cached(name: str) -> bool:
        found = huggingface_hub.try_to_load_from_cache(repository, name, revision=info.sha)
        return isinstance(found, str)

    return [File(name, sizes[name], cached(name)) for name in wanted]


def fetch(repository: str, *, only_tokenizer: bool = False) -> Generator[Amount | None, None, None]:
    """Download a model into the cache, yielding megabytes done and in total, and None in between.

    Cached files stay. Closing the generator stops at the next chunk of a file, and leaves no
    partial file behind.

    Raises:
        CheckpointError: It holds no weights as safetensors.
        HubError: There is no such model, no access to it, or no connection.
        NoRoom: The disk has too little free space.
    """
    work = partial(_fetch, repository, only_tokenizer=only_tokenizer)
    yield from carried_out(work)


def _fetch(repository: str, report: Report, *, only_tokenizer: bool) -> None:
    # A callback cannot stop xet transfers, but HTTP transfers, and soon if chunks are small.
    how: Any = constants
    how.HF_HUB_DISABLE_XET, how.DOWNLOAD_CHUNK_SIZE = True, MEGA
    listed = files_of(repository, only_tokenizer=only_tokenizer)
    lacking = [file for file in listed if not file.cached]
    total = sum(file.size for file in lacking)
    check_room(cache_folder(), total)
    done = 0
    for file in lacking:
        before = done

        def tell(more: int, before: int = before) -> None:
            report((before + more) // MEGA, max(1, -(-total // MEGA)))

        tell(0)
        with asking(repository):
            LIBRARY.hf_hub_download(repository, file.name, tqdm_class=_counter(tell))
        done += file.size


def _counter(tell: Callable[[int], None]) -> Any:
    """Make a class that huggingface_hub uses as a progress bar, and that counts bytes."""

    class Counter:
        def __init__(self, *, initial: int = 0, **_drawn: Any) -> None:
            self.n = initial

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            self.close()

        def update(self, n: float | None = 1) -> None:
            self.n += int(n or 0)
            tell(self.n)

        def close(self) -> None:
            """Do nothing: nothing was drawn."""

    return Counter
