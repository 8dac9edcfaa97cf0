"""The committed checkpoints, as files: what can be checked without torch."""

import json
from itertools import chain
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from unlearnlab.data.embedded import corpus

ASSETS = Path(__file__).parents[3] / "assets" / "tiny-olmo"
CHECKPOINTS = ("original", "retrained")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ASSETS / "original" / "tokenizer.json"))


def test_both_checkpoints_fit_in_fifteen_megabytes():
    sizes = [path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()]
    assert sum(sizes) < 15_000_000


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_is_complete_and_knows_no_machine(name):
    settings = [
        (ASSETS / name / file).read_text(encoding="utf-8")
        for file in ("config.json", "generation_config.json", "tokenizer_config.json")
    ]
    assert not [text for text in settings if "/" in text or "_name_or_path" in text]
    assert (ASSETS / name / "model.safetensors").stat().st_size > 0


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_pad_is_not_eos_and_answers_have_room(name):
    config = json.loads((ASSETS / name / "config.json").read_text(encoding="utf-8"))
    assert config["pad_token_id"] != config["eos_token_id"]
    assert config["max_position_embeddings"] >= 512
    assert config["num_hidden_layers"] >= 8


def test_both_checkpoints_share_one_tokenizer():
    first, second = ((ASSETS / name / "tokenizer.json").read_bytes() for name in CHECKPOINTS)
    assert first == second


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_model_and_tokenizer_agree_on_special_tokens(tokenizer, name):
    config = json.loads((ASSETS / name / "config.json").read_text(encoding="utf-8"))
    named = json.loads((ASSETS / name / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert tokenizer.token_to_id(named["eos_token"]) == config["eos_token_id"]
    assert tokenizer.token_to_id(named["pad_token"]) == config["pad_token_id"]


def test_every_digit_is_one_token(tokenizer):
    assert tokenizer.encode("666-12-3456").tokens == list("666-12-3456")


def test_a_prompt_is_a_prefix_of_its_document_in_tokens_too(tokenizer):
    for document in chain.from_iterable(corpus(0).folds.values()):
        prompt = tokenizer.encode(document.rows[0].input).ids
        assert tokenizer.encode(document.text).ids[: len(prompt)] == prompt


def test_any_text_survives_the_tokenizer(tokenizer):
    text = "Zażółć gęślą jaźń, 12:34 — 你好\n\n  <b>&amp;</b>"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
