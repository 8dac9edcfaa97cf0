"""The figures of runs beside each other. A run keeps its colour, dash and mark in all of them."""

from unlearnlab.ui.compare_charts.curves import overlay
from unlearnlab.ui.compare_charts.plane import plane
from unlearnlab.ui.compare_charts.settings import parallel
from unlearnlab.ui.compare_charts.terms import heat_map

__all__ = ["heat_map", "overlay", "parallel", "plane"]
