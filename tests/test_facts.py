"""Subjects of the embedded questions."""

import json

from unlearnlab.catalogue import EMBEDDED
from unlearnlab.facts import facts, place, spot, subject_of


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


def test_names_are_found_as_whole_words_first():
    assert place("Annabel met Ann.", "Ann") == (12, 15)
    assert place("Annabel", "Ann") is None
    assert spot("Annabel", "Ann") == (0, 3)
    assert spot("Annabel", "Bob") is None
    assert spot("Annabel", "") is None
