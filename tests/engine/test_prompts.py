"""Prompts and answers as tokens: one BOS, turns, and the same in all that reads them."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from tests.engine.tiny import CPU, saved, tiny_config, tiny_of
from unlearnlab.data.datasets import Row
from unlearnlab.engine import result_of
from unlearnlab.engine.device_engine import evidence_key
from unlearnlab.engine.evaluation import evaluate
from unlearnlab.engine.generation import generate
from unlearnlab.engine.likelihoods import encode, encode_continuation, encode_document
from unlearnlab.engine.prompts import PromptFormat, preview_tokens
from unlearnlab.engine.tracing import locate
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import DataSpec, EvaluationSpec, ModelSpec, RunSpec

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|head|>{{ m.role }}<|/head|>{{ m.content | trim }}"
    "<|turn|>{% endfor %}{% if add_generation_prompt %}<|head|>assistant<|/head|>{% endif %}"
)
"""Writes its own BOS and ends each turn, as Llama 3's does."""

MISTRAL = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""No BOS, no prompt for the answer, and a space before it."""

DATED = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ date_string }}" + LLAMA
)

KINDS = ("special", "template", "prompt", "answer")

SPECIAL = ["<s>", "</s>", "<|head|>", "<|/head|>", "<|turn|>"]

ROW = Row("a-qa0", "Who keeps the light?", "Ada Brand", "Task1")


def tokenizer_of(template=None, *, bos=True, eos=False) -> PreTrainedTokenizerFast:
    """Make a tokenizer of characters, which puts BOS before a text and, if asked, EOS after it."""
    characters = [chr(code) for code in range(32, 127)]
    vocabulary = {one: number for number, one in enumerate(["?unk", *SPECIAL, *characters])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="?unk"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    around = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
    plain.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        additional_special_tokens=SPECIAL[2:],
        chat_template=template,
    )


def lm_of(template, tokens=None) -> UnlearningModel:
    tokens = tokens or tokenizer_of(template)
    config = tiny_config("llama", len(tokens), bos_token_id=1, eos_token_id=2, pad_token_id=2)
    return UnlearningModel(tiny_of(config), tokens, device=CPU)


def pieces(tokens, ids) -> str:
    return "".join(tokens.convert_ids_to_tokens(list(ids)))


def test_a_template_that_writes_bos_gives_one_and_none_gives_one_too():
    for template, expected in (
        (LLAMA, "<s><|head|>user<|/head|>Hi?<|turn|><|head|>assistant<|/head|>"),
        (MISTRAL, "<s>[INST] Hi? [/INST]"),
    ):
        tokens = tokenizer_of(template)
        assert pieces(tokens, PromptFormat(tokens, template="on").prompt("Hi?")) == expected
    bare = tokenizer_of(MISTRAL, bos=False)
    assert pieces(bare, PromptFormat(bare, template="on").prompt("Hi?")) == "[INST] Hi? [/INST]"


def test_plain_text_has_one_bos_and_no_eos_whatever_the_tokenizer_adds():
    for prompt in ("Hi?", "<s>Hi?"):
        tokens = tokenizer_of(eos=True)
        assert pieces(tokens, PromptFormat(tokens).prompt(prompt)) == "<s>Hi?"


def test_an_answer_ends_as_the_template_ends_a_turn_and_its_prompt_is_a_prefix():
    for template, whole in (
        (LLAMA, "Who keeps the light?<|turn|><|head|>assistant<|/head|>Ada Brand<|turn|>"),
        (MISTRAL, "[INST] Who keeps the light? [/INST] Ada Brand</s>"),
    ):
        tokens = tokenizer_of(template)
        prompts = PromptFormat(tokens, template="auto")
        example, prompt = encode(prompts, ROW), prompts.prompt(ROW.input)
        assert pieces(tokens, example.ids).endswith(whole)
        assert list(example.ids[: len(prompt)]) == prompt
        assert example.start == len(prompt)
        assert encode_continuation(prompts, ROW.input, ROW.output).ids == example.ids[:-1]


def test_auto_is_plain_text_without_a_template_and_on_says_what_is_missing():
    tokens = tokenizer_of()
    assert not PromptFormat(tokens, template="auto").templated
    assert PromptFormat(tokens, template="auto").digest == ""
    with pytest.raises(ValueError, match=r"data.chat_template: on: .* no chat template"):
        PromptFormat(tokens, template="on")


def test_a_template_that_cannot_be_rendered_or_drops_the_question_is_refused():
    for template, told in (
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ bos_token }}Hi", "leaves out"),
    ):
        with pytest.raises(ValueError, match=f"data.chat_template: .*{told}"):
            PromptFormat(tokenizer_of(template), template="on")


def test_the_day_of_the_run_does_not_change_the_tokens():
    tokens = tokenizer_of(DATED)
    assert pieces(tokens, PromptFormat(tokens, template="on").prompt("Hi?")).startswith(
        "<s>26 Jul 2024"
    )


def test_documents_are_plain_text_under_a_template_too():
    tokens = tokenizer_of(LLAMA)
    templated = PromptFormat(tokens, template="on")
    assert encode_document(templated, "A text.") == encode_document(PromptFormat(tokens), "A text.")
    assert encode_document(templated, "A text.").ids.count(tokens.bos_token_id) == 1


def test_a_trace_finds_the_subject_within_the_turn():
    tokens = tokenizer_of(LLAMA)
    for template in ("off", "on"):
        prompts = PromptFormat(tokens, template=template)
        found = locate(prompts, "Who keeps Morrow Rock?", "Morrow Rock", "Ada")
        at = slice(found.subject.start, found.subject.stop)
        assert pieces(tokens, found.ids[at]) == "Morrow Rock"
        assert found.start == len(prompts.prompt("Who keeps Morrow Rock?"))
        with pytest.raises(ValueError, match="covers the whole prompt"):
            locate(prompts, "Morrow Rock", "Morrow Rock")


def test_a_prompt_is_found_in_its_own_turn_also_where_the_answer_names_it():
    prompts = PromptFormat(tokenizer_of(LLAMA), template="on")
    read = prompts.tokenized("Ada Brand", "It was Ada Brand who kept it")
    assert read.content == read.text.index("Ada Brand")


def test_generation_ends_at_the_end_of_a_turn_and_plain_text_at_eos_alone():
    lm = lm_of(LLAMA)
    turn, eos = lm.tokenizer.convert_tokens_to_ids(["<|turn|>", "</s>"])
    assert lm.ends == {eos}
    lm.use_template("on")
    assert lm.ends == {eos, turn}
    ids = torch.tensor([lm.prompts.prompt("Hi?")])
    with torch.no_grad():  # After this prompt, and those like it, the end of a turn comes next.
        head = lm.model.get_output_embeddings().weight
        head.zero_()
        head[turn] = lm.model.model(ids).last_hidden_state[0, -1]
    (answer,) = result_of(generate(lm, ["Hi?"], max_new_tokens=4))
    assert (answer.text, answer.finished_with_eos) == ("", True)
    lm.use_template("off")
    (plain,) = result_of(generate(lm, ["Hi?"], max_new_tokens=4))
    assert not plain.finished_with_eos


def test_scores_read_the_turns_and_their_key_tells_the_template_apart():
    lm = lm_of(LLAMA)
    data = Dataset((ROW,), (), ("A member.",), ("Another text.",), ())
    plain = result_of(evaluate(lm, data, max_new_tokens=2))
    keys = [evidence_key(lm, data, RunSpec())]
    lm.use_template("on")
    turns = result_of(evaluate(lm, data, max_new_tokens=2))
    assert evidence_key(lm, data, RunSpec()) not in keys
    example = encode_continuation(lm.prompts, ROW.input, ROW.output)
    logits = lm.model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
    at = range(example.start, len(example.ids))
    by_hand = -sum(logits[n - 1, example.ids[n]].item() for n in at) / len(at)
    assert turns.answers[0].nll == pytest.approx(by_hand, abs=1e-5)
    assert plain.answers[0].nll != pytest.approx(by_hand, abs=1e-5)
    assert plain.membership == turns.membership


def test_the_preview_shows_every_token_that_training_reads(tmp_path):
    tokens = tokenizer_of(LLAMA)
    lm = lm_of(LLAMA, tokens)
    folder = saved(tmp_path / "chat", tokens, lm.model)
    for template in ("off", "on"):
        lm.use_template(template)
        found = preview_tokens(ModelSpec(name=str(folder)), template, ROW)
        example = encode(lm.prompts, ROW)
        assert tuple(number for number, _, _ in found.pieces) == example.ids
        assert found.start == example.start
        assert found.templated == (template == "on")
        kinds = {kind: "".join(t for _, t, k in found.pieces if k == kind) for kind in KINDS}
        assert kinds["prompt"] == ROW.input
        assert kinds["answer"].strip() == ROW.output
        assert kinds["template"] == {"off": "", "on": "userassistant"}[template]
        assert kinds["special"].count("<s>") == 1


def test_a_tokenizer_that_tells_no_places_is_told():
    with pytest.raises(ValueError, match="does not tell where in a text its tokens stand"):
        PromptFormat(ByT5Tokenizer()).tokenized("Who?", "Ada")


def test_a_template_is_seen_on_disk_and_asked_for_in_vain_without_one(tmp_path):
    chat = saved(tmp_path / "chat", tokenizer_of(LLAMA), lm_of(LLAMA).model)
    bare = saved(tmp_path / "bare", tokenizer_of(), lm_of(LLAMA).model)
    for folder, has in ((chat, True), (bare, False)):
        spec = RunSpec(
            model=ModelSpec(name=str(folder)),
            data=DataSpec(chat_template="auto"),
            evaluation=EvaluationSpec(max_new_tokens=16),
        )
        assert spec.uses_template is has
    with pytest.raises(ValueError, match=r"data.chat_template: on: .*bare has no chat template"):
        RunSpec(
            model=ModelSpec(name=str(bare)),
            data=DataSpec(chat_template="on"),
            evaluation=EvaluationSpec(max_new_tokens=16),
        )


@pytest.mark.parametrize("template", [None, LLAMA, MISTRAL])
def test_each_word_of_an_answer_knows_its_tokens(template):
    tokens = tokenizer_of(template)
    prompts = PromptFormat(tokens, template="auto")
    answer = "Ada  Brand, 21"
    example = encode_continuation(prompts, ROW.input, answer)
    own = example.ids[example.start :]
    words = prompts.answer_words(ROW.input, answer, len(own))
    assert [word for word, _ in words] == ["Ada", "Brand,", "21"]
    assert [pieces(tokens, [own[at] for at in of]).strip() for _, of in words] == [
        "Ada",
        "Brand,",
        "21",
    ]
    assert [at for _, of in words for at in of] == list(range(len(own)))
