"""Every kind of bad file tells what it is, and what to do."""

import contextlib
import io
import json
import os
import pickle
import random
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from unlearnlab.data import reading
from unlearnlab.data.adding import (
    SourceError,
    add,
    columns_of,
    read_files,
    read_folder,
    read_typed,
)
from unlearnlab.data.datasets import datasets, datasets_folder

ROWS = [{"input": "Who keeps the lamp?", "output": "Bo"}, {"input": "Where?", "output": "Rome"}]

JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()

CSV = b"input,output\nWho keeps the lamp?,Bo\nWhere?,Rome\n"


def parquet_bytes(rows=ROWS):
    buffer = io.BytesIO()
    names = pa.Table.from_pylist(ROWS).schema
    table = pa.Table.from_pylist(rows) if rows else names.empty_table()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return buffer.getvalue()


def jsonl(*rows):
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


REFUSED = {
    "empty file": ("a.jsonl", b"", "the file is empty"),
    "nothing but blank lines": ("a.csv", b"\n\n", "it has no rows"),
    "names of columns alone": ("a.csv", b"input,output\n", "no rows below the column names"),
    "empty array": ("a.json", b"[]", "it has no rows"),
    "parquet without rows": ("a.parquet", parquet_bytes([]), "it has no rows"),
    "parquet called csv": ("a.csv", parquet_bytes(), "rename it to a.parquet"),
    "csv called parquet": ("a.parquet", CSV, "not a Parquet file"),
    "json lines called csv": ("a.csv", JSONL, "rename it to a.jsonl"),
    "csv called jsonl": ("a.jsonl", CSV, "rename a comma-separated table to .csv"),
    "picture called jsonl": ("a.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG picture"),
    "pdf called csv": ("a.csv", b"%PDF-1.7\n", "a PDF document"),
    "gzip called jsonl": ("a.jsonl", b"\x1f\x8b\x08" + bytes(20), "a gzip archive"),
    "excel workbook": ("a.xlsx", zipped("xl/workbook.xml"), "save the sheet as CSV UTF-8"),
    "excel called csv": ("a.csv", zipped("xl/workbook.xml"), "an Excel workbook"),
    "zip": ("a.zip", zipped("forget.jsonl"), "unpack it"),
    "zip called csv": ("a.csv", zipped("forget.jsonl"), "a ZIP archive"),
    "torch pickle called jsonl": ("a.jsonl", zipped("archive/data.pkl"), "a PyTorch pickle"),
    "pickle called csv": ("a.csv", pickle.dumps(ROWS), "a pickle by its content"),
    "pickle": ("a.pt", b"anything", "a pickle can run code, so it is not opened"),
    "web page called csv": ("a.csv", b"\n<!DOCTYPE html><html>", "a web page"),
    "binary called csv": ("a.csv", b"ab\x00\x01\x02cd" * 9, "binary, not text"),
    "utf-16 without its mark": (
        "a.csv",
        CSV.decode().encode("utf-16-le"),
        "looks like UTF-16 without a byte-order mark",
    ),
    "half a utf-16 character": ("a.csv", CSV.decode().encode("utf-16")[:-1], "broken UTF-16"),
    "unknown ending": ("a.docx", b"text", "unsupported extension .docx"),
    "no ending": ("a", b"text", "unsupported extension (none)"),
    "truncated parquet": ("a.parquet", parquet_bytes()[:-9], "truncated or damaged Parquet"),
    "array that breaks off": ("a.json", b'[\n{"input": "a", "output": "b"},\n{"inp', "at line 3"),
    "object around rows": ("a.json", b'{\n"data": [\n{"a": 1}]}', "one object, not rows"),
    "lines that are arrays": ("a.jsonl", b'["a", "b"]\n["c", "d"]', "is not a JSON object"),
    "columns of one name": ("a.csv", b"input,output,input\na,b,c\n", "two columns are called 'inp"),
    "missing column": ("a.csv", b"input,result\na,b\n", "no column 'output': it has 'input', 'res"),
    "open quote after uneven rows": (
        "a.csv",
        b'input,output\na,b\nc,d,e\nf,"g\n',
        "line 4 cannot be read (unexpected end of data): is a quote left open? Another number of "
        "cells than the first line: line 3.",
    ),
    "misspelt column": ("a.csv", b"input,ouput\na,b\n", "did you mean 'ouput'?"),
    "no names of columns": ("a.csv", b"Who is X?,Bo\nWho is Y?,Al\n", "the first line must name"),
    "open quote": ("a.csv", b'input,output\na,"b\nc,d\n', "begins at line 2"),
    "many subtasks": (
        "a.csv",
        b"input,output,task\na,b,one\nc,d,two\ne,f,three\ng,h,four\n",
        "4 different subtasks",
    ),
}


