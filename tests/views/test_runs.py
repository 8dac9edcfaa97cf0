"""Summaries of runs, settings in which they differ, seeds, and labels that tell runs apart."""

import pytest

from tests.fakes import evaluated, some_evidence
from tests.views.runs import UNTOUCHED, run, scores, spec, stored
from unlearnlab.metrics import scores as metrics
from unlearnlab.runs.events import Failed, Finished
from unlearnlab.spec.methods.likelihood import Memorize
from unlearnlab.spec.run import DataSpec, LoRA, ModelSpec, Phase, RunSpec, same_settings
from unlearnlab.views.runs import (
    difference_groups,
    differences,
    held_against,
    labels,
    matches,
    one_per_seed,
    run_summary,
    seed_group,
    seed_groups,
    seeds_text,
    usual_seconds,
    utility_test,
)

BEFORE, AFTER = evaluated("before").scores, evaluated("after").scores


def test_a_summary_has_what_the_store_knows_and_what_follows_from_it():
    marks = {"tags": ("mine",), "notes": "a note", "pinned": True, "sweep": "s1", "alive": False}
    after = scores(1.0, 1.0, auc=0.5, utility=0.9)
    one = run_summary(stored(spec("npo", seed=3), before=UNTOUCHED, after=after, **marks))
    assert one.title == "NPO"
    assert (one.seed, one.status, one.verdict.title) == (3, "interrupted", "Forgotten")
    assert (one.tags, one.notes, one.pinned, one.sweep) == (("mine",), "a note", True, "s1")
    assert one.utility_name == "Quiz"


def test_a_summary_tells_duration_aggregate_and_settings():
    one = run_summary(stored(ending=Finished(seconds=31), before=BEFORE, after=AFTER))
    assert (one.status, one.seconds) == ("finished", 31)
    assert one.aggregate == (BEFORE.task_aggregate, AFTER.task_aggregate)


def test_a_failed_run_has_a_problem_and_no_scores():
    one = run_summary(stored(ending=Failed(seconds=3.0, problem="not finite"), before=UNTOUCHED))
    assert (one.status, one.verdict, one.problem, one.seconds) == ("failed", None, "not finite", 3)


def test_an_evaluation_only_run_ends_with_what_it_scored():
    one = run_summary(stored(spec().scoring, before=UNTOUCHED))
    assert (one.before, one.after, one.verdict) == (None, UNTOUCHED, None)
    assert one.aggregate == (None, UNTOUCHED.task_aggregate)


def test_a_run_that_teaches_is_judged_by_what_is_known():
    taught = RunSpec(phases=(Phase(method=Memorize()),))
    assert run_summary(stored(taught, before=AFTER, after=BEFORE)).verdict_title == "Memorised"


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (RunSpec(), "blocks 0 to 7, 5e-4, 5 ep."),
        (RunSpec(phases=(Phase(epochs=10, max_steps=3),)), "blocks 0 to 7, 5e-4, 3 steps"),
        (RunSpec(phases=(Phase(epochs=1, max_steps=1000),)), "blocks 0 to 7, 5e-4, 1 ep."),
        (RunSpec(model=ModelSpec(name="olmo-1b")), "OLMo 1B, blocks 0 to 15, 5e-4, 5 ep."),
        (RunSpec().scoring, "Embedded, train fold"),
    ],
)
def test_the_settings_of_a_run_fit_in_its_line(of, told):
    assert run_summary(stored(of)).settings == told


@pytest.mark.parametrize(("text", "found"), [("", True), ("gradient 5e-4", True), ("npo", False)])
def test_runs_are_searched_by_words(text, found):
    assert matches(stored(), text) is found


def test_settings_are_the_same_whatever_the_seed_and_however_the_last_layer_is_written():
    one = RunSpec(seed=1, phases=(Phase(last_layer=7),))
    assert same_settings(one, RunSpec(seed=2))
    assert not same_settings(one, RunSpec(phases=(Phase(epochs=6),)))


def test_the_usual_time_is_that_of_the_last_run_that_finished():
    rows = [
        stored(ending=Failed(seconds=1, problem="p")),
        stored(RunSpec(seed=4), ending=Finished(seconds=30)),
        stored(ending=Finished(seconds=60)),
    ]
    assert usual_seconds(RunSpec(), rows) == 30
    assert usual_seconds(RunSpec(phases=(Phase(epochs=6),)), rows) is None


