"""Runs of a pretended lab, as exports find them."""

from contextlib import contextmanager

from tests.browser.slow_lab import HOSTILE_SEED, SlowLab
from tests.fakes import FakeLab, whole_run
from unlearnlab.exports.result import Result, result
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec


@contextmanager
def run_of(home, spec=None, *, script=whole_run, lab=None, name="A run"):
    """Carry out a run: the store, its worker and the run's id."""
    with Store(home) as store:
        worker = Worker(store, lab or FakeLab(script))
        try:
            run_id = worker.submit(spec or RunSpec(), name=name)
            assert worker.wait(run_id, 20)
            yield store, worker, run_id
        finally:
            worker.close(5)


def result_of(home, spec=None, **options) -> Result:
    with run_of(home, spec, **options) as (store, _, run_id):
        return result(store, run_id)


def hostile_result(home) -> Result:
    """A run whose models, prompts and name say what a page might take for HTML."""
    lab = SlowLab(step_s=0, rows=2, steps=6)
    spec = RunSpec(seed=HOSTILE_SEED)
    return result_of(home, spec, lab=lab, name="<b>x</b> `y` | $z '''")
