"""Causal tracing: what it finds, and averages of that over many facts.

Three kinds of run of the same prompt: clean; corrupted, with noise on the embeddings of the
subject; restored, the corrupted run with some clean states put back. The total effect is what the
noise costs the answer, P(clean) - P(corrupted); the indirect effect of a state is what restoring
it brings back, P(restored) - P(corrupted). Meng et al. 2022, arXiv:2202.05262; as SHA256 uses it,
arXiv:2504.12996.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict

Part = Literal["residual", "mlp", "attention"]
"""Which states are restored: what a block puts out, or what its MLP or its attention adds."""

PARTS: tuple[Part, ...] = get_args(Part)

Role = Literal["before", "first", "middle", "last subject", "after", "last"]
"""Part that a token plays in the prompt: before the subject; its first, a middle, its last token;
after it; the last token of all, at which the answer is read."""

ROLES: tuple[Role, ...] = get_args(Role)


def roles(tokens: int, subject: range) -> tuple[Role, ...]:
    """Give each token its one role. A subject of one token is its own last one."""

    def role(at: int) -> Role:
        if at < subject.start:
            return "before"
        if at in subject:
            if at == subject.stop - 1:
                return "last subject"
            return "first" if at == subject.start else "middle"
        return "last" if at == tokens - 1 else "after"

    return tuple(role(at) for at in range(tokens))


class Found(BaseModel):
    """Base of what tracing finds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FactTrace(Found):
    """The trace of one prompt."""

    kind: Literal["fact"] = "fact"
    id: str
    """Of the row; empty for a typed prompt."""
    prompt: str
    subject: str
    """What was disturbed: whole tokens."""
    answer: str
    tokens: tuple[str, ...]
    """The prompt's, and after them those of the answer's beginning that the model was given."""
    roles: tuple[Role, ...]
    """Of each token."""
    given: int
    """How many of the tokens are the answer's."""
    scored: str
    """The answer's token whose probability is measured."""
    clean: float
    """Its probability in the clean run."""
    corrupted: float
    """The same, in the mean over the noised copies."""
    effects: Mapping[Part, tuple[tuple[float, ...], ...]]
    """Indirect effect by block and token, in the mean over the noised copies."""
    notes: tuple[str, ...] = ()
    """What the reader must know of how it was done."""

    @property
    def total_effect(self) -> float:
        """What the noise costs the answer, in probability."""
        return self.clean - self.corrupted


class Spread(Found):
    """Mean and standard deviation over facts."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Sum up one value of each fact. The standard deviation of a single one is 0."""
        sd = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(mean=statistics.fmean(values), sd=sd)


class TraceAverage(Found):
    """The average over many facts, by the role of tokens."""

    kind: Literal["average"] = "average"
    facts: int
    """Facts that count."""
    unknown: int
    """Facts left out because the clean model's top token is not the answer's."""
    having: Mapping[Role, int]
    """Facts that have tokens of a role."""
    clean: Spread
    corrupted: Spread
    total_effect: Spread
    curves: Mapping[Part, Mapping[Role, tuple[Spread, ...]]]
    """Indirect effect by block."""


def average(traces: Sequence[FactTrace], *, unknown: int) -> TraceAverage:
    """Average traces of models of the same depth.

    A fact's tokens of one role are averaged first, so that a long subject counts no more than a
    short one; then facts are averaged. A fact without tokens of a role does not count there. (The
    published plots take the first subject token for the last one, and what follows the subject
    one token off.)
    """
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
            part: {role: _curve(having, part, role) for role, having in present.items()}
            for part in PARTS
        },
    )


def _curve(traces: Sequence[FactTrace], part: Part, role: Role) -> tuple[Spread, ...]:
    by_fact = [role_effects(trace, part, role) for trace in traces]
    return tuple(Spread.of(values) for values in zip(*by_fact, strict=True))


def role_effects(trace: FactTrace, part: Part, role: Role) -> tuple[float, ...]:
    """Average one trace's indirect effects over its tokens of a role: one number for each block."""
    at = [token for token, played in enumerate(trace.roles) if played == role]
    return tuple(statistics.fmean(block[token] for token in at) for block in trace.effects[part])


def telling_blocks(found: FactTrace | TraceAverage) -> range:
    """Return the blocks around the largest MLP effect in which at least half of it remains."""
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
