"""Whether a run from elsewhere makes sense: what pages, lists and reports fold must not fail.

Each event may be valid by itself and still belong to no run: a phase that the spec does not have,
two endings, a score of nothing. One such run would break every list that it stands in.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from unlearnlab.exports.packs.format import PackError
from unlearnlab.metrics.scores import SCORES, Evidence, Scores
from unlearnlab.runs.events import (
    Adjusted,
    Ending,
    Evaluated,
    Event,
    PhaseBegan,
    PhaseEnded,
    Previewed,
    StageBegan,
    Started,
    StepLogged,
    StoredEvent,
    Traced,
)
from unlearnlab.runs.progress import RunProgress, advance, points_after, run_view
from unlearnlab.runs.records import FullRecord
from unlearnlab.views.phases import changes, timeline
from unlearnlab.views.runs import run_summary
from unlearnlab.views.scoreboard import others_of, scoreboard, terms_strip

MOST = 10**13
"""Of anything that a run counts: no model has as many parameters. A page can tell larger whole
numbers no more, from 64 bits on."""


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
    events = [item.event for item in run.events]
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
    return not isinstance(plain, int) or -1 <= plain <= MOST


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
    if any(key.count("/") != 2 for key in scores.terms):
        yield "a term is not named as terms are"


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
    """Do with its events what pages and lists do."""
    row, course = run.row, RunProgress()
    for stretch in _stretches(run.events):  # A replay shows how it stood after each.
        course = advance(course, stretch)
        run_view(course, alive=True, mine=False, now=stretch[-1].at)
    view = run_view(course, alive=False, mine=False, now=run.created)
    assert not view.live, "it would go on"
    run_summary(row)
    scoreboard(row.spec, row.before, row.after, None)
    terms_strip(row.before, row.after)
    others_of(row.before, row.after)
    changes(row.spec, course)
    timeline(row.spec, course)
    points_after(run.events)


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
