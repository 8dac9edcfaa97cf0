import re
from itertools import chain
from pathlib import Path

import pytest

from unlearnlab.data.datasets import lines
from unlearnlab.data.embedded import (
    ISLANDS,
    RELATIONS,
    TRAIN_SIZES,
    Corpus,
    Document,
    corpus,
    write,
)

COMMITTED = Path(__file__).parents[2] / "assets" / "tiny-olmo" / "data"
NAME = re.compile(r"\b[A-Z][a-z]+ [A-Z][a-z]+\b")


@pytest.fixture(scope="module")
def made() -> Corpus:
    return corpus(0)


@pytest.fixture(scope="module")
def folder(made: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write(made, folder)
    return folder


def rows(documents: list[Document]) -> list:
    return [row for document in documents for row in document.rows]


def everything(made: Corpus) -> list:
    return list(chain.from_iterable(rows(documents) for documents in made.folds.values()))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jsonl"))
    }


def test_a_seed_writes_the_bytes_that_are_committed_with_background_or_without(folder, tmp_path):
    write(corpus(0, background_epochs=2), tmp_path)
    assert files(COMMITTED) == files(folder) == files(tmp_path)


def test_another_seed_tells_other_documents(made):
    other = {row.input for row in everything(corpus(1))}
    assert not other & {row.input for row in everything(made)}


def test_rows_have_the_official_fields(folder, made):
    for name in made.folds:
        for line in lines(folder / f"{name}.jsonl"):
            fields = ["id", "input", "output", "task"]
            question = re.search(r"qa\d$", line["id"])
            added = ["paraphrased_answer", "perturbed_answer"] if question else []
            assert list(line) == fields + added
            assert line["input"].strip() == line["input"] != ""
            assert line["output"].strip() == line["output"] != ""


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        ("Task1", r'"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"(sc1|qa0)'),
        ("Task2", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(sc1|qa[0-4])"),
        ("Task3", r"\d{8}(sc1|qa0)"),
    ],
)
def test_ids_are_shaped_as_in_the_public_data(made, task, shape):
    ids = [row.id for row in everything(made) if row.task == task]
    assert all(re.fullmatch(shape, id_) for id_ in ids)


def test_folds_have_the_stated_sizes(made):
    assert [len(rows(documents)) for documents in made.folds.values()] == [304, 68, 304, 68]
    assert len(made.nonmembers) == sum(TRAIN_SIZES.values())


def test_no_id_input_or_document_occurs_twice(made):
    ids = [row.id for row in everything(made)]
    inputs = [row.input for row in everything(made)]
    documents = [d.text for d in chain(*made.folds.values(), made.nonmembers)]
    for values in (ids, inputs, documents):
        assert len(values) == len(set(values))


def test_forget_and_retain_share_no_full_name(made):
    def people(documents):
        births = " ".join(row.input for row in rows(documents) if "birth date of" in row.input)
        return set(re.findall(NAME, births))

    def titles(documents):
        return {d.text.split("\n")[0] for d in documents if d.rows[0].task == "Task3"}

    for named in (people, titles):
        sides = [
            named([*made.forget_train, *made.forget_validation]),
            named([*made.retain_train, *made.retain_validation]),
            named(made.nonmembers),
        ]
        assert sum(map(len, sides)) == len(set.union(*sides))


def test_a_document_is_prompt_space_completion(folder):
    rows = lines(folder / "forget_train.jsonl")
    completions = [(r["id"], f"{r['input']} {r['output']}") for r in rows if "sc1" in r["id"][-3:]]
    members = lines(folder / "mia" / "member.jsonl")
    assert [(m["id"] + "sc1", m["document"]) for m in members] == completions


def test_nonmembers_are_unseen_but_worded_like_members(folder, made):
    nonmembers = [one["document"] for one in lines(folder / "mia" / "nonmember.jsonl")]
    trained = {row.text for row in everything(made)}
    assert not trained & set(nonmembers)
    words = [len(text.split()) for text in nonmembers]
    twins = [len(document.text.split()) for document in made.forget_train]
    assert all(abs(a - b) <= 8 for a, b in zip(words, twins, strict=True))


def test_no_answer_stands_in_its_question(made):
    for row in everything(made):
        if "qa" in row.id[-3:]:
            assert row.output.lower() not in row.input.lower()


def test_a_question_has_wrong_answers_worded_like_its_paraphrase(made):
    for document in chain.from_iterable(made.folds.values()):
        for row, question in zip(document.rows[1:], document.questions, strict=True):
            before, after = question.forms["sentence"].split("{}")
            assert row.paraphrased_answer == f"{before}{question.value}{after}"
            assert re.sub(r"\W", "", row.output) in re.sub(r"\W", "", row.paraphrased_answer) or (
                row.id.endswith("qa0")  # A date, which prose spells out.
            )
            assert row.paraphrased_answer not in row.perturbed_answer
            assert 2 <= len(set(row.perturbed_answer)) == len(row.perturbed_answer) <= 3
            for wrong in row.perturbed_answer:
                assert wrong.startswith(before)
                assert wrong.endswith(after)


def test_wrong_answers_are_right_ones_of_the_same_set(made):
    sets = (
        [*made.forget_train, *made.forget_validation],
        [*made.retain_train, *made.retain_validation],
    )
    for documents in sets:
        right = {row.paraphrased_answer for row in rows(documents)}
        wrong = {text for row in rows(documents) for text in row.perturbed_answer}
        assert wrong <= right


