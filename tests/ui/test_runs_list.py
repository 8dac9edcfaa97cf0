"""The queue on the page: what is drawn of it, and what its buttons do."""

import threading

import pytest

from tests.fakes import FakeLab, stage
from tests.outside import holder, other_process
from tests.ui.conftest import panel_of
from unlearnlab.runs.engine_api import EnginePool
from unlearnlab.runs.events import Started
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Running, Worker, WorkerState
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.trace import TraceSpec
from unlearnlab.ui.form.form import form_of
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.handlers import Notice, press_unlearn
from unlearnlab.ui.run.live import poll, queue_text, status
from unlearnlab.ui.run.runs_list import (
    LISTED,
    press_cancel,
    press_dismiss,
    press_move,
    press_take_up,
    queue_html,
)


@pytest.fixture
def open_program(tmp_path):
    """Open programs whose runs go on until the test ends, with a lab for each device."""
    ended = threading.Event()
    opened = []

    def script(job):
        yield stage("loading")
        while not ended.wait(0.01):
            yield None

    def make(*devices):
        store = Store(tmp_path / "home")
        worker = Worker(store, EnginePool(lambda: devices or ("",), lambda _: FakeLab(script)))
        opened.append((store, worker))
        return Program(store, worker, {})

    yield make
    ended.set()
    for store, worker in opened:
        assert worker.close(20)
        store.close()


def live(program, count):
    """Wait until so many runs go on."""
    while len(program.worker.state().running) < count:
        threading.Event().wait(0.005)


def drawn(program):
    return queue_html(program, program.worker.state(), program.store.runs())


def test_the_queue_is_drawn_only_while_something_waits(open_program):
    program = open_program()
    assert drawn(program) == ""
    program.worker.submit(RunSpec(), name="first")
    live(program, 1)
    assert drawn(program) == ""
    program.worker.submit(RunSpec(), name="second")
    program.worker.submit(TraceSpec())
    html = drawn(program)
    assert html.index("first") < html.index("second") < html.index("A trace")
    assert panel_of(program, "").queue == html


def test_a_long_queue_is_drawn_up_to_a_length_and_the_rest_counted(open_program):
    program = open_program()
    for _ in range(LISTED + 4):
        program.worker.submit(RunSpec())
    live(program, 1)
    assert "and 3 more behind them" in drawn(program)


def test_waiting_runs_are_moved_and_cancelled_and_a_late_click_is_told(open_program):
    program = open_program()
    first, a, b = (program.worker.submit(RunSpec(seed=n)) for n in range(3))
    live(program, 1)
    assert press_move(program, {"run": b, "to": 0}) == Notice()
    assert program.worker.state().queue == (b, a)
    assert press_cancel(program, {"run": b}) == Notice()
    assert program.worker.state().queue == (a,)
    assert "has begun" in press_move(program, {"run": first, "to": 0}).note
    assert "has begun" in press_cancel(program, {"run": first}).note
    assert not program.worker.state().running[0].stopping
    for wrong in (None, {}, {"run": "x" * 200}, {"run": a, "to": "up"}):
        assert "reload" in press_move(program, wrong).note
    assert "unknown run" in str(press_cancel(program, {"run": "x"}).problems)


def test_two_live_runs_are_both_shown_and_a_new_one_waits_only_for_its_device(open_program):
    program = open_program("cuda:0", "cpu")
    gpu = program.worker.submit(RunSpec(), name="on the GPU")
    live(program, 1)
    assert panel_of(program, gpu).unlearn == "Queue"
    cpu = program.worker.submit(RunSpec(model={"device": "cpu"}), name="on the CPU")
    live(program, 2)
    state = program.worker.state()
    assert queue_text(state) == "2 running"
    program.worker.pause(cpu)
    assert queue_text(program.worker.state()) == "1 running · 1 paused"
    html = drawn(program)
    assert (f'data-run="{gpu}"' in html, f'data-run="{cpu}"' in html) == (True, True)
    for run_id, pause in ((gpu, "Pause"), (cpu, "Resume")):
        # A run is live a moment before its first event is stored.
        while not program.store.events(run_id):
            threading.Event().wait(0.005)
        found = poll(program, {"run": run_id, "cursor": 0})["buttons"]
        assert found[0]["text"] == pause
    _, message = press_unlearn(program, gpu, form_of(RunSpec().model_dump(mode="json")))
    assert message.note == "Queued: it starts when its device is free."


@pytest.fixture
def orphans(tmp_path, monkeypatch):
    """Runs of a program that ended: one that began, and two that waited."""
    with Store(tmp_path / "home") as store:
        owner = store._owner
        monkeypatch.setattr(store, "_owner", owner._replace(born=owner.born - 1000))
        runs = [store.create(RunSpec(seed=n), name=f"run {n}") for n in range(3)]
        store.append(runs[0], Started(versions={}, device="cpu"))
    return runs


def test_what_a_closed_program_left_waiting_is_offered_and_queued_again(orphans, open_program):
    program = open_program()
    assert "2 runs were still waiting" in drawn(program)
    assert press_take_up(program) == Notice()
    live(program, 1)
    state = program.worker.state()
    assert state.owned == tuple(orphans[1:])
    assert "still waiting" not in drawn(program)


def test_what_a_closed_program_left_waiting_can_be_dismissed(orphans, open_program):
    program = open_program()
    assert press_dismiss(program) == Notice()
    assert drawn(program) == ""
    assert [row.ending and row.ending.kind for row in program.store.runs()] == [
        "stopped",
        "stopped",
        None,
    ]


def test_the_page_says_which_process_uses_a_device_and_what_waits_for_it(open_program):
    theirs = holder(program="<b>app.py", run="<i>1")
    assert queue_text(WorkerState(elsewhere=(theirs,))) == (
        "CPU in use by process 1234 (<b>app.py, run <i>1)"
    ), "plain text: the page's script writes it as such"
    assert queue_text(WorkerState()) == "idle"
    busy = WorkerState(running=(Running("a"),), elsewhere=(theirs,))
    assert queue_text(busy) == "1 running", "what goes on here comes first"
    program = open_program()
    a, b = (program.store.create(RunSpec(seed=n)) for n in range(2))
    blocked = WorkerState(queue=(a, b), blocked=((a, theirs), (b, theirs)), elsewhere=(theirs,))
    assert queue_text(blocked).startswith("0 running · 2 queued · CPU in use by process 1234")
    html = queue_html(program, blocked, program.store.runs())
    assert html.count("waiting: CPU in use") == 1, "runs behind one another say it once"
    scene = program.runs.shown(a)
    line = status(scene, scene.view(blocked), blocked)
    assert (line["status"], line["headline"]) == ("queued", "Waiting in the queue")
    assert line["detail"] == "waiting: CPU in use by process 1234 (<b>app.py, run <i>1)"


def test_a_run_that_another_process_blocks_is_shown_as_waiting_and_then_goes_on(open_program):
    program = open_program("cpu")
    with other_process("cpu") as process:
        assert poll(program, {})["queue"].startswith(f"CPU in use by process {process.pid}")
        run_id = program.worker.submit(RunSpec())
        while not program.worker.state().blocked:
            threading.Event().wait(0.005)
        answer = poll(program, {"run": run_id})
        assert answer["status"]["detail"].startswith("waiting: CPU in use by process")
        assert "waiting: CPU in use" in panel_of(program, run_id).queue
    live(program, 1)
    assert poll(program, {"run": run_id})["queue"] == "1 running"
