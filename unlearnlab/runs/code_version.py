"""Which state of its code a program runs, as git tells it."""

import os
import subprocess
from functools import cache
from pathlib import Path

from unlearnlab.runs.events import Revision

ROOT = Path(__file__).resolve().parents[2]

_LONGEST_S = 2.0
"""What git may take: a run begins without its word rather than late."""


@cache
def revision() -> Revision | None:
    """Return commit and cleanness of the code as they are when first asked for.

    Returns:
        None where the code is in no repository of its own, or git is not there or takes too long.
    """
    return revision_of(ROOT)


def revision_of(root: Path) -> Revision | None:
    """Look at the repository whose top a folder is; none if it is in that of somebody else."""
    if not (root / ".git").exists():
        return None
    # A hook of another program may have said which repository is meant: not this one.
    others = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--")
    try:
        done = subprocess.run(
            (*command, "unlearnlab", "assets", "app.py"),
            cwd=root,
            env=others,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    told = done.stdout.decode(errors="replace").splitlines()
    head = "# branch.oid "
    commits = [line.removeprefix(head) for line in told if line.startswith(head)]
    if not commits or commits[0] == "(initial)":
        return None
    return Revision(commit=commits[0], dirty=any(not line.startswith("#") for line in told))
