"""One example across several models."""

from tests.fakes import some_evidence
from unlearnlab.views.compare.examples import Speaker, choices, example

ROW = "forget-Task1-qa"


def speaking(name, text, score):
    evidence = some_evidence()
    answers = tuple(
        one.model_copy(update={"generated": text, "score": score}) if one.row == ROW else one
        for one in evidence.answers
    )
    return Speaker(name, evidence.model_copy(update={"answers": answers}), name)


ALL = (speaking("original", "Ada", 1.0), speaking("one", "nobody", 0.0), Speaker("gone", None))


def test_an_example_has_every_models_answer_with_what_it_recites():
    found = example(ROW, ALL)
    assert (found.prompt, found.expected) == ("Who?", "Ada")
    assert [said.outcome for said in found.said] == ["leaked", "wrong_but_fluent", None]
    assert [span.recited for span in found.said[0].spans] == [True]
    assert found.said[2].score is None


def test_a_row_that_no_model_has_is_no_example():
    assert example("?", ALL) is None


def test_the_rows_that_tell_models_apart_come_first():
    first, *rest = choices(ALL)
    assert (first.row, first.spread, first.recited_by) == (ROW, 1.0, 1)
    assert len(rest) == 11
    assert [one.split for one in rest][-1] == "retain"