def test_what_was_measured_by_another_utility_test_is_not_held_against_runs():
    quiz, mmlu = run("quiz", after=scores()), run("mmlu", after=scores(protocol="MMLU: 5 shots"))
    assert held_against([quiz], UNTOUCHED) == UNTOUCHED
    left = held_against([quiz, mmlu], UNTOUCHED)
    assert (left.utility, left.final) == (None, None)
    assert left.task_aggregate == UNTOUCHED.task_aggregate
    names = [utility_test(of) for of in ([quiz], [mmlu], [quiz, mmlu], [])]
    assert names == ["Quiz", "MMLU", "Utility", "Utility"]


# ---- settings that differ


def found(*specs):
    return {one.path: one.values for one in differences(specs)}


def test_equal_specs_have_no_differences():
    assert found(spec(), spec()) == {}


def test_a_difference_has_its_path_its_name_and_every_runs_value():
    (one,) = differences([spec(learning_rate=1e-4), spec(learning_rate=5e-4), spec()])
    assert (one.path, one.name) == ("phases.0.learning_rate", "learning rate")
    assert one.values == ("1e-4", "5e-4", "5e-4")
    assert one.numbers == (1e-4, 5e-4, 5e-4)


def test_a_last_block_that_is_left_open_is_the_models_last():
    assert found(spec(last_layer=None), spec(last_layer=7)) == {}
    assert found(spec(last_layer=None), spec(last_layer=3)) == {"phases.0.last_layer": ("7", "3")}


def test_methods_differ_by_their_titles_and_by_the_settings_that_one_of_them_lacks():
    told = found(spec("npo"), spec("rmu"))
    assert told["phases.0.method.kind"] == ("NPO", "RMU")
    assert told["phases.0.method.beta"][1] == "–"


def test_a_missing_adapter_has_no_settings():
    told = found(spec(), spec(model=ModelSpec(adapter=LoRA(r=8))))
    assert told["model.adapter.r"] == ("–", "8")
    assert "model.adapter" not in told


def test_a_second_phase_is_named_as_such():
    two = RunSpec(phases=(Phase(), Phase(epochs=2)))
    (one, *_) = (d for d in differences([spec(), two]) if d.path == "phases.1.epochs")
    assert (one.name, one.values, one.numbers) == ("phase 2 epochs", ("–", "2"), (None, 2.0))


def test_settings_come_phase_by_phase_the_method_first_and_the_others_last():
    one = spec(epochs=3, seed=1, model=ModelSpec(precision="bfloat16"))
    assert list(found(spec(), one)) == ["phases.0.epochs", "model.precision", "seed"]
    paths = list(found(spec("npo", epochs=3), spec("rmu", learning_rate=1e-3)))
    assert paths[:3] == ["phases.0.method.kind", "phases.0.learning_rate", "phases.0.epochs"]
    assert all(".method." in path for path in paths[3:])


def test_a_phase_that_a_run_lacks_is_told_in_one_line():
    two = RunSpec(phases=(Phase(epochs=3), Phase(epochs=2)), seed=4)
    first, second, rest = difference_groups([spec(), two])
    assert (first.title, first.phases) == ("Phase 1", ())
    assert (second.title, second.phases[0]) == ("Phase 2", "–")
    assert second.phases[1] == "Gradient difference, blocks 0 to 7, 5e-4, 2 ep."
    assert [one.path for one in rest.rows] == ["seed"]
    (only,) = difference_groups([spec(), spec(epochs=2)])
    assert (only.title, only.phases) == ("", ())


def test_as_many_picked_rows_are_not_the_same_rows():
    told = found(*(spec(data=DataSpec(forget=(name,))) for name in ("a", "b")))
    first, second = told["data.forget"]
    assert first != second
    assert "a" not in first.split()
    assert found(spec(), spec(data=DataSpec(forget=("a",))))["data.forget"][0] == "all"


# ---- seeds


