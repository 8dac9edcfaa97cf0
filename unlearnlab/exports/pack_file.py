"""The file of a pack: its format, and the checks that it passes before anything of it is kept.

A pack is a zip of JSON and safetensors, made by anybody. Names, sizes and kinds of its files are
checked before they are unpacked, values when they are read, and then each run as a whole: no page,
list or report may fail on it.
"""

import hashlib
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearnlab.data.files import open_regular, size
from unlearnlab.metrics.scores import SCORES, Evidence, Scores
from unlearnlab.models.checkpoints import CheckpointError, stored_in
from unlearnlab.runs.events import (
    Adjusted,
    Ending,
    Evaluated,
    Event,
    PhaseBegan,
    PhaseEnded,
    Previewed,
    Said,
    StageBegan,
    Started,
    StepLogged,
    StoredEvent,
    Traced,
)
from unlearnlab.runs.progress import RunProgress, advance, points_after, run_view
from unlearnlab.runs.records import LATEST, FullRecord
from unlearnlab.spec.errors import problem_of
from unlearnlab.spec.run import RECORDED, RunSpec
from unlearnlab.views.runs import run_summary
from unlearnlab.views.says import said_steps
from unlearnlab.views.scoreboard import others_of, scoreboard, terms_strip
from unlearnlab.views.words import changes, timeline

FORMAT = 1
"""Format of the packs that are written here, and the latest that can be read."""

MANIFEST = "unlearnlab-pack.json"
RUN, EVENTS = "run.json", "events.jsonl"

RUN_ID = r"[0-9]{6}-[0-9]{6}-[0-9]{3}"

_ADAPTER = "adapter(?:/[a-z][a-z0-9-]{0,31})?"

FILE = re.compile(rf"delta\.safetensors|{_ADAPTER}/adapter_(?:model\.safetensors|config\.json)")
"""Files of a run: the weights that the engine saves, and nothing else."""

MEMBER = re.compile(
    rf"{re.escape(MANIFEST)}|evidence/[0-9a-f]{{24}}\.json"
    rf"|{RUN_ID}/(?:run\.json|events\.jsonl|{FILE.pattern})"
)
"""Everything that a pack may hold."""

FOLDER = re.compile(rf"(?:evidence|{RUN_ID}(?:/{_ADAPTER})?)/")
"""Its folders, which some programs list as well."""

WEIGHTS, CONFIG = ".safetensors", "adapter_config.json"

ENTRIES = 10_000
"""Most files in a pack."""

TEXT_BYTES = 64 * 10**6
"""Most bytes of one file of JSON: a model's answers to all of MMLU take a quarter of it."""

RUN_BYTES = 2 * TEXT_BYTES
"""Most bytes of all JSON of one run: once read, it takes several times as much memory."""

RATIO = 200
"""How far a file may swell when it is unpacked; what we write stays below half of it."""

SWELLS = 10**6
"""Bytes below which that does not matter."""

MOST_EVENTS = 300_000
"""Most events of one run."""

MODELS = 2
"""Models that a run can have scored: the original and the unlearned one."""

MOST_COUNT = 10**13
"""Largest count in a run: no model has as many parameters. Scripts of the page round much larger
whole numbers."""

TOLD = 300
"""Longest error message, in characters: it may quote a value of any length."""

LONGEST_NAME = 4096
"""Longest name of a model that is read, in characters: the longest path of Linux."""

Moment = Annotated[float, Field(ge=0, le=LATEST, allow_inf_nan=False)]


class PackError(ValueError):
    """A pack cannot be read, or a run in it cannot be imported. The message says why."""


class Plain(BaseModel):
    """Base of what a pack's files hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Manifest(BaseModel):
    """The pack itself. Fields that later formats add are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    unlearnlab: Annotated[str, Field(max_length=40)]
    """Version of the program that wrote it."""
    runs: Annotated[
        tuple[Annotated[str, Field(pattern=f"^{RUN_ID}$")], ...],
        Field(min_length=1, max_length=ENTRIES),
    ]


