"""One entry in a table is all that a new score, or measure, needs to be shown everywhere."""

import json

import pytest

from tests.stored_runs import two_runs
from unlearnlab.cli.main import main
from unlearnlab.exports.compared import compared
from unlearnlab.exports.comparison import comparison
from unlearnlab.exports.report import report
from unlearnlab.exports.result import result
from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.measures import BEFORE_THEM, MEASURES, Measure
from unlearnlab.metrics.scores import SCORES, Score
from unlearnlab.runs.store import Store
from unlearnlab.runs.sweeps import sweep_status
from unlearnlab.spec.axes import SeedAxis
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.sweep import SweepSpec
from unlearnlab.ui.compare.board import board
from unlearnlab.ui.compare.charts.plane import plane
from unlearnlab.ui.compare.panels import room
from unlearnlab.ui.compare.runs import Compared
from unlearnlab.ui.compare.table import listing
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.measures_table import measures_html
from unlearnlab.ui.run.scoreboard import scoreboard_html
from unlearnlab.ui.sweeps.chart import table
from unlearnlab.views.compare.coordinates import coordinates

RETAINED = Score(
    "retained",
    "Retained & <kept>",
    value=lambda scores: scores.mean("retain", "qa"),
    drawn=lambda draws: sum(draws[f"retain/Task{task}/qa"] for task in (1, 2, 3)) / 3,
    note=lambda scores: f"over {scores.rows} rows",
)
ESCAPED = "Retained &amp; &lt;kept&gt;"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return home, two_runs(home)


LENGTH = Measure(
    "length",
    "Length & <words>",
    ideal="<any>",
    needs=("tokens",),
    source="nobody",
    take=lambda evidence, _: Interval(len(evidence.answers), 70, 74),
)


@pytest.fixture(autouse=True)
def _added(monkeypatch):
    monkeypatch.setitem(SCORES, RETAINED.key, RETAINED)
    monkeypatch.setitem(MEASURES, LENGTH.name, LENGTH)


@pytest.fixture
def store(home):
    with Store(home[0]) as store:
        yield store


def test_it_has_a_card_with_its_note_and_interval(store, home):
    run = result(store, home[1][0])
    (card,) = (card for card in run.board.cards if card.score is RETAINED)
    assert card.after == run.row.after.mean("retain", "qa")
    assert card.note == "over 72 rows"
    html = scoreboard_html(run.board, ended=True)
    assert ESCAPED in html
    assert "<kept>" not in html
    span = score_intervals(run.before, run.after).after[RETAINED.key]
    assert span.low < span.value < span.high


def test_it_is_a_column_of_compare_and_sorts_the_list(store, home):
    runs = Compared(store)
    html = board(Program(store, None, {}), runs, {"runs": home[1], "wait": True})["html"]
    assert f"{ESCAPED} ↑</th>" in html
    html = listing(runs, {"sort": RETAINED.key})["html"]
    assert f'data-sort="{RETAINED.key}"' in html
    assert ESCAPED in html


def test_it_is_an_axis_of_the_charts(store, home):
    entries = compared(store, home[1]).entries
    assert coordinates(entries).axes[-1].name == RETAINED.words
    figure = plane(entries, by=RETAINED.key)
    assert figure.layout["xaxis"]["title"] == f"{RETAINED.words} →"


def test_it_is_in_both_reports(store, home):
    for html in (
        report(result(store, home[1][0]), masked=True),
        comparison(compared(store, home[1]), masked=True),
    ):
        assert ESCAPED in html
        assert "<kept>" not in html


def test_it_is_a_column_of_sweeps(store):
    sweep = SweepSpec(base=RunSpec(), axes=(SeedAxis(count=2),))
    head, *rows = table(sweep, sweep_status(sweep, "s", store.runs()))
    assert head[-1] == RETAINED.key
    assert all(row[-1] is not None for row in rows)


def test_it_is_printed_by_the_command_line(home, capsys):
    assert main(["compare", *home[1], "--home", str(home[0]), "--json"]) == 0
    first, _ = json.loads(capsys.readouterr().out)["runs"]
    assert first["scores"][RETAINED.key]["after"] > 0
    assert main(["show", home[1][0], "--home", str(home[0])]) == 0
    assert f"{RETAINED.title} ↑" in capsys.readouterr().out


# ---- measures


def test_a_measure_is_in_the_runs_table_and_in_a_room_of_compare(store, home):
    program = Program(store, None, {})
    scored = result(store, home[1][0])
    visited = room(program, Compared(store), {"room": "measures", "runs": home[1]})["html"]
    for html in (measures_html(scored.measures), visited):
        assert "Length &amp; &lt;words&gt;" in html
        assert "<b>72.00</b><small>70.00" in html
        assert "<words>" not in html
        assert "<any>" not in html


def test_a_room_of_measures_says_so_where_no_evidence_is_kept(store):
    program, waiting = Program(store, None, {}), store.create(RunSpec(seed=9))
    html = room(program, Compared(store), {"room": "measures", "runs": [waiting]})["html"]
    assert "evidence of these runs is not kept" in html


def test_a_measure_is_in_both_reports(store, home):
    for html in (
        report(result(store, home[1][0]), masked=True),
        comparison(compared(store, home[1]), masked=True),
    ):
        assert "Length &amp; &lt;words&gt;" in html
        assert "72.00" in html


def test_a_measure_is_printed_as_json(home, capsys):
    assert main(["compare", *home[1], "--home", str(home[0]), "--json"]) == 0
    first, _ = json.loads(capsys.readouterr().out)["runs"]
    assert first["measures"]["length"] == {"value": 72, "low": 70, "high": 74}
    assert main(["show", home[1][0], "--home", str(home[0]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["measures"]
    assert told["length"]["after"]["value"] == 72
    assert told["min_k"] == {"missing": BEFORE_THEM}
