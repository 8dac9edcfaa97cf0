"""The embedded model's files as they are committed, and its recipe on a toy."""

import json
from itertools import chain
from types import ModuleType

import pytest
from tokenizers import Tokenizer

from unlearnlab.data.embedded import corpus
from unlearnlab.data.files import EMBEDDED

CHECKPOINTS = ("original", "retrained")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(EMBEDDED / "original" / "tokenizer.json"))


def test_both_checkpoints_fit_in_fifteen_megabytes():
    sizes = [path.stat().st_size for path in EMBEDDED.rglob("*") if path.is_file()]
    assert sum(sizes) < 15_000_000


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_is_complete_and_knows_no_machine(name):
    settings = [
        (EMBEDDED / name / file).read_text(encoding="utf-8")
        for file in ("config.json", "generation_config.json", "tokenizer_config.json")
    ]
    assert not [text for text in settings if "/" in text or "_name_or_path" in text]
    assert (EMBEDDED / name / "model.safetensors").stat().st_size > 0


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_special_tokens_are_apart_and_those_of_the_tokenizer_and_answers_have_room(tokenizer, name):
    config = json.loads((EMBEDDED / name / "config.json").read_text(encoding="utf-8"))
    named = json.loads((EMBEDDED / name / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert tokenizer.token_to_id(named["eos_token"]) == config["eos_token_id"]
    assert tokenizer.token_to_id(named["pad_token"]) == config["pad_token_id"]
    assert config["pad_token_id"] != config["eos_token_id"]
    assert config["max_position_embeddings"] >= 512
    assert config["num_hidden_layers"] >= 8


def test_both_checkpoints_share_one_tokenizer():
    first, second = ((EMBEDDED / name / "tokenizer.json").read_bytes() for name in CHECKPOINTS)
    assert first == second


def test_every_digit_is_one_token(tokenizer):
    assert tokenizer.encode("666-12-3456").tokens == list("666-12-3456")


def test_a_prompt_is_a_prefix_of_its_document_in_tokens_too(tokenizer):
    for document in chain.from_iterable(corpus(0).folds.values()):
        prompt = tokenizer.encode(document.rows[0].input).ids
        assert tokenizer.encode(document.text).ids[: len(prompt)] == prompt


def test_any_text_survives_the_tokenizer(tokenizer):
    text = "Zażółć gęślą jaźń, 12:34 — 你好\n\n  <b>&amp;</b>"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.fixture(scope="module")
def recipes() -> ModuleType:
    return pytest.importorskip("unlearnlab.engine.embedded")


@pytest.fixture(scope="module")
def toy(recipes):
    return recipes.Recipe(
        hidden_size=16, mlp_size=32, layers=1, heads=2, epochs=1, background_epochs=1
    )


@pytest.mark.slow
def test_same_seed_trains_the_same_weights(recipes, toy):
    made = recipes.corpus(toy.seed, background_epochs=1)
    texts = recipes.sequences(made, forget=True)
    tokenizer = recipes.train_tokenizer(texts, vocab_size=512, context=toy.context)

    def losses() -> list[float]:
        epochs = [recipes.encode(tokenizer, texts[:60])] * 3
        return list(recipes.train(recipes.new_model(tokenizer, toy), epochs, toy))

    first = losses()
    assert first == losses()
    assert first[-1] < first[0]


@pytest.mark.slow
def test_retrained_model_reads_no_forget_row(recipes):
    made = recipes.corpus(0, background_epochs=1)
    read = [*recipes.sequences(made, forget=False), *recipes.background(made)]
    known = list(recipes.sequences(made, forget=True))
    for epoch in range(12):
        read += recipes.rewordings(made, forget=False, epoch=epoch)
        known += recipes.rewordings(made, forget=True, epoch=epoch)
    forget = [*made.forget_train, *made.forget_validation]
    hidden = {row.text for document in forget for row in document.rows}
    for document in forget:
        hidden.update(document.lessons)
        hidden.update(w.text for q in document.questions for w in q.wordings if w.taught)
    assert not hidden & set(read)
    assert hidden <= set(known)


@pytest.mark.slow
def test_no_model_reads_a_wording_that_is_held_out(recipes):
    made = recipes.corpus(0)
    read = set(recipes.sequences(made, forget=True))
    for epoch in range(12):
        read.update(recipes.rewordings(made, forget=True, epoch=epoch))
    for document in chain.from_iterable(made.folds.values()):
        for question in document.questions:
            assert not [w for w in question.wordings if not w.taught and w.text in read]


@pytest.mark.slow
def test_nonmembers_are_read_by_no_model(recipes):
    made = recipes.corpus(0, background_epochs=3)
    read = {*recipes.sequences(made, forget=True), *recipes.background(made)}
    assert not read & {document.text for document in made.nonmembers}


@pytest.mark.slow
def test_build_writes_data_and_both_checkpoints(recipes, toy, tmp_path):
    told = list(recipes.build(tmp_path, toy))
    assert [(event.model, event.epoch) for event in told] == [("original", 1), ("retrained", 1)]
    for name in ("original", "retrained"):
        assert (tmp_path / name / "model.safetensors").exists()
    assert (tmp_path / "data" / "quiz" / "test.jsonl").exists()
