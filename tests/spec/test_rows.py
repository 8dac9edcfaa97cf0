"""What a run does not train on: text for perplexity, and rows that may stand for non-members."""

import pytest

from unlearnlab.data.datasets import MANIFEST, datasets_folder, write_lines, write_text
from unlearnlab.data.downloads import SEMEVAL
from unlearnlab.models import catalog
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.spec.rows import HELD_OUT_DOCUMENTS, evenly, fingerprint, held_out, load
from unlearnlab.spec.run import DataSpec

ANY = ModelInfo("somebody/model", "A model", None, "somebody/model")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))


def rows(name, count=3, kinds=("sc1", "qa0")):
    return [
        {"id": f"{name}-{n}-{kind}", "input": f"{name} {n} {kind}", "output": "x", "task": "Task1"}
        for n in range(count)
        for kind in kinds
    ]


def added(*, source="own files", folds=("train", "validation"), count=3, kinds=("sc1", "qa0")):
    folder = datasets_folder() / "mine"
    for split in ("forget", "retain"):
        for fold in folds:
            write_lines(folder / f"{split}_{fold}.jsonl", rows(f"{split}-{fold}", count, kinds))
    write_text(folder / MANIFEST, f'{{"title": "Mine", "source": "{source}", "personal": true}}')
    return DataSpec(source="mine")


def test_a_part_of_a_sequence_reaches_from_its_begin_to_its_end():
    assert evenly(range(10), 6) == (0, 1, 3, 5, 6, 8)
    assert evenly(range(9), 3) == (0, 3, 6)
    assert evenly(range(3), 5) == (0, 1, 2)
    assert evenly([], 5) == ()


def test_documents_of_the_other_fold_stand_for_non_members_and_are_named_so():
    found = held_out(added(), ANY)
    assert found.members == tuple(f"forget-train {n} sc1 x" for n in range(3))
    assert found.nonmembers == tuple(
        f"{split}-validation {n} sc1 x" for split in ("forget", "retain") for n in range(3)
    )
    assert found.protocol.startswith("held-out rows as non-members: 6 documents of the validation")
    assert "not comparable with the official attack" in found.protocol
    assert found.text == tuple(f"retain-validation {n} sc1 x" for n in range(3))
    assert "validation fold, which the run does not train on" in found.source


def test_the_other_way_round_the_train_fold_is_held_out():
    found = held_out(added().model_copy(update={"fold": "validation"}), ANY)
    assert all(text.startswith("forget-validation") for text in found.members)
    assert all("-train" in text for text in found.nonmembers)
    assert "of the train fold" in found.protocol


def test_questions_alone_are_taken_whole():
    found = held_out(added(kinds=("qa0", "qa1")), ANY)
    assert len(found.members) == 6
    assert len(found.nonmembers) == 12


def test_no_more_documents_are_measured_than_the_tasks_attack_has():
    found = held_out(added(count=200), ANY)
    assert {len(found.members), len(found.nonmembers), len(found.text)} == {HELD_OUT_DOCUMENTS}
    assert {text.split()[0] for text in found.nonmembers} == {
        "forget-validation", "retain-validation"
    }  # fmt: skip


def test_the_datas_own_documents_stay_the_attack():
    found = held_out(DataSpec(), catalog.models()["tiny-olmo"])
    assert (found.members, found.nonmembers, found.protocol) == ((), (), "")
    assert found.text


def test_rows_that_the_organisers_taught_their_model_are_no_non_members():
    found = held_out(added(source=SEMEVAL), catalog.models()["olmo-1b"])
    assert found.nonmembers == ()
    assert "taught this model both folds" in found.protocol
    assert held_out(added(source=SEMEVAL), ANY).nonmembers
    assert held_out(added(), catalog.models()["olmo-1b"]).nonmembers


def test_rows_that_were_taught_here_are_no_non_members():
    spec = added()

    def made_of(fold, source="mine", **more):
        data = fingerprint(DataSpec(source=source, fold=fold))
        return ModelInfo("kept", "kept", None, made={"dataset": source, "data": data, **more})

    assert "was taught 6 of them" in held_out(spec, made_of("validation")).protocol
    assert held_out(spec, made_of("train")).nonmembers
    # Whatever the data were called when they were taught.
    (datasets_folder() / "mine").rename(datasets_folder() / "whole")
    added()
    for split in ("forget", "retain"):
        write_lines(datasets_folder() / "whole" / f"{split}_train.jsonl", [
            *rows(f"{split}-train"), *rows(f"{split}-validation")
        ])  # fmt: skip
    assert "was taught 6 of them" in held_out(spec, made_of("train", "whole")).protocol


def test_what_the_base_of_a_model_was_taught_counts_too(monkeypatch):
    spec = added(source=SEMEVAL)
    made = {"dataset": "mine", "data": fingerprint(spec), "model": "olmo-1b"}
    assert "both folds" in held_out(spec, ModelInfo("kept", "kept", None, made=made)).protocol


def test_without_a_second_fold_there_is_neither_and_the_reason_is_given():
    found = held_out(added(folds=("train",)), ANY)
    assert (found.text, found.source, found.nonmembers) == ((), "", ())
    assert "no documents for the attack and no second fold" in found.protocol


def test_retain_rows_alone_are_text_for_perplexity_and_no_non_members():
    spec = added()
    (datasets_folder() / "mine" / "forget_validation.jsonl").unlink()
    found = held_out(spec, ANY)
    assert len(found.text) == 3
    assert found.nonmembers == ()
    assert "no second fold" in found.protocol


def test_held_out_text_is_no_part_of_a_folds_fingerprint():
    spec = added()
    before = load(spec).fingerprint
    for split in ("forget", "retain"):
        (datasets_folder() / "mine" / f"{split}_validation.jsonl").unlink()
    assert load(spec).fingerprint == before
