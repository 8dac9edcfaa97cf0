"""Downloads of LUME and the task's data, made only on request.

Files are kept under `downloads` in the home folder and not downloaded again.
"""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from unlearnlab.data import hub
from unlearnlab.data.adding.checks import SourceError
from unlearnlab.data.files import home

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
        hub.fetch_dataset(repository, folder, ("*.parquet", "*.jsonl"))
        (folder / COMPLETE).touch()
    except hub.HubError as error:
        how = "; the task's organisers give a token on registration"
        raise SourceError(f"{error}{how if repository == SEMEVAL_REPOSITORY else ''}") from error
    except OSError as error:
        raise SourceError(f"{repository}: cannot be saved: {error.strerror}") from error
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
