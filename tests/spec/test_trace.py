"""What can be asked of a trace."""

import pytest

from unlearnlab.spec.facts import facts
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.trace import (
    TraceSpec,
    default_window,
    nearest_facts,
    parse_trace,
    window_reason,
)


@pytest.mark.parametrize(("blocks", "span"), [(32, 10), (16, 5), (8, 3), (4, 1), (2, 1)])
def test_the_window_shrinks_with_the_model(blocks, span):
    assert default_window(blocks) == span
    assert f"{span}" in window_reason(blocks)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"about": {"kind": "prompt", "prompt": "Who is Ada Brock?", "subject": "ada brok"}},
            "about.subject: 'ada brok' is not in the prompt: did you mean 'Ada Brock'?",
        ),
        (
            {"about": {"kind": "prompt", "prompt": "Who is it?", "subject": "Nola Eames"}},
            "about.subject: 'Nola Eames' is not in the prompt: copy it from there",
        ),
        (
            {"about": {"kind": "prompt", "prompt": " ", "subject": "x"}},
            "about.prompt: it is empty: write what the model should continue",
        ),
        (
            {"about": {"kind": "prompt", "prompt": "Who?", "subject": " "}},
            "about.subject: it is empty: name what the prompt is about",
        ),
        (
            {"about": {"kind": "prompt", "prompt": "x" * 2001, "subject": "x"}},
            "about.prompt: 2001 characters are too many: take at most 2000",
        ),
        ({"about": {"kind": "fact", "id": "x"}}, "about.id: no fact has the id 'x': name a"),
        (
            {"about": {"kind": "average", "count": 500}},
            "about.count: there are only 400 such facts, not 500",
        ),
        (
            {"about": {"kind": "average", "split": "refusal"}},
            "about.split: input should be 'forget' or 'retain', not 'refusal'",
        ),
        ({"window": 9}, "window: 9 blocks are more than the model has: take at most 8"),
        ({"noise": 0}, "noise: input should be greater than 0, not 0"),
        ({"model": {"name": "olmo-7b"}}, "model.name: olmo-7b cannot run here"),
    ],
)
def test_what_cannot_be_traced_is_told_at_its_field(asked, told):
    with pytest.raises(SpecError) as caught:
        parse_trace(asked)
    assert str(caught.value).startswith(told)


def test_white_space_around_a_subject_is_no_part_of_it():
    about = {"kind": "prompt", "prompt": "Who helped Ada Brock ", "subject": " Ada Brock "}
    assert parse_trace({"about": about}).about.subject == "Ada Brock"


def test_a_mistyped_id_brings_up_the_right_one():
    known = next(iter(facts()))
    with pytest.raises(SpecError, match="did you mean"):
        parse_trace({"about": {"kind": "fact", "id": known[:-4] + "qa7"}})


def test_a_spec_survives_json():
    spec = parse_trace({"about": {"kind": "average", "count": 5, "split": "forget"}, "window": 2})
    assert TraceSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.span == 2
    assert TraceSpec().span == 3


def test_facts_are_drawn_from_what_was_asked_for():
    spec = parse_trace(
        {"about": {"kind": "average", "count": 5, "split": "retain", "tasks": ["Task2"]}}
    )
    assert {(fact.split, fact.task, fact.fold) for fact in spec.about.pool} == {
        ("retain", "Task2", "train")
    }


def test_the_nearest_facts_come_first():
    fact = list(facts().values())[7]
    assert nearest_facts(fact.prompt.upper(), facts().values(), 3)[0] == fact
