"""What is shown and printed of the scores of stored runs, word for word.

To take a wanted change over: `UPDATE_GOLDEN=1 pytest tests/test_golden.py`, then read the diff.
"""

import json
import os
import re
from pathlib import Path

import pytest

from tests.metrics import folders
from tests.stored_runs import two_runs
from unlearnlab import __version__
from unlearnlab.cli.main import main
from unlearnlab.exports.report import comparison, report
from unlearnlab.exports.result import compared, result
from unlearnlab.metrics.intervals import score_intervals
from unlearnlab.runs.store import Store
from unlearnlab.runs.sweeps import sweep_status
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.sweep import SeedAxis, SweepSpec
from unlearnlab.ui.compare.board import board
from unlearnlab.ui.compare.listing import listing
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.scoreboard import scoreboard_html, strip_html
from unlearnlab.ui.sweeps.card import summary, table
from unlearnlab.views.scoreboard import scoreboard, terms_strip

GOLDEN = Path(__file__).parent / "golden"


SWEEP = SweepSpec(base=RunSpec(), axes=(SeedAxis(count=2),))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two runs that differ in their seed, and the ids of the runs."""
    home = tmp_path_factory.mktemp("golden")
    return home, *two_runs(home)


@pytest.fixture
def same(home):
    """Hold a text against what is kept of it, but for ids, times and versions."""

    def check(name, text):
        for at, run in enumerate(home[1:], 1):
            text = text.replace(run, f"RUN{at}")
        text = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE", text)
        text = re.sub(r"[\w-]*before-before|20\d{6}-\d{6}-\w+", "ID", text)
        text = re.sub(r"(after |Took\">)[\d.]+\sm?s", r"\1TIME", text)
        text = re.sub(r"commit \w{12}[^<\n]*", "commit", text)
        text = text.replace(__version__, "VERSION").replace("><", ">\n<") + "\n"
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture
def store(home):
    with Store(home[0]) as store:
        yield store


def test_the_scoreboard_of_a_run(store, home, same):
    run = result(store, home[1])
    assert run.before is not None
    found = score_intervals(run.before, run.after)
    before, after = run.row.before, run.row.after
    seen = scoreboard(run.spec, before, after, after, intervals=found, seeds="")
    terms = terms_strip(before, after, intervals=found)
    same("scoreboard.html", scoreboard_html(seen, ended=True) + strip_html(terms))


def test_the_board_and_the_list_of_the_tab_compare(store, home, same):
    program, runs = Program(store, None, {}), CachedRuns(store)
    asked = {"runs": list(home[1:]), "wait": True, "mia": 2.0}
    same("compare.html", board(program, runs, asked)["html"])
    drawn = listing(runs, {"sort": "title", "text": "One"})["html"]
    same("list.html", re.sub(r"<t[dh][^>]*data-label=\"Started.*?</t[dh]>", "", drawn))


def test_the_report_of_a_run(store, home, same):
    same("report.html", report(result(store, home[1]), masked=True))


def test_the_report_of_a_comparison(store, home, same):
    same("comparison.html", comparison(compared(store, home[1:]), masked=True))


def test_compare_on_the_command_line(home, same, capsys):
    assert main(["compare", *home[1:], "--home", str(home[0])]) == 0
    same("compare.txt", capsys.readouterr().out)
    assert main(["compare", *home[1:], "--home", str(home[0]), "--json"]) == 0
    same("compare.json", capsys.readouterr().out)


def test_show_on_the_command_line(home, same, capsys):
    assert main(["show", home[1], "--home", str(home[0])]) == 0
    same("show.txt", capsys.readouterr().out)
    assert main(["show", home[1], "--home", str(home[0]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    noted = {"spec", "record", "created", "seconds"}
    kept = {key: value for key, value in told.items() if key not in noted}
    same("show.json", json.dumps(kept, indent=1))


def test_the_scores_of_a_folder_of_the_official_script(tmp_path, same, capsys):
    folders.submission(tmp_path, average=0.5)
    assert main(["score", str(tmp_path), "--json"]) == 0
    same("score.json", capsys.readouterr().out.replace(str(tmp_path), "FOLDER"))


def test_the_scores_of_a_sweep(store, same):
    found = sweep_status(SWEEP, "s", store.runs())
    rows = "\n".join(map(str, table(SWEEP, found)))
    same("sweep.txt", f"{rows}\n{summary('Seeds', SWEEP, found, 'mia_score')}")
