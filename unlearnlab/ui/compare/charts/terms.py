"""The terms of the aggregate of each run, as a heat map."""

from collections.abc import Sequence
from typing import Any

from unlearnlab.data.datasets import Split
from unlearnlab.metrics.verdicts import SPLITS
from unlearnlab.ui.kit.charts import Figure, Trace, plain, short
from unlearnlab.views.comparison import Matrix, matrix
from unlearnlab.views.runs import RunSummary


def heat_map(of: Sequence[RunSummary]) -> Figure:
    """Draw the terms of each run: one row for each, zeroes pointed out."""
    found = matrix(of)
    rows = list(range(len(found.labels)))
    names = [column.name for column in found.columns]
    heights = 84 + 30 * max(1, len(rows))
    return Figure(
        name="compare-terms",
        title="Terms of the task aggregate by run",
        summary=_heat_summary(found),
        data=[_heat(found, split) for split in SPLITS] if rows else [],
        layout={
            "height": heights,
            "margin": {"l": 10, "r": 6, "t": 64, "b": 12},
            "hovermode": "closest",
            "xaxis": {
                "side": "top",
                "tickvals": list(range(len(names))),
                "ticktext": [name.replace(" ", "<br>", 1) for name in map(plain, names)],
                "showgrid": False,
                "ticks": "",
                "tickangle": 0,
            },
            "yaxis": {
                "autorange": "reversed",
                "automargin": True,
                "tickvals": rows,
                "ticktext": [short(name) for name in found.labels],
                "tickfont": {"color": "--ink"},
                "showgrid": False,
                "ticks": "",
            },
            "shapes": [*_sets_apart(found), *_zeroes(found)],
            "annotations": _set_heads(found),
        },
        least_width=760,
        table=[
            ["run", "name", *(column.key for column in found.columns)],
            *(
                [run, name, *values]
                for run, name, values in zip(found.run_ids, found.labels, found.values, strict=True)
            ),
        ],
    )


def _heat(found: Matrix, split: Split) -> Trace:
    """Draw the terms of a set in its colour."""
    places = [at for at, column in enumerate(found.columns) if column.split == split]
    return {
        "type": "heatmap",
        "name": split,
        "z": [[row[at] for at in places] for row in found.values],
        "x": places,
        "y": list(range(len(found.labels))),
        "customdata": [
            [[plain(name), plain(found.columns[at].text)] for at in places] for name in found.labels
        ],
        "zmin": 0,
        "zmax": 1,
        "xgap": 3,
        "ygap": 3,
        "colorscale": [[0, "--soft"], [1, f"--{split}/0.6"]],
        "showscale": False,
        "texttemplate": "%{z:.2f}",
        "textfont": {"size": 12.5, "color": "--ink"},
        "hoverongaps": False,
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}: %{z:.3f}<extra></extra>",
    }


def _sets_apart(found: Matrix) -> list[dict[str, Any]]:
    """Draw a line between the terms of forget and those of retain."""
    forget = sum(column.split == "forget" for column in found.columns)
    if forget in (0, len(found.columns)):
        return []
    ends = {"x0": forget - 0.5, "x1": forget - 0.5, "y0": 0, "y1": 1, "yref": "paper"}
    return [{"type": "line", "line": {"color": "--edge", "width": 2}, **ends}]


def _zeroes(found: Matrix) -> list[dict[str, Any]]:
    """Frame the terms that make an aggregate zero."""
    line = {"color": "--bad", "width": 2}
    return [
        {
            "type": "rect",
            "x0": x - 0.46,
            "x1": x + 0.46,
            "y0": y - 0.42,
            "y1": y + 0.42,
            "line": line,
        }
        for y, row in enumerate(found.values)
        for x, value in enumerate(row)
        if value is not None and value <= 0
    ]


def _set_heads(found: Matrix) -> list[dict[str, Any]]:
    heads: list[dict[str, Any]] = []
    for split, words in (("forget", "Forget ↑"), ("retain", "Retain ↑")):
        places = [at for at, column in enumerate(found.columns) if column.split == split]
        if places:
            heads.append(
                {
                    "text": f"<b>{words}</b>",
                    "x": (places[0] + places[-1]) / 2,
                    "y": 1,
                    "yref": "paper",
                    "yanchor": "bottom",
                    "yshift": 38,
                    "showarrow": False,
                    "font": {"color": f"--{split}", "size": 13},
                }
            )
    return heads


def _heat_summary(found: Matrix) -> str:
    if not found.labels:
        return "None of these runs was scored."
    lows: list[str] = []
    for name, row in zip(found.labels, found.values, strict=True):
        known = [(value, at) for at, value in enumerate(row) if value is not None]
        if known:
            value, at = min(known)
            lows.append(f"{name} lowest at {found.columns[at].text}, {value:.2f}")
    return f"{len(found.columns)} terms of {len(found.labels)} runs. {'; '.join(lows)}."
