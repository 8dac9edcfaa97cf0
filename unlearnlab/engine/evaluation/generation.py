"""Greedy generation for many prompts at once.

The text is the same as one prompt at a time gives. Rows of similar length are read together, and
those that have ended leave their places to others. Where an answer is expected, or a row repeats
itself, one pass checks many tokens (see `drafts`): that is where the time goes.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from unlearnlab.data.datasets import Row as DataRow
from unlearnlab.engine.evaluation.decoding import Batch, Row
from unlearnlab.engine.evaluation.prompt_lookup import Draft, usual
from unlearnlab.engine.evaluation.token_stats import Reading, readings
from unlearnlab.engine.model.data import encode_continuation
from unlearnlab.engine.model.devices import total_memory
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.spec.batches import GENERATED_AT_ONCE, answered_at_once, fitting, slots

FREE = 0.25
"""Waiting rows are read once this share of the places is free: they are read together."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What the model said to one prompt."""

    text: str
    ended: bool
    """Whether it ended by itself, with EOS."""
    expected: Reading | None = None
    """What the model makes of the expected answer. None where none was given, or where it changes
    the tokens of the prompt: such a one is not read here."""


def generate(
    target: Target,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = GENERATED_AT_ONCE,
    expected: Sequence[str] | None = None,
) -> Generator[int, None, list[Generation]]:
    """Continue each prompt greedily, yielding the number of finished prompts now and then.

    Args:
        target: The model.
        prompts: Texts to be continued.
        max_new_tokens: Longest answer.
        batch_size: Prompts that are answered together at most: fewer, where their keys and values
            would take too much of the device's memory.
        expected: What each prompt may be answered with, after a space. It changes no answer: it
            only spares the steps to those that are given.

    Raises:
        ValueError: A prompt leaves no room for an answer in the model's context.
    """
    encoded = [target.tokenizer.encode(prompt) for prompt in prompts]
    for ids in encoded:
        _check_fits(len(ids), max_new_tokens, target.context)
    answers = expected or [None] * len(prompts)
    rows = [
        _row(target, ids, prompt, answer, max_new_tokens)
        for ids, prompt, answer in zip(encoded, prompts, answers, strict=True)
    ]
    phrases = usual(row.expected for row in rows)
    for row in rows:
        row.draft = Draft(row.expected, phrases)
    waiting = deque(sorted(rows, key=_width))
    going = Batch(target, ())
    longest = slots(max(map(len, encoded), default=0) + max_new_tokens) * target.cached_bytes
    batch_size = min(batch_size, answered_at_once(longest, total_memory(target.places)))
    while waiting or going.going:
        free = batch_size - len(going.going)
        if waiting and (free >= FREE * batch_size or free == batch_size):
            fresh: list[Batch] = []
            for batch in _read(target, waiting, free):
                fresh.append(batch)
                yield sum(row.done for row in rows)
            going = Batch.of(target, [going, *fresh])
        else:
            if going.wasteful:
                going = Batch.of(target, [going])
            going.step()
        yield sum(row.done for row in rows)
    return [_generation(target, row) for row in rows]


def _width(row: Row) -> int:
    return len(row.unread) + len(row.expected)


def _read(target: Target, waiting: deque[Row], free: int) -> Iterator[Batch]:
    """Read waiting rows, until `free` of them go on, yielding those of each pass that do."""
    while waiting and free:
        count = min(free, fitting(map(_width, waiting), cpu=target.on_cpu))
        batch = Batch(target, [waiting.popleft() for _ in range(count)])
        batch.read()
        free -= len(batch.going)
        yield Batch.of(target, [batch])  # What ended is given up before more is read.


def expected_readings(
    target: Target, rows: Sequence[DataRow], said: Sequence[Generation]
) -> Generator[int, None, list[Reading]]:
    """Return what the model makes of each expected answer after one space.

    What was read with the prompt is known; the rest is read here. Yields how many of those are.

    Args:
        target: The model.
        rows: Prompts and what is expected.
        said: What `generate` found, given the same.
    """
    missing = [row for row, one in zip(rows, said, strict=True) if one.expected is None]
    examples = [encode_continuation(target.tokenizer, row.input, row.output) for row in missing]
    found = iter((yield from readings(target, examples)))
    return [one.expected or next(found) for one in said]


def _row(target: Target, ids: list[int], prompt: str, expected: str | None, most: int) -> Row:
    """Make the row of a prompt, with what is expected if that leaves the prompt's tokens alone."""
    if expected is None:
        return Row(ids, most)
    example = encode_continuation(target.tokenizer, prompt, expected)
    if example.start < len(ids) or len(example.ids) >= target.context:
        return Row(ids, most)
    after = list(example.ids[len(ids) :])
    return Row(ids, most, [*after, target.tokenizer.eos_token_id], len(after))


def _generation(target: Target, row: Row) -> Generation:
    """Decode what was said, without the EOS that may end it."""
    ended = row.said[-1] == target.tokenizer.eos_token_id
    ids = row.said[:-1] if ended else row.said
    text = target.tokenizer.decode(ids, skip_special_tokens=True)
    return Generation(text, ended, row.reading)


def _check_fits(length: int, max_new_tokens: int, context: int) -> None:
    if length == 0:
        raise ValueError("the prompt is empty: type something for the models to continue")
    if length + max_new_tokens > context:
        raise ValueError(
            f"the prompt has {length} tokens: with an answer of up to {max_new_tokens} it does not "
            f"fit the model's {context}; shorten it to {context - max_new_tokens}"
        )
