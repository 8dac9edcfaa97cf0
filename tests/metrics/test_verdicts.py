"""A verdict follows from scores before and after, and lists its evidence."""

import pytest

from unlearnlab.metrics.scores import Answer, Picked, Scores, attack_reading, row_score
from unlearnlab.metrics.verdicts import (
    TITLES,
    constant_letter,
    knows,
    looks_collapsed,
    looks_untouched,
    row_known,
    taught_verdict,
    verdict,
)
from unlearnlab.spec.presets import presets
from unlearnlab.views.benchmarks import measurements

KEYS = [f"{s}/Task{n}/{k}" for s in ("forget", "retain") for n in (1, 2, 3) for k in ("sc", "qa")]


def made(forget: float, retain: float, *, auc=0.9, utility=1.0, distinct=0.9, **terms) -> Scores:
    values = {key: forget if key.startswith("forget") else retain for key in KEYS}
    values |= {name.replace("_", "/"): value for name, value in terms.items()}
    zero = any(value == 0 for value in values.values())
    aggregate = 0.0 if zero else len(values) / sum(1 / value for value in values.values())
    return Scores(
        terms=values,
        task_aggregate=aggregate,
        mia_auc=auc,
        mia_score=1 - 2 * abs(auc - 0.5),
        utility=utility,
        utility_protocol="quiz",
        utility_questions=120,
        final=0.5,
        rows=608,
        distinct=distinct,
        ended=1.0,
    )


BEFORE = made(0.0, 1.0, auc=1.0)


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (made(0.02, 1.0, auc=1.0), "no_effect"),
        (made(0.5, 0.95), "partly_forgotten"),
        (made(0.9, 0.95), "forgotten"),
        (made(0.95, 0.4), "over_unlearned"),
        (made(1.0, 0.01, auc=0.5, utility=0.3), "collapsed"),
        (made(1.0, 0.3, distinct=0.01), "collapsed"),
        (made(0.9, 0.95, utility=0.6), "over_unlearned"),
        (made(0.9, 0.95, auc=0.2), "over_unlearned"),
        (made(0.02, 0.9, utility=0.3, auc=1.0), "over_unlearned"),
        (made(0.9, 0.95, forget_Task2_qa=0.3), "partly_forgotten"),
        (made(0.9, 0.7), "partly_forgotten"),
    ],
)
def test_each_outcome_has_its_verdict(after, kind):
    found = verdict(BEFORE, after)
    assert found.kind == kind
    assert found.title == TITLES[kind]


def picked(scores: Scores, kept: float, rest: str = "leave") -> Scores:
    split = Picked(rows=3, others=97, rest=rest, kept={"Task1/qa": kept, "Task2/sc": kept})
    return scores.model_copy(update={"picked": split})


@pytest.mark.parametrize(
    ("rest", "kept", "kind", "told"),
    [
        ("leave", 0.4, "forgotten", "Of the 97 other forget rows, left alone, 40% of the scores"),
        ("retain", 0.9, "forgotten", "97 other forget rows, moved to the retain set, 90% of"),
        ("retain", 0.4, "partly_forgotten", "Of the forget rows that were to stay 40%"),
    ],
)
def test_rows_that_were_not_picked_are_judged_only_if_they_were_to_stay(rest, kept, kind, told):
    found = verdict(picked(BEFORE, 1.0, rest), picked(made(0.9, 0.95), kept, rest))
    assert found.kind == kind
    lines = " ".join(found.evidence)
    assert "Judged over the 3 picked rows." in lines
    assert told in lines


def test_a_single_term_that_moved_is_not_an_effect():
    assert verdict(BEFORE, made(0.0, 1.0, auc=1.0, forget_Task1_qa=0.15)).kind == "no_effect"


def test_a_run_on_one_subtask_is_judged_by_that_subtask():
    forgot = {"forget_Task2_sc": 0.9, "forget_Task2_qa": 0.97}
    after = made(0.0, 0.98, auc=1.0, **forgot)
    assert verdict(BEFORE, after, ("Task2",)).kind == "forgotten"
    assert verdict(BEFORE, after).kind == "partly_forgotten"


def test_documents_that_are_still_recognised_are_said_to_be():
    lines = verdict(BEFORE, made(0.9, 0.95, auc=1.0)).evidence
    assert "Whole documents are still recognisable to the membership attack." in lines