@pytest.mark.parametrize(("name", "content", "told"), REFUSED.values(), ids=list(REFUSED))
def test_a_file_that_cannot_be_read_says_why_by_its_name(tmp_path, name, content, told):
    path = tmp_path / "folder" / name
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SourceError) as refused:
        read_files(path)
    assert told in str(refused.value)
    assert str(refused.value).startswith((f"{name}: ", "task: "))
    assert str(tmp_path) not in str(refused.value), "a path may tell more than its file's name"


TWICE = '{"input": "a", "input": "b", "output": "c"}'

FOUND = {
    "broken line": (
        ("a.jsonl", jsonl(ROWS[0], '{"input": "a"', ROWS[1])),
        ("broken line", "1 line is not a JSON object: fix or remove it", [2]),
    ),
    "key twice": (("a.jsonl", jsonl(ROWS[0], TWICE)), ("broken line", "1 line", [2])),
    "nested without end": (
        ("a.jsonl", jsonl(ROWS[0], "[" * 99999)),
        ("broken line", "1 line", [2]),
    ),
    "latin-1 lines in utf-8": (
        ("a.csv", "input,output\nWho?,José\n".encode() + "Where?,Orléans\n".encode("latin-1")),
        ("mixed encodings", "1 line is not UTF-8", [3]),
    ),
    "empty cell": (
        ("a.csv", b"input,output\na,\nb, \nc,d\n"),
        ("empty cell", "2 rows", [2, 3]),
    ),
    "null": (
        ("a.jsonl", jsonl(ROWS[0], {"input": "a", "output": None})),
        ("empty cell", "1 row", [2]),
    ),
    "nan": (
        ("a.jsonl", jsonl(ROWS[0], '{"input": "a", "output": NaN}')),
        ("empty cell", "1 row", [2]),
    ),
    "list": (
        ("a.jsonl", jsonl(ROWS[0], {"input": "a", "output": []})),
        ("wrong type", "1 row", [2]),
    ),
    "object": (
        ("a.json", jsonl({"input": "a", "output": {"b": 1}})),
        ("wrong type", "1 row", [1]),
    ),
    "list in parquet": (
        ("a.parquet", parquet_bytes([{"input": "a", "output": ["b"]}])),
        ("wrong type", "a list or an object as 'output'", [1]),
    ),
    "row without the column": (
        ("a.jsonl", jsonl(ROWS[0], {"input": "a"})),
        ("missing column", "1 row has no 'output' at all", [2]),
    ),
    "half a character": (
        ("a.jsonl", jsonl(ROWS[0], '{"input": "a", "output": "\\ud83d"}')),
        ("broken character", "1 row has half a character", [2]),
    ),
    "too many cells": (
        ("a.csv", b"input,output\na,b,c\nd,e\n"),
        ("wrong number of cells", "1 row does not have 2 cells", [2]),
    ),
    "repeated id": (
        ("a.csv", b"id,input,output\n7sc1,a,b\n7sc1,c,d\n"),
        ("repeated id", "1 row has the id of another row", [3]),
    ),
    "row of the other set": (
        ("a.csv", b"input,output,split\na,b,forget\nc,d,retain\n"),
        ("another set", "1 row is not in the forget set", [3]),
    ),
}


