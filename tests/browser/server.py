"""Serves the page with a lab that only pretends, for tests: `server.py HOME OPTIONS-AS-JSON`.

Prints the address and serves until its stdin is closed, so that it never outlives the tests.
"""

import json
import sys
from pathlib import Path

from tests.browser.slow_lab import SlowLab, retrained_scores
from unlearnlab.runs import Worker
from unlearnlab.store import Store
from unlearnlab.ui.page import build
from unlearnlab.ui.theme import served


def main() -> None:
    home, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    port = options.pop("port", None)
    store = Store(home)
    worker = Worker(store, SlowLab(**options))
    blocks = build(store, worker, references=retrained_scores(), device="2 CPU threads")
    _, url, _ = blocks.launch(server_port=port, prevent_thread_lock=True, **served())
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
