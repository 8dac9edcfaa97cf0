"""A verdict follows from what changed between two models, and lists its evidence."""

import itertools
import math

import pytest

from unlearnlab.metrics.measures import retrained_scores
from unlearnlab.metrics.scores import (
    Answer,
    Evidence,
    MovedWeights,
    Picked,
    Scores,
    TermRows,
    attack_reading,
    mia_score,
    row_score,
    scores,
    task_aggregate,
)
from unlearnlab.metrics.verdicts import (
    FLOOR,
    FORGOTTEN_KNOWLEDGE,
    KNOWN_QUESTIONS,
    KNOWN_TEXTS,
    OUTCOMES,
    TITLES,
    constant_letter,
    knows,
    looks_collapsed,
    looks_untouched,
    remains,
    row_known,
    taught_verdict,
    verdict,
)
from unlearnlab.views.benchmarks import measurements

KINDS = ("sc", "qa")
SETS = ("forget", "retain")
KEYS = [f"{s}/Task{n}/{k}" for s in SETS for n in (1, 2, 3) for k in KINDS]


def whole(recall: float, rows: int) -> int:
    """Texts recited whole, if the others have the words that every text has."""
    return round(max(0.0, (recall - FLOOR) / (1 - FLOOR)) * rows)


def made(
    forget: float | None,
    retain: float | None,
    *,
    rows=20,
    auc=0.9,
    utility=1.0,
    questions=120,
    distinct=0.9,
    counted=None,
    **terms,
) -> Scores:
    """Scores of a model by how much it knows of each set, 0 to 1; None for a set without rows.

    Args:
        forget: Share of the forget rows that it knows: the terms are one minus it.
        retain: Share of the retain rows that it knows.
        rows: Rows of each term; None leaves them out, as scores did that are older.
        counted: Further counts of each forget term, such as `{"cut": 20}`.
        terms: What it knows of single terms, such as `forget_Task1_qa=0.3`.
    """
    known = {
        key: value
        for key in KEYS
        if (value := forget if key.startswith("forget") else retain) is not None
    }
    known |= {name.replace("_", "/"): value for name, value in terms.items()}
    values = {key: 1 - of if key.startswith("forget") else of for key, of in known.items()}
    behind = {
        key: TermRows(
            rows=rows,
            known=round(of * rows) if key.endswith("qa") else whole(of, rows),
            known_share=of,
            **((counted or {}) if key.startswith("forget") else {}),
        )
        for key, of in known.items()
        if rows
    }
    both = {key.split("/")[0] for key in values} == set(SETS)
    return Scores(
        terms=values,
        behind=behind,
        task_aggregate=task_aggregate(values) if both else None,
        mia_auc=auc,
        mia_documents=None if auc is None else (40, 40),
        mia_score=None if auc is None else mia_score(auc),
        utility=utility,
        utility_protocol="quiz",
        utility_questions=questions,
        final=0.5,
        rows=608,
        distinct=distinct,
        ended=1.0,
    )


BEFORE = made(1.0, 1.0, auc=1.0)


@pytest.mark.parametrize("rows", [20, None], ids=["counted", "older scores"])
@pytest.mark.parametrize(
    ("after", "kind"),
    [
        ({"forget": 0.98, "retain": 1.0, "auc": 1.0}, "no_effect"),
        ({"forget": 0.5, "retain": 0.95}, "partly_forgotten"),
        ({"forget": 0.1, "retain": 0.95}, "forgotten"),
        ({"forget": 0.05, "retain": 0.4}, "over_unlearned"),
        ({"forget": 0.0, "retain": 0.01, "auc": 0.5, "utility": 0.3}, "collapsed"),
        ({"forget": 0.0, "retain": 0.3, "distinct": 0.01}, "collapsed"),
        ({"forget": 0.1, "retain": 0.95, "utility": 0.6}, "over_unlearned"),
        ({"forget": 0.1, "retain": 0.95, "auc": 0.2}, "over_unlearned"),
        ({"forget": 0.1, "retain": 0.95, "auc": 0.0}, "over_unlearned"),
        ({"forget": 0.98, "retain": 0.9, "utility": 0.3, "auc": 1.0}, "over_unlearned"),
        ({"forget": 0.1, "retain": 0.95, "forget_Task2_qa": 0.7}, "partly_forgotten"),
        ({"forget": 0.1, "retain": 0.95, "forget_Task2_sc": 0.7}, "partly_forgotten"),
        ({"forget": 0.1, "retain": 0.7}, "partly_forgotten"),
        ({"forget": 0.1, "retain": 0.95, "retain_Task2_qa": 0.4}, "partly_forgotten"),
        ({"forget": 0.1, "retain": 0.95, "retain_Task2_qa": 0.0}, "over_unlearned"),
    ],
)
def test_each_outcome_has_its_verdict(after, kind, rows):
    found = verdict(BEFORE, made(**after, rows=rows))
    assert found.kind == kind
    assert found.title == TITLES[kind]
    assert found.evidence


