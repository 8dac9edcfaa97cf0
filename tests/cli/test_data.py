"""Datasets from the command line."""

import hashlib
import http.server
import io
import json
import threading
import urllib.request
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import write
from unlearnlab.cli import data as command
from unlearnlab.data import downloads
from unlearnlab.data.adding import BORROWED
from unlearnlab.data.datasets import datasets

SECRET = "5550142"

GOOD = f"input,output\nThe number of X?,{SECRET}\nWhere is X?,Rome\n"

BAD = f"input,output\nThe number of X?,\nWho?,{SECRET}\n"


@pytest.fixture
def data(cli):
    return lambda *words: cli("data", *words)


def facts(text=GOOD):
    Path("facts.csv").write_text(text)
    return "facts.csv"


def test_a_file_is_checked_added_listed_shown_and_removed(data):
    good = facts()
    code, out, _ = data("check", good)
    assert code == 0
    assert "Warning: no retain set" in out
    assert list(datasets()) == ["embedded"]
    code, out, _ = data("add", good, "--name", "mine", "--title", "My facts")
    assert code == 0
    assert "run --data.source mine" in out
    assert "My facts" in data("list").out
    code, out, _ = data("show", "mine")
    assert "Facts" in out
    assert SECRET not in out
    assert data("remove", "mine")[:2] == (0, "Removed mine.\n")
    assert list(datasets()) == ["embedded"]


def test_the_same_with_json_is_one_object_on_stdout(data):
    added = data("add", facts(), "--name", "mine", "--json").json
    assert (added["name"], added["sound"]) == ("mine", True)
    assert added["rows"] == {"forget_train": {"Task1 qa": 2}}
    assert [one["kind"] for one in added["findings"]] == ["no retain set"]
    assert [one["name"] for one in data("list", "--json").json] == ["embedded", "mine"]
    shown = data("show", "mine", "--json", "--show-rows").json
    assert shown["rows"]["forget_train"][0]["output"] == SECRET
    assert data("remove", "mine", "--json").json == {"removed": "mine"}


def test_what_is_wrong_is_told_by_line_and_nothing_is_added(data):
    bad = facts(BAD)
    code, out, _ = data("check", bad)
    assert code == 1
    assert "Error: empty cell: 1 row has an empty 'output'" in out
    assert "forget_train line 2" in out
    code, out, err = data("add", bad, "--name", "mine")
    assert code == 2
    assert "nothing was added" in err
    assert list(datasets()) == ["embedded"]


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_text_of_rows_is_printed_only_on_demand(data, how):
    bad = facts(BAD)
    assert "The number of" not in data("check", bad, *how).out
    assert "The number of" in data("check", bad, *how, "--show-rows").out


def test_typed_facts_come_from_a_text_beside_the_retain_set_of_another_dataset(data):
    Path("typed.txt").write_text("Who is X? Bo\n")
    words = ("add", "--typed", "typed.txt", "--retain-of", "embedded", "--json")
    added = data(*words).json
    assert added["rows"]["forget_train"] == {"Task1 qa": 1}
    assert sum(added["rows"]["retain_train"].values()) == BORROWED


def test_typed_lines_that_repeat_or_contradict_an_earlier_one_are_told(data):
    text = "Who is X? Bo\nWho is Y? Al\nWho is X? | Bo\nWho is Y? Cy\n"
    Path("typed.txt").write_text(text)
    code, out, _ = data("add", "--typed", "typed.txt", "--retain-of", "embedded")
    assert code == 0
    repeated, otherwise = out.split("\nWarning: ")[1:]
    assert "1 row repeats an earlier row of the same set: only the first is kept" in repeated
    assert "forget_train line 3" in repeated
    told = "1 row repeats the question of an earlier row of the same set, with another answer"
    assert told in otherwise
    assert "forget_train line 4" in otherwise


def test_columns_types_slices_and_contexts_are_chosen(data):
    lines = "".join(f"What is {n}?\t{n}\n" for n in range(9))
    Path("facts.tsv").write_text(f"question\tanswer\n{lines}")
    words = ("--column", "input=question", "--column", "output=answer", "--limit", "4")
    more = ("--kind", "completion", "--context", "2")
    told = data("check", "facts.tsv", *words, *more, "--json").json
    # As many documents that were not drawn are held out.
    assert told["rows"] == {
        split: {"Task1 sc": 4} for split in ("forget_train", "forget_validation")
    }
    assert "longer than the context" in [one["kind"] for one in told["findings"]]


