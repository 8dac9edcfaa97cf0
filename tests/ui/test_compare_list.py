"""The list of all runs: what it finds, in which order, and what a reader may change in it."""

import base64
import csv
import dataclasses
import io
import re
import time

import pytest

from tests.fakes import FakeLab, evaluated
from tests.stored_runs import fill
from unlearnlab.runs.events import Failed, Finished
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.compare.listing import (
    MOST,
    Query,
    change,
    choices,
    find,
    listing,
    suggestions,
    table_file,
    tags_of,
)
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.html import render
from unlearnlab.views.run_table import FOLDS, offered_columns, usual_columns

RUNS = 30


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    home = tmp_path_factory.mktemp("many")
    return home, fill(home, RUNS, 8, models=4)


@pytest.fixture
def store(filled, tmp_path):
    """Open a copy, so that no test sees what another changed."""
    (tmp_path / "unlearnlab.sqlite3").write_bytes((filled[0] / "unlearnlab.sqlite3").read_bytes())
    with Store(tmp_path) as opened:
        yield opened


@pytest.fixture
def runs(store):
    return CachedRuns(store).all()


def search(runs, **query):
    return find(runs, Query(**query), now=time.time())


def ids(runs, **query):
    return [run.run_id for run in search(runs, **query).runs]


def test_all_runs_are_listed_newest_first(runs, filled):
    assert ids(runs) == filled[1][::-1]
    assert ids(runs, up=True) == filled[1]


def test_a_search_looks_into_titles_settings_tags_and_ids(runs):
    assert ids(runs, text="PAPER sweep") == [r.run_id for r in runs if "paper" in r.tags]
    assert ids(runs, text=runs[3].run_id) == [runs[3].run_id]
    assert ids(runs, text="no such words") == []


@pytest.mark.parametrize("facet", ["model", "method", "data", "outcome", "tag"])
def test_every_choice_of_a_filter_finds_as_many_runs_as_it_says(runs, facet):
    offered = choices(runs)[facet]
    assert offered
    for value, label in offered:
        assert label.endswith(f"({len(ids(runs, **{facet: value}))})")


def test_runs_of_another_time_are_left_out(runs):
    late = find(runs, Query(since="day"), now=runs[0].created + 3600)
    assert 0 < len(late.runs) < RUNS


def test_a_score_sorts_and_runs_without_it_come_last(store):
    store.create(RunSpec(), name="not scored")
    found = search(CachedRuns(store).all(), sort="final")
    finals = [run.after.final for run in found.runs if run.after]
    assert finals == sorted(finals, reverse=True)
    assert found.runs[-1].title == "not scored"
    assert found.counts[None] == 1
    html = listing(CachedRuns(store), {"sort": "final", "page": 1})["html"]
    assert "Not measured: 1 run<" in html


def test_runs_of_different_settings_are_never_sorted_among_each_other(runs):
    def other(run):
        data = run.spec.data.model_copy(update={"fold": "validation"})
        return dataclasses.replace(run, spec=run.spec.model_copy(update={"data": data}))

    mixed = [other(run) if place % 3 else run for place, run in enumerate(runs)]
    found = search(mixed, sort="final")
    folds = [found.group(row).fold for row in found.rows]
    assert folds == ["validation"] * 20 + ["train"] * 10
    assert list(found.counts.values()) == [20, 10]
    assert search(mixed).counts == {}


def test_pinned_runs_come_first_whatever_sorts(store, filled):
    store.update(filled[1][4], pinned=True)
    runs = CachedRuns(store).all()
    for sort in ("created", "final", "title", "seconds"):
        assert ids(runs, sort=sort)[0] == filled[1][4]


def test_a_page_gets_only_what_it_does_not_have_yet(store):
    cached = CachedRuns(store)
    first = listing(cached, {})
    assert first["total"] == RUNS
    assert first["html"].count("<tr data-run") == 25
    assert listing(cached, {"word": first["word"]}) == {"same": True}
    assert listing(cached, {"page": 9})["page"] == 1


def test_titles_tags_and_notes_are_escaped(store, filled):
    hostile = """<img src=x onerror="alert('1')">"""
    change(store, amend(filled[1][-1], name=hostile, tags=hostile, notes=hostile))
    html = listing(CachedRuns(store), {})["html"]
    assert "<img" not in html
    assert "'1'" not in html
    assert html.count("&lt;img") >= 3


@pytest.mark.parametrize(
    "wrong",
    [None, [], {"page": -1}, {"sort": "z" * 999}, {"text": "x" * 999}, {"columns": "seed"}],
)
def test_a_malformed_request_is_answered_with_a_problem(store, wrong):
    assert "reload" in listing(CachedRuns(store), wrong)["problem"]


