"""The options of the server; the page itself is tested in `browser`."""

import socket

import pytest

import app
from tests.fakes import stepped
from unlearnlab.events import Finished
from unlearnlab.metrics import Scores
from unlearnlab.spec import RunSpec
from unlearnlab.store import Store


def test_a_home_that_cannot_be_used_is_bad_input(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert app.main(["--home", str(tmp_path / "file"), "--no-open"]) == app.BAD_INPUT
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_a_port_that_is_taken_is_bad_input_if_it_was_asked_for(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = app.main(["--port", str(port), "--home", str(tmp_path), "--no-open"])
    assert code == app.BAD_INPUT
    assert f"port {port} on 127.0.0.1 cannot be used" in capsys.readouterr().err


def test_another_port_is_found_when_none_was_asked_for(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(app, "FIRST_PORT", port)
        monkeypatch.setattr(app, "LAST_PORT", port + 20)
        assert port < app.free_port("127.0.0.1", None) <= port + 20


@pytest.mark.parametrize("auth", ["me", "me:", ":secret"])
def test_half_a_password_is_bad_input(tmp_path, capsys, auth):
    assert app.main(["--auth", auth, "--home", str(tmp_path)]) == app.BAD_INPUT
    assert "USER:PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "others"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("lab", True)],
)
def test_a_host_that_others_can_reach_is_known(host, others):
    assert app.open_to_others(host) is others


def test_sharing_is_off_unless_asked_for():
    assert app.parser().parse_args([]).share is False


def test_the_retrained_models_scores_come_by_fold():
    assert all(isinstance(scores, Scores) for scores in app.references().values())


def test_without_the_retrained_models_scores_the_page_does_without(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "EMBEDDED", tmp_path)
    assert app.references() == {}


@pytest.fixture
def run(tmp_path):
    """A recorded run in a home of its own, and one that never began."""
    with Store(tmp_path) as store:
        for event in ((), (stepped(1), stepped(2), Finished(seconds=2))):
            run_id = store.create(RunSpec())
            for one in event:
                store.append(run_id, one)
        store.append(store.runs()[1].run_id, Finished(seconds=0))
        return run_id


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--replay", "RUN", "--speed", "0"), "speed: '0' is not a number"),
        (("--replay", "RUN", "--speed", "-4"), "speed: '-4' is not a number"),
        (("--replay", "RUN", "--speed", "nan"), "speed: 'nan' is not a number"),
        (("--replay", "RUN", "--speed", "fast"), "speed: 'fast' is not a number"),
        (("--replay", "RUN", "--in", "0"), "length: '0' is not a number"),
        (("--replay", "RUN", "--in", ""), "length: '' is not a number"),
        (("--speed", "4"), "name its run with --replay"),
        (("--replay", "nope"), "unknown run 'nope'"),
        (("--replay", "EMPTY"), "it ended before its first step"),
        (("--replay", "nowhere.zip"), "nowhere.zip cannot be read as a pack"),
        (("--replay", "TEXT"), "no zip"),
    ],
)
def test_a_replay_that_makes_no_sense_is_bad_input(tmp_path, capsys, run, given, told):
    with Store(tmp_path) as store:
        words = {"RUN": run, "EMPTY": store.runs()[1].run_id, "TEXT": tmp_path / "notes.txt"}
    words["TEXT"].write_text("These are my notes, which tell nothing of a run.")
    options = [f"{words.get(word, word)}" for word in given]
    assert app.main([*options, "--home", str(tmp_path), "--no-open"]) == app.BAD_INPUT
    assert told in capsys.readouterr().err


def test_a_replay_goes_at_the_speed_that_was_asked_for(tmp_path, run):
    with Store(tmp_path) as store:
        (replay,) = app.replayed(store, run, "4", None).going()
        assert (replay.run_id, replay.clock.speed, replay.position) == (run, 4, 0)
        (replay,) = app.replayed(store, run, None, "30").going()
        assert replay.recording.length_s / replay.clock.speed == pytest.approx(30)
        assert app.replayed(store, None, None, None).going() == ()


def test_the_engine_waits_for_a_replay_that_moves_and_for_no_other(tmp_path, run):
    with Store(tmp_path) as store:
        replays = app.replayed(store, run, "0.01", None)
    assert app.moves(replays, opening=True), "the page that begins it is being opened"
    assert not app.moves(replays, opening=False), "nobody has seen it"
    replays.seen(run)
    assert app.moves(replays, opening=False)
    replays.change(run, held=True)
    assert not app.moves(replays, opening=True)
    replays.change(run, held=False)
    assert app.moves(replays, opening=False)
    replays.end(run)
    assert not app.moves(replays, opening=True)
