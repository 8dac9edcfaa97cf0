"""What evidence amounts to beyond the scores, worked out once: bootstraps take a moment."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, cast

from unlearnlab.metrics.intervals import Interval, ScoreIntervals, score_intervals
from unlearnlab.metrics.measures import Retrained, Taken, measured, retrained_models, taken
from unlearnlab.metrics.membership import Attack, attack
from unlearnlab.metrics.scores import Evidence, scored_evidence

KEPT = 64
"""Pairs of models whose intervals stay in memory."""

Picked = tuple[str, ...] | None
"""Ids of the forget rows that a run is judged by; none for all."""


_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Absent(Exception):
    """Carries an empty result past `lru_cache`, which keeps no exceptions."""


def remembered(size: int, read: Callable[_P, _T]) -> Callable[_P, _T]:
    """Cache the latest results of a function, except empty ones: an import may bring them yet.

    Args:
        size: How many results stay in memory.
        read: The function. What its arguments name must never change once it exists.
    """

    @lru_cache(size)
    def kept(*args: Any) -> Any:
        if found := cast("Callable[..., Any]", read)(*args):
            return found
        raise _Absent(found)

    def asked(*args: Any) -> Any:
        try:
            return kept(*args)
        except _Absent as absent:
            return absent.args[0]

    return cast("Callable[_P, _T]", asked)


class Derived:
    """Intervals, attacks and measures by the keys of evidence, which never changes."""

    def __init__(self, evidence: Callable[[str], Evidence | None]) -> None:
        self._evidence = evidence
        self.intervals = remembered(KEPT, self._intervals)
        self.attack = remembered(KEPT, self._attack)
        self.taken = remembered(KEPT, self._taken)
        self.measured = remembered(4 * KEPT, self._measured)

    def _pair(
        self, before: str, after: str, picked: Picked
    ) -> tuple[Evidence, Evidence | None] | None:
        then, now = self._evidence(before), self._evidence(after) if after else None
        if then is None or (after and now is None):
            return None
        return scored_evidence(then, picked), scored_evidence(now, picked) if now else None

    def _intervals(self, before: str, after: str, picked: Picked) -> ScoreIntervals | None:
        """Bootstrap the scores of a run; none if their evidence is not kept."""
        pair = self._pair(before, after, picked)
        return score_intervals(*pair) if pair else None

    def _attack(self, key: str) -> Attack | None:
        """Measure the membership attack on a model; none without documents."""
        found = self._evidence(key)
        return attack(found.membership) if found and found.membership else None

    def _taken(self, before: str, after: str, picked: Picked, fold: str) -> Sequence[Taken]:
        """Take all measures; `fold` names the retrained model, empty for none."""
        pair = self._pair(before, after, picked)
        retrained: Retrained | None = retrained_models().get(fold) if fold else None
        return taken(*pair, retrained) if pair else ()

    def _measured(self, key: str, picked: Picked, fold: str) -> Mapping[str, Interval]:
        """Take all measures of one model; `fold` names the retrained model, empty for none."""
        evidence = self._evidence(key)
        retrained = retrained_models().get(fold) if fold else None
        return measured(scored_evidence(evidence, picked), retrained) if evidence else {}
