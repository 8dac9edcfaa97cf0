"""Packs: runs as one file, written from one store and imported into another.

A pack names no place on the machine of its runs, and may leave out the answers. What strangers
claim of a model in one is never taken for our measurement of it.
"""

import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from unlearnlab import __version__
from unlearnlab.data import downloads
from unlearnlab.data.files import NoRoom, check_free, check_room, whole_file
from unlearnlab.exports.pack_file import (
    CONFIG,
    EVENTS,
    FILE,
    FORMAT,
    MANIFEST,
    RATIO,
    RUN,
    WEIGHTS,
    Adapter,
    Line,
    Manifest,
    Pack,
    PackError,
    RunFile,
    digest_of,
    open_pack,
)
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import (
    AdjustFailed,
    Asked,
    AskFailed,
    Evaluated,
    Exported,
    ExportFailed,
    Failed,
    Said,
    StoredEvent,
)
from unlearnlab.runs.progress import status_of
from unlearnlab.runs.records import FullRecord
from unlearnlab.runs.store import Store, StoreError, UnknownRun, make_folder
from unlearnlab.spec.errors import printable

PERSONAL = (
    "the pack holds the forget rows and what the models said to them, not masked: hand it to "
    "nobody who may not read them, or leave them out (--without-answers)"
)

# ---- writing


@dataclass(frozen=True, slots=True)
class Packable:
    """A run as it goes into a pack."""

    run: FullRecord
    files: Mapping[str, Path]
    """Files of its weights, by path in its folder."""

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
        Spoiled: Its weights are no longer what was saved.
        StoreError: There is no such run, or some of it cannot be read.
    """
    row = store.row(run_id)
    status = status_of(began=row.began, alive=row.alive, ending=row.ending)
    if status in ("queued", "running", "paused") or not (row.began or row.ending):
        raise PackError(f"run {run_id} has not ended: pack it then")
    run = without_place(plain_keys(store.full_record(run_id)))
    if not answers:
        run = without_answers(run)
    saved = store.artefacts(run_id).items() if weights else ()
    files: dict[str, Path] = {}
    for name, one in saved:
        path = one.path
        if FILE.fullmatch(name):
            one.check()
            files[name] = path
            config = path.with_name(CONFIG)  # Says where an adapter sits.
            if config.is_file():
                files[f"{name.rpartition('/')[0]}/{CONFIG}"] = config
    return Packable(run, files)


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
            run = one.run
            bodies = {key: of.model_dump_json().encode() for key, of in run.evidence.items()}
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
            lines = (Line(at=item.at, event=item.known).model_dump_json() for item in run.events)
            _put(archive, f"{run.run_id}/{EVENTS}", "\n".join(lines).encode())
            for name, path in one.files.items():
                if path.name == CONFIG:  # Without the place on this machine that peft notes in it.
                    config = Adapter.model_validate_json(path.read_bytes())
                    text = config.model_dump_json(indent=2).encode()
                    _put(archive, f"{run.run_id}/{name}", text)
                    continue
                entry = _entry(f"{run.run_id}/{name}")
                with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as into:
                    shutil.copyfileobj(source, into, 1 << 20)


def _put(archive: zipfile.ZipFile, name: str, body: bytes) -> None:
    """Write a file of JSON, compressed unless a reader would take it for a bomb."""
    entry = _entry(name)
    if len(zlib.compress(body, 6)) * RATIO / 2 > len(body):
        entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, body)


def _entry(name: str) -> zipfile.ZipInfo:
    """Make an entry that tells nothing of this machine and its clock."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o100600 << 16
    return entry


# ---- what a pack leaves out

LEFT_OUT = "what went wrong was left out of the pack, for it may tell of rows"


