"""The figures of runs beside each other. A run keeps its colour, dash and mark in all of them."""

from unlearnlab.ui.compare.charts.curves import overlay
from unlearnlab.ui.compare.charts.plane import plane
from unlearnlab.ui.compare.charts.settings import parallel
from unlearnlab.ui.compare.charts.terms import heat_map

__all__ = ["heat_map", "overlay", "parallel", "plane"]
