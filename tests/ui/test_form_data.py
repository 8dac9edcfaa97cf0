"""The form's choice of data, with plain values."""

import pytest

from unlearnlab.data.adding import add, read_typed, remove
from unlearnlab.spec.run import SpecError
from unlearnlab.ui.data.tab import use_data
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.form import FOLD, MOST_PICKED, SOURCE, TASKS_PATH, forget_all, use_rows
from unlearnlab.ui.form.layout import control_updates
from unlearnlab.ui.form.notes import rows_note
from unlearnlab.ui.kit.controls import ROWS

FACTS = "Who is Ada? | a pilot\nWho is Bo? | a baker\nWho is Cy? | a diver"
KEPT = "Who is Di? | a judge"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A dataset of three typed facts and one that stays."""
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    return add(read_typed(FACTS, retain=KEPT, title="Mine"))


@pytest.fixture
def form(mine):
    """The form with that dataset chosen."""
    return use_data(forms.first_form(), mine.name)


def ids(form):
    return [row.id for row in form.dataset.rows("forget", "train")]


def test_a_newcomers_form_forgets_all_rows_of_the_embedded_dataset():
    form = forms.first_form()
    assert form.values[SOURCE] == "embedded"
    assert form.values[ROWS] == {"forget": None, "rest": "leave"}
    assert "all 304 forget rows" in rows_note(form)
    assert "forget all again" not in rows_note(form)


def test_a_dataset_that_was_added_is_offered_with_its_own_subtasks_and_folds(form):
    shown = control_updates(form)
    assert ("Mine", "mine") in shown[SOURCE]["choices"]
    assert shown[TASKS_PATH]["choices"] == [("Facts", "Task1")]
    assert shown[FOLD]["visible"] is False
    assert forms.spec_of(form).data.source == "mine"
    assert "all 3 forget rows" in rows_note(form)


def test_rows_that_were_picked_are_asked_for_and_counted(form):
    picked = use_rows(form, ids(form)[:2], "retain")
    data = forms.spec_of(picked).data
    assert (data.forget, data.rest) == (tuple(ids(form)[:2]), "retain")
    assert "2 of 3 rows picked, the rest moved to the retain set" in rows_note(picked)
    assert "all 3 forget rows" in rows_note(forget_all(picked))
    assert forms.spec_of(forget_all(picked)).data.forget is None


def test_picking_a_row_adds_its_subtask_to_what_is_forgotten():
    form = forms.first_form()
    row = next(row for row in form.dataset.rows("forget", "train") if row.task == "Task3")
    form = use_rows(form.having({TASKS_PATH: ["Task1"]}), [row.id], "leave")
    assert form.values[TASKS_PATH] == ["Task1", "Task3"]


@pytest.mark.parametrize(
    ("picked", "told"), [([], "no row is ticked"), (["x"] * (MOST_PICKED + 1), "at most 10000")]
)
def test_none_or_too_many_picked_rows_are_refused(picked, told):
    with pytest.raises(ValueError, match=told):
        use_rows(forms.first_form(), picked, "leave")


def test_another_dataset_forgets_the_picked_rows_of_the_former(form):
    picked = use_rows(form, ids(form)[:1], "leave")
    assert use_data(picked, "embedded").values[ROWS]["forget"] is None


def test_a_dataset_that_is_gone_is_told_at_its_field_and_the_form_is_kept(form):
    form = use_rows(form, ids(form)[:1], "leave")
    remove("mine")
    with pytest.raises(SpecError) as failure:
        forms.spec_of(form)
    (problem,) = forms.problems_of(failure.value, form)
    assert (problem.element, problem.label) == ("f-data-source", "Data")
    assert "unknown dataset 'mine'" in problem.message
    assert "not here any more" in rows_note(form)
    assert ("mine · not here", "mine") in control_updates(form)[SOURCE]["choices"]
    assert forms.load_draft(form.draft) == form
