"""A replay on the page: what its buttons do and what follows it, on a real store and worker."""

from dataclasses import replace

import pytest

from tests.fakes import FakeLab
from tests.ui.conftest import answers_of, panel_of
from unlearnlab.cli import app
from unlearnlab.exports.packs import packable, write_pack
from unlearnlab.runs.replay import Replays
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run import handlers
from unlearnlab.ui.run.answers import AnswerFilters, answers_file
from unlearnlab.ui.run.live import demo_fact, poll, press_replay
from unlearnlab.ui.run.membership_card import wrong_documents
from unlearnlab.ui.run.runs_list import past_runs


@pytest.fixture
def program(tmp_path, hand, lab):
    with Store(tmp_path / "home") as store:
        worker = Worker(store, lab)
        yield Program(store, worker, {}, replays=Replays(clock=hand))
        worker.close(5)


@pytest.fixture
def run(program):
    run_id = program.worker.submit(RunSpec(), name="On stage")
    program.worker.wait(run_id, 10)
    return run_id


def pressed(program, run, action, **pace):
    assert press_replay(program, {"run": run, "action": action, **pace}) == {"problem": ""}


def bar(program, run):
    return poll(program, {"run": run})["replay"]


def answered_exactly(evidence):
    """Make each question answered exactly or not at all."""
    exact = {
        key: [one.model_copy(update={"score": float(round(one.score))}) for one in found.answers]
        for key, found in evidence.items()
    }
    return {
        key: found.model_copy(update={"answers": tuple(exact[key])})
        for key, found in evidence.items()
    }


def to_event(program, hand, run, kind):
    """Turn the clock to just after an event of a replay at the recorded speed."""
    replay = program.replays.of(run)
    kinds = [item.event.kind for item in replay.recording.events]
    hand.now += replay.recording.times[kinds.index(kind)] - replay.position + 1e-3


def test_a_finished_run_offers_its_replay_and_one_without_steps_does_not(program, run):
    assert bar(program, run) == {"take": 0, "offered": True}
    waiting = program.store.create(RunSpec())
    assert bar(program, waiting)["offered"] is False
    runs = past_runs(program, run, "")
    assert runs.count("data-replay") == 1
    assert f'data-replay="{run}"' in runs


def test_what_the_page_shows_follows_a_replay(program, hand, run):
    before, answered = (
        panel_of(program, run),
        answers_of(program, run),
    )
    pressed(program, run, "start", speed="1")
    begun = panel_of(program, run)
    assert (begun.board, begun.strip, begun.scored) == ("", "", False)
    assert "Ada" not in answers_of(program, run).answers
    assert begun.export["ended"] is False
    runs = past_runs(program, run, "")
    assert '<span class="badge">Replay</span>' in runs
    assert "data-replay" not in runs

    to_event(program, hand, run, "step_logged")
    training = panel_of(program, run)
    assert "Verdict to come" in training.board
    assert training.live["turn"] != begun.live["turn"]
    answer = poll(program, {"run": run})
    assert answer["points"]["series"]["term.forget"][0] == (1, 2, 3)  # They came at once.
    assert answer["status"]["headline"] == "Training"
    assert answer["status"]["facts"][0] == "replay at 1×"
    assert answer["live"] is True
    assert answer["replay"]["pace"] == "1×"
    assert "recorded" in answer["replay"]["said"]

    hand.now += 60
    after = panel_of(program, run)
    assert (after.board, after.live) == (before.board, before.live)
    assert answers_of(program, run) == answered
    assert bar(program, run) == {"take": 0, "offered": True}


def test_a_replay_stores_nothing_and_asks_nothing_of_the_engine(lab, program, hand, run):
    log, events = list(lab.log), program.store.events(run)
    pressed(program, run, "start", speed="20")
    panel_of(program, run)
    hand.now += 60
    panel_of(program, run)
    assert [row.run_id for row in program.store.runs()] == [run]
    assert program.store.events(run) == events
    assert lab.log == log


def test_a_replay_is_held_by_its_bar_and_not_by_the_buttons_of_a_run(program, hand, run):
    pressed(program, run, "start", speed="1")
    assert poll(program, {"run": run, "cursor": 0})["buttons"] == []


