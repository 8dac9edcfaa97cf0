"""What is fetched from its published address, and only when asked for: LUME and the task's data.

What was fetched is kept under `downloads` in the home folder and not fetched again.
"""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from unlearnlab.data import hub
from unlearnlab.data.adding.files import SourceError
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
"""On the Hugging Face hub, with a token that the organisers give on registration."""

COMPLETE = ".complete"
"""File that says that all of a repository has come."""

TIMEOUT_S = 20.0
"""How long the network may be silent."""

CHUNK = 1 << 16

Told = Callable[[str, int, int], None]
"""Is told a file's name, the bytes that have come, and the bytes it has (0: unknown)."""


def is_lume(files: Mapping[str, Path]) -> bool:
    """Tell whether files, by name, are those of LUME."""
    return files.keys() == LUME_FILES.keys() and all(
        _digest(path) == LUME_FILES[name] for name, path in files.items()
    )


def fetch_lume(told: Told | None = None, *, address: str = LUME_ADDRESS) -> Path:
    """Return the folder of LUME's two files, fetched if they are not here yet.

    Raises:
        SourceError: The network or the address cannot be reached, or what came is something else.
    """
    folder = home() / "downloads" / "lume"
    for name, digest in LUME_FILES.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            _fetch(address + name, folder / name, digest, told)
    return folder


def _fetch(address: str, path: Path, digest: str, told: Told | None) -> None:
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
                if told:
                    told(path.name, file.tell(), total)
        if _digest(partial) != digest:
            raise SourceError(
                f"{path.name}: what came is not the file that was published: try again, or give "
                "its folder"
            )
        os.replace(partial, path)
    except urllib.error.HTTPError as error:
        raise SourceError(
            f"{path.name}: {address} answered {error.code}: fetch it by hand and give its folder"
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise SourceError(
            f"{path.name}: no answer from {address}: is there a network? Otherwise fetch it on "
            "another machine and give its folder"
        ) from error
    except OSError as error:
        raise SourceError(f"{path.name}: cannot be kept: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def fetch_semeval(repository: str = SEMEVAL_REPOSITORY) -> Path:
    """Return the folder of the task's data, fetched from the hub if they are not here yet.

    Raises:
        SourceError: The hub cannot be reached, or does not give the data.
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
        raise SourceError(f"{repository}: cannot be kept: {error.strerror}") from error
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