def seeded(seed, aggregate=0.9, **more):
    after = metrics.scores(some_evidence(forgets=True))
    after = after.model_copy(update={"task_aggregate": aggregate})
    return stored(RunSpec(seed=seed), **{"after": after} | more)


def test_seeds_of_one_spec_are_written_as_mean_and_spread():
    runs = [seeded(0, 0.92), seeded(1, 0.93), seeded(2, 0.94)]
    assert seeds_text(seed_group(RunSpec(seed=1), runs)).startswith(
        "3 seeds of this spec: task aggregate 0.93 ± 0.01, MIA score "
    )


def test_of_runs_with_one_seed_the_newest_counts():
    group = seed_group(RunSpec(), [seeded(0, 0.9), seeded(0, 0.1), seeded(1, 0.9)])
    assert [one.task_aggregate for one in group] == [0.9, 0.9]


@pytest.mark.parametrize(
    "other",
    [seeded(1, after=None), stored(RunSpec(seed=1, data=DataSpec(fold="validation")), after=AFTER)],
)
def test_runs_of_other_settings_and_unscored_ones_are_left_out_and_one_seed_has_no_spread(other):
    assert seeds_text(seed_group(RunSpec(), [seeded(0), other])) == ""


def test_seeds_of_one_setting_are_a_group():
    groups = seed_groups([run("a"), run("b", spec("npo")), run("c", spec(seed=2))])
    assert [[one.run_id for one in group] for group in groups] == [["a", "c"], ["b"]]


def test_reruns_and_imports_are_no_further_seeds_and_a_run_changed_by_hand_is_none():
    first, again, other = run("a"), run("b"), run("c", spec(seed=1))
    assert one_per_seed((again, first, other)) == (again, other), "the newest of a seed"
    unscored = run("d", after=False)
    assert one_per_seed((unscored, first)) == (first,), "one that has no scores yet replaces none"
    others = [run("e", origin="from a pack"), run("f", adjusted=True), run("g", adjusted=True)]
    assert len(seed_groups([first, *others])) == 4
    by_hand = run_summary(stored(adjusted=True, before=BEFORE, after=AFTER))
    assert by_hand.settings.endswith("changed by hand")
    assert seed_group(RunSpec(), [stored(adjusted=True, after=AFTER)]) == ()


# ---- labels


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([run("a", title="Mine"), run("b", title="Yours")], ("Mine", "Yours")),
        ([run("a", title="x"), run("b", spec(seed=1), title="x")], ("x · seed 0", "x · seed 1")),
        ([run("a", title="x"), run("b", title="x")], ("x · a", "x · b")),
        (
            [run("a", spec(learning_rate=1e-4), title="x"), run("b", spec(seed=1), title="x")],
            ("x · learning rate 1e-4", "x · learning rate 5e-4"),
        ),
    ],
    ids=["names", "seeds alone", "equal settings", "settings"],
)
def test_runs_are_told_apart_by_name_then_by_settings_then_by_seed_then_by_id(runs, told):
    assert labels(runs) == told


def test_what_all_titles_begin_with_is_left_out_of_the_labels():
    titles = ("Windows: seed 0, blocks 0–2", "Windows: seed 0, blocks 1–3")
    runs = [run(str(at), title=title) for at, title in enumerate(titles)]
    assert labels(runs) == ("blocks 0–2", "blocks 1–3")
    assert labels(runs[:1]) == titles[:1]
    assert labels([*runs, run("c", title="Windows of another house")])[:2] == titles


def test_a_run_whose_training_was_ended_says_so_and_stands_for_no_seed():
    cut = Finished(seconds=31, stopped_at=40, planned=1200)
    one = run_summary(stored(ending=cut, before=BEFORE, after=AFTER))
    assert one.settings.endswith("stopped at step 40 of 1,200")
    assert one.verdict.evidence[0] == "Training was stopped at step 40 of 1,200."
    whole = stored(ending=Finished(seconds=31), before=BEFORE, after=AFTER)
    rows = [stored(ending=cut, before=BEFORE, after=UNTOUCHED), whole]
    assert seed_group(RunSpec(), rows) == (AFTER,)
    assert usual_seconds(RunSpec(), rows[:1]) is None
    assert len(seed_groups([one, run_summary(whole)])) == 2