# ---- properties over the whole grid of what was and is known

LEVELS = (0.0, 0.02, 0.1, 0.25, 0.3, 0.35, 0.5, 0.75, 0.9, 1.0)
GRID = [
    (rows, then, now, kept)
    for rows, then, now, kept in itertools.product(
        (1, 3, 20, 400), LEVELS, LEVELS, (None, (0.0, 0.0), (1.0, 1.0), (1.0, 0.7), (1.0, 0.0))
    )
]


def judged(rows, then, now, kept, **more):
    before, after = kept or (None, None)
    return verdict(made(then, before, rows=rows, **more), made(now, after, rows=rows, **more))


def told(found) -> str:
    return " ".join(found.evidence)


def test_every_change_has_one_verdict_with_evidence():
    found = {judged(*point).kind for point in GRID}
    found |= {judged(20, 1.0, 0.0, (1.0, 0.4)).kind}
    assert found == {
        "never_knew",
        "no_effect",
        "partly_forgotten",
        "forgotten",
        "over_unlearned",
        "collapsed",
        "not_measurable",
    }
    assert found <= OUTCOMES.keys()


@pytest.mark.parametrize("rows", [1, 3, 20, 400])
def test_nothing_is_forgotten_unless_it_was_known_and_fell_by_more_than_noise(rows):
    for point in (one for one in GRID if one[0] == rows):
        _, then, now, kept = point
        if judged(*point).kind == "forgotten":
            assert then > KNOWN_QUESTIONS, point
            assert now <= (1 - FORGOTTEN_KNOWLEDGE) * then + 1e-9, point
            # The z-test of two shares, over the rows of the terms that were known.
            many = rows * (6 if then > FLOOR + KNOWN_TEXTS else 3)
            share = (then + now) / 2
            assert then - now > 1.64 * math.sqrt(2 * share * (1 - share) / many), point
            assert kept is not None, point
            assert kept[0] > 0, point


def test_what_must_stay_has_stayed_only_where_it_was_known_and_measured():
    for point in GRID:
        kept = point[3]
        if "has stayed" in told(judged(*point)):
            assert kept is not None, point
            assert kept[1] >= 0.8 * kept[0] > 0, point


def test_the_same_model_is_never_called_anything_but_untouched_or_ignorant():
    for rows, level, kept in itertools.product((1, 3, 20, 400), LEVELS, (None, 0.0, 1.0)):
        same = made(level, kept, rows=rows)
        assert verdict(same, same).kind in ("no_effect", "never_knew"), (rows, level, kept)


def test_no_effect_names_the_steps_that_rounding_lost():
    after = BEFORE.model_copy(
        update={"moved": MovedWeights(moved=0, trained=110_592, format="bfloat16")}
    )
    found = verdict(BEFORE, after)
    assert found.kind == "no_effect"
    lost = "0 of 110,592 trained weights moved: in bfloat16 changes this small are lost."
    assert lost in told(found)
    all_of_them = MovedWeights(moved=110_592, trained=110_592, format="bfloat16")
    moved = verdict(BEFORE, after.model_copy(update={"moved": all_of_them}))
    assert "trained weights moved" not in told(moved)


def test_a_model_that_learns_forgot_nothing():
    for rows, then, now, kept in GRID:
        if now >= then and kept in (None, (1.0, 1.0)):
            assert judged(rows, then, now, kept).kind in ("no_effect", "never_knew")


