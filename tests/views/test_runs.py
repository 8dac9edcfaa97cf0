"""A run becomes a summary, and summaries get labels that tell them apart."""

from tests.views.compare.runs import UNTOUCHED, run, scores, spec
from unlearnlab.runs.events import Failed
from unlearnlab.runs.records import RunRecord
from unlearnlab.views.runs import held_against, labels, run_summary, utility_test


def stored(spec, after, ending=None):
    """A run as a store lists it."""
    return RunRecord(
        run_id="260101-000000-000",
        name="",
        created=5.0,
        spec=spec,
        alive=False,
        began=True,
        ending=ending,
        before=UNTOUCHED,
        after=after,
        tags=("mine",),
        notes="a note",
        pinned=True,
        sweep="s1",
    )


def test_a_summary_has_what_the_store_knows_and_what_follows_from_it():
    one = run_summary(stored(spec("npo", seed=3), scores(1.0, 1.0, auc=0.5, utility=0.9)))
    assert one.title == "NPO"
    assert (one.seed, one.status, one.verdict.title) == (3, "interrupted", "Forgotten")
    assert (one.tags, one.notes, one.pinned, one.sweep) == (("mine",), "a note", True, "s1")
    assert one.utility_name == "Quiz"


def test_a_failed_run_is_an_entry_without_scores():
    one = run_summary(stored(spec(), None, Failed(seconds=3.0, problem="not finite")))
    assert (one.status, one.verdict, one.problem, one.seconds) == ("failed", None, "not finite", 3)


def test_a_name_of_ones_own_is_the_label():
    assert labels([run("a", title="Mine"), run("b", title="Yours")]) == ("Mine", "Yours")


def test_what_all_titles_begin_with_is_left_out_of_the_labels():
    titles = ("Windows: seed 0, blocks 0–2", "Windows: seed 0, blocks 1–3")
    runs = [run(str(at), title=title) for at, title in enumerate(titles)]
    assert labels(runs) == ("blocks 0–2", "blocks 1–3")
    assert labels(runs[:1]) == titles[:1]
    assert labels([*runs, run("c", title="Windows of another house")])[:2] == titles


def test_runs_of_one_title_are_told_apart_by_what_differs():
    found = labels([run("a", spec(learning_rate=1e-4)), run("b", spec(learning_rate=5e-4, seed=1))])
    assert [label.partition(" · ")[2] for label in found] == [
        "learning rate 1e-4",
        "learning rate 5e-4",
    ]


def test_runs_that_differ_in_the_seed_alone_are_told_by_it():
    assert labels([run("a", title="x"), run("b", spec(seed=1), title="x")]) == (
        "x · seed 0",
        "x · seed 1",
    )


def test_runs_of_equal_settings_are_told_apart_by_their_ids():
    assert labels([run("a", title="x"), run("b", title="x")]) == ("x · a", "x · b")


def test_a_run_that_only_scores_ends_with_what_it_scored():
    one = run_summary(stored(spec().scoring, None))
    assert (one.before, one.after, one.verdict) == (None, UNTOUCHED, None)


def test_what_was_measured_by_another_utility_test_is_not_held_against_runs():
    quiz = run("quiz", after=scores())
    mmlu = run("mmlu", after=scores(protocol="MMLU: 5 shots"))
    assert held_against([quiz], UNTOUCHED) == UNTOUCHED
    left = held_against([quiz, mmlu], UNTOUCHED)
    assert (left.utility, left.final) == (None, None)
    assert left.task_aggregate == UNTOUCHED.task_aggregate
    assert [utility_test(of) for of in ([quiz], [mmlu], [quiz, mmlu], [])] == [
        "Quiz",
        "MMLU",
        "Utility",
        "Utility",
    ]
