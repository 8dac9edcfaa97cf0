"""Other processes that use devices of this machine."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from unlearnlab.runs.device_lock import Holder

ROOT = Path(__file__).parents[1]

_HOLD = """
import sys
from unlearnlab.runs.device_lock import take
held = take({name: name for name in sys.argv[2:]}, run=sys.argv[1])
print("held", flush=True)
sys.stdin.read()
held.release()
"""


@contextmanager
def other_process(*devices, run="the-other-run"):
    """Start a process that holds devices until its stdin is closed, it is killed, or this ends."""
    command = [sys.executable, "-c", _HOLD, run, *devices]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def holder(**values):
    """Describe a process that was never there."""
    return Holder(**{"device": "cpu", "pid": 1234, "program": "app.py", "run": "one"} | values)