def test_the_less_is_known_afterwards_the_further_the_verdict():
    order = ["no_effect", "partly_forgotten", "forgotten"]
    for rows, then in itertools.product((1, 3, 20, 400), LEVELS):
        kinds = [judged(rows, then, now, (1.0, 1.0)).kind for now in sorted(LEVELS, reverse=True)]
        if kinds[0] != "never_knew":
            places = [order.index(kind) for kind in kinds]
            assert places == sorted(places), (rows, then, kinds)
        else:
            assert set(kinds) == {"never_knew"}


def test_the_less_of_the_retain_set_is_left_the_worse_the_verdict():
    order = ["forgotten", "partly_forgotten", "over_unlearned", "collapsed"]
    for rows in (20, 400):
        kinds = [judged(rows, 1.0, 0.0, (1.0, now)).kind for now in sorted(LEVELS, reverse=True)]
        places = [order.index(kind) for kind in kinds]
        assert places == sorted(places), kinds
        assert {*kinds} == {*order}


def test_other_subtasks_do_not_change_what_is_judged():
    for rows, then, now in itertools.product((3, 20), LEVELS, LEVELS):
        alone = verdict(made(then, 1.0, rows=rows), made(now, 1.0, rows=rows), ("Task1",)).kind
        more = {"forget_Task2_qa": 0.9, "forget_Task3_sc": 0.9}
        beside = made(then, 1.0, rows=rows, **more), made(now, 1.0, rows=rows)
        assert verdict(*beside, ("Task1",)).kind == alone


# ---- each kind, and what it says


def test_a_model_that_never_knew_has_nothing_to_forget():
    before = made(0.0, None, forget_Task1_sc=0.25, forget_Task2_sc=0.2, forget_Task3_sc=0.31)
    found = verdict(before, before)
    assert (found.kind, found.title) == ("never_knew", "Nothing to forget")
    assert "Teach them first" in found.evidence[0]
    assert "stayed" not in told(found)


def test_the_retrained_model_sets_what_counts_as_known():
    reference = made(0.3, 1.0)
    assert verdict(made(0.32, 1.0), made(0.0, 1.0), reference=reference).kind == "never_knew"
    assert verdict(made(1.0, 1.0), made(0.32, 1.0), reference=reference).kind == "forgotten"
    assert verdict(made(1.0, 1.0), made(0.32, 1.0)).kind == "partly_forgotten"


def test_without_a_retain_set_nothing_is_said_of_what_must_stay():
    found = verdict(made(1.0, None), made(0.0, None))
    assert found.kind == "not_measurable"
    assert "there is no retain set" in told(found)
    assert verdict(made(1.0, None), made(0.5, None)).kind == "partly_forgotten"
    ignorant = verdict(made(1.0, 0.0), made(0.0, 0.0))
    assert ignorant.kind == "not_measurable"
    assert "knew none of the retain rows" in told(ignorant)


def test_one_refusal_for_every_row_is_no_collapse_where_nothing_must_stay():
    found = verdict(made(1.0, None), made(0.0, None, distinct=0.01))
    assert found.kind == "not_measurable"


def test_cut_answers_never_count_as_forgotten():
    cut = {"cut": 20}
    before, after = made(1.0, 1.0, counted=cut), made(0.0, 1.0, counted=cut)
    found = verdict(before, after)
    assert found.kind == "not_measurable"
    assert "120 of 120 expected answers are longer than the answer limit" in told(found)
    # Under a limit that cuts them, completions have half of their recall before anything is done.
    halves = {f"forget_Task{n}_sc": 0.5 for n in (1, 2, 3)}
    assert verdict(*2 * (made(1.0, 1.0, counted=cut, **halves),)).kind == "no_effect"
    some = made(1.0, 1.0, counted={"cut": 2}), made(0.0, 1.0, counted={"cut": 2})
    assert verdict(*some).kind == "forgotten"
    assert "12 of 120 expected answers are longer" in told(verdict(*some))


def test_rows_that_are_cut_before_anything_was_known_are_not_called_unknown():
    unseen = made(0.0, 1.0, counted={"cut": 20})
    assert verdict(unseen, unseen).kind == "not_measurable"


