"""Published results beside a run: linked, escaped, and marked where they do not compare."""

import json

import pytest

from tests.fakes import some_evidence
from unlearnlab.metrics.published import results
from unlearnlab.metrics.scores import scores
from unlearnlab.spec.run import DataSpec, ModelSpec, RunSpec
from unlearnlab.ui.run.published_table import OFFICIAL, published_html

AFTER = scores(some_evidence(forgets=True))


def test_a_run_of_the_embedded_model_compares_with_none():
    html = published_html(RunSpec(), AFTER)
    assert html.count("<tr") == len(results()) + 2
    assert html.count("not comparable</small>") == len(results())
    assert "none compares with tiny-olmo" in html
    assert "This run" in html


def test_a_quiz_is_not_put_in_the_column_of_mmlu():
    own = published_html(RunSpec(), AFTER).split('class="own"')[1].split("</tr>")[0]
    assert own.count("<td>–</td>") == 2


def test_results_of_the_same_model_and_split_come_first(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path))
    folder = tmp_path / "datasets" / "official"
    folder.mkdir(parents=True)
    told = {"title": "Official", "source": OFFICIAL, "personal": True}
    (folder / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    spec = RunSpec(
        model=ModelSpec(name="olmo-1b"), data=DataSpec(source="official", fold="validation")
    )
    html = published_html(spec, None)
    alike = [one for one in results() if not one.differs("olmo-1b", "validation")]
    assert f"{len(alike)} of the same model and split" in html
    rows = html.split("<tbody>")[1].split("</tr>")
    assert all("not comparable" not in row for row in rows[: len(alike)])
    assert "not comparable" in rows[len(alike)]


@pytest.mark.parametrize(
    "link",
    [
        'href="https://arxiv.org/abs/2503.02443"',
        'href="https://github.com/XelfXendr/peft_unlearning"',
    ],
)
def test_sources_are_links_that_open_apart_and_tell_nobody_where_from(link):
    html = published_html(RunSpec(), None)
    assert f'{link} target="_blank" rel="noopener noreferrer"' in html
    assert "This run" not in html
