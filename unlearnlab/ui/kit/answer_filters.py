"""What the reader chose to see of a run: rows, filters, order, masking."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unlearnlab.metrics.labels import OUTCOMES, Outcome
from unlearnlab.views.answers import SORT_KEYS, Filter, Order, Show, SortKey

SHOWS: dict[Show, str] = {
    "forget": "Forget",
    "others": "Not picked",
    "retain": "Retain",
    "leaks": "Still leaks",
    "damaged": "Collateral damage",
    "all": "All",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What the reader chose to see, as the page's controls hold it: unchecked."""

    show: str = "forget"
    task: str = ""
    kind: str = ""
    text: str = ""
    masked: bool = False
    waiting: Sequence[Sequence[str]] = ()
    """Id and text of prompts that this browser asked."""
    labels: Sequence[str] = ()
    """Labels of which a row must have one."""
    sort: str = "data"
    descending: bool = False
    drawn: str = ""
    """Which scores are on the page already."""
    run: str = ""
    """The run that is on the page already: for another one, its data say what is masked."""

    @property
    def filter(self) -> Filter:
        """Return the filter of the answers."""
        known: dict[str, Show] = {show: show for show in SHOWS}
        show = known.get(self.show, "forget")
        labels: list[Outcome] = [label for label in OUTCOMES if label in (self.labels or ())]
        return Filter(show, self.task or "", self.kind or "", self.text or "", labels)

    def opening(self, term: str) -> "Look":
        """Show the rows of a term, `split/task/kind`, or all rows, whatever was asked before."""
        show, task, kind = [*term.split("/"), "", ""][:3]
        return replace(self, show=show, task=task, kind=kind, text="", labels=())

    def sorting(self, key: str) -> "Look":
        """Sort by a column, or the other way if it is sorted so already."""
        known: dict[str, SortKey] = {one: one for one in SORT_KEYS}
        order = self.order.pressed(known.get(key, "data"))
        return replace(self, sort=order.key, descending=order.descending)

    @property
    def order(self) -> Order:
        """Return the order of the answers."""
        known: dict[str, SortKey] = {key: key for key in SORT_KEYS}
        return Order(known.get(self.sort, "data"), bool(self.descending))
