"""The chart of a sweep, which fills in as its runs end.

One axis of numbers is a line, one of words or of seeds a box each, two and more are heat maps of
one score. Seeds are summed over: lines and cells are means, dots the runs themselves. The axes hold
all values from the start, so that nothing moves when a run ends.
"""

from unlearnlab.metrics.scores import SCORES
from unlearnlab.runs.sweeps import SweepStatus
from unlearnlab.spec.sweep import SweepSpec, shown_axes
from unlearnlab.ui.kit.charts import Figure
from unlearnlab.ui.sweeps.lines import along_one
from unlearnlab.ui.sweeps.maps import along_several
from unlearnlab.ui.sweeps.scores import summary, table


def mapped(spec: SweepSpec) -> bool:
    """Tell whether a sweep is drawn as heat maps, which show one score at a time."""
    return len(shown_axes(spec)) > 1


def sweep_figure(title: str, spec: SweepSpec, stand: SweepStatus, name: str) -> Figure:
    """Draw what is known of a sweep by now.

    Args:
        title: What the sweep is called.
        spec: The sweep.
        stand: How it stands.
        name: The score that heat maps show.

    Raises:
        SpecError: The sweep cannot be laid out any more.
    """
    if mapped(spec):
        data, layout, narrow = along_several(spec, stand, name)
        title = f"{title}: {SCORES[name].words}"
    else:
        (data, layout), narrow = along_one(spec, stand), {}
    return Figure(
        name="sweep",
        title=title,
        summary=summary(title, spec, stand, name),
        data=data,
        layout=layout,
        narrow=narrow,
        table=table(spec, stand),
    )
