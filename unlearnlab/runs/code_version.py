"""The git version of the running code."""

import os
import subprocess
from functools import cache
from pathlib import Path

from unlearnlab.runs.events import Revision

ROOT = Path(__file__).resolve().parents[2]

_LONGEST_S = 2.0
"""Timeout for git, in seconds: a run starts without a revision rather than late."""


@cache
def revision() -> Revision | None:
    """Return the commit of the code and whether it was modified, as of the first call.

    Returns:
        None if the code has no repository of its own, or git is missing or takes too long.
    """
    return revision_of(ROOT)


def revision_of(root: Path) -> Revision | None:
    """Return the revision of a repository by its top folder; none if the folder is not one."""
    if not (root / ".git").exists():
        return None
    # A git hook may have set variables that point to another repository.
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
    lines = done.stdout.decode(errors="replace").splitlines()
    head = "# branch.oid "
    commits = [line.removeprefix(head) for line in lines if line.startswith(head)]
    if not commits or commits[0] == "(initial)":
        return None
    return Revision(commit=commits[0], dirty=any(not line.startswith("#") for line in lines))
