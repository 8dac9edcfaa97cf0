"""Serves pages with a lab that only pretends, for tests.

Takes one wish per line of stdin, as JSON. `{"open": HOME, ...}` opens a page on the runs in HOME
and prints its address; the rest are the options of `SlowLab`, `devices` that work side by side
(one if not given), `demo` for the recording that comes with the program, `port` if it matters,
`auth` (user and password) or `token`, and `root_path`.
`{"close": ADDRESS}` ends one. Everything ends with stdin, so that nothing outlives the tests.
"""

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.slow_lab import SlowLab, retrained_scores, word_tokens
from unlearnlab.cli.app import demo
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.runs.replay import Replays
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.ui.guard import Guard
from unlearnlab.ui.login import Login
from unlearnlab.ui.page import build, served

CLOSING_S = 5.0


def main() -> None:
    closing: dict[str, Callable[[], None]] = {}
    for line in sys.stdin:
        wish = json.loads(line)
        if "close" in wish:
            closing.pop(wish["close"])()
            continue
        home, port = Path(wish.pop("open")), wish.pop("port", None)
        devices = wish.pop("devices", [""])
        recorded = wish.pop("demo", False)
        launching = {
            name: wish.pop(name) for name in ("auth", "token", "root_path") if name in wish
        }
        labs = {device: SlowLab(**wish) for device in devices}
        pool = EnginePool(labs.keys, labs.__getitem__)
        url, close = opened(home, port, pool, launching, recorded=recorded)
        closing[url] = close
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()


def opened(
    home: Path,
    port: int | None,
    labs: EnginePool,
    launching: dict[str, Any],
    *,
    recorded: bool = False,
) -> tuple[str, Callable[[], None]]:
    """Serve a page with a store, a worker and a lab of its own: its address, and what ends it."""
    login = Login(user=auth[0], password=auth[1]) if (auth := launching.pop("auth", None)) else None
    if token := launching.pop("token", ""):
        login = Login(token=token)
    guard = Guard(root_path=launching.get("root_path", ""), login=login)
    store = Store(home)
    worker = Worker(store, labs)
    blocks = build(
        store,
        worker,
        references=retrained_scores(),
        device="cpu, 2 threads",
        replays=Replays(demo=demo(store) if recorded else None),
        tokens=word_tokens,
        login=login is not None,
    )
    _, url, _ = blocks.launch(
        server_port=port or free_port(), prevent_thread_lock=True, **launching, **served(guard)
    )

    def close() -> None:
        worker.close(CLOSING_S)
        blocks.close(verbose=False)
        store.close()

    return url, close


def free_port() -> int:
    """Let the system choose: two processes of tests that search one range choose the same."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
