"""Errors in what a user asked for: the field, and a message that quotes its value."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from unlearnlab.spec.methods import METHODS

LONGEST, MESSAGE = 200, 1000
"""Most characters of a wrong value that a message quotes, and of a whole message."""


def bounded(text: str, most: int = MESSAGE) -> str:
    """Shorten a text to about `most` characters: its beginning and its end stay."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


class SpecError(ValueError):
    """What the user asked for cannot be run. Each problem is a line `field: what is wrong`."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple((bounded(where, LONGEST), bounded(what)) for where, what in problems)
        """Pairs of the field's dotted path and the message."""
        super().__init__(
            "\n".join(f"{where}: {what}" if where else what for where, what in self.problems)
        )


S = TypeVar("S", bound=BaseModel)


def validated(cls: type[S], asked: Mapping[str, Any] | str) -> S:
    """Make a spec of a class from JSON text or plain values.

    Raises:
        SpecError: One line for every field that is wrong, with its value.
    """
    try:
        return cls.model_validate(json.loads(asked) if isinstance(asked, str) else asked)
    except json.JSONDecodeError as error:
        raise SpecError([("", f"this is not JSON: {error}")]) from error
    except ValidationError as error:
        raise SpecError([problem_of(detail) for detail in error.errors()]) from error


def quoted(value: object) -> str:
    """Quote a wrong value; of a long one, its beginning."""
    text = repr(value[: LONGEST + 1] if isinstance(value, str) else value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """Say that a name is none of those known, and which are near."""
    near = difflib.get_close_matches(name[:LONGEST], known, n=3) or known
    return f"unknown {what} {quoted(name)}: did you mean {', '.join(near)}?"


T = TypeVar("T")


def named(name: str, known: Mapping[str, T], what: str) -> T:
    """Return what is called `name`.

    Raises:
        SpecError: Nothing is; the message names what is near.
    """
    if name not in known:
        raise SpecError([(what, unknown(name, known, what))])
    return known[name]


_MUST_BE: Mapping[str, str] = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "a group of settings",
}
"""What a value must be, by the type of pydantic's finding and with its limits."""


def problem_of(detail: Any) -> tuple[str, str]:
    """Turn one of pydantic's findings into the field's path and a sentence with its value."""
    where = ".".join(str(part) for part in detail["loc"] if part not in METHODS)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        head, _, rest = message.partition(": ")
        if head.startswith(("phases.", "evaluation.", "model.", "data.")):
            return head, rest
        return (f"{where}.{head}", rest) if head.isidentifier() else (where, message)
    if detail["type"] == "union_tag_invalid":
        return f"{where}.kind", unknown(detail["ctx"]["tag"], METHODS, "method")
    if detail["type"] == "union_tag_not_found":
        return f"{where}.kind", "is missing"
    if detail["type"] == "missing":
        return where, "is missing"
    if detail["type"] == "extra_forbidden":
        return where, "there is no such setting"
    if detail["type"] == "too_long":
        told = detail["ctx"]
        return where, f"{told['actual_length']} are too many: at most {told['max_length']}"
    given = "empty" if detail["input"] == "" else quoted(detail["input"])
    return where, f"{_must_be(detail, message)}, not {given}"


def _must_be(detail: Any, message: str) -> str:
    """Say in short words what a value must be; pydantic's own where there are none of ours."""
    if detail["type"] not in _MUST_BE:
        return f"{message[0].lower()}{message[1:]}"
    limits = {
        name: f"{limit:g}" if isinstance(limit, float) else limit
        for name, limit in detail.get("ctx", {}).items()
    }
    return f"must be {_MUST_BE[detail['type']].format(**limits)}"


def printable(text: str) -> str:
    """Replace what would steer a terminal: text may come from a file that somebody else made."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
