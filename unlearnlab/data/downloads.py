"""Downloads, made only on request: from the Hugging Face hub, and the files of LUME.

Everything from the hub goes through huggingface_hub and its cache, which other programs share.
huggingface_hub takes the token from HF_TOKEN or from `hf auth login`; nothing here reads or stores
it. The hub is contacted only to look up or download something by name: for all other work it is
closed to every library, see `unlearnlab/__init__.py`.

LUME and the task's data are kept under `downloads` in the home folder and not downloaded again.
"""

import hashlib
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
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

from unlearnlab.data.checks import SourceError
from unlearnlab.data.files import home

REPOSITORY_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
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
        with _OFFLINE_MODE.lifted():
            yield
    except (HFValidationError, *_NETWORK) as error:
        raise HubError(f"{what} {repository!r}: {_reason(error, what)}") from error


class _OfflineMode:
    """Lifts huggingface_hub's offline mode while any thread is inside `asking`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._offline = False

    @contextmanager
    def lifted(self) -> Generator[None]:
        how: Any = constants
        with self._lock:
            if not self._asking:
                self._offline, how.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    how.HF_HUB_OFFLINE = self._offline


_OFFLINE_MODE = _OfflineMode()


def _reason(error: Exception, what: str) -> str:
    """Explain why a request for a model or a dataset failed, and what to do."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    for kind, reason in _REASONS.items():
        if any(isinstance(one, kind) for one in chain):
            return reason.replace("model", what)
    responses = (getattr(one, "response", None) for one in chain)
    codes = (getattr(response, "status_code", None) for response in responses)
    status = next((code for code in codes if code is not None), None)
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


# LUME and the task's data

LUME, SEMEVAL = "LUME", "SemEval-2025 Task 4"

LUME_COMMIT = "b2fa8f9c567715f1e2c6d442213f33b2e9a28fe6"

LUME_ADDRESS = (
    f"https://raw.githubusercontent.com/amazon-science/lume-llm-unlearning/{LUME_COMMIT}/data/"
)

LUME_FILES: Mapping[str, str] = {
    "forget.jsonl": "3a74f30223c35b173664dfea5b1c5939587f1eac868a9764891f30c2c317c381",
    "retain.jsonl": "ec8826a91d9fb9e5a50ba732549e8eff75fc99c2f67d6873d1ea36fd403a003d",
}
"""SHA-256 of each file at that commit."""

SEMEVAL_REPOSITORY = "llmunlearningsemeval2025organization/semeval25-unlearning-dataset-public"
"""Dataset on the Hugging Face hub; the organisers give a token on registration."""

COMPLETE = ".complete"
"""Marks a folder into which all files of a repository were downloaded."""

TIMEOUT_S = 20.0
"""Longest silence of the network, in seconds."""

CHUNK = 1 << 16

Progress = Callable[[str, int, int], None]
"""Receives a file's name, the bytes downloaded so far and the total (0: unknown)."""


def is_lume(files: Mapping[str, Path]) -> bool:
    """Tell whether files, by name, are the published files of LUME."""
    return files.keys() == LUME_FILES.keys() and all(
        _digest(path) == LUME_FILES[name] for name, path in files.items()
    )


def fetch_lume(progress: Progress | None = None, *, address: str = LUME_ADDRESS) -> Path:
    """Return the folder of LUME's two files, downloaded if they are not there yet.

    Raises:
        SourceError: The address cannot be reached, or the download is not the published file.
    """
    folder = home() / "downloads" / "lume"
    for name, digest in LUME_FILES.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            _fetch(address + name, folder / name, digest, progress)
    return folder


def _fetch(address: str, path: Path, digest: str, progress: Progress | None) -> None:
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer,
            partial.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                if progress:
                    progress(path.name, file.tell(), total)
        if _digest(partial) != digest:
            raise SourceError(
                f"{path.name}: the download is not the published file: try again, or give the "
                "folder of a copy"
            )
        os.replace(partial, path)
    except urllib.error.HTTPError as error:
        raise SourceError(
            f"{path.name}: {address} answered {error.code}: download it by hand and give its folder"
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise SourceError(
            f"{path.name}: no answer from {address}: check the network, or download it on another "
            "machine and give its folder"
        ) from error
    except OSError as error:
        raise SourceError(f"{path.name}: cannot be saved: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def fetch_semeval(repository: str = SEMEVAL_REPOSITORY) -> Path:
    """Return the folder of the task's data, downloaded from the hub if they are not there yet.

    Raises:
        SourceError: The hub cannot be reached, or denies access.
    """
    folder = home() / "downloads" / repository.replace("/", "--")
    if (folder / COMPLETE).exists():
        return folder
    try:
        fetch_dataset(repository, folder, ("*.parquet", "*.jsonl"))
        (folder / COMPLETE).touch()
    except HubError as error:
        how = "; the task's organisers give a token on registration"
        raise SourceError(f"{error}{how if repository == SEMEVAL_REPOSITORY else ''}") from error
    except OSError as error:
        raise SourceError(f"{repository}: cannot be saved: {error.strerror}") from error
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
