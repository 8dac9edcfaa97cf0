"""Published results: complete, sourced, consistent, and flagged."""

import statistics
from collections import Counter

import pytest

from unlearnlab.metrics.published import as_records, results
from unlearnlab.metrics.scores import mia_score

ROWS = results()


def of(system, model="7B", kind="leaderboard"):
    return next(r for r in ROWS if (r.system, r.model, r.kind) == (system, model, kind))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model} {row.system}")
def test_every_row_has_a_source_and_a_number_and_agrees_with_itself_as_printed(row):
    assert row.source
    parts = (row.task_aggregate, row.mia_score, row.mmlu)
    assert any(value is not None for value in (*parts, row.final))
    if None not in (*parts, row.final):
        assert statistics.fmean(parts) == pytest.approx(row.final, abs=1.001e-3)
    if None not in (row.mia_auc, row.mia_score):
        assert mia_score(row.mia_auc) == pytest.approx(row.mia_score, abs=2.001e-3)


def test_both_leaderboards_are_there_in_full():
    boards = [row for row in ROWS if row.kind == "leaderboard"]
    assert Counter(row.model for row in boards) == {"7B": 20, "1B": 24}
    ranks = [row.rank for row in boards if row.model == "7B" and row.rank]
    assert ranks == [*range(1, 12), 11, 13, 14]
    assert [row.rank for row in boards if row.model == "1B"] == [*range(1, 21), 20, 20, 20, 24]


def test_scores_fall_with_the_rank():
    for model in ("7B", "1B"):
        ranked = [r for r in ROWS if r.model == model and r.rank]
        finals = [r.final for r in sorted(ranked, key=lambda r: r.rank)]
        assert finals == sorted(finals, reverse=True)


def test_the_organisers_baselines_are_there():
    assert [row.system for row in ROWS if row.kind == "baseline"] == [
        "Gradient ascent",
        "Gradient difference",
        "KL minimisation",
        "NPO",
    ]


def test_a_collapse_behind_a_good_score_is_flagged():
    assert of("Cyber for AI").flags == (
        "collapse signature",
        "MMLU as of constant A",
        "below the MMLU gate",
    )
    assert of("SHA256").flags == ("below the MMLU gate",)
    assert of("AILS-NTUA").flags == ()
    assert of("AILS-NTUA", "1B").flags == ()  # The gate is the 7B model's.


def test_all_that_the_gate_keeps_out_is_unranked_and_no_other():
    for row in ROWS:
        if row.kind == "leaderboard" and row.model == "7B":
            assert (row.rank is None) == ("below the MMLU gate" in row.flags)


def test_another_model_and_another_split_do_not_compare():
    row = of("AILS-NTUA")
    assert row.differs("olmo-7b", "test") == ""
    assert row.differs("olmo-7b", "validation") == "not comparable: on the private test split"
    assert row.differs("tiny-olmo", "test") == "not comparable: of the task's 7B model"


def test_records_have_numbers_and_flags():
    first = as_records(ROWS)[0]
    assert (first["final"], first["rank"], first["flags"]) == (0.706, 1, [])
