"""Causal traces, and averages over many facts.

Three kinds of run of the same prompt: clean; corrupted, with noise on the embeddings of the
subject; restored, the corrupted run with some clean states put back. The total effect is what the
noise costs the answer, P(clean) - P(corrupted); the indirect effect of a state is what its
restoration brings back, P(restored) - P(corrupted). States are restored at one token, or at all
tokens of the subject at once: a name of several tokens may be held by none of them alone. Sources:
Meng et al. 2022, arXiv:2202.05262; SHA256, arXiv:2504.12996; the whole subject is our own.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict

from unlearnlab.metrics.intervals import Interval, t_interval

Part = Literal["residual", "mlp", "attention"]
"""Restored states: the output of a block, or of its MLP or its attention."""

PARTS: tuple[Part, ...] = get_args(Part)

Role = Literal["before", "first", "middle", "last subject", "after", "last"]
"""Position of a token: before the subject; its first, a middle, its last token; after it; the last
token of the prompt, at which the answer is read."""

ROLES: tuple[Role, ...] = get_args(Role)

Row = Literal[Role, "whole subject"]
"""Where states are restored: at the tokens of a role, one at a time, or at the whole subject."""

ROWS: tuple[Row, ...] = get_args(Row)

SUBJECT: tuple[Row, ...] = ("first", "middle", "last subject", "whole subject")


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


class Spread(TraceResult):
    """Mean and standard deviation over facts or noised copies."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise some values. A single one has standard deviation 0."""
        sd = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(mean=statistics.fmean(values), sd=sd)


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
    sds: Mapping[Part, tuple[tuple[float, ...], ...]] = {}
    """Standard deviation of each effect over the noised copies; earlier versions kept none."""
    whole: Mapping[Part, tuple[Spread, ...]] = {}
    """Indirect effect of all tokens of the subject at once, over the noised copies, by block;
    earlier versions did not measure it."""
    copies: int = 0
    """Number of noised copies; 0 for traces of earlier versions."""
    notes: tuple[str, ...] = ()
    """Caveats for the reader."""

    @property
    def total_effect(self) -> float:
        """Return the drop of the answer's probability under noise."""
        return self.clean - self.corrupted


class TraceAverage(TraceResult):
    """The average over many facts, by role of tokens."""

    kind: Literal["average"] = "average"
    facts: int
    """Number of averaged facts."""
    unknown: int
    """Number of facts left out because the clean model's top token is not the answer's."""
    having: Mapping[Row, int]
    """Number of facts with tokens of a role, and of those whose whole subject was restored."""
    clean: Spread
    corrupted: Spread
    total_effect: Spread
    curves: Mapping[Part, Mapping[Row, tuple[Spread, ...]]]
    """Indirect effect by block, for each part and row."""


def average(traces: Sequence[FactTrace], *, unknown: int) -> TraceAverage:
    """Average traces of models of the same depth.

    The tokens of a role are first averaged within each fact, so that a long subject counts no more
    than a short one. A fact without tokens of a role does not count there. (The published plots
    take the first subject token for the last one, and shift what follows by one token.)
    """

    def curve(having: Sequence[FactTrace], part: Part, row: Row) -> tuple[Spread, ...]:
        by_fact = [row_effects(trace, part, row) for trace in having]
        return tuple(Spread.of(values) for values in zip(*by_fact, strict=True))

    present: dict[Row, list[FactTrace]] = {}
    for role in ROLES:
        if having := [trace for trace in traces if role in trace.roles]:
            present[role] = having
    if having := [trace for trace in traces if trace.whole]:
        present["whole subject"] = having
    return TraceAverage(
        facts=len(traces),
        unknown=unknown,
        having={row: len(having) for row, having in present.items()},
        clean=Spread.of([trace.clean for trace in traces]),
        corrupted=Spread.of([trace.corrupted for trace in traces]),
        total_effect=Spread.of([trace.total_effect for trace in traces]),
        curves={
            part: {row: curve(having, part, row) for row, having in present.items()}
            for part in PARTS
        },
    )


