"""Datasets from the command line."""

import hashlib
import http.server
import io
import json
import threading
import urllib.request

import pandas as pd
import pytest

from unlearnlab.cli import data as command
from unlearnlab.cli.main import main
from unlearnlab.data import downloads
from unlearnlab.data.adding import BORROWED
from unlearnlab.data.datasets import datasets

SECRET = "5550142"

GOOD = f"input,output\nThe number of X?,{SECRET}\nWhere is X?,Rome\n"


@pytest.fixture
def data(tmp_path, monkeypatch, capsys):
    """Carry out a command of `data` and return exit code, stdout and stderr."""
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            code = main(["data", *words])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def good(tmp_path):
    (tmp_path / "facts.csv").write_text(GOOD)
    return "facts.csv"


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "bad.csv").write_text(f"input,output\nThe number of X?,\nWho?,{SECRET}\n")
    return "bad.csv"


def test_a_file_is_checked_added_listed_shown_and_removed(data, good):
    code, out, _ = data("check", good)
    assert code == 0
    assert "Warning: no retain set" in out
    assert list(datasets()) == ["embedded"]
    code, out, _ = data("add", good, "--name", "mine", "--title", "My facts")
    assert code == 0
    assert "run --data.source mine" in out
    assert "My facts" in data("list")[1]
    code, out, _ = data("show", "mine")
    assert "Facts" in out
    assert SECRET not in out
    assert data("remove", "mine")[:2] == (0, "Removed mine.\n")
    assert list(datasets()) == ["embedded"]


def test_the_same_with_json_is_one_object_on_stdout(data, good):
    added = json.loads(data("add", good, "--name", "mine", "--json")[1])
    assert (added["name"], added["sound"]) == ("mine", True)
    assert added["rows"] == {"forget_train": {"Task1 qa": 2}}
    assert [one["kind"] for one in added["findings"]] == ["no retain set"]
    listed = json.loads(data("list", "--json")[1])
    assert [one["name"] for one in listed] == ["embedded", "mine"]
    shown = json.loads(data("show", "mine", "--json", "--show-rows")[1])
    assert shown["rows"]["forget_train"][0]["output"] == SECRET
    assert json.loads(data("remove", "mine", "--json")[1]) == {"removed": "mine"}


def test_what_is_wrong_is_told_by_line_and_nothing_is_added(data, bad):
    code, out, _ = data("check", bad)
    assert code == 1
    assert "Error: empty cell: 1 row has an empty 'output'" in out
    assert "forget_train line 2" in out
    code, out, err = data("add", bad, "--name", "mine")
    assert code == 2
    assert "nothing was added" in err
    assert list(datasets()) == ["embedded"]


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_text_of_rows_is_printed_only_on_demand(data, bad, how):
    assert "The number of" not in data("check", bad, *how)[1]
    assert "The number of" in data("check", bad, *how, "--show-rows")[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check", "nowhere"), "nowhere: there is no such folder"),
        (("check", "--forget", "nowhere.csv"), "nowhere.csv: there is no such file"),
        (("check", "--forget", "facts.csv", "--column", "answer=x"), "--column answer"),
        (("show", "nothing"), "unknown dataset 'nothing'"),
        (("remove", "embedded"), "embedded: comes with the program"),
        (("check",), "one of the arguments"),
        (("check", "facts.csv", "--lume"), "not allowed with"),
        (("check", "facts.csv", "--limit", "0"), "--limit"),
    ],
)
def test_bad_input_ends_with_two_and_says_what_is_wrong(data, good, words, told):
    code, out, err = data(*words)
    assert code == 2
    assert told in err
    assert out == ""


def test_typed_facts_come_from_a_text_beside_the_retain_set_of_another_dataset(data, tmp_path):
    (tmp_path / "typed.txt").write_text("Who is X? Bo\n")
    words = ("add", "--typed", "typed.txt", "--retain-of", "embedded", "--json")
    added = json.loads(data(*words)[1])
    assert added["rows"]["forget_train"] == {"Task1 qa": 1}
    assert sum(added["rows"]["retain_train"].values()) == BORROWED


def test_typed_lines_that_repeat_or_contradict_an_earlier_one_are_told(data, tmp_path):
    text = "Who is X? Bo\nWho is Y? Al\nWho is X? | Bo\nWho is Y? Cy\n"
    (tmp_path / "typed.txt").write_text(text)
    code, out, _ = data("add", "--typed", "typed.txt", "--retain-of", "embedded")
    assert code == 0
    repeated, otherwise = out.split("\nWarning: ")[1:]
    assert "1 row repeats an earlier row of the same set: only the first is kept" in repeated
    assert "forget_train line 3" in repeated
    told = "1 row repeats the question of an earlier row of the same set, with another answer"
    assert told in otherwise
    assert "forget_train line 4" in otherwise


