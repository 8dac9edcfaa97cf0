"""The scores of a run as cards, and the terms of its task aggregate as a strip.

Pure folds of scores. Every score is shown with its direction, its setting and, where it is known,
the score of the retrained model, which never saw the forget set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from unlearnlab.data.datasets import TYPED, DatasetInfo, Kind
from unlearnlab.metrics.intervals import Interval, ScoreIntervals, share_interval
from unlearnlab.metrics.measures import Retrained, retrained_models, retrained_scores
from unlearnlab.metrics.scores import (
    CHANCE,
    PUSHED_TOO_FAR,
    SCORES,
    STILL_REMEMBERED,
    Score,
    Scores,
    shown_scores,
)
from unlearnlab.metrics.verdicts import (
    GATES,
    OUTCOMES,
    Remains,
    Verdict,
    VerdictKind,
    over_picked,
    taught_verdict,
    verdict,
    whole_percent,
)
from unlearnlab.runs.events import Ending
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.run import DataSpec, ModelSpec, RunSpec
from unlearnlab.views.answers import mask
from unlearnlab.views.words import stopped_text

TASKS: Mapping[str, str] = {"Task1": "Stories", "Task2": "People", "Task3": "Entries"}
"""Display names of the subtasks."""


def titles_of(known: DatasetInfo) -> Mapping[str, str]:
    """Return the subtasks' display names, which a dataset may replace."""
    return {**TASKS, **known.titles}


KINDS: Mapping[Kind, str] = {"sc": "recite", "qa": "answer"}
"""Display names of the kinds of rows."""

SPLITS: Mapping[str, str] = {"forget": "Forget", "retain": "Retain"}

MOODS: Mapping[VerdictKind, str] = {kind: one.mood for kind, one in OUTCOMES.items()}
"""Whether a verdict is good or bad news, which is its colour."""


@dataclass(frozen=True, slots=True)
class ScoreCard:
    """One score of a run, before and after, 0 to 1."""

    score: Score
    title: str
    """Title of the score, or of the test behind it."""
    before: float | None
    after: float | None
    reference: float | None
    """The retrained model's."""
    note: str
    """Such as the attack's AUC or the level of chance."""
    opens: str = ""
    """Rows behind it: the key of a term, or "all"; empty if none can be shown."""
    interval: Interval | None = None
    """Confidence interval of the shown value."""
    within_noise: bool = False
    """Whether it moved by no more than noise."""


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """The scores of a run."""

    cards: tuple[ScoreCard, ...]
    verdict: Verdict | None
    protocol: str
    """How utility was measured."""
    attack: str
    """Which rows served as non-members; empty for the data's own and without an attack."""
    setting: str
    """What the numbers were measured on."""
    seeds: str = ""
    """Mean and spread over runs that differ in the seed; empty for one seed."""
    alone: bool = False
    """Whether nothing was trained: there is one model, scored as it is."""
    headline: tuple[tuple[str, str], ...] = ()
    """The verdict as one sentence: texts, each with the role that colours it, or none."""


def headline(
    judged: Verdict, auc: float | None, auc_before: float | None = None
) -> tuple[tuple[str, str], ...]:
    """Say a verdict in one sentence, as texts with the role of their colour.

    Args:
        judged: The verdict.
        auc: AUC of the membership attack on the unlearned model; none without an attack.
        auc_before: On the original model: what was not detectable before says nothing after.

    Returns:
        Such as "Forgets 96%", ", ", "keeps 97%", ", ", "still detectable", " (AUC 0.75)"; the
        verdict's title where there is no share to tell.
    """
    if judged.forgets is None or judged.kind == "not_measurable":
        return ((judged.title, ""),)
    told = [(f"Forgets {whole_percent(judged.forgets)}", "forget")]
    if judged.kind in ("over_unlearned", "collapsed"):
        told = [(f"{judged.title}: ", ""), (told[0][0].lower(), "forget")]
    if judged.keeps is not None:
        told += [(", ", ""), (f"keeps {whole_percent(judged.keeps)}", "retain")]
    if auc is not None and (auc_before is None or auc_before > STILL_REMEMBERED):
        traces = "still detectable" if auc > STILL_REMEMBERED else "not detectable"
        if auc < PUSHED_TOO_FAR:
            traces = "detectable by its high loss"
        told += [(", ", ""), (traces, "membership"), (f" (AUC {auc:.2f})", "")]
    return (*told, (".", ""))


