"""Access to the Hugging Face hub, and downloads of datasets from it.

Everything goes through huggingface_hub and its cache, which other programs share. huggingface_hub
takes the token from HF_TOKEN or from `hf auth login`; nothing here reads or stores it. The hub is
contacted only to look up or download something by name: for all other work it is closed to every
library, see `unlearnlab/__init__.py`.
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
"""Pattern of a repository id on the hub."""

# HTTP errors of whichever library huggingface_hub is built on, and errors of sockets.
_NETWORK: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__, EntryNotFoundError)


LIBRARY: Any = huggingface_hub
"""Untyped: its signatures are too loose for a strict type check."""


class HubError(ValueError):
    """A request to the hub failed. The message says why and what to do."""


def has_token() -> bool:
    """Tell whether an access token is set."""
    return huggingface_hub.get_token() is not None


def cache_folder() -> Path:
    """Return the cache folder of huggingface_hub."""
    return Path(constants.HF_HUB_CACHE)


def fetch_dataset(repository: str, folder: Path, patterns: Sequence[str]) -> None:
    """Download the files of a dataset whose names match into a folder; existing files stay.

    Raises:
        HubError: There is no such dataset, no access to it, or no connection.
    """
    with asking(repository, "dataset"):
        LIBRARY.snapshot_download(
            repository, repo_type="dataset", local_dir=folder, allow_patterns=list(patterns)
        )


@contextmanager
def asking(repository: str, what: str = "model") -> Generator[None]:
    """Allow requests to the hub until the block ends, and turn failures into `HubError`."""
    if constants.HF_HUB_OFFLINE and not os.environ.get("UNLEARNLAB_MAY_ASK_HUB"):
        raise HubError(f"{what} {repository!r}: {_REASONS[OfflineModeIsEnabled]}")
    try:
        with _DOOR.opened():
            yield
    except (HFValidationError, *_NETWORK) as error:
        raise HubError(f"{what} {repository!r}: {_reason(error, what)}") from error


class _Door:
    """Allows requests to the hub while any thread is inside `asking`."""

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
    """Explain why a request for a model or a dataset failed, and what to do."""
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
        "its owners grant access on request, and this login has none: ask for it on the model's "
        "page, then log in with `hf auth login` or set HF_TOKEN"
    ),
    RepositoryNotFoundError: (
        "the hub has no such model, or it is private: check the spelling, and for a private one "
        "log in with `hf auth login` or set HF_TOKEN"
    ),
    OfflineModeIsEnabled: (
        "it is not on this machine, and HF_HUB_OFFLINE forbids downloading it: unset that, or name "
        "the folder of a copy"
    ),
    HFValidationError: "not the id of a model on the hub: write it as org/name",
}