@pytest.mark.parametrize(("file", "finding"), FOUND.values(), ids=list(FOUND))
def test_what_is_wrong_with_some_rows_is_counted_with_their_lines(tmp_path, file, finding):
    (name, content), (kind, told, lines) = file, finding
    (tmp_path / name).write_bytes(content)
    draft = read_files(tmp_path / name)
    found = next(one for one in draft.findings if one.kind == kind)
    assert told in found.message
    assert (found.severity, found.count) == ("error", len(lines))
    assert [row.line for row in found.rows] == lines
    assert not draft.sound


ACCEPTED = {
    "json lines": ("a.jsonl", JSONL),
    "windows ends of lines": ("a.jsonl", JSONL.replace(b"\n", b"\r\n")),
    "old ends of lines": ("a.csv", CSV.replace(b"\n", b"\r")),
    "blank lines": ("a.jsonl", JSONL.replace(b"\n", b"\n\n")),
    "array": ("a.json", json.dumps(ROWS, indent=2).encode()),
    "as pandas writes it": (
        "a.jsonl",
        json.dumps({k: {str(n): row[k] for n, row in enumerate(ROWS)} for k in ROWS[0]}).encode(),
    ),
    "csv": ("a.csv", CSV),
    "csv with semicolons": ("a.csv", CSV.replace(b",", b";")),
    "csv with a last empty row": ("a.CSV", CSV + b",\n"),
    "tsv": ("a.tsv", CSV.replace(b",", b"\t")),
    "parquet": ("a.parquet", parquet_bytes()),
    "parquet with bytes": (
        "a.parquet",
        parquet_bytes([{k: v.encode() for k, v in row.items()} for row in ROWS]),
    ),
    "byte-order mark": ("a.csv", b"\xef\xbb\xbf" + CSV),
    "utf-16": ("a.csv", CSV.decode().encode("utf-16")),
    "utf-16 json": ("a.jsonl", JSONL.decode().encode("utf-16")),
    "white space around": ("a.csv", CSV.replace(b",Bo", b",  Bo ")),
}


@pytest.mark.parametrize(("name", "content"), ACCEPTED.values(), ids=list(ACCEPTED))
def test_the_same_rows_come_out_of_every_layout(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    draft = read_files(path)
    rows = draft.rows["forget_train"]
    assert [{"input": row.input, "output": row.output} for row in rows] == ROWS
    assert draft.sound
    assert columns_of(path) == ["input", "output"]


def test_a_row_of_csv_may_hold_quotes_and_new_lines_and_keeps_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('input,output\n"Say ""hi"",\nthen go",now\n\nWho?,\n', newline="")
    draft = read_files(path)
    assert draft.rows["forget_train"][0].input == 'Say "hi",\nthen go'
    assert [row.line for row in draft.findings[0].rows] == [5]


def test_numbers_are_text_as_they_are_written(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"input": "How many?", "output": 1.50}\n{"input": "So?", "output": true}\n')
    assert [row.output for row in read_files(path).rows["forget_train"]] == ["1.50", "true"]


@pytest.mark.parametrize("name", ["a[1].parquet", "a*.parquet", "a::b.parquet", "https::x.pq"])
def test_a_parquet_file_is_read_whatever_its_name_and_leaves_no_copy(tmp_path, monkeypatch, name):
    for variable, folder in (("HF_HOME", "cache"), ("TMPDIR", "temporary")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / name).write_bytes(parquet_bytes())
    assert len(read_files(tmp_path / name).rows["forget_train"]) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name]


