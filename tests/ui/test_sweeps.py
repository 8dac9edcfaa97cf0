"""What the page shows of sweeps, and what its fold makes of what is typed."""

import pytest

from tests.fakes import FakeLab, evaluated
from unlearnlab.runs.events import Failed, Finished
from unlearnlab.runs.store import Store
from unlearnlab.runs.sweeps import sweep_status
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.errors import SpecError
from unlearnlab.spec.presets import presets
from unlearnlab.spec.run import RunSpec
from unlearnlab.spec.sweep import (
    LAYERS,
    SHARES,
    ListAxis,
    SeedAxis,
    SweepSpec,
    WindowAxis,
    expand_grid,
    ready_sweeps,
)
from unlearnlab.ui.form.form import first_form, preset_form
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.sweeps.card import SweepBoard, sweep_figure
from unlearnlab.ui.sweeps.form import (
    Typed,
    choices,
    hint,
    note,
    press_ready,
    press_sweep,
    typed_sweep,
)

RATE, EPOCHS = "phases.0.learning_rate", "phases.0.epochs"
DECAYS = ListAxis(path="phases.0.weight_decay", texts=(0, 0.1))
RMU = presets()["embedded-adaptive-rmu"].spec
NOTHING = Typed((("", ""),) * 3, 1, "grid", 20)


def epochs(*values):
    return ListAxis(path=EPOCHS, texts=values)


def typed(*rows, seeds=1, pick="grid", budget=20):
    return Typed((*rows, *[("", "")] * (3 - len(rows))), seeds, pick, budget)


@pytest.fixture
def program(tmp_path):
    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab())
        yield Program(store, worker, {})
        assert worker.close(20)


def put(store, spec, ending, *, sweep=""):
    """Put a run into the store as if it had been carried out."""
    run_id = store.create(spec, sweep=sweep)
    if isinstance(ending, Finished):
        store.append(run_id, evaluated("before"))
        store.append(run_id, evaluated("after", run_id))
    store.append(run_id, ending)
    return run_id


def half_done(store, sweep):
    """Finish every second run of a sweep, and let the second fail."""
    for number, point in enumerate(expand_grid(sweep).points):
        if number % 2 == 0:
            put(store, point.spec, Finished(seconds=10))
        elif number == 1:
            put(store, point.spec, Failed(seconds=1, problem="<b>no</b>"), sweep="s")
    return sweep_status(sweep, "s", store.runs())


def test_numbers_make_a_line_words_and_seeds_make_boxes_and_two_axes_a_map(program):
    axes = {
        "line": (SeedAxis(count=2), WindowAxis(width=3)),
        "box": (ListAxis(path="phases.0.modules", texts=("mlp", "all")),),
        "seeds": (SeedAxis(count=3),),
        "maps": (epochs(1, 2, 3), DECAYS, SeedAxis(count=2)),
    }
    kinds = {}
    for name, along in axes.items():
        sweep = SweepSpec(base=RMU, axes=along)
        figure = sweep_figure("T", sweep, half_done(program.store, sweep), "final")
        named = [trace for trace in figure.data if trace.get("showlegend", True)]
        kinds[name] = [(trace["type"], trace["name"]) for trace in named]
    scores = ["Task aggregate", "MIA score", "Utility"]
    assert kinds["line"] == [("scatter", score) for score in scores]
    assert kinds["box"] == kinds["seeds"] == [("box", score) for score in scores]
    assert [kind for kind, _ in kinds["maps"]] == ["heatmap"]


def test_a_chart_keeps_its_axes_while_it_fills_in_and_tells_in_words_what_it_shows(program):
    sweep = SweepSpec(base=RMU, axes=(SeedAxis(count=2), WindowAxis(width=3)))
    nothing = sweep_figure("Windows", sweep, sweep_status(sweep, "s", []), "final")
    some = sweep_figure("Windows", sweep, half_done(program.store, sweep), "final")
    assert nothing.layout == some.layout
    assert some.layout["xaxis"]["ticktext"] == ["0–2", "1–3", "2–4", "3–5", "4–6", "5–7"]
    assert nothing.summary == "Windows: 0 of 12 runs finished."
    assert some.summary.startswith("Windows: 6 of 12 runs finished. Highest final 0.")
    assert some.summary.endswith("at blocks trained 0–2.")
    assert some.table is not None
    scores = ["task_aggregate", "mia_score", "utility", "final"]
    assert some.table[0] == ["seed", "blocks trained", "status", *scores]
    assert some.table[2][:4] == ["0", "1–3", "failed", None]


def test_maps_stand_beside_each_other_and_below_each_other_on_a_phone():
    rates = ListAxis(path=RATE, texts=("1e-4", "1e-3", "1e-2"))
    sweep = SweepSpec(base=RMU, axes=(rates, DECAYS, epochs(1, 2)))
    figure = sweep_figure("T", sweep, sweep_status(sweep, "", []), "utility")
    assert len(figure.data) == 2
    assert figure.layout["xaxis"]["title"] == "learning rate", "the longest axis lies across"
    assert figure.layout["xaxis"]["domain"][1] < figure.layout["xaxis2"]["domain"][0]
    assert figure.narrow["yaxis2"]["domain"][1] < figure.narrow["yaxis"]["domain"][0]


