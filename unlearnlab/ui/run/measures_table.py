"""The table of further measures: those that were taken, and why others were not."""

from collections.abc import Sequence

from unlearnlab.metrics.intervals import Interval
from unlearnlab.metrics.measures import Measure, Taken
from unlearnlab.ui.kit.html import escape, span

_HEADS = ("Measure", "Original", "Unlearned", "Retrained", "Best")


def measures_html(taken: Sequence[Taken]) -> str:
    """Draw the measures of a run; those that could not be taken are greyed out."""
    if not taken:
        return '<p class="absent">The evidence of this run is not kept.</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADS)
    body = "".join(_row(one) for one in taken)
    return (
        f'<div class="scroll"><table class="measures"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        '<p class="remark">On the forget rows unless it says otherwise, and attacks on the '
        "documents of the membership attack; ranges are 95% bootstrap intervals. Forget quality is "
        "the p-value of a test whether truth ratios are as the retrained model's: near 0, the two "
        "models are told apart. PrivLeak below 0: still remembered, above 0: pushed too far. "
        "What looks gone under these measures need not be.</p>"
    )


def _row(one: Taken) -> str:
    measure = one.measure
    name = f'<th scope="row">{escape(measure.title)}<small>{escape(measure.source)}</small></th>'
    if one.missing:
        return (
            f'<tr class="missing">{name}<td colspan="4">not taken: {escape(one.missing)}</td></tr>'
        )
    cells = "".join(f"<td>{measure_cell(of, measure)}</td>" for of in (one.before, one.after))
    return (
        f"<tr>{name}{cells}<td>{measure.write(one.retrained)}</td>"
        f"<td>{escape(measure.ideal)}</td></tr>"
    )


def measure_cell(value: Interval | None, measure: Measure) -> str:
    """Write a measured value with its interval, as HTML."""
    if value is None:
        return "–"
    ends = span(value, measure.write)
    return f"<b>{measure.write(value.value)}</b>" + (f"<small>{ends}</small>" if ends else "")
