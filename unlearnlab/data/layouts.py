"""Layouts of fine-tuning tools: the columns that ask and answer, and conversations as rows.

A file is read by the columns `input` and `output`, or by the only columns that can be meant, which
a warning names. Where two readings are as good, the message says how to choose one.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from re import fullmatch
from typing import Any, Literal, cast

from unlearnlab.data.checks import Finding, Offender, SourceError, excerpt, summarize
from unlearnlab.data.datasets import is_object
from unlearnlab.data.reading import Table

LayoutChoice = Literal["columns", "alpaca", "messages", "sharegpt"]

LAYOUTS: Mapping[LayoutChoice, str] = {
    "columns": "a column of prompts and one of answers",
    "alpaca": "the prompt is `instruction` and, below it, `input` where it is not empty",
    "messages": "a conversation per row, of messages with `role` and `content`",
    "sharegpt": "a conversation per row, of messages with `from` and `value`",
}
"""What `--layout` and the page offer."""

ROLES = ("input", "output")
"""Fields that every file needs: prompt and answer."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "input": ("input", "prompt", "question", "instruction", "query"),
    "output": ("output", "completion", "answer", "response", "expected", "expected_output"),
}
"""Names of a column that is taken for a prompt or an answer if it is the only one."""

GUESSES: Mapping[str, tuple[str, ...]] = {
    "input": (*NAMES["input"], "user", "text", "source", "problem"),
    "output": (*NAMES["output"], "chosen", "reply", "result", "target", "label", "solution"),
}
"""Names that are suggested."""

PARTS_OF_PROMPTS = (*NAMES["input"], "system", "system_prompt", "context")
"""Names of columns that probably belong to the prompt."""

ASKS, ANSWERS = ("user", "human"), ("assistant", "gpt", "model", "bot", "chatgpt")
"""Who speaks in a conversation."""

_KEYS = (("role", "content"), ("from", "value"))
"""Keys of a message: who speaks, and what."""


def is_blank(cell: object) -> bool:
    """Tell whether a cell holds nothing."""
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def alike(name: str, columns: Sequence[str]) -> str:
    """Find a column by its name, else the only one that differs in case and outer spaces alone."""
    if name in columns:
        return name
    plain = name.strip().casefold()
    near = [one for one in columns if one.strip().casefold() == plain]
    return near[0] if len(near) == 1 else ""


def guess(role: str, columns: Sequence[str]) -> str:
    """Suggest the column of a prompt or an answer; empty if no name tells."""
    return next((found for name in GUESSES[role] if (found := alike(name, columns))), "")


# ---- columns


@dataclass(frozen=True, slots=True)
class Fields:
    """The columns of a table that hold a row's fields."""

    columns: Mapping[str, str]
    """Column by field."""
    findings: tuple[Finding, ...] = ()
    """What a reader should know of the choice."""


def choose_columns(
    table: Table, fields: Sequence[str], chosen: Mapping[str, str], elsewhere: Sequence[str] = ()
) -> Fields:
    """Find the column of each field.

    Args:
        table: The file's rows.
        fields: All fields.
        chosen: Columns that the user chose, by field; an empty name leaves the field out.
        elsewhere: Columns of the other file, which a choice for both files may mean.

    Raises:
        SourceError: The prompt or the answer is in no column, or in one of several.
    """
    found: dict[str, str] = {}
    told: list[str] = []
    for name in fields:
        wanted = chosen.get(name, name)
        if not wanted and name in ROLES:
            raise SourceError(f"{table.name}: {name!r} cannot be left out: name its column")
        column = alike(wanted, table.columns) if name in chosen or name in ROLES else wanted
        if not column and name in chosen and wanted in elsewhere:
            # Meant for the other file.
            wanted = name
            column = alike(name, table.columns) if name in ROLES else name
        if not column and wanted == name in ROLES:
            column = _only(table, name)
        if column in table.columns and column:
            found[name] = column
            if name in ROLES and column not in (name, wanted):
                told.append(name)
        elif wanted and (name in ROLES or name in chosen):
            raise SourceError(f"{table.name}: no column {wanted!r}{_offer(table, name)}")
    if "input" not in chosen and _asked_elsewhere(table, found):
        found["input"] = "instruction"
        message = (
            f"'input' is empty in all {len(table.rows)} rows: 'instruction' is read as the prompt "
            f"({option(table, 'input', 'instruction')})"
        )
        return Fields(found, (_about(table, "empty column", message), *_unused(table, found)))
    read = [_about(table, "other columns", _as_read(table, found, told))] if told else []
    return Fields(found, (*read, *_unused(table, found)))


