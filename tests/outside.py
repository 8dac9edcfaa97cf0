"""What is outside the program: a hub, other processes, MMLU's files."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

from unlearnlab.runs.devices import Holder

ROOT = Path(__file__).parents[1]

# ---- MMLU's real files, if they are there

REAL = Path(os.environ.get("UNLEARNLAB_MMLU", ROOT.parent / "shared" / "data" / "mmlu"))

needs_real = pytest.mark.skipif(
    not (REAL / "test.parquet").is_file(),
    reason=f"MMLU's files are not in {REAL}: UNLEARNLAB_MMLU can name their folder",
)

# ---- other processes that use devices of this machine

_HOLD = """
import sys
from unlearnlab.runs.devices import take
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


# ---- a hub that serves folders as huggingface.co serves models and datasets

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 1 << 16


class PretendedHub:
    """What is served, and what was asked for."""

    def __init__(self, url: str):
        self.url = url
        self.models: dict[str, Path] = {}
        """Folders by repository: of models, and of datasets alike."""
        self.gated: set[str] = set()
        """Repositories whose files need a token that opens them."""
        self.broken: int | None = None
        """Status that everything is answered with."""
        self.pause_s = 0.0
        """Between two pieces of a file."""
        self.asked: list[str] = []
        """Method and path of each request, in order."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: PretendedHub

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        hub, path = self.hub, unquote(urlsplit(self.path).path).lstrip("/")
        hub.asked.append(f"{self.command} {path}")
        if hub.broken:
            return self._send(hub.broken)
        for kind in ("api/models/", "api/datasets/"):
            if path.startswith(kind):
                return self._about(*re.split("/revision/|(/tree)/", path.removeprefix(kind))[:2])
        repository, _, rest = path.removeprefix("datasets/").partition("/resolve/")
        if repository not in hub.models:
            return self._send(401, {"X-Error-Code": "RepoNotFound"})
        if repository in hub.gated:
            return self._send(403, {"X-Error-Code": "GatedRepo"})
        file = hub.models[repository] / rest.partition("/")[2]
        if not file.is_file():
            return self._send(404, {"X-Error-Code": "EntryNotFound"})
        content = file.read_bytes()
        told = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        return self._send(200, told, content, pause_s=hub.pause_s)

    do_HEAD = do_GET

    def _about(self, repository: str, tree: str | None = None):
        """List the files of a repository."""
        folder = self.hub.models.get(repository)
        if folder is None:
            return self._send(401, {"X-Error-Code": "RepoNotFound"})
        files = {
            str(path.relative_to(folder)): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        if tree:
            about = [
                {"type": "file", "path": path, "size": size, "oid": COMMIT}
                for path, size in files.items()
            ]
        else:
            siblings = [{"rfilename": path, "size": size} for path, size in files.items()]
            about = {"id": repository, "sha": COMMIT, "siblings": siblings}
        return self._send(200, {"Content-Type": "application/json"}, json.dumps(about).encode())

    def _send(self, status: int, headers=(), content=b"", *, pause_s=0.0):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            for start in range(0, len(content), PIECE):
                self.wfile.write(content[start : start + PIECE])
                time.sleep(pause_s)
        except ConnectionError:
            self.close_connection = True


@contextmanager
def pretended_hub():
    """Serve a hub until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = PretendedHub(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask_here(patch, url: str, cache: Path) -> None:
    """Let huggingface_hub ask this address, keep what it fetches in `cache`, and know no token."""
    patch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setenv("UNLEARNLAB_MAY_ASK_HUB", "1")
    patch.delenv("HF_TOKEN", raising=False)
    patch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
