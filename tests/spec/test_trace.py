"""Subjects of the embedded questions."""

import json

import pytest

from unlearnlab.data.adding import add, read_typed, remove
from unlearnlab.data.files import EMBEDDED
from unlearnlab.spec.run import SpecError
from unlearnlab.spec.trace import (
    TraceSpec,
    about_fact,
    facts,
    facts_of,
    parse_trace,
    place,
    spot,
    subject_in,
    subject_of,
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
    assert spot("Annabel", "Ann") == (0, 3)
    assert spot("Annabel", "Bob") is None
    assert spot("Annabel", "") is None
