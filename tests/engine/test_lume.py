"""The chain on real text: rows of LUME are taught from the command line, and unlearned again.

LUME lies beside a checkout of the project, not in it: without it, this is skipped.
"""

import json
from pathlib import Path

import pytest

from unlearnlab.cli.main import main
from unlearnlab.models import catalog

LUME = Path(__file__).parents[3] / "shared" / "data" / "lume"

BRIEF = ("--evaluation.probes", "0", "--evaluation.max_new_tokens", "128")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LUME.is_dir(), reason=f"no LUME in {LUME}"),
]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Carry out commands on a home of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLAB_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("UNLEARNLAB_MODELS", raising=False)
        yield lambda *words: main(words)


@pytest.fixture(scope="module")
def taught(command):
    """Teach the embedded model two documents of each set and subtask."""
    assert command("data", "add", str(LUME), "--limit", "2", "--name", "lume") == 0
    # Its tokens were made for other words: without the embeddings it takes far longer.
    wider = ("--phases.0.learning_rate", "1e-3", "--phases.0.embeddings", "true")
    assert command("teach", "--data", "lume", "--keep-as", "taught", *wider, *BRIEF) == 0
    return catalog.models_folder() / "taught"


def test_real_rows_are_memorised(taught):
    note = json.loads((taught / catalog.MODEL_NOTE).read_text(encoding="utf-8"))
    terms = note["scores"]["terms"]
    assert len(terms) == 12
    known = [v if name.startswith("retain") else 1 - v for name, v in terms.items()]
    assert sum(known) / len(known) > 0.9


@pytest.mark.parametrize(
    "preset",
    ["embedded-joint", "embedded-difference-ascent", "embedded-adaptive-rmu"],
)
def test_each_system_makes_real_rows_be_forgotten(taught, command, capsys, preset):
    capsys.readouterr()
    model = ("--model.name", "taught", "--data.source", "lume")
    assert command("run", "--json", "--preset", preset, *model, *BRIEF) == 0
    found = json.loads(capsys.readouterr().out)
    before, after = (mean_of(found[when], "forget") for when in ("before", "after"))
    assert before < 0.1
    assert after > before + 0.2
    assert found["verdict"]["kind"] != "no_effect"


def mean_of(scores, split):
    values = [value for name, value in scores["terms"].items() if name.startswith(split)]
    return sum(values) / len(values)