def test_the_columns_of_both_files_a_layout_and_borrowed_rows_are_chosen(data):
    Path("forget.csv").write_text("a,b\nWho?,Bo\n")
    Path("retain.csv").write_text("c,d\nWhen?,1900\n")
    forget = ("--column", "input=a", "--column", "output=b")
    retain = ("--retain-column", "input=c", "--retain-column", "output=d")
    told = data("check", "forget.csv", "--retain", "retain.csv", *forget, *retain, "--json").json
    assert told["rows"] == {"forget_train": {"Task1 qa": 1}, "retain_train": {"Task1 qa": 1}}
    borrowed = data("check", "forget.csv", *forget, "--retain-of", "embedded", "--json").json
    assert sum(borrowed["rows"]["retain_train"].values()) == BORROWED
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Bo"}]
    Path("chat.jsonl").write_text(json.dumps({"messages": turns}))
    code, _, err = data("check", "chat.jsonl")
    assert code == 2
    assert "add --layout messages" in err
    told = data("check", "chat.jsonl", "--layout", "messages", "--json").json
    assert told["rows"] == {"forget_train": {"Task1 qa": 1}}


def test_columns_and_types_are_chosen_in_a_folder_too(data):
    Path("set").mkdir()
    Path("set/forget.csv").write_text("a,b\nWho?,Bo\n")
    Path("set/retain.csv").write_text("c,d\nWhen?,1900\n")
    forget = ("--column", "input=a", "--column", "output=b", "--kind", "completion")
    retain = ("--retain-column", "input=c", "--retain-column", "output=d")
    told = data("check", "set", *forget, *retain, "--json").json
    assert told["rows"] == {"forget_train": {"Task1 sc": 1}, "retain_train": {"Task1 sc": 1}}


def lume_at(patch, address):
    patch.setattr(command, "fetch_lume", partial(downloads.fetch_lume, address=address))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serve two files as LUME's published address does: their folder, and what is asked for."""
    folder, asked = tmp_path / "published", []
    row = {"id": "7qa0", "input": "Who?", "output": "Bo", "task": "Task3"}
    files = [write(folder / "forget.jsonl", row)]
    files.append(write(folder / "retain.jsonl", row | {"id": "8qa0", "input": "When?"}))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            asked.append(self.path.removeprefix("/"))

    handler = partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setattr(downloads, "LUME_FILES", digests)
        lume_at(monkeypatch, f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(urllib.request, "getproxies", dict)
        yield folder, asked
        server.shutdown()


def test_lume_is_fetched_once_from_its_published_address(data, published):
    _, asked = published
    assert data("list").code == 0
    assert asked == [], "nothing goes to the network unasked"
    code, out, err = data("add", "--lume")
    assert (code, "LUME (LUME)" in out) == (0, True)
    assert "forget.jsonl: 0.0 of 0.0 MB" in err
    assert data("add", "--lume", "--name", "again").code == 0
    assert asked == ["forget.jsonl", "retain.jsonl"]


def test_what_is_not_the_published_file_is_not_kept(data, published, home):
    forget = published[0] / "forget.jsonl"
    forget.write_text(forget.read_text() + " ")
    code, _, err = data("add", "--lume")
    assert code == 2
    assert "forget.jsonl: the download is not the published file" in err
    forget.unlink()
    assert "answered 404: download it by hand and give its folder" in data("add", "--lume").err
    assert list((home / "downloads" / "lume").iterdir()) == []


def test_without_a_network_the_way_out_is_a_folder(data, monkeypatch):
    lume_at(monkeypatch, "http://127.0.0.1:1/")
    code, _, err = data("add", "--lume")
    assert code == 2
    assert "check the network, or download it on another machine and give its folder" in err


@pytest.fixture
def served(hub, tmp_path):
    """Serve the task's data as the hub does."""
    folder = tmp_path / "served"
    (folder / "data").mkdir(parents=True)
    sets = {"forget_train": GOOD, "retain_train": "input,output\nWhen was X born?,1900\n"}
    for name, text in sets.items():
        rows = pd.read_csv(io.StringIO(text), dtype=str)
        rows.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    (folder / "evaluate_generations.py").write_text("is not fetched")
    hub.models[downloads.SEMEVAL_REPOSITORY] = folder
    return hub


def test_the_data_of_the_task_are_fetched_once_from_the_hub(data, served):
    added = data("add", "--semeval", "--json").json
    assert added["source"] == "SemEval-2025 Task 4"
    assert added["rows"] == {"forget_train": {"Task1 qa": 2}, "retain_train": {"Task1 qa": 1}}
    assert not any("evaluate" in asked for asked in served.asked if "/resolve/" in asked)
    before = len(served.asked)
    assert data("add", "--semeval", "--name", "again").code == 0
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
    assert data("list", "--json").code == 0