def test_the_form_offers_its_numbers_words_layers_and_rows():
    offered = dict((path, label) for label, path in choices(first_form()))
    assert {LAYERS, SHARES, RATE, EPOCHS, "phases.0.method.retain_weight"} <= set(offered)
    assert "phases.0.method.beta" not in offered
    assert offered[RATE] == "Learning rate"
    assert hint("phases.0.modules", first_form()) == "all, mlp, attention, down_proj"
    assert "model.adapter.r" in {path for _, path in choices(preset_form("embedded-lora-nf4"))}


def test_what_is_typed_becomes_a_sweep_of_the_form():
    sweep = typed_sweep(first_form(), typed((RATE, "1e-4, 1e-3"), (LAYERS, "2"), seeds=2))
    assert [axis.kind for axis in sweep.axes] == ["seeds", "list", "window"]
    assert sweep.base == presets()["embedded-early-mlps"].spec
    drawn = typed_sweep(first_form(), typed((RATE, "1e-4 to 1e-2 in 9"), pick="random", budget=4))
    assert (drawn.pick, drawn.budget) == ("random", 4)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (NOTHING, "choose what to vary"),
        (typed((RATE, "")), "say which values"),
        (typed((RATE, "fast")), "not 'fast'"),
        (typed((LAYERS, "9")), "wider than the model"),
        (typed((RATE, "1e-4"), pick="random", budget=None), "how many runs"),
        (typed(seeds=0.5), "whole number from 1"),
        (typed((EPOCHS, "1"), (EPOCHS, "2")), "already"),
    ],
)
def test_what_cannot_be_swept_is_told_and_queues_nothing(program, wrong, told):
    board = SweepBoard(program)
    with pytest.raises(SpecError, match=told):
        expand_grid(typed_sweep(first_form(), wrong))
    sweep, message = press_sweep(board.sweeping, first_form(), wrong)
    assert sweep == ""
    assert told in message.problems[0].message
    assert program.store.runs() == []


def test_count_and_time_are_told_before_the_start(program):
    assert "Choose what to vary" in note(program, first_form(), NOTHING)
    told = note(program, first_form(), typed((EPOCHS, "1, 2, 3"), seeds=2))
    assert "epochs: 1, 2, 3" in told
    assert "6 runs; the first run will tell the time" in told
    assert "&lt;b&gt;" in note(program, first_form(), typed((EPOCHS, "<b>")))


def test_a_ready_made_sweep_starts_with_one_press(program):
    board = SweepBoard(program)
    sweep, message = press_ready(board.sweeping, first_form(), "embedded-layer-windows")
    assert not message.problems
    assert len(program.store.runs()) == 12
    assert press_ready(board.sweeping, first_form(), "olmo-1b-alpha")[0] == ""
    assert press_ready(board.sweeping, first_form(), "nope")[1].problems
    answer = board.poll({"sweep": sweep})
    assert (answer["title"], answer["sweep"]) == ("Layer windows", sweep)
    assert answer["figure"]["summary"]
    assert all(one.sweep.axes for one in ready_sweeps().values())


def test_the_card_tells_how_a_sweep_stands_and_escapes_what_it_shows(program):
    board, store = SweepBoard(program), program.store
    sweep = SweepSpec(base=RunSpec(), axes=(epochs(1, 2, 3, 4),))
    assert board.poll({}) == {"sweeps": [], "sweep": "", "turn": ""}
    sweep_id = store.sweeps.create(sweep, name="<i>mine</i>")
    put(store, expand_grid(sweep).points[0].spec, Finished(seconds=10))
    put(
        store,
        expand_grid(sweep).points[1].spec,
        Failed(seconds=1, problem="<b>no</b>"),
        sweep=sweep_id,
    )
    answer = board.poll({"sweep": "gone by now"})
    assert answer["status"] == "1 of 4 finished · 1 failed"
    assert (answer["open"], answer["going"]) == (2, False)
    tools = {"go_on": "Go on with 2 runs", "retry": "Run 1 failed again", "cancel": ""}
    assert answer["tools"] == tools
    assert "&lt;b&gt;no&lt;/b&gt;" in answer["runs"]
    assert "<b>no" not in answer["runs"]
    again = board.poll({"sweep": sweep_id, "turn": answer["turn"]})
    assert "figure" not in again
    assert again["status"] == answer["status"]


def test_the_cards_buttons_go_on_add_and_cancel_and_refuse_what_makes_no_sense(program):
    board = SweepBoard(program)
    sweep = SweepSpec(base=RunSpec(), axes=(epochs(1, 2),))
    sweep_id = program.store.sweeps.create(sweep, name="Epochs")

    def press(**wish):
        return board.press({"sweep": sweep_id} | wish)

    assert press(action="go_on") == {"note": "2 runs queued."}
    assert press(action="add", axis=0, text="3") == {"note": "1 run queued."}
    assert "not 'x'" in press(action="add", axis=0, text="x")["problem"]
    assert "no axis 7" in press(action="add", axis=7, text="1")["problem"]
    assert "every combination" in press(action="add", text="1")["problem"]
    assert "problem" in press(action="erase")
    assert "unknown sweep" in board.press({"sweep": "x", "action": "go_on"})["problem"]
    assert "is not queued" in press(action="next", run="x")["problem"]
    assert press(action="cancel")["note"].endswith("Active runs go on.")
    assert "problem" in board.poll({"score": "<b>"})