def row_effects(trace: FactTrace, part: Part, row: Row) -> tuple[float, ...]:
    """Return a trace's indirect effects at a row: one number per block.

    The effects at the tokens of a role are averaged; the whole subject was restored at once.
    """
    if row == "whole subject":
        return tuple(spread.mean for spread in trace.whole[part])
    at = [token for token, played in enumerate(trace.roles) if played == row]
    return tuple(statistics.fmean(block[token] for token in at) for block in trace.effects[part])


@dataclass(frozen=True, slots=True)
class MapRow:
    """One row of a map: a token, the tokens of a role, or the whole subject."""

    row: Row
    token: int | None
    """Index of the token in a fact's trace; None elsewhere."""
    effects: tuple[Spread, ...]
    """Indirect effect by block."""
    samples: int
    """Number of noised copies, or of facts, that they are means of; 0 if it was not kept."""


def map_rows(found: FactTrace | TraceAverage, part: Part) -> list[MapRow]:
    """List the rows of a part's map: tokens or roles in their order, then the whole subject."""
    if isinstance(found, TraceAverage):
        curves = found.curves[part].items()
        return [MapRow(row, None, curve, found.having[row]) for row, curve in curves]
    blocks = found.effects[part]
    sds = found.sds.get(part) or [[0.0] * len(found.tokens)] * len(blocks)
    rows = [
        MapRow(
            role,
            token,
            tuple(
                Spread(mean=block[token], sd=sd[token])
                for block, sd in zip(blocks, sds, strict=True)
            ),
            found.copies,
        )
        for token, role in enumerate(found.roles)
    ]
    if found.whole:
        rows.append(MapRow("whole subject", None, found.whole[part], found.copies))
    return rows


def window(centre: int, span: int, blocks: int) -> range:
    """Return the blocks of a window, limited to those of the model."""
    return range(max(0, centre - span // 2), min(blocks, centre + span - span // 2))


@dataclass(frozen=True, slots=True)
class Site:
    """Where restored states bring back much of the answer."""

    part: Part
    block: int
    """The block, or the centre of the window."""
    row: Row
    token: int | None
    """Index of the token in a fact's trace; None elsewhere."""
    effect: float
    interval: Interval | None
    """Confidence interval of the effect over noised copies or facts; None if they are fewer than
    two. The site was chosen for its effect, so a repeated trace tends to find a little less."""


def strongest(found: FactTrace | TraceAverage, among: Collection[Row] = ROWS) -> Site | None:
    """Return the MLP or attention whose restoration brings back most; None without such a row.

    The residual stream is left out: at the last token it becomes the answer itself.

    Args:
        found: A trace.
        among: Rows to look at.
    """
    modules: tuple[Part, ...] = ("mlp", "attention")
    cells: list[tuple[Spread, Part, int, MapRow]] = [
        (one, part, block, row)
        for part in modules
        for row in map_rows(found, part)
        if row.row in among
        for block, one in enumerate(row.effects)
    ]
    if not cells:
        return None
    one, part, block, row = max(cells, key=lambda cell: cell[0].mean)
    interval = t_interval(one.mean, one.sd, row.samples)
    return Site(part, block, row.row, row.token, one.mean, interval)


def peak_blocks(found: FactTrace | TraceAverage) -> range:
    """Return the blocks around the largest MLP effect whose effect is at least half of it."""
    by_block = zip(*(row.effects for row in map_rows(found, "mlp")), strict=True)
    peaks = [max(spread.mean for spread in block) for block in by_block]
    first = last = peaks.index(max(peaks))
    while first > 0 and peaks[first - 1] >= max(peaks) / 2:
        first -= 1
    while last + 1 < len(peaks) and peaks[last + 1] >= max(peaks) / 2:
        last += 1
    return range(first, last + 1)