def option(table: Table, field: str, column: str) -> str:
    """Write the option that chooses a column of this file."""
    name = "--retain-column" if table.split.startswith("retain") else "--column"
    return f"{name} {shlex.quote(f'{field}={column}')}"


def _about(table: Table, kind: str, message: str) -> Finding:
    return Finding(kind, "warning", f"{table.name}: {message}", len(table.rows))


def _as_read(table: Table, found: Mapping[str, str], told: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in table.columns[:12])
    words = {"input": "the prompt", "output": "the answer"}
    read = " and ".join(f"{found[name]!r} as {words[name]}" for name in told)
    how = " ".join(option(table, name, found[name]) for name in told)
    return f"it has {listed}: read {read} ({how})"


def _only(table: Table, role: str) -> str:
    """Return the only column that can be meant; empty if there are several or none."""
    there = {found: None for name in NAMES[role] if (found := alike(name, table.columns))}
    return next(iter(there)) if len(there) == 1 else ""


def _asked_elsewhere(table: Table, found: Mapping[str, str]) -> bool:
    """Tell whether no row has an input, but rows have an instruction, as files of Alpaca may."""
    if "instruction" not in table.columns or found.get("input") != "input":
        return False
    asked = any(not is_blank(row.get("instruction")) for row in table.rows)
    return asked and all(is_blank(row.get("input")) for row in table.rows)


def _unused(table: Table, found: Mapping[str, str]) -> list[Finding]:
    """Warn of a column that looks like a part of the prompt, holds text and is not read."""
    used = set(found.values())
    named = [column for name in PARTS_OF_PROMPTS if (column := alike(name, table.columns))]
    lost = [
        column
        for column in dict.fromkeys(named)
        if column not in used and any(not is_blank(row.get(column)) for row in table.rows)
    ]
    if not lost:
        return []
    columns = " and ".join(repr(column) for column in lost)
    both = {"instruction", "input"} <= {*lost, found.get("input", "")}
    joined = "--layout alpaca puts instruction and input together, " if both else ""
    message = (
        f"{columns} may be a part of the prompt and is not read: {joined}"
        f"{option(table, 'input', lost[0])} takes it in place of {found.get('input', '')!r}"
    )
    return [_about(table, "unused column", message)]


def _offer(table: Table, missing: str) -> str:
    """Say what a file has in place of a column, and the option that would read it."""
    columns = table.columns
    if missing in ROLES and (column := conversation_column(table)):
        layout = _layout_of(table, column)
        return (
            f": a conversation per row in {column!r}: add --layout {layout} to make a prompt and "
            "an answer of each"
        )
    if not all(fullmatch(r"[\w .\-/()#:]{0,30}", name) for name in columns):
        return ": the first line must name the columns, such as input,output"
    near = get_close_matches(missing, columns, n=1)
    listed = ", ".join(repr(name) for name in columns[:12])
    if missing not in ROLES:
        return f": it has {listed}"
    could = [found for name in NAMES[missing] if (found := alike(name, columns))]
    if len(could) > 1:
        ways = " or ".join(option(table, missing, name) for name in could)
        return f": it has {listed}: choose with {ways}"
    guesses = {role: guess(role, columns) or (near[0] if near else "") for role in ROLES}
    options = [
        option(table, role, name)
        for role, name in guesses.items()
        if name and name != role and (role == missing or role not in columns)
    ]
    if near and not guess(missing, columns):
        return f": did you mean {near[0]!r}? Rename it, or add {option(table, missing, near[0])}"
    how = " ".join(options) or option(table, missing, "NAME")
    return f": it has {listed}: rename one of them, or add {how}"


# ---- rows


def has_layout(table: Table, layout: LayoutChoice) -> bool:
    """Tell whether a layout can be read from a table."""
    if layout == "alpaca":
        return {"instruction", "output"} <= set(table.columns)
    return layout == "columns" or bool(conversation_column(table))


def laid_out(table: Table, layout: LayoutChoice) -> Table:
    """Rewrite the rows of a table to have a prompt under `input` and an answer under `output`.

    A table that does not have the layout stays as it is: its neighbour may be another program's.
    """
    if not has_layout(table, layout) or layout == "columns":
        return table
    return _alpaca(table) if layout == "alpaca" else _conversations(table)


def offered(table: Table) -> LayoutChoice:
    """Name the layout that a table has and that must be chosen; `columns` if none must."""
    if column := conversation_column(table):
        return _layout_of(table, column)
    if not {"instruction", "input", "output"} <= set(table.columns):
        return "columns"
    asked = [row for row in table.rows if not is_blank(row.get("instruction"))]
    return "alpaca" if any(not is_blank(row.get("input")) for row in asked) else "columns"


