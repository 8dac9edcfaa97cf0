"""What the official numbers alone do not say: which term is zero, whether a wreck scored well."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from unlearnlab.metrics.official.mmlu import Mmlu
from unlearnlab.metrics.official.scoring import Scored, short_of
from unlearnlab.metrics.verdicts import (
    FEW_OUTPUTS,
    LETTER_SHARES,
    MMLU_GATE_7B,
    constant_letter,
    looks_collapsed,
    looks_untouched,
)

FlagKind = Literal[
    "zero_term",
    "collapsed",
    "few_outputs",
    "missing_outputs",
    "no_effect",
    "below_gate",
    "constant_letter",
    "fewer_terms",
    "mmlu_differs",
]

ROUNDING = 1e-6
"""Averages that differ by less are the same average."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing a reader of the scores should know."""

    kind: FlagKind
    text: str


def flags(scored: Scored, mmlu: Mmlu) -> tuple[Flag, ...]:
    """List what the scores do not show by themselves, the weightiest first."""
    return (*_wreck(scored), *_aggregate(scored), *_outputs(scored), *_mmlu(mmlu))


def _wreck(scored: Scored) -> Iterator[Flag]:
    aggregate, mia = scored.task_aggregate, scored.mia_score
    if aggregate and mia is not None and looks_collapsed(aggregate.value, mia):
        text = (
            f"Collapse: the task aggregate is 0 and the MIA score {mia:.3f}. The attack finds "
            "nothing because nothing is left; the final score is no success."
        )
        yield Flag("collapsed", text)
    if scored.auc and looks_untouched(scored.values, scored.auc.value):
        text = (
            f"No effect: every forget term is near 0 and the AUC is {scored.auc.value:.3f}, as "
            "for a model that nothing was done to."
        )
        yield Flag("no_effect", text)


def _aggregate(scored: Scored) -> Iterator[Flag]:
    zero = [key for key, value in scored.values.items() if value == 0]
    if zero:
        text = f"The task aggregate is 0 because of {', '.join(zero)}."
        yield Flag("zero_term", text)
    if scored.complete and (lacking := short_of(scored)):
        text = f"{len(scored.terms)} terms instead of 12, without {lacking}: not comparable."
        yield Flag("fewer_terms", text)


def _outputs(scored: Scored) -> Iterator[Flag]:
    if scored.missing:
        text = (
            f"{scored.missing} of {scored.rows} outputs are empty, or a word that pandas takes "
            'for missing (NA, None, null); the script scores them as the text "nan".'
        )
        yield Flag("missing_outputs", text)
    if scored.rows and scored.distinct < FEW_OUTPUTS:
        text = f"Only {scored.distinct:.1%} of {scored.rows} outputs are distinct."
        yield Flag("few_outputs", text)


def _mmlu(mmlu: Mmlu) -> Iterator[Flag]:
    if mmlu.average is None:
        return
    if mmlu.average < MMLU_GATE_7B:
        text = (
            f"MMLU {mmlu.average:.3f} is below the task's gate of {MMLU_GATE_7B}: a 7B model is "
            "not ranked. The gate does not hold for 1B models, which start below it."
        )
        yield Flag("below_gate", text)
    if letter := constant_letter(mmlu.average):
        share = LETTER_SHARES[letter]
        text = (
            f"MMLU {mmlu.average:.4f} is what a model scores that always answers {letter} "
            f"({share:.4f}){_chosen(mmlu, letter)}."
        )
        yield Flag("constant_letter", text)
    if mmlu.recomputed is not None and abs(mmlu.recomputed - mmlu.average) > ROUNDING:
        text = (
            f"The subjects' tables give MMLU {mmlu.recomputed:.6f}, metrics.json says "
            f"{mmlu.average:.6f}: they are not of one run, or a table is missing."
        )
        yield Flag("mmlu_differs", text)


def _chosen(mmlu: Mmlu, letter: str) -> str:
    if mmlu.letters is None:
        return "; a model at chance can come as near"
    return f"; it did so for {mmlu.letters[letter]:.1%} of questions"
