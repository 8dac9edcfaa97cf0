"""What a model says to rows of a dataset, before anything is unlearned."""

from collections.abc import Generator

from unlearnlab.data.datasets import Row, dataset
from unlearnlab.engine.evaluation.generation import Generation, generate
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.runs.events import Event, Previewed, Progressed
from unlearnlab.spec.preview import ANSWER_TOKENS, PreviewSpec


def preview(target: Target, spec: PreviewSpec) -> Generator[Event | None, None, None]:
    """Let the model answer rows, yielding progress and in the end what it said.

    Raises:
        ValueError: There is no such dataset, or none of the rows is in it.
    """
    rows = [row for row in _rows(spec) if _fits(target, row)]
    work = generate(target, [row.input for row in rows], max_new_tokens=ANSWER_TOKENS)
    said: list[Generation] = []
    while rows:
        try:
            yield Progressed(done=next(work), total=len(rows))
        except StopIteration as end:
            said = end.value
            break
    answers = {row.id: one.text.strip() for row, one in zip(rows, said, strict=True)}
    yield Previewed(answers=answers)


def _rows(spec: PreviewSpec) -> list[Row]:
    known = dataset(spec.source)
    if known.unknown_reason:
        raise ValueError(f"source: {known.unknown_reason}")
    wanted = set(spec.rows)
    rows = [row for row in known.rows("forget", spec.fold) if row.id in wanted]
    if not rows:
        raise ValueError(f"rows: none of them is in the forget set of {spec.source} any more")
    return rows


def _fits(target: Target, row: Row) -> bool:
    return 0 < len(target.tokenizer.encode(row.input)) <= target.context - ANSWER_TOKENS
