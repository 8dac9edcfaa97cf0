"""The package as pip installs it: a wheel in an empty environment, used in an empty folder.

python -m tests.installed
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SHORT = (
    "--phases.0.max_steps",
    "1",
    "--evaluation.max_new_tokens",
    "8",
    "--evaluation.probes",
    "0",
)


class Installed:
    """An environment that has the package and nothing of this folder."""

    def __init__(self, work: Path) -> None:
        """Build the wheel and install it with the versions of the tested set."""
        self._work = work
        self.folder = work / "empty"
        self.folder.mkdir()
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(work), ROOT)
        subprocess.run(pip, check=True)
        (wheel,) = work.glob("*.whl")
        venv.create(work / "venv", with_pip=True)
        pins = ("-r", str(ROOT / "requirements.txt"))
        subprocess.run([self.command("python"), "-m", "pip", "install", "-qq", *pins], check=True)
        # All that the package needs is there by now: what is missing would show below.
        last = ("--no-index", "--no-deps", str(wheel))
        subprocess.run([self.command("python"), "-m", "pip", "install", "-qq", *last], check=True)
        subprocess.run([self.command("python"), "-m", "pip", "check"], check=True)
        self._environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONPATH"
        } | {"UNLEARNLAB_HOME": str(work / "home")}

    def command(self, name: str) -> str:
        """Return the path of a command of the environment."""
        scripts = "Scripts" if os.name == "nt" else "bin"
        return str(self._work / "venv" / scripts / name)

    def run(self, *words: str) -> str:
        """Carry out a command in the empty folder and return what it printed.

        A warning or a traceback on stderr counts as a failure.
        """
        name, *rest = words
        done = subprocess.run(
            [self.command(name), *rest],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stderr}"
        loud = [word for word in ("Warning", "Traceback", "site-packages") if word in done.stderr]
        assert not loud, f"{words}: {done.stderr}"
        return done.stdout

    def serve(self) -> None:
        """Open the page, read it once and end the program."""
        command = [self.command("unlearnlab"), "app", "--no-open"]
        pipes = {"stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=self.folder, env=self._environment, **pipes) as app:
            try:
                line = app.stderr.readline()
                assert "the page is at" in line, line + app.stderr.read()
                address = line.split("the page is at ")[1].split()[0]
                nearby = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with nearby.open(address, timeout=60) as page:
                    assert "unlearnlab" in page.read().decode()
                with nearby.open(f"{address}manual/", timeout=60) as page:
                    assert "<h1" in page.read().decode()
            finally:
                app.send_signal(signal.SIGTERM)
                told = app.stderr.read()
        assert app.returncode == 0, told
        assert "terminate called" not in told, told


def main() -> int:
    """Use the installed package; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="unlearnlab-installed-") as folder:
        used(Installed(Path(folder).resolve()))
    print("The installed package works.")
    return 0


def used(installed: Installed) -> None:
    """Do what a user does first, in a folder that holds nothing."""
    run, folder = installed.run, installed.folder
    assert run("unlearnlab", "--version").startswith("unlearnlab ")
    assert "embedded-early-mlps" in run("unlearnlab", "presets")
    assert "tiny-olmo" in run("unlearnlab", "models")
    assert "AILS-NTUA" in run("unlearnlab", "published")
    assert "embedded-layer-windows" in run("unlearnlab", "sweep")
    run("unlearnlab", "run", "--preset", "embedded-early-mlps", *SHORT)
    run("unlearnlab", "evaluate", "--data", "embedded", "--fold", "validation")
    (recorded,) = json.loads(run("unlearnlab", "list", "--json"))
    run_id = recorded["run"]
    run("unlearnlab", "export", run_id, "--what", "script", "--what", "report", "--out", ".")
    (script,) = folder.glob("**/*unlearn.py")
    assets = ROOT / "assets" / "tiny-olmo"
    for name in ("forget", "retain"):
        (folder / name).mkdir()
        shutil.copy(assets / "data" / f"{name}_validation.jsonl", folder / name)
    run("python", str(script), str(assets / "original"), "made", "forget", "retain")
    assert (folder / "made" / "model.safetensors").is_file()
    installed.serve()


if __name__ == "__main__":
    sys.exit(main())
