"""Pins what `pyproject.toml` asks for: `requirements.txt` and `tests/requirements.txt`.

python -m tests.requirements             follow a change of pyproject.toml
python -m tests.requirements --upgrade   take the newest versions that the ranges admit
python -m tests.requirements --check     fail where the files are out of date
"""

import argparse
import difflib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SETS = {
    "requirements.txt": ("pyproject.toml",),
    "tests/requirements.txt": ("--group", "pyproject.toml:tests", "-c", "requirements.txt"),
}
"""What uv compiles each file from. The settings are in `pyproject.toml`, under `tool.uv.pip`."""

CUDA = re.compile(r"^(nvidia|cuda|triton)\b[^=]*==", re.MULTILINE)
"""Gigabytes that a machine with a CPU build of torch must not fetch."""


def main() -> int:
    """Compile the files, or check them; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = options.add_mutually_exclusive_group()
    what.add_argument("--upgrade", action="store_true", help="take the newest versions")
    what.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    args = options.parse_args()
    if not args.check:
        for name in SETS:
            compiled(ROOT, name, *(["--upgrade"] if args.upgrade else []))
    problems = [problem for name in SETS if (problem := trouble(name))]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def compiled(root: Path, name: str, *options: str) -> str:
    """Compile a file below a folder with a `pyproject.toml`, and return its text."""
    command = (sys.executable, "-m", "uv", "pip", "compile", "--quiet", *SETS[name], "-o", name)
    subprocess.run([*command, *options], cwd=root, check=True)
    return (root / name).read_text(encoding="utf-8")


def trouble(name: str) -> str:
    """Say why a file is not what `pyproject.toml` asks for; empty if it is.

    Compiling keeps the versions that the file has, so newer releases on the index change nothing.
    """
    present = (ROOT / name).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for known in ("pyproject.toml", *SETS):
            (Path(folder) / known).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / known, Path(folder) / known)
        fresh = compiled(Path(folder), name)
    if found := CUDA.search(fresh):
        return f"{name}: {found[0]}… is CUDA's: name it under no-emit-package in pyproject.toml"
    if present == fresh:
        return ""
    changes = difflib.unified_diff(present.splitlines(), fresh.splitlines(), name, "asked for", n=0)
    return f"{name} is out of date: run python -m tests.requirements\n" + "\n".join(changes)


if __name__ == "__main__":
    sys.exit(main())
