"""What a trace found: probabilities, maps of token by block, curves by block; windows beside them.

Text of models and users is escaped by the templates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearnlab.metrics.tracing import (
    PARTS,
    ROLES,
    FactTrace,
    Part,
    Role,
    Spread,
    TraceAverage,
    peak_blocks,
    role_effects,
)
from unlearnlab.runs.events import Traced
from unlearnlab.spec.presets import presets
from unlearnlab.spec.trace import TraceSpec, default_window, window_reason
from unlearnlab.ui.kit.charts import TAKE, Cell, Figure, figure_html
from unlearnlab.ui.kit.html import escape, render
from unlearnlab.views.answers import hidden, mask
from unlearnlab.views.benchmarks import Windows

TITLES: Mapping[Part, str] = {"residual": "Residual stream", "mlp": "MLP", "attention": "Attention"}

NAMES: Mapping[Role, str] = {
    "before": "before subject",
    "first": "first subject",
    "middle": "middle subject",
    "last subject": "last subject",
    "after": "after subject",
    "last": "last token",
}
"""Names of the roles of tokens on the page, short enough for the edge of a map."""

SUBJECT: tuple[Role, ...] = ("first", "middle", "last subject")

LOOKS: Mapping[Role, tuple[str, str]] = {
    "before": ("--mute", "dot"),
    "first": ("--trace", "dot"),
    "middle": ("--trace", "dash"),
    "last subject": ("--trace", "solid"),
    "after": ("--mute", "dash"),
    "last": ("--ink", "solid"),
}
"""Colour and dash of each role's curve."""

SHADED: tuple[Role, ...] = ("last subject", "last")
"""Roles with a band of one standard deviation: six overlapping bands cannot be read."""

Result = FactTrace | TraceAverage


def trace_html(spec: TraceSpec, traced: Traced, *, masked: bool) -> str:
    """Draw the result of a trace."""
    found = traced.found
    figure = figure_html(curves_figure(found))
    return (
        f"{_numbers(found, masked)}{_maps(spec, traced, masked)}"
        f'<section class="card" aria-label="Average by block">{figure}'
        f'<p class="told">{escape(_averaged(found))}</p></section>'
    )


def _numbers(found: Result, masked: bool) -> str:
    values = (found.clean, found.corrupted, found.total_effect)
    named = zip(("Clean probability", "Corrupted probability", "Total effect"), values, strict=True)
    if isinstance(found, FactTrace):
        notes = [mask(note) if masked else note for note in found.notes]
        answer, scored = found.answer, found.scored.strip()
        said = {
            "answer": hidden(answer) if masked else answer,
            "scored": hidden(scored) if masked else scored,
        }
        cells = [(name, value, None) for name, value in named]
        return render("trace/result.html", "numbers", cells=cells, notes=notes, **said)
    left = "1 fact was" if found.unknown == 1 else f"{found.unknown} facts were"
    notes = [f"{left} left out: the model does not know them."] if found.unknown else []
    cells = [(name, one.mean, one.sd) for name, one in named if isinstance(one, Spread)]
    return render("trace/result.html", "numbers", cells=cells, notes=notes, facts=found.facts)


def _maps(spec: TraceSpec, traced: Traced, masked: bool) -> str:
    found, window = traced.found, traced.window
    labels = _tokens(found, masked) if isinstance(found, FactTrace) else _roles(found)
    grids: dict[Part, list[Sequence[float]]] = {part: _values(found, part) for part in PARTS}
    reason = window_reason(spec.blocks)
    reason = reason if spec.span == default_window(spec.blocks) else "as chosen"
    explained = (
        f"residual: one block; MLP and attention: windows of {window} ({reason}); noise "
        f"{spec.noise:g} × the spread of subject embeddings, {spec.copies} copies, seed {spec.seed}"
    )
    maps: list[tuple[str, str, list[tuple[str, str, Sequence[float]]]]] = []
    for part, grid in grids.items():
        span = "" if part == "residual" else f"windows of {window}"
        rows = [(label, kind, row) for (label, kind), row in zip(labels, grid, strict=True)]
        maps.append((TITLES[part], span, rows))
    return render(
        "trace/result.html",
        "maps",
        explained=explained,
        top=max(0.01, *(value for grid in grids.values() for row in grid for value in row)),
        maps=maps,
        blocks=len(grids["mlp"][0]),
        chosen=peak_blocks(found),
        take=TAKE,
    )


