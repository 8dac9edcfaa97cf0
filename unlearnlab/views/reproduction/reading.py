"""A comparison of two runs in sentences."""

from collections.abc import Iterator

from unlearnlab.views.reproduction.agreement import Reproduction


def reading(of: Reproduction) -> Iterator[str]:
    """Say which numbers agree, how far the training went alike, and what that tells."""
    if of.problem:
        yield f"The reproduction has no result to compare: {of.problem}."
    if of.numbers:
        yield _numbers(of)
    if of.steps or of.steps_again:
        yield _training(of)
    if not of.record:
        yield "The records are the same."


def _numbers(of: Reproduction) -> str:
    count = len(of.numbers)
    equal, noise, other, unknown, missing = (
        len(of.of(kind)) for kind in ("equal", "noise", "other", "unknown", "missing")
    )
    if equal == count:
        return f"All {count} numbers are equal."
    parts = [f"{equal} of {count} numbers are equal"]
    if noise:
        parts.append(f"{noise} within noise")
    if other:
        parts.append(f"{other} {'differs' if other == 1 else 'differ'} by more than noise")
    if unknown:
        parts.append(f"{unknown} not equal, and without the answers noise cannot be told")
    if missing:
        parts.append(f"{missing} measured in one of the runs alone")
    return f"{', '.join(parts)}."


def _training(of: Reproduction) -> str:
    same, steps, again = of.same_steps, of.steps, of.steps_again
    if same < min(steps, again):
        if not same:
            return "The loss terms differ from the first step on."
        return f"The loss terms are equal up to step {same} of {steps}, and differ then."
    if not min(steps, again):
        return f"Steps of training: {steps} in the first run, {again} in the second."
    if again < steps:
        return f"The loss terms are equal as far as the second run came: step {again} of {steps}."
    if again > steps:
        return f"The loss terms of all {steps} steps are equal, but the second run took {again}."
    return f"The loss terms of all {steps} steps are equal."
