"""Files as fine-tuning tools have them: the columns that ask and answer, and conversations."""

import json
import time

import pytest

from unlearnlab.data.adding import SourceError, read_files
from unlearnlab.data.datasets import dataset

FACTS = (("Who keeps the lamp?", "Bo Reed"), ("Where does Ada live?", "in Nola"))


@pytest.fixture
def file(tmp_path):
    """Write records as JSONL, or a text as it is."""

    def written(content, name="forget.jsonl"):
        path = tmp_path / name
        lines = content if isinstance(content, str) else "\n".join(map(json.dumps, content))
        path.write_text(lines, encoding="utf-8")
        return path

    return written


def texts(draft, split="forget_train"):
    return [(row.input, row.output) for row in draft.rows[split]]


def told(draft, kind):
    return next(one for one in draft.findings if one.kind == kind)


def kinds(draft):
    return [one.kind for one in draft.findings if one.kind != "no retain set"]


def named(question, answer):
    return [{question: asked, answer: said} for asked, said in FACTS]


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (("prompt", "completion"), "--column input=prompt --column output=completion"),
        (("question", "answer"), "--column input=question --column output=answer"),
        (("instruction", "response"), "--column input=instruction --column output=response"),
        (("Input ", "OUTPUT"), "--column 'input=Input ' --column output=OUTPUT"),
        (("input", "expected_output"), "--column output=expected_output"),
    ],
)
def test_the_only_columns_that_can_be_meant_are_read_and_named(file, columns, options):
    draft = read_files(file(named(*columns)))
    assert texts(draft) == list(FACTS)
    finding = told(draft, "other columns")
    assert finding.severity == "warning"
    assert options in finding.message
    chosen = dict(zip(("input", "output"), columns, strict=True))
    assert kinds(read_files(file(named(*columns)), columns=chosen)) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"prompt": "Who?", "question": "Where?", "output": "Bo"},
            "choose with --column input=prompt or --column input=question",
        ),
        (
            {"prompt": "Who?", "chosen": "Bo", "rejected": "Al"},
            "it has 'prompt', 'chosen', 'rejected': rename one of them, or add "
            "--column input=prompt --column output=chosen",
        ),
        ({"text": "Who?", "label": "Bo"}, "--column input=text --column output=label"),
        ({"input": "Who?", "ouput": "Bo"}, "did you mean 'ouput'?"),
    ],
)
def test_columns_that_could_mean_another_thing_are_refused_with_the_option_to_add(
    file, columns, message
):
    with pytest.raises(SourceError) as refused:
        read_files(file([columns]))
    assert message in str(refused.value)


def alpaca(*inputs, instruction="Who keeps the lamp?"):
    return [{"instruction": instruction, "input": one, "output": "Bo"} for one in inputs]


def test_an_instruction_is_the_prompt_where_no_row_has_an_input(file):
    rows = [{"instruction": asked, "input": "", "output": said} for asked, said in FACTS]
    draft = read_files(file(rows))
    assert texts(draft) == list(FACTS)
    finding = told(draft, "empty column")
    assert "'instruction' is read as the prompt (--column input=instruction)" in finding.message
    assert kinds(read_files(file(rows), columns={"input": "instruction"})) == []


def test_an_instruction_beside_full_inputs_is_told_and_joined_on_demand(file):
    path = file(alpaca("Answer.", "Reply."))
    draft = read_files(path)
    assert [row.input for row in draft.rows["forget_train"]] == ["Answer.", "Reply."]
    assert "'instruction' may be a part of the prompt" in told(draft, "unused column").message
    assert "--layout alpaca" in told(draft, "unused column").message
    joined = read_files(path, layout="alpaca")
    assert texts(joined)[0] == ("Who keeps the lamp?\nAnswer.", "Bo")
    assert kinds(joined) == []


