"""The form's choice of data, with plain values."""

import pytest

from unlearnlab.data.adding import add, read_typed, remove
from unlearnlab.data.datasets import dataset
from unlearnlab.spec.run import SpecError
from unlearnlab.ui.data.tab import use_data
from unlearnlab.ui.form import form as forms
from unlearnlab.ui.form.choices import (
    FOLD,
    MOST_PICKED,
    SOURCE,
    TASKS_PATH,
    choose_fold,
    controls_of,
    forget_all,
    rows_note,
    use_rows,
)
from unlearnlab.ui.kit.controls import PATHS, ROWS, located

FACTS = "Who is Ada? | a pilot\nWho is Bo? | a baker\nWho is Cy? | a diver"
KEPT = "Who is Di? | a judge"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A dataset of three typed facts and one that stays."""
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    return add(read_typed(FACTS, retain=KEPT, title="Mine"))


def shown(form, path):
    return controls_of(form)[PATHS.index(path)]


def ids(known):
    return [row.id for row in known.rows("forget", "train")]


def test_a_newcomers_form_forgets_all_rows_of_the_embedded_dataset():
    form = forms.first_form()
    assert form.draft["values"][SOURCE] == "embedded"
    assert form.draft["values"][ROWS] == {"forget": None, "rest": "leave"}
    assert "all 304 forget rows" in rows_note(form)
    assert "forget all again" not in rows_note(form)


def test_a_dataset_that_was_added_is_offered_with_its_own_subtasks_and_folds(mine):
    form = use_data(forms.first_form(), mine.name)
    assert ("Mine", "mine") in shown(form, SOURCE)["choices"]
    assert shown(form, TASKS_PATH)["choices"] == [("Facts", "Task1")]
    assert shown(form, FOLD)["visible"] is False
    assert forms.spec_of(form).data.source == "mine"
    assert "all 3 forget rows" in rows_note(form)


def test_rows_that_were_picked_are_asked_for_and_counted(mine):
    form = use_rows(use_data(forms.first_form(), mine.name), ids(mine)[:2], "retain")
    spec = forms.spec_of(form)
    assert spec.data.forget == tuple(ids(mine)[:2])
    assert spec.data.rest == "retain"
    note = rows_note(form)
    assert "2 of 3 rows picked, the rest moved to the retain set" in note
    assert "all 3 forget rows" in rows_note(forget_all(form))
    assert forms.spec_of(forget_all(form)).data.forget is None


def test_picking_a_row_adds_its_subtask_to_what_is_forgotten():
    form = forms.first_form()
    values = form.draft["values"] | {TASKS_PATH: ["Task1"]}
    row = next(row for row in dataset("embedded").rows("forget", "train") if row.task == "Task3")
    form = use_rows(forms.Form(form.draft | {"values": values}), [row.id], "leave")
    assert form.draft["values"][TASKS_PATH] == ["Task1", "Task3"]


@pytest.mark.parametrize(
    ("picked", "told"), [([], "no row is ticked"), (["x"] * (MOST_PICKED + 1), "at most 10000")]
)
def test_none_or_too_many_picked_rows_are_refused(picked, told):
    with pytest.raises(ValueError, match=told):
        use_rows(forms.first_form(), picked, "leave")


def test_another_dataset_or_fold_forgets_the_picked_rows_of_the_former(mine):
    picked = use_rows(use_data(forms.first_form(), mine.name), ids(mine)[:1], "leave")
    assert use_data(picked, "embedded").draft["values"][ROWS]["forget"] is None
    assert choose_fold(picked).draft["values"][ROWS]["forget"] is None


def test_a_dataset_that_is_gone_is_told_at_its_field_and_the_form_is_kept(mine):
    form = use_rows(use_data(forms.first_form(), mine.name), ids(mine)[:1], "leave")
    remove("mine")
    with pytest.raises(SpecError) as failure:
        forms.spec_of(form)
    (problem,) = located(failure.value.problems, editing=0, method=form.method)
    assert (problem.element, problem.label) == ("f-data-source", "Data")
    assert "unknown dataset 'mine'" in problem.message
    assert "not here any more" in rows_note(form)
    assert ("mine · not here", "mine") in shown(form, SOURCE)["choices"]
    assert forms.restored(form.draft) == form


def test_a_preset_goes_back_to_the_embedded_dataset(mine):
    assert use_data(forms.first_form(), mine.name).preset
    values = forms.preset_form("embedded-npo").draft["values"]
    assert (values[SOURCE], values[ROWS]["forget"]) == ("embedded", None)