def _tokens(found: FactTrace, masked: bool) -> list[tuple[str, str]]:
    """List label and class of each token."""
    rows: list[tuple[str, str]] = []
    prompt = len(found.tokens) - found.given
    for at, (token, role) in enumerate(zip(found.tokens, found.roles, strict=True)):
        subject, given = role in SUBJECT, at >= prompt
        shown = token.strip() or "␣"
        if masked:
            shown = hidden(shown) if subject or given else mask(shown)
        rows.append((shown, "subject" if subject else "given" if given else ""))
    return rows


def _roles(found: TraceAverage) -> list[tuple[str, str]]:
    return [(NAMES[role], "subject" if role in SUBJECT else "") for role in found.having]


def _values(found: Result, part: Part) -> list[Sequence[float]]:
    """Return one row of effects by block for each token or role."""
    if isinstance(found, FactTrace):
        return list(zip(*found.effects[part], strict=True))
    return [[spread.mean for spread in curve] for curve in found.curves[part].values()]


def _averaged(found: Result) -> str:
    if isinstance(found, FactTrace):
        return "Tokens by role, mean over the tokens of each."
    few = [(NAMES[role], count) for role, count in found.having.items() if count < found.facts]
    having = "".join(f"; {name}: {count} of {found.facts} facts" for name, count in few)
    return f"Tokens by role, mean over facts, shaded ± one standard deviation{having}."


def _curves(found: Result, part: Part) -> Mapping[Role, Sequence[Spread]]:
    if isinstance(found, TraceAverage):
        return found.curves[part]
    return {
        role: [Spread(mean=value, sd=0) for value in role_effects(found, part, role)]
        for role in ROLES
        if role in found.roles
    }


def curves_figure(found: Result) -> Figure:
    """Draw the indirect effect by block, a panel for each part and a curve for each role."""
    data: list[dict[str, Any]] = []
    table: list[tuple[Cell, ...]] = [("part", "token", "block", "indirect effect", "sd")]
    peaks: list[str] = []
    axes: dict[str, Any] = {}
    narrow: dict[str, Any] = {"height": 640, "grid": {"rows": 3, "columns": 1, "ygap": 0.3}}
    for at, part in enumerate(PARTS, 1):
        points: list[tuple[float, int, str]] = []
        for role, curve in _curves(found, part).items():
            data += _lines(role, curve, at)
            for block, one in enumerate(curve):
                table.append((TITLES[part], NAMES[role], block, one.mean, one.sd))
                points.append((one.mean, -block, NAMES[role]))
        top, block, name = max(points)
        peaks.append(f"{TITLES[part]} highest at block {-block}, {name}: {top:.2f}")
    heights = [height for line in data for height in line["y"]]
    scale = [min(-0.02, *heights) - 0.02, max(0.1, *heights) + 0.03]
    up = {"fixedrange": True, "range": scale, "dtick": 0.25, "zerolinecolor": "--edge"}
    across = {"fixedrange": True, "showgrid": False, "tickformat": "d", "title": "block"}
    for at in (1, 2, 3):
        axes |= {f"xaxis{at}": across}
        axes |= {f"yaxis{at}": up | {"zeroline": True, "showticklabels": at == 1}}
        narrow |= {f"xaxis{at}": {"title": "block" if at == 3 else ""}}
        narrow |= {f"yaxis{at}": {"showticklabels": True}}
    return Figure(
        name="trace-by-block",
        title="Indirect effect by block",
        summary=f"Indirect effect by block and role of token. {'; '.join(peaks)}",
        data=data,
        layout={
            "height": 300,
            "margin": {"l": 44, "r": 8, "t": 26, "b": 40},
            "hovermode": "x unified",
            "dragmode": False,
            "showlegend": True,
            "grid": {"rows": 1, "columns": 3, "pattern": "independent", "xgap": 0.07},
            "annotations": [
                _head(TITLES[part], 1, f"x{at} domain", f"y{at} domain")
                for at, part in enumerate(PARTS, 1)
            ],
            **axes,
        },
        narrow=narrow,
        table=table,
    )


