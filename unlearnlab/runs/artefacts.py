"""Files that runs saved: what was noted of each when it was saved, and whether it still is so."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from unlearnlab.data.files import size
from unlearnlab.models.checkpoints import CheckpointError, stored_in


class Spoiled(ValueError):
    """A file that a run saved is missing, or no longer what it was."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that a run saved."""

    path: Path
    bytes: int | None
    """Its size when it was saved; None in runs older than this."""
    digest: str
    """SHA-256 of its content then, as hexadecimal digits; empty in runs older than this."""

    @classmethod
    def noted(cls, path: Path) -> "Artefact":
        """Note a file that was just saved.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(path, file.tell(), digest)

    @property
    def problem(self) -> str:
        """Say what is wrong with it at first sight, without reading it; empty if nothing is."""
        name = self.path.name
        if not self.path.is_file():
            return f"{name} was saved by this run, and has been deleted since"
        there = self.path.stat().st_size
        if self.bytes is not None and there != self.bytes:
            return (
                f"{name} is damaged: it was saved with {size(self.bytes)} and has {size(there)} now"
            )
        return ""

    def check(self) -> None:
        """Make sure that it is what was saved, by its digest, or where none was noted its header.

        Raises:
            Spoiled: It is not.
        """
        if problem := self.problem:
            raise Spoiled(problem)
        try:
            if self.digest and self.noted(self.path).digest != self.digest:
                raise Spoiled(f"{self.path.name} is damaged: its content is not what was saved")
            if not self.digest and self.path.suffix == ".safetensors":
                stored_in(self.path)
        except OSError as error:
            raise Spoiled(f"{self.path.name} cannot be read: {error.strerror}") from error
        except CheckpointError as error:
            raise Spoiled(str(error)) from error
