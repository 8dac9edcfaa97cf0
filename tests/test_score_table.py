"""One entry in a table is all that a new score, or measure, needs to be shown everywhere."""

import json

import pytest

from tests.stored_runs import two_runs
from unlearnlab.cli.main import main
from unlearnlab.exports.report import comparison, report
from unlearnlab.exports.result import compared, result
from unlearnlab.metrics.intervals import Interval, score_intervals
from unlearnlab.metrics.measures import BEFORE_THEM, MEASURES, Measure
from unlearnlab.metrics.scores import SCORES, Score
from unlearnlab.runs.store import Store
from unlearnlab.runs.sweeps import sweep_status
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.sweep import SeedAxis, SweepSpec
from unlearnlab.ui.compare.board import board
from unlearnlab.ui.compare.charts import plane
from unlearnlab.ui.compare.listing import listing
from unlearnlab.ui.compare.panels import panel
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.membership_card import measures_html
from unlearnlab.ui.run.scoreboard import scoreboard_html
from unlearnlab.ui.sweeps.card import table
from unlearnlab.views.charts import coordinates
from unlearnlab.views.run_table import columns

RETAINED = Score(
    "retained",
    "Retained & <kept>",
    value=lambda scores: scores.mean("retain", "qa"),
    drawn=lambda draws: sum(draws[f"retain/Task{task}/qa"] for task in (1, 2, 3)) / 3,
    note=lambda scores: f"over {scores.rows} rows",
)

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
    columns.cache_clear()
    yield
    columns.cache_clear()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return home, two_runs(home)


@pytest.fixture
def runs(home):
    return home[1]


@pytest.fixture
def store(home):
    with Store(home[0]) as store:
        yield store


@pytest.fixture
def printed(home, capsys):
    def command(*words):
        assert main([*words, "--home", str(home[0])]) == 0
        return capsys.readouterr().out

    return command


def shown(html, *texts):
    """Hold that a page has the texts, and neither name unescaped."""
    assert [text for text in texts if text not in html] == []
    assert [text for text in ("<kept>", "<words>", "<any>") if text in html] == []


SCORE, MEASURE = "Retained &amp; &lt;kept&gt;", "Length &amp; &lt;words&gt;"


def test_a_score_has_a_card_with_its_note_and_interval(store, runs):
    run = result(store, runs[0])
    (card,) = (card for card in run.board.cards if card.score is RETAINED)
    assert card.after == run.row.after.mean("retain", "qa")
    assert card.note == "over 72 rows"
    shown(scoreboard_html(run.board, ended=True), SCORE)
    span = score_intervals(run.before, run.after).after[RETAINED.key]
    assert span.low < span.value < span.high


def test_a_score_is_a_column_of_compare_and_sorts_the_list(store, runs):
    of = CachedRuns(store)
    asked = {"runs": runs, "wait": True}
    shown(board(Program(store, None, {}), of, asked)["html"], f"{SCORE} ↑</th>")
    shown(listing(of, {"sort": RETAINED.key})["html"], f'data-sort="{RETAINED.key}"', SCORE)


def test_a_score_is_an_axis_of_the_charts(store, runs):
    entries = compared(store, runs).entries
    assert coordinates(entries).axes[-1].name == RETAINED.words
    figure = plane(entries, by=RETAINED.key)
    assert figure.layout["xaxis"]["title"] == f"{RETAINED.words} →"


def test_a_score_is_a_column_of_sweeps(store):
    sweep = SweepSpec(base=RunSpec(), axes=(SeedAxis(count=2),))
    head, *rows = table(sweep, sweep_status(sweep, "s", store.runs()))
    assert head[-1] == RETAINED.key
    assert all(row[-1] is not None for row in rows)


def test_a_measure_is_in_the_runs_table_and_in_a_panel_of_compare(store, runs):
    texts = (MEASURE, "<b>72.00</b><small>70.00")
    shown(measures_html(result(store, runs[0]).measures), *texts)
    asked = {"panel": "measures", "runs": runs}
    shown(panel(Program(store, None, {}), CachedRuns(store), asked)["html"], *texts)


def test_a_panel_of_measures_says_so_where_no_evidence_is_kept(store):
    asked = {"panel": "measures", "runs": [store.create(RunSpec(seed=9))]}
    html = panel(Program(store, None, {}), CachedRuns(store), asked)["html"]
    assert "evidence of these runs is not kept" in html


def test_both_are_in_both_reports(store, runs):
    shown(report(result(store, runs[0]), masked=True), SCORE, MEASURE, "72.00")
    shown(comparison(compared(store, runs), masked=True), SCORE, MEASURE, "72.00")


def test_both_are_printed_by_the_command_line(printed, runs):
    first, _ = json.loads(printed("compare", *runs, "--json"))["runs"]
    assert first["scores"][RETAINED.key]["after"] > 0
    assert first["measures"]["length"] == {"value": 72, "low": 70, "high": 74, "rows": None}
    assert f"{RETAINED.title} ↑" in printed("show", runs[0])
    told = json.loads(printed("show", runs[0], "--json"))["measures"]
    assert told["length"]["after"]["value"] == 72
    assert told["min_k"] == {"missing": BEFORE_THEM}
