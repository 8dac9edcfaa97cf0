"""Published results of the task beside a run, each with its source and why it may not compare."""

import re
from collections.abc import Sequence

from unlearnlab.metrics.published import SPLITS, Published, results
from unlearnlab.metrics.scores import Scores
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.html import escape

OFFICIAL = "SemEval-2025 Task 4"
"""How a dataset says that it is the task's own."""

_HEADS = ("System", "Model, split", "Aggregate ↑", "MIA score ↑", "MMLU ↑", "Final ↑", "Source")

_LINKS = re.compile(r"arXiv:(?P<paper>\d{4}\.\d{4,5})|(?P<code>github\.com/[\w.-]+/[\w.-]*\w)")


def published_html(spec: RunSpec, scores: Scores | None) -> str:
    """Draw published results, those first that compare with the run.

    Args:
        spec: Of the run that they stand beside.
        scores: Of its unlearned model.
    """
    split = spec.data.fold if spec.data.known.source == OFFICIAL else "other"
    listed = sorted(
        ((row.differs(spec.model.name, split), row) for row in results()),
        key=lambda pair: (bool(pair[0]), pair[1].model, -(pair[1].final or 0.0)),
    )
    alike = sum(not differs for differs, _ in listed)
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADS)
    own = _own(spec, scores) if scores else ""
    body = "".join(_row(row, differs) for differs, row in listed)
    return (
        '<details class="card published"><summary><h2>Published results</h2>'
        f"<span>{len(listed)} of SemEval-2025 Task 4; {_comparing(spec, alike)}</span></summary>"
        f'<div class="scroll" tabindex="0" aria-label="Published results"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{own}{body}</tbody></table></div>"
        '<p class="remark">Links are asked for only when they are clicked. A final score is the '
        "mean of aggregate, MIA score and MMLU, and hides its parts: a destroyed model reaches "
        "about 0.4.</p></details>"
    )


def _comparing(spec: RunSpec, alike: int) -> str:
    if alike:
        return f"{alike} of the same model and split as this run"
    return f"none compares with {escape(spec.model.known.title)} on these data"


def _own(spec: RunSpec, scores: Scores) -> str:
    """Draw the run itself; a quiz of our own is no MMLU, and a mean with it no final score."""
    mmlu = scores.utility if scores.measures_mmlu else None
    final = scores.final if scores.measures_mmlu else None
    numbers = (scores.task_aggregate, scores.mia_score, mmlu, final)
    data = spec.data.known
    return (
        f'<tr class="own"><th scope="row">This run<small>{escape(spec.title)}</small></th>'
        f"<td>{escape(spec.model.known.title)}<small>{escape(data.title)}, {spec.data.fold} fold"
        f"</small></td>{_numbers(numbers)}<td></td></tr>"
    )


def _row(row: Published, differs: str) -> str:
    rank = f" · rank {row.rank}" if row.rank else ""
    kind = f"<small>{row.kind}{rank}</small>"
    flags = "".join(f'<span class="tag">{escape(flag)}</span>' for flag in row.flags)
    numbers = (row.task_aggregate, row.mia_score, row.mmlu, row.final)
    mark = f' class="other" title="{escape(differs)}"' if differs else ""
    apart = " · not comparable" if differs else ""
    note = f"<small>{escape(row.note)}</small>" if row.note else ""
    return (
        f'<tr{mark}><th scope="row">{escape(row.system)}{kind}{flags}</th>'
        f"<td>OLMo {row.model}<small>{escape(SPLITS[row.split])}{apart}</small></td>"
        f"{_numbers(numbers)}"
        f'<td class="source">{_sources(row)}{note}</td></tr>'
    )


def _numbers(values: Sequence[float | None]) -> str:
    return "".join(f"<td>{'–' if value is None else f'{value:.3f}'}</td>" for value in values)


def _sources(row: Published) -> str:
    paper = f"; {row.paper}" if row.paper and row.paper not in row.source else ""
    return _linked(row.source + paper)


def _linked(text: str) -> str:
    """Turn papers and repositories into links, escaping all else."""
    parts: list[str] = []
    at = 0
    for found in _LINKS.finditer(text):
        paper = found["paper"]
        where = f"arxiv.org/abs/{paper}" if paper else found["code"]
        parts += [escape(text[at : found.start()]), _link(where, found[0])]
        at = found.end()
    return "".join((*parts, escape(text[at:])))


def _link(where: str, words: str) -> str:
    return (
        f'<a href="https://{escape(where)}" target="_blank" rel="noopener noreferrer">'
        f"{escape(words).replace('/', '/<wbr>')}</a>"
    )
