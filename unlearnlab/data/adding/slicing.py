"""A part of a dataset, of whole source documents: a completion stays with its questions."""

import random
from collections.abc import Sequence

from unlearnlab.data.adding.checks import Placed
from unlearnlab.data.adding.overlaps import contained
from unlearnlab.data.adding.rows import document_of
from unlearnlab.data.datasets import Task


def sliced(rows: Sequence[Placed], limit: int, seed: int) -> list[Placed]:
    """Take some source documents of each set and subtask, whole: the same ones for a seed."""
    groups: dict[tuple[str, Task], dict[str, None]] = {}
    for one in rows:
        groups.setdefault((one.split, one.row.task), {})[document_of(one.row)] = None
    taken = {
        group: set(random.Random(f"{seed} {group}").sample(sorted(names), min(limit, len(names))))
        for group, names in groups.items()
    }
    return [one for one in rows if document_of(one.row) in taken[one.split, one.row.task]]


def still_members(documents: Sequence[str], rows: Sequence[Placed]) -> tuple[str, ...]:
    """Keep the documents whose forget rows were taken."""
    texts = [one.text for one in rows if one.split.startswith("forget")]
    held = set(contained(documents, texts))
    return tuple(text for place, text in enumerate(documents) if place in held)
