"""For release days: the whole test suite on the newest versions that `pyproject.toml` admits.

    python -m tests.newest               a fresh environment, all tests, a table of what differs
    python -m tests.newest -k mmlu       words behind it go to pytest

The environment is made by pip, as a user's is: uv would not look where pip is told to.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PIN = re.compile(r"^([\w.-]+)==([^\s;]+)(?:\s*;\s*([^#]+?))?\s*(?:#.*)?$", re.MULTILINE)


def main(words: Sequence[str]) -> int:
    """Install, test, tell; return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="unlearnlab-newest-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *ranges()], check=True)
        listing = [python, "-m", "pip", "list", "--format=json"]
        installed = json.loads(subprocess.run(listing, check=True, capture_output=True).stdout)
        ended = subprocess.run([python, "-m", "pytest", *words], cwd=ROOT)
    print(differences({one["name"]: one["version"] for one in installed}))
    return ended.returncode


def ranges() -> list[str]:
    """Return what `pyproject.toml` asks for, in ranges."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [*project["project"]["dependencies"], *project["dependency-groups"]["tests"]]


def tested() -> dict[str, set[str]]:
    """Map each package of the tested set to its versions: some depend on the machine."""
    found: dict[str, set[str]] = {}
    for name in ("requirements.txt", "tests/requirements.txt"):
        for package, version, _ in PIN.findall((ROOT / name).read_text(encoding="utf-8")):
            found.setdefault(plain(package), set()).add(version)
    return found


def plain(package: str) -> str:
    """Spell a package's name as an index does."""
    return re.sub(r"[-_.]+", "-", package).lower()


def differences(installed: Mapping[str, str]) -> str:
    """Tell in a table which versions are not those of the tested set."""
    pins = tested()
    rows = [("package", "tested", "newest")]
    for package, version in sorted(installed.items()):
        known = pins.get(plain(package), set())
        # A local version, such as 2.13.0+cpu, is a build of the same release.
        if version.partition("+")[0] not in known and package not in ("pip", "setuptools"):
            rows.append((package, " or ".join(sorted(known)) or "–", version))
    if len(rows) == 1:
        return f"Newest and tested set are the same ({len(installed)} packages)."
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
