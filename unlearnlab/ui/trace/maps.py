"""What a trace found: numbers, heat maps of token by block, curves by block; windows beside them.

All text may be a model's or a user's: everything is escaped.
"""

import json
import re
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
from unlearnlab.ui.kit.charts import TAKE, Figure
from unlearnlab.ui.kit.text import escape, score
from unlearnlab.views.answers import mask
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
"""What the page calls the roles of tokens, short enough for the edge of a map."""

CAUTION = (
    "Where tracing points need not be where training unlearns best: try other blocks as well, and "
    "compare."
)

Curves = Mapping[Role, Sequence[Spread]]


def trace_html(spec: TraceSpec, traced: Traced, *, masked: bool) -> str:
    """Draw the result of a trace."""
    found = traced.found
    chosen = peak_blocks(found)
    one = isinstance(found, FactTrace)
    rows = _tokens(found, masked) if one else _roles(found)
    values = {part: _values(found, part) for part in PARTS}
    top = max(0.01, *(cell for grid in values.values() for row in grid for cell in row))
    maps = "".join(_map(part, rows, values[part], top, traced.window) for part in PARTS)
    curves = {part: _plain(_curves(found, part)) for part in PARTS}
    drawn = escape(json.dumps({"curves": curves, "names": NAMES, "titles": TITLES}))
    return (
        f"{_numbers(found, masked)}"
        '<section class="card maps figure" aria-label="Indirect effect by token and block" '
        'data-name="trace-maps" data-title="Indirect effect by token and block">'
        '<div class="card-head"><h2>Indirect effect</h2>'
        f"<span>{_explained(spec, traced)}</span>{TAKE}</div>"
        f'<div class="map-scale"><span>0</span><i></i><span>{score(top)}</span>'
        "<span>probability that comes back when the clean state is put back</span></div>"
        f'<div class="map-row">{maps}</div>{_use(chosen, len(values["mlp"][0]))}</section>'
        '<section class="card figure" aria-label="Average by block">'
        f'<div class="card-head"><h2>By block</h2><span>{_averaged(found)}</span>{TAKE}</div>'
        f'<div class="legend roles">{_legend(_curves(found, "mlp"))}</div>'
        f'<div class="plot" data-curves="{drawn}"></div></section>'
    )


def _numbers(found: FactTrace | TraceAverage, masked: bool) -> str:
    if isinstance(found, FactTrace):
        clean, corrupted, total = found.clean, found.corrupted, found.total_effect
        answer = hidden(found.answer) if masked else found.answer
        scored = hidden(found.scored) if masked else found.scored
        told = f"Answer <b>{escape(answer)}</b>, measured at <b>{escape(scored.strip())}</b>."
        notes = [mask(note) if masked else note for note in found.notes]
    else:
        clean, corrupted = found.clean.mean, found.corrupted.mean
        total = found.total_effect.mean
        told = f"Mean of {found.facts} facts, ± one standard deviation over facts."
        left = "1 fact was" if found.unknown == 1 else f"{found.unknown} facts were"
        notes = [f"{left} left out: the model does not know them."] if found.unknown else []
    spreads = [""] * 3
    if isinstance(found, TraceAverage):
        every = (found.clean, found.corrupted, found.total_effect)
        spreads = [f" <small>± {score(one.sd)}</small>" for one in every]
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    named = ("Clean probability", "Corrupted probability", "Total effect")
    cells = "".join(
        f"<div><span>{name}</span><b>{score(value)}</b>{spread}</div>"
        for name, value, spread in zip(named, (clean, corrupted, total), spreads, strict=True)
    )
    return (
        '<section class="card" aria-label="Probabilities">'
        f'<div class="trace-numbers">{cells}</div><p class="told">{told}</p>'
        f'<div class="note">{said}</div></section>'
    )


def _explained(spec: TraceSpec, traced: Traced) -> str:
    usual = spec.span == default_window(spec.blocks)
    reason = window_reason(spec.blocks) if usual else "as chosen"
    return escape(
        f"residual: one block; MLP and attention: windows of {traced.window} ({reason}); noise "
        f"{spec.noise:g} × the spread of subject embeddings, {spec.copies} copies, seed {spec.seed}"
    )


def hidden(text: str) -> str:
    """Hide every letter and digit of what is personal as a whole."""
    return re.sub(r"[^\W\d_]", "•", re.sub(r"\d", "#", text))


def _tokens(found: FactTrace, masked: bool) -> list[tuple[str, str]]:
    """List label and class of each token."""
    rows: list[tuple[str, str]] = []
    prompt = len(found.tokens) - found.given
    for at, (token, role) in enumerate(zip(found.tokens, found.roles, strict=True)):
        subject, given = role in ("first", "middle", "last subject"), at >= prompt
        shown = token.strip() or "␣"
        if masked:
            shown = hidden(shown) if subject or given else mask(shown)
        rows.append((shown, "subject" if subject else "given" if given else ""))
    return rows


