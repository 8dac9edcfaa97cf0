"""Reads a pack into plain values. What does not fit is refused in a sentence."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from pydantic import BaseModel, ValidationError

from unlearnlab.data.files import size
from unlearnlab.exports.packs.archive import Archive, opened
from unlearnlab.exports.packs.format import (
    CONFIG,
    EVENTS,
    FORMAT,
    MANIFEST,
    MODELS,
    MOST_EVENTS,
    RUN,
    RUN_BYTES,
    Adapter,
    Line,
    Manifest,
    PackError,
    RunFile,
    digest_of,
)
from unlearnlab.exports.packs.validation import check
from unlearnlab.metrics.scores import Evidence
from unlearnlab.models.catalog import model
from unlearnlab.models.checkpoints import CheckpointError, check_weights
from unlearnlab.runs.events import StoredEvent
from unlearnlab.runs.records import FullRecord
from unlearnlab.spec.errors import problem_of
from unlearnlab.spec.run import RECORDED, RunSpec

_Kind = TypeVar("_Kind", bound=BaseModel)

TOLD = 300
"""Longest error message, in characters: it may quote a value of any length."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that is open for reading."""

    made_by: str
    """Version of the program that wrote it."""
    run_ids: tuple[str, ...]
    archive: Archive
    _evidence: "_Evidences"

    def read(self, run_id: str) -> FullRecord:
        """Read one of its runs.

        Raises:
            PackError: Something of it is missing, damaged or unknown here.
        """
        told = _parsed(RunFile, self.archive.read(f"{run_id}/{RUN}"), f"{run_id}/{RUN}")
        if told.run != run_id:
            raise PackError(f"{run_id}/{RUN} tells of another run")
        self._check_size(told)
        run = FullRecord(
            run_id=run_id,
            name=told.name,
            created=told.created,
            spec=_spec(told.spec, run_id),
            tags=told.tags,
            repeats=told.repeats,
            events=tuple(self._events(run_id)),
            evidence={key: self._evidence.read(one) for key, one in told.evidence.items()},
        )
        check(run)
        return run

    def files(self, run_id: str) -> Mapping[str, int]:
        """Map the path of each file of a run, in its folder, to its bytes."""
        texts = {f"{run_id}/{RUN}", f"{run_id}/{EVENTS}"}
        return {
            name.partition("/")[2]: size
            for name, size in self.archive.sizes.items()
            if name.startswith(f"{run_id}/") and name not in texts
        }

    def unpack(self, run_id: str, folder: Path) -> None:
        """Write the files of a run into an empty folder.

        Raises:
            PackError: One of them is damaged or not what its name says.
        """
        for name in self.files(run_id):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(CONFIG):
                config = _parsed(Adapter, self.archive.read(f"{run_id}/{name}"), name)
                target.write_text(config.model_dump_json(indent=2), encoding="utf-8")
                continue
            self.archive.copy(f"{run_id}/{name}", target)
            try:
                check_weights(target)
            except CheckpointError as error:
                raise PackError(f"run {run_id}: {name} holds no weights") from error

    def _events(self, run_id: str) -> Iterator[StoredEvent]:
        lines = self.archive.read(f"{run_id}/{EVENTS}").splitlines()
        if len(lines) > MOST_EVENTS:
            raise PackError(f"run {run_id} has {len(lines)} events: {MOST_EVENTS} is the most")
        for seq, text in enumerate(lines, 1):
            line = _parsed(Line, text, f"run {run_id}, event {seq}")
            yield StoredEvent(seq, line.at, line.event)

    def _check_size(self, told: RunFile) -> None:
        names = {f"{told.run}/{RUN}", f"{told.run}/{EVENTS}"}
        names |= {_name(digest) for digest in told.evidence.values()}
        sizes = self.archive.sizes
        if (much := sum(sizes.get(name, 0) for name in names)) > RUN_BYTES:
            raise PackError(
                f"run {told.run} has {size(much)} of text: {size(RUN_BYTES)} is the most"
            )


class _Evidences:
    """The evidence of a pack, each in memory once, and as long as a run that was read has it."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._known: WeakValueDictionary[str, Evidence] = WeakValueDictionary()
        self._last: deque[Evidence] = deque(maxlen=2 * MODELS)
        """Runs that follow each other mostly began with the same model."""

    def read(self, digest: str) -> Evidence:
        found = self._known.get(digest) or self._parsed(digest)
        self._known[digest] = found
        self._last.append(found)
        return found

    def _parsed(self, digest: str) -> Evidence:
        name = _name(digest)
        text = self._archive.read(name)
        if digest_of(text) != digest:
            raise PackError(f"{name} is not what it was when it was packed")
        return _parsed(Evidence, text, name)


def _name(digest: str) -> str:
    return f"evidence/{digest}.json"


@contextmanager
def open_pack(path: Path) -> Generator[Pack]:
    """Open a pack.

    Raises:
        PackError: It is none, or one of a later program.
    """
    with opened(path) as archive:
        manifest = _parsed(Manifest, archive.read(MANIFEST), MANIFEST)
        if manifest.format != FORMAT:
            raise PackError(
                f"the pack is of format {manifest.format}, written by unlearnlab "
                f"{manifest.unlearnlab}; this one reads {FORMAT}: update unlearnlab"
            )
        ids = tuple(dict.fromkeys(manifest.runs))
        yield Pack(manifest.unlearnlab, ids, archive, _Evidences(archive))


def read_pack(path: Path) -> tuple[FullRecord, ...]:
    """Read all runs of a pack, their files aside.

    Raises:
        PackError: It is no pack, or one of its runs does not fit.
    """
    with open_pack(path) as pack:
        return tuple(pack.read(run_id) for run_id in pack.run_ids)


def _spec(plain: Mapping[str, Any], run_id: str) -> RunSpec:
    if _far(plain.get("model")):
        raise PackError(f"run {run_id}: its model lies on another host: the pack was changed")
    try:
        spec = RunSpec.model_validate(plain, context=RECORDED)
        model(spec.model.name)  # Every list looks for it.
        return spec
    except ValidationError as error:
        where, what = problem_of(error.errors()[0])
        told = f"{where}: {what}" if where else what
        raise PackError(f"run {run_id}: its spec does not fit here: {told[:TOLD]}") from error
    except (ValueError, OSError) as error:  # A model's name that no path can have.
        raise PackError(f"run {run_id}: its spec does not fit here") from error


def _far(told: Any) -> bool:
    """Tell whether a model's folder is on another host: to look there would be to ask it."""
    name = told.get("name") if isinstance(told, dict) else None
    return isinstance(name, str) and name.strip().replace("\\", "/").startswith("//")


def _parsed(kind: type[_Kind], text: bytes, where: str) -> _Kind:
    """Read JSON of one kind, or say where and what is wrong.

    Raises:
        PackError: It is something else.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise PackError(f"{where}: {_told(error.errors(include_url=False)[0])}") from error


def _told(detail: Any) -> str:
    if detail["type"] == "union_tag_invalid":
        return (
            f"no event is called {str(detail['ctx']['tag'])[:60]!r} here: the pack comes from a "
            "later unlearnlab, or was changed"
        )
    path = ".".join(str(part) for part in detail["loc"])
    return f"{path}: {detail['msg']}"[:TOLD] if path else str(detail["msg"])[:TOLD]