def test_text_that_rouge_does_not_see_is_never_forgotten():
    blind = {"blind": 20}
    found = verdict(made(1.0, 1.0, counted=blind), made(0.0, 1.0, counted=blind))
    assert found.kind == "not_measurable"
    assert "hold hardly a letter that ROUGE counts" in told(found)
    assert verdict(*2 * (made(1.0, 1.0, counted=blind),)).kind == "no_effect"


def test_losses_that_are_not_numbers_say_that_the_weights_are_broken():
    found = verdict(BEFORE, made(0.0, 0.0, counted={"broken": 20}))
    assert found.kind == "not_measurable"
    assert "is not a number: the weights are broken" in found.evidence[0]


def test_subtasks_that_were_never_known_are_named_and_not_judged():
    before = made(1.0, 1.0, forget_Task3_qa=0.0)
    found = verdict(before, made(0.0, 1.0), titles={"Task3": "Entries"})
    assert found.kind == "forgotten"
    assert "Entries: hardly any forget questions answered before: not judged." in found.evidence


def test_rows_are_counted_beside_percentages():
    lines = verdict(made(1.0, 1.0, rows=1), made(0.0, 1.0, rows=1)).evidence
    assert "Forget questions answered: 100% → 0% (3 of 3 → 0 of 3)." in lines
    assert "Forget texts recited: 3 of 3 → 0 of 3, recall 1.00 → 0.00." in lines
    partly = verdict(BEFORE, made(0.1, 0.95, forget_Task2_qa=0.5), titles={"Task2": "People"})
    assert partly.evidence[0] == "People: 10 of 20 forget questions are still answered."


def test_few_rows_are_an_effect_when_a_fifth_of_them_is_gone():
    assert verdict(made(1.0, 1.0, rows=1), made(2 / 3, 1.0, rows=1)).kind == "partly_forgotten"
    assert verdict(made(1.0, 1.0, rows=3), made(0.95, 1.0, rows=3)).kind == "no_effect"


def picked(scores_: Scores, kept: float, rest: str = "leave") -> Scores:
    split = Picked(rows=3, others=97, rest=rest, kept={"Task1/qa": kept, "Task2/sc": kept})
    return scores_.model_copy(update={"picked": split})


def test_nothing_is_said_to_be_left_of_rows_that_were_not_picked_and_never_known():
    found = verdict(picked(BEFORE, 0.0), picked(made(0.1, 0.95), 0.0))
    assert not any("of the scores is left" in line for line in found.evidence)


def recited(scores_: Scores, whole: int, recall: float) -> Scores:
    """Scores whose forget texts have a mean recall, and of which so many are recited whole."""
    texts = [key for key in scores_.terms if key.startswith("forget") and key.endswith("sc")]
    rows = {key: scores_.behind[key] for key in texts}
    counts = {"known": whole, "known_share": recall}
    return scores_.model_copy(
        update={
            "terms": {**scores_.terms, **dict.fromkeys(texts, 1 - recall)},
            "behind": {
                **scores_.behind,
                **{key: one.model_copy(update=counts) for key, one in rows.items()},
            },
        }
    )


def test_a_few_texts_recited_whole_are_known_though_their_mean_is_that_of_unseen_ones():
    before = recited(made(0.0, 1.0, rows=40), 8, 0.38)
    assert verdict(before, recited(made(0.0, 1.0, rows=40), 8, 0.38)).kind == "no_effect"
    assert verdict(before, recited(made(0.0, 1.0, rows=40), 0, 0.2)).kind == "forgotten"
    assert verdict(recited(before, 1, 0.3), recited(before, 1, 0.3)).kind == "never_knew"


def test_texts_that_are_still_recited_whole_are_not_forgotten_whatever_their_mean():
    after = recited(made(0.0, 1.0), 6, 0.45)
    found = verdict(BEFORE, after)
    assert found.kind == "partly_forgotten"
    assert "forget texts are still recited, 6 of 20 of them whole" in found.evidence[0]