def test_the_bar_holds_lets_go_speeds_up_and_ends(program, hand, run):
    pressed(program, run, "start", seconds="60")
    assert bar(program, run)["pace"] == "in one minute"
    pressed(program, run, "hold")
    said = bar(program, run)["said"]
    hand.now += 30
    assert bar(program, run)["said"] == said
    pressed(program, run, "resume")
    pressed(program, run, "pace", speed="20")
    assert bar(program, run)["pace"] == "20×"
    pressed(program, run, "end")
    for action in ("hold", "resume", "pace", "end"):
        pressed(program, run, action)
    assert bar(program, run)["take"] == 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"speed": "0"}, "'0' is not a number"),
        ({"speed": "nan"}, "'nan' is not a number"),
        ({"seconds": "soon"}, "'soon' is not a number"),
    ],
)
def test_a_replay_that_cannot_be_is_told_in_words(program, run, asked, told):
    assert told in press_replay(program, {"run": run, "action": "start", **asked})["problem"]
    assert program.replays.active() == ()


def test_a_recording_says_that_it_cannot_answer(program, run):
    pressed(program, run, "start")
    ask_id, message = handlers.press_ask(program, run, "Who?")
    assert ask_id == ""
    assert message.problems[0].element == handlers.PROMPT
    assert "a recording cannot answer" in message.problems[0].message


def test_a_page_opens_with_what_is_replayed(program, run):
    newer = program.store.create(RunSpec())
    assert handlers.first_run(program, "") == newer
    pressed(program, run, "start")
    assert handlers.first_run(program, newer) == run


def test_a_recording_from_elsewhere_is_shown_beside_the_users_runs(tmp_path, hand, program, run):
    pack = tmp_path / "stage.zip"
    write_pack([packable(program.store, run)], pack)
    with Store(tmp_path / "other") as store:
        (told,) = app.packed(store, pack)
        worker = Worker(store, FakeLab())
        stage = Program(store, worker, {}, replays=Replays([told], clock=hand))
        pressed(stage, run, "start", speed="20")
        assert panel_of(stage, run).board == ""
        hand.now += 60
        ended = panel_of(stage, run)
        here = panel_of(program, run)
        assert ended.board.partition(">")[2] == here.board.partition(">")[2]
        assert ended.strip == here.strip
        said, same = (answers_of(one, run) for one in (stage, program))
        assert (said.labels, said.answers) == (same.labels, same.answers)
        assert said.membership | {"drawn": ""} == same.membership | {"drawn": ""}
        assert ended.export == {"run": ""}
        assert "On stage" in past_runs(stage, run, "")
        assert "from stage.zip" in past_runs(stage, run, "")
        assert store.runs() == []
        assert len(poll(stage, {"run": run})["points"]["series"]) > 0
        _, message = handlers.press_ask(stage, run, "Who?")
        assert "it was opened from a file" in message.problems[0].message
        assert handlers.settings_of(stage, run) == handlers.settings_of(program, run)
        assert handlers.existing_run(stage, run) == run
        asked = {"run": run, "model": "original", "threshold": 1.0}
        assert "html" in wrong_documents(stage, asked)
        assert answers_file(stage, run, AnswerFilters())["data"]
        pressed(stage, run, "start")
        worker.close(5)


def test_the_programs_own_recording_is_offered_until_there_are_runs(tmp_path, hand, program, run):
    pack = tmp_path / "demo.zip"
    write_pack([packable(program.store, run)], pack)
    with Store(tmp_path / "other") as store:
        (recorded,) = app.packed(store, pack)
        told = replace(recorded, evidence=answered_exactly(recorded.evidence))
        worker = Worker(store, FakeLab())
        stage = Program(store, worker, {}, replays=Replays(demo=told, clock=hand))
        fact = demo_fact(told)
        assert fact is not None
        assert (fact.split, fact.kind, fact.score) == ("forget", "qa", 1.0)
        assert handlers.first_run(stage, "") == ""
        assert handlers.press_demo(stage, "") == (run, handlers.Notice())
        assert handlers.first_run(stage, "") == run
        assert poll(stage, {"run": run})["replay"]["take"] > 0
        hand.now += 60
        assert "Forgotten" in panel_of(stage, run).board
        pressed(stage, run, "end")
        assert handlers.first_run(stage, run) == ""
        (refused,) = handlers.press_ask(stage, run, "Who?")[1].problems
        assert "Press Unlearn" in refused.message
        mine = store.create(RunSpec())
        assert [row.run_id for row in stage.runs.rows()] == [mine, run]
        assert handlers.first_run(stage, "") == mine
        assert handlers.press_demo(program, run)[1].problems
        worker.close(5)
