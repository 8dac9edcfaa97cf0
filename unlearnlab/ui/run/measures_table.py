"""The table of further measures: those that were taken, and why others were not."""

from collections.abc import Callable, Mapping, Sequence

from unlearnlab.metrics.intervals import Interval
from unlearnlab.metrics.measuring import Taken
from unlearnlab.ui.kit.text import escape, probability, score, span

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
    write = _WRITTEN.get(measure.name, score)
    cells = "".join(f"<td>{_value(value, write)}</td>" for value in (one.before, one.after))
    retrained = "–" if one.retrained is None else write(one.retrained)
    return f"<tr>{name}{cells}<td>{retrained}</td><td>{escape(measure.ideal)}</td></tr>"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.0f}%".replace("-", "−")


_WRITTEN: Mapping[str, Callable[[float | None], str]] = {
    "privleak": _percent,
    "forget_quality": probability,
}
"""How a measure is written that is no score of 0 to 1."""


def _value(of: Interval | None, write: Callable[[float | None], str]) -> str:
    if of is None:
        return "–"
    ends = span(of, write)
    return f"<b>{write(of.value)}</b>" + (f"<small>{ends}</small>" if ends else "")
