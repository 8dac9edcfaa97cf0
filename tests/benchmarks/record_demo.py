"""Records the run that comes with the program: `python -m tests.benchmarks.record_demo`.

It is the first preset on the embedded model, with everything that a run of the page stores but
the weights: `assets/recordings/quick-demo.zip`.
"""

import tempfile
from pathlib import Path

from unlearnlab.cli.app import CLOSING_S, DEMO
from unlearnlab.engine.device_engine import engines
from unlearnlab.exports.packs import packable, write_pack
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.presets import preset
from unlearnlab.ui.form.form import FIRST


def main() -> None:
    chosen = preset(FIRST)
    with tempfile.TemporaryDirectory() as home, Store(Path(home)) as store:
        worker = Worker(store, engines(store.evidence))
        run_id = worker.submit(chosen.spec, name=chosen.title)
        ending = worker.wait(run_id)
        worker.close(CLOSING_S)
        assert ending.kind == "finished", ending
        DEMO.parent.mkdir(exist_ok=True)
        write_pack([packable(store, run_id, weights=False)], DEMO)
    print(f"{DEMO.name}: {DEMO.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
