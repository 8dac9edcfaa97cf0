"""What can be asked of a trace, and averages over many."""

import pytest

from unlearnlab.metrics.tracing import FactTrace, average, peak_blocks, roles
from unlearnlab.spec.facts import facts
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.trace import (
    TraceSpec,
    default_window,
    nearest_facts,
    parse_trace,
    window_reason,
)


def traced(subject, rows, *, clean=0.9, corrupted=0.1):
    """A trace whose indirect effects are the same for every part."""
    tokens = len(rows[0])
    return FactTrace(
        id="",
        prompt="p",
        subject="s",
        answer="a",
        tokens=tuple("abcdefgh"[:tokens]),
        roles=roles(tokens, subject),
        given=0,
        scored="a",
        clean=clean,
        corrupted=corrupted,
        effects=dict.fromkeys(("residual", "mlp", "attention"), rows),
    )


def test_every_token_plays_one_role():
    assert roles(8, range(2, 5)) == (
        "before", "before", "first", "middle", "last subject", "after", "after", "last",
    )  # fmt: skip
    assert roles(3, range(1, 2)) == ("before", "last subject", "last")
    assert roles(3, range(1, 3)) == ("before", "first", "last subject")


def test_averages_take_each_role_from_its_own_tokens():
    """The published plots repeat the first subject token for the last, and shift what follows.

    By hand, for tokens: before, first, middle, last subject, after, after, last. The plots' slip
    would give 0.1 for the last subject token, and mix 0.5 into what follows it.
    """
    one = traced(range(1, 4), ((0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.2),))
    two = traced(range(2), ((0.3, 0.9, 0.1, 0.4),), clean=0.7)
    found = average([one, two], unknown=3)
    means = {role: curve[0].mean for role, curve in found.curves["mlp"].items()}
    assert means == pytest.approx(
        {
            "before": 0.0,
            "first": (0.1 + 0.3) / 2,
            "middle": 0.3,
            "last subject": (0.5 + 0.9) / 2,
            "after": ((0.7 + 0.9) / 2 + 0.1) / 2,
            "last": (0.2 + 0.4) / 2,
        }
    )
    assert found.curves["mlp"]["last"][0].sd == pytest.approx(0.2 / 2**0.5)
    assert found.having == {
        "before": 1, "first": 2, "middle": 1, "last subject": 2, "after": 2, "last": 2,
    }  # fmt: skip
    assert (found.facts, found.unknown) == (2, 3)
    assert found.total_effect.mean == pytest.approx((0.8 + 0.6) / 2)


def test_a_long_subject_counts_no_more_than_a_short_one():
    short = traced(range(3), ((0.0, 1.0, 0.0, 0.0),))
    long = traced(range(5), ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0),))
    assert average([short, long], unknown=0).curves["mlp"]["middle"][0].mean == 0.5


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


def test_the_peak_blocks_are_those_around_the_peak():
    rows = tuple((value, 0.0) for value in (0.5, 0.1, 0.4, 0.8, 0.5, 0.3))
    one = traced(range(1), rows)
    assert peak_blocks(one) == range(2, 5)
    assert peak_blocks(average([one, one], unknown=0)) == range(2, 5)
