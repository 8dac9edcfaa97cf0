"""How far the scores of a run could be off, and whether they moved by more than that.

All intervals are bootstraps over rows, documents and questions of one model. The same rows are
drawn for the model before and after, so that a change is judged row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from unlearnlab.metrics.noise import RESAMPLES, Interval, finite_sides, harmonic_means, percentiles
from unlearnlab.metrics.scores import Answer, Evidence, Membership, Scores, picked, scores

AGGREGATE, MIA, UTILITY, FINAL = "task_aggregate", "mia_score", "utility", "final"
"""Keys of what is no term."""


@dataclass(frozen=True, slots=True)
class Spreads:
    """Intervals by term (`split/task/kind`) and by name of a score."""

    before: Mapping[str, Interval]
    after: Mapping[str, Interval]
    """Empty until the unlearned model was scored."""
    change: Mapping[str, Interval]
    """After minus before; empty too where the two were measured on different rows."""

    @property
    def shown(self) -> Mapping[str, Interval]:
        """Return the intervals of the model whose scores are shown: after if it is known."""
        return self.after or self.before

    def within_noise(self, key: str) -> bool:
        """Tell whether a score moved by no more than chance in the choice of rows explains."""
        return key in self.change and 0.0 in self.change[key]


def spreads(before: Evidence, after: Evidence | None = None) -> Spreads:
    """Bootstrap all scores of a run."""
    if after is None:
        return Spreads(_intervals(scores(before), _draws(before)[0]), {}, {})
    paired = _aligned(before, after)
    then, now = _draws(before, after) if paired else [_draws(of)[0] for of in (before, after)]
    one, other = _intervals(scores(before), then), _intervals(scores(after), now)
    change = {
        key: percentiles(other[key].value - one[key].value, now[key] - then[key])
        for key in other
        if paired and key in one
    }
    return Spreads(one, other, change)


def _aligned(one: Evidence, other: Evidence) -> bool:
    """Tell whether two models were asked the same rows, documents and questions, in order."""
    rows = [[(answer.split, answer.row) for answer in of.answers] for of in (one, other)]
    asked = [[choice.question for choice in of.choices] for of in (one, other)]
    read = [of.membership and _sizes(of.membership) for of in (one, other)]
    return rows[0] == rows[1] and asked[0] == asked[1] and read[0] == read[1]


def _sizes(membership: Membership) -> tuple[int, int]:
    return len(membership.member), len(membership.nonmember)


def _intervals(of: Scores, draws: Mapping[str, Any]) -> dict[str, Interval]:
    known: dict[str, float | None] = {
        **of.terms,
        AGGREGATE: of.task_aggregate,
        MIA: of.mia_score,
        UTILITY: of.utility,
        FINAL: of.final,
    }
    return {
        key: percentiles(value, draws[key])
        for key, value in known.items()
        if value is not None and key in draws
    }


def _draws(*of: Evidence) -> list[dict[str, Any]]:
    """Draw bootstrap values of every score for aligned evidence: [RESAMPLES] by key, for each."""
    np: Any = import_module("numpy")
    found: list[dict[str, Any]] = [{} for _ in of]

    def add(key: str, samples: Sequence[Any]) -> None:
        for one, sample in zip(found, samples, strict=True):
            one[key] = sample

    groups: dict[str, list[int]] = {}
    for at, answer in enumerate(of[0].answers):
        groups.setdefault(_term(answer), []).append(at)
    for seed, (key, places) in enumerate(groups.items()):
        means = _means([[one.answers[at].score for at in places] for one in of], seed)
        # Rounding must not turn a term that is zero in every sample into one that nearly is.
        add(key, np.round(1 - means if key.startswith("forget") else means, 12))
    add(AGGREGATE, [harmonic_means(np.stack(list(one.values()))) for one in found])
    if of[0].choices:
        right = [[float(picked(c) == c.right) for c in one.choices] for one in of]
        add(UTILITY, _means(right, len(groups)))
    if losses := [one.membership for one in of if one.membership]:
        add(MIA, [1 - 2 * abs(auc - 0.5) for auc in _aucs(losses, len(groups) + 1)])
    if MIA in found[0] and UTILITY in found[0]:
        add(FINAL, [(one[AGGREGATE] + one[MIA] + one[UTILITY]) / 3 for one in found])
    return found


def _term(answer: Answer) -> str:
    return f"{answer.split}/{answer.task}/{answer.kind}"


def _means(columns: Sequence[Sequence[float]], seed: int) -> Any:
    """Draw the means of some models' scores over the same rows: [models, RESAMPLES]."""
    np: Any = import_module("numpy")
    # Rows that score alike under every model are drawn together: the same distribution, faster.
    rows, times = np.unique(np.asarray(columns, dtype=float).T, axis=0, return_counts=True)
    count = len(columns[0])
    drawn = np.random.default_rng(seed).multinomial(count, times / count, size=RESAMPLES)
    return (drawn @ rows / count).T


def _aucs(of: Sequence[Membership], seed: int) -> list[Any]:
    """Draw the attack's AUC on some models over the same documents: [RESAMPLES] for each."""
    np: Any = import_module("numpy")
    random = np.random.default_rng(seed)
    member, other = (random.multinomial(n, [1 / n] * n, size=RESAMPLES) for n in _sizes(of[0]))
    drawn: list[Any] = []
    for losses in of:
        low, high = (np.asarray(side)[:, None] for side in finite_sides(losses))
        won = (low < high.T) + 0.5 * (low == high.T)
        drawn.append(((member @ won) * other).sum(axis=1) / (won.shape[0] * won.shape[1]))
    return drawn
