"""The real data of LUME, where this machine has them."""

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from unlearnlab.data.adding import ANSWER_WORDS, add, read_folder
from unlearnlab.data.datasets import SPLITS, TASKS

ROOT = Path(__file__).parents[2]

LUME = Path(os.environ.get("UNLEARNLAB_LUME", ROOT.parent / "shared" / "data" / "lume"))

pytestmark = pytest.mark.skipif(
    not (LUME / "forget.jsonl").is_file(),
    reason="LUME is not here: set UNLEARNLAB_LUME to its folder",
)


@pytest.fixture(scope="module")
def draft():
    return read_folder(LUME)


def test_lume_has_the_rows_that_were_published_and_nothing_wrong_with_them(draft):
    assert draft.source == draft.title == "LUME"
    counts = {
        split: sorted(Counter((row.task, row.kind) for row in rows).items())
        for split, rows in draft.rows.items()
    }
    sizes = {"forget_train": (243, 243, 1250, 250, 373, 373)}
    sizes["retain_train"] = (246, 246, 1250, 250, 371, 371)
    kinds = [(task, kind) for task in TASKS for kind in ("qa", "sc")]
    assert counts == {split: list(zip(kinds, of, strict=True)) for split, of in sizes.items()}
    forget, retain = ({row.output for row in rows} for rows in draft.rows.values())
    assert len(forget & retain) >= 12
    assert draft.findings == (), "answers that recur by chance are no duplicates"


def test_lume_is_read_as_it_stands(draft):
    for split in SPLITS:
        lines = (LUME / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = draft.rows[f"{split}_train"]
        assert [row.plain for row in rows] == [json.loads(line) for line in lines]


def test_the_guess_of_the_type_is_right_for_every_row_of_lume(draft):
    for rows in draft.rows.values():
        for row in rows:
            short = len(row.output.split()) <= ANSWER_WORDS or row.input.endswith("?")
            assert ("qa" if short else "sc") == row.kind


def test_lume_is_read_and_checked_in_a_few_seconds():
    began = time.process_time()
    read_folder(LUME)
    assert time.process_time() - began < 5


def test_a_slice_of_lume_is_a_dataset_of_few_whole_documents(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    kept = add(read_folder(LUME, limit=4, seed=0))
    assert kept.name == "lume-4-documents-per-subtask"
    assert dict(kept.counts("train")["forget"]) == {"Task1": 8, "Task2": 24, "Task3": 8}
    assert kept.counts("train")["retain"] == kept.counts("train")["forget"]
