"""A store, and workers on it that are closed when the test ends."""

import pytest

from tests.runs.waiting import PATIENCE_S
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "home") as store:
        yield store


@pytest.fixture
def employ(store):
    workers = []

    def make(lab):
        workers.append(Worker(store, lab))
        return workers[-1]

    yield make
    assert all(worker.close(PATIENCE_S) for worker in workers)