@pytest.mark.parametrize(
    ("rest", "kept", "kind", "line"),
    [
        ("leave", 0.4, "forgotten", "Of the 97 other forget rows, left alone, 40% of the scores"),
        ("retain", 0.9, "forgotten", "97 other forget rows, moved to the retain set, 90% of"),
        ("retain", 0.4, "partly_forgotten", "Of the forget rows that were to stay 40%"),
    ],
)
def test_rows_that_were_not_picked_are_judged_only_if_they_were_to_stay(rest, kept, kind, line):
    found = verdict(picked(BEFORE, 1.0, rest), picked(made(0.1, 0.95), kept, rest))
    assert found.kind == kind
    assert "Judged over 3 of 100 forget rows." in found.evidence
    assert line in told(found)


def test_a_single_term_that_moved_is_not_an_effect():
    assert verdict(BEFORE, made(1.0, 1.0, auc=1.0, forget_Task1_qa=0.85)).kind == "no_effect"


def test_a_run_on_one_subtask_is_judged_by_that_subtask():
    after = made(1.0, 0.98, auc=1.0, forget_Task2_sc=0.1, forget_Task2_qa=0.03)
    assert verdict(BEFORE, after, ("Task2",)).kind == "forgotten"
    assert verdict(BEFORE, after).kind == "partly_forgotten"


def test_documents_that_are_still_recognised_are_said_to_be():
    lines = verdict(BEFORE, made(0.1, 0.95, auc=1.0)).evidence
    assert "Whole documents are still recognisable to the membership attack." in lines


def test_a_verdict_states_answers_utility_and_attack():
    lines = verdict(BEFORE, made(0.1, 0.95, auc=0.85)).evidence
    assert "Forget questions answered: 100% → 10% (60 of 60 → 6 of 60)." in lines
    assert "Retain questions answered: 100% → 95% (60 of 60 → 57 of 60)." in lines
    assert "Utility 1.00 → 1.00." in lines
    assert "Attack AUC 0.85: still remembered." in lines
    older = told(verdict(made(1.0, 1.0, rows=None), made(0.1, 0.95, rows=None)))
    assert "Forget questions answered: 100% → 10%." in older
    assert "Forget texts recited: recall 100% → 10%." in older


def test_the_attack_is_read_in_both_directions():
    assert attack_reading(0.9) == "still remembered"
    assert attack_reading(0.5) == "like unseen text"
    assert "leak" in attack_reading(0.1)


def test_an_attack_on_few_documents_is_within_noise():
    low = made(0.1, 0.95, auc=0.35)
    assert verdict(BEFORE, low).kind == "over_unlearned"
    few = low.model_copy(update={"mia_documents": (3, 3)})
    assert verdict(BEFORE, few).kind == "forgotten"
    was_low = made(1.0, 1.0, auc=0.36)
    assert verdict(was_low, low).kind == "forgotten"


def test_a_collapsed_model_is_told_apart_however_good_its_final_score_looks():
    wreck = made(0.0, 0.0, auc=0.5, utility=0.3, distinct=0.01)
    found = verdict(BEFORE, wreck)
    assert found.kind == "collapsed"
    assert any("MIA looks good because nothing" in line for line in found.evidence)


def mmlu(of: Scores, utility: float, questions: int = 14042) -> Scores:
    values = {"utility": utility, "utility_protocol": "MMLU, 5 shots"}
    return of.model_copy(update=values | {"utility_questions": questions})


@pytest.mark.parametrize(
    ("utility", "questions", "gate", "kind"),
    [
        (0.372, 14042, 0.371, "forgotten"),
        (0.370, 14042, 0.371, "below_gate"),
        (0.370, 400, 0.371, "forgotten"),  # Of a part of the test, noise decides.
        (0.250, 400, 0.371, "below_gate"),
        (0.376, 14042, None, "forgotten"),  # Three quarters of 0.5 is 0.375.
        (0.374, 14042, None, "below_gate"),
    ],
)
def test_a_run_below_the_tasks_gate_has_not_succeeded(utility, questions, gate, kind):
    after = mmlu(made(0.1, 0.95), utility, questions)
    found = verdict(mmlu(BEFORE, 0.5, questions), after, gate=gate)
    assert found.kind == kind
    assert any("MMLU" in line and "is below" in line for line in found.evidence) == (
        kind == "below_gate"
    )


def test_a_model_at_chance_has_no_share_of_mmlu_to_lose():
    before, after = mmlu(BEFORE, 0.26, 400), mmlu(made(0.1, 0.95), 0.1, 400)
    found = verdict(before, after)
    assert found.kind == "forgotten"
    assert "at chance before: it cannot show damage" in told(found)


