"""Fixtures: a tiny random model, and a fold of a few rows."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from tests.engine.tiny import CPU, saved, tiny_lm
from unlearnlab.data.datasets import Row
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import Dataset, QuizQuestion


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny tensors gain nothing from threads, and lose much when other work shares the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(EMBEDDED / "original")


@pytest.fixture
def lm(tokenizer) -> UnlearningModel:
    return tiny_lm(tokenizer)


@pytest.fixture(scope="session")
def embedded() -> UnlearningModel:
    """Give the embedded model, which no test may change."""
    return UnlearningModel.open(EMBEDDED / "original", precision="float32", device=CPU)


@pytest.fixture(scope="session")
def wide(tmp_path_factory, tokenizer) -> Path:
    """Give a folder with a tiny model whose matrices are wide enough to be packed."""
    return saved(tmp_path_factory.mktemp("wide"), tokenizer, width=64, tied=False)


@pytest.fixture(scope="module")
def few_held_out():
    """Of the other fold, a run reads two documents of each kind, not a hundred and fifty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearnlab.spec.rows.HELD_OUT_DOCUMENTS", 2)
        yield


@pytest.fixture(scope="session")
def data() -> Dataset:
    def rows(name: str) -> tuple[Row, ...]:
        return tuple(
            Row(f"{name}{i}{kind}{0 if kind == 'qa' else 1}", prompt, answer, task)
            for i in range(3)
            for task in ("Task1", "Task2", "Task3")
            for kind, prompt, answer in (
                ("sc", f"{name} story {i} of {task} began on a", "long grey morning by the sea."),
                ("qa", f"Who is {name} {i} in {task}?", f"Person {i}"),
            )
        )

    forget = rows("alpha")
    return Dataset(
        forget=forget,
        retain=rows("beta"),
        members=tuple(f"{row.input} {row.output}" for row in forget if row.kind == "sc"),
        nonmembers=("A text nobody saw before.", "Another one, a little longer than that."),
        quiz=(QuizQuestion("What grows in Velm?", "places", ("figs", "rye", "hops", "tea"), 2),),
    )
