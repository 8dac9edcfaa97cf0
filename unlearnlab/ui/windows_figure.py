"""The figure that sets what tracing points to beside what training of each window does."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearnlab.measured import Windows
from unlearnlab.presets import presets
from unlearnlab.traces import Part

INK, GRID = "#7d8590", "rgba(125, 133, 144, 0.25)"
"""Legible on a light page and on a dark one."""

PARTS: tuple[tuple[Part, str, str], ...] = (
    ("residual", "residual", INK),
    ("mlp", "MLP", "#d55e00"),
    ("attention", "attention", "#a64f86"),
)

LOOKS = (("#0072b2", -0.15), ("#009e73", 0.15))
"""Colour of each preset, and how far its dots stand aside, in blocks."""


def windows_figure(found: Windows) -> go.Figure:
    """Draw the indirect effect by block above the task aggregate by window of trained blocks."""
    figure = make_subplots(
        rows=2,
        shared_xaxes=True,
        vertical_spacing=0.14,
        subplot_titles=(
            "Tracing: indirect effect at the last token",
            "Training: task aggregate of each window (dots: seeds)",
        ),
    )
    for part, name, colour in PARTS:
        effects = found.effects(part)
        line = {"color": colour, "width": 2.5}
        figure.add_scatter(
            x=list(range(len(effects))), y=effects, name=name, line=line, row=1, col=1
        )
    for preset, (colour, aside) in zip(found.presets, LOOKS, strict=True):
        _bars(figure, found, preset, colour, aside)
    figure.update_xaxes(title_text="block", dtick=1, row=2, col=1)
    figure.update_xaxes(
        range=[-0.6, len(found.effects("mlp")) - 0.4], gridcolor=GRID, zeroline=False
    )
    figure.update_yaxes(rangemode="tozero", gridcolor=GRID, zeroline=False)
    figure.update_yaxes(range=[0, 1.05], row=2, col=1)
    figure.update_layout(
        height=520,
        margin={"l": 48, "r": 16, "t": 40, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 13},
        legend={"orientation": "h", "y": -0.13},
    )
    return figure


def _bars(figure: go.Figure, found: Windows, preset: str, colour: str, aside: float) -> None:
    """Draw a bar over the blocks of each window, and a dot for each seed."""
    for number, ((first, last), runs) in enumerate(found.of(preset).items()):
        figure.add_scatter(
            x=[first - 0.4, last + 0.4],
            y=[runs.aggregate, runs.aggregate],
            mode="lines",
            line={"color": colour, "width": 7},
            name=presets()[preset].title,
            legendgroup=preset,
            showlegend=number == 0,
            hovertemplate=f"blocks {first} to {last}: %{{y:.2f}}, {', '.join(runs.verdicts)}",
            row=2,
            col=1,
        )
        seeds = runs.after(lambda scores: scores.task_aggregate)
        figure.add_scatter(
            x=[(first + last) / 2 + aside] * len(seeds),
            y=seeds,
            mode="markers",
            marker={"color": colour, "size": 8, "line": {"color": "white", "width": 1}},
            legendgroup=preset,
            showlegend=False,
            hoverinfo="skip",
            row=2,
            col=1,
        )
