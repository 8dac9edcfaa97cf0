"""The list of all runs: what it finds, in which order, and what a reader may change in it."""

import dataclasses
import time

import pytest

from tests.fakes import FakeLab
from tests.stored_runs import TAGS, fill
from unlearnlab.runs.events import Failed, Finished
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.methods import NPO
from unlearnlab.spec.run import Phase, RunSpec
from unlearnlab.ui.compare.listing import MOST, Query, choices, found, suggestions
from unlearnlab.ui.compare.marks import change, tags_of
from unlearnlab.ui.compare.runs import Compared
from unlearnlab.ui.compare.table import listing

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
    return Compared(store).all()


def ids(passing):
    return [of.run.run_id for of in passing.runs]


def asked(runs, **query):
    return found(runs, Query(**query), now=time.time())


def test_all_runs_are_listed_newest_first(runs, filled):
    assert ids(asked(runs)) == filled[1][::-1]
    assert ids(asked(runs, up=True)) == filled[1]


def test_a_search_looks_into_titles_settings_tags_and_ids(runs):
    tagged = [of.run.run_id for of in runs if "paper" in of.run.tags]
    assert ids(asked(runs, text="PAPER sweep")) == tagged
    assert len(ids(asked(runs, text=runs[3].run.run_id))) == 1
    assert ids(asked(runs, text="no such words")) == []


@pytest.mark.parametrize("facet", ["model", "method", "data", "outcome", "tag"])
def test_every_choice_of_a_filter_finds_as_many_runs_as_it_says(runs, facet):
    offered = choices(runs)[facet]
    assert offered
    for value, label in offered:
        assert label.endswith(f"({len(ids(asked(runs, **{facet: value})))})")


def test_runs_of_another_time_are_left_out(runs):
    late = found(runs, Query(since="day"), now=runs[0].run.created + 3600)
    assert 0 < len(late.runs) < RUNS


def test_a_score_sorts_and_runs_without_it_come_last(store):
    store.create(RunSpec(), name="not scored")
    passing = asked(Compared(store).all(), sort="final")
    finals = [of.run.after.final for of in passing.runs if of.run.after]
    assert finals == sorted(finals, reverse=True)
    assert passing.runs[-1].run.title == "not scored"


def test_runs_of_different_settings_are_never_sorted_among_each_other(runs):
    other = dataclasses.replace(runs[0].setting, fold="validation")
    mixed = [dataclasses.replace(of, setting=other) if n % 3 else of for n, of in enumerate(runs)]
    passing = asked(mixed, sort="final")
    groups = [passing.group(of) for of in passing.runs]
    assert [*dict.fromkeys(groups)] == [other, runs[0].setting]
    assert groups == sorted(groups, key=[other, runs[0].setting].index)
    assert asked(mixed).settings == {}


def test_pinned_runs_come_first_whatever_sorts(store, filled):
    store.update(filled[1][4], pinned=True)
    listed = Compared(store).all()
    for sort in ("created", "final", "title", "seconds"):
        assert ids(asked(listed, sort=sort))[0] == filled[1][4]


def test_a_page_gets_only_what_it_does_not_have_yet(store):
    compared = Compared(store)
    first = listing(compared, {})
    assert first["total"] == RUNS
    assert first["html"].count("<tr data-run") == 25
    assert listing(compared, {"word": first["word"]}) == {"same": True}
    assert listing(compared, {"page": 9})["page"] == 1


def test_titles_tags_and_notes_are_escaped(store, filled):
    hostile = '<img src=x onerror="alert(1)">'
    change(store, amend(filled[1][-1], name=hostile, tags=hostile, notes=hostile))
    html = listing(Compared(store), {})["html"]
    assert "<img" not in html
    assert html.count("&lt;img") >= 3


@pytest.mark.parametrize("wrong", [None, [], {"page": -1}, {"sort": "name"}, {"text": "x" * 999}])
def test_a_broken_question_is_told_and_breaks_nothing(store, wrong):
    assert "reload" in listing(Compared(store), wrong)["problem"]


def test_what_has_not_changed_is_not_worked_out_again(store, filled):
    compared = Compared(store)
    before = compared.all()
    compared.forget()
    assert compared.all() is before
    store.update(filled[1][0], notes="new")
    compared.forget()
    after = compared.all()
    assert [a is b for a, b in zip(after, before, strict=True)].count(False) == 1


def test_the_newest_and_the_best_of_each_method_are_suggested(runs):
    offered = suggestions(runs)
    assert offered["The 5 newest"] == [of.run.run_id for of in runs[:5]]
    best = offered["The best of each method"]
    methods = [tuple(of.facets["method"]) for of in runs if of.run.run_id in best]
    assert len(methods) == len(set(methods)) > 5


def test_failed_runs_say_so_in_place_of_a_verdict(store):
    run_id = store.create(RunSpec(phases=(Phase(method=NPO()),)))
    store.append(run_id, Failed(seconds=1, problem="out of memory", advice=""))
    listed, _ = Compared(store).of([run_id])
    assert listed[0].outcome == "failed"
    assert 'title="out of memory"' in listing(Compared(store), {"text": run_id})["html"]


# ---- what a reader changes


def amend(run_id, **values):
    return {"action": "amend", "runs": [run_id], **values}


def test_names_tags_notes_and_pins_are_kept(store, filled):
    run_id = filled[1][0]
    wish = amend(run_id, name=" Best ", tags="paper,  layer   sweep,,paper", notes=" why ")
    assert change(store, wish) == {}
    assert change(store, amend(run_id, pinned=True)) == {}
    row = store.row(run_id)
    assert (row.name, row.notes, row.pinned) == ("Best", "why", True)
    assert row.tags == ("paper", "layer sweep")


def test_a_name_like_the_runs_own_title_is_no_name(store, filled):
    change(store, amend(filled[1][0], name=store.row(filled[1][0]).spec.title))
    assert store.row(filled[1][0]).name == ""


def test_a_tag_is_added_to_all_selected_runs(store, filled):
    change(store, {"action": "tag", "runs": filled[1][: len(TAGS)], "tags": "mine"})
    assert all("mine" in store.row(run_id).tags for run_id in filled[1][: len(TAGS)])
    assert "baseline" in store.row(filled[1][2]).tags


def test_deleting_can_be_undone(store, filled):
    gone = filled[1][:3]
    assert change(store, {"action": "delete", "runs": gone}) == {}
    assert len(store.runs()) == RUNS - 3
    assert change(store, {"action": "restore", "runs": gone}) == {}
    assert len(store.runs()) == RUNS


def test_a_run_that_goes_on_cannot_be_deleted(store):
    worker = Worker(store, FakeLab())
    run_id = store.create(RunSpec())
    assert "stop it first" in change(store, {"action": "delete", "runs": [run_id]})["problem"]
    store.append(run_id, Finished(seconds=1))
    assert change(store, {"action": "delete", "runs": [run_id]}) == {}
    worker.close(5)


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"action": "explode", "runs": ["a"]}, "reload"),
        ({"action": "delete", "runs": ["a"] * (MOST + 1)}, f"{MOST} is the most"),
        ({"action": "amend", "runs": ["a"], "name": "x" * 300}, "Name: 300 characters"),
        ({"action": "amend", "runs": ["nope"], "name": "x"}, "unknown run 'nope'"),
    ],
)
def test_a_change_that_cannot_be_made_is_told(store, wish, told):
    assert told in change(store, wish)["problem"]


def test_tags_are_separated_by_commas_and_lines():
    assert tags_of(" a b ,c\nd,, a b") == ("a b", "c", "d")
