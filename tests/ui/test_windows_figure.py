"""The figure of windows shows every seed and every block."""

from unlearnlab.ui.trace.maps import windows_figure
from unlearnlab.views.benchmarks import windows


def test_each_window_has_its_bar_and_a_dot_for_each_seed():
    found = windows()
    assert found is not None
    figure = windows_figure(found)
    dots = [trace for trace in figure.data if trace["mode"] == "markers"]
    bars = [trace for trace in figure.data if trace["mode"] == "lines"]
    assert sum(len(trace["y"]) for trace in dots) == len(found.runs)
    assert len(bars) == sum(len(found.of(preset)) for preset in found.presets)
    assert {len(trace["y"]) for trace in figure.data[:3]} == {8}
