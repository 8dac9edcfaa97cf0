"""The figure that sets what tracing points to beside what training of each window does."""

from collections.abc import Iterator
from typing import Any

from unlearnlab.metrics.tracing import Part
from unlearnlab.spec.presets import presets
from unlearnlab.ui.kit.charts import Figure
from unlearnlab.views.benchmarks import Windows

PARTS: tuple[tuple[Part, str, str], ...] = (
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
    for part, name, colour in PARTS:
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
