"""A program on a real store and a real worker, whose lab follows a script."""

import pytest

from tests.fakes import FakeLab
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.answers import AnswerFilters
from unlearnlab.ui.run.panel import build_answers, build_panel


@pytest.fixture
def lab():
    return FakeLab()


@pytest.fixture
def program(tmp_path, lab):
    with Store(tmp_path / "home", patience_s=0.2) as store:
        worker = Worker(store, lab)
        yield Program(store, worker, {})
        worker.close(5)


def finished(program, spec=None, name=""):
    """Carry out a run and return its id."""
    run_id = program.worker.submit(spec or RunSpec(), name=name)
    assert program.worker.wait(run_id, 20)
    return run_id


def panel_of(program, run_id, **filters):
    return build_panel(program, run_id, AnswerFilters(**filters))


def answers_of(program, run_id, page=0, **filters):
    return build_answers(program, run_id, AnswerFilters(**filters), page)
