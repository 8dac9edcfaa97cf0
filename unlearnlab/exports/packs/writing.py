"""Writes runs into a pack."""

import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from unlearnlab import __version__
from unlearnlab.data.files import check_free, check_room, whole_file
from unlearnlab.exports.packs.evidence_keys import plain_keys
from unlearnlab.exports.packs.format import (
    CONFIG,
    EVENTS,
    FILE,
    FORMAT,
    MANIFEST,
    RATIO,
    RUN,
    Adapter,
    Line,
    Manifest,
    PackError,
    RunFile,
    digest_of,
)
from unlearnlab.exports.packs.privacy import without_answers, without_place
from unlearnlab.runs.progress import status_of
from unlearnlab.runs.records import FullRecord
from unlearnlab.runs.store import Store

PERSONAL = (
    "the pack holds the forget rows and what the models said to them, not masked: hand it to "
    "nobody who may not read them, or leave them out (--without-answers)"
)


@dataclass(frozen=True, slots=True)
class Packable:
    """A run as it goes into a pack."""

    run: FullRecord
    files: Mapping[str, Path]
    """Of its weights, by path in its folder."""

    @property
    def bytes(self) -> int:
        """Count the bytes of its files."""
        return sum(path.stat().st_size for path in self.files.values())


def packable(store: Store, run_id: str, *, weights: bool = True, answers: bool = True) -> Packable:
    """Gather what goes into a pack.

    Args:
        store: Where the run is.
        run_id: The run.
        weights: Whether to take along what was trained, if it was saved.
        answers: Whether to take along what the models said, prompts and expected answers with it,
            ids of picked rows, and what went wrong.

    Raises:
        PackError: The run has not ended.
        StoreError: There is no such run.
    """
    row = store.row(run_id)
    status = status_of(began=row.began, alive=row.alive, ending=row.ending)
    if status in ("queued", "running", "paused") or not (row.began or row.ending):
        raise PackError(f"run {run_id} has not ended: pack it then")
    run = without_place(plain_keys(store.full_record(run_id)))
    if not answers:
        run = without_answers(run)
    return Packable(run, _weights(store.artefacts(run_id)) if weights else {})


def _weights(saved: Mapping[str, Path]) -> Mapping[str, Path]:
    """Find what was trained, and of an adapter where it sits."""
    found = {name: path for name, path in saved.items() if path.is_file() and FILE.fullmatch(name)}
    beside = {
        f"{name.rpartition('/')[0]}/{CONFIG}": path.with_name(CONFIG)
        for name, path in found.items()
        if path.with_name(CONFIG).is_file()
    }
    return {**beside, **found}


def write_pack(runs: Sequence[Packable], out: Path) -> None:
    """Write a pack, as a whole or not at all.

    Raises:
        NoRoom: The disk is too full.
        Taken: There is something in its place.
        OSError: It cannot be written, or the weights of a run cannot be read.
    """
    check_free(out)
    check_room(out.parent, sum(one.bytes for one in runs))
    with whole_file(out) as part:
        part.touch(mode=0o600)  # Others of this machine may not read what is not masked.
        with part.open("wb") as file:
            fill(runs, file)


def fill(runs: Sequence[Packable], file: IO[bytes]) -> None:
    """Write a pack into an open file."""
    with zipfile.ZipFile(file, "w") as archive:
        ids = tuple(one.run.run_id for one in runs)
        manifest = Manifest(format=FORMAT, unlearnlab=__version__, runs=ids)
        _put(archive, MANIFEST, manifest.model_dump_json(indent=2).encode())
        known: set[str] = set()
        for one in runs:
            _put_run(archive, one.run, known)
            for name, path in one.files.items():
                _put_file(archive, f"{one.run.run_id}/{name}", path)


def _put_run(archive: zipfile.ZipFile, run: FullRecord, known: set[str]) -> None:
    """Write a run, and evidence that is not in the pack yet."""
    bodies = {key: one.model_dump_json().encode() for key, one in run.evidence.items()}
    for body in bodies.values():
        if (digest := digest_of(body)) not in known:
            _put(archive, f"evidence/{digest}.json", body)
            known.add(digest)
    told = RunFile(
        run=run.run_id,
        name=run.name[:1000],
        created=run.created,
        tags=tuple(tag[:200] for tag in run.tags[:100]),
        repeats=run.repeats,
        spec=run.spec.model_dump(mode="json"),
        evidence={key: digest_of(body) for key, body in bodies.items()},
    )
    _put(archive, f"{run.run_id}/{RUN}", told.model_dump_json(indent=2).encode())
    lines = (Line(at=item.at, event=item.event).model_dump_json() for item in run.events)
    _put(archive, f"{run.run_id}/{EVENTS}", "\n".join(lines).encode())


def _put(archive: zipfile.ZipFile, name: str, body: bytes) -> None:
    """Write a file of JSON, compressed unless a reader would take it for a bomb."""
    entry = _entry(name)
    if len(zlib.compress(body, 6)) * RATIO / 2 > len(body):
        entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, body)


def _put_file(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    if path.name == CONFIG:  # Without the place on this machine that peft notes in it.
        told = Adapter.model_validate_json(path.read_bytes())
        _put(archive, name, told.model_dump_json(indent=2).encode())
        return
    entry = _entry(name)
    with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as into:
        shutil.copyfileobj(source, into, 1 << 20)


def _entry(name: str) -> zipfile.ZipInfo:
    """Make an entry that tells nothing of this machine and its clock."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o100600 << 16
    return entry
