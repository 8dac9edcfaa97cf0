"""A hub on this machine: it serves folders as huggingface.co serves models."""

import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

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

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body: bool):
        hub, path = self.hub, unquote(urlsplit(self.path).path).lstrip("/")
        hub.asked.append(f"{self.command} {path}")
        if hub.broken:
            return self._refuse(hub.broken, "")
        for kind in ("api/models/", "api/datasets/"):
            if path.startswith(kind):
                return self._about(*re.split("/revision/|(/tree)/", path.removeprefix(kind))[:2])
        repository, _, rest = path.removeprefix("datasets/").partition("/resolve/")
        if repository not in hub.models:
            return self._refuse(401, "RepoNotFound")
        if repository in hub.gated:
            return self._refuse(403, "GatedRepo")
        file = hub.models[repository] / rest.partition("/")[2]
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        return self._file(file.read_bytes(), body=body)

    def _refuse(self, status: int, code: str):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _about(self, repository: str, tree: str | None = None):
        if repository not in self.hub.models:
            return self._refuse(401, "RepoNotFound")
        folder = self.hub.models[repository]
        siblings = [
            {"rfilename": str(path.relative_to(folder)), "size": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        about = {"id": repository, "sha": COMMIT, "siblings": siblings}
        files = [
            {"type": "file", "path": one["rfilename"], "size": one["size"], "oid": COMMIT}
            for one in siblings
        ]
        text = json.dumps(files if tree else about).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        return None

    def _file(self, content: bytes, *, body: bool):
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        try:
            for start in range(0, len(content), PIECE):
                self.wfile.write(content[start : start + PIECE])
                time.sleep(self.hub.pause_s)
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
