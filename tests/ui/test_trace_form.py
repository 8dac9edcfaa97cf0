"""The form of the tab Trace: the model that is traced, and what that changes."""

from tests.models.test_catalog import download
from unlearnlab.data.adding.adding import add, read_typed, remove
from unlearnlab.spec.facts import facts
from unlearnlab.spec.trace import TraceSpec, parse_trace
from unlearnlab.ui.form.notes import model_note
from unlearnlab.ui.trace.form import (
    EXPERT,
    PATHS,
    load_draft,
    offered_facts,
    to_trace_dict,
    window_note,
)

VALUES = dict.fromkeys(PATHS, "") | {"source": "embedded", "count": 40, "model.name": "tiny-olmo"}
VALUES |= {setting.name: getattr(TraceSpec(), setting.name) for setting in EXPERT}


def test_the_window_follows_the_depth_of_the_model(tmp_path):
    download(tmp_path / "deep", num_hidden_layers=12)
    window, reason = window_note(f" {tmp_path / 'deep'} ")
    assert window == 4
    assert "4 of 12 blocks" in reason


def test_a_model_of_unknown_depth_leaves_the_window_to_the_run(hub):
    window, reason = window_note("ada/none")
    assert window is None
    assert "depth is known" in reason
    assert "<button" not in model_note("ada/none", offers=False)
    assert hub.asked == []


def test_the_form_asks_for_the_model_that_it_shows(tmp_path):
    download(tmp_path / "deep", num_hidden_layers=12)
    typed = {"kind": "prompt", "prompt": "Ada Brock lives in", "subject": "Ada Brock"}
    made = parse_trace(to_trace_dict(VALUES | typed | {"model.name": str(tmp_path / "deep")}))
    assert made.model.name == str(tmp_path / "deep")
    assert made.span == 4


def test_the_facts_of_an_added_dataset_are_offered_masked_and_traced_as_prompts(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    add(read_typed("Who is Ada Brock? | a pilot", title="Mine"), "mine")
    ((label, row),), masked = offered_facts("mine")
    assert masked
    assert label.startswith("Forget · Facts · Who is ")
    assert "Brock" not in label
    values = VALUES | {"kind": "fact", "source": "mine", "id": row}
    about = parse_trace(to_trace_dict(values)).about
    assert (about.prompt, about.subject, about.answer) == (
        "Who is Ada Brock?",
        "Ada Brock",
        "a pilot",
    )
    assert load_draft({"values": values}) == values
    early = values | {"id": next(iter(facts()))}
    assert load_draft({"values": early}) == values, "kept before its own fact was shown"
    assert load_draft({"values": list(values.values())}) == {}, "of an earlier version"
    remove("mine")
    assert load_draft({"values": values}) == {}, "a form of what is gone is left aside"