def _alpaca(table: Table) -> Table:
    def joined(row: Mapping[str, Any]) -> dict[str, Any]:
        parts = [row.get("instruction"), row.get("input")]
        if any(not isinstance(one, str | None) for one in parts):
            return {**row, "input": parts}  # Reported as a cell of the wrong type.
        return {**row, "input": "\n".join(one for one in parts if one and one.strip())}

    columns = tuple(name for name in table.columns if name not in ("instruction", "input"))
    return replace(
        table, columns=("input", *columns), rows=tuple(joined(row) for row in table.rows)
    )


def conversation_column(table: Table) -> str:
    """Find the column that holds conversations, by its first filled cell; empty if none does."""
    for column in table.columns:
        first = next((row[column] for row in table.rows if not is_blank(row.get(column))), None)
        if _messages(first):
            return column
    return ""


def _layout_of(table: Table, column: str) -> LayoutChoice:
    first = next(row[column] for row in table.rows if not is_blank(row.get(column)))
    return "sharegpt" if "from" in first[0] else "messages"


def _messages(cell: Any) -> list[tuple[str, Any]]:
    """Return the speakers and contents of a conversation; none if it is no such thing."""
    if not isinstance(cell, list | tuple):
        return []
    found: list[tuple[str, Any]] = []
    for one in cast("Sequence[object]", cell):
        keys = next((k for k in _KEYS if is_object(one) and k[0] in one and k[1] in one), None)
        if keys is None or not is_object(one):
            return []
        found.append((str(one[keys[0]]).strip().casefold(), one[keys[1]]))
    return found


def _said(content: Any) -> str | None:
    """Return a message's text; none if it holds anything else, such as a picture."""
    if isinstance(content, list | tuple):
        parts = [one.get("text") for one in cast("Sequence[Any]", content) if is_object(one)]
        if len(parts) != len(cast("Sequence[Any]", content)) or None in parts:
            return None
        return "\n".join(map(str, parts))
    return content if isinstance(content, str) else None


def _conversations(table: Table) -> Table:
    """Make a row of each answer in a conversation; its prompt is what was asked just before it."""
    column = conversation_column(table)
    rows: list[tuple[int, Mapping[str, Any]]] = []
    silent: list[Offender] = []
    several: list[Offender] = []
    advised: list[Offender] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        messages = _messages(row.get(column))
        pairs = list(_pairs(messages))
        first = next((text for _, content in messages if (text := _said(content))), "")
        offender = Offender(table.split, line, "", excerpt(first))
        if not pairs or any(one is None for pair in pairs for one in pair):
            silent.append(offender)
            continue
        if len(pairs) > 1:
            several.append(offender)
        if any(who in ("system", "developer") for who, _ in messages):
            advised.append(offender)
        others = {name: cell for name, cell in row.items() if name not in (column, *ROLES)}
        rows += ((line, {**others, "input": asked, "output": said}) for asked, said in pairs)
    columns = [name for name in table.columns if name not in (column, *ROLES)]
    findings = [
        *summarize(
            "no answer",
            "error",
            "{count} conversations have no question with an answer of plain text: remove them",
            silent,
        ),
        *summarize(
            "several turns",
            "warning",
            "{count} conversations have several answers: each is a row, whose prompt is its own "
            "question without what was said before",
            several,
        ),
        *summarize(
            "system message",
            "warning",
            "{count} conversations have a system message, which is left out",
            advised,
        ),
    ]
    return Table.of(table.name, table.split, [*ROLES, *columns], rows, [*table.findings, *findings])


def _pairs(messages: Sequence[tuple[str, Any]]) -> Iterator[tuple[str | None, str | None]]:
    """Yield questions with their answers; none stands for what is no text."""
    asked: list[str | None] = []
    for who, content in messages:
        if who in ASKS:
            asked.append(_said(content))
        elif who in ANSWERS and asked:
            yield (None if None in asked else "\n".join(map(str, asked))), _said(content)
            asked = []


# ---- ids


def repeated_ids(table: Table, column: str) -> list[Offender]:
    """Find rows with an id that an earlier row of the file has, where ids name rows.

    Where most ids come several times, they name documents, and their rows are numbered. 7 and "7"
    are one id, as rows are known by text.
    """
    named: dict[str, dict[str, int]] = {}  # Lines by row: one that comes twice is dropped later.
    for line, row in zip(table.lines, table.rows, strict=True):
        if not is_blank(cell := row.get(column)) and not isinstance(cell, list | dict):
            named.setdefault(str(cell).strip(), {}).setdefault(repr(sorted(row.items())), line)
    again = {name: list(of.values()) for name, of in named.items() if len(of) > 1}
    if 2 * len(again) > len(named):
        return []
    return [
        Offender(table.split, line, excerpt(name), "")
        for name, lines in again.items()
        for line in lines[1:]
    ]
