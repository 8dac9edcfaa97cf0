"""Causal traces, and averages over many facts.

Three kinds of run of the same prompt: clean; corrupted, with noise on the embeddings of the
subject; restored, the corrupted run with some clean states put back. The total effect is what the
noise costs the answer, P(clean) - P(corrupted); the indirect effect of a state is what its
restoration brings back, P(restored) - P(corrupted). Sources: Meng et al. 2022, arXiv:2202.05262;
SHA256, arXiv:2504.12996.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict

Part = Literal["residual", "mlp", "attention"]
"""Restored states: the output of a block, or of its MLP or its attention."""

PARTS: tuple[Part, ...] = get_args(Part)

Role = Literal["before", "first", "middle", "last subject", "after", "last"]
"""Position of a token: before the subject; its first, a middle, its last token; after it; the last
token of the prompt, at which the answer is read."""

ROLES: tuple[Role, ...] = get_args(Role)


def roles(tokens: int, subject: range) -> tuple[Role, ...]:
    """Return the role of each token. The only token of a subject is its last one."""

    def role(at: int) -> Role:
        if at < subject.start:
            return "before"
        if at in subject:
            if at == subject.stop - 1:
                return "last subject"
            return "first" if at == subject.start else "middle"
        return "last" if at == tokens - 1 else "after"

    return tuple(role(at) for at in range(tokens))


class TraceResult(BaseModel):
    """Base of traces and their averages."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FactTrace(TraceResult):
    """The trace of one prompt."""

    kind: Literal["fact"] = "fact"
    id: str
    """Id of the row; empty for a typed prompt."""
    prompt: str
    subject: str
    """The text whose embeddings were noised: whole tokens."""
    answer: str
    tokens: tuple[str, ...]
    """The prompt's tokens, then those at the start of the answer that the model was given."""
    roles: tuple[Role, ...]
    """Role of each token."""
    given: int
    """Number of tokens that belong to the answer."""
    scored: str
    """The answer's token whose probability is measured."""
    clean: float
    """Its probability in the clean run."""
    corrupted: float
    """Its mean probability over the noised copies."""
    effects: Mapping[Part, tuple[tuple[float, ...], ...]]
    """Mean indirect effect over the noised copies, by block and token."""
    notes: tuple[str, ...] = ()
    """Caveats for the reader."""

    @property
    def total_effect(self) -> float:
        """Return the drop of the answer's probability under noise."""
        return self.clean - self.corrupted


class Spread(TraceResult):
    """Mean and standard deviation over facts."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise one value per fact. A single value has standard deviation 0."""
        sd = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(mean=statistics.fmean(values), sd=sd)


class TraceAverage(TraceResult):
    """The average over many facts, by role of tokens."""

    kind: Literal["average"] = "average"
    facts: int
    """Number of averaged facts."""
    unknown: int
    """Number of facts left out because the clean model's top token is not the answer's."""
    having: Mapping[Role, int]
    """Number of facts with tokens of a role."""
    clean: Spread
    corrupted: Spread
    total_effect: Spread
    curves: Mapping[Part, Mapping[Role, tuple[Spread, ...]]]
    """Indirect effect by block, for each part and role."""


def average(traces: Sequence[FactTrace], *, unknown: int) -> TraceAverage:
    """Average traces of models of the same depth.

    The tokens of a role are first averaged within each fact, so that a long subject counts no more
    than a short one. A fact without tokens of a role does not count there. (The published plots
    take the first subject token for the last one, and shift what follows by one token.)
    """

    def curve(having: Sequence[FactTrace], part: Part, role: Role) -> tuple[Spread, ...]:
        by_fact = [role_effects(trace, part, role) for trace in having]
        return tuple(Spread.of(values) for values in zip(*by_fact, strict=True))

    present: dict[Role, list[FactTrace]] = {}
    for role in ROLES:
        if having := [trace for trace in traces if role in trace.roles]:
            present[role] = having
    return TraceAverage(
        facts=len(traces),
        unknown=unknown,
        having={role: len(having) for role, having in present.items()},
        clean=Spread.of([trace.clean for trace in traces]),
        corrupted=Spread.of([trace.corrupted for trace in traces]),
        total_effect=Spread.of([trace.total_effect for trace in traces]),
        curves={
            part: {role: curve(having, part, role) for role, having in present.items()}
            for part in PARTS
        },
    )


def role_effects(trace: FactTrace, part: Part, role: Role) -> tuple[float, ...]:
    """Average a trace's indirect effects over its tokens of a role: one number per block."""
    at = [token for token, played in enumerate(trace.roles) if played == role]
    return tuple(statistics.fmean(block[token] for token in at) for block in trace.effects[part])


def peak_blocks(found: FactTrace | TraceAverage) -> range:
    """Return the blocks around the largest MLP effect whose effect is at least half of it."""
    if isinstance(found, FactTrace):
        peaks = [max(block) for block in found.effects["mlp"]]
    else:
        rows = zip(*found.curves["mlp"].values(), strict=True)
        peaks = [max(spread.mean for spread in row) for row in rows]
    first = last = peaks.index(max(peaks))
    while first > 0 and peaks[first - 1] >= max(peaks) / 2:
        first -= 1
    while last + 1 < len(peaks) and peaks[last + 1] >= max(peaks) / 2:
        last += 1
    return range(first, last + 1)
