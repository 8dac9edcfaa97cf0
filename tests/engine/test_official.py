"""What is measured in batches is what the organisers' script measures one row at a time."""

import pytest
import torch

from tests.engine.plain import script_document, script_row
from tests.engine.tiny import finish
from unlearnlab.data.datasets import Row
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.evaluation import cleaned, document_losses, said
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import load
from unlearnlab.spec.run import DataSpec

FOLD = load(DataSpec(fold="validation"))
ROWS = (FOLD.forget + FOLD.retain)[::6]


@pytest.fixture(scope="module")
def embedded() -> UnlearningModel:
    return UnlearningModel.open(
        EMBEDDED / "original", precision="float32", device=torch.device("cpu")
    )


def test_outputs_and_losses_of_the_embedded_model_are_the_scripts_row_by_row(embedded):
    assert {row.kind for row in ROWS} == {"sc", "qa"}
    found = finish(said(embedded, ROWS))[1]
    for row, one in zip(ROWS, found, strict=True):
        output, loss = script_row(embedded.model, embedded.tokenizer, row.input, row.output)
        assert one.generated == output
        assert one.nll == pytest.approx(loss, rel=1e-4, abs=1e-5)


def test_losses_of_documents_are_the_scripts(embedded):
    documents = [*FOLD.members[:4], *FOLD.nonmembers[:3]]
    plain = [script_document(embedded.model, embedded.tokenizer, one) for one in documents]
    assert finish(document_losses(embedded, documents))[1] == pytest.approx(
        plain, rel=1e-4, abs=1e-5
    )


def test_a_document_beyond_the_context_is_named(lm):
    with pytest.raises(ValueError, match=r"document 2 of the attack has \d+ tokens.* of 256"):
        finish(document_losses(lm, ["short", "word " * 600]))


def test_an_output_of_no_tokens_of_its_own_has_no_loss(lm):
    (one,) = finish(said(lm, [Row("aqa0", "Who?", "", "Task1")], max_new_tokens=2))[1]
    assert one.nll != one.nll


def test_spaces_before_marks_go_as_in_the_scripts_decoding(tokenizer):
    text = "He said , it 's n't so . Is it ? No ! I 'm they 're we 've ' quoted ' ."
    assert cleaned(text) == tokenizer.clean_up_tokenization(text)