def without_answers(run: FullRecord) -> FullRecord:
    """Leave out what the models said, and whatever else may tell of single rows.

    Picked rows are counted only: their ids may be names.
    """
    events: list[StoredEvent] = []
    for item in run.events:
        event = item.event
        if isinstance(event, Asked | AskFailed | Said):
            continue
        if isinstance(event, Failed):
            event = event.model_copy(update={"problem": LEFT_OUT, "advice": ""})
        elif isinstance(event, AdjustFailed | ExportFailed):
            event = event.model_copy(update={"problem": LEFT_OUT})
        events.append(replace(item, seq=len(events) + 1, event=event))
    spec = run.spec
    if (picked := spec.data.forget) is not None:
        stand_ins = tuple(f"picked-{number}" for number in range(1, len(picked) + 1))
        data = spec.data.model_copy(update={"forget": stand_ins})
        spec = spec.model_copy(update={"data": data})
    if spec.evaluation.watched_rows:
        evaluation = spec.evaluation.model_copy(update={"watched_rows": None})
        spec = spec.model_copy(update={"evaluation": evaluation})
    return replace(run, spec=spec, events=tuple(events), evidence={})


def without_place(run: FullRecord) -> FullRecord:
    """Name the model's folder, and any file that a message tells of, by its last part only.

    `/my-model` stays a path, so that it is not taken for a model of the catalog or the hub.
    """
    model, spec = run.spec.model, run.spec
    parts = re.split(r"[/\\]+", model.name.rstrip("/\\"))
    placed = len(parts) > 1 and not downloads.REPOSITORY_ID.fullmatch(model.name)
    known = (model.name,) if placed else ()
    events: list[StoredEvent] = []
    for item in run.events:
        event = item.event
        if isinstance(event, Failed | AdjustFailed | AskFailed | ExportFailed):
            texts = {"problem": placeless(event.problem, known)}
            if isinstance(event, Failed):
                texts["advice"] = placeless(event.advice, known)
            item = replace(item, event=event.model_copy(update=texts))
        events.append(item)
    if placed:
        there = model.model_copy(update={"name": _last(model.name)})
        spec = spec.model_copy(update={"model": there})
    return replace(run, events=tuple(events), spec=spec)


_START = r"(?:file:|~|[A-Za-z]:)?[/\\]"

_PLACE = re.compile(
    r"(?P<address>https?://\S+)"
    rf"|(?P<mark>['\"])(?P<quoted>{_START}[^'\"]*)(?P=mark)"
    rf"|(?<![\w.])(?P<bare>{_START}+(?:[^\s/\\:'\"<>|,;]+[/\\]+)+[^\s/\\:'\"<>|,;]*)"
)
"""An address of the web, which stays; or a path from a root or a home folder, in quotes whole."""


def placeless(text: str, known: Sequence[str] = ()) -> str:
    """Shorten paths to their last part. Without quotes, one that is not known ends at a space."""
    for path in known:
        text = text.replace(path, _last(path))
    user = os.path.expanduser("~")
    if len(user) > 1:  # No user at all lives in the root.
        text = re.sub(rf"{re.escape(user)}(?!\w)", "~", text)

    def shortened(found: re.Match[str]) -> str:
        if found["address"]:
            return found.group()
        mark = found["mark"] or ""
        return f"{mark}{_last(found['quoted'] or found['bare'])}{mark}"

    return _PLACE.sub(shortened, text)


def _last(path: str) -> str:
    return "/" + re.split(r"[/\\]+", path.rstrip("/\\"))[-1]


# ---- keys of evidence

_ELSEWHERE = "elsewhere/"
"""Prefix of the keys of evidence that came in a pack; its digest follows."""


def same(one: FullRecord, other: FullRecord) -> bool:
    """Return whether two records are of one run.

    Free prompts and exports do not count, nor the name and marks of the run, nor what a pack
    leaves out.
    """

    def work(run: FullRecord) -> tuple[str, float, list[tuple[float, str]]]:
        run = without_place(without_answers(plain_keys(run)))
        events = [
            (item.at, item.event.model_dump_json())
            for item in run.events
            if not isinstance(item.event, Exported | ExportFailed)
        ]
        return run.spec.model_dump_json(), run.created, events

    return work(one) == work(other)


