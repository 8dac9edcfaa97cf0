"""The form of the tab Trace: the model that is traced, and what that changes."""

from tests.test_catalogue import download
from unlearnlab.trace_spec import TraceSpec, parse_trace
from unlearnlab.ui.trace_form import EXPERT, asked, chosen_model


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
    about = ("prompt", "", "Ada Brock lives in", "Ada Brock", "", 40, "", [])
    made = parse_trace(asked((*about, str(tmp_path / "deep"), *expert)))
    assert made.model.name == str(tmp_path / "deep")
    assert made.span == 4