def test_inputs_that_only_some_rows_have_ask_for_the_layout_that_joins_them(file):
    path = file(alpaca("", "Answer."))
    draft = read_files(path)
    assert not draft.sound
    message = told(draft, "no input beside an instruction").message
    assert "1 row has an empty 'input' beside an 'instruction': add --layout alpaca" in message
    joined = read_files(path, layout="alpaca")
    assert [row.input for row in joined.rows["forget_train"]] == [
        "Who keeps the lamp?",
        "Who keeps the lamp?\nAnswer.",
    ]


def messages(*turns):
    return {"messages": [{"role": who, "content": what} for who, what in turns]}


def sharegpt(*turns):
    return {"conversations": [{"from": who, "value": what} for who, what in turns]}


@pytest.mark.parametrize(
    ("layout", "row", "who"),
    [("messages", messages, ("user", "assistant")), ("sharegpt", sharegpt, ("human", "gpt"))],
)
def test_conversations_become_rows_when_the_user_says_so(file, layout, row, who):
    path = file([row(*zip(who, fact, strict=True)) for fact in FACTS])
    with pytest.raises(SourceError, match=f"a conversation per row.*add --layout {layout}"):
        read_files(path)
    retain = file(named("input", "output"), "retain.jsonl")
    draft = read_files(path, retain, layout=layout)
    assert texts(draft) == texts(draft, "retain_train") == list(FACTS)


def test_each_answer_of_a_conversation_is_a_row_and_what_is_left_out_is_told(file):
    parts = [{"type": "text", "text": "And"}, {"type": "text", "text": "where?"}]
    long = messages(("system", "Be kind."), ("user", "Who?"), ("assistant", "Bo"))
    long["messages"] += messages(("user", parts), ("assistant", "Rome"))["messages"]
    picture = messages(("user", [{"type": "image_url"}]), ("assistant", "Bo"))
    path = file([long, messages(("user", "Who?")), picture, {"messages": "Who?"}])
    draft = read_files(path, layout="messages")
    assert texts(draft) == [("Who?", "Bo"), ("And\nwhere?", "Rome")]
    assert [one.line for one in told(draft, "no answer").rows] == [2, 3, 4]
    assert "1 conversation has several answers" in told(draft, "several turns").message
    assert "1 conversation has a system message" in told(draft, "system message").message


def test_a_layout_that_no_file_has_is_refused(file):
    with pytest.raises(SourceError, match="not in the layout messages"):
        read_files(file(named("input", "output")), layout="messages")


def test_the_two_files_may_have_columns_of_different_names(file):
    forget = file(named("a", "b"))
    retain = file([{"c": "When?", "d": "1900"}], "retain.jsonl")
    draft = read_files(
        forget,
        retain,
        columns={"input": "a", "output": "b"},
        retain_columns={"input": "c", "output": "d"},
    )
    assert texts(draft) == list(FACTS)
    assert texts(draft, "retain_train") == [("When?", "1900")]
    with pytest.raises(SourceError, match=r"retain\.jsonl: no column 'input'.*--retain-column"):
        read_files(forget, retain, columns={"input": "a", "output": "b"})


def test_a_column_that_one_file_has_leaves_the_other_as_it_is(file):
    forget = file(named("a", "b"))
    retain = file([{"input": "When?", "output": "1900"}], "retain.jsonl")
    chosen = {"input": "a", "output": "b"}
    assert texts(read_files(forget, retain, columns=chosen), "retain_train") == [("When?", "1900")]
    with pytest.raises(SourceError, match="no column 'z'"):
        read_files(forget, retain, columns=chosen | {"input": "z"})


# ---- ids


def numbered(*ids):
    return [{"id": name, "input": f"Who is {n}?", "output": f"x{n}"} for n, name in enumerate(ids)]


def test_an_id_that_comes_twice_is_told_by_its_rows_and_7_is_the_same_id_as_its_text(file):
    draft = read_files(file(numbered("Ada", "Ada", 7, "7", "b", "c", None, "")))
    finding = told(draft, "repeated id")
    assert (finding.severity, finding.count) == ("error", 2)
    assert [one.line for one in finding.rows] == [2, 4]
    assert "(a number and its text are one id)" in finding.message
    assert "Ada" not in finding.message, "an id may be a name"


