"""The Hugging Face hub: how it is asked, and datasets from it.

Everything goes through huggingface_hub and its cache, which other programs share. The token is
its business: it takes it from HF_TOKEN or from `hf auth login`, and nothing here reads or keeps it.
Nothing is asked of the hub unless something is looked up or fetched by name: for all other work it
is closed to every library, see `unlearnlab/__init__.py`.
"""

import os
import re
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""How the name of a model on the hub is written."""

# HTTP errors of the library that huggingface_hub happens to be built on, and those of sockets.
_NETWORK: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__, EntryNotFoundError)


LIBRARY: Any = huggingface_hub
"""Its signatures are too loose for a strict check of types."""


class HubError(ValueError):
    """The hub did not give what was asked for. The message says why, and what to do."""


def has_token() -> bool:
    """Tell whether there is a token to ask with."""
    return huggingface_hub.get_token() is not None


def cache_folder() -> Path:
    """Return where huggingface_hub keeps what it fetched."""
    return Path(constants.HF_HUB_CACHE)


def fetch_dataset(repository: str, folder: Path, patterns: Sequence[str]) -> None:
    """Fetch the files of a dataset whose names match into a folder; those that are there stay.

    Raises:
        HubError: There is no such dataset, no access to it, or no connection.
    """
    with asking(repository, "dataset"):
        LIBRARY.snapshot_download(
            repository, repo_type="dataset", local_dir=folder, allow_patterns=list(patterns)
        )


@contextmanager
def asking(repository: str, what: str = "model") -> Generator[None]:
    """Open the hub until the block ends, and tell what it does not give in a sentence."""
    if constants.HF_HUB_OFFLINE and not os.environ.get("UNLEARNLAB_MAY_ASK_HUB"):
        raise HubError(f"{what} {repository!r}: {_REASONS[OfflineModeIsEnabled]}")
    try:
        with _DOOR.opened():
            yield
    except (HFValidationError, *_NETWORK) as error:
        raise HubError(f"{what} {repository!r}: {_reason(error, what)}") from error


class _Door:
    """Lets requests to the hub through while anybody asks it for something by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._closed = False

    @contextmanager
    def opened(self) -> Generator[None]:
        how: Any = constants
        with self._lock:
            if not self._asking:
                self._closed, how.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    how.HF_HUB_OFFLINE = self._closed


_DOOR = _Door()


def _reason(error: Exception, what: str) -> str:
    """Say why the hub did not give a model or a dataset, and what to do."""
    chain = list(_causes(error))
    for kind, reason in _REASONS.items():
        if any(isinstance(one, kind) for one in chain):
            return reason.replace("model", what)
    status = next((s for s in map(_status, chain) if s is not None), None)
    if status in (401, 403):
        return _REASONS[GatedRepoError].replace("model", what)
    if status is not None:
        return f"the hub answered with status {status}: try again later"
    if isinstance(error, OSError) and error.errno:
        return f"{cache_folder()} cannot be written: {error.strerror}"
    return (
        "the hub cannot be reached: check the connection, or name the folder of a copy on this "
        f"machine ({type(chain[-1]).__name__})"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


_REASONS: Mapping[type[BaseException], str] = {
    GatedRepoError: (
        "its owners grant access by name, and this login has none: ask for it on the model's page, "
        "then log in with `hf auth login` or set HF_TOKEN"
    ),
    RepositoryNotFoundError: (
        "the hub has no such model, or it is private: check the spelling, and for a private one "
        "log in with `hf auth login` or set HF_TOKEN"
    ),
    OfflineModeIsEnabled: (
        "it is not on this machine, and HF_HUB_OFFLINE forbids to fetch it: unset that, or name "
        "the folder of a copy"
    ),
    HFValidationError: "this is not the id of a model on the hub, which is written org/name",
}