def test_columns_types_slices_and_contexts_are_chosen(data, tmp_path):
    lines = "".join(f"What is {n}?\t{n}\n" for n in range(9))
    (tmp_path / "facts.tsv").write_text(f"question\tanswer\n{lines}")
    words = ("--column", "input=question", "--column", "output=answer", "--limit", "4")
    more = ("--kind", "completion", "--context", "2")
    told = json.loads(data("check", "facts.tsv", *words, *more, "--json")[1])
    assert told["rows"] == {"forget_train": {"Task1 sc": 4}}
    assert "longer than the context" in [one["kind"] for one in told["findings"]]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serve two files as LUME's published address does; what was asked for is listed."""
    asked = []
    row = {"id": "7qa0", "input": "Who?", "output": "Bo", "task": "Task3"}
    other = row | {"id": "8qa0", "input": "When?"}
    files = {"forget.jsonl": json.dumps(row).encode(), "retain.jsonl": json.dumps(other).encode()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path.removeprefix("/"))
            content = files.get(asked[-1])
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(
        downloads, "LUME_FILES", {k: hashlib.sha256(v).hexdigest() for k, v in files.items()}
    )
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(
        command, "fetch_lume", lambda told: downloads.fetch_lume(told, address=address)
    )
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    yield asked, files
    server.shutdown()
    server.server_close()


def test_lume_is_fetched_once_from_its_published_address(data, published):
    asked, _ = published
    assert data("list")[0] == 0
    assert asked == [], "nothing goes to the network unasked"
    code, out, err = data("add", "--lume")
    assert (code, "LUME (LUME)" in out) == (0, True)
    assert "forget.jsonl: 0.0 of 0.0 MB" in err
    assert data("add", "--lume", "--name", "again")[0] == 0
    assert asked == ["forget.jsonl", "retain.jsonl"]


def test_what_is_not_the_published_file_is_not_kept(data, published, tmp_path):
    _, files = published
    files["forget.jsonl"] += b" "
    code, _, err = data("add", "--lume")
    assert code == 2
    assert "forget.jsonl: the download is not the published file" in err
    files.pop("forget.jsonl")
    assert "answered 404: download it by hand and give its folder" in data("add", "--lume")[2]
    assert list((tmp_path / "home" / "downloads" / "lume").iterdir()) == []


def test_without_a_network_the_way_out_is_a_folder(data, monkeypatch):
    address = "http://127.0.0.1:1/"
    monkeypatch.setattr(
        command, "fetch_lume", lambda told: downloads.fetch_lume(told, address=address)
    )
    code, _, err = data("add", "--lume")
    assert code == 2
    assert "check the network, or download it on another machine and give its folder" in err


@pytest.fixture
def served(hub, tmp_path):
    """Serve the task's data as the hub does."""
    write = {"forget_train": GOOD, "retain_train": "input,output\nWhen was X born?,1900\n"}
    folder = tmp_path / "served"
    (folder / "data").mkdir(parents=True)
    for name, text in write.items():
        rows = pd.read_csv(io.StringIO(text), dtype=str)
        rows.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    (folder / "evaluate_generations.py").write_text("is not fetched")
    hub.models[downloads.SEMEVAL_REPOSITORY] = folder
    return hub


def test_the_data_of_the_task_are_fetched_once_from_the_hub(data, served):
    added = json.loads(data("add", "--semeval", "--json")[1])
    assert added["source"] == "SemEval-2025 Task 4"
    assert added["rows"] == {"forget_train": {"Task1 qa": 2}, "retain_train": {"Task1 qa": 1}}
    assert not any("evaluate" in asked for asked in served.asked if "/resolve/" in asked)
    before = len(served.asked)
    assert data("add", "--semeval", "--name", "again")[0] == 0
    assert len(served.asked) == before


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (lambda hub: hub.gated.add(downloads.SEMEVAL_REPOSITORY), "dataset's page, then log in"),
        (lambda hub: hub.models.clear(), "the hub has no such dataset, or it is private"),
        (lambda hub: setattr(hub, "broken", 503), "try again later"),
    ],
)
def test_a_hub_that_does_not_give_the_data_says_how_to_get_them(data, served, trouble, told):
    trouble(served)
    code, out, err = data("add", "--semeval")
    assert (code, out) == (2, "")
    assert told in err
    assert "the task's organisers give a token on registration" in err
    assert data("list", "--json")[0] == 0


def test_what_is_no_repository_is_refused(data):
    code, _, err = data("add", "--semeval", "a b")
    assert code == 2
    assert "not the id of a dataset on the hub: write it as org/name" in err
