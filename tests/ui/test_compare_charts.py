"""Figures of several runs: pure values, safe, with a summary and the data they show."""

import json
from dataclasses import dataclass

import pytest

from tests.fakes import stepped
from tests.views.runs import run, scores, spec
from unlearnlab.metrics.published import results
from unlearnlab.runs.events import Event, Probed
from unlearnlab.spec.run import ModelSpec
from unlearnlab.ui.compare.charts import (
    heat_map,
    layer_pairs,
    overlay,
    parallel,
    plane,
    term_pairs,
)
from unlearnlab.ui.kit.charts import figure_html, run_colour, run_dash, run_mark
from unlearnlab.views.charts import track

NLL = {"forget": 1.5, "retain": 0.2}

RUNS = [
    run("a", spec("npo"), scores(0.9, utility=0.5), number=1),
    run("b", spec("rmu"), scores(0.5, utility=0.8), number=2),
    run("c", spec(), scores(0.4, utility=0.4, forget_Task1_sc=0.0), number=3),
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
    assert named(figure, "1 NPO")["x"] == pytest.approx([0.9])
    marker = named(figure, "1 NPO")["marker"]
    assert (marker["color"], marker["line"]["color"]) == ("--run-1/0.824", "--run-1")
    assert named(figure, "Pareto front")["x"] == pytest.approx([0.5, 0.9])
    assert figure.layout["shapes"][0]["y0"] == pytest.approx(0.675)
    assert "2 below the gate" in figure.summary
    assert [row[0] for row in figure.table or ()] == ["what", "run", "run", "run", "model", "model"]


def test_labels_that_would_cover_others_are_cut_to_the_number_of_the_run():
    crowd = [run(str(at), title=f"A run of some length {at}", number=at + 1) for at in range(9)]
    texts = [trace["text"][0] for trace in plane(crowd).data if "A run" in trace["name"]]
    assert [text.split()[0] for text in texts] == [str(at + 1) for at in range(9)]
    assert 0 < sum("A run" in text for text in texts) < len(texts)


def test_the_plane_shows_the_stretch_in_which_the_runs_lie_or_all_of_it():
    close = [run(str(at), after=scores(0.8 + at / 100, utility=0.7)) for at in range(3)]
    for axis, middle in (("xaxis", 0.81), ("yaxis", 0.7)):
        low, high = plane(close).layout[axis]["range"]
        assert middle - 0.1 < low < middle < high < middle + 0.1
        assert plane(close, zoom=False).layout[axis]["range"] == [-0.04, 1.06]
    assert plane([]).layout["xaxis"]["range"] == [-0.04, 1.06]


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
    assert figure.layout["meta"]["axes"][0]["key"] == "method"


def test_the_axes_of_parallel_coordinates_are_chosen():
    figure = parallel(RUNS, ["utility", "method"])
    assert figure.table
    assert figure.table[0] == ["run", "name", "Quiz", "method"]


def test_curves_keep_the_colours_of_their_runs_when_one_has_none():
    figure = overlay(RUNS, {key: TRACKS[key] for key in "ac"}, series="term.forget")
    assert [trace["line"]["color"] for trace in figure.data] == [run_colour(0), run_colour(2)]


def test_the_losses_of_answers_stand_one_above_the_other():
    asked = [Probed(step=s, knowledge={}, regurgitation={}, nll=NLL) for s in (0, 4)]
    tracks = {one.run_id: track([Stored(probe) for probe in asked]) for one in RUNS}
    figure = overlay(RUNS, tracks, series="answers")
    assert [trace["yaxis"] for trace in figure.data] == ["y"] * 3 + ["y2"] * 3
    assert [trace["showlegend"] for trace in figure.data] == [True] * 3 + [False] * 3
    assert "NPO ends at 1.5 and 0.2" in figure.summary
    assert [note["text"] for note in figure.layout["annotations"]] == ["1", "1"], "all lie there"


def test_smoothed_curves_lie_over_their_pale_points():
    figure = overlay(RUNS, TRACKS, series="term.forget", by="seconds", smoothing=0.5)
    assert [bool(trace.get("showlegend", True)) for trace in figure.data] == [False, True] * 3


def test_the_first_two_dozen_runs_look_different():
    looks = {(run_colour(at), run_dash(at), run_mark(at)) for at in range(24)}
    assert len({(colour, dash) for colour, dash, _ in looks}) == 24


@pytest.mark.parametrize("runs", [[], RUNS[:1], [run("f", after=False)]], ids=["no", "one", "none"])
def test_every_figure_stands_for_no_run_for_one_and_for_one_without_scores(runs):
    figures = (plane(runs), heat_map(runs), parallel(runs), overlay(runs, {}, series="term.kl"))
    if runs:
        figures += (term_pairs(runs[0], runs[0]), layer_pairs(runs[0], runs[0], {}))
    for figure in figures:
        assert figure.summary
        assert "data-figure" in figure_html(figure)


def test_two_runs_stand_side_by_side_term_by_term():
    figure = term_pairs(RUNS[0], RUNS[2])
    one, other = figure.data[1:]
    assert [trace["name"] for trace in (one, other)] == ["1 NPO", "3 Gradient difference"]
    assert other["x"][0] == 0.0
    assert "Forget · Stories recite 0.90 and 0.00" in figure.summary


def test_the_trained_blocks_of_two_runs_stand_below_each_other():
    late = run("d", spec(first_layer=4, last_layer=5), number=4)
    figure = layer_pairs(RUNS[0], late, {"d": {4: 0.02, 5: 0.01}})
    bars = [(bar["x0"], bar["x1"]) for bar in figure.layout["shapes"]]
    assert bars == [(-0.45, 7.45), (3.55, 5.45)]
    assert named(figure, "4 Gradient difference")["y"] == [0.02, 0.01]
    assert "4–5" in figure.summary
    assert figure.table
    assert ["d", 1, 4, 0.02] in figure.table


def test_names_cannot_become_markup():
    runs = [run("a", title=HOSTILE), run("b", spec("npo"), title=f"{HOSTILE}2")]
    tracks = {"a": TRACKS["a"], "b": TRACKS["b"]}
    pair = (term_pairs(*runs), layer_pairs(*runs, {"a": {0: 0.1}}))
    for figure in (plane(runs), heat_map(runs), parallel(runs), *pair):
        assert "<img" not in json.dumps([figure.data, figure.layout])
        assert "<img" not in figure_html(figure)
    assert "<img" not in json.dumps(overlay(runs, tracks, series="term.forget").data)