class RunFile(Plain):
    """A run without its events."""

    run: str
    name: Annotated[str, Field(max_length=1000)]
    created: Moment
    tags: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=100)] = ()
    repeats: Annotated[str, Field(pattern=f"^({RUN_ID})?$")] = ""
    spec: dict[str, Any]
    evidence: Annotated[
        Mapping[str, Annotated[str, Field(pattern="^[0-9a-f]{24}$")]], Field(max_length=MODELS)
    ] = {}
    """Digest of the evidence under each key, which names its file."""


class Line(Plain):
    """One event and its time."""

    at: Moment
    event: Event


class Adapter(BaseModel):
    """The part of peft's `adapter_config.json` that says where a low-rank adapter sits.

    peft imports what some other fields name, so they are never passed on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"]
    r: Annotated[int, Field(ge=1, le=65536)]
    lora_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Annotated[
        tuple[Annotated[str, Field(max_length=200)], ...], Field(min_length=1)
    ]
    layers_to_transform: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    fan_in_fan_out: bool = False
    bias: Literal["none"] = "none"
    inference_mode: bool = True


def digest_of(evidence: bytes) -> str:
    """Name evidence by its content."""
    return hashlib.sha256(evidence).hexdigest()[:24]


# ---- the zip

_END, _END_BYTES = b"PK\x05\x06", 22
_END64, _END64_BYTES = b"PK\x06\x06", 56
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
"""The records that end a zip, and tell how large its directory is."""

_ENTRY_BYTES = 256
"""Most bytes of the directory for each file."""

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
"""What Python's zipfile raises when a zip is not what it says; RuntimeError, if it is encrypted."""