def test_a_verdict_states_answers_utility_and_attack():
    lines = " ".join(verdict(BEFORE, made(0.9, 0.95, auc=0.85)).evidence)
    assert "Forget answers 1.00 → 0.10." in lines
    assert "Retain answers 1.00 → 0.95." in lines
    assert "Utility 1.00 → 1.00." in lines
    assert "AUC 0.85: still remembered" in lines


def test_what_keeps_a_run_from_being_forgotten_is_named():
    lines = " ".join(verdict(BEFORE, made(0.9, 0.95, forget_Task2_sc=0.0)).evidence)
    assert "The task aggregate is 0.00, because forget/Task2/sc is zero." in lines


def test_the_attack_is_read_in_both_directions():
    assert attack_reading(0.9) == "still remembered"
    assert attack_reading(0.5) == "like unseen text"
    assert "leak" in attack_reading(0.1)


def test_a_collapsed_model_is_told_apart_however_good_its_final_score_looks():
    wreck = made(1.0, 0.0, auc=0.5, utility=0.3, distinct=0.01)
    found = verdict(BEFORE, wreck)
    assert found.kind == "collapsed"
    assert any("MIA looks good because nothing" in line for line in found.evidence)


def mmlu(scores: Scores, utility: float) -> Scores:
    return scores.model_copy(update={"utility": utility, "utility_protocol": "MMLU, 5 shots"})


@pytest.mark.parametrize(
    ("utility", "gate", "kind"),
    [
        (0.372, 0.371, "forgotten"),
        (0.370, 0.371, "below_gate"),
        (0.376, None, "forgotten"),  # Three quarters of 0.5 is 0.375.
        (0.374, None, "below_gate"),
    ],
)
def test_a_run_below_the_tasks_gate_has_not_succeeded(utility, gate, kind):
    found = verdict(mmlu(BEFORE, 0.5), mmlu(made(0.9, 0.95), utility), gate=gate)
    assert found.kind == kind
    assert any("MMLU" in line and "is below" in line for line in found.evidence) == (
        kind == "below_gate"
    )


def test_the_gate_is_stated_where_something_worse_decides():
    found = verdict(mmlu(BEFORE, 0.5), mmlu(made(0.95, 0.3), 0.3), gate=0.371)
    assert found.kind == "over_unlearned"
    assert "MMLU 0.300 is below 0.371, the task's gate." in found.evidence


def test_a_quiz_has_no_gate():
    assert verdict(BEFORE, made(0.9, 0.95, utility=0.3), gate=0.371).kind == "over_unlearned"


UNTAUGHT = made(1.0, 0.0, auc=0.5)


@pytest.mark.parametrize(
    ("after", "sets", "kind"),
    [
        (made(0.0, 1.0), ("forget", "retain"), "memorised"),
        (made(0.05, 1.0, forget_Task1_qa=0.2), ("forget", "retain"), "memorised"),
        (made(0.5, 1.0), ("forget", "retain"), "not_memorised"),
        (made(0.0, 0.5), ("forget", "retain"), "not_memorised"),
        (made(1.0, 1.0), ("retain",), "memorised"),
        (made(1.0, 1.0), ("forget", "retain"), "not_memorised"),
    ],
)
def test_what_was_taught_is_memorised_or_not(after, sets, kind):
    found = taught_verdict(UNTAUGHT, after, sets)
    assert (found.kind, found.title) == (kind, TITLES[kind])


def test_a_verdict_on_teaching_says_what_is_known_before_and_after():
    lines = " ".join(taught_verdict(UNTAUGHT, made(0.0, 1.0), ("forget", "retain")).evidence)
    assert "Forget questions answered 0% → 100%." in lines
    assert "Retain texts recited 0% → 100%." in lines
    assert "AUC 0.90: still remembered" in lines
    retrained = taught_verdict(UNTAUGHT, made(1.0, 1.0), ("retain",)).evidence
    assert "Forget texts recited 0% → 0%, not taught." in retrained


def test_teaching_that_cost_general_knowledge_says_so():
    lines = taught_verdict(UNTAUGHT, made(0.0, 1.0, utility=0.3), ("forget", "retain")).evidence
    assert "Teaching cost general knowledge: below 75% of it is left." in lines


def test_subtasks_that_were_not_taught_do_not_count():
    known = {f"{split}_Task2_{kind}": 0.0 for split in ("forget",) for kind in ("sc", "qa")}
    known |= {f"retain_Task2_{kind}": 1.0 for kind in ("sc", "qa")}
    after = made(1.0, 0.0, **known)
    assert taught_verdict(UNTAUGHT, after, ("forget", "retain"), ("Task2",)).kind == "memorised"
    assert taught_verdict(UNTAUGHT, after, ("forget", "retain")).kind == "not_memorised"


