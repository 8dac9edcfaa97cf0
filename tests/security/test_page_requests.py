"""What scripts of the page ask, or anybody in their place: always answered, in words if refused."""

import json
import time
from typing import get_args

import pytest
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.fakes import FakeLab
from tests.security.test_fuzzing import BOUNDED, VALUES, tried
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.page import build

LARGE = 10**30


@pytest.fixture(scope="module")
def asked_of(tmp_path_factory):
    """The id of a finished run, and what a page about it answers, by name."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, Store(home, patience_s=0.2) as store:
        patch.setenv("UNLEARNLAB_HOME", str(home))
        worker = Worker(store, FakeLab())
        run_id = worker.submit(RunSpec(), name="One")
        assert worker.wait(run_id, 20)
        blocks = build(store, worker, references={}).blocks.values()
        answers = {fn.__name__: fn for one in blocks for fn in getattr(one, "server_fns", ())}
        assert {"poll_run", "change_runs", "press_sweep", "ask_runs"} <= set(answers)
        yield run_id, answers
        worker.close(10)


def of_the_page(cls=BaseModel):
    for one in cls.__subclasses__():
        if one.__module__.startswith("unlearnlab.ui."):
            yield one
        yield from of_the_page(one)


def words(annotation):
    """Yield the words that a type allows."""
    for one in get_args(annotation):
        if isinstance(one, str):
            yield one
        yield from words(one)


def requests(run_id):
    """Draw what looks like a request of some script: the names and words of one of them."""
    odd = VALUES | st.sampled_from([LARGE, -1, [run_id], {"0": run_id}, {run_id: True}])

    def request(cls):
        said = {
            name: st.sampled_from([run_id, *words(field.annotation)]) | odd
            for name, field in cls.model_fields.items()
        }
        return st.fixed_dictionaries({}, optional=said)

    return st.sampled_from(sorted(of_the_page(), key=str)).flatmap(request) | odd


@BOUNDED
def test_whatever_is_asked_of_the_page_is_answered(asked_of, count):
    run_id, answers = asked_of

    def holds(drawn):
        name, asked = drawn
        began = time.monotonic()
        answer = answers[name](asked)
        assert time.monotonic() - began < 10
        json.dumps(answer)
        if isinstance(answer, dict):
            assert len(str(answer.get("problem", ""))) < 3000

    tried(10 * count, st.tuples(st.sampled_from(sorted(answers)), requests(run_id)), holds)