def isolated(run: FullRecord, ours: Callable[[str], Evidence | None]) -> FullRecord:
    """Put a run's evidence under keys of its own.

    Under its plain key, what a stranger claims of a model would be taken for our own measurement
    of it by every later run. It keeps that key only where the very same is stored here already.

    Args:
        run: The run, as it was packed.
        ours: Returns the evidence that is stored under a key, if there is any.
    """

    def digest(evidence: Evidence | None) -> str:
        return digest_of(evidence.model_dump_json().encode()) if evidence else "none"

    def name(key: str) -> str:
        evidence = run.evidence.get(key)
        if evidence is not None and digest(ours(key)) == digest(evidence):
            return key
        return f"{_ELSEWHERE}{digest(evidence)}/{key}"

    return _renamed(run, name)


def plain_keys(run: FullRecord) -> FullRecord:
    """Undo `isolated`: name evidence as it was where the run was carried out."""
    return _renamed(run, lambda key: key.split("/", 2)[-1] if key.startswith(_ELSEWHERE) else key)


def _renamed(run: FullRecord, name: Callable[[str], str]) -> FullRecord:
    keys = {item.event.key for item in run.events if isinstance(item.event, Evaluated)}
    names = {key: name(key) for key in keys}
    events = tuple(
        replace(item, event=item.event.model_copy(update={"key": names[item.event.key]}))
        if isinstance(item.event, Evaluated)
        else item
        for item in run.events
    )
    evidence = {names[key]: one for key, one in run.evidence.items()}
    return replace(run, events=events, evidence=evidence)


# ---- importing

Outcome = Literal["imported", "already here", "refused"]


@dataclass(frozen=True, slots=True)
class Addition:
    """What became of one run of a pack."""

    run_id: str
    outcome: Outcome
    told: str
    """Its title, or why it was refused."""


def add_pack(store: Store, path: Path, *, name: str = "") -> tuple[Addition, ...]:
    """Import the runs of a pack, each as a whole or not at all.

    Args:
        store: Where they go.
        path: The pack.
        name: What its file is called, if not as at `path`.

    Raises:
        PackError: It is no pack. Then nothing is imported.
    """
    with open_pack(path) as pack:
        origin = f"from {printable(name or path.name)[-80:]}"
        return tuple(_added(store, pack, run_id, origin) for run_id in pack.run_ids)


def _added(store: Store, pack: Pack, run_id: str, origin: str) -> Addition:
    try:
        run = pack.read(run_id)
        if _stays(store, pack, run):
            store.restore([run_id])  # It may have been deleted, and not yet erased.
            return Addition(run_id, "already here", run.name or run.spec.title)
        home = store.home / "runs"
        make_folder(home)
        check_room(home, sum(pack.archive.sizes.values()))
        # Beside its place, so that it gets there in one step; a crash leaves a name with a dot.
        with tempfile.TemporaryDirectory(prefix=".", dir=home) as part:
            files = Path(part) / run_id
            make_folder(files)
            pack.unpack(run_id, files)
            store.import_run(isolated(run, store.evidence), files, origin=origin)
    except (PackError, NoRoom, StoreError) as error:
        return Addition(run_id, "refused", str(error))
    except OSError as error:
        return Addition(run_id, "refused", f"run {run_id} cannot be written: {error.strerror}")
    return Addition(run_id, "imported", run.name or run.spec.title)


def _stays(store: Store, pack: Pack, run: FullRecord) -> bool:
    """Return whether the store has the run already and keeps it.

    Raises:
        PackError: It must be deleted first.
    """
    try:
        ours = store.full_record(run.run_id)
    except UnknownRun:
        return False
    row = store.row(run.run_id)
    if not same(run, ours):
        problem = "and is another"
    elif row.origin and (lacking := _lacking(store, pack, run, ours)):
        problem = f"without its {lacking}"
    else:
        return True
    if row.deleted and row.origin:
        return False
    raise PackError(f"run {run.run_id} is already here, {problem}: delete that one first")


def _lacking(store: Store, pack: Pack, run: FullRecord, ours: FullRecord) -> str:
    """Say what the pack has and the stored run lacks; empty if nothing."""
    weights = {name for name in pack.files(run.run_id) if name.endswith(WEIGHTS)}
    missing = {
        "answers": run.evidence.keys() - plain_keys(ours).evidence.keys(),
        "weights": weights - store.artefacts(run.run_id).keys(),
    }
    return " and ".join(what for what, names in missing.items() if names)