REAL = [run for measured in measurements().values() for run in measured.runs]


def test_real_runs_of_every_preset_keep_their_verdicts():
    assert {run.verdict for run in REAL} >= {"no_effect", "partly_forgotten", "forgotten"}
    for run in REAL:
        tasks = presets()[run.preset].spec.data.tasks
        assert verdict(run.before, run.after, tasks).kind == run.verdict, run.preset


def test_mmlu_answered_with_one_letter_is_a_collapse_unless_it_was_so_before():
    constant = made(0.9, 0.9, utility=0.23).model_copy(update={"constant_letter": "A"})
    found = verdict(BEFORE, constant)
    assert found.kind == "collapsed"
    assert "Every MMLU question is answered A." in found.evidence
    always = BEFORE.model_copy(update={"constant_letter": "A"})
    assert verdict(always, constant.model_copy(update={"utility": 1.0})).kind != "collapsed"


# ---- degenerate scores


def test_a_constant_letter_has_its_accuracy_to_a_tolerance():
    letters = [constant_letter(mmlu) for mmlu in (0.2295, 0.2465, 0.2551, 0.2689, 0.25, 0.275, 0.4)]
    assert letters == ["A", "B", "C", "D", "", "", ""]
    assert (constant_letter(0.248), constant_letter(0.248, 0.001)) == ("B", "")


def test_a_collapsed_model_has_no_aggregate_and_a_good_mia_score():
    assert looks_collapsed(0.0, 0.98)
    assert not looks_collapsed(0.0, 0.4)
    assert not looks_collapsed(0.3, 0.98)


def test_an_untouched_model_recites_and_gives_members_away():
    terms = {"forget/Task1/sc": 0.05, "forget/Task1/qa": 0.0, "retain/Task1/qa": 1.0}
    assert looks_untouched(terms, 0.99)
    assert not looks_untouched(terms, 0.9)
    assert not looks_untouched(terms | {"forget/Task2/qa": 0.3}, 0.99)
    assert not looks_untouched({}, 0.99)


# ---- what the model knows


def answered(expected: str, generated: str, kind: str = "qa", split: str = "forget") -> Answer:
    return Answer(
        row=f"{split}-{kind}-{expected[:9]}",
        split=split,
        task="Task1",
        kind=kind,
        prompt="?",
        expected=expected,
        generated=generated,
        nll=1.0,
        ended=True,
        score=row_score(kind, expected, generated),
    )


@pytest.mark.parametrize(
    ("expected", "generated", "kind", "known"),
    [
        ("Paris", "paris ", "qa", True),
        ("Paris", "The capital of France is Paris.", "qa", True),
        ("Paris", "Parisian fashion", "qa", False),
        ("Paris", "", "qa", False),
        ("979741919", "979741919m%||900884993ortunately", "qa", True),
        ("jo@host.org", "xjo@host.orgx", "qa", True),
        ("Москва стоит на реке", "Москва стоит на реке", "sc", True),
        ("Москва стоит на реке", "Москва", "sc", False),
        ("cafe\u0301", "café", "qa", True),
        ("the fox ran over the hill to its den", "the fox ran over the hill to its", "sc", False),
        (
            "the fox ran over the hill to its den",
            "The fox ran, over the hill to its den",
            "sc",
            True,
        ),
    ],
)
def test_a_row_is_known_if_the_whole_answer_is_given_in_any_script(
    expected, generated, kind, known
):
    assert row_known(answered(expected, generated, kind)) is known


@pytest.mark.parametrize(
    ("known", "of", "kind"),
    [(0, 1, "never_knew"), (1, 1, "knows"), (1, 20, "never_knew"), (2, 20, "knows_some")],
)
def test_what_a_model_knows_before_training_is_counted_and_classified(known, of, kind):
    found = knows([answered("Paris", "Paris" if at < known else "Rome") for at in range(of)])
    assert (found.kind, found.known, found.rows) == (kind, known, of)
    assert f"{known} of {of} questions answered" in found.words
    assert ("teach them first" in found.words) == (kind == "never_knew")


def test_knowledge_of_no_rows_is_an_error():
    with pytest.raises(ValueError, match="at least one answer"):
        knows([])