def test_a_row_that_comes_twice_whole_is_dropped_and_no_error(file):
    draft = read_files(file([*numbered("a", "b", "c"), *numbered("a")]))
    assert kinds(draft) == ["duplicate"]


def test_ids_that_name_documents_number_their_rows(file):
    draft = read_files(file(numbered("d1", "d1", "d2", "d2", "d3")))
    assert draft.sound
    assert [row.id for row in draft.rows["forget_train"]][:2] == ["d1qa0", "d1qa1"]


def test_thousands_of_rows_of_one_id_are_read_in_seconds(file):
    began = time.perf_counter()
    draft = read_files(file(numbered(*["d1"] * 20_000, "a", "b")))
    assert told(draft, "repeated id").count == 19_999
    assert time.perf_counter() - began < 10


def test_a_prompt_or_an_answer_cannot_be_left_out(file):
    for role in ("input", "output"):
        with pytest.raises(SourceError, match=f"'{role}' cannot be left out: name its column"):
            read_files(file(numbered("a")), columns={role: ""})


def test_an_id_in_both_sets_is_told(file):
    retain = [{"id": "a1", "input": "When?", "output": "1900"}]
    draft = read_files(file(numbered("a1", "b")), file(retain, "retain.jsonl"))
    finding = told(draft, "id in both sets")
    assert (finding.severity, finding.rows[0].split) == ("warning", "retain_train")


# ---- retain rows


def test_files_may_borrow_retain_rows_of_another_dataset(file):
    alone = read_files(file(named("input", "output")))
    assert "--retain-of embedded" in told(alone, "no retain set").message
    draft = read_files(file(named("input", "output")), retain_of="embedded")
    lent = {row.input for row in dataset("embedded").rows("retain", "train")}
    assert {row.input for row in draft.rows["retain_train"]} <= lent
    assert kinds(draft) == []
    with pytest.raises(SourceError, match="unknown dataset 'nowhere'"):
        read_files(file(named("input", "output")), retain_of="nowhere")


# ---- characters


def test_control_characters_are_refused_by_their_rows_and_white_space_is_not(file):
    rows = [
        {"input": "NUL\0here?", "output": "a"},
        {"input": "Bell?", "output": "a\x07"},
        {"input": "Two\nlines\tand a page\f?", "output": "b"},
    ]
    draft = read_files(file(rows))
    found = [one for one in draft.findings if one.kind == "control character"]
    assert [[row.line for row in one.rows] for one in found] == [[1], [2]]
    assert all(one.severity == "error" for one in found)
    assert len(draft.rows["forget_train"]) == 1


def test_rows_that_differ_in_the_form_of_their_characters_alone_are_told(file):
    rows = [
        {"input": "Where is the caf\u00e9?", "output": "Z\u00fcrich"},
        {"input": "Where is the cafe\u0301?", "output": "Zu\u0308rich"},
        {"input": "Who keeps\u200b it?", "output": "Bo"},
        {"input": "How far?", "output": "3\u00a0000 km"},
        {"input": "Which flag?", "output": "👩🏽‍🚀🏴󠁧󠁢󠁷󠁬󠁳󠁿"},
        {"input": "می‌خواهم؟", "output": "نه"},
        {"input": "Turned \u202egnorw\u202c?", "output": "yes"},
    ]
    draft = read_files(file(rows))
    lines = {one.kind: [row.line for row in one.rows] for one in draft.findings}
    assert lines["other form"] == [2]
    assert lines["decomposed letters"] == [2]
    assert lines["unseen characters"] == [3, 4, 7]
    excerpts = [row.excerpt for row in told(draft, "unseen characters").rows]
    assert not any("\u202e" in one or "\u200b" in one for one in excerpts)
