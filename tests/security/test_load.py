"""Many browsers at once, and many that come and go. `bench_soak` measures it for longer."""

import pytest

from tests.benchmarks import bench_soak


@pytest.mark.slow
def test_clients_that_poll_get_answers_in_time_and_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr(bench_soak, "CLEARED_S", 18.0)
    found = bench_soak.soak(clients=20, seconds=20, sessions=30, calm_s=2, lab=True)
    assert found.errors == []
    assert len(found.polls_s) > 100
    assert found.p95_ms < 500
    for held in (found.after, found.opened_and_closed):
        assert held.connections <= found.calm.connections
        assert held.descriptors <= found.calm.descriptors + 5
        assert held.threads <= found.calm.threads + 45, "a pool of 40 threads stays"