def test_a_link_with_columns_of_another_version_shows_the_others(store):
    cached = CachedRuns(store)
    assert listing(cached, {"columns": ["zebra", "seed"], "sort": "zebra"})["columns"] == ["seed"]
    assert listing(cached, {"columns": ["zebra"]})["columns"] == list(usual_columns())


def test_a_query_that_cannot_be_read_is_told_and_filters_nothing(store):
    cached = CachedRuns(store)
    assert listing(cached, {"text": "agregate>1"})["wrong"].endswith("did you mean aggregate?")
    found = listing(cached, {"text": "seed:3 -tag:paper"})
    assert 0 < found["found"] < RUNS


def test_what_gradio_reads_as_a_script_has_no_end_of_its_text_within():
    html = render("compare/listing.html", folds=FOLDS, groups=offered_columns())
    assert "`" not in html
    assert "${" not in html
    assert 'value="learning_rate"' in html


def test_columns_are_chosen_and_show_in_their_order(store):
    answer = listing(CachedRuns(store), {"columns": ["learning_rate", "mia_auc", "verdict"]})
    assert answer["columns"] == ["learning_rate", "mia_auc", "verdict"]
    heads = re.findall(r'data-sort="(\w+)"', answer["html"])
    assert heads == ["title", "learning_rate", "mia_auc", "verdict"]
    assert {"method", "learning_rate", "seed"} <= set(answer["differ"])


def test_measures_are_computed_a_few_at_a_time_and_then_kept(store):
    cached = CachedRuns(store)
    runs = cached.all()
    some, left = cached.measures(runs, budget_s=0.0)
    assert len(some) + left == RUNS
    assert left > 0
    while left:
        some, left = cached.measures(runs, budget_s=0.0)
    shown = listing(cached, {"columns": ["probability"], "text": "probability>0"})
    assert (shown["pending"], shown["found"]) == (0, RUNS)


def test_measures_are_computed_of_what_a_query_finds_and_of_the_baseline(store):
    cached = CachedRuns(store)
    runs = cached.all()
    base, one, *_ = [run.run_id for run in runs if run.keys == runs[0].keys]
    asked = {"columns": ["probability"], "text": f"{one} probability>0", "baseline": base}
    answers = [listing(cached, asked) for _ in range(3)]
    assert (answers[-1]["pending"], answers[-1]["found"]) == (0, 1)
    assert re.search(r'class="change', answers[-1]["html"])
    known, _ = cached.measures(runs, budget_s=0.0)
    read = {run.keys for run in runs if run.run_id in known}
    assert len(read) <= 2 < len({run.keys for run in runs}), "one was computed just now"


def test_a_baseline_stands_on_top_whatever_is_filtered_and_others_differ_from_it(store, filled):
    html = listing(CachedRuns(store), {"baseline": filled[1][4], "text": filled[1][7]})["html"]
    ids = re.findall(r'<tr data-run="([^"]+)"', html)
    assert ids == [filled[1][4], filled[1][7]]
    assert '<small class="change' in html
    assert '<small class="change' not in listing(CachedRuns(store), {})["html"]


def test_folded_seeds_show_their_runs_when_they_are_opened(filled, tmp_path):
    with Store(tmp_path / "own") as own:
        for seed in (0, 1, 2):
            run_id = own.create(RunSpec(seed=seed))
            for event in (evaluated("before"), evaluated("after"), Finished(seconds=1)):
                own.append(run_id, event)
        cached = CachedRuns(own)
        folded = listing(cached, {"fold": "seed"})["html"]
        assert folded.count('<tr class="fold"') == 1
        assert "3 runs" in folded
        assert "<tr data-run" not in folded
        key = re.findall(r'data-unfold="([^"]+)"', folded)[0]
        opened = listing(cached, {"fold": "seed", "open": [key]})["html"]
        assert opened.count("<tr data-run") == 3
        assert "seed 2" in opened


def test_the_table_is_saved_with_all_its_pages(store, filled):
    cached = CachedRuns(store)
    asked = {"columns": ["learning_rate", "task_aggregate", "created"], "baseline": filled[1][0]}
    saved = table_file(cached, {**asked, "kind": "csv"})
    head, *rows = csv.reader(io.StringIO(base64.b64decode(saved["data"]).decode()))
    columns = ["learning_rate", "learning_rate change", "task_aggregate", "task_aggregate change"]
    assert head == ["run", "name", *columns, "created"]
    assert sorted(row[0] for row in rows) == sorted(filled[1])
    assert float(rows[0][2]) > 0
    assert "quotation" in table_file(cached, {"text": '"', "kind": "csv"})["problem"]
    latex = base64.b64decode(table_file(cached, {**asked, "kind": "latex"})["data"]).decode()
    assert latex.count(r" \\") == RUNS + 1
    assert r"Aggregate $\uparrow$" in latex


