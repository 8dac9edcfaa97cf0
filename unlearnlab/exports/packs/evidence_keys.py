"""Keys of evidence: what strangers claim of a model is never taken for our measurement of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from unlearnlab.exports.packs.format import digest_of
from unlearnlab.exports.packs.privacy import without_answers, without_place
from unlearnlab.metrics.scores import Evidence
from unlearnlab.runs.events import Evaluated, Exported, ExportFailed
from unlearnlab.runs.records import FullRecord

_ELSEWHERE = "elsewhere/"
"""Begins the keys of evidence that came in a pack, with what it holds named after it."""


def same(one: FullRecord, other: FullRecord) -> bool:
    """Tell whether two records are of one run.

    What was asked of its models or written of them later does not count, nor what readers call it,
    nor what a pack leaves out.
    """
    return _work(one) == _work(other)


def _work(run: FullRecord) -> tuple[str, float, list[tuple[float, str]]]:
    run = without_place(without_answers(plain_keys(run)))
    events = [
        (item.at, item.event.model_dump_json())
        for item in run.events
        if not isinstance(item.event, Exported | ExportFailed)
    ]
    return run.spec.model_dump_json(), run.created, events


def isolated(run: FullRecord, ours: Callable[[str], Evidence | None]) -> FullRecord:
    """Put a run's evidence under keys of its own.

    Under its plain key, what a stranger claims of a model would be taken for our own measurement
    of it by every later run. It keeps that key only where the very same is kept here already.

    Args:
        run: The run, as it was packed.
        ours: Returns the evidence that is kept under a key, if there is any.
    """
    keys = {item.event.key for item in run.events if isinstance(item.event, Evaluated)}
    names: dict[str, str] = {}
    for key in keys:
        evidence = run.evidence.get(key)
        known = evidence is not None and _named(ours(key)) == _named(evidence)
        names[key] = key if known else f"{_ELSEWHERE}{_named(evidence)}/{key}"
    return _renamed(run, names)


def _named(evidence: Evidence | None) -> str:
    return digest_of(evidence.model_dump_json().encode()) if evidence else "none"


def plain_keys(run: FullRecord) -> FullRecord:
    """Undo `isolated`: name evidence as it was where the run was carried out."""
    keys = {item.event.key for item in run.events if isinstance(item.event, Evaluated)}
    return _renamed(run, {key: _plain(key) for key in keys})


def _plain(key: str) -> str:
    return key.split("/", 2)[-1] if key.startswith(_ELSEWHERE) else key


def _renamed(run: FullRecord, names: Mapping[str, str]) -> FullRecord:
    events = tuple(
        replace(item, event=item.event.model_copy(update={"key": names[item.event.key]}))
        if isinstance(item.event, Evaluated)
        else item
        for item in run.events
    )
    evidence = {names[key]: one for key, one in run.evidence.items()}
    return replace(run, events=events, evidence=evidence)