def test_a_parquet_file_is_read_where_nothing_can_be_linked(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(22, "a privilege is missing")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (tmp_path / "a.parquet").write_bytes(parquet_bytes())
    assert len(read_files(tmp_path / "a.parquet").rows["forget_train"]) == 2


@pytest.mark.parametrize("answer", ["B", 4, None])
def test_an_answer_of_the_quiz_that_is_no_place_is_told_with_its_line(tmp_path, answer):
    (tmp_path / "forget.jsonl").write_bytes(JSONL)
    quiz = {"question": "?", "subject": "s", "choices": list("abcd"), "answer": answer}
    (tmp_path / "quiz").mkdir()
    (tmp_path / "quiz" / "test.jsonl").write_text(json.dumps(quiz))
    with pytest.raises(SourceError, match=rf"line 1: the answer '{answer}' is not the place of"):
        read_folder(tmp_path)


def test_reading_parquet_leaves_torch_unloaded_and_draws_no_progress_bar(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet_bytes())
    code = (
        "import sys; from pathlib import Path;"
        "from unlearnlab.data.adding import read_files;"
        "assert 'datasets' not in sys.modules; read_files(Path(sys.argv[1]));"
        "assert 'datasets' in sys.modules and 'torch' not in sys.modules"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.parquet")]
    ended = subprocess.run(words, check=True, capture_output=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (b"", b"")


def test_a_parquet_file_may_have_row_groups_without_rows(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    with parquet.ParquetWriter(tmp_path / "a.parquet", table.schema) as file:
        for part in (table.slice(0, 0), table, table.slice(0, 0)):
            file.write_table(part)
    assert len(read_files(tmp_path / "a.parquet").rows["forget_train"]) == 2


def test_a_picture_in_parquet_is_neither_decoded_nor_fetched(tmp_path):
    rows = [row | {"look": {"bytes": None, "path": "http://127.0.0.1:1/x.png"}} for row in ROWS]
    image = {"info": {"features": {"look": {"_type": "Image"}}}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(image)})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert len(read_files(tmp_path / "a.parquet").rows["forget_train"]) == 2


def test_a_column_of_maps_is_left_out(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    maps = pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64()))
    parquet.write_table(table.append_column("meta", maps), tmp_path / "a.parquet")
    assert columns_of(tmp_path / "a.parquet") == ["input", "output"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_says_so(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(CSV)
    path.chmod(0)
    try:
        with pytest.raises(SourceError, match=r"a\.csv: permission denied"):
            read_files(path)
    finally:
        path.chmod(stat.S_IRUSR)


def test_what_is_no_file_at_all_says_so(tmp_path):
    folder = tmp_path / "a.csv"
    folder.mkdir()
    with pytest.raises(SourceError, match=r"a\.csv: .*a folder where a file is expected"):
        read_files(folder)
    with pytest.raises(SourceError, match=r"b\.csv: there is no such file"):
        read_files(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("name", "content"), [ACCEPTED[kind] for kind in ("json lines", "csv", "parquet")]
)
def test_more_rows_than_a_run_can_work_through_are_refused(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(reading, "MAX_ROWS", 1)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match="more than 1 rows in one file"):
        read_files(tmp_path / name)


def test_a_file_larger_than_memory_should_hold_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(SourceError, match="3 MiB, more than 1 MiB"):
        read_files(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [*(of[:2] for of in REFUSED.values()), *(file for file, _ in FOUND.values())],
    ids=[*REFUSED, *(f"found {name}" for name in FOUND)],
)
def test_a_bad_file_leaves_what_was_there_before(tmp_path, monkeypatch, name, content):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    kept = add(read_typed("Who keeps the lamp? Bo"), "mine")
    before = {path.name: path.read_bytes() for path in kept.folder.iterdir()}
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError):
        add(read_files(path), "mine", replace=True)
    assert {path.name: path.read_bytes() for path in kept.folder.iterdir()} == before
    assert list(datasets()) == ["embedded", "mine"]
    assert [path.name for path in datasets_folder().iterdir()] == ["mine"]


def test_a_damaged_file_is_refused_or_found_bad_and_nothing_worse(tmp_path):
    draw = random.Random(0)
    good = {"a.parquet": parquet_bytes(), "a.jsonl": JSONL, "a.csv": CSV}
    good["a.json"] = json.dumps(ROWS).encode()
    good["b.csv"] = CSV.decode().encode("utf-16")
    for name, content in list(good.items()) * 40:
        data, at = bytearray(content), draw.randrange(len(content))
        data[at : at + draw.randrange(9)] = draw.choice([b"", b'"', b"\0", b"\xff", b"{", b"\n,"])
        (tmp_path / name).write_bytes(data)
        with contextlib.suppress(SourceError):
            read_files(tmp_path / name)