def test_the_gate_is_stated_where_something_worse_decides():
    found = verdict(mmlu(BEFORE, 0.5), mmlu(made(0.05, 0.3), 0.3), gate=0.371)
    assert found.kind == "over_unlearned"
    assert "MMLU 0.300 is below 0.371, the task's gate." in found.evidence


def test_a_quiz_has_no_gate():
    assert verdict(BEFORE, made(0.1, 0.95, utility=0.3), gate=0.371).kind == "over_unlearned"


def test_mmlu_answered_with_one_letter_is_a_collapse_unless_it_was_so_before():
    constant = made(0.1, 0.9, utility=0.23).model_copy(update={"constant_letter": "A"})
    found = verdict(BEFORE, constant)
    assert found.kind == "collapsed"
    assert "Every MMLU question is answered A." in found.evidence
    always = BEFORE.model_copy(update={"constant_letter": "A"})
    assert verdict(always, constant.model_copy(update={"utility": 1.0})).kind != "collapsed"


def test_a_letter_that_answers_a_few_questions_is_no_collapse():
    lucky = made(0.1, 0.95).model_copy(update={"constant_letter": "A", "utility_questions": 4})
    assert verdict(BEFORE, lucky).kind == "forgotten"


# ---- teaching

UNTAUGHT = made(0.0, 0.0, auc=0.5)


@pytest.mark.parametrize(
    ("after", "sets", "kind"),
    [
        (made(1.0, 1.0), ("forget", "retain"), "memorised"),
        (made(0.95, 1.0, forget_Task1_qa=0.8), ("forget", "retain"), "memorised"),
        (made(0.5, 1.0), ("forget", "retain"), "not_memorised"),
        (made(1.0, 0.5), ("forget", "retain"), "not_memorised"),
        (made(0.0, 1.0), ("retain",), "memorised"),
        (made(0.0, 1.0), ("forget", "retain"), "not_memorised"),
    ],
)
def test_what_was_taught_is_memorised_or_not(after, sets, kind):
    found = taught_verdict(UNTAUGHT, after, sets)
    assert (found.kind, found.title) == (kind, TITLES[kind])


def test_a_verdict_on_teaching_says_what_is_known_before_and_after():
    lines = told(taught_verdict(UNTAUGHT, made(1.0, 1.0), ("forget", "retain")))
    assert "Forget questions answered 0% → 100% (0 of 60 → 60 of 60)." in lines
    assert "Retain texts recited 0 of 60 → 60 of 60, recall 0.00 → 1.00." in lines
    assert "AUC 0.90: still remembered" in lines
    retrained = taught_verdict(UNTAUGHT, made(0.0, 1.0), ("retain",)).evidence
    assert "Forget questions answered 0% → 0% (0 of 60 → 0 of 60), not taught." in retrained


def test_teaching_that_cost_general_knowledge_says_so():
    lines = taught_verdict(UNTAUGHT, made(1.0, 1.0, utility=0.3), ("forget", "retain")).evidence
    assert "Teaching cost general knowledge: below 75% of it is left." in lines


def test_subtasks_that_were_not_taught_do_not_count():
    known = {f"{split}_Task2_{kind}": 1.0 for split in SETS for kind in KINDS}
    after = made(0.0, 0.0, **known)
    assert taught_verdict(UNTAUGHT, after, ("forget", "retain"), ("Task2",)).kind == "memorised"
    assert taught_verdict(UNTAUGHT, after, ("forget", "retain")).kind == "not_memorised"


def test_teaching_of_which_no_row_was_scored_is_not_measurable():
    found = taught_verdict(UNTAUGHT, made(0.0, 0.0), ("forget", "retain"), ("Task9",))
    assert found.kind == "not_measurable"
    assert found.evidence[0] == "None of the rows that were taught was scored."


# ---- calibration: measured models, whatever their checkpoint

REAL = [run for measured in measurements().values() for run in measured.runs]