def test_a_hostile_name_is_text_in_every_file(store, filled):
    store.update(filled[1][0], name=r"=1+1 \input{x} $_&%")
    store.update(filled[1][1], name="[2em] mine")
    cached = CachedRuns(store)
    asked = {"text": filled[1][0]}
    saved = {
        kind: base64.b64decode(table_file(cached, {**asked, "kind": kind})["data"]).decode()
        for kind in ("csv", "latex")
    }
    assert "'=1+1" in saved["csv"]
    assert r"=1+1 \textbackslash{}input\{x\} \$\_\&\%" in saved["latex"]
    latex = table_file(cached, {"text": filled[1][1], "kind": "latex"})["data"]
    assert "{[}2em] mine &" in base64.b64decode(latex).decode(), "else it is an option of the rule"


def test_summaries_of_unchanged_runs_are_kept(store, filled):
    cached = CachedRuns(store)
    before = cached.all()
    cached.forget()
    assert cached.all() is before
    store.update(filled[1][0], notes="new")
    cached.forget()
    after = cached.all()
    assert [a is b for a, b in zip(after, before, strict=True)].count(False) == 1


def test_the_newest_and_the_best_of_each_method_are_suggested(runs):
    offered = suggestions(runs)
    assert offered["The 5 newest"] == [run.run_id for run in runs[:5]]
    best = offered["The best of each method"]
    methods = [tuple(run.facets["method"]) for run in runs if run.run_id in best]
    assert len(methods) == len(set(methods)) > 5
    assert suggestions(()) == {}
    wreck = dataclasses.replace(runs[0].verdict, kind="collapsed")
    wrecked = [
        dataclasses.replace(run, verdict=wreck) if run.run_id in best else run for run in runs
    ]
    assert not set(best) & set(suggestions(tuple(wrecked))["The best of each method"])


def test_failed_runs_say_so_in_place_of_a_verdict(store):
    run_id = store.create(RunSpec())
    store.append(run_id, Failed(seconds=1, problem="out of memory", advice=""))
    (run,), _ = CachedRuns(store).of([run_id])
    assert run.outcome == "failed"
    assert 'title="out of memory"' in listing(CachedRuns(store), {"text": run_id})["html"]


# ---- what a reader changes


def amend(run_id, **values):
    return {"action": "amend", "runs": [run_id], **values}


def test_names_tags_notes_and_pins_are_kept(store, filled):
    run_id = filled[1][0]
    wish = amend(run_id, name=" Best ", tags="paper,  layer   sweep,,paper", notes=" why ")
    assert change(store, wish) == change(store, amend(run_id, pinned=True)) == {}
    row = store.row(run_id)
    assert (row.name, row.notes, row.pinned) == ("Best", "why", True)
    assert row.tags == ("paper", "layer sweep")
    change(store, amend(run_id, name=row.spec.title))
    assert store.row(run_id).name == "", "a name like the run's own title is no name"


def test_a_tag_is_added_to_all_selected_runs(store, filled):
    chosen = filled[1][:5]
    change(store, {"action": "tag", "runs": chosen, "tags": "mine"})
    assert all("mine" in store.row(run_id).tags for run_id in chosen)
    assert "baseline" in store.row(chosen[2]).tags


def test_deleting_can_be_undone(store, filled):
    gone = filled[1][:3]
    assert change(store, {"action": "delete", "runs": gone}) == {}
    assert len(store.runs()) == RUNS - 3
    assert change(store, {"action": "restore", "runs": gone}) == {}
    assert len(store.runs()) == RUNS


def test_an_active_run_cannot_be_deleted(store):
    worker = Worker(store, FakeLab())
    run_id = store.create(RunSpec())
    assert "stop it first" in change(store, {"action": "delete", "runs": [run_id]})["problem"]
    store.append(run_id, Finished(seconds=1))
    assert change(store, {"action": "delete", "runs": [run_id]}) == {}
    worker.close(5)


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (None, "reload"),
        ({"action": "explode", "runs": ["a"]}, "reload"),
        ({"action": "delete", "runs": ["a"] * (MOST + 1)}, f"{MOST} is the most"),
        ({"action": "amend", "runs": ["a"], "name": "x" * 300}, "Name: 300 characters"),
        ({"action": "amend", "runs": ["nope"], "name": "x"}, "unknown run 'nope'"),
    ],
)
def test_a_change_that_cannot_be_made_is_answered_with_a_problem(store, wish, told):
    assert told in change(store, wish)["problem"]


def test_tags_are_separated_by_commas_and_lines():
    assert tags_of(" a b ,c\nd,, a b") == ("a b", "c", "d")
