"""What repeats a run: its spec as a file, the command line, and a script with the task's entry."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from string import Template
from typing import Any, cast

from unlearnlab import __version__
from unlearnlab.exports.result import Result
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.fields import override
from unlearnlab.spec.presets import presets, usual_template
from unlearnlab.spec.run import RunSpec, parse_spec
from unlearnlab.views.words import changes_text, model_text, phase_text

PROGRAM = "python -m unlearnlab run"

MOST = 6
"""Settings on top of a preset that are still read at a glance."""

NEAREST = 3
"""Presets that are tried."""

_GONE = object()


def spec_file(result: Result) -> str:
    """Write the spec as JSON, as `run --spec FILE` reads it."""
    plain = result.spec.model_dump(mode="json")
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def command_line(result: Result, spec_file: str) -> str:
    """Write the command that repeats a run, and what it would leave out.

    Args:
        result: Of the run.
        spec_file: Name of the file that holds its spec.
    """
    lines = [f"{PROGRAM} --spec {shlex.quote(spec_file)}"]
    if short := one_line(result.spec):
        lines += ["", "# The same without the file:", short]
    if name := result.spec.keep_as:
        lines += ["", f"# It keeps its model as {name!r}: --keep_as gives the next one a name."]
    if made := changes_text(result.spec, result.progress):
        lines += ["", "# The run was changed by hand while it went on; this is not repeated:"]
        lines += [f"# {text}" for text in made]
    return "\n".join(lines) + "\n"


def one_line(spec: RunSpec) -> str:
    """Write the command as a preset and what differs from it; empty if that is long."""
    wanted = spec.model_dump(mode="json")
    starts = [(name, one.spec.model_dump(mode="json")) for name, one in presets().items()]
    near = [(name, start, list(_differences("", start, wanted))) for name, start in starts]
    near.sort(key=lambda one: len(one[2]))
    for name, start, settings in near[:NEAREST]:
        if not _leads(start, settings, spec):
            continue
        # A new method or phase brings most of its values itself: those need not be said.
        for one in tuple(settings):
            others = [other for other in settings if other != one]
            if _leads(start, others, spec):
                settings = others
        usual = usual_template(spec.data.source, spec.model.name)
        if spec.data.chat_template != usual and "data.chat_template" not in dict(settings):
            settings = [*settings, ("data.chat_template", spec.data.chat_template)]
        if len(settings) <= MOST:
            words = [f"--{path} {shlex.quote(text)}" for path, text in settings]
            return " ".join([PROGRAM, "--preset", name, *words])
    return ""


def _leads(start: Mapping[str, Any], settings: Sequence[tuple[str, str]], to: RunSpec) -> bool:
    """Return whether settings turn one spec into another."""
    try:
        return parse_spec(override(start, settings)) == to
    except SpecError:
        return False


def _differences(path: str, start: Any, wanted: Any) -> Iterator[tuple[str, str]]:
    """Yield path and text of each setting that must be given, depth first."""
    if isinstance(wanted, Mapping):
        values = cast("Mapping[str, Any]", wanted)
        known: Mapping[str, Any] = {}
        if isinstance(start, Mapping):
            known = cast("Mapping[str, Any]", start)
        if "kind" in values and known.get("kind") != values["kind"]:
            known = {}
        for name, value in values.items():
            inner = f"{path}.{name}" if path else name
            yield from _differences(inner, known.get(name, _GONE), value)
    elif path == "phases":
        before = cast("list[Any]", start)
        for number, phase in enumerate(cast("list[Any]", wanted)):
            one = before[number] if number < len(before) else _GONE
            yield from _differences(f"{path}.{number}", one, phase)
    elif start is _GONE or start != wanted:
        yield path, _text(wanted)


def _text(value: Any) -> str:
    """Write a value as the command line reads it, to the last digit."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(one) for one in cast("Sequence[Any]", value))
    return repr(value) if isinstance(value, float) else str(value)


def script(result: Result) -> str:
    """Write a Python file with `unlearn(model, output, forget, retain)`.

    It carries the spec and calls the installed package.
    """
    spec = result.spec
    plain = spec.model_dump(mode="json")
    plain["model"]["name"] = model_text(spec)  # Another is given; a folder's path is nobody's.
    plain["model"]["start_from"] = ""
    plain["evaluation"] |= {"watched_rows": None, "snapshots": 0}  # Rows are others.
    phases = "\n".join(f"    {phase_text(spec, phase)}" for phase in spec.phases)
    return _FILE.substitute(
        version=__version__,
        run=result.run_id,
        phases=phases.replace("·", "|").encode("ascii", "replace").decode(),
        # Plain ASCII in which three quotes never meet: nothing can end the literal.
        spec=json.dumps(plain, indent=2, allow_nan=False),
    )


_FILE = Template('''"""Unlearning as SemEval-2025 Task 4 asks for it: one function, `unlearn`.

Written by unlearnlab $version from run $run:

$phases

Needs the package unlearnlab. Each data folder holds a .jsonl or a .parquet file with the columns
id, input, output, task. The unlearned model is written to the output folder, with its tokenizer.
On the command line: python FILE MODEL_FOLDER OUTPUT_FOLDER FORGET_FOLDER RETAIN_FOLDER
"""

import json
import logging
import sys

SPEC = json.loads(r"""
$spec
""")


def unlearn(model_path, output_path, forget_path, retain_path):
    """Unlearn the rows in `forget_path` from the model in `model_path`."""
    from unlearnlab.engine.folders import unlearn_folder

    unlearn_folder(SPEC, model_path, output_path, forget_path, retain_path)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: python FILE MODEL_FOLDER OUTPUT_FOLDER FORGET_FOLDER RETAIN_FOLDER")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        unlearn(*sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"unlearn: {error}")
''')