T = TypeVar("T")


def at_ends(spec: RunSpec, before: T, after: T, none: T) -> tuple[T, T]:
    """Return what a run began and ended with: an evaluation-only run ends with what it scored.

    Args:
        spec: The run.
        before: Value of the original model.
        after: Value of the unlearned one.
        none: Value of no model.
    """
    return (none, before) if spec.only_scores else (before, after)


def scoreboard(
    spec: RunSpec,
    before: Scores | None,
    after: Scores | None,
    reference: Scores | None,
    *,
    ending: Ending | None = None,
    intervals: ScoreIntervals | None = None,
    seeds: str = "",
    found: Remains | None = None,
    masked: bool = True,
) -> Scoreboard:
    """Lay the scores before, after and of the retrained model side by side.

    Scores that mean something for unlearning alone are left out of runs that teach the forget set.

    Args:
        spec: The run.
        before: Scores of the original model.
        after: Scores of the unlearned model.
        reference: Scores of the retrained model.
        ending: How the run ended: the verdict tells if its training was ended early.
        intervals: Confidence intervals of the scores, where their evidence is at hand.
        seeds: Spread over runs of this spec with other seeds, in words.
        found: Forget rows that are still known, which the verdict then names.
        masked: Whether their names, numbers and addresses are hidden: see `names_masked`.
    """
    before, after = at_ends(spec, before, after, None)
    shown = after or before
    reference = of_one_test(reference, shown)
    titles = titles_of(spec.data.known)
    judges = f"forget terms over {over_picked(shown.picked)}, " if shown and shown.picked else ""
    rows = f"{shown.rows} rows of {spec.data.known.title}, " if shown else ""
    tokens = spec.evaluation.max_new_tokens
    told = ", in float32" if spec.evaluation.score_in_float32 else ""
    if shown and (cut := shown.cut)[0]:
        told += (
            f"; {cut[0]} of {cut[1]} expected answers are longer than the limit of {tokens} tokens"
        )
    if shown and (blind := shown.blind)[0]:
        told += f"; {blind[0]} of {blind[1]} expected texts hold hardly a letter that ROUGE counts"
    teaches = "forget" in spec.taught
    found_verdict = judged(spec, before, after, ending)
    return Scoreboard(
        cards=tuple(
            _card(score, before, after, reference, intervals, titles)
            for score in shown_scores()
            if not (teaches and score.unlearning_only)
        ),
        verdict=_naming(found_verdict, None if spec.taught else found, masked=masked),
        protocol=shown.utility_protocol if shown else "",
        attack=shown.mia_protocol if shown and shown.mia_auc is not None else "",
        setting=f"{rows}{judges}{spec.data.fold} fold, greedy, up to {tokens} tokens{told}",
        seeds=seeds,
        alone=spec.only_scores,
        headline=headline(found_verdict, after.mia_auc, before.mia_auc if before else None)
        if found_verdict and after
        else (),
    )


def _card(
    score: Score,
    before: Scores | None,
    after: Scores | None,
    reference: Scores | None,
    intervals: ScoreIntervals | None,
    titles: Mapping[str, str],
) -> ScoreCard:
    shown = after or before
    note, opens = score.note(shown) if shown else "", ""
    if score.key == "task_aggregate" and shown and score.value(shown) is not None:
        zero = zeroing(shown)
        if zero:
            note = (
                f"zero because of {term_name(zero[0], titles)}"
                if after
                else "zero until something is forgotten"
            )
        opens = zero[0] if zero and after else "all"
    note = "; ".join(filter(None, (note, _doubt(score, before, shown))))
    if score.key == "utility" and (beside := _perplexities(before, after)):
        note = f"{note}; held-out perplexity {beside}"
    return ScoreCard(
        score,
        score.title_for(shown),
        *(score.value(of) if of else None for of in (before, after, reference)),
        note=note,
        opens=opens,
        interval=intervals.shown.get(score.key) if intervals else None,
        within_noise=intervals is not None and intervals.within_noise(score.key),
    )


