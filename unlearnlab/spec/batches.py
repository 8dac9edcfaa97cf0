"""How many rows go through a model at once: what the engine does and the memory estimate counts."""

import math
from collections.abc import Iterable, Sequence

GENERATED_AT_ONCE = 128
"""Prompts that are answered together, if their keys and values fit."""

CACHE_SHARE = 1 / 8
"""Of a device's memory: what keys and values of prompts that are answered together may take."""

ROOM = 16
"""Tokens for which the cache of keys and values makes room in advance."""

WASTE = 0.25
"""The cache is made anew once this share of it is of no use: doing so copies the rest."""

TOKENS_AT_ONCE = 8192
"""Padded tokens in one forward pass where losses are measured."""

POSITIONS_AT_ONCE = 256
"""Positions whose whole distribution is held beside the logits: 0.1 GB at 100 k words."""

PROBE_QUESTIONS, PROBE_COMPLETIONS = 24, 6
"""Rows of each set in a probe."""

PROBE_TOKENS = 64
"""Longest answer in a probe, in tokens: a fraction of a full answer."""

TOKENS_IN_CACHE = 1024
"""The same on a CPU, which is slower as soon as activations leave its cache."""

WORTH_SPLITTING = 0.8
"""A batch is split by length if that leaves at most this share of its padded tokens."""


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Put rows of similar length together, where that saves a good part of the padding.

    Questions are a fraction of a completion's length, so one batch of both is mostly padding.

    Args:
        lengths: Tokens of each row.

    Returns:
        One or two lists of positions in `lengths`.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    longest = lengths[order[-1]]

    def padded(cut: int) -> int:
        return cut * lengths[order[cut - 1]] + (len(order) - cut) * longest

    cut = min(range(1, len(order) + 1), key=padded)
    if padded(cut) > WORTH_SPLITTING * padded(len(order)):
        return [order]
    return [order[:cut], order[cut:]]


def slots(tokens: int) -> int:
    """Count the places that so many tokens take in the cache at worst."""
    return math.ceil((tokens + ROOM) / (1 - WASTE))


def answered_at_once(row_bytes: float, memory: int | None) -> int:
    """Count the prompts that are answered together.

    Args:
        row_bytes: Keys and values of one prompt with its longest answer.
        memory: Bytes that the device has in all, so that each run on it goes the same way; none if
            that is not known.
    """
    if memory is None:
        return GENERATED_AT_ONCE
    return min(GENERATED_AT_ONCE, max(1, int(CACHE_SHARE * memory / row_bytes)))


def fitting(lengths: Iterable[int], *, cpu: bool = False) -> int:
    """Count the rows, from the first on, that fit into one forward pass.

    Args:
        lengths: Tokens of each row.
        cpu: Whether it runs on a CPU.
    """
    most = TOKENS_IN_CACHE if cpu else TOKENS_AT_ONCE
    count = width = 0
    for length in lengths:
        width = max(width, length)
        if count and width * (count + 1) > most:
            break
        count += 1
    return count