def _lines(role: Role, curve: Sequence[Spread], at: int) -> Iterator[dict[str, Any]]:
    """Draw a role's curve in panel `at`, on a band of one standard deviation if it is shaded."""
    colour, dash = LOOKS[role]
    base = {"x": list(range(len(curve))), "xaxis": f"x{at}", "yaxis": f"y{at}", "mode": "lines"}
    spread = any(one.sd > 0 for one in curve)
    if spread and role in SHADED:
        edge = base | {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        yield edge | {"y": [one.mean - one.sd for one in curve]}
        upper = {"y": [one.mean + one.sd for one in curve], "fill": "tonexty"}
        yield edge | upper | {"fillcolor": f"{colour}/0.16"}
    yield base | {
        "y": [one.mean for one in curve],
        "customdata": [one.sd for one in curve],
        "name": NAMES[role],
        "showlegend": at == 1,
        "line": {"color": colour, "dash": dash, "width": 2.5 if role in SHADED else 1.6},
        "hovertemplate": "%{y:.2f} ± %{customdata:.2f}" if spread else "%{y:.2f}",
    }


PART_COLOURS: Mapping[Part, str] = {
    "residual": "--mute",
    "mlp": "--forget",
    "attention": "--membership",
}

PRESET_LOOKS = (("--retain", -0.15), ("--utility", 0.15))
"""Colour of each preset, and how far its dots stand aside, in blocks."""

HEADS = (
    "Tracing: indirect effect at the last token",
    "Training: task aggregate by window (dots: seeds)",
)


def windows_figure(found: Windows) -> Figure:
    """Draw the indirect effect by block above the task aggregate by window of trained blocks."""
    across = {"range": [-0.6, len(found.effects("mlp")) - 0.4], "dtick": 1}
    effects: list[Mapping[str, Any]] = [
        {
            "x": list(range(len(found.effects(part)))),
            "y": list(found.effects(part)),
            "name": TITLES[part],
            "mode": "lines+markers",
            "line": {"color": colour, "width": 2.5},
        }
        for part, colour in PART_COLOURS.items()
    ]
    looks = zip(found.presets, PRESET_LOOKS, strict=True)
    bars = [bar for preset, look in looks for bar in _bars(found, preset, *look)]
    return Figure(
        name="windows",
        title="Traced and trained: the embedded model",
        summary=found.summary,
        data=[*effects, *bars],
        layout={
            "height": 490,
            "margin": {"l": 48, "r": 16, "t": 30, "b": 44},
            "showlegend": True,
            "xaxis": {**across, "anchor": "y", "showticklabels": False},
            "xaxis2": {**across, "anchor": "y2", "title": "block", "matches": "x"},
            "yaxis": {"domain": [0.57, 1], "rangemode": "tozero"},
            "yaxis2": {"domain": [0, 0.43], "anchor": "x2", "range": [0, 1.05]},
            "annotations": [_head(text, y) for text, y in zip(HEADS, (1, 0.43), strict=True)],
        },
    )


def _head(text: str, y: float, xref: str = "paper", yref: str = "paper") -> dict[str, Any]:
    """Write a panel's title above its left upper corner."""
    place = {"x": 0, "y": y, "xref": xref, "yref": yref, "xanchor": "left", "yanchor": "bottom"}
    return place | {"text": text, "showarrow": False, "font": {"color": "--ink"}}


def _bars(found: Windows, preset: str, colour: str, aside: float) -> Iterator[dict[str, Any]]:
    """Draw a bar over the blocks of each window, and a dot for each seed."""
    lower = {"xaxis": "x2", "yaxis": "y2", "legendgroup": preset}
    for number, ((first, last), runs) in enumerate(found.of(preset).items()):
        yield {
            **lower,
            "x": [first - 0.4, last + 0.4],
            "y": [runs.aggregate, runs.aggregate],
            "mode": "lines",
            "line": {"color": colour, "width": 7},
            "name": presets()[preset].title,
            "showlegend": number == 0,
            "hovertemplate": f"blocks {first} to {last}: %{{y:.2f}}, {', '.join(runs.verdicts)}",
        }
        seeds = list(runs.after(lambda scores: scores.task_aggregate))
        yield {
            **lower,
            "x": [(first + last) / 2 + aside] * len(seeds),
            "y": seeds,
            "mode": "markers",
            "marker": {"color": colour, "size": 8, "line": {"color": "--card", "width": 1}},
            "name": presets()[preset].title,
            "showlegend": False,
            "hovertemplate": "one seed: %{y:.2f}<extra></extra>",
        }
