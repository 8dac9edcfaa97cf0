"""Rows come in the order that the method asks for, and none is lost."""

import itertools

import pytest
import torch

from unlearnlab.engine import training
from unlearnlab.engine.likelihoods import Example
from unlearnlab.spec.methods.likelihood import Memorize, Sequential
from unlearnlab.spec.methods.preference import NPO, IdkDPO
from unlearnlab.spec.methods.representation import AdaptiveRMU
from unlearnlab.spec.run import Phase


def examples(count, *, tasks=("Task1",)):
    return [Example((i,), 0, i, tasks[i * len(tasks) // count]) for i in range(count)]


def passes(phase, rows, seed=0):
    (chunk,) = training.plan_chunks(phase, rows)
    return training.passes(phase, chunk, torch.Generator().manual_seed(seed))


def indices(batches, name):
    return [example.index for batch in batches for example in batch[name]]


def test_each_pass_sees_every_forget_row_once_in_fresh_order():
    rows = {"forget": examples(10), "retain": examples(7)}
    first, second = itertools.islice(passes(Phase(batch_size=4), rows), 2)
    assert [len(batch["forget"]) for batch in first] == [4, 4, 2]
    assert sorted(indices(first, "forget")) == list(range(10))
    assert indices(first, "forget") != indices(second, "forget")


def test_the_same_seed_gives_the_same_order():
    rows = {"forget": examples(5), "retain": examples(5)}
    first, again = (next(passes(Phase(), rows, seed=3)) for _ in range(2))
    assert first == again


def test_retain_rows_stream_past_so_that_all_come_before_one_comes_again():
    rows = {"forget": examples(10), "retain": examples(7)}
    phase = Phase(method=NPO(), batch_size=5, retain_rows=2)
    seen = indices(next(passes(phase, rows)), "retain")
    assert len(seen) == 20
    assert sorted(seen[:7]) == sorted(seen[7:14]) == list(range(7))


def test_refusals_are_those_of_the_batchs_own_rows():
    rows = {"forget": examples(9), "refusal": examples(9), "retain": examples(9)}
    for batch in next(passes(Phase(method=IdkDPO(), batch_size=4), rows)):
        assert [e.index for e in batch["forget"]] == [e.index for e in batch["refusal"]]


def test_chunks_are_disjoint_and_retain_rows_come_round_in_turn():
    rows = {"forget": examples(10), "retain": examples(8)}
    phase = Phase(method=Sequential(chunk_size=4), batch_size=2, retain_rows=3)
    chunks = training.plan_chunks(phase, rows)
    assert [[e.index for e in one["forget"]] for one in chunks] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    turn = itertools.cycle(range(8))
    for chunk, count in zip(chunks, (12, 12, 6), strict=True):
        assert [e.index for e in chunk["retain"]] == list(itertools.islice(turn, count))


def test_a_chunk_is_gone_through_in_the_same_order_in_each_pass():
    rows = {"forget": examples(4), "retain": examples(8)}
    phase = Phase(method=Sequential(chunk_size=4), batch_size=3, retain_rows=2)
    (chunk,) = training.plan_chunks(phase, rows)
    first, second = itertools.islice(training.passes(phase, chunk, torch.Generator()), 2)
    assert first == second
    assert indices(first, "forget") == [0, 1, 2, 3]
    assert indices(first, "retain") == list(range(8))


@pytest.mark.parametrize("seed", range(3))
def test_by_task_each_batch_has_one_subtask_and_the_shorter_set_ends_the_pass(seed):
    tasks = ("Task1", "Task2", "Task3")
    rows = {"forget": examples(12, tasks=tasks), "retain": examples(24, tasks=tasks)}
    phase = Phase(method=AdaptiveRMU(order="by_task"), batch_size=2)
    first, second = itertools.islice(passes(phase, rows, seed), 2)
    assert len(first) == 6
    for batch in first:
        assert all(len({e.task for e in batch[name]}) == 1 for name in ("forget", "retain"))
    order = [batch["forget"][0].task for batch in first]
    assert [batch["forget"][0].task for batch in second] == order
    assert sorted(indices(first, "forget")) == list(range(12))


def test_steering_mixes_subtasks_unless_asked_otherwise():
    tasks = ("Task1", "Task2", "Task3")
    rows = {"forget": examples(12, tasks=tasks), "retain": examples(12, tasks=tasks)}
    batches = next(passes(Phase(method=AdaptiveRMU(), batch_size=6), rows))
    assert any(len({e.task for e in batch["forget"]}) > 1 for batch in batches)


def test_sets_that_are_taught_together_are_all_seen_in_each_pass():
    rows = {"forget": examples(7), "retain": examples(30)}
    phase = Phase(method=Memorize(), batch_size=8)
    first, second = itertools.islice(passes(phase, rows), 2)
    assert len(first) == phase.method.batches(counted(rows), 8, 1)[0] == 5
    assert {len(batch["forget"]) + len(batch["retain"]) for batch in first} <= {7, 8}
    for name, of in rows.items():
        assert sorted(indices(first, name)) == list(range(len(of)))
        assert indices(first, name) != indices(second, name)


def test_a_set_with_fewer_rows_than_batches_comes_round_again():
    rows = {"forget": examples(2), "retain": examples(30)}
    batches = next(passes(Phase(method=Memorize(), batch_size=8), rows))
    assert [len(batch["forget"]) for batch in batches] == [1] * 4
    assert set(indices(batches, "forget")) == {0, 1}


def counted(rows):
    return {name: {"Task1": len(of)} for name, of in rows.items()}
