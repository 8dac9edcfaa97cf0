"""What a trace found: probabilities, maps of token by block, curves by block; windows beside them.

Text of models and users is escaped by the templates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearnlab.metrics.tracing import (
    PARTS,
    ROWS,
    SUBJECT,
    FactTrace,
    MapRow,
    Part,
    Row,
    Spread,
    TraceAverage,
    map_rows,
    peak_blocks,
    row_effects,
)
from unlearnlab.runs.events import Traced
from unlearnlab.spec.presets import presets
from unlearnlab.spec.trace import TraceSpec, default_window, window_reason
from unlearnlab.ui.kit.charts import TAKE, Cell, Figure, figure_html
from unlearnlab.ui.kit.html import escape, render
from unlearnlab.views.answers import hidden, mask
from unlearnlab.views.benchmarks import Windows
from unlearnlab.views.traces import (
    PART_TITLES,
    ROW_NAMES,
    Result,
    noised,
    row_label,
    strongest_lines,
)

LOOKS: Mapping[Row, tuple[str, str]] = {
    "before": ("--mute", "dot"),
    "first": ("--trace", "dot"),
    "middle": ("--trace", "dash"),
    "last subject": ("--trace", "solid"),
    "after": ("--mute", "dash"),
    "last": ("--ink", "solid"),
    "whole subject": ("--membership", "solid"),
}
"""Colour and dash of each row's curve."""

SHADED: tuple[Row, ...] = ("last subject", "last")
"""Rows with a band of one standard deviation: seven overlapping bands cannot be read."""

BOLD: tuple[Row, ...] = (*SHADED, "whole subject")


def trace_html(spec: TraceSpec, traced: Traced, *, masked: bool) -> str:
    """Draw the result of a trace."""
    found = traced.found
    figure = figure_html(curves_figure(found))
    return (
        f"{_numbers(traced, masked)}{_maps(spec, traced, masked)}"
        f'<section class="card" aria-label="Average by block">{figure}'
        f'<p class="told">{escape(_averaged(found))}</p></section>'
    )


def _numbers(traced: Traced, masked: bool) -> str:
    found, sites = traced.found, strongest_lines(traced, masked=masked)
    values = (found.clean, found.corrupted, found.total_effect)
    named = zip(("Clean probability", "Corrupted probability", "Total effect"), values, strict=True)
    if isinstance(found, FactTrace):
        notes = [mask(note) if masked else note for note in found.notes]
        answer, scored = found.answer, found.scored.strip()
        said = {
            "answer": hidden(answer) if masked else answer,
            "scored": hidden(scored) if masked else scored,
            "noised": " · ".join(noised(found, masked=masked)),
        }
        cells = [(name, value, None) for name, value in named]
        return render("trace/result.html", "numbers", cells=cells, notes=notes, sites=sites, **said)
    left = "1 fact was" if found.unknown == 1 else f"{found.unknown} facts were"
    notes = [f"{left} left out: the model does not know them."] if found.unknown else []
    cells = [(name, one.mean, one.sd) for name, one in named if isinstance(one, Spread)]
    told = {"notes": notes, "sites": sites, "facts": found.facts}
    return render("trace/result.html", "numbers", cells=cells, **told)


def _maps(spec: TraceSpec, traced: Traced, masked: bool) -> str:
    found, window = traced.found, traced.window
    grids: dict[Part, list[MapRow]] = {part: map_rows(found, part) for part in PARTS}
    reason = window_reason(spec.blocks)
    reason = reason if spec.span == default_window(spec.blocks) else "as chosen"
    explained = (
        f"residual: one block; MLP and attention: windows of {window} ({reason}); noise "
        f"{spec.noise:g} × the spread of subject embeddings, {spec.copies} copies, seed {spec.seed}"
    )
    maps: list[tuple[str, str, list[tuple[str, str, tuple[Spread, ...]]]]] = []
    for part, grid in grids.items():
        span = "" if part == "residual" else f"windows of {window}"
        rows = [
            (row_label(found, row, masked=masked), _kind(found, row), row.effects) for row in grid
        ]
        maps.append((PART_TITLES[part], span, rows))
    effects = [one.mean for grid in grids.values() for row in grid for one in row.effects]
    return render(
        "trace/result.html",
        "maps",
        explained=explained,
        top=max(0.01, *effects),
        maps=maps,
        blocks=len(grids["mlp"][0].effects),
        chosen=peak_blocks(found),
        take=TAKE,
    )


