"""Facts that were typed: on each line a question and its answer."""

import re
from collections.abc import Mapping

from unlearnlab.data.adding.checks import Offender, excerpt, finding
from unlearnlab.data.adding.files import SourceError
from unlearnlab.data.adding.tables import Table

# In this order: what is least likely to be a part of the question comes first.
_SEPARATORS = tuple(map(re.compile, (r"\t+", r"\|", r"->|=>|→", r"(?<=\?)\s+", r"\s=\s")))


def typed_table(text: str, split: str) -> Table:
    """Read lines as rows.

    Args:
        text: A tab, `|`, `->`, or `=` between spaces parts question and answer, else the question
            mark. Empty lines do not count.
        split: What the findings call it, such as `forget_train`.

    Raises:
        SourceError: There is no line.
    """
    rows: list[Mapping[str, str]] = []
    lines: list[int] = []
    bad: list[Offender] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        question, answer = _parted(line.strip())
        if question and answer:
            rows.append({"input": question, "output": answer})
            lines.append(number)
        else:
            bad.append(Offender(split, number, "", excerpt(line)))
    if not rows and not bad:
        raise SourceError("nothing was typed: write a question and its answer on each line")
    message = "{count} lines have no answer: put a | between question and answer"
    findings = (finding("no answer", "error", message, bad),) if bad else ()
    return Table(("input", "output"), tuple(rows), tuple(lines), findings)


def _parted(line: str) -> tuple[str, str]:
    for separator in _SEPARATORS:
        question, *answer = separator.split(line, maxsplit=1)
        if answer:
            return question.strip(), answer[0].strip()
    return line, ""
