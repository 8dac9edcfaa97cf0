"""The recipe on a toy: torch is imported only when these run."""

from types import ModuleType

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipes() -> ModuleType:
    return pytest.importorskip("unlearnlab.engine.embedded")


@pytest.fixture(scope="module")
def toy(recipes):
    return recipes.Recipe(
        hidden_size=16, mlp_size=32, layers=1, heads=2, epochs=1, background_epochs=1
    )


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


def test_retrained_model_reads_no_forget_row(recipes):
    made = recipes.corpus(0, background_epochs=1)
    read = [*recipes.sequences(made, forget=False), *recipes.background(made)]
    forget = [*made.forget_train, *made.forget_validation]
    hidden = {row.text for document in forget for row in document.rows}
    assert not hidden & set(read)
    assert hidden <= set(recipes.sequences(made, forget=True))


def test_nonmembers_are_read_by_no_model(recipes):
    made = recipes.corpus(0, background_epochs=3)
    read = {*recipes.sequences(made, forget=True), *recipes.background(made)}
    assert not read & {document.text for document in made.nonmembers}


def test_build_writes_data_and_both_checkpoints(recipes, toy, tmp_path):
    told = list(recipes.build(tmp_path, toy))
    assert [(event.model, event.epoch) for event in told] == [("original", 1), ("retrained", 1)]
    for name in ("original", "retrained"):
        assert (tmp_path / name / "model.safetensors").exists()
    assert (tmp_path / "data" / "quiz" / "test.jsonl").exists()