def _perplexities(*of: Scores | None) -> str:
    """Write the perplexities of held-out text, as far as they were measured."""
    known = (scores.perplexity for scores in of if scores)
    return " → ".join(f"{value:.3g}" for value in known if value is not None)


def _doubt(score: Score, before: Scores | None, shown: Scores | None) -> str:
    """Say why a score that was measured may mean nothing; empty without a reason."""
    if score.key == "mia_score" and before and before.mia_auc is not None:
        alike = PUSHED_TOO_FAR <= before.mia_auc <= STILL_REMEMBERED
        if alike and not before.official_attack:
            return (
                f"the original's AUC is {before.mia_auc:.2f}: it has seen the held-out rows as "
                "well, or never learnt the forget rows"
            )
    if score.key != "utility" or not shown or shown.constant_letter or not shown.measures_mmlu:
        return ""
    asked = shown.utility_questions
    if shown.utility is None or CHANCE not in share_interval(round(shown.utility * asked), asked):
        return ""
    return "chance lies in its interval, so it says little: read the held-out perplexity"


def of_one_test(reference: Scores | None, shown: Scores | None) -> Scores | None:
    """Leave out of a reference what another test measured than of the shown scores."""
    if not reference or not shown:
        return reference
    other: dict[str, None] = {}
    if reference.utility_protocol != shown.utility_protocol:
        other |= {"utility": None, "final": None}
    if reference.mia_protocol != shown.mia_protocol:
        other |= {"mia_auc": None, "mia_score": None, "final": None}
    return reference.model_copy(update=other) if other else reference


def compares_with_retrained(spec: RunSpec) -> bool:
    """Return whether the embedded retrained model is the ideal result of a run.

    It never saw any forget row of the embedded data, so it is no ideal where only some rows are
    to be forgotten.
    """
    data = spec.data
    embedded = spec.model.name == ModelSpec().name and data.source == DataSpec().source
    return embedded and data.forget is None


def retrained_of(spec: RunSpec) -> Retrained | None:
    """Return the retrained model that a run's measures are compared with, if any."""
    return retrained_models().get(spec.data.fold) if compares_with_retrained(spec) else None


def utility_name(scores: Scores | None) -> str:
    """Name the utility test; the embedded target's is a quiz and never MMLU."""
    return SCORES["utility"].title_for(scores)


def name_of(score: Score, *of: Scores | None) -> str:
    """Name a score within a sentence: by the test behind these scores, or by its title."""
    named = score.title_for(*of)
    return score.words if named == score.title else named


def judged(
    spec: RunSpec, before: Scores | None, after: Scores | None, ending: Ending | None = None
) -> Verdict | None:
    """Judge a run by its goal, to unlearn or to teach; None before it was scored.

    The evidence of a run whose training was ended early begins with that.
    """
    if before is None or after is None:
        return None
    fold = spec.data.fold
    if spec.taught:
        found = taught_verdict(before, after, spec.taught, spec.data.tasks)
    else:
        found = verdict(
            before,
            after,
            spec.data.tasks,
            gate=GATES.get(spec.model.name),
            reference=retrained_scores().get(fold) if compares_with_retrained(spec) else None,
            titles=titles_of(spec.data.known),
        )
    if not (stopped := stopped_text(ending)):
        return found
    return replace(found, evidence=(f"Training was {stopped}.", *found.evidence))


NAMED = 3
"""Rows that a verdict names."""

NAMED_LENGTH = 48
"""Characters of a text that it quotes."""


def names_masked(row: RunRecord) -> bool:
    """Tell whether a verdict masks what it names: personal data, but not facts typed here."""
    typed = row.spec.data.known.source == TYPED and not row.origin
    return row.personal and not typed


