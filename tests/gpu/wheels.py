"""Downloads what a GPU machine without a network needs beside torch, as wheels.

    python -m tests.gpu.wheels wheels --python 3.12

The versions are those of requirements.txt. bitsandbytes is left out unless `--packed` asks for it,
for its size: without it, 4 bits are not measured.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

NEEDED = (
    "annotated-types",
    "filelock",
    "httpcore2",
    "httpx2",
    "huggingface-hub",
    "peft",
    "platformdirs",
    "pydantic",
    "pydantic-core",
    "regex",
    "rouge-score",
    "nltk",
    "absl-py",
    "safetensors",
    "tokenizers",
    "transformers",
    "truststore",
    "typing-inspection",
)
"""Names in requirements.txt that the engine imports, and that such a machine lacks or has older."""

PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)] + ["manylinux2014_x86_64"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="of the GPU machine")
    parser.add_argument("--packed", action="store_true", help="bitsandbytes as well")
    args = parser.parse_args()
    names = (*NEEDED, "bitsandbytes") if args.packed else NEEDED
    fetched = [f"{name}=={version}" for name, version in pinned(args.python) if name in names]
    told = [option for platform in PLATFORMS for option in ("--platform", platform)]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"),
            *("--python-version", args.python, "--implementation", "cp", *told),
            *("-d", str(args.folder), *fetched),
        ],
        check=True,
    )


def pinned(python: str) -> list[tuple[str, str]]:
    """List names and versions of requirements.txt; of several versions, the last one that fits."""
    found: dict[str, str] = {}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        match = re.match(r"([\w.-]+)==([\w.]+)(?: ; python_full_version (\S+) '([\d.]+)')?", line)
        if match and _fits(python, match[3], match[4]):
            found[match[1]] = match[2]
    return list(found.items())


def _fits(python: str, relation: str | None, bound: str | None) -> bool:
    if relation is None or bound is None:
        return True
    ours, theirs = ([int(part) for part in one.split(".")] for one in (python, bound))
    return {"<": ours < theirs, ">=": ours >= theirs}.get(relation, True)


if __name__ == "__main__":
    main()
