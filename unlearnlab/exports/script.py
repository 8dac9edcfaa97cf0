"""One Python file with the task's entry: `unlearn(model, output, forget, retain)`."""

import json
from string import Template

from unlearnlab import __version__
from unlearnlab.exports.result import Result
from unlearnlab.exports.words import model_name
from unlearnlab.views.phases import phase_text


def script(result: Result) -> str:
    """Write the file. It carries the spec and calls the installed package."""
    spec = result.spec
    phases = [phase_text(spec, phase) for phase in spec.phases]
    plain = spec.model_dump(mode="json")
    plain["model"]["name"] = model_name(spec)  # Another is given; a folder's path is nobody's.
    return _FILE.substitute(
        version=__version__,
        run=result.run_id,
        phases="\n".join(f"    {_ascii(text)}" for text in phases),
        # Plain ASCII in which three quotes never meet: nothing can end the literal.
        spec=json.dumps(plain, indent=2, allow_nan=False),
    )


def _ascii(text: str) -> str:
    return text.replace("·", "|").encode("ascii", "replace").decode()


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
