"""`run`, `teach`, `trace`, and what `list`, `show` and `models` print, with a pretended engine."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeLab, evaluated, phase_began, stage, stepped, whole_run
from tests.models.test_catalog import download
from unlearnlab.data.files import EMBEDDED
from unlearnlab.models.catalog import MODEL_NOTE
from unlearnlab.runs.engine_api import RunFailed
from unlearnlab.runs.events import Adjusted, CutShort, Kept
from unlearnlab.spec.run import RECORDED, parse_spec
from unlearnlab.spec.trace import TraceSpec, parse_trace

# ---- run


def test_a_run_prints_its_scores_and_its_verdict(cli):
    code, out, err = cli("run", "--name", "mine")
    assert code == 0
    assert "mine" in out
    assert "Task aggregate ↑" in out
    assert "0.180" in out, "harmonic mean of 0.1 and 0.9"
    assert "0.900" in out
    assert "Forgotten" in out
    assert "Scoring the original model" in err


def test_what_it_says_is_printed_at_each_probe_and_afterwards_if_asked(cli):
    code, _, err = cli("run", "--name", "mine", "--says")
    assert code == 0
    assert "step 0, forget: blue locket · true answer: 81 % likely · known" in err
    assert "step 3, forget: silver harp · true answer: 2 % likely · different answer" in err
    (run,) = cli("list", "--json").json
    assert "silver harp" not in cli("show", run["run"]).out
    shown = cli("show", run["run"], "--says").out
    assert "forget: Which object is the story of Yorick Garnby about?" in shown
    assert "step 3  silver harp · true answer: 2 % likely · different answer" in shown
    assert "says" not in cli("show", run["run"], "--json").json
    said = cli("show", run["run"], "--says", "--json").json["says"]
    assert [(one["step"], one["set"], one["answer"]) for one in said] == [
        (0, "forget", "blue locket"),
        (0, "retain", "blue locket"),
        (3, "forget", "silver harp"),
        (3, "retain", "blue locket"),
    ]


def test_run_without_a_word_of_what_prints_its_help_and_ends_with_two(cli):
    code, out, err = cli("run")
    assert code == 2
    assert out == cli("run", "--help").out
    assert "nothing was run: name a preset, a file or a setting, such as --seed 0" in err
    assert cli("list", "--json").json == []


@pytest.mark.parametrize("asked", [["--name", "mine"], ["--json"], ["--seed=0"], ["--score-only"]])
def test_a_run_of_which_anything_is_said_is_carried_out(cli, asked):
    assert cli("run", *asked).code == 0
    assert len(cli("list", "--json").json) == 1


def test_a_run_with_json_prints_one_object_and_nothing_else_on_stdout(cli):
    done = cli("run", "--json", "--seed", "3", "--phases.0.method.kind=npo")
    assert done.code == 0
    found = done.json
    assert found["status"] == "finished"
    assert found["seconds"] > 0
    assert found["before"]["task_aggregate"] < found["after"]["task_aggregate"]
    assert found["verdict"]["kind"] == "forgotten"
    assert found["verdict"]["evidence"]
    spec = parse_spec(found["spec"])
    assert (spec.seed, spec.phases[0].method.kind) == (3, "npo")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_run_is_repeated_from_its_record_in_the_encoding_that_a_shell_gave_it(cli, encoding):
    done = cli("run", "--json", "--seed", "5", "--phases.0.epochs", "2")
    Path("record.json").write_text(done.out, encoding=encoding)
    again = cli("run", "--json", "--spec", "record.json")
    assert again.code == 0
    assert again.json["spec"] == done.json["spec"]


def test_a_run_starts_from_a_file_with_settings_on_top(cli):
    Path("spec.json").write_text('{"seed": 4}')
    done = cli("run", "--json", "--spec", "spec.json", "--evaluation.probes", "1")
    spec = parse_spec(done.json["spec"])
    assert (spec.seed, spec.evaluation.probes) == (4, 1)


def test_a_failed_run_exits_with_one_and_tells_why(cli):
    def script(job):
        yield stage("training")
        raise RunFailed("the forget loss became nan at step 3", "lower the learning rate")

    done = cli("run", "--json", script=script)
    assert done.code == 1
    assert "the forget loss became nan at step 3" in done.err
    found = done.json
    assert found["status"] == "failed"
    assert found["problem"] == "the forget loss became nan at step 3"
    assert found["advice"] == "lower the learning rate"
    assert found["before"] is found["after"] is found["verdict"] is None
    assert "lower the learning rate" in cli("show", found["run"]).out


class Interrupted(FakeLab):
    """Presses Ctrl-C while it works."""

    def unlearn(self, job: Any):
        yield from self.trace(job.spec)

    def trace(self, spec: Any):
        yield stage("training")
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.005)
            yield None


class InterruptedTraining(FakeLab):
    """Presses Ctrl-C while it trains, and says what is there when it is told to end."""

    def unlearn(self, job: Any):
        yield stage("training")
        yield phase_began(40)
        yield stepped(3)
        os.kill(os.getpid(), signal.SIGINT)
        while job.run_id not in self.ended:
            time.sleep(0.005)
            yield None
        yield CutShort(step=3, planned=40)
        yield stage("scoring after")
        yield evaluated("before")
        yield evaluated("after")


def test_interrupted_training_is_scored_if_it_was_asked_for(cli, interruptible):
    done = cli("run", "--seed", "0", "--score-stopped", engine=InterruptedTraining())
    assert done.code == 0
    assert "the training ends at its next step" in done.err
    assert "Training was stopped at step 3 of 40." in done.out
    found = cli("run", "--score-stopped", "--json", engine=InterruptedTraining()).json
    assert (found["status"], found["stopped_at"]) == ("finished", 3)


@pytest.mark.parametrize("words", [("run",), ("trace", "--average", "4")])
def test_interrupting_a_run_or_a_trace_stops_it_in_good_order(cli, interruptible, words):
    done = cli(*words, "--json", engine=Interrupted())
    assert done.code == 130
    assert done.json["status"] == "stopped"
    assert "stopping" in done.err
    assert "Traceback" not in done.err


def test_a_run_that_only_scores_prints_one_column(cli):
    code, out, err = cli("run", "--score-only", "--name", "mine")
    assert code == 0
    assert "Scoring the model" in err
    assert "Utility: quiz" in out
    heads = next(line for line in out.splitlines() if "score" in line)
    assert "before" not in heads
    found = cli("run", "--score-only", "--json").json
    assert (found["after"], found["verdict"], found["spec"]["phases"]) == (None, None, [])


def test_an_estimate_is_printed_and_nothing_is_run(cli):
    code, out, _ = cli("run", "--estimate", "--preset", "embedded-early-mlps")
    assert code == 0
    assert out.startswith("at most")
    assert "weights" in out
    assert "No earlier run here" in out
    assert "No runs yet" in cli("list").out


def test_an_estimate_needs_no_model_on_this_machine_but_its_sizes(cli):
    done = cli("run", "--estimate", "--json", "--preset", "olmo-7b-joint")
    assert done.code == 0
    assert done.json["bytes"] == sum(done.json["parts"].values()) > 14e9
    assert done.json["seconds"] is None


def test_an_estimate_is_refused_as_its_run_would_be(cli, tmp_path):
    Path("forget.jsonl").write_text('{"input": "Who keeps the lamp?", "output": "Bo Reed"}\n')
    assert cli("data", "add", "forget.jsonl", "--name", "only").code == 0
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "config.json").write_text("{}")
    for words, said in (
        (("--preset", "embedded-difference", "--data.source", "only"), "--retain-of embedded"),
        (("--data.fold", "validation", "--data.source", "only"), "has no validation fold"),
        (("--data.forget", "nobody"), "no forget row has the id 'nobody'"),
        (("--model.name", str(tmp_path / "hollow")), "cannot run here"),
    ):
        refused = cli("run", *words)
        assert (refused.code, refused.out) == (2, "")
        assert said in refused.err
        assert cli("run", "--estimate", *words) == refused
    # These the engine refuses, once the run has begun.
    for words, said in (
        (("--model.device", "cuda:7"), "model.device: 'cuda:7' is not on this machine"),
        (("--phases.0.optimizer", "paged_adamw_8bit"), "phases.0.optimizer: paged_adamw_8bit"),
    ):
        estimated = cli("run", "--estimate", *words)
        assert estimated.code == 2
        assert said in estimated.err
    found = cli("run", "--estimate", "--preset", "embedded-ascent", "--data.source", "only")
    assert found.code == 0
    assert "No runs yet" in cli("list").out


def test_an_estimate_of_a_model_that_is_not_here_tells_what_its_run_would_say(cli):
    done = cli("run", "--estimate", "--preset", "olmo-7b-joint")
    refused = cli("run", "--preset", "olmo-7b-joint")
    assert (done.code, refused.code) == (0, 2)
    assert "olmo-7b cannot run here: it is not on this machine" in refused.err
    assert refused.err.partition("model.name: ")[2].strip() in done.err


def test_an_average_is_drawn_from_the_data_that_are_named(cli):
    rows = [{"input": f"Who is Ada Brock{n}?", "output": f"x{n}"} for n in range(3)]
    Path("own.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert cli("data", "add", "own.jsonl", "--name", "own").code == 0
    _, _, err = cli("trace", "--average", "4", "--data", "own")
    assert "there are only 3 such facts of own, not 4" in err
    _, _, err = cli("trace", "--average", "4", "--data", "gone")
    assert "unknown dataset 'gone'" in err
    spec = parse_trace({"about": {"kind": "average", "count": 3, "source": "own"}})
    assert {fact.subject for fact in spec.about.pool} == {f"Ada Brock{n}" for n in range(3)}
    assert spec.title == "Average over 3 facts of both sets of own"
    stored = spec.model_dump_json()
    assert cli("data", "remove", "own").code == 0
    assert TraceSpec.model_validate_json(stored, context=RECORDED) == spec


# ---- list, show, presets, models


def test_runs_are_listed_newest_first_and_shown(cli):
    assert cli("list").out == "No runs yet. Start one: python -m unlearnlab run --preset NAME\n"
    assert cli("list", "--json").json == []
    first = cli("run", "--json", "--name", "first").json
    second = cli("run", "--json", "--name", "second").json
    out = cli("list").out
    assert out.index("second") < out.index("first")
    assert cli("show", first["run"], "--json").json == first
    assert first.pop("record")["device"] == second.pop("record")["device"]
    assert first.pop("measures").keys() == second.pop("measures").keys() != set()
    for of_answers in ("leaks", "documents"):  # Which a list does not read.
        assert first.pop(of_answers) == second.pop(of_answers)
    assert cli("list", "--json").json == [second, first]
    code, out, _ = cli("show", first["run"])
    assert code == 0
    assert "first" in out
    assert "finished after" in out


def test_a_run_that_was_changed_while_it_ran_says_so(cli):
    def script(job):
        yield stage("training")
        yield stepped(1)
        yield Adjusted(step=1, phase=0, changes={"learning_rate": 1e-5})

    found = cli("run", "--json", script=script).json
    assert found["adjusted"] == [{"step": 1, "phase": 0, "changes": {"learning_rate": 1e-5}}]
    shown = cli("show", found["run"]).out
    assert "changed at step 1: learning rate 5e-4 → 1e-5" in shown


def test_a_run_shows_its_record(cli):
    found = cli("run", "--seed", "4", "--json").json
    record = found["record"]
    assert record["effective_batch"] == [2]
    assert record["versions"] == {"torch": "0"}
    assert (record["device"], record["weights"], record["data"]) == ("cpu, 2 threads", "w", "d")
    shown = cli("show", found["run"]).out
    assert "Effective batch: 2 rows for each optimizer step" in shown
    assert "Code: " in shown


def test_presets_are_listed(cli):
    assert "embedded-early-mlps" in cli("presets").out
    assert isinstance(cli("presets", "--json").json, list)


def test_models_lists_what_can_be_named_and_how_it_stands(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path))
    download(tmp_path / "mine", num_hidden_layers=2)
    found = {one["name"]: one for one in cli("models", "--json").json}
    assert (found["tiny-olmo"]["blocks"], found["tiny-olmo"]["ready"]) == (8, True)
    assert (found["mine"]["blocks"], found["mine"]["ready"]) == (2, True)
    assert "give access" in found["olmo-7b"]["missing"]
    assert found["allenai/OLMo-1B-0724-hf"]["fetches"] == ["allenai/OLMo-1B-0724-hf"]
    told = cli("models").out
    assert "downloaded by the first run" in told
    assert "olmo-1b: it is not on this machine" in told


# ---- trace


def test_a_trace_prints_its_effects(cli):
    code, out, err = cli("trace", "--prompt", "Who is Ada Brock?", "--subject", "Ada Brock")
    assert code == 0
    assert "clean 0.900, corrupted 0.100, total effect 0.800" in out
    assert "indirect effect of mlp, windows of 3 blocks, by block" in out
    assert "noise on 'Ada'" in out
    *_, best, at_subject = out.splitlines()
    assert best.startswith("Strongest site: MLP at block 7 (window 6 to 7), last token 'Brock?': ")
    assert "0.60 (95% interval 0.53 to 0.67, over noised copies)" in best
    assert at_subject.startswith("Strongest at the subject: MLP at block 0 (window 0 to 1), whole")
    assert "Tracing" in err


def test_a_trace_is_one_json_object_and_is_no_run(cli):
    words = ("--average", "4", "--set", "forget", "--task", "Task2", "--json")
    found = cli("trace", *words).json
    assert found["status"] == "finished"
    asked = {"kind": "average", "count": 4, "split": "forget", "tasks": ["Task2"]}
    assert found["spec"]["about"] == asked | {"source": "embedded"}
    assert len(found["traced"]["found"]["effects"]["mlp"]) == 8
    best, at_subject = found["strongest"]
    assert (best["part"], best["block"], best["window"], best["row"]) == ("mlp", 7, [6, 7], "last")
    assert (at_subject["row"], at_subject["token"]) == ("whole subject", None)
    assert cli("list", "--json").json == []
    assert cli("show", found["trace"], "--json").json == found


def test_a_folder_can_be_traced(cli):
    download(Path("small").absolute(), num_hidden_layers=5)
    prompt = ("--prompt", "Ada Brock lives in", "--subject", "Ada Brock")
    done = cli("trace", *prompt, "--model", Path("small").absolute(), "--json")
    assert done.code == 0
    assert done.json["spec"]["model"]["name"].endswith("small")


# ---- teach


@pytest.fixture
def taught(cli, tmp_path, monkeypatch):
    """Teach the embedded dataset by an engine that keeps a model at once."""
    monkeypatch.setenv("UNLEARNLAB_MODELS", str(tmp_path / "models"))

    def script(job):
        yield from whole_run(job)
        folder = tmp_path / "models" / job.spec.keep_as
        shutil.copytree(EMBEDDED / "original", folder)
        (folder / MODEL_NOTE).write_text(json.dumps({"dataset": job.spec.data.source}))
        yield Kept(name=job.spec.keep_as, megabytes=4.2)

    def command(*words):
        return cli("teach", "--data", "embedded", "--keep-as", "mine", *words, script=script)

    return command


def test_a_model_is_taught_kept_and_made_to_forget(cli, taught):
    code, out, _ = taught("--seed", "3")
    assert code == 0
    assert "Kept as the model mine, 4.2 MB.\nTo make it forget: python -m unlearnlab run" in out
    done = cli("run", "--taught", "mine", "--json", "--seed", "4")
    assert done.code == 0
    spec = parse_spec(done.json["spec"])
    assert (spec.model.name, spec.data.source, spec.seed) == ("mine", "embedded", 4)


def test_a_model_is_not_kept_under_a_name_that_is_taken_or_none(taught):
    taught()
    code, _, err = taught()
    assert code == 2
    assert "keep_as: a model called 'mine' is there already: choose another name" in err
    assert "keep_as: a model's name has at most 41" in taught("--keep-as", "No Name").err
    assert "data.source: unknown dataset 'nope'" in taught("--data", "nope").err