def _naming(judged: Verdict | None, found: Remains | None, *, masked: bool) -> Verdict | None:
    """Add to a verdict which facts stayed."""
    if judged is None or found is None or not found.still:
        return judged
    hide: Callable[[str], str] = mask if masked else str
    quoted = [
        f"“{_short(hide(one.expected))}” for “{_short(hide(one.prompt))}”"
        for one in found.still[:NAMED]
    ]
    left = len(found.still) - len(quoted)
    more = f" and {left} more" if left else ""
    line = f"Stayed, {len(found.still)} of {found.knew} known rows: {', '.join(quoted)}{more}."
    first, *others = judged.evidence
    return replace(judged, evidence=(first, line, *others))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= NAMED_LENGTH else f"{plain[: NAMED_LENGTH - 1].rstrip()}…"


@dataclass(frozen=True, slots=True)
class Term:
    """One of the twelve terms of the task aggregate, 0 to 1, up is good."""

    key: str
    """As the scores have it: `split/task/kind`."""
    column: str
    """Subtask and kind in words, such as "People answer"."""
    before: float | None
    after: float | None
    zeroes: bool
    """Whether it makes the aggregate zero."""
    interval: Interval | None = None
    """Confidence interval of the shown value."""
    within_noise: bool = False
    """Whether it moved by no more than noise."""

    @property
    def split(self) -> str:
        """Return the set it belongs to."""
        return self.key.partition("/")[0]

    @property
    def value(self) -> float | None:
        """Return the value to show: after if it is known."""
        return self.before if self.after is None else self.after


def term_name(key: str, titles: Mapping[str, str] = TASKS) -> str:
    """Name a term in words: `forget/Task2/qa` is "Forget · People answer"."""
    split, task, kind = key.split("/")
    words = KINDS["qa" if kind == "qa" else "sc"]
    return f"{SPLITS.get(split, split)} · {titles.get(task, task)} {words}"


def zeroing(scores: Scores) -> tuple[str, ...]:
    """List the keys of the terms that make the aggregate zero."""
    return tuple(key for key, value in scores.terms.items() if value <= 0)


def terms_strip(
    before: Scores | None,
    after: Scores | None,
    titles: Mapping[str, str] = TASKS,
    *,
    intervals: ScoreIntervals | None = None,
) -> tuple[Term, ...]:
    """Lay out the terms: the six of forget, then the six of retain.

    Subtasks without rows get no column. Zeroes are pointed out after unlearning only: an untouched
    model's forget terms are zero.

    Args:
        before: Scores of the original model.
        after: Scores of the unlearned one.
        titles: Names of the subtasks.
        intervals: Confidence intervals of the terms, where their evidence is at hand.
    """
    found: list[Term] = []
    known = [key for scores in (before, after) if scores for key in scores.terms]
    measured = {key.partition("/")[2] for key in known}
    for split in SPLITS:
        for task, name in titles.items():
            for kind, words in KINDS.items():
                if measured and f"{task}/{kind}" not in measured:
                    continue
                key = f"{split}/{task}/{kind}"
                then = before.terms.get(key) if before else None
                now = after.terms.get(key) if after else None
                zero = now is not None and now <= 0
                interval = intervals.shown.get(key) if intervals else None
                noise = intervals is not None and intervals.within_noise(key)
                found.append(Term(key, f"{name} {words}", then, now, zero, interval, noise))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Others:
    """The forget rows that were not picked, and their scores."""

    count: int
    moved: bool
    """Whether they were moved to the retain set, and so should still be known."""
    columns: tuple[tuple[str, float | None, float | None], ...]
    """Subtask and kind in words, and the mean row scores before and after: up is still known."""


def others_of(
    before: Scores | None, after: Scores | None, titles: Mapping[str, str] = TASKS
) -> Others | None:
    """Return the scores of forget rows that were not picked; None if all were picked."""
    first, last = (scores.picked if scores else None for scores in (before, after))
    known = first or last
    if known is None or not known.others:
        return None
    then: Mapping[str, float] = first.kept if first else {}
    now: Mapping[str, float] = last.kept if last else {}
    columns = tuple(
        (f"{name} {words}", then.get(key), now.get(key))
        for task, name in titles.items()
        for kind, words in KINDS.items()
        if (key := f"{task}/{kind}") in known.kept
    )
    return Others(known.others, known.rest == "retain", columns)