def _roles(found: TraceAverage) -> list[tuple[str, str]]:
    subject = ("first", "middle", "last subject")
    return [(NAMES[role], "subject" if role in subject else "") for role in found.having]


def _values(found: FactTrace | TraceAverage, part: Part) -> list[Sequence[float]]:
    """Return one row of effects by block for each token or role."""
    if isinstance(found, FactTrace):
        return list(zip(*found.effects[part], strict=True))
    return [[spread.mean for spread in curve] for curve in found.curves[part].values()]


def _map(
    part: Part,
    rows: Sequence[tuple[str, str]],
    values: Sequence[Sequence[float]],
    top: float,
    window: int,
) -> str:
    blocks = len(values[0])
    heads = "".join(
        f'<th scope="col" data-block="{block}">'
        f"{block if blocks <= 16 or block % 4 == 0 else ''}</th>"
        for block in range(blocks)
    )
    body = "".join(
        f'<tr><th scope="row" class="{kind}" title="{escape(label)}">{escape(label)}</th>'
        + "".join(_cell(block, value, top) for block, value in enumerate(row))
        + "</tr>"
        for (label, kind), row in zip(rows, values, strict=True)
    )
    span = "" if part == "residual" else f" <small>windows of {window}</small>"
    return (
        f'<div class="map"><h3>{TITLES[part]}{span}</h3>'
        f'<table class="heat"><thead><tr><td>block</td>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(block: int, value: float, top: float) -> str:
    heat = max(0.0, min(1.0, value / top))
    return (
        f'<td data-block="{block}" data-value="{value:.6g}" style="--heat:{100 * heat:.0f}%" '
        f'title="block {block}: {value:+.3f}"><span>{value:.2f}</span></td>'
    )


def _use(chosen: range, blocks: int) -> str:
    def options(selected: int) -> str:
        return "".join(
            f"<option{' selected' if block == selected else ''}>{block}</option>"
            for block in range(blocks)
        )

    return (
        '<div class="use-layers"><span>Drag over blocks in a map, or choose: blocks</span>'
        f'<select aria-label="First block">{options(chosen.start)}</select><span>to</span>'
        f'<select aria-label="Last block">{options(chosen.stop - 1)}</select>'
        '<button type="button" class="use">Use these layers</button></div>'
        f'<p class="caution">{escape(CAUTION)}</p>'
    )


def _curves(found: FactTrace | TraceAverage, part: Part) -> Curves:
    if isinstance(found, TraceAverage):
        return found.curves[part]
    return {
        role: [Spread(mean=value, sd=0) for value in role_effects(found, part, role)]
        for role in ROLES
        if role in found.roles
    }


def _plain(curves: Curves) -> dict[str, dict[str, list[float]]]:
    return {
        role: {"mean": [one.mean for one in curve], "sd": [one.sd for one in curve]}
        for role, curve in curves.items()
    }


def _legend(curves: Curves) -> str:
    return "".join(_named(role) for role in ROLES if role in curves)


def _named(role: Role) -> str:
    return f'<span><i data-role="{role}"></i>{NAMES[role]}</span>'


def _averaged(found: FactTrace | TraceAverage) -> str:
    if isinstance(found, FactTrace):
        return "tokens by role, mean over the tokens of each"
    few = [(NAMES[role], count) for role, count in found.having.items() if count < found.facts]
    having = "".join(f"; {name}: {count} of {found.facts} facts" for name, count in few)
    return f"tokens by role, mean over facts, shaded ± one standard deviation{having}"


MEASURED_PARTS: tuple[tuple[Part, str, str], ...] = (
    ("residual", "residual", "--mute"),
    ("mlp", "MLP", "--forget"),
    ("attention", "attention", "--membership"),
)

LOOKS = (("--retain", -0.15), ("--utility", 0.15))
"""Colour of each preset, and how far its dots stand aside, in blocks."""

HEADS = (
    "Tracing: indirect effect at the last token",
    "Training: task aggregate by window (dots: seeds)",
)


def windows_figure(found: Windows) -> Figure:
    """Draw the indirect effect by block above the task aggregate by window of trained blocks."""
    last = len(found.effects("mlp")) - 0.4
    across = {"range": [-0.6, last], "dtick": 1}
    return Figure(
        name="windows",
        title="Traced and trained: the embedded model",
        summary=found.summary,
        data=[
            *_effects(found),
            *(
                bar
                for each in zip(found.presets, LOOKS, strict=True)
                for bar in _bars(found, each[0], *each[1])
            ),
        ],
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


def _head(text: str, y: float) -> dict[str, Any]:
    return {
        "text": text,
        "x": 0,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": "--ink"},
    }


def _effects(found: Windows) -> Iterator[dict[str, Any]]:
    for part, name, colour in MEASURED_PARTS:
        effects = found.effects(part)
        yield {
            "x": list(range(len(effects))),
            "y": list(effects),
            "name": name,
            "mode": "lines+markers",
            "line": {"color": colour, "width": 2.5},
        }


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