class Archive:
    """The files of a zip, all of them of kinds that a pack holds."""

    def __init__(self, opened: zipfile.ZipFile, found: Mapping[str, zipfile.ZipInfo]) -> None:
        self._zip = opened
        self._found = found

    @property
    def sizes(self) -> Mapping[str, int]:
        """Map the name of each file to its bytes once unpacked."""
        return {name: info.file_size for name, info in self._found.items()}

    def read(self, name: str) -> bytes:
        """Read a file of JSON.

        Raises:
            PackError: There is none, or it is damaged.
        """
        if name not in self._found:
            raise PackError(f"{name} is missing: the pack is not whole")
        try:
            return self._zip.read(self._found[name])
        except _BROKEN as error:
            raise _damaged(name, error) from error

    def copy(self, name: str, target: Path) -> None:
        """Unpack a file.

        Raises:
            PackError: It is damaged.
            OSError: It cannot be written.
        """
        with target.open("xb") as out:
            for part in self._parts(name):
                out.write(part)

    def _parts(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(self._found[name]) as source:
                while part := source.read(1 << 20):
                    yield part
        except _BROKEN as error:
            raise _damaged(name, error) from error


def _damaged(name: str, error: BaseException) -> PackError:
    return PackError(f"{name} cannot be unpacked ({error}): the file is damaged, fetch it again")


@contextmanager
def opened(path: Path) -> Generator[Archive]:
    """Open a zip.

    Raises:
        PackError: It is none, or holds what a pack does not.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path))
            _check_directory(file)
            archive = stack.enter_context(zipfile.ZipFile(file))
            found = _sound(archive, os.fstat(file.fileno()).st_size)
        except (zipfile.BadZipFile, OSError) as error:
            reason = error.strerror or error if isinstance(error, OSError) else error
            raise PackError(f"{path.name} cannot be read as a pack: {reason}") from error
        yield Archive(archive, found)


def _check_directory(file: IO[bytes]) -> None:
    """Check the size of the directory before zipfile reads it all into memory.

    Only zips without a comment pass, and large ones only where the record of their directory lies
    right before its locator: some versions of zipfile read it there, others where the locator
    points, and this must have read the same.
    """
    end = file.seek(0, os.SEEK_END)
    record = end - _END_BYTES - _LOCATOR_BYTES - _END64_BYTES
    file.seek(max(0, record))
    tail = file.read()
    last = tail[-_END_BYTES:]
    if len(last) < _END_BYTES or last[:4] != _END or last[-2:] != b"\0\0":
        raise PackError("this is no zip, or none as `pack` writes it")
    directory = int(struct.unpack_from("<L", last, 12)[0])
    locator = tail[-_END_BYTES - _LOCATOR_BYTES : -_END_BYTES]
    if locator.startswith(_LOCATOR):
        place = int(struct.unpack_from("<Q", locator, 8)[0])
        if not tail.startswith(_END64) or place != record:
            raise PackError("this is no zip as `pack` writes it: its directory is elsewhere")
        directory = max(directory % 0xFFFFFFFF, int(struct.unpack_from("<Q", tail, 40)[0]))
    if directory > ENTRIES * _ENTRY_BYTES:
        raise PackError(f"the zip holds more files than a pack may, which is {ENTRIES}")
    file.seek(0)


def _sound(archive: zipfile.ZipFile, packed: int) -> Mapping[str, zipfile.ZipInfo]:
    """Check every entry of a zip of so many bytes; folders are left out."""
    entries = archive.infolist()
    if len(entries) > ENTRIES:
        raise PackError(f"the zip holds {len(entries)} files: a pack has at most {ENTRIES}")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in entries:
        name = info.orig_filename
        if info.is_dir() and not info.file_size and FOLDER.fullmatch(name):
            continue
        if problem := _problem(info):
            raise PackError(f"{name[:120]!r} {problem}")
        if name in found:
            raise PackError(f"{name!r} is in the zip twice")
        found[name] = info
    if (total := sum(info.file_size for info in found.values())) > max(SWELLS, RATIO * packed):
        raise PackError(f"the zip would swell from {size(packed)} to {size(total)}: no pack does")
    return found


def _problem(info: zipfile.ZipInfo) -> str:
    """Say why an entry must not be unpacked; empty if it may."""
    if not MEMBER.fullmatch(info.orig_filename) or info.filename != info.orig_filename:
        return "does not belong in a pack: it holds JSON and safetensors under names of its own"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device: a pack holds plain files"
    if info.flag_bits & 1:
        return "is encrypted: a pack is not"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that packs are not"
    if info.file_size > max(SWELLS, RATIO * info.compress_size):
        return f"would swell from {size(info.compress_size)} to {size(info.file_size)}"
    if info.file_size > TEXT_BYTES and not info.filename.endswith(WEIGHTS):
        return f"has {size(info.file_size)} of text: {size(TEXT_BYTES)} is the most"
    return ""


# ---- its runs

_Kind = TypeVar("_Kind", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that is open for reading."""

    run_ids: tuple[str, ...]
    archive: Archive
    _evidence: Callable[[str], Evidence]
    """Reads evidence by its digest."""

    def read(self, run_id: str) -> FullRecord:
        """Read one of its runs.

        Raises:
            PackError: Something of it is missing, damaged or unknown here.
        """
        names, sizes = (f"{run_id}/{RUN}", f"{run_id}/{EVENTS}"), self.archive.sizes
        told = _parsed(RunFile, self.archive.read(names[0]), names[0])
        if told.run != run_id:
            raise PackError(f"{names[0]} tells of another run")
        texts = {*names, *(f"evidence/{digest}.json" for digest in told.evidence.values())}
        if (much := sum(sizes.get(name, 0) for name in texts)) > RUN_BYTES:
            raise PackError(f"run {run_id} has {size(much)} of text: {size(RUN_BYTES)} is the most")
        lines = self.archive.read(names[1]).splitlines()
        if len(lines) > MOST_EVENTS:
            raise PackError(f"run {run_id} has {len(lines)} events: {MOST_EVENTS} is the most")
        spec, events = _spec(told.spec, run_id), list[StoredEvent]()
        for seq, text in enumerate(lines, 1):
            line = _parsed(Line, text, f"run {run_id}, event {seq}")
            events.append(StoredEvent(seq, line.at, line.event))
        run = FullRecord(
            run_id=run_id,
            name=told.name,
            created=told.created,
            spec=spec,
            tags=told.tags,
            repeats=told.repeats,
            events=tuple(events),
            evidence={key: self._evidence(digest) for key, digest in told.evidence.items()},
        )
        check(run)
        return run

    def files(self, run_id: str) -> list[str]:
        """List the files of a run by their path in its folder."""
        names = (name for name in self.archive.sizes if name.startswith(f"{run_id}/"))
        return [name.partition("/")[2] for name in names if not name.endswith((RUN, EVENTS))]

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
                stored_in(target)
            except CheckpointError as error:
                raise PackError(f"run {run_id}: {name} holds no weights") from error


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

        @lru_cache(maxsize=2 * MODELS)  # Runs that follow each other mostly share a model.
        def evidence(digest: str) -> Evidence:
            name = f"evidence/{digest}.json"
            text = archive.read(name)
            if digest_of(text) != digest:
                raise PackError(f"{name} is not what it was when it was packed")
            return _parsed(Evidence, text, name)

        yield Pack(tuple(dict.fromkeys(manifest.runs)), archive, evidence)


def read_pack(path: Path) -> tuple[FullRecord, ...]:
    """Read all runs of a pack, their files aside.

    Raises:
        PackError: It is no pack, or one of its runs does not fit.
    """
    with open_pack(path) as pack:
        return tuple(pack.read(run_id) for run_id in pack.run_ids)


def _spec(plain: Mapping[str, Any], run_id: str) -> RunSpec:
    told = plain.get("model")
    name = cast("dict[str, Any]", told).get("name") if isinstance(told, dict) else None
    if isinstance(name, str) and name.strip().replace("\\", "/").startswith("//"):
        # Looking for the model's folder there would contact that host.
        raise PackError(f"run {run_id}: its model lies on another host: the pack was changed")
    if isinstance(name, str) and len(name) > LONGEST_NAME:  # Every list shows it.
        raise PackError(
            f"run {run_id}: its spec does not fit here: its model's name is {len(name):,} "
            f"characters long, at most {LONGEST_NAME:,} are read"
        )
    try:
        return RunSpec.model_validate(plain, context=RECORDED)
    except ValidationError as error:
        told = ": ".join(part for part in problem_of(error.errors()[0]) if part)
        raise PackError(f"run {run_id}: its spec does not fit here: {told[:TOLD]}") from error


def _parsed(kind: type[_Kind], text: bytes, where: str) -> _Kind:
    """Read JSON of one kind, or say where and what is wrong.

    Raises:
        PackError: It is something else.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        detail: Any = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in detail["loc"])
        told = f"{path}: {detail['msg']}" if path else str(detail["msg"])
        if detail["type"] == "union_tag_invalid":
            told = (
                f"no event is called {str(detail['ctx']['tag'])[:60]!r} here: the pack comes from "
                "a later unlearnlab, or was changed"
            )
        raise PackError(f"{where}: {told[:TOLD]}") from error


# ---- whether a run makes sense


def check(run: FullRecord) -> None:
    """Make sure that a run can be shown.

    Raises:
        PackError: It cannot, for the reason given.
    """
    for problem in _problems(run):
        raise PackError(f"run {run.run_id}: {problem}: the pack was changed or is damaged")
    try:
        _fold(run)
    except Exception as error:  # Whatever it is, it would come back wherever the run is listed.
        raise PackError(
            f"run {run.run_id}: its events tell no course of a run: the pack was changed or is "
            "damaged"
        ) from error


def _problems(run: FullRecord) -> Iterator[str]:
    events = [item.known for item in run.events]
    if not any(isinstance(event, Started | Ending) for event in events):
        yield "it never began"
    if sum(isinstance(event, Ending) for event in events) > 1:
        yield "it ends twice"
    if not _counts(run.spec.model_dump()):
        yield "a number in its spec is too large, or below zero"
    for event in events:
        yield from _misfit(event, len(run.spec.phases))
    keys = {event.key for event in events if isinstance(event, Evaluated)}
    if not keys >= run.evidence.keys():
        yield "it holds answers that belong to none of its scores"
    for evidence in run.evidence.values():
        yield from _of_evidence(evidence)


def _counts(plain: Any) -> bool:
    """Tell whether all whole numbers in plain values can be those of a run."""
    if isinstance(plain, Mapping):
        return all(map(_counts, cast("Mapping[str, Any]", plain).values()))
    if isinstance(plain, list | tuple):
        return all(map(_counts, cast("Sequence[Any]", plain)))
    return not isinstance(plain, int) or -1 <= plain <= MOST_COUNT


def _misfit(event: Event, phases: int) -> Iterator[str]:
    if not _counts(event.model_dump()):
        yield f"a number in {event.kind} is too large, or below zero"
    match event:
        case PhaseBegan() | PhaseEnded() | StepLogged() | Adjusted():
            if not 0 <= event.phase < phases:
                yield f"it has no phase {event.phase + 1}"
        case Evaluated():
            if event.evidence is not None:
                yield "its answers are in the wrong place"
            yield from _of_scores(event.scores)
        case Said():
            sayings = event.sayings
            known = [p for one in sayings for p in (one.likelihood, *(p for _, p in one.words))]
            if not all(math.isnan(p) or 0 <= p <= 1 + 1e-9 for p in known):
                yield "a probability is not between 0 and 1"
        case Traced() | Previewed():
            yield f"{event.kind} is no event of a run"
        case _:
            if isinstance(event, Ending) and not (
                math.isfinite(event.seconds) and event.seconds >= 0
            ):
                yield f"it took {event.seconds} seconds"


def _of_scores(scores: Scores) -> Iterator[str]:
    known = (
        *scores.terms.values(),
        *(score.value(scores) for score in SCORES.values()),
        scores.distinct,
        scores.ended,
    )
    if not all(value is None or -1e-9 <= value <= 1 + 1e-9 for value in known):
        yield "a score is not between 0 and 1"
    if any(key.count("/") != 2 for key in (*scores.terms, *scores.behind)):
        yield "a term is not named as terms are"
    if any(max(of.known, of.cut, of.blind, of.broken) > of.rows for of in scores.behind.values()):
        yield "a term counts more rows than it has"
    if scores.mia_documents and min(scores.mia_documents) < 0:
        yield "a number of documents is below zero"


def _of_evidence(evidence: Evidence) -> Iterator[str]:
    sides = (evidence.membership, *evidence.attacks.values())
    if not evidence.answers:
        yield "answers are missing"
    if any(one is not None and not (one.member and one.nonmember) for one in sides):
        yield "documents of the attack are missing"
    for choice in evidence.choices:
        options = len(choice.options)
        if not 0 <= choice.right < options or len(choice.logprobs) != options:
            yield "a question has not as many options as it should"


def _fold(run: FullRecord) -> None:
    """Fold a run as pages and lists do, which must not fail."""
    row, progress = run.row, RunProgress()
    kinds = [item.event.kind for item in run.events]
    assert "phase_ended" not in kinds or "phase_began" in kinds[: kinds.index("phase_ended")]
    for stretch in _stretches(run.events):  # A replay shows how it stood after each.
        progress = advance(progress, stretch)
        run_view(progress, alive=True, mine=False, now=stretch[-1].at)
    view = run_view(progress, alive=False, mine=False, now=run.created)
    assert not view.live, "it would go on"
    run_summary(row)
    scoreboard(row.spec, row.before, row.after, None)
    terms_strip(row.before, row.after)
    others_of(row.before, row.after)
    changes(row.spec, progress)
    timeline(row.spec, progress)
    points_after(run.events)
    said_steps(row.spec, progress.said)


def _stretches(events: Sequence[StoredEvent]) -> Iterator[Sequence[StoredEvent]]:
    """Cut events after the first of each stage and of each other kind."""
    known: set[str] = set()
    begin = 0
    for end, item in enumerate(events, 1):
        event = item.event
        name = event.stage if isinstance(event, StageBegan) else event.kind
        if name not in known or end == len(events):
            yield events[begin:end]
            known.add(name)
            begin = end