def _kind(found: Result, row: MapRow) -> str:
    """Return the classes of a row's label."""
    if row.row == "whole subject":
        return "subject whole"
    if row.row in SUBJECT:
        return "subject"
    if row.token is None or isinstance(found, TraceAverage):
        return ""
    return "given" if row.token >= len(found.tokens) - found.given else ""


def _averaged(found: Result) -> str:
    if isinstance(found, FactTrace):
        return f"Tokens by role, mean over the tokens of each{_whole(found.whole)}."
    few = [(ROW_NAMES[row], count) for row, count in found.having.items() if count < found.facts]
    having = "".join(f"; {name}: {count} of {found.facts} facts" for name, count in few)
    whole = _whole("whole subject" in found.having)
    return f"Tokens by role, mean over facts, shaded ± one standard deviation{whole}{having}."


def _whole(measured: object) -> str:
    return "; whole subject: all of its tokens restored at once" if measured else ""


def _curves(found: Result, part: Part) -> Mapping[Row, Sequence[Spread]]:
    if isinstance(found, TraceAverage):
        return found.curves[part]
    curves: dict[Row, Sequence[Spread]] = {}
    for row in ROWS:
        if row in found.roles or (row == "whole subject" and found.whole):
            effects = row_effects(found, part, row)
            curves[row] = [Spread(mean=value, sd=0) for value in effects]
    return curves


def curves_figure(found: Result) -> Figure:
    """Draw the indirect effect by block, a panel for each part and a curve for each row."""
    data: list[dict[str, Any]] = []
    table: list[tuple[Cell, ...]] = [("part", "token", "block", "indirect effect", "sd")]
    peaks: list[str] = []
    axes: dict[str, Any] = {}
    narrow: dict[str, Any] = {"height": 640, "grid": {"rows": 3, "columns": 1, "ygap": 0.3}}
    for at, part in enumerate(PARTS, 1):
        points: list[tuple[float, int, str]] = []
        for row, curve in _curves(found, part).items():
            data += _lines(row, curve, at)
            for block, one in enumerate(curve):
                table.append((PART_TITLES[part], ROW_NAMES[row], block, one.mean, one.sd))
                points.append((one.mean, -block, ROW_NAMES[row]))
        top, block, name = max(points)
        peaks.append(f"{PART_TITLES[part]} highest at block {-block}, {name}: {top:.2f}")
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
                _head(PART_TITLES[part], 1, f"x{at} domain", f"y{at} domain")
                for at, part in enumerate(PARTS, 1)
            ],
            **axes,
        },
        narrow=narrow,
        table=table,
    )


def _lines(row: Row, curve: Sequence[Spread], at: int) -> Iterator[dict[str, Any]]:
    """Draw a row's curve in panel `at`, on a band of one standard deviation if it is shaded."""
    colour, dash = LOOKS[row]
    base = {"x": list(range(len(curve))), "xaxis": f"x{at}", "yaxis": f"y{at}", "mode": "lines"}
    spread = any(one.sd > 0 for one in curve)
    if spread and row in SHADED:
        edge = base | {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        yield edge | {"y": [one.mean - one.sd for one in curve]}
        upper = {"y": [one.mean + one.sd for one in curve], "fill": "tonexty"}
        yield edge | upper | {"fillcolor": f"{colour}/0.16"}
    yield base | {
        "y": [one.mean for one in curve],
        "customdata": [one.sd for one in curve],
        "name": ROW_NAMES[row],
        "showlegend": at == 1,
        "line": {"color": colour, "dash": dash, "width": 2.5 if row in BOLD else 1.6},
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
            "name": PART_TITLES[part],
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
