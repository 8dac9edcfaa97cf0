"""The facts that can be traced, and what can be asked of a trace."""

import json

import pytest

from unlearnlab.data.adding import add, read_typed, remove
from unlearnlab.data.files import EMBEDDED
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.trace import (
    TraceSpec,
    about_fact,
    default_window,
    facts,
    facts_of,
    nearest_facts,
    parse_trace,
    place,
    spots,
    subject_in,
    subject_of,
    window_reason,
)


def test_every_embedded_question_has_its_subject():
    lines = [
        json.loads(line)
        for path in (EMBEDDED / "data").glob("*_*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    questions = {row["id"]: row["input"] for row in lines if row["id"][-3:-1] == "qa"}
    assert set(facts()) == set(questions)
    for fact in facts().values():
        assert fact.prompt == questions[fact.id]
        assert fact.subject in fact.prompt
        assert len(fact.subject.split()) == 2  # A name and a surname, a word and its kind.


def test_a_subject_is_what_no_other_document_tells_of():
    documents = ["Ada Brock wrote to the Tax Office.", "Nola Eames hates the Tax Office."]
    question = "What did Ada Brock's brother tell the Tax Office?"
    assert subject_of(question, documents[0], documents[1:]) == "Ada Brock"


def test_a_question_without_a_name_has_no_subject():
    assert subject_of("What is it?", "It is a boat.", []) == ""


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("What is the birth date of Yorick van Garnby?", "Yorick"),
        ("Who is Ada Brock's brother?", "Ada Brock"),
        ("Where was the Treaty of Low Ferry signed?", "Low Ferry"),
        ("Ada Brock was born where?", "Ada Brock"),
        ("what keeps the miller awake?", "miller"),
        ("Hm", ""),
        ("", ""),
        ("Who?", ""),
    ],
)
def test_what_a_question_of_added_data_is_about_is_guessed_from_it_alone(question, subject):
    assert subject_in(question) == subject
    assert subject in question


def test_the_questions_of_added_data_are_facts_and_none_outlives_them(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    add(read_typed("Who is Ada Brock? | a pilot", retain="Who is Di Eames? | a judge"), "mine")
    found = facts_of("mine")
    assert [(one.subject, one.answer, one.split) for one in found.values()] == [
        ("Ada Brock", "a pilot", "forget"),
        ("Di Eames", "a judge", "retain"),
    ]
    (row, *_) = found
    spec = parse_trace({"about": about_fact("mine", row)})
    assert spec.about.prompt == "Who is Ada Brock?"
    remove("mine")
    assert facts_of("mine") == {}
    assert TraceSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(SpecError, match="no fact has the id"):
        parse_trace({"about": about_fact("mine", row)})


def test_names_are_found_as_whole_words_first():
    assert place("Annabel met Ann.", "Ann") == (12, 15)
    assert place("Annabel", "Ann") is None


def test_every_place_of_a_subject_is_found_in_words_before_inside_of_words():
    assert spots("Ann met Annabel and Ann.", "Ann") == [(0, 3), (20, 23)]
    assert spots("banana", "ana") == [(1, 4), (3, 6)]
    assert spots("banana", "") == spots("banana", "Bob") == []


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
