"""Figures of several runs: pure values, safe, with a summary and the data they show."""

import json
from dataclasses import dataclass

import pytest

from tests.fakes import stepped
from tests.views.runs import run, scores, spec
from unlearnlab.metrics.published import results
from unlearnlab.runs.events import Event
from unlearnlab.spec.run import ModelSpec
from unlearnlab.ui.compare.charts import heat_map, overlay, parallel, plane
from unlearnlab.ui.kit.charts import figure_html, run_colour, run_dash, run_mark
from unlearnlab.views.charts import track

RUNS = [
    run("a", spec("npo"), scores(0.9, utility=0.5)),
    run("b", spec("rmu"), scores(0.5, utility=0.8)),
    run("c", spec(), scores(0.4, utility=0.4, forget_Task1_sc=0.0)),
]
HOSTILE = '<img src=x onerror="alert(1)">'


@dataclass
class Stored:
    event: Event
    seq: int = 1
    at: float = 0.0


TRACKS = {
    one.run_id: track([Stored(stepped(step)) for step in range(1, 6 + at)])
    for at, one in enumerate(RUNS)
}


def named(figure, name):
    return next(trace for trace in figure.data if trace["name"] == name)


def test_the_plane_has_the_runs_their_front_and_the_gate():
    figure = plane(RUNS, reference=scores(1.0, utility=0.9))
    assert named(figure, "NPO")["x"] == pytest.approx([0.9])
    assert named(figure, "NPO")["marker"]["color"] == "--membership/0.824"
    assert named(figure, "Pareto front")["x"] == pytest.approx([0.5, 0.9])
    assert figure.layout["shapes"][0]["y0"] == pytest.approx(0.675)
    assert "2 below the gate" in figure.summary
    assert [row[0] for row in figure.table or ()] == ["what", "run", "run", "run", "model", "model"]


def test_labels_that_would_cover_others_are_left_to_the_legend():
    crowd = [run(str(at), title=f"A run of some length {at}") for at in range(9)]
    modes = [trace["mode"] for trace in plane(crowd).data if trace["name"].startswith("A run")]
    assert 0 < modes.count("markers+text") < len(modes)


def test_published_results_are_hollow_and_stand_against_the_aggregate_alone():
    of = [run("o", spec(model=ModelSpec(name="olmo-7b")), scores(protocol="MMLU"))]
    figure = plane(of, by="task_aggregate", published=results())
    assert named(figure, "published")["marker"]["symbol"].endswith("open")
    assert "published" not in [t["name"] for t in plane(of, published=results()).data]


def test_the_heat_map_frames_the_zeroes():
    figure = heat_map(RUNS)
    frames = [shape for shape in figure.layout["shapes"] if shape["type"] == "rect"]
    assert [(one["x0"] < 0 < one["x1"], one["y0"] < 2 < one["y1"]) for one in frames] == [
        (True, True)
    ]
    assert "lowest at Forget · Stories recite, 0.00" in figure.summary


def test_parallel_coordinates_have_a_line_for_each_run():
    figure = parallel(RUNS)
    assert len(figure.data) == 3
    assert figure.table
    assert figure.table[0][:3] == ["run", "name", "method"]


def test_curves_keep_the_colours_of_their_runs_when_one_has_none():
    figure = overlay(RUNS, {key: TRACKS[key] for key in "ac"}, series="term.forget")
    assert [trace["line"]["color"] for trace in figure.data] == [run_colour(0), run_colour(2)]


def test_smoothed_curves_lie_over_their_pale_points():
    figure = overlay(RUNS, TRACKS, series="term.forget", by="seconds", smoothing=0.5)
    assert [bool(trace.get("showlegend", True)) for trace in figure.data] == [False, True] * 3


def test_the_first_two_dozen_runs_look_different():
    looks = {(run_colour(at), run_dash(at), run_mark(at)) for at in range(24)}
    assert len({(colour, dash) for colour, dash, _ in looks}) == 24


@pytest.mark.parametrize("runs", [[], RUNS[:1], [run("f", after=False)]], ids=["no", "one", "none"])
def test_every_figure_stands_for_no_run_for_one_and_for_one_without_scores(runs):
    figures = (plane(runs), heat_map(runs), parallel(runs), overlay(runs, {}, series="term.kl"))
    for figure in figures:
        assert figure.summary
        assert "data-figure" in figure_html(figure)


def test_names_cannot_become_markup():
    runs = [run("a", title=HOSTILE), run("b", spec("npo"), title=f"{HOSTILE}2")]
    tracks = {"a": TRACKS["a"], "b": TRACKS["b"]}
    for figure in (plane(runs), heat_map(runs), parallel(runs)):
        assert "<img" not in json.dumps([figure.data, figure.layout])
        assert "<img" not in figure_html(figure)
    assert "<img" not in json.dumps(overlay(runs, tracks, series="term.forget").data)