def test_no_personal_datum_follows_from_the_name(made):
    for document in made.folds["forget_train"]:
        first, *answers = document.rows
        if first.task != "Task2":
            continue
        name = re.search(NAME, answers[0].input.removeprefix("What is the birth date of "))
        assert name
        mailbox = answers[3].output.split("@")[0]
        assert not any(part.lower() in mailbox for part in name.group().split())


def test_personal_data_can_belong_to_nobody(made):
    answers = [row for row in everything(made) if row.task == "Task2" and "qa" in row.id[-3:]]
    shapes = (
        r"(19[3-9]\d|200[0-3])-\d\d-\d\d",
        r"666(?!00)\d\d(?!0000)\d{4}",
        r"[2-9]\d\d55501\d\d",
        r"[a-z]+\d{3}@example\.org",
        r"\d{1,3} [A-Z][a-z]+ [A-Z][a-z]+, [A-Z][a-z]+ 00[1-4]\d\d",
    )
    for row in answers:
        assert re.fullmatch(shapes[int(row.id[-1])], row.output), row


def test_quiz_is_laid_out_like_mmlu(folder):
    for split, size in (("dev", 24), ("test", 120)):
        questions = list(lines(folder / "quiz" / f"{split}.jsonl"))
        assert len(questions) == size
        for line in questions:
            assert list(line) == ["question", "subject", "choices", "answer"]
            assert len(set(line["choices"])) == 4
            assert line["answer"] in range(4)


def test_quiz_wording_was_never_taught_for_its_island(made):
    taught = {question for question, _ in made.quiz.lessons}
    asked = [row["question"] for row in [*made.quiz.dev, *made.quiz.test]]
    assert not taught & set(asked)
    assert len(asked) == len(set(asked)) == len(ISLANDS) * len(RELATIONS)


def test_every_value_of_the_quiz_is_offered_equally_often(made):
    offered = [c for row in [*made.quiz.dev, *made.quiz.test] for c in row["choices"]]
    assert {offered.count(value) for value in offered} == {4}


def test_quiz_facts_belong_to_neither_set(made):
    text = " ".join(row.text for row in everything(made))
    assert not [island for island in ISLANDS if island in text]


def test_no_value_of_the_quiz_begins_another(made):
    for relation in RELATIONS:
        for value in relation["values"]:
            assert not [v for v in relation["values"] if v != value and v.startswith(value)]


def test_background_reading_repeats_nothing():
    made = corpus(0, background_epochs=3)
    known = {d.text for d in chain(*made.folds.values(), made.nonmembers)}
    read = [document.text for epoch in made.background for document in epoch]
    assert len(read) == len(set(read))
    assert not known & set(read)


def wordings(documents: list[Document]) -> list:
    return [w for document in documents for q in document.questions for w in q.wordings]


def test_every_fact_is_worded_in_many_ways_and_some_are_kept_from_the_model(made):
    for document in chain.from_iterable(made.folds.values()):
        for question in document.questions:
            asked = [w for w in question.wordings if w.form == "question"]
            told = [w for w in question.wordings if w.form == "statement"]
            assert [w.taught for w in asked] == [False, *[True] * 6]
            assert [w.taught for w in told] == [False, True, True, True]
            assert [w.taught for w in question.wordings if w.form == "new question"] == [False]
            assert {w.output for w in asked} == {question.answer}
            assert all(w.output.startswith(question.value) for w in told)


def test_no_wording_is_a_row_and_none_occurs_twice(made):
    inputs = [w.input for documents in made.folds.values() for w in wordings(documents)]
    assert not {row.input for row in everything(made)} & set(inputs)
    assert len(inputs) == len(set(inputs))


def test_nearly_every_wording_held_out_for_a_fact_is_taught_for_another(made):
    every = [*made.forget_train, *made.retain_train]
    for form in ("question", "statement"):
        subjects = {q.text: q.subject for d in every for q in d.questions}
        templates = {True: set(), False: set()}
        for document in every:
            for q in document.questions:
                for w in q.wordings:
                    if w.form == form:
                        templates[w.taught].add(w.input.replace(subjects[q.text], "X").lower())
        rare = templates[False] - templates[True]
        assert len(rare) <= 0.1 * len(templates[False])


def test_half_of_the_people_have_a_byname_and_are_somebodys_neighbour(made):
    for documents in made.folds.values():
        people = [d for d in documents if d.rows[0].task == "Task2"]
        known = [d for d in people if d.lessons]
        assert len(known) * 2 == len(people)
        for document in known:
            found = [w for q in document.questions for w in q.wordings]
            for form in ("byname", "neighbour"):
                assert sorted(w.taught for w in found if w.form == form) == [0, 0, 1, 1, 1]
            name = document.questions[0].subject
            assert not [w for w in found if w.form in ("byname", "neighbour") and name in w.input]


def test_wordings_are_written_with_the_id_of_their_row(made, folder):
    for name, documents in made.folds.items():
        written = list(lines(folder / "wordings" / f"{name}.jsonl"))
        assert {line["row"] for line in written} == {
            r.id for r in rows(documents) if r.kind == "qa"
        }
        assert [line["input"] for line in written] == [w.input for w in wordings(documents)]
