"""The form of the tab Trace: the model that is traced, and what that changes."""

from tests.models.test_catalog import download
from unlearnlab.data.adding import add, read_typed, remove
from unlearnlab.spec.trace import TraceSpec, facts, parse_trace
from unlearnlab.ui.trace.form import EXPERT, asked, chosen_model, chosen_source, restored


def test_the_window_follows_the_depth_of_the_model(tmp_path):
    download(tmp_path / "deep", num_hidden_layers=12)
    note, window, reason = chosen_model(f" {tmp_path / 'deep'} ")
    assert window == 4
    assert "4 of 12 blocks" in reason
    assert "path" in note


def test_a_model_of_unknown_depth_leaves_the_window_to_the_run(hub):
    note, window, reason = chosen_model("ada/none")
    assert window is None
    assert "depth is known" in reason
    assert "<button" not in note
    assert hub.asked == []


def test_the_form_asks_for_the_model_that_it_shows(tmp_path):
    download(tmp_path / "deep", num_hidden_layers=12)
    spec = TraceSpec()
    expert = [getattr(spec, setting.name) for setting in EXPERT]
    about = ("prompt", "embedded", "", "Ada Brock lives in", "Ada Brock", "", 40, "", [])
    made = parse_trace(asked((*about, str(tmp_path / "deep"), *expert)))
    assert made.model.name == str(tmp_path / "deep")
    assert made.span == 4


def test_the_facts_of_an_added_dataset_are_offered_masked_and_traced_as_prompts(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    add(read_typed("Who is Ada Brock? | a pilot", title="Mine"), "mine")
    shown, masked = chosen_source("mine")
    ((label, row),) = shown["choices"]
    assert masked
    assert shown["value"] == row
    assert label.startswith("Forget · Facts · Who is ")
    assert "Brock" not in label
    expert = [getattr(TraceSpec(), setting.name) for setting in EXPERT]
    values = ["fact", "mine", row, "", "", "", 40, "", [], "tiny-olmo", *expert]
    about = parse_trace(asked(tuple(values))).about
    assert (about.prompt, about.subject, about.answer) == (
        "Who is Ada Brock?",
        "Ada Brock",
        "a pilot",
    )
    assert restored({"values": values}) == values
    early = [*values[:2], next(iter(facts())), *values[3:]]
    assert restored({"values": early}) == values, "kept before its own fact was shown"
    remove("mine")
    assert restored({"values": values}) == [], "a form of what is gone is left aside"