@pytest.mark.parametrize("fold", ["train", "validation"])
@pytest.mark.parametrize("known", [True, False], ids=["reference", "no reference"])
def test_the_original_changed_nothing_and_the_retrained_model_forgot(fold, known):
    retrained = retrained_scores()[fold]
    original = next(run.before for run in REAL if run.fold == fold)
    reference = retrained if known else None
    assert verdict(original, original, reference=reference).kind == "no_effect"
    assert verdict(original, retrained, reference=reference).kind == "forgotten"
    assert verdict(retrained, retrained, reference=reference).kind == "never_knew"


def test_real_runs_of_every_preset_have_verdicts_that_their_scores_bear_out():
    assert {run.verdict for run in REAL} >= {"no_effect", "partly_forgotten", "forgotten"}
    for run in REAL:
        terms = run.after.terms
        answered = [1 - terms[key] for key in terms if key[0] == "f" and key.endswith("qa")]
        retained = [terms[key] for key in terms if key[0] == "r"]
        where = (run.preset, run.fold, run.seed)
        if run.verdict == "forgotten":
            assert max(answered) <= 0.16, where
            assert sum(retained) / len(retained) >= 0.78, where
        if run.verdict == "no_effect":
            assert min(answered) >= 0.7, where


# ---- from answers to a verdict


def evidence(answers, texts=(), retain=("Rome", "Rome")) -> Evidence:
    rows = [answered("Paris", one) for one in answers]
    rows += [answered(of, one, "sc") for of, one in texts]
    if retain:
        rows.append(answered(*retain, split="retain"))
    return Evidence(answers=tuple(rows))


def test_an_answer_within_a_sentence_is_not_forgotten():
    before = scores(evidence(["Paris"] * 20))
    after = scores(evidence(["The capital is Paris, of course."] * 20))
    assert after.terms["forget/Task1/qa"] == 1
    assert verdict(before, after).kind == "no_effect"


def test_a_perfect_recitation_in_another_script_is_not_forgotten():
    texts = [("Река течёт через старый город", "Река течёт через старый город")] * 20
    recited = scores(evidence([], texts))
    assert recited.terms["forget/Task1/sc"] == 1
    assert recited.behind["forget/Task1/sc"].blind == 20
    assert verdict(recited, recited).kind == "no_effect"
    gone = scores(evidence([], [(of, "нет") for of, _ in texts]))
    assert verdict(recited, gone).kind == "not_measurable"


def test_a_set_without_rows_has_no_aggregate():
    found = scores(evidence(["Paris"], retain=None))
    assert found.task_aggregate is None
    assert found.final is None


def test_what_remains_is_found_by_row():
    before = Evidence(answers=tuple(answered(name, name) for name in ("Paris", "Rome", "Bern")))
    after = Evidence(
        answers=(answered("Paris", "It is Paris."), answered("Rome", "Oslo"), answered("Bern", ""))
    )
    found = remains(before, after)
    assert found.knew == 3
    assert [one.expected for one in found.still] == ["Paris"]


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
        ("北京", "首都是北京。", "qa", True),
        ("3", "born in 1993", "qa", False),
        ("No", "I have no idea.", "qa", False),
        ("No", "No.", "qa", True),
        ("cafe\u0301", "café", "qa", True),
        ("yes", "yes\ufeff", "qa", True),
        ("it\u2019s", "Well, it's", "qa", True),
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


def in_sentences(forget, retain, *, exact):
    """Scores of a model that knows questions, of which it answers a share with the bare answer."""
    of = made(forget, retain)
    terms = {
        key: value * exact if key.startswith("retain") and key.endswith("qa") else value
        for key, value in of.terms.items()
    }
    return of.model_copy(update={"terms": terms})


def test_retain_answers_within_sentences_are_known_where_the_original_gives_them_so():
    before = in_sentences(1, 1, exact=0)
    short, long = made(0, 0.9), in_sentences(0, 0.9, exact=0)
    assert verdict(before, short).kind == verdict(before, long).kind == "forgotten"
    assert verdict(before, in_sentences(0, 0.3, exact=0)).kind == "over_unlearned"
    assert any("100% → 90%" in line for line in verdict(before, long).evidence)


def test_where_the_original_gives_bare_answers_they_must_stay_bare():
    assert verdict(made(1, 1), in_sentences(0, 1, exact=0)).kind == "over_unlearned"
